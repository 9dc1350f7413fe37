package gate

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/store/blob"
)

// The states of a batch.
const (
	statePlacing   = "placing"   // on its way to the output
	stateAdmitted  = "admitted"  // there
	stateHeld      = "held"      // in quarantine
	stateReleasing = "releasing" // on its way from there to the output
	stateDiscarded = "discarded" // somebody took it out of quarantine, and it is gone
	stateExpired   = "expired"   // it was there for too long, and is gone
)

// actTime is how long a batch may take from its judgement to its place.
const actTime = time.Minute

// maxID bounds the sender's name for a batch, in bytes.
const maxID = 256

// A row is a batch as the store has it.
type row struct {
	source    pavise.Name
	id, sum   string
	state     string
	position  uint64
	rows      int
	bytes     int
	form      string
	writer    string
	at, came  time.Time
	who, root pavise.Name
	reasons   []string
	ended     time.Time

	placed bool // as Batch.Placed; of what is being judged alone
}

// object is where it lies in the output: by its position and its content.
func (r *row) object() string {
	return fmt.Sprintf("%s/%s/%016d-%s.%s", r.source.Tenant, r.source.ID, r.position, r.sum, r.form)
}

// pushed is the detail of the record of a push.
type pushed struct {
	Receipt
	Batch    string `json:"batch"`
	Form     string `json:"form"`
	Bytes    int    `json:"bytes"`
	Writer   string `json:"writer,omitempty"`
	Signed   bool   `json:"signed,omitempty"`
	Position uint64 `json:"position,omitempty"`
}

// Admit judges a batch that somebody brings for a source, and keeps it in the output or in
// quarantine before it returns: the verb ingest.push on tenant/source/id. A verdict is no
// error. The error is of kind NotFound if there is no such source, Invalid for a batch that
// cannot be one of the source, Throttled beyond the source's quota, and Unavailable where
// the quarantine or the disk is full.
//
// Unguarded: receive enters for it, before a batch is read from anywhere.
func (g *Gate) Admit(ctx context.Context, who pavise.Principal, source pavise.Name, b Batch) (Receipt, error) {
	return g.receive(ctx, who, source, func(*terms) (Batch, error) { return b, nil })
}

// receive is Admit for a batch that is read once its bearer was let in.
func (g *Gate) receive(ctx context.Context, who pavise.Principal, name pavise.Name, read func(*terms) (Batch, error)) (receipt Receipt, err error) {
	entry, err := g.cfg.Guard.Enter(ctx, who, "ingest.push", name)
	if err != nil {
		return receipt, err
	}
	defer entry.Exit(&err)
	s, err := g.find(name)
	if err != nil {
		return receipt, err
	}
	b, err := read(s.terms.Load())
	if err != nil {
		return receipt, err
	}
	sum := sha256.Sum256(b.Body)
	r := &row{
		source: name, id: b.ID, sum: hex.EncodeToString(sum[:]), form: b.Form, bytes: len(b.Body), writer: b.Writer,
		at: b.At, came: g.cfg.Now(), who: who.Name(), root: who.Root(), placed: b.Placed,
	}
	if r.id == "" {
		r.id = r.sum
	}
	entry.Detail(pushed{Receipt: Receipt{SHA256: r.sum}, Batch: clip(r.id), Form: clip(b.Form), Bytes: r.bytes})
	if err := r.check(s.terms.Load(), b); err != nil {
		return receipt, err
	}
	receipt, err = g.decide(ctx, s, r, b)
	entry.Detail(pushed{receipt, r.id, r.form, r.bytes, r.writer, len(b.Signature) > 0, r.position})
	return receipt, err
}

// check refuses what can be no batch of the source.
func (r *row) check(t *terms, b Batch) error {
	wrong := func(hint, format string, args ...any) error {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the batch for %s ", r.source) + fmt.Sprintf(format, args...), Hint: hint}
	}
	switch {
	case b.Form != t.spec.Form:
		return wrong("send what the source was declared for, or declare another one: pavise ingest put", "is %.40q, and the source takes %s", b.Form, t.spec.Form)
	case len(b.Body) == 0:
		return wrong("", "has nothing in it")
	case len(b.Body) > MaxBatch:
		return wrong("send it in parts", "has %d bytes, more than %d", len(b.Body), MaxBatch)
	case len(r.id) > maxID || !utf8.ValidString(r.id) || strings.ContainsFunc(r.id, func(c rune) bool { return c < ' ' }):
		return wrong("name it by 256 bytes of text at most", "has a name that is too long, or none that could be read: %.80q", r.id)
	case len(b.Writer) > 512 || !utf8.ValidString(b.Writer):
		return wrong("", "has a writer of %d bytes, or none that could be read", len(b.Writer))
	}
	return nil
}

