package policy

import (
	"slices"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// A cell is what a scope asks for: a verb, of whom and on what. An entity without an id
// stands for all of its type, and the zero entity for all.
type cell struct {
	verb string
	who  cedar.EntityUID
	on   cedar.EntityUID
}

// index puts each rule into the cells that its scope asks for.
func (s *Set) index() {
	s.byVerb, s.cells = map[string]scan{}, map[cell][]*rule{}
	for _, r := range s.rules {
		who, on := r.who(), r.on()
		for _, verb := range r.verbs {
			s.byVerb[verb] = append(s.byVerb[verb], r)
			at := cell{verb, who, on}
			s.cells[at] = append(s.cells[at], r)
		}
	}
}

// who returns what the rule's principal scope asks for. Of "is T in E" the second half
// is kept: it is the narrower one, and Cedar looks at the first.
func (r *rule) who() cedar.EntityUID {
	switch scope := r.ast().Principal.(type) {
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

// on returns what the rule's resource scope asks for. Things have no parents, so "in E"
// asks for E itself.
func (r *rule) on() cedar.EntityUID {
	switch scope := r.ast().Resource.(type) {
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
	var found scan
	take := func(who cedar.EntityUID) {
		for _, on := range [...]cedar.EntityUID{{}, {Type: q.On.entity.UID.Type}, q.On.entity.UID} {
			found = append(found, s.cells[cell{q.Act.Verb, who, on}]...)
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
