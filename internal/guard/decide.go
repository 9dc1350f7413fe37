package guard

import (
	"slices"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/policy"
)

// The words of policies that whoever has a guard needs.
type (
	Action       = policy.Action
	Class        = policy.Class
	Explanation  = policy.Explanation
	Rule         = policy.Rule
	TenantPolicy = policy.Text
)

// The two classes of verb.
const (
	Control = policy.Control
	Pooled  = policy.Pooled
)

// Defaults returns the tenant policies that an installation begins with, by id.
func Defaults() map[string]string { return policy.Defaults() }

// A ruling is everything that decides, as one immutable value.
type ruling struct {
	bare    *policy.Set              // the guardrails alone, for tenants without policies
	tenants map[string]*policy.Set   // guardrails and tenant policies, by tenant
	observe map[pavise.Name]struct{} // things in observe mode
}

// set returns what decides for the tenant.
func (r *ruling) set(tenant string) *policy.Set {
	if set, ok := r.tenants[tenant]; ok {
		return set
	}
	return r.bare
}

// decide answers under the policies of the tenant that owns the thing.
func (r *ruling) decide(q *policy.Question) policy.Decision {
	return r.set(q.On.Name.Tenant).Decide(q)
}

// observes reports whether a denial is recorded and let through.
func (r *ruling) observes(q *policy.Question, d policy.Decision) bool {
	_, on := r.observe[q.On.Name]
	return on && d.Loaded && !d.Guardrail && q.Act.Class == Pooled
}

// seen returns, as verdicts, the facts that a decision saw and that a record's other
// fields do not hold: from them a record's decision can be computed again. It appends
// them to room.
func seen(room []pavise.Verdict, q *policy.Question, change pavise.Name, granted []pavise.Name) (verdicts []pavise.Verdict) {
	verdicts = room
	note := func(check, reason string) {
		verdicts = append(verdicts, pavise.Verdict{Check: check, Outcome: pavise.Allow, Reason: reason})
	}
	if q.On.Facts.Quarantined {
		note(checkQuarantine, "the thing is in quarantine")
	}
	if rest := q.On.Rest(); rest != "" {
		note(checkFacts, rest)
	}
	if q.Approved {
		note(checkChange, "approved as "+change.String())
	}
	for _, grant := range granted {
		note(checkGrant, grant.String())
	}
	return verdicts
}

// recall reads back what seen wrote.
func recall(verdicts []pavise.Verdict) (facts policy.Facts, approved bool, granted []string, err error) {
	for _, v := range verdicts {
		switch v.Check {
		case checkFacts:
			quarantined := facts.Quarantined
			if facts, err = policy.ParseFacts(v.Reason); err != nil {
				return facts, false, nil, err
			}
			facts.Quarantined = facts.Quarantined || quarantined
		case checkQuarantine:
			facts.Quarantined = true
		case checkChange:
			approved = true
		case checkGrant:
			granted = append(granted, roleOf(v.Reason))
		}
	}
	return facts, approved, granted, nil
}

// rolesOf returns the roles of grants by their names.
func rolesOf(grants []pavise.Name) []string {
	var roles []string
	for _, name := range grants {
		roles = append(roles, roleOf(name.String()))
	}
	return roles
}

// roleOf returns the role that a grant's name begins with: tenant/grant/role@kind:id.
func roleOf(grant string) string {
	role, _, _ := strings.Cut(grant[strings.LastIndexByte(grant, '/')+1:], "@")
	return role
}

// isDeniedBy reports whether one policy alone denied.
func isDeniedBy(d policy.Decision, id string) bool { return slices.Equal(d.Reasons, []string{id}) }