// decide says what becomes of a batch, and sees to it.
func (g *Gate) decide(ctx context.Context, s *source, r *row, b Batch) (Receipt, error) {
	if receipt, known, err := g.known(ctx, r); known || err != nil {
		return receipt, err
	}
	t := s.terms.Load()
	j := t.judge(b, r.came)
	// From here on a bearer who goes away changes nothing: the batch is whole.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), actTime)
	defer cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return Receipt{}, noSource(s.name)
	}
	if now := s.terms.Load(); now != t { // the source was revised meanwhile
		if err := r.check(now, b); err != nil {
			return Receipt{}, err
		}
		t, j = now, now.judge(b, r.came)
	}
	if s.unsettled {
		if err := g.settle(ctx, s); err != nil {
			return Receipt{}, err
		}
	}
	if receipt, known, err := g.known(ctx, r); known || err != nil {
		return receipt, err // the same came at the same time
	}
	if err := g.turn(ctx, s); err != nil {
		return Receipt{}, err
	}
	if most := t.spec.QuotaMB << 20; most > 0 && s.watcher.bytes+r.bytes > most {
		return Receipt{}, &pavise.Error{Kind: pavise.Throttled, Msg: fmt.Sprintf("%s has brought %d bytes this hour, and with this batch it would be more than its quota of %d MB", s.name, s.watcher.bytes, t.spec.QuotaMB), Hint: "send it again in the next hour"}
	}
	if err := g.conflicts(ctx, r, j); err != nil {
		return Receipt{}, err
	}
	var seen look
	if s.learner != nil {
		var reason string
		if seen, reason = s.learner.look(&j.lines); reason != "" {
			j.because("%s", reason)
		}
	}
	r.rows, r.reasons = j.rows, j.told()
	receipt := Receipt{Verdict: Admitted, SHA256: r.sum, Rows: r.rows, Reasons: r.reasons}
	if len(r.reasons) > 0 {
		receipt.Verdict = Held
		return receipt, g.hold(ctx, r, b.Body)
	}
	return receipt, g.place(ctx, s, r, j, seen, b.Body)
}

// known reports what became of a batch whose bytes came before.
func (g *Gate) known(ctx context.Context, r *row) (receipt Receipt, known bool, err error) {
	err = g.cfg.Store.View(ctx, func(tx *store.Tx) error {
		before, err := find(tx, r.source, r.sum)
		if r.placed && err == nil && before.id != r.id {
			before, err = named(tx, r.source, r.id, r.sum)
		}
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil || before.state == statePlacing {
			return err // that one never got there: this one may
		}
		known = true
		receipt = Receipt{Verdict: Repeated, SHA256: r.sum, Rows: before.rows}
		r.position = before.position
		switch before.state {
		case stateHeld, stateReleasing:
			receipt.Standing = stateHeld
			receipt.Reasons = append([]string{"it is in quarantine"}, before.reasons...)
		case stateDiscarded, stateExpired:
			receipt.Standing = before.state
			receipt.Reasons = append([]string{fmt.Sprintf("it was in quarantine, and is %s", before.state)}, before.reasons...)
		}
		return nil
	})
	return receipt, known, err
}

// conflicts holds a batch whose name came before, with other bytes: of the same writer, or
// in the output. A name that somebody else took, and was held with, is free for its writer.
func (g *Gate) conflicts(ctx context.Context, r *row, j *judgement) error {
	return g.cfg.Store.View(ctx, func(tx *store.Tx) error {
		var sum, state string
		err := tx.QueryRow(`SELECT sha256, state FROM gate_batches WHERE tenant = ? AND source = ? AND batch = ? AND sha256 <> ? AND state <> ? AND (writer = ? OR state = ?)`,
			r.source.Tenant, r.source.ID, r.id, r.sum, statePlacing, r.writer, stateAdmitted).Scan(&sum, &state)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err == nil {
			j.because("conflict: batch %.80q came before with other bytes, sha256 %.12s…, and is %s", r.id, sum, state)
		}
		return err
	})
}

