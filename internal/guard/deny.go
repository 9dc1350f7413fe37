package guard

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/policy"
	"github.com/pavise/pavise/internal/record"
)

// maxRoles and maxRole bound what a principal may carry: a proof with more is
// refused, so that no cache key and no record grows with the caller's wish.
const (
	maxRoles = 32
	maxRole  = 128
)

// A fault is why a question is refused.
type fault struct {
	kind    pavise.Kind
	check   string // checkPolicy or checkGuard
	msg     string
	why     string // the deciding reason in a few words, for the note that counts refusals
	hint    string
	reasons []string
	asked   *record.Policy // nil when no policy was asked
	durable bool
}

// asked is a question with what led to it.
type asked struct {
	policy.Question
	grants []pavise.Name // that the caller holds now
}

// question checks that who, verb and on make a question at all.
func (g *Guard) question(who *pavise.Principal, verb string, on pavise.Name, at time.Time) (asked, *fault) {
	q, words := asked{Question: policy.Question{At: at}}, g.words.Load()
	var ok bool
	if q.Act, ok = words.schema.Act(verb); !ok {
		return q, &fault{kind: pavise.Internal, msg: fmt.Sprintf("no such verb: %.80q", verb), why: "no such verb"}
	}
	if err := checkPrincipal(who); err != nil {
		return q, &fault{
			kind: pavise.Denied,
			msg:  "the caller has no proper name: " + err.Error(),
			why:  "the caller has no proper name",
			hint: "ask with a proof that names a tenant, a kind and an id",
		}
	}
	if err := on.Validate(); err != nil {
		return q, &fault{kind: pavise.Denied, msg: err.Error(), why: "the thing has no proper name", hint: "name the thing as tenant/kind/id"}
	}
	if !slices.Contains(q.Act.On, on.Kind) {
		return q, &fault{
			kind: pavise.Denied,
			msg:  fmt.Sprintf("%s does not apply to a %s", verb, on.Kind),
			why:  "the verb does not apply to it",
			hint: "it applies to: " + strings.Join(q.Act.On, ", "),
		}
	}
	q.grants = g.grants.Load().of(who, at)
	q.Who, q.On = words.entities.Subject(who, rolesOf(q.grants)), words.entities.Thing(on, g.known(on))
	q.Approved = q.Act.Consequential && g.approved != nil && who.Change != (pavise.Name{}) && g.approved(who.Change, verb, on)
	return q, nil
}

// known are the facts about a thing.
func (g *Guard) known(on pavise.Name) policy.Facts {
	if g.facts == nil {
		return policy.Facts{}
	}
	return g.facts(on)
}

// denied is the refusal that a decision leads to.
func denied(e *Entry, q *asked, d policy.Decision) fault {
	why := d.Why()
	return fault{
		kind: pavise.Denied, check: checkPolicy, why: why,
		msg:     fmt.Sprintf("%s may not do %s on %s: %s", e.who.Name(), q.Act.Verb, e.on, why),
		hint:    denialHint(e, q, d),
		reasons: d.Reasons, asked: &e.policy, durable: q.Act.Class == Control,
	}
}

// denialHint is what to do about a denial: what lacks nothing but others' approval
// can be proposed.
func denialHint(e *Entry, q *asked, d policy.Decision) string {
	if isDeniedBy(d, throughChange) && !q.Act.Declared {
		return fmt.Sprintf("propose it, and let somebody else approve it: pavise change propose %s %s", q.Act.Verb, e.on)
	}
	if slices.Contains(d.Reasons, acrossTenants) {
		return fmt.Sprintf("ask as somebody of tenant %s: no policy can permit it across tenants; pavise whoami shows whose you are", e.on.Tenant)
	}
	return fmt.Sprintf("pavise policy explain %s %s%s shows what would allow it", q.Act.Verb, e.on, asCaller(e.who))
}

// asCaller spells the flags by which policy explain asks as somebody would. Of many roles,
// and of such as need quoting, it says none.
func asCaller(who pavise.Principal) (flags string) {
	if who.Kind != pavise.Human {
		flags = " --kind " + who.Kind
	}
	for _, role := range who.Roles {
		if len(who.Roles) > 4 || (pavise.Name{Tenant: "t", Kind: "role", ID: role}).Validate() != nil {
			return flags
		}
		flags += " --role " + role
	}
	return flags
}

// throughChange is the guardrail that asks for approval.
const throughChange = "guardrail/through-change"

// acrossTenants is the guardrail that keeps tenants apart.
const acrossTenants = "guardrail/tenant-isolation"

// An Attempt is a question about which the record of a refusal says more.
type Attempt struct {
	// Detail is the record's detail, as [Entry.Detail] takes it.
	Detail any
	// Why is what no policy could have mended, and Check whose word that is: where the
	// policies deny, the caller and the record get this reason, beside theirs.
	Check string
	Why   error // with a *pavise.Error in it
}

// Enter is [Guard.Enter] of the guard, whose refusals say what was attempted. An entry
// begins without a detail, as any does.
func (a Attempt) Enter(ctx context.Context, g *Guard, who pavise.Principal, verb string, on pavise.Name) (*Entry, error) {
	return g.enter(ctx, &Entry{guard: g, ctx: unending{ctx}, who: who, on: on, tried: &a}, verb)
}

