package gate

import (
	"fmt"

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
	share  float64 // of lines that may have a new template
	learn  int     // lines that it learns from before it judges any
	lines  int     // that it learnt from so far
	room   float64 // lines with new templates that may come now
	stored bool    // the store has what it knows
}

func newLearner(t *terms) *learner {
	return &learner{
		miner: template.New(template.Options{Clusters: maxTemplates}),
		share: t.spec.NewShare, learn: t.spec.Learn, room: t.spec.NewShare * allowance,
	}
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
// not have yet.
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

// loadTemplates brings back what a learner knew.
func loadTemplates(tx *store.Tx, l *learner, tenant, id string, learnt int) error {
	if learnt < l.learn {
		return nil // it was still learning: it begins anew
	}
	rows, err := tx.Query(`SELECT template FROM gate_templates WHERE tenant = ? AND source = ?`, tenant, id)
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
	l.lines, l.stored = learnt, true
	return rows.Err()
}

// saveTemplates keeps what is new.
func saveTemplates(tx *store.Tx, tenant, id string, fresh []string, learnt int) error {
	for _, text := range fresh {
		if _, err := tx.Exec(`INSERT OR IGNORE INTO gate_templates (tenant, source, template) VALUES (?, ?, ?)`, tenant, id, []byte(text)); err != nil {
			return err
		}
	}
	_, err := tx.Exec(`UPDATE gate_sources SET learnt = ? WHERE tenant = ? AND id = ?`, learnt, tenant, id)
	return err
}
