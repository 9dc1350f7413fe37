package policy

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/pavise/pavise"
)

// A Question is what is asked. It answers Cedar for the three entities that a policy
// can reach, so that no map of entities is built per request; roles have neither
// attributes nor parents and need no entity.
type Question struct {
	Who *Subject
	Act *Act
	On  *Thing
	At  time.Time
	// Approved: the act is a change that was approved and is under way.
	Approved bool
}

// Get returns the entity with the id; it makes a Question a cedar.EntityGetter.
func (q *Question) Get(uid cedar.EntityUID) (cedar.Entity, bool) {
	switch uid {
	case q.Who.entity.UID:
		return q.Who.entity, true
	case q.On.entity.UID:
		return q.On.entity, true
	case q.Act.entity.UID:
		return q.Act.entity, true
	}
	return cedar.Entity{}, false
}

// request is the question in Cedar's words. The context is a third of what a
// decision costs, so it is built only for rules that can look at it.
func (q *Question) request(timed bool) cedar.Request {
	r := cedar.Request{Principal: q.Who.entity.UID, Action: q.Act.entity.UID, Resource: q.On.entity.UID}
	if timed {
		r.Context = cedar.NewRecord(cedar.RecordMap{"now": cedar.NewDatetime(q.At), "approved": cedar.Boolean(q.Approved)})
	}
	return r
}

// A Subject is a principal as policies see it, with all roles that it has.
type Subject struct{ entity cedar.Entity }

// NewSubject returns the principal with the roles of its proof and those granted
// beside them. demo says that the local issuer vouches for it. The principal's kind
// must be one of the three.
func NewSubject(who pavise.Principal, granted []string, demo bool) *Subject {
	all := slices.Concat(who.Roles, granted)
	parents := make([]cedar.EntityUID, len(all))
	for i, role := range all {
		parents[i] = cedar.NewEntityUID(roleType, cedar.String(role))
	}
	return &Subject{entity: cedar.Entity{
		UID:     cedar.NewEntityUID(principalTypes[who.Kind], cedar.String(who.ID)),
		Parents: cedar.NewEntityUIDSet(parents...),
		Attributes: cedar.NewRecord(cedar.RecordMap{
			"tenant":      cedar.String(who.Tenant),
			"issuer":      cedar.String(who.Issuer),
			"environment": cedar.String(who.Environment),
			"roles":       texts(all),
			"asserted":    texts(who.Roles),
			"demo":        cedar.Boolean(demo),
		}),
	}}
}

// texts is a set of strings.
func texts(list []string) cedar.Set {
	values := make([]cedar.Value, len(list))
	for i, s := range list {
		values[i] = cedar.String(s)
	}
	return cedar.NewSet(values...)
}

// A Thing is a named thing as policies see it, with the facts known about it.
type Thing struct {
	Name   pavise.Name
	Facts  Facts
	rest   string // the facts but the quarantine, spelled
	entity cedar.Entity
}

// Rest spells the facts beside a quarantine as Facts.String does; "" if there are none.
// It was spelled once, when the thing was made: records say it again and again.
func (t *Thing) Rest() string { return t.rest }

// Thing returns the thing with the facts that things of its kind have. One of a kind
// that no verb applies to has no type; nothing is decided about it.
func (s *Schema) Thing(name pavise.Name, facts Facts) *Thing {
	attributes := cedar.RecordMap{
		"tenant":      cedar.String(name.Tenant),
		"quarantined": cedar.Boolean(facts.Quarantined),
	}
	for _, extra := range extras[name.Kind] {
		switch extra {
		case "state":
			attributes["state"] = cedar.String(facts.State)
		case "risk":
			attributes["risk"] = cedar.String(facts.Risk)
		case "environment":
			attributes["environment"] = cedar.String(facts.Environment)
		case "scrubbed":
			attributes["scrubbed"] = cedar.Boolean(facts.Scrubbed)
		}
	}
	rest := facts
	rest.Quarantined = false
	return &Thing{Name: name, Facts: facts, rest: rest.String(), entity: cedar.Entity{
		UID:        cedar.NewEntityUID(s.types[name.Kind], cedar.String(name.ID)),
		Attributes: cedar.NewRecord(attributes),
	}}
}

// A Decision is the answer to a question, with what led to it. Its slices may be
// shared: they are not to be changed.
type Decision struct {
	Allow     bool
	Guardrail bool // a guardrail forbids it
	Loaded    bool // the tenant has policies
	Digest    string
	Reasons   []string // ids of the policies that decided; none for a default deny
	Errors    []string // policies that could not be evaluated, and why
	Doc       string   // the @doc of the first of the reasons that forbids
}

