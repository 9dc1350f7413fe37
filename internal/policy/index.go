package policy

import (
	"iter"
	"slices"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// A shelf holds rules by whom their scopes ask for and then by what. An entity without
// an id stands for all of its type, and the zero entity for all.
type shelf map[cedar.EntityUID]map[cedar.EntityUID][]*rule

// index puts each rule where its scope asks for: on the shelf of each verb or group of
// verbs that it names, so that a rule about all verbs stands in one place.
func (s *Set) index() {
	s.shelves = map[cedar.EntityUID]shelf{}
	for _, r := range s.rules {
		who, on := r.who(), r.on()
		for _, act := range r.acts() {
			if s.shelves[act] == nil {
				s.shelves[act] = shelf{}
			}
			if s.shelves[act][who] == nil {
				s.shelves[act][who] = map[cedar.EntityUID][]*rule{}
			}
			s.shelves[act][who][on] = append(s.shelves[act][who][on], r)
		}
	}
}

// acts returns what the rule's action scope asks for.
func (r *rule) acts() []cedar.EntityUID {
	switch scope := r.ast().Action.(type) {
	case ast.ScopeTypeEq:
		return []cedar.EntityUID{scope.Entity}
	case ast.ScopeTypeIn:
		return []cedar.EntityUID{scope.Entity}
	case ast.ScopeTypeInSet:
		return scope.Entities
	}
	return []cedar.EntityUID{{}}
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
	found, whos := make(scan, 0, 32), make([]cedar.EntityUID, 0, 8)
	whos = append(whos, cedar.EntityUID{}, cedar.EntityUID{Type: q.Who.entity.UID.Type}, q.Who.entity.UID)
	for role := range q.Who.entity.Parents.All() {
		whos = append(whos, role)
	}
	for act := range q.Act.asked() {
		of := s.shelves[act]
		if of == nil {
			continue
		}
		for _, who := range whos {
			things, ok := of[who]
			if !ok {
				continue
			}
			for _, on := range [...]cedar.EntityUID{{}, {Type: q.On.entity.UID.Type}, q.On.entity.UID} {
				found = append(found, things[on]...)
			}
		}
	}
	slices.SortFunc(found, func(a, b *rule) int { return a.at - b.at })
	return slices.Compact(found) // a rule about several verbs is met more than once
}

// asked yields what an action scope that matches the act can ask for: all verbs, the verb
// itself, and each of its groups.
func (a *Act) asked() iter.Seq[cedar.EntityUID] {
	return func(yield func(cedar.EntityUID) bool) {
		if !yield(cedar.EntityUID{}) || !yield(a.entity.UID) {
			return
		}
		for of := range a.entity.Parents.All() {
			if !yield(of) {
				return
			}
		}
	}
}

// about returns the rules whose action scope can match an act, in the set's order.
func (s *Set) about(a *Act) (rules scan) {
	for _, r := range s.rules {
		if r.covers(a) {
			rules = append(rules, r)
		}
	}
	return rules
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
