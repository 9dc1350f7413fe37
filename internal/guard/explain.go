package guard

import (
	"fmt"
	"slices"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/record"
)

// What an Explanation is worth.
const (
	Current    = "current"    // what would be decided now
	Recomputed = "recomputed" // a record's decision comes out again, for the same reasons
	Differs    = "differs"    // it does not, under the very policies it names: somebody should look
	Unverified = "unverified" // it cannot be recomputed here, and Why says why
)

// An Explanation says what the guard answers to a question, and why.
type Explanation struct {
	Status   string         `json:"status"`                    // Current, Recomputed, Differs or Unverified
	Decision pavise.Outcome `json:"decision,omitempty"`        // Allow or Deny; "" if nothing was evaluated
	Why      string         `json:"why"`                       // one sentence for people
	Observe  bool           `json:"observe,omitempty"`         // observe mode would record this denial and let it pass
	Digest   string         `json:"digest"`                    // of the policies in force
	Recorded string         `json:"recorded_digest,omitempty"` // of the policies that the record names
	Decided  []Rule         `json:"decided,omitempty"`         // the policies that decided
	Errors   []string       `json:"errors,omitempty"`          // policies that could not be evaluated, and why
	Permits  []Rule         `json:"permits,omitempty"`         // on a denial: the policies that permit the verb to others
	Roles    []string       `json:"roles,omitempty"`           // on a denial: roles any one of which would turn it
}

