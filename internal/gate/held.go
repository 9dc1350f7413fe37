package gate

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/figure"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/store/blob"
)

// maxShown is how many bytes of a batch in quarantine are shown.
const maxShown = 16 << 20

// A HeldBatch is a batch in quarantine.
type HeldBatch struct {
	Source  pavise.Name `json:"source"`
	SHA256  string      `json:"sha256"`
	Batch   string      `json:"batch"` // the sender's name for it
	Rows    int         `json:"rows"`
	Bytes   int         `json:"bytes"`
	Form    string      `json:"form"`
	Writer  string      `json:"writer,omitempty"`
	At      time.Time   `json:"at,omitzero"` // when the carrier says it was written
	Came    time.Time   `json:"came"`
	Who     pavise.Name `json:"who"` // who brought it
	Reasons []string    `json:"reasons"`
	Until   time.Time   `json:"until"` // then it is gone
}

// HeldList holds what is in quarantine.
type HeldList struct {
	Held []HeldBatch `json:"held"`
	Body []byte      `json:"body,omitempty"` // of the one batch that was asked for
}

func (g *Gate) shown(r *row) HeldBatch {
	return HeldBatch{r.source, r.sum, r.id, r.rows, r.bytes, r.form, r.writer, r.at, r.came, r.who, r.reasons, r.came.Add(g.cfg.KeepHeld)}
}

// tied is what ties the bytes in an envelope to their batch.
func tied(r *row) []byte { return []byte(r.source.String() + " " + r.sum) }

// hold puts a batch into quarantine, and leaves a finding, before it counts: nothing lies
// there that was not told. The caller holds the source's mu.
func (g *Gate) hold(ctx context.Context, r *row, body []byte) error {
	if err := g.room(ctx, r); err != nil {
		return err
	}
	envelope := g.cfg.KEK.Quarantine(r.source.Tenant).Seal(tied(r), body)
	err := g.held.Put(ctx, blob.Object{Name: heldName(r.source, r.sum), Size: int64(len(envelope))}, bytes.NewReader(envelope))
	if err != nil {
		return &pavise.Error{Kind: pavise.Unavailable, Msg: "the quarantine takes nothing now", Hint: "check the disk of " + g.cfg.Dir, Err: err}
	}
	words := fmt.Sprintf("a batch of %s for %s is in quarantine: %s", figure.Count(r.rows, "row"), r.source, r.reasons[0])
	if n := len(r.reasons) - 1; n > 0 {
		words += fmt.Sprintf("; and %d more reasons", n)
	}
	if err := g.finding(ctx, KindHeld, pavise.Warning, r.source, r.who, words, map[string]any{"sha256": r.sum, "batch": r.id, "writer": r.writer}); err != nil {
		return err // the next start removes what lies there
	}
	r.state = stateHeld
	return g.cfg.Store.Update(ctx, r.keep)
}

// room refuses a batch for which the quarantine of its source has none.
func (g *Gate) room(ctx context.Context, r *row) error {
	var n, bytes int
	err := g.cfg.Store.View(ctx, func(tx *store.Tx) error {
		return tx.QueryRow(`SELECT count(*), coalesce(sum(bytes), 0) FROM gate_batches WHERE tenant = ? AND source = ? AND state IN ('held', 'releasing')`, r.source.Tenant, r.source.ID).Scan(&n, &bytes)
	})
	if err == nil && (n >= g.cfg.MostHeld || bytes+r.bytes > g.cfg.MostBytes) {
		err = &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("the quarantine of %s is full, with %d batches, and this one cannot be let in: %s", r.source, n, r.reasons[0]), Hint: "pavise ingest held shows them; release or discard some"}
	}
	return err
}

// pick finds the one batch in quarantine whose digest begins so.
func (g *Gate) pick(ctx context.Context, source pavise.Name, start string) (*row, error) {
	if len(start) < 8 || len(start) > 64 || strings.Trim(start, "0123456789abcdef") != "" {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.80q is no SHA-256 of a batch, and no beginning of one", start), Hint: "give its first eight digits at least, as pavise ingest held shows them"}
	}
	found, err := g.rows(ctx, `tenant = ? AND source = ? AND state IN ('held', 'releasing') AND substr(sha256, 1, ?) = ?`, source.Tenant, source.ID, len(start), start)
	switch {
	case err != nil:
		return nil, err
	case len(found) == 0:
		return nil, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("no batch %s of %s is in quarantine", start, source), Hint: "pavise ingest held shows those that are"}
	case slices.ContainsFunc(found, func(r *row) bool { return r.sum != found[0].sum }):
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%d batches of %s begin with %s", len(found), source, start), Hint: "give more digits"}
	}
	return found[0], nil
}

