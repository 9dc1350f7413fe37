package siem

import (
	"cmp"
	"io"

	"github.com/pavise/pavise/internal/record"
)

// An Export writes the findings of a log as JSON lines, without a server: those of all
// tenants, each tenant's refusals folded apart. Its owner is one goroutine.
type Export struct {
	w     io.Writer
	spell speller
	folds map[string]*fold // by tenant
	order []string         // of folds
	told  uint64
}

// NewExport returns an export of the log of a name, by a product of a version.
func NewExport(w io.Writer, origin, version string) *Export {
	return &Export{w: w, spell: speller{origin, cmp.Or(version, "unreleased")}, folds: map[string]*fold{}}
}

// Add takes the log's next record.
func (e *Export) Add(index uint64, r *record.Record) error {
	f, ok := Worth(index, r)
	if !ok {
		return nil
	}
	if e.folds[r.Tenant] == nil {
		e.folds[r.Tenant], e.order = &fold{}, append(e.order, r.Tenant)
	}
	return e.write(e.folds[r.Tenant].add(f))
}

// End writes what was counted and not written yet.
func (e *Export) End() error {
	for _, tenant := range e.order {
		d := e.folds[tenant]
		if err := e.write(d.end(d.until)); err != nil {
			return err
		}
	}
	return nil
}

// Told is how many events were written.
func (e *Export) Told() uint64 { return e.told }

func (e *Export) write(batch []telling) error {
	for _, t := range batch {
		if _, err := e.w.Write(e.spell.line(t)); err != nil {
			return err
		}
		e.told++
	}
	return nil
}