const columns = `tenant, source, batch, sha256, state, position, rows, bytes, form, writer, at, came, who, root, reasons, ended`

// find reads a batch by its bytes. Where some of the same have several names, the one that
// came furthest is meant.
func find(tx *store.Tx, source pavise.Name, sum string) (*row, error) {
	return scan(tx.QueryRow(`SELECT `+columns+` FROM gate_batches WHERE tenant = ? AND source = ? AND sha256 = ? ORDER BY state = 'placing', came LIMIT 1`, source.Tenant, source.ID, sum))
}

// named reads a batch by its name and its bytes.
func named(tx *store.Tx, source pavise.Name, id, sum string) (*row, error) {
	return scan(tx.QueryRow(`SELECT `+columns+` FROM gate_batches WHERE tenant = ? AND source = ? AND batch = ? AND sha256 = ?`, source.Tenant, source.ID, id, sum))
}

func scan(from interface{ Scan(...any) error }) (*row, error) {
	r := &row{source: pavise.Name{Kind: KindSource}}
	var at, came, ended int64
	var who, root, reasons string
	err := from.Scan(&r.source.Tenant, &r.source.ID, &r.id, &r.sum, &r.state, &r.position, &r.rows, &r.bytes, &r.form, &r.writer, &at, &came, &who, &root, &reasons, &ended)
	if err != nil {
		return nil, err
	}
	instant := func(seconds int64) (t time.Time) {
		if seconds != 0 {
			t = time.Unix(seconds, 0).UTC()
		}
		return t
	}
	r.at, r.came, r.ended = instant(at), instant(came), instant(ended)
	return r, errors.Join(r.who.UnmarshalText([]byte(who)), r.root.UnmarshalText([]byte(root)), json.Unmarshal([]byte(reasons), &r.reasons))
}