// A Rule is one policy, as it is shown to people.
type Rule struct {
	ID          string            `json:"id"`
	Layer       string            `json:"layer"`  // "guardrail" or "tenant"
	Effect      string            `json:"effect"` // "permit" or "forbid"
	Text        string            `json:"text"`   // Cedar
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Explain says what Enter would answer now, without recording anything. It
// shows policy texts of the tenant that owns the thing: whoever calls it for
// somebody has entered policy.explain in that tenant.
func (g *Guard) Explain(who pavise.Principal, verb string, on pavise.Name) Explanation {
	rules := g.rules.Load()
	set := rules.set(on.Tenant)
	q, fault := g.question(who, verb, on, g.clock.stamp())
	if fault != nil {
		return Explanation{Status: Current, Decision: pavise.Deny, Why: fault.msg, Digest: set.digest}
	}
	x, d := g.explain(set, who, &q)
	x.Observe = !d.allow && rules.observes(&q, d)
	return x
}

// May reports whether somebody may do a verb on a thing once it is approved as a
// change: whether they are one of those who may propose and approve it. Nothing is
// recorded.
func (g *Guard) May(who pavise.Principal, verb string, on pavise.Name) bool {
	q, fault := g.question(who, verb, on, g.clock.stamp())
	q.approved = true
	return fault == nil && g.rules.Load().decide(&q).allow
}

// Consequential reports whether a verb is done only as an approved change.
func (g *Guard) Consequential(verb string) bool {
	a, known := g.schema.actions[verb]
	return known && a.Consequential
}

// explain decides the question and says how that came.
func (g *Guard) explain(set *ruleset, who pavise.Principal, q *question) (Explanation, decision) {
	d := set.decide(q)
	x := Explanation{Status: Current, Decision: pavise.Allow, Digest: set.digest, Errors: d.errors}
	for _, id := range d.reasons {
		x.Decided = append(x.Decided, set.rules.find(id).show())
	}
	if d.allow {
		x.Why = "permitted by policy " + d.reasons[0]
		return x, d
	}
	x.Decision, x.Why = pavise.Deny, d.why()
	var roles []string
	for _, r := range set.byVerb[q.action.Verb] {
		if !r.forbids() {
			x.Permits = append(x.Permits, r.show())
		}
		if role, ok := r.roleOf(); ok {
			roles = append(roles, role)
		}
	}
	slices.Sort(roles)
	for _, role := range slices.Compact(roles) {
		if !who.HasRole(role) && g.wouldAllow(set, who, role, q) {
			x.Roles = append(x.Roles, role)
		}
	}
	return x, d
}

// wouldAllow reports whether one more role turns the answer.
func (g *Guard) wouldAllow(set *ruleset, who pavise.Principal, role string, q *question) bool {
	who.Roles = append(slices.Clone(who.Roles), role)
	with := *q
	with.who = g.newPerson(who)
	return set.decide(&with).allow
}

// show returns the rule as people see it.
func (r *rule) show() Rule {
	s := Rule{ID: r.id, Layer: "tenant", Effect: "permit", Text: r.text, Annotations: map[string]string{}}
	if r.guardrail() {
		s.Layer = "guardrail"
	}
	if r.forbids() {
		s.Effect = "forbid"
	}
	for key, value := range r.policy.Annotations() {
		s.Annotations[string(key)] = string(value)
	}
	return s
}

// ExplainRecord decides a record's question again from the record alone, and
// says whether the same decision comes out for the same reasons. It can do so
// only under the policies that the record names: under others the answer is
// Unverified, with both digests. An Exit holds no question; its Enter does.
func (g *Guard) ExplainRecord(r record.Record) Explanation {
	set := g.rules.Load().set(r.On.Tenant)
	x := Explanation{Status: Unverified, Digest: set.digest}
	if r.Policy != nil {
		x.Recorded = r.Policy.Digest
	}
	switch {
	case r.Phase == record.Exit && r.Enter != nil:
		x.Why = fmt.Sprintf("this record says how an act ended; record %d holds the question", *r.Enter)
		return x
	case r.Policy == nil || r.Who == nil:
		x.Why = "no policy was asked" + refusedBecause(r)
		return x
	case r.Policy.Digest != set.digest:
		x.Why = fmt.Sprintf("policy digest differs: decided under %.12s, in force is %.12s", r.Policy.Digest, set.digest)
		return x
	}
	q, err := g.asked(r)
	if err != nil {
		x.Why = err.Error()
		return x
	}
	x, d := g.explain(set, *r.Who, q)
	x.Status, x.Recorded = Recomputed, r.Policy.Digest
	if was := !deniedByPolicy(r); was != d.allow || !slices.Equal(r.Policy.Reasons, d.reasons) {
		x.Status = Differs
		x.Why = fmt.Sprintf("recorded allow=%t for %q, recomputed allow=%t for %q", was, r.Policy.Reasons, d.allow, d.reasons)
	}
	return x
}

// asked rebuilds the question that a record answers, with the facts that the
// decision saw then: the time and the quarantine it noted.
func (g *Guard) asked(r record.Record) (*question, error) {
	q := &question{at: r.At}
	var ok bool
	if q.action, ok = g.schema.actions[r.Kind]; !ok {
		return nil, fmt.Errorf("no such verb: %.80q", r.Kind)
	}
	if err := r.On.Validate(); err != nil {
		return nil, err
	}
	var err error
	if q.who, err = g.person(*r.Who); err != nil {
		return nil, err
	}
	quarantined := slices.ContainsFunc(r.Verdicts, func(v pavise.Verdict) bool { return v.Check == checkQuarantine })
	q.approved = slices.ContainsFunc(r.Verdicts, func(v pavise.Verdict) bool { return v.Check == checkChange })
	q.on = g.newThing(thingKey{name: r.On, quarantined: quarantined})
	return q, nil
}

// deniedByPolicy reports whether the record says that the policies denied,
// observed or not.
func deniedByPolicy(r record.Record) bool {
	return slices.ContainsFunc(r.Verdicts, func(v pavise.Verdict) bool {
		return v.Check == checkPolicy && v.Outcome == pavise.Deny
	})
}

// refusedBecause quotes what the guard said when it refused unasked.
func refusedBecause(r record.Record) string {
	for _, v := range r.Verdicts {
		if v.Check == checkGuard {
			return ": " + v.Reason
		}
	}
	return ""
}
