package guard

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/policy"
	"github.com/pavise/pavise/internal/record"
)

// What an Explanation is worth.
const (
	Current    = "current"    // what would be decided now
	Recomputed = "recomputed" // a record's decision comes out again, for the same reasons
	Differs    = "differs"    // it does not, under the very policies it names: somebody should look
	Unverified = "unverified" // it cannot be recomputed here, and Why says why
)

// Explain says what Enter would answer now, without recording anything. It
// shows policy texts of the tenant that owns the thing: whoever calls it for
// somebody has entered policy.explain in that tenant.
func (g *Guard) Explain(who pavise.Principal, verb string, on pavise.Name) Explanation {
	rules := g.rules.Load()
	set := rules.set(on.Tenant)
	q, fault := g.question(&who, verb, on, g.clock.stamp())
	if fault != nil {
		return Explanation{Status: Current, Decision: pavise.Deny, Why: fault.msg, Digest: set.Digest()}
	}
	x, d := set.Explain(&q.Question, who, rolesOf(q.grants), g.words.Load().entities.Imagined)
	x.Status, x.Observe = Current, !d.Allow && rules.observes(&q.Question, d)
	return x
}

// May reports whether somebody may do a verb on a thing once it is approved as a
// change: whether they are one of those who may propose and approve it. Nothing is
// recorded.
func (g *Guard) May(who pavise.Principal, verb string, on pavise.Name) bool {
	q, fault := g.question(&who, verb, on, g.clock.stamp())
	q.Approved = true
	return fault == nil && g.rules.Load().decide(&q.Question).Allow
}

// Barred says in words what keeps somebody from what [Guard.May] asks about; "" when nothing
// does.
func (g *Guard) Barred(who pavise.Principal, verb string, on pavise.Name) string {
	q, fault := g.question(&who, verb, on, g.clock.stamp())
	if fault != nil {
		return fault.msg
	}
	q.Approved = true
	if d := g.rules.Load().decide(&q.Question); !d.Allow {
		return d.Why()
	}
	return ""
}

// Consequential reports whether a verb is done only as an approved change.
func (g *Guard) Consequential(verb string) bool {
	a, known := g.words.Load().schema.Act(verb)
	return known && a.Consequential
}

// KnowsRoles refuses, with kind NotFound, roles that no policy of a tenant speaks of:
// whoever has one may do nothing by it, and most are misspelled.
func (g *Guard) KnowsRoles(tenant string, roles []string) error {
	known := g.rules.Load().set(tenant).Roles()
	for _, role := range roles {
		if !slices.Contains(known, role) {
			return &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("no policy speaks of the role %.80q", role), Hint: "these are known: " + strings.Join(known, ", ")}
		}
	}
	return nil
}

// Declared reports whether a verb is one of the catalogue that no room serves.
func (g *Guard) Declared(verb string) bool {
	a, known := g.words.Load().schema.Act(verb)
	return known && a.Declared
}

// WhoCan says who may do a verb on a thing as it is now, and what is known of the
// thing. The error is of kind Invalid when the verb is none or does not apply to it.
func (g *Guard) WhoCan(verb string, on pavise.Name) ([]policy.Holder, policy.Facts, error) {
	act, known := g.words.Load().schema.Act(verb)
	if !known {
		return nil, policy.Facts{}, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("no such verb: %.80q", verb), Hint: "pavise policy matrix shows all there are"}
	}
	if err := on.Validate(); err != nil {
		return nil, policy.Facts{}, err
	}
	if !slices.Contains(act.On, on.Kind) {
		return nil, policy.Facts{}, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s does not apply to a %s", verb, on.Kind), Hint: "it applies to: " + strings.Join(act.On, ", ")}
	}
	at, facts := g.clock.stamp(), g.known(on)
	var holders []policy.Known
	places := map[pavise.Name]int{} // in holders
	for _, grant := range g.Held(on.Tenant) {
		i, known := places[grant.Holder]
		if !known {
			h := grant.Holder
			holders, i = append(holders, policy.Known{Who: pavise.Principal{Tenant: h.Tenant, Kind: h.Kind, ID: h.ID}}), len(holders)
			places[h] = i
		}
		holders[i].Granted = append(holders[i].Granted, grant.Role)
	}
	return g.rules.Load().set(on.Tenant).WhoCan(act, g.words.Load().entities.Thing(on, facts), at, holders), facts, nil
}

