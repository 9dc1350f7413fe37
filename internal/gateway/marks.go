package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/parts"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/watermark"
)

// mostMarks bounds the marks of one key that are given out at once: the first ones, which
// a suspect had the longest time to learn.
const mostMarks = 100_000

// Marked is what answers of a model were marked with: what pavise watermark verify takes,
// and the two digests that the log had before there was a suspect.
type Marked struct {
	Commitment string `json:"commitment"` // of the key, as a note watermark.committed has it
	Key        string `json:"key"`        // the key file: whoever has it can tell marked answers from true ones
	Marks      string `json:"marks"`      // the file of marks and controls
	Rows       int    `json:"rows"`       // of it
	Erased     int    `json:"erased"`     // answers whose marks went with the keys of the people that they were about
	Unread     int    `json:"unread"`     // answers whose marks lie in parts that are not here any more: the log was cut between them and their record
	More       bool   `json:"more"`       // there are more marks than one file holds
}

// MarksOf returns the marks that callers of a model were given, by key, from what the log
// keeps sealed of their answers: the verb watermark.export on tenant/model/id. Records that
// were moved to an archive are not looked at. There are none when the model's answers were
// never marked here.
func (g *Gateway) MarksOf(ctx context.Context, who pavise.Principal, model pavise.Name) (all []Marked, err error) {
	entry, err := g.guard.Enter(ctx, who, "watermark.export", model)
	if err != nil {
		return nil, err
	}
	defer entry.Exit(&err)
	keys, err := g.Tiers.Keys(ctx, model, g.markMaster(model.Tenant))
	if err != nil {
		return nil, err
	}
	files := make([]*markFile, len(keys))
	for i, k := range keys {
		files[i] = &markFile{key: k, marker: k.Marker(), seen: map[watermark.Fate]bool{}}
	}
	var gone goneMarks
	asked := ledger.Filter{Tenant: model.Tenant, Kinds: []string{"model.infer"}, On: model.String()}
	for r, err := range g.log.Select(ctx, asked, g.log.First(), g.log.Size()) {
		if err != nil {
			return nil, fmt.Errorf("look for marked answers: %w", err)
		}
		if len(r.Sealed) == 0 || !bytes.Contains(r.Detail, []byte(`"marks":`)) {
			continue
		}
		marks, classes, err := g.marksIn(ctx, &r.Record, &gone)
		if err != nil {
			return nil, err
		}
		for _, m := range marks {
			for _, f := range files {
				if f.add(m, classes) {
					break
				}
			}
		}
	}
	for _, f := range files {
		one, err := f.end()
		if err != nil {
			return nil, err
		}
		one.Erased, one.Unread = gone.erased, gone.unread
		all = append(all, one)
	}
	entry.Detail(exported(all))
	return all, nil
}

// exported is what the record says of what was given out: which keys, and how many marks.
func exported(all []Marked) (list []exportedKey) {
	for _, m := range all {
		list = append(list, exportedKey{m.Commitment, m.Rows})
	}
	return list
}

// An exportedKey is one of them.
type exportedKey struct {
	Commitment string `json:"commitment"`
	Rows       int    `json:"rows"`
}

// goneMarks counts answers whose marks nobody can read any more, by why.
type goneMarks struct {
	erased int // the key is gone with the one that the data was about
	unread int // a part of what was kept is gone, and the key is there
}

// marksIn opens what a record keeps of the marks in its answer. What is gone is counted in
// gone, and is no error.
func (g *Gateway) marksIn(ctx context.Context, r *record.Record, gone *goneMarks) (marks []watermark.Mark, classes int, err error) {
	var trail Trail
	if err := json.Unmarshal(r.Detail, &trail); err != nil {
		return nil, 0, fmt.Errorf("read the detail of a marked answer: %w", err)
	}
	if trail.Marks == "" || len(trail.Answer) != 1 || len(trail.Answer[0].Shape) != 2 {
		return nil, 0, nil
	}
	key, err := g.subjects.Key(ctx, r.Tenant, r.Subject)
	if pavise.KindOf(err) == pavise.NotFound {
		gone.erased++
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	plain, err := parts.Unseal(key, r, g.log.Read)
	if pavise.KindOf(err) == pavise.NotFound {
		gone.unread++
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("open a marked answer: %w", err)
	}
	var own struct {
		Marks []watermark.Mark `json:"marks"`
	}
	if err := json.Unmarshal(plain, &own); err != nil {
		return nil, 0, fmt.Errorf("read a marked answer: %w", err)
	}
	return own.Marks, int(trail.Answer[0].Shape[1]), nil
}

// A markFile gathers the marks of one key.
type markFile struct {
	key    *watermark.Key
	marker *watermark.Marker
	marks  *watermark.Marks
	seen   map[watermark.Fate]bool // inputs that are in it: who repeats one fills no file
	more   bool
}

// add adds a mark, if it is one of this key.
func (f *markFile) add(m watermark.Mark, classes int) bool {
	one := watermark.NewMarks(f.key, classes)
	one.Add(m)
	if one.Hold(f.marker) != nil {
		return false
	}
	fate, _ := f.marker.Fate(m.Input)
	switch {
	case f.seen[fate]:
		return true
	case f.marks == nil:
		f.marks = one
	case f.marks.Classes != classes || len(f.marks.Rows) == mostMarks:
		f.more = true // of another model behind the name, or too many
		return true
	default:
		f.marks.Add(m)
	}
	f.seen[fate] = true
	return true
}

func (f *markFile) end() (Marked, error) {
	one := Marked{Commitment: f.key.Commitment(), Key: string(f.key.Text()), More: f.more}
	if f.marks == nil {
		return one, nil
	}
	var b bytes.Buffer
	if err := f.marks.Write(&b); err != nil {
		return one, err
	}
	one.Marks, one.Rows = b.String(), len(f.marks.Rows)
	return one, nil
}
