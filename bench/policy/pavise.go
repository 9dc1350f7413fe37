package main

import (
	"slices"

	"github.com/pavise/pavise/bench/asked"
	"github.com/pavise/pavise/internal/policy"
)

// An indexed is Pavise's set of policies, asked as the guard asks it: it is given the
// principal, the verb, the name and what is known about the thing, and looks up what
// policies see of them.
type indexed struct {
	name     string
	schema   *policy.Schema
	set      *policy.Set
	entities *policy.Entities
	decide   func(*policy.Question) policy.Decision
	asks     []asked.Question
}

// The names of Pavise's two rows.
const (
	keeps   = "Pavise"
	forgets = "Pavise, nothing kept"
)

// newIndexed returns the set as it is, which keeps what it decided, and the same set
// when nothing is kept.
func newIndexed(schema *policy.Schema, sources []source, asks []asked.Question) (keeping, fresh *indexed, err error) {
	texts := map[string]string{}
	for _, s := range sources {
		texts[s.id] = s.text
	}
	set, err := schema.Compile(tenant, texts, nil)
	if err != nil {
		return nil, nil, err
	}
	keeping = &indexed{keeps, schema, set, policy.NewEntities(schema, ""), set.Decide, asks}
	fresh = &indexed{forgets, schema, set, policy.NewEntities(schema, ""), set.Fresh, asks}
	return keeping, fresh, nil
}

func (p *indexed) Name() string { return p.name }

func (p *indexed) ask(i int) policy.Decision {
	ask := &p.asks[i]
	act, _ := p.schema.Act(ask.Act.Verb)
	return p.decide(&policy.Question{
		Who: p.entities.Subject(&ask.Who, ask.Granted), Act: act, On: p.entities.Thing(ask.On, ask.Facts),
		At: ask.At, Approved: ask.Approved,
	})
}

func (p *indexed) Decide(i int) (bool, error) { return p.ask(i).Allow, nil }

// reasons returns the decision with the policies that decided, sorted.
func (p *indexed) reasons(i int) (bool, []string) {
	d := p.ask(i)
	return d.Allow, slices.Sorted(slices.Values(d.Reasons))
}
