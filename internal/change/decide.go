package change

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/policy"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/store"
)

// minDigest is how many digits of a digest a vote must repeat: people vote on what
// they looked at.
const minDigest = 8

// A decided is the detail of a vote's record: what was decided on.
type decided struct {
	Digest string  `json:"digest"`
	Yes    bool    `json:"yes"`
	Reason string  `json:"reason,omitempty"`
	Origin *Origin `json:"origin,omitempty"` // where it was read, if it did not come through our own door
}

// Approve says yes to a change: the verb change.approve on it. digest is that of the
// change, or its first digits, eight at least. The change is run when this was the
// last approval it took. The error is of kind Conflict when the change waits for no
// votes, when the digest is another's, or when somebody has voted already, and of
// kind Denied when their vote cannot count.
//
// Unguarded: vote enters for it, so that the approval's record is closed before the
// act runs.
func (c *Changes) Approve(ctx context.Context, who pavise.Principal, name pavise.Name, digest, reason string) (*Change, error) {
	if err := c.vote(ctx, who, "change.approve", name, decided{Digest: digest, Yes: true, Reason: reason}); err != nil {
		return nil, err
	}
	return c.settle(ctx, name)
}

// Deny says no to a change: the verb change.deny on it. One denial ends it.
//
// Unguarded: vote enters for it.
func (c *Changes) Deny(ctx context.Context, who pavise.Principal, name pavise.Name, digest, reason string) (*Change, error) {
	if err := c.vote(ctx, who, "change.deny", name, decided{Digest: digest, Reason: reason}); err != nil {
		return nil, err
	}
	return c.get(ctx, name)
}

// vote writes a vote down: in the log first, then in the table.
func (c *Changes) vote(ctx context.Context, who pavise.Principal, verb string, name pavise.Name, d decided) (err error) {
	entry, err := c.guard.Enter(ctx, who, verb, name)
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	ch, release, err := c.claim(ctx, name)
	if err != nil {
		return err
	}
	defer release()
	if err := c.mayVote(ch, who, d); err != nil {
		return err
	}
	if err := c.mayHear(ch, who, d); err != nil {
		return err
	}
	if err := c.mayVoteAgain(ctx, ch, who); err != nil {
		return err
	}
	if ch.State == Open { // one that was run no longer depends on anything
		if why, err := c.stale(ctx, ch); err != nil {
			return err
		} else if why != "" {
			return c.void(ctx, ch, why)
		}
	}
	d.Digest = ch.Digest // in full
	entry.Detail(d)
	v := Vote{By: who.Name(), Yes: d.Yes, Reason: d.Reason, At: c.now().UTC(), Origin: d.Origin}
	v.Record, _ = entry.Record()
	if who.Root() != who.Name() {
		v.Root = who.Root()
	}
	from := ch.State
	if !d.Yes {
		if err := c.deny(ctx, ch, who, d); err != nil {
			return err
		}
	}
	return c.db.Update(ctx, func(tx *store.Tx) error {
		if err := putVote(tx, name, v); err != nil || d.Yes {
			return err
		}
		return update(tx, ch, from)
	})
}

// mayVoteAgain refuses a second vote of one person, unless the log does not hold the
// first: then the process stopped before it was recorded, and it never counted.
func (c *Changes) mayVoteAgain(ctx context.Context, ch *Change, who pavise.Principal) error {
	if !slices.ContainsFunc(ch.Votes, func(v Vote) bool { return v.of() == who.Root() }) {
		return nil
	}
	told, err := c.told(ctx, ch)
	if err == nil && told.people[who.Root()] {
		err = &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("%s has voted on %s already", who.Name(), ch.Name.ID), Hint: "another person's vote is wanted"}
	}
	return err
}

