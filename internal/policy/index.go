package policy

import (
	"slices"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// A shelf holds the rules for one verb, by whom their scopes ask for and then by what.
// An entity without an id stands for all of its type, and the zero entity for all.
type shelf map[cedar.EntityUID]map[cedar.EntityUID][]*rule

// index puts each rule where its scope asks for.
func (s *Set) index() {
	s.byVerb, s.shelves = map[string]scan{}, map[string]shelf{}
	for _, r := range s.rules {
		who, on := r.who(), r.on()
		for _, verb := range r.verbs {
			s.byVerb[verb] = append(s.byVerb[verb], r)
			if s.shelves[verb] == nil {
				s.shelves[verb] = shelf{}
			}
			if s.shelves[verb][who] == nil {
				s.shelves[verb][who] = map[cedar.EntityUID][]*rule{}
			}
			s.shelves[verb][who][on] = append(s.shelves[verb][who][on], r)
		}
	}
}

// who returns what the rule's principal scope asks for.
func (r *rule) who() cedar.EntityUID { return asksFor(r.ast().Principal) }

// on returns what the rule's resource scope asks for. Things have no parents, so "in E"
// asks for E itself.
func (r *rule) on() cedar.EntityUID { return asksFor(r.ast().Resource) }

// asksFor returns the entity that half of a scope asks for. Of "is T in E" the second
// half is kept: it is the narrower one, and Cedar looks at the first.
func asksFor(scope any) cedar.EntityUID {
	switch scope := scope.(type) {
	case ast.ScopeTypeEq:
		return scope.Entity
	case ast.ScopeTypeIn:
		return scope.Entity
	case ast.ScopeTypeIsIn:
		return scope.Entity
	case ast.ScopeTypeIs:
		return cedar.EntityUID{Type: scope.Type}
	}
	return cedar.EntityUID{}
}

// matching returns the rules whose scope can match the question, in the set's order.
func (s *Set) matching(q *Question) scan {
	found, of := make(scan, 0, 32), s.shelves[q.Act.Verb]
	take := func(who cedar.EntityUID) {
		things, ok := of[who]
		if !ok {
			return
		}
		for _, on := range [...]cedar.EntityUID{{}, {Type: q.On.entity.UID.Type}, q.On.entity.UID} {
			found = append(found, things[on]...)
		}
	}
	take(cedar.EntityUID{})
	take(cedar.EntityUID{Type: q.Who.entity.UID.Type})
	take(q.Who.entity.UID)
	for role := range q.Who.entity.Parents.All() {
		take(role)
	}
	slices.SortFunc(found, func(a, b *rule) int { return a.at - b.at })
	return found
}

// A choice is what an answer depends on, beside the time. Its parts are compared as
// pointers: facts that change make another Thing, and roles another Subject.
type choice struct {
	who      *Subject
	act      *Act
	on       *Thing
	approved bool
}

// An answer is what is kept for a choice: the rules that can match, and the decision if
// none of them looks at the time.
type answer struct {
	rules   scan
	timed   bool
	decided *Decision
}