// open reads a batch from quarantine. The error is of kind Unverified if it is not what was
// put there.
func (g *Gate) open(ctx context.Context, r *row) ([]byte, error) {
	from, err := g.held.Get(ctx, heldName(r.source, r.sum))
	if err != nil {
		return nil, err
	}
	defer from.Close()
	envelope, err := io.ReadAll(io.LimitReader(from, MaxBatch+1024))
	if err != nil {
		return nil, &pavise.Error{Kind: pavise.Unavailable, Msg: "read a batch from quarantine", Err: err}
	}
	body, err := g.cfg.KEK.Quarantine(r.source.Tenant).Open(tied(r), envelope)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(body); hex.EncodeToString(sum[:]) != r.sum {
		return nil, &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("what lies in quarantine as batch %s of %s is another", r.sum, r.source)}
	}
	return body, nil
}

// Held returns what is in quarantine, of one source or of the tenant, the oldest first: the
// verb ingest.held. batch, unless "", is the beginning of one's SHA-256, which is returned
// with its bytes.
func (g *Gate) Held(ctx context.Context, who pavise.Principal, source pavise.Name, batch string) (list HeldList, err error) {
	entry, err := g.cfg.Guard.Enter(ctx, who, "ingest.held", cmp.Or(source, allSources(who)))
	if err != nil {
		return list, err
	}
	defer entry.Exit(&err)
	list.Held = []HeldBatch{}
	if batch != "" {
		r, err := g.pick(ctx, source, batch)
		if err != nil {
			return list, err
		}
		entry.Detail(map[string]string{"sha256": r.sum})
		if list.Held = append(list.Held, g.shown(r)); r.bytes > maxShown {
			return list, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("batch %s has %d bytes, and %d are shown at most", r.sum, r.bytes, maxShown), Hint: "release it, or look at what the source sent"}
		}
		list.Body, err = g.open(ctx, r)
		return list, err
	}
	all, err := g.rows(ctx, `tenant = ? AND (source = ? OR ? = '') AND state IN ('held', 'releasing')`, cmp.Or(source.Tenant, who.Tenant), source.ID, source.ID)
	for _, r := range all {
		list.Held = append(list.Held, g.shown(r))
	}
	return list, err
}

// A ReleasePlan says what releasing a batch would come to.
type ReleasePlan struct {
	HeldBatch
	Before string      `json:"-"`    // what it depends on, beside the bytes: the batch's name, and what it is held for
	Root   pavise.Name `json:"root"` // who answers for whoever brought it
}

// PlanRelease says what releasing a batch in quarantine would come to. batch is the
// beginning of its SHA-256. The error is of kind NotFound if there is none, and Unverified
// if its bytes are not those that were held.
//
// Unguarded: change asks, for who proposes it and who votes, and has entered for them.
func (g *Gate) PlanRelease(ctx context.Context, source pavise.Name, batch string) (plan ReleasePlan, err error) {
	r, err := g.pick(ctx, source, batch)
	if err != nil {
		return plan, err
	}
	if _, err := g.find(source); err != nil {
		return plan, err
	}
	if _, err := g.open(ctx, r); err != nil {
		return plan, err
	}
	sum := sha256.Sum256([]byte(r.id + "\n" + strings.Join(r.reasons, "\n"))) // others may have the same bytes
	return ReleasePlan{g.shown(r), hex.EncodeToString(sum[:]), r.root}, nil
}

// Release lets a batch out of quarantine and into the output: the verb ingest.release. sum
// is its whole SHA-256, as people approved it. mark is part of the transaction in which it
// counts.
func (g *Gate) Release(ctx context.Context, who pavise.Principal, source pavise.Name, sum string, mark func(*store.Tx) error) (err error) {
	entry, err := g.cfg.Guard.Enter(ctx, who, "ingest.release", source)
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	s, err := g.find(source)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unsettled {
		if err := g.settle(ctx, s); err != nil {
			return err
		}
	}
	if done, err := g.released(ctx, source, sum, mark); done || err != nil {
		return err
	}
	r, err := g.pick(ctx, source, sum)
	if err != nil {
		return err
	}
	if r.sum != sum || s.gone {
		return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("batch %s of %s is not what was approved", r.sum, source)}
	}
	body, err := g.open(ctx, r)
	if err != nil {
		return err
	}
	if err := g.reserve(ctx, s, r, stateReleasing); err != nil {
		return err
	}
	s.unsettled = true
	entry.Detail(map[string]any{"sha256": r.sum, "rows": r.rows, "position": r.position, "reasons": r.reasons})
	if err := g.put(ctx, r, body); err != nil {
		return err
	}
	if err := g.turn(ctx, s); err != nil {
		return err
	}
	j := s.terms.Load().judge(Batch{ID: r.id, Form: r.form, Body: body, Writer: r.writer, At: r.at}, r.came)
	var seen look
	if s.learner != nil {
		seen, _ = s.learner.look(&j.lines)
	}
	r.state, r.ended = stateAdmitted, g.cfg.Now()
	if err := g.counted(ctx, s, r, j, seen, mark); err != nil {
		return err
	}
	s.unsettled = false
	return g.dropLast(ctx, r)
}

