package gate

import (
	"fmt"
	"slices"

	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/template"
)

const (
	// maxTemplates is how many templates of one source are known; those not seen for longest
	// give way.
	maxTemplates = 10_000
	// fewNew is how many lines of one batch may have a new template however small it is, as
	// long as the share lasts.
	fewNew = 3
	// allowance is of how many lines the share is saved up at most, for small batches.
	allowance = 1_000
)

// A learner knows the templates of one source. The source's mutex guards it.
type learner struct {
	miner  *template.Miner
	gone   []string // templates that gave way, and that the store may still have
	share  float64  // of lines that may have a new template
	learn  int      // lines that it learns from before it judges any
	lines  int      // that it learnt from so far
	room   float64  // lines with new templates that may come now
	stored bool     // the store has what it knows
}

func newLearner(t *terms) *learner {
	l := &learner{share: t.spec.NewShare, learn: t.spec.Learn, room: t.spec.NewShare * allowance}
	l.miner = template.New(template.Options{Clusters: maxTemplates, Gone: func(c template.Cluster) {
		if l.stored {
			l.gone = append(l.gone, c.Template)
		}
	}})
	return l
}

// hold has the learner judge by other terms. One that has learnt goes on judging, also where
// others would learn for longer.
func (l *learner) hold(t *terms) {
	learn := t.spec.Learn
	if l.learnt() {
		learn = min(learn, l.lines)
	}
	l.share, l.learn = t.spec.NewShare, learn
	l.room = min(l.room, l.share*allowance)
}

// learnt reports whether it has seen enough to judge.
func (l *learner) learnt() bool { return l.lines >= l.learn }

// A look is what a learner sees in the lines of a batch.
type look struct {
	fresh []int // lines that are like none before
}

// look says which lines have a template that is not known, and why the batch is to be held
// for it, or "". Nothing is learnt from it: who is held teaches nothing.
func (l *learner) look(lines *texts) (seen look, reason string) {
	if !l.learnt() {
		return seen, ""
	}
	for i := range lines.len() {
		if l.miner.Like(lines.at(i)) == 0 {
			seen.fresh = append(seen.fresh, i)
		}
	}
	n, of := len(seen.fresh), lines.len()
	usual := l.share * float64(of)
	few := n <= fewNew || float64(n) <= usual
	if n == 0 || few && float64(n) <= l.room+usual {
		return seen, ""
	}
	first := seen.fresh[0]
	reason = fmt.Sprintf("row %d: %.160q is like no line before, and so are %d of its %d lines, where a share of %g may be new", lines.rows[first], lines.at(first), n, of, l.share)
	if few {
		reason += ", and what came lately used it up"
	}
	return seen, reason
}

// accept learns from a batch that was let in, and returns the templates that the store does
// not have yet, the one that was seen last first.
func (l *learner) accept(lines *texts, seen look) (fresh []string) {
	was := l.learnt()
	made := l.miner.Made()
	if was {
		for _, i := range seen.fresh {
			l.miner.Add(lines.at(i))
		}
		l.room = min(l.room-float64(len(seen.fresh))+l.share*float64(lines.len()), l.share*allowance)
	} else {
		for i := range lines.len() {
			l.miner.Add(lines.at(i))
		}
	}
	l.lines += lines.len()
	if !l.learnt() {
		return nil
	}
	if !l.stored {
		made = 0 // it is the first time that they are kept
	}
	for c := range l.miner.Clusters() {
		if c.ID > made {
			fresh = append(fresh, c.Template)
		}
	}
	return fresh
}

// loadTemplates brings back what a learner knew. learnt is 0 where it was still learning: then
// it begins anew.
func loadTemplates(tx *store.Tx, l *learner, tenant, id string, learnt int) error {
	if learnt == 0 {
		return nil
	}
	rows, err := tx.Query(`SELECT template FROM gate_templates WHERE tenant = ? AND source = ? ORDER BY seen, template`, tenant, id)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var text []byte
		if err := rows.Scan(&text); err != nil {
			return err
		}
		l.miner.Add(text)
	}
	l.lines, l.learn, l.stored = learnt, min(l.learn, learnt), true
	return rows.Err()
}

// saveTemplates keeps what is new, which was seen later than all that is there, and deletes
// what gave way.
func (l *learner) saveTemplates(tx *store.Tx, tenant, id string, fresh []string) error {
	for _, text := range l.gone {
		if _, err := tx.Exec(`DELETE FROM gate_templates WHERE tenant = ? AND source = ? AND template = ?`, tenant, id, []byte(text)); err != nil {
			return err
		}
	}
	if len(fresh) > 0 {
		var seen int
		if err := tx.QueryRow(`SELECT coalesce(max(seen), 0) FROM gate_templates WHERE tenant = ? AND source = ?`, tenant, id).Scan(&seen); err != nil {
			return err
		}
		for i, text := range slices.Backward(fresh) {
			if _, err := tx.Exec(`INSERT INTO gate_templates (tenant, source, template, seen) VALUES (?, ?, ?, ?)
				ON CONFLICT (tenant, source, template) DO UPDATE SET seen = excluded.seen`, tenant, id, []byte(text), seen+len(fresh)-i); err != nil {
				return err
			}
		}
		// Texts that became one when they were read back gave way as another: they go by their age.
		if _, err := tx.Exec(`DELETE FROM gate_templates WHERE tenant = ?1 AND source = ?2 AND seen <=
			(SELECT seen FROM gate_templates WHERE tenant = ?1 AND source = ?2 ORDER BY seen DESC LIMIT 1 OFFSET ?3)`, tenant, id, maxTemplates); err != nil {
			return err
		}
	}
	_, err := tx.Exec(`UPDATE gate_sources SET learnt = ? WHERE tenant = ? AND id = ?`, l.lines, tenant, id)
	return err
}