// mayVote refuses votes that cannot count.
func (c *Changes) mayVote(ch *Change, who pavise.Principal, d decided) error {
	refuse := func(kind pavise.Kind, hint, format string, args ...any) error {
		return &pavise.Error{Kind: kind, Msg: fmt.Sprintf(format, args...), Hint: hint}
	}
	show := "look at it: pavise change show " + ch.Name.ID
	switch {
	case !ch.State.Waits():
		return refuse(pavise.Conflict, show, "change %s is %s and waits for no votes", ch.Name.ID, ch.State)
	case !c.now().Before(ch.Until):
		return refuse(pavise.Conflict, "propose it anew", "votes on change %s counted until %s", ch.Name.ID, ch.Until.Format("2006-01-02 15:04 UTC"))
	case len(d.Digest) < minDigest || !strings.HasPrefix(ch.Digest, strings.ToLower(d.Digest)):
		return refuse(pavise.Conflict, show+", and give the digest that it shows", "the digest is not that of change %s: what was looked at is not what it is", ch.Name.ID)
	case len(d.Reason) > maxReason:
		return refuse(pavise.Invalid, "", "the reason is %d bytes long, more than %d", len(d.Reason), maxReason)
	case !d.Yes && d.Reason == "":
		return refuse(pavise.Invalid, "say why: --reason TEXT", "a denial needs a reason")
	case d.Yes && who.Name() == ch.Proposer.Name():
		return refuse(pavise.Denied, "let somebody else look at it", "%s proposed change %s, and nobody approves their own", who.Name(), ch.Name.ID)
	case d.Yes && who.Root() == ch.Proposer.Root():
		return refuse(pavise.Denied, "let somebody approve it whom the issuer itself knows", "%s and %s, who proposed change %s, are identities of one person: %s", who.Name(), ch.Proposer.Name(), ch.Name.ID, who.Root())
	case d.Yes && ch.gains(who):
		return refuse(pavise.Denied, "let somebody else look at it", "%s gains by change %s, and nobody approves what they gain by", who.Name(), ch.Name.ID)
	case d.Yes && !ch.Rule.counts(who):
		return refuse(pavise.Denied, "these do: "+strings.Join(ch.Rule.Of, ", "), "%s is not one of those whose approval counts for %s", who.Name(), ch.Verb)
	case !c.guard.May(who, c.votes(ch.Verb), ch.On):
		return refuse(pavise.Denied, fmt.Sprintf("pavise policy who-can %s %s says who could", c.votes(ch.Verb), ch.On), "%s could not do %s on %s, and so cannot decide on it: %s", who.Name(), c.votes(ch.Verb), ch.On, c.guard.Barred(who, c.votes(ch.Verb), ch.On))
	}
	return nil
}

// votes is the verb that whoever decides on changes of a verb may do.
func (c *Changes) votes(verb string) string { return cmp.Or(c.runners[verb].Votes, verb) }

// deny ends a change that somebody says no to. One that was run already is a finding.
func (c *Changes) deny(ctx context.Context, ch *Change, who pavise.Principal, d decided) error {
	if ch.State != Ran {
		ch.end(Denied, c.now(), "denied by %s: %s", who.Name(), d.Reason)
		return nil
	}
	ch.end(Contested, c.now(), "denied by %s after it was run: %s", who.Name(), d.Reason)
	return c.note(ctx, "change.contested", ch, pavise.Warning)
}

// void ends a change whose approvals are dead, and says so.
func (c *Changes) void(ctx context.Context, ch *Change, why string) error {
	from := ch.State
	ch.end(Void, c.now(), "%s", why)
	if err := c.close(ctx, ch, from, "change.void", pavise.Info); err != nil {
		return err
	}
	return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("change %s is void: %s", ch.Name.ID, why), Hint: "propose it anew; approvals of it are dead"}
}

// Withdraw takes a proposal back: the verb change.withdraw on it, for who proposed
// it alone.
func (c *Changes) Withdraw(ctx context.Context, who pavise.Principal, name pavise.Name) (ch *Change, err error) {
	entry, err := c.guard.Enter(ctx, who, "change.withdraw", name)
	if err != nil {
		return nil, err
	}
	defer entry.Exit(&err)
	ch, release, err := c.claim(ctx, name)
	if err != nil {
		return nil, err
	}
	defer release()
	if who.Name() != ch.Proposer.Name() {
		return nil, &pavise.Error{Kind: pavise.Denied, Msg: fmt.Sprintf("change %s is %s's to withdraw", name.ID, ch.Proposer.Name()), Hint: "deny it instead, with a reason"}
	}
	if ch.State != Open {
		return nil, &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("change %s is %s, and only an open one can be withdrawn", name.ID, ch.State)}
	}
	ch.end(Withdrawn, c.now(), "withdrawn by who proposed it")
	return ch, c.save(ctx, ch, Open)
}

// A story is what the log tells of a change.
type story struct {
	proposed bool                 // it holds the proposal of exactly this change
	cutOff   bool                 // it says that the process stopped while something was proposed under its name
	ended    bool                 // somebody denied it, or took it back
	broken   bool                 // who proposed it had it run before it was approved
	people   map[pavise.Name]bool // whose approval of exactly this change it proves, and who may still do the act: roots of principals
}