// Decide answers a question about a thing of the tenant whose set this is.
func (s *Set) Decide(q *Question) Decision {
	key := choice{q.Who, q.Act, q.On, q.Approved}
	a, ok := s.kept.get(key)
	if !ok {
		rules := s.matching(q)
		a = &answer{rules: rules, timed: rules.timed()}
		if !a.timed || !rules.clocked() {
			d := s.conclude(rules, q, a.timed)
			a.decided = &d
		}
		s.kept.put(key, a)
	}
	if a.decided != nil {
		return *a.decided
	}
	return s.conclude(a.rules, q, true)
}

// Fresh answers as Decide does, by the index and from nothing that was kept.
func (s *Set) Fresh(q *Question) Decision {
	rules := s.matching(q)
	return s.conclude(rules, q, rules.timed())
}

// Scan answers as Decide does, by evaluating every policy there is: what the index is
// held to.
func (s *Set) Scan(q *Question) Decision { return s.conclude(s.rules, q, true) }

// A scan is the rules that Cedar evaluates for one question.
type scan []*rule

// All yields the rules in order; it makes a scan a cedar.PolicyIterator.
func (s scan) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) {
		for _, r := range s {
			if !yield(cedar.PolicyID(r.id), r.policy) {
				return
			}
		}
	}
}

// timed reports whether a rule may look at the context.
func (s scan) timed() bool { return slices.ContainsFunc(s, func(r *rule) bool { return r.timed }) }

// clocked reports whether a rule may look at more of the context than whether the act
// was approved, which is part of what an answer is kept for.
func (s scan) clocked() bool {
	return slices.ContainsFunc(s, func(r *rule) bool {
		return r.timed && strings.Count(r.text, "context") != strings.Count(r.text, "context.approved")
	})
}

// maxError bounds what a record keeps of a policy's error, and maxErrors of how many.
const (
	maxError  = 128 // bytes
	maxErrors = 16
)

// conclude evaluates the rules with Cedar. Cedar skips a policy that cannot be
// evaluated; here a forbid that cannot be evaluated forbids.
func (s *Set) conclude(rules scan, q *Question, timed bool) Decision {
	answer, diagnostic := cedar.Authorize(rules, q, q.request(timed))
	d := Decision{Allow: answer == cedar.Allow, Loaded: s.loaded, Digest: s.digest}
	for _, e := range diagnostic.Errors[:min(len(diagnostic.Errors), maxErrors)] {
		d.Errors = append(d.Errors, clip(fmt.Sprintf("%s: %s", e.PolicyID, e.Message), maxError))
	}
	broken := rules.brokenForbids(diagnostic.Errors)
	if d.Allow && len(broken) > 0 {
		d.Allow, diagnostic.Reasons = false, nil
	}
	d.Reasons = make([]string, 0, len(diagnostic.Reasons)+len(broken))
	for _, reason := range diagnostic.Reasons {
		d.Reasons = append(d.Reasons, string(reason.PolicyID))
	}
	d.Reasons = append(d.Reasons, broken...)
	if d.Allow || len(d.Reasons) == 0 {
		return d
	}
	d.Guardrail = slices.ContainsFunc(d.Reasons, func(id string) bool { return strings.HasPrefix(id, guardrailPrefix) })
	if first := rules.find(d.Reasons[0]); first != nil {
		d.Doc = string(first.policy.Annotations()["doc"])
	}
	return d
}

// brokenForbids returns the ids of the forbids that could not be evaluated.
func (s scan) brokenForbids(errors []cedar.DiagnosticError) []string {
	var ids []string
	for _, e := range errors {
		if r := s.find(string(e.PolicyID)); r != nil && r.forbids() {
			ids = append(ids, r.id)
		}
	}
	return ids
}

// find returns the rule with the id, or nil.
func (s scan) find(id string) *rule {
	for _, r := range s {
		if r.id == id {
			return r
		}
	}
	return nil
}

// Why says in a few words what denied.
func (d Decision) Why() string {
	switch {
	case len(d.Reasons) > 0 && d.Doc != "":
		return fmt.Sprintf("denied by policy %s (%s)", d.Reasons[0], d.Doc)
	case len(d.Reasons) > 0:
		return "denied by policy " + d.Reasons[0]
	case !d.Loaded:
		return "no policy is loaded for its tenant"
	}
	return "no policy permits it"
}

// roleOf returns the role that the rule's principal scope asks for.
func (r *rule) roleOf() (string, bool) {
	switch scope := r.ast().Principal.(type) {
	case ast.ScopeTypeIn:
		return string(scope.Entity.ID), scope.Entity.Type == roleType
	case ast.ScopeTypeIsIn:
		return string(scope.Entity.ID), scope.Entity.Type == roleType
	}
	return "", false
}

// clip returns at most n bytes of s, cut between characters.
func clip(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return strings.ToValidUTF8(s, "")
}
