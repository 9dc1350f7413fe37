package policy

import (
	"fmt"
	"slices"
	"time"

	"github.com/pavise/pavise"
)

// An Explanation says what is answered to a question, and why.
type Explanation struct {
	Status   string         `json:"status"`                    // what it is worth; see package guard
	Decision pavise.Outcome `json:"decision,omitempty"`        // Allow or Deny; "" if nothing was evaluated
	Why      string         `json:"why"`                       // one sentence for people
	Observe  bool           `json:"observe,omitempty"`         // observe mode would record this denial and let it pass
	Digest   string         `json:"digest"`                    // of the policies in force
	Recorded string         `json:"recorded_digest,omitempty"` // of the policies that the record names
	Decided  []Rule         `json:"decided,omitempty"`         // the policies that decided
	Errors   []string       `json:"errors,omitempty"`          // policies that could not be evaluated, and why
	Permits  []Rule         `json:"permits,omitempty"`         // on a denial: the policies that permit the verb to others, 32 at most
	Roles    []string       `json:"roles,omitempty"`           // on a denial: roles any one of which would turn it, of the first 256 in order
	Granted  []string       `json:"granted,omitempty"`         // roles that were granted beside those of the proof
}

// maxPermits bounds the permits that an explanation shows, and maxTried the roles that it
// tries.
const (
	maxPermits = 32
	maxTried   = 256
)

// A Rule is one policy, as it is shown to people.
type Rule struct {
	ID          string            `json:"id"`
	Layer       string            `json:"layer"`  // "guardrail" or "tenant"
	Effect      string            `json:"effect"` // "permit" or "forbid"
	Text        string            `json:"text"`   // Cedar
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Explain decides a question and says how that came. who and granted are those of the
// question, and subject builds them anew with one role more; nothing of that is kept.
func (s *Set) Explain(q *Question, who pavise.Principal, granted []string, subject func(pavise.Principal, []string) *Subject) (Explanation, Decision) {
	d := s.Decide(q)
	x := Explanation{Decision: pavise.Allow, Digest: s.digest, Errors: d.Errors, Granted: granted}
	for _, id := range d.Reasons {
		x.Decided = append(x.Decided, s.find(id).show())
	}
	if d.Allow {
		x.Why = "permitted by policy " + d.Reasons[0]
		return x, d
	}
	x.Decision, x.Why = pavise.Deny, d.Why()
	var roles []string
	for _, r := range s.about(q.Act) {
		if !r.forbids() && len(x.Permits) < maxPermits {
			x.Permits = append(x.Permits, r.show())
		}
		if role, ok := r.roleOf(); ok {
			roles = append(roles, role)
		}
	}
	slices.Sort(roles)
	roles = slices.Compact(roles)
	for _, role := range roles[:min(len(roles), maxTried)] {
		with := *q
		with.Who = subject(who, append(slices.Clone(granted), role))
		if !who.HasRole(role) && !slices.Contains(granted, role) && s.Fresh(&with).Allow {
			x.Roles = append(x.Roles, role)
		}
	}
	return x, d
}

// find returns the rule with the id, or nil.
func (s *Set) find(id string) *rule {
	if r, ok := s.byID[id]; ok {
		return r
	}
	return s.schema.guardrails.find(id)
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

// Locked refuses, with kind Conflict, a set under which nobody could change the policies
// of the tenant any more: somebody must be able to propose a change of policies, somebody to
// approve it, and somebody to be who it is done for.
func (s *Set) Locked(tenant string, at time.Time) error {
	for _, need := range [...]struct{ verb, kind string }{{VerbPut, KindPolicy}, {VerbPropose, KindChange}, {VerbApprove, KindChange}} {
		if s.somebody(tenant, need.verb, need.kind, at) {
			continue
		}
		return &pavise.Error{
			Kind: pavise.Conflict,
			Msg:  fmt.Sprintf("after this change nobody could change the policies of tenant %s any more: nobody could do %s", tenant, need.verb),
			Hint: "keep policies that permit policy.put, change.propose and change.approve to the role operator, or put their replacement first",
		}
	}
	return nil
}

// somebody tries the people whom the permits of a verb speak of, each as a person with
// the role operator and a name that no policy knows, or with the name it knows. A
// permit with conditions on anything else may fail to convince it; refusing then is the
// safe side.
func (s *Set) somebody(tenant, verb, kind string, at time.Time) bool {
	on := s.schema.Thing(pavise.Name{Tenant: tenant, Kind: kind, ID: "any"}, Facts{})
	tried := map[string]bool{}
	for _, r := range s.about(s.schema.actions[verb]) {
		if r.forbids() {
			continue
		}
		who := pavise.Principal{Tenant: tenant, Kind: pavise.Human, ID: "anybody", Roles: []string{"operator"}}
		if role, ok := r.roleOf(); ok && role != "operator" {
			who.Roles = append(who.Roles, role)
		}
		if of := r.who(); of.Type == principalTypes[pavise.Human] && of.ID != "" {
			who.ID = string(of.ID)
		}
		key := fmt.Sprint(who.ID, who.Roles)
		if tried[key] {
			continue
		}
		tried[key] = true
		if s.Fresh(&Question{Who: NewSubject(who, nil, false), Act: s.schema.actions[verb], On: on, At: at, Approved: true}).Allow {
			return true
		}
	}
	return false
}