// told reads what the log tells of a change. It counts nobody twice, nor the proposer.
func (c *Changes) told(ctx context.Context, ch *Change) (story, error) {
	told := story{people: map[pavise.Name]bool{}}
	digest, err := ch.digest()
	if err != nil {
		return told, err
	}
	filter := ledger.Filter{Tenant: ch.Name.Tenant, Kinds: []string{"change"}, On: ch.Name.String()}
	for found, err := range c.log.Select(ctx, filter, ch.Record, c.log.Size()) {
		if err != nil {
			return told, fmt.Errorf("read what the log tells of change %s: %w", ch.Name, err)
		}
		switch {
		case (found.Kind == verbPropose || found.Kind == verbEmergency) && found.Phase == record.Interrupted:
			told.cutOff = true
		case found.Phase != record.Exit || found.Error != nil || found.Who == nil:
		case found.Kind == verbPropose, found.Kind == verbEmergency:
			told.proposed = told.proposed || digest == ch.Digest && ch.isOf(&found.Record)
		case found.Kind == "change.approve":
			if c.counts(ch, &found.Record) {
				told.people[found.Who.Root()] = true
			}
		case found.Kind == policy.VerbBreak:
			told.broken = told.broken || c.breaks(ch, &found.Record)
		case found.Kind == "change.deny", found.Kind == "change.withdraw":
			told.ended = true
		}
	}
	return told, nil
}

// isOf reports whether a record is that of exactly this proposal, by exactly this
// proposer: who answers for them decides whose approval counts.
func (ch *Change) isOf(r *record.Record) bool {
	var p proposed
	return json.Unmarshal(r.Detail, &p) == nil && p.Digest == ch.Digest && p.Until == ch.proposed().Until &&
		r.Who.Name() == ch.Proposer.Name() && r.Who.By == ch.Proposer.By && r.Who.Issuer == ch.Proposer.Issuer &&
		r.Who.Environment == ch.Proposer.Environment && slices.Equal(r.Who.Roles, ch.Proposer.Roles)
}

// counts reports whether a record is an approval of exactly this change by somebody
// whose word counts.
func (c *Changes) counts(ch *Change, r *record.Record) bool {
	var d decided
	return json.Unmarshal(r.Detail, &d) == nil && d.Yes && d.Digest == ch.Digest && c.heard(ch, r, d) && ch.Counts(*r.Who) && c.guard.May(*r.Who, c.votes(ch.Verb), ch.On)
}

// Counts reports whether somebody's approval counts, as far as it is for the change to say:
// they are a person, and neither who proposes it nor who gains by it, nor an identity of
// theirs, and its rule asks for them. What they may do the policies say.
func (ch *Change) Counts(who pavise.Principal) bool {
	return who.Kind == pavise.Human && who.Root() != ch.Proposer.Root() && !ch.gains(who) && ch.Rule.counts(who)
}

// gains reports whether somebody is one of those who gain by the change, or answers for
// one of them.
func (ch *Change) gains(who pavise.Principal) bool {
	return slices.Contains(ch.Plan.Parties, who.Name()) || slices.Contains(ch.Plan.Parties, who.Root())
}

// hasRun reports whether the log holds a good ending of the act as which the change
// is run.
func (c *Changes) hasRun(ctx context.Context, ch *Change) (bool, error) {
	filter := ledger.Filter{Tenant: ch.On.Tenant, Kinds: []string{ch.Verb}, On: ch.On.String(), Phase: record.Exit}
	for found, err := range c.log.Select(ctx, filter, ch.Record, c.log.Size()) {
		if err != nil {
			return false, fmt.Errorf("read how change %s was run: %w", ch.Name, err)
		}
		if found.Error == nil && found.Who != nil && found.Who.Change == ch.Name {
			return true, nil
		}
	}
	return false, nil
}

// close notes that a change came to an end, and then writes it: the note may come
// twice, and is never lost.
func (c *Changes) close(ctx context.Context, ch *Change, from State, kind, severity string) error {
	if err := c.note(ctx, kind, ch, severity); err != nil {
		ch.State = from
		return err
	}
	return c.save(ctx, ch, from)
}

// note leaves a note about a change in the log.
func (c *Changes) note(ctx context.Context, kind string, ch *Change, severity string) error {
	return c.guard.Note(ctx, kind, nil, ch.Name, struct {
		Verb    string         `json:"verb"`
		On      pavise.Name    `json:"on"`
		Digest  string         `json:"digest"`
		Finding pavise.Finding `json:"finding"`
	}{ch.Verb, ch.On, ch.Digest, pavise.Finding{
		Kind: kind, Severity: severity, On: ch.On, Who: ch.Proposer.Name(), At: c.now().UTC(),
		Summary: fmt.Sprintf("change %s (%s): %s", ch.Name.ID, ch.Plan.Summary, ch.Outcome),
	}})
}
