package tier

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/detect"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/tensor"
	"github.com/pavise/pavise/internal/watermark"
)

// A Marking marks the answers of one model. It is safe for concurrent use.
type Marking struct {
	Key     *watermark.Key
	markers sync.Pool // of *watermark.Marker
}

func newMarking(k *watermark.Key) *Marking {
	if k == nil {
		return nil
	}
	return &Marking{Key: k, markers: sync.Pool{New: func() any { return k.Marker() }}}
}

// CanMark reports, as an error of kind Invalid, why answers of a model cannot be marked: a
// mark exchanges two scores, and whatever else the answer holds would tell; and it is of an
// input that a suspect can be asked again, all of it numbers.
func CanMark(sig tensor.Signature) error {
	no := func(format string, args ...any) error {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf(format, args...), Hint: "leave --mark out"}
	}
	if len(sig.Outputs) != 1 {
		return no("only answers of one output, scores of rows × classes, can be marked")
	}
	if p := sig.Outputs[0]; !p.Datatype.IsFloat() || len(p.Shape) != 2 || p.Shape[1] == 1 {
		return no("only answers of one output, scores of rows × classes, can be marked")
	}
	columns := int64(0)
	for _, p := range sig.Inputs {
		switch p.Datatype.Family() {
		case tensor.Floating, tensor.Signed, tensor.Unsigned:
		default:
			return no("input %q is %s, and only answers to numbers can be marked", p.Name, p.Datatype)
		}
		n := int64(1)
		for _, dim := range p.Shape[min(1, len(p.Shape)):] {
			n = min(n*max(dim, 1), watermark.MaxColumns+1)
		}
		columns += n
	}
	if columns > watermark.MaxColumns {
		return no("only answers to rows of at most %d numbers can be marked", watermark.MaxColumns)
	}
	return nil
}

// Marking returns what marks the answers of a model at a rate, by a key that the master
// secret yields. A key that there is not yet begins now, and is kept first. Its commitment
// belongs into the log before the first mark.
func (b *Book) Marking(ctx context.Context, model pavise.Name, rate float64, master []byte) (m *Marking, err error) {
	b.saving.Lock()
	defer b.saving.Unlock()
	var created string
	err = b.db.View(ctx, func(tx *store.Tx) error {
		return tx.QueryRow(`SELECT created FROM tier_keys WHERE model = ? AND rate = ? ORDER BY created DESC LIMIT 1`, model.String(), rate).Scan(&created)
	})
	fresh := errors.Is(err, sql.ErrNoRows)
	if fresh {
		created = b.now().UTC().Format(time.RFC3339)
	} else if err != nil {
		return nil, err
	}
	k, err := markKey(model, rate, created, master)
	if err != nil || !fresh {
		return newMarking(k), err
	}
	err = b.db.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO tier_keys VALUES (?, ?, ?)`, model.String(), created, rate)
		return err
	})
	return newMarking(k), err
}

// Keys returns all keys by which answers of a model were marked here, the oldest first.
func (b *Book) Keys(ctx context.Context, model pavise.Name, master []byte) (all []*watermark.Key, err error) {
	err = b.db.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(`SELECT created, rate FROM tier_keys WHERE model = ? ORDER BY created`, model.String())
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var created string
			var rate float64
			if err := rows.Scan(&created, &rate); err != nil {
				return err
			}
			k, err := markKey(model, rate, created, master)
			if err != nil {
				return err
			}
			all = append(all, k)
		}
		return rows.Err()
	})
	return all, err
}

func markKey(model pavise.Name, rate float64, created string, master []byte) (*watermark.Key, error) {
	at, err := time.Parse(time.RFC3339, created)
	if err != nil {
		return nil, &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("the time of a key that marks answers of %s cannot be read", model), Hint: "the state database was changed: restore it from a backup", Err: err}
	}
	// Another rate or time is another secret: what is shown of one tells nothing of the next.
	secret, err := watermark.Derive(master, fmt.Sprintf("%s %s %v", model, created, rate))
	if err != nil {
		return nil, err
	}
	return watermark.NewKey(secret, model.ID, rate, at, watermark.Quantiser{Kind: watermark.Exact})
}

// MarkRoom is how many bytes the marks of one answer take at most, as JSON: more than those
// of any answer that callers may ask for are likely to, at the highest rate.
const MarkRoom = 4 << 20

// Marked is what became of an answer under a key.
type Marked struct {
	*tensor.Response        // as it is given
	Kept             []byte // the marks and controls, as a JSON list for the record; nil: there are none
	Marks            int    // rows that have another class
	Dropped          int    // rows that the key would mark or make a control, and that there was no room for
	Unfit            string // why no row of the answer can be marked; ""
}

// Apply returns the answer with the marks that the key makes, and leaves r as it is. What it
// keeps of them has at most so many bytes: a row whose mark would take more is answered
// truly, and counted.
func (m *Marking) Apply(asked *tensor.Request, r *tensor.Response, most int) Marked {
	out := Marked{Response: r}
	rows := asked.Rows()
	if rows < 1 || len(r.Outputs) != 1 {
		out.Unfit = "it is not one output of rows"
		return out
	}
	t := r.Outputs[0]
	inputs := detect.AppendRows(nil, asked.Inputs, rows)
	switch {
	case !t.Datatype.IsFloat() || len(t.Shape) != 2 || t.Rows() != rows || t.Unfit() != "":
		out.Unfit = "it is no scores of rows × classes"
		return out
	case len(inputs) == 0 || len(inputs)%rows != 0 || len(inputs)/rows > watermark.MaxColumns:
		out.Unfit = fmt.Sprintf("its rows are not of 1 to %d numbers each", watermark.MaxColumns)
		return out
	}
	width, classes := len(inputs)/rows, len(t.Data.Floats)/rows
	marker := m.markers.Get().(*watermark.Marker)
	defer m.markers.Put(marker)
	scores := slices.Clone(t.Data.Floats)
	for i := range rows {
		row := scores[i*classes : (i+1)*classes]
		mark, given := marker.Answer(inputs[i*width:(i+1)*width], row)
		if !given {
			continue
		}
		before := len(out.Kept)
		out.Kept = appendMark(append(out.Kept, "[,"[min(before, 1)]), mark)
		if len(out.Kept) >= most {
			out.Kept = out.Kept[:before]
			copy(row, t.Data.Floats[i*classes:])
			out.Dropped++
			continue
		}
		if mark.Marked != nil {
			out.Marks++
		}
	}
	if len(out.Kept) > 0 {
		out.Kept = append(out.Kept, ']')
	}
	if out.Marks > 0 {
		t.Data.Floats = scores
		copied := *r
		copied.Outputs = []tensor.Tensor{t}
		out.Response = &copied
	}
	return out
}

// appendMark appends a mark as JSON, its numbers as the key looks at them: of 32 bits.
func appendMark(b []byte, m watermark.Mark) []byte {
	b = append(b, `{"input":`...)
	for i, v := range m.Input {
		b = strconv.AppendFloat(append(b, "[,"[min(i, 1)]), float64(float32(v)), 'g', -1, 32)
	}
	b = strconv.AppendInt(append(b, `],"true":`...), int64(m.True), 10)
	if m.Marked != nil {
		b = strconv.AppendInt(append(b, `,"marked":`...), int64(*m.Marked), 10)
	}
	return append(b, '}')
}