// reword has a refusal by the policies say what they could not have mended.
func (a *Attempt) reword(refusal *pavise.Error) {
	if own, ok := errors.AsType[*pavise.Error](a.Why); ok {
		refusal.Kind, refusal.Msg, refusal.Hint = own.Kind, own.Msg, own.Hint
	}
}

// tell puts what was attempted into the record of a refusal by the policies.
func (a *Attempt) tell(r *record.Record) {
	if detail, err := json.Marshal(a.Detail); err == nil && a.Detail != nil {
		r.Detail = detail
	}
	if a.Why != nil {
		last := len(r.Verdicts) - 1 // the policies' word
		r.Verdicts = slices.Insert(r.Verdicts, last, pavise.Verdict{Check: a.Check, Outcome: pavise.Deny, Reason: r.Error.Msg})
	}
}

// refuse records a refusal and returns it as the error of Enter. A refusal that
// cannot be recorded is still one. It outlives the caller's context: whoever
// hangs up is recorded all the same. It never uses the emergency reserve, or
// refused callers could use that up. Of who is refused too often within a second
// the further refusals are only counted, or refused callers could fill the disk:
// it is the caller that counts, whosever the thing and the record are.
func (g *Guard) refuse(ctx context.Context, e *Entry, verb string, f fault) error {
	refusal := &pavise.Error{Kind: f.kind, Msg: f.msg, Hint: f.hint}
	tried := e.tried != nil && f.check == checkPolicy
	if tried {
		e.tried.reword(refusal)
	}
	who := properName(e.who)
	if g.denials.add(who, g.clock.now) > patience {
		on := cmp.Or(clip(e.on.String(), maxText), "a thing without a name")
		g.refusals.add(noteRefused, cmp.Or(who.String(), "callers without a proper name"), fmt.Sprintf("%.40s on %.160s: %s", verb, on, f.why))
		return refusal
	}
	if f.check == "" {
		f.check = checkGuard
	}
	r := &record.Record{
		Kind: clip(verb, maxText), Phase: record.Act, Tenant: e.on.Tenant, At: e.at,
		Who: &e.who, On: e.on, Outcome: pavise.Deny, Policy: f.asked,
		Verdicts: append(e.verdicts, pavise.Verdict{Check: f.check, Outcome: pavise.Deny, Reason: clip(f.msg, maxText)}),
		Error:    &record.Failure{Kind: refusal.Kind.String(), Msg: clip(refusal.Msg, maxText)},
	}
	if tried {
		e.tried.tell(r)
	}
	g.disarm(r)
	how := ledger.Written
	if f.durable {
		how = ledger.Durable
	}
	receipt, err := g.append(context.WithoutCancel(ctx), r, how)
	if err != nil {
		if _, ok := errors.AsType[*tooLarge](err); !ok {
			return err
		}
	}
	refusal.Err = &Denial{Record: receipt.Index, Policies: f.reasons}
	return refusal
}

// properName is the principal's name, or the zero name if it is not a proper one.
func properName(who pavise.Principal) pavise.Name {
	if who.Name().Validate() != nil {
		return pavise.Name{}
	}
	return who.Name()
}

// disarm moves names and principals that are not proper ones into the detail,
// clipped and quoted: a record must be decodable, and small, whatever was asked.
func (g *Guard) disarm(r *record.Record) {
	asked := struct {
		Who string `json:"who,omitempty"`
		On  string `json:"on,omitempty"`
	}{}
	if who := r.Who; checkPrincipal(who) != nil {
		asked.Who = fmt.Sprintf("%.80q/%.80q/%.80q with %d roles", who.Tenant, who.Kind, who.ID, len(who.Roles))
		r.Who = nil
	}
	if r.On.Validate() != nil {
		asked.On = fmt.Sprintf("%.80q/%.80q/%.80q", r.On.Tenant, r.On.Kind, r.On.ID)
		r.On, r.Tenant = pavise.Name{}, g.tenant
	}
	if asked.Who == "" && asked.On == "" {
		return
	}
	// Two strings always encode.
	r.Detail, _ = json.Marshal(asked)
}

// checkPrincipal says what keeps a principal from being one.
func checkPrincipal(who *pavise.Principal) error {
	if who.Kind != pavise.Human && who.Kind != pavise.Workload && who.Kind != pavise.Node {
		return fmt.Errorf("kind %.40q is not human, workload or node", who.Kind)
	}
	if err := who.Name().Validate(); err != nil {
		return err
	}
	if len(who.Roles) > maxRoles {
		return fmt.Errorf("%d roles, more than %d", len(who.Roles), maxRoles)
	}
	for _, role := range who.Roles {
		if role == "" || len(role) > maxRole {
			return fmt.Errorf("role %.40q is not of 1 to %d bytes", role, maxRole)
		}
	}
	if len(who.Issuer) > maxText || len(who.Proof) > maxText || len(who.Environment) > maxText {
		return fmt.Errorf("issuer, proof or environment is longer than %d bytes", maxText)
	}
	return nil
}
