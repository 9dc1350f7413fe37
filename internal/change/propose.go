package change

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// Bounds of what a proposal may hold.
const (
	maxRequest = 48 << 20 // bytes: a model in base64
	maxReason  = 512      // bytes
	maxWaiting = 1000     // changes of one tenant that wait for votes
	maxKept    = 8 << 10  // bytes of a request that the proposal's record holds
)

// The verbs by which changes are proposed.
const (
	verbPropose   = "change.propose"
	verbEmergency = "change.emergency" // run first, approved afterwards
)

// A Proposal is what somebody wants done.
type Proposal struct {
	Verb    string
	On      pavise.Name
	Request json.RawMessage // the verb's own
	Reason  string          // why; may be empty
}

// proposed is the detail of a proposal's record.
type proposed struct {
	Verb    string            `json:"verb"`
	On      pavise.Name       `json:"on"`
	Reason  string            `json:"reason,omitempty"`
	Summary string            `json:"summary"`
	Digest  string            `json:"digest"`
	Digests map[string]string `json:"digests"`
	Rule    Rule              `json:"rule"`
	Until   string            `json:"until"`
	Request json.RawMessage   `json:"request,omitempty"` // unless it is long
	SHA256  string            `json:"request_sha256"`
}

// Propose proposes an act: the verb change.propose on a new tenant/change/id, or, for
// an act in the safe direction, change.emergency, which no full disk and no clock that
// was set back bars. Whoever proposes must be one of those who may do the act. One that
// takes no approval is run at once, and so is one in the safe direction; how that ended
// is in the change that is returned. The error is of kind Denied when the proposer may not do the act,
// and otherwise that of the runner's plan.
//
// Unguarded: propose enters for it, so that the proposal's record is closed before
// the act runs.
func (c *Changes) Propose(ctx context.Context, who pavise.Principal, p Proposal) (*Change, error) {
	ch, err := c.introduce(ctx, who, newName(who.Tenant), p)
	if err != nil {
		return nil, err
	}
	if ch.State == Approved {
		return c.settle(ctx, ch.Name)
	}
	return ch, nil
}

// introduce writes a proposal down, in the table first and then in the log. In between
// nobody goes on with it: the log does not bear it out yet, which would look like a
// forgery.
func (c *Changes) introduce(ctx context.Context, who pavise.Principal, name pavise.Name, p Proposal) (*Change, error) {
	c.mu.Lock()
	c.proposing[name] = true
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.proposing, name)
	}()
	ch, err := c.propose(ctx, who, name, p)
	if err != nil && ch != nil { // it is in the table, and its record is not whole: it can never be proven
		from := ch.State
		ch.end(Void, c.now(), "its proposal could not be recorded")
		err = errors.Join(err, c.save(context.WithoutCancel(ctx), ch, from))
	}
	return ch, err
}

// propose enters, and writes a proposal into the table.
func (c *Changes) propose(ctx context.Context, who pavise.Principal, name pavise.Name, p Proposal) (ch *Change, err error) {
	verb := verbPropose
	if c.runners[p.Verb].Safe {
		verb = verbEmergency
	}
	entry, err := c.guard.Enter(ctx, who, verb, name)
	if err != nil {
		return nil, err
	}
	defer entry.Exit(&err)
	runner, err := c.runner(p.Verb)
	if err != nil {
		return nil, err
	}
	if err := c.admit(who, p); err != nil {
		return nil, err
	}
	ch = &Change{Name: name, Verb: p.Verb, On: p.On, Reason: p.Reason, Proposer: who, Proposed: c.now().UTC(), State: Open, Votes: []Vote{}, request: p.Request}
	if ch.Plan, err = runner.Plan(ctx, p.On, p.Request); err != nil {
		return nil, err
	}
	ch.Record, _ = entry.Record()
	err = c.updateFor(p.Verb)(ctx, func(tx *store.Tx) error {
		if err := c.complete(tx, ch, runner); err != nil {
			return err
		}
		return insert(tx, ch)
	})
	if err != nil {
		return nil, err
	}
	entry.Detail(ch.proposed())
	return ch, nil
}