// released ends a release that was cut off when the batch lay in the output already, and
// that settle had count: what is left of it is its mark.
func (g *Gate) released(ctx context.Context, source pavise.Name, sum string, mark func(*store.Tx) error) (done bool, err error) {
	found, err := g.rows(ctx, `tenant = ? AND source = ? AND sha256 = ? AND state = 'admitted' AND ended = 0 AND reasons <> 'null'`, source.Tenant, source.ID, sum) // who has reasons was in quarantine
	if err != nil || len(found) == 0 {
		return false, err
	}
	found[0].ended = g.cfg.Now()
	return true, g.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if mark != nil {
			if err := mark(tx); err != nil {
				return err
			}
		}
		return found[0].keep(tx)
	})
}

// Discard takes a batch out of quarantine for good: the verb ingest.discard. batch is the
// beginning of its SHA-256. What it was held for stays in the log.
func (g *Gate) Discard(ctx context.Context, who pavise.Principal, source pavise.Name, batch, reason string) (held HeldBatch, err error) {
	entry, err := g.cfg.Guard.Enter(ctx, who, "ingest.discard", source)
	if err != nil {
		return held, err
	}
	defer entry.Exit(&err)
	s, err := g.find(source)
	if err != nil {
		return held, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unsettled {
		if err := g.settle(ctx, s); err != nil && pavise.KindOf(err) != pavise.Unavailable {
			return held, err // what is on its way to an output that is away is refused below
		}
	}
	r, err := g.pick(ctx, source, batch)
	if err != nil {
		return held, err
	}
	entry.Detail(map[string]any{"sha256": r.sum, "batch": r.id, "rows": r.rows, "reasons": r.reasons, "reason": reason})
	return g.shown(r), g.end(ctx, r, stateDiscarded)
}

// end has a batch leave the quarantine without having been let in. The caller holds the
// source's mu. The error is of kind Conflict for one that is on its way to the output.
func (g *Gate) end(ctx context.Context, r *row, state string) error {
	err := g.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		done, err := tx.Exec(`UPDATE gate_batches SET state = ?, ended = ? WHERE tenant = ? AND source = ? AND batch = ? AND sha256 = ? AND state = ?`,
			state, g.cfg.Now().Unix(), r.source.Tenant, r.source.ID, r.id, r.sum, stateHeld)
		if err != nil {
			return err
		}
		if n, err := done.RowsAffected(); err != nil || n == 1 {
			return err
		}
		return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("batch %s of %s is being released, and may lie in the output already", r.sum, r.source), Hint: "try again once the output is there: then it is known"}
	})
	if err != nil {
		return err
	}
	return g.dropLast(ctx, r)
}

// dropLast removes the bytes of a batch that has left the quarantine, unless another one
// with the same bytes is there still. The caller holds the source's mu.
func (g *Gate) dropLast(ctx context.Context, r *row) error {
	var others int
	err := g.cfg.Store.View(ctx, func(tx *store.Tx) error {
		return tx.QueryRow(`SELECT count(*) FROM gate_batches WHERE tenant = ? AND source = ? AND sha256 = ? AND state IN ('held', 'releasing')`, r.source.Tenant, r.source.ID, r.sum).Scan(&others)
	})
	if err != nil || others > 0 {
		return err
	}
	return g.drop(heldName(r.source, r.sum))
}

// expire takes out of quarantine what was there for too long, and says so before. The caller
// holds the source's mu.
func (g *Gate) expire(ctx context.Context, name pavise.Name, now time.Time) error {
	old, err := g.rows(ctx, `tenant = ? AND source = ? AND state = 'held' AND came < ?`, name.Tenant, name.ID, now.Add(-g.cfg.KeepHeld).Unix())
	if err != nil {
		return err
	}
	for _, r := range old {
		words := fmt.Sprintf("a batch of %s for %s was in quarantine since %s, and is gone: %s", figure.Count(r.rows, "row"), name, r.came.Format(time.DateOnly), r.reasons[0])
		if err := g.finding(ctx, KindExpired, pavise.Warning, name, r.who, words, map[string]any{"sha256": r.sum, "batch": r.id}); err != nil {
			return err
		}
		if err := g.end(ctx, r, stateExpired); err != nil {
			return err
		}
	}
	return nil
}

// forget forgets what became of batches long ago, and hours that no watcher looks back to.
func (g *Gate) forget(ctx context.Context, now time.Time) error {
	return g.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec(`DELETE FROM gate_batches WHERE state IN ('admitted', 'discarded', 'expired') AND came < ?`, now.Add(-remember).Unix()); err != nil {
			return err
		}
		_, err := tx.Exec(`DELETE FROM gate_hours WHERE hour < ?`, hourOf(now)-weeksRead*168)
		return err
	})
}