// A Matrix says who may do what.
type Matrix struct {
	Rows    []policy.Row `json:"rows"`
	Partial bool         `json:"partial,omitempty"` // there are more roles than are asked about at once: ask for one verb
	Roles   []string     `json:"roles"`             // all that policies speak of
	// Conflicts are the pairs of roles that nobody holds both.
	Conflicts [][2]string `json:"conflicts"`
	Digest    string      `json:"digest"` // of the policies
}

// Matrix returns a part of who may do what in a tenant now.
func (g *Guard) Matrix(tenant string, part policy.Part) Matrix {
	set := g.rules.Load().set(tenant)
	m := Matrix{Rows: []policy.Row{}, Roles: set.Roles(), Conflicts: policy.Conflicts, Digest: set.Digest()}
	rows, partial := set.Matrix(g.clock.stamp(), part)
	m.Rows, m.Partial = append(m.Rows, rows...), partial
	return m
}

// maxStudies is how many questions about all of a tenant's policies are worked on at
// once: each may take seconds, and callers wait for their models meanwhile.
const maxStudies = 2

// Study waits until a question about all of a tenant's policies may be worked on, and
// returns what says that it is done. The error is of kind Unavailable when who asks is
// gone before.
func (g *Guard) Study(ctx context.Context) (done func(), err error) {
	select {
	case g.studies <- struct{}{}:
		return func() { <-g.studies }, nil
	case <-ctx.Done():
		return nil, &pavise.Error{Kind: pavise.Unavailable, Msg: "others' questions about the policies came first", Hint: "ask again in a moment", Err: ctx.Err()}
	}
}

// ExplainRecord decides a record's question again from the record alone, and
// says whether the same decision comes out for the same reasons. It does so under the
// policies that the record names: those in force, or others that the history tells of;
// when they cannot be had, the answer is Unverified, with both digests. An Exit holds no
// question; its Enter does.
func (g *Guard) ExplainRecord(ctx context.Context, r record.Record, h History) Explanation {
	set := g.rules.Load().set(r.On.Tenant)
	x := Explanation{Status: Unverified, Digest: set.Digest()}
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
	case r.Policy.Digest != set.Digest():
		then, why := g.formerly(ctx, h, r.On.Tenant, r.Policy.Digest)
		if then == nil {
			x.Why = fmt.Sprintf("policy digest differs: decided under %.12s, in force is %.12s, and %s", r.Policy.Digest, set.Digest(), why)
			return x
		}
		set = then
	}
	q, granted, err := g.asked(r)
	if err != nil {
		x.Why = err.Error()
		return x
	}
	inForce := x.Digest
	x, d := set.Explain(q, *r.Who, granted, g.words.Load().entities.Imagined)
	x.Status, x.Digest, x.Recorded = Recomputed, inForce, r.Policy.Digest
	if was := !deniedByPolicy(r); was != d.Allow || !slices.Equal(r.Policy.Reasons, d.Reasons) {
		x.Status = Differs
		x.Why = fmt.Sprintf("recorded allow=%t for %q, recomputed allow=%t for %q", was, r.Policy.Reasons, d.Allow, d.Reasons)
	}
	return x
}

// asked rebuilds the question that a record answers, with the facts that the
// decision saw then: the time, what was known of the thing, and the grants it noted.
func (g *Guard) asked(r record.Record) (q *policy.Question, granted []string, err error) {
	q = &policy.Question{At: r.At}
	var ok bool
	if q.Act, ok = g.words.Load().schema.Act(r.Kind); !ok {
		return nil, nil, fmt.Errorf("no such verb: %.80q", r.Kind)
	}
	if err := r.On.Validate(); err != nil {
		return nil, nil, err
	}
	if err := checkPrincipal(r.Who); err != nil {
		return nil, nil, err
	}
	facts, approved, granted, err := recall(r.Verdicts)
	if err != nil {
		return nil, nil, err
	}
	q.Who, q.On, q.Approved = g.words.Load().entities.Subject(r.Who, granted), g.words.Load().entities.Thing(r.On, facts), approved
	return q, granted, nil
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
