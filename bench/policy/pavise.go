package main

import (
	"context"
	"iter"
	"slices"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/record"
)

// An indexed is Pavise's guard, asked without recording. It is given what a gateway has:
// the principal, the verb and the name.
type indexed struct {
	guard *guard.Guard
	asks  []question
}

func newIndexed(sources []source, asks []question) (*indexed, error) {
	g, err := guard.New(guard.Config{Actions: actions(), Log: nowhere{}, Now: clockNow, Tenant: tenant, Quarantined: quarantined})
	if err != nil {
		return nil, err
	}
	texts := map[string]string{}
	for _, s := range sources {
		texts[s.id] = s.text
	}
	return &indexed{g, asks}, g.Load(tenant, texts)
}

func (*indexed) Name() string { return "Pavise" }

func (p *indexed) Decide(i int) (bool, error) {
	q := &p.asks[i]
	return p.guard.May(q.who, q.verb, q.on), nil
}

// reasons returns the decision with the policies that decided, sorted.
func (p *indexed) reasons(i int) (bool, []string) {
	q := &p.asks[i]
	x := p.guard.Explain(q.who, q.verb, q.on)
	var ids []string
	for _, r := range x.Decided {
		ids = append(ids, r.ID)
	}
	slices.Sort(ids)
	return x.Decision == pavise.Allow, ids
}

// nowhere is a log that keeps nothing: what is measured here records nothing.
type nowhere struct{}

func (nowhere) Append(context.Context, *record.Record, ledger.Durability) (ledger.Receipt, error) {
	return ledger.Receipt{}, nil
}
func (nowhere) Size() uint64 { return 0 }
func (nowhere) Records(from, to uint64) iter.Seq2[uint64, record.Record] {
	return func(func(uint64, record.Record) bool) {}
}