// keep writes a batch into the store.
func (r *row) keep(tx *store.Tx) error {
	reasons, err := json.Marshal(r.reasons)
	if err != nil {
		return err
	}
	seconds := func(t time.Time) int64 {
		if t.IsZero() {
			return 0
		}
		return t.Unix()
	}
	_, err = tx.Exec(`INSERT INTO gate_batches (`+columns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (tenant, source, batch, sha256) DO UPDATE SET state = excluded.state, position = excluded.position, rows = excluded.rows,
			writer = excluded.writer, at = excluded.at, came = excluded.came, who = excluded.who, root = excluded.root, reasons = excluded.reasons, ended = excluded.ended`,
		r.source.Tenant, r.source.ID, r.id, r.sum, r.state, r.position, r.rows, r.bytes, r.form, r.writer,
		seconds(r.at), seconds(r.came), r.who.String(), r.root.String(), string(reasons), seconds(r.ended))
	return err
}

// reserve gives a batch the next position, and keeps that before anything is there.
func (g *Gate) reserve(ctx context.Context, s *source, r *row, state string) error {
	r.state, r.position = state, s.position+1
	err := g.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec(`UPDATE gate_sources SET position = ? WHERE tenant = ? AND id = ?`, r.position, s.name.Tenant, s.name.ID); err != nil {
			return err
		}
		return r.keep(tx)
	})
	if err == nil {
		s.position = r.position
	}
	return err
}

// place brings a batch to the output: it is said where it will lie, it is put there, whole
// and durable, and then it counts. Whatever comes in between, settle finds it there and has
// it count, or finds nothing, and then it never came. The caller holds the source's mu.
func (g *Gate) place(ctx context.Context, s *source, r *row, j *judgement, seen look, body []byte) error {
	if err := g.reserve(ctx, s, r, statePlacing); err != nil {
		return err
	}
	s.unsettled = true
	if err := g.put(ctx, r, body); err != nil {
		return err
	}
	r.state = stateAdmitted
	err := g.counted(ctx, s, r, j, seen, nil)
	s.unsettled = err != nil
	return err
}

// put writes a batch to its place in the output.
func (g *Gate) put(ctx context.Context, r *row, body []byte) error {
	if err := g.cfg.Output.Put(ctx, blob.Object{Name: r.object(), Size: int64(r.bytes)}, bytes.NewReader(body)); err != nil {
		return &pavise.Error{Kind: pavise.Unavailable, Msg: "the output takes nothing now", Hint: "try again: what comes twice counts once", Err: err}
	}
	return nil
}

// counted has a batch count that lies in the output, with what was learnt from it. mark,
// unless nil, is part of the same transaction. The caller holds the source's mu.
func (g *Gate) counted(ctx context.Context, s *source, r *row, j *judgement, seen look, mark func(*store.Tx) error) error {
	var fresh []string
	if s.learner != nil {
		fresh = s.learner.accept(&j.lines, seen)
	}
	s.watcher.count(j)
	hour := hourOf(g.cfg.Now())
	err := g.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if mark != nil {
			if err := mark(tx); err != nil {
				return err
			}
		}
		if s.learner != nil && s.learner.learnt() {
			if err := s.learner.saveTemplates(tx, s.name.Tenant, s.name.ID, fresh); err != nil {
				return err
			}
		}
		if err := s.watcher.save(tx, s.name, hour, r.rows, r.bytes); err != nil {
			return err
		}
		return r.keep(tx)
	})
	if s.learner != nil {
		if s.learner.stored = s.learner.learnt() && err == nil; s.learner.stored {
			s.learner.gone = nil
		}
	}
	if err == nil {
		s.watcher.see(j, r.writer, r.bytes, hour)
	}
	return err
}

// settle brings to an end what a process was cut off in while it brought batches to the
// output: one that lies there counts, and of the others those from quarantine go back there.
//
// The caller holds the source's mu.
func (g *Gate) settle(ctx context.Context, s *source) error {
	open, err := g.rows(ctx, `tenant = ? AND source = ? AND state IN ('placing', 'releasing')`, s.name.Tenant, s.name.ID)
	if err != nil {
		return err
	}
	for _, r := range open {
		body, err := g.there(ctx, r)
		if err != nil {
			return err
		}
		if body == nil {
			back := r.erase
			if r.state == stateReleasing {
				r.state, r.position, back = stateHeld, 0, r.keep
			}
			if err := g.cfg.Store.Update(ctx, back); err != nil {
				return err
			}
			continue
		}
		t := s.terms.Load()
		j := t.judge(Batch{ID: r.id, Form: r.form, Body: body, Writer: r.writer, At: r.at}, r.came)
		if err := g.turn(ctx, s); err != nil {
			return err
		}
		r.state = stateAdmitted
		if err := g.counted(ctx, s, r, j, look{}, nil); err != nil {
			return err
		}
		if err := g.dropLast(ctx, r); err != nil {
			return err
		}
	}
	s.unsettled = false
	return nil
}

// erase forgets a batch that never got anywhere.
func (r *row) erase(tx *store.Tx) error {
	_, err := tx.Exec(`DELETE FROM gate_batches WHERE tenant = ? AND source = ? AND batch = ? AND sha256 = ? AND state = ?`, r.source.Tenant, r.source.ID, r.id, r.sum, statePlacing)
	return err
}

// there reads a batch from the output; nil if it is not there, or not what it was to be.
func (g *Gate) there(ctx context.Context, r *row) ([]byte, error) {
	from, err := g.cfg.Output.Get(ctx, r.object())
	if pavise.KindOf(err) == pavise.NotFound && err != nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer from.Close()
	body, err := io.ReadAll(io.LimitReader(from, MaxBatch+1))
	if err != nil {
		return nil, &pavise.Error{Kind: pavise.Unavailable, Msg: "read " + r.object() + " from the output", Err: err}
	}
	if sum := sha256.Sum256(body); hex.EncodeToString(sum[:]) != r.sum {
		return nil, nil
	}
	return body, nil
}

// rows reads the batches that a condition picks, the oldest first.
func (g *Gate) rows(ctx context.Context, where string, args ...any) (all []*row, err error) {
	err = g.cfg.Store.View(ctx, func(tx *store.Tx) error {
		found, err := tx.Query(`SELECT `+columns+` FROM gate_batches WHERE `+where+` ORDER BY came, sha256, batch`, args...)
		if err != nil {
			return err
		}
		defer found.Close()
		for found.Next() {
			r, err := scan(found)
			if err != nil {
				return err
			}
			all = append(all, r)
		}
		return found.Err()
	})
	return all, err
}