// admit refuses proposals that nobody need look at.
func (c *Changes) admit(who pavise.Principal, p Proposal) error {
	switch {
	case len(p.Request) > maxRequest:
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the request is %d bytes long, more than %d", len(p.Request), maxRequest)}
	case len(p.Reason) > maxReason:
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the reason is %d bytes long, more than %d", len(p.Reason), maxReason)}
	case p.On.Tenant != who.Tenant:
		return c.hopeless(who, p.Verb, p.On, "it is of another tenant")
	}
	if why := c.guard.Barred(who, p.Verb, p.On); why != "" {
		return c.hopeless(who, p.Verb, p.On, why)
	}
	return nil
}

// hopeless refuses what nobody's approval would let somebody do.
func (c *Changes) hopeless(who pavise.Principal, verb string, on pavise.Name, why string) error {
	return &pavise.Error{
		Kind: pavise.Denied, Msg: fmt.Sprintf("%s could not do %s on %s even with everybody's approval: %s", who.Name(), verb, on, why),
		Hint: fmt.Sprintf("pavise policy who-can %s %s says who could", verb, on),
	}
}

// complete gives a proposal its rule, its digest and its time.
func (c *Changes) complete(tx *store.Tx, ch *Change, runner Runner) (err error) {
	var waiting int
	if err := tx.QueryRow(`SELECT count(*) FROM change_changes WHERE tenant = ? AND state IN ('open', 'ran')`, ch.Name.Tenant).Scan(&waiting); err != nil {
		return err
	}
	if waiting >= maxWaiting && !runner.Safe { // nobody's heap of proposals bars the safe direction
		return &pavise.Error{Kind: pavise.Throttled, Msg: fmt.Sprintf("%d changes wait for votes already", waiting), Hint: "decide on some of them: pavise change list --waiting"}
	}
	kept := func(verb string) (Rule, error) { return rule(tx, ch.Name.Tenant, verb) }
	if ch.Rule, err = RuleFor(ch, c.runners, kept); err != nil {
		return err
	}
	ch.Until = ch.Rule.until(ch.Proposed)
	if runner.Safe || ch.Rule.Need == 0 {
		ch.State = Approved
	}
	ch.Digest, err = ch.digest()
	return err
}

// proposed is what the record of the proposal says.
func (ch *Change) proposed() proposed {
	sum := sha256.Sum256(ch.request)
	p := proposed{
		Verb: ch.Verb, On: ch.On, Reason: ch.Reason, Summary: ch.Plan.Summary, Digest: ch.Digest, Digests: ch.Plan.Digests,
		Rule: ch.Rule, Until: ch.Until.Format("2006-01-02T15:04:05Z"), SHA256: hex.EncodeToString(sum[:]),
	}
	if len(ch.request) <= maxKept && json.Valid(ch.request) {
		p.Request = ch.request
	}
	return p
}

// stale says which of the things that a change depends on are no longer what they
// were when it was proposed, or "".
func (c *Changes) stale(ctx context.Context, ch *Change) (why string, err error) {
	runner, err := c.runner(ch.Verb)
	if err != nil {
		return "", err
	}
	now, err := runner.Plan(ctx, ch.On, ch.request)
	if err != nil {
		if kind := pavise.KindOf(err); kind == pavise.Internal || kind == pavise.Unavailable {
			return "", err
		}
		return "it can no longer be done: " + err.Error(), nil
	}
	if maps.Equal(now.Digests, ch.Plan.Digests) {
		return "", nil
	}
	return strings.Join(differing(ch.Plan.Digests, now.Digests), " and ") + " changed since it was proposed", nil
}

// differing returns the sorted names of the digests that are not the same in both.
func differing(then, now map[string]string) []string {
	var names []string
	for what, digest := range now {
		if then[what] != digest {
			names = append(names, what)
		}
	}
	for what := range then {
		if _, ok := now[what]; !ok {
			names = append(names, what)
		}
	}
	slices.Sort(names)
	return names
}
