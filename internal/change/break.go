package change

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/policy"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/store"
)

// maxTicket bounds the name of a ticket, in bytes.
const maxTicket = 128

// KindBroken is the kind of the note that pages somebody: a change is run before it was
// approved.
const KindBroken = "change.broken"

// A Glass says that a change was run before it was approved, and why.
type Glass struct {
	Ticket string    `json:"ticket"` // of the incident, where others keep them
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
	Record uint64    `json:"record"` // the record that began it
}

// broken is the detail of the record of a broken glass.
type broken struct {
	Digest string `json:"digest"`
	Ticket string `json:"ticket"`
	Reason string `json:"reason"`
}

// Break has a change run before it is approved: the verb change.break on it, for who
// proposed it, with the ticket of an incident and a reason. A critical finding is
// recorded before anything is done. The change waits for approval afterwards, and is
// contested if nobody gives it. The error is of kind Denied for everybody else and for
// verbs that are never run so, and of kind Conflict when the change waits for no votes
// or the digest is another's.
//
// Unguarded: shatter enters for it, so that its record is closed before the act runs.
func (c *Changes) Break(ctx context.Context, who pavise.Principal, name pavise.Name, digest, ticket, reason string) (*Change, error) {
	if err := c.shatter(ctx, who, name, broken{digest, ticket, reason}); err != nil {
		return nil, err
	}
	return c.settle(ctx, name)
}

// shatter writes down that a change is run before it is approved: in the log first,
// then in the table.
func (c *Changes) shatter(ctx context.Context, who pavise.Principal, name pavise.Name, b broken) (err error) {
	entry, err := c.guard.Enter(ctx, who, policy.VerbBreak, name)
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	ch, release, err := c.claim(ctx, name)
	if err != nil {
		return err
	}
	defer release()
	if err := c.mayBreak(ctx, ch, who, b); err != nil {
		return err
	}
	if why, err := c.stale(ctx, ch); err != nil {
		return err
	} else if why != "" {
		return c.void(ctx, ch, why)
	}
	b.Digest = ch.Digest // in full
	entry.Detail(b)
	ch.Glass = &Glass{Ticket: b.Ticket, Reason: b.Reason, At: c.now().UTC()}
	ch.Glass.Record, _ = entry.Record()
	ch.Outcome = fmt.Sprintf("run by %s before anybody approved it, for ticket %s: %s", who.Name(), b.Ticket, b.Reason)
	if err := c.note(ctx, KindBroken, ch, pavise.Critical); err != nil {
		return err
	}
	return c.db.Update(ctx, func(tx *store.Tx) error { return update(tx, ch, Open) })
}

// mayBreak refuses what is not to be run before it is approved.
func (c *Changes) mayBreak(ctx context.Context, ch *Change, who pavise.Principal, b broken) error {
	refuse := func(kind pavise.Kind, hint, format string, args ...any) error {
		return &pavise.Error{Kind: kind, Msg: fmt.Sprintf(format, args...), Hint: hint}
	}
	show := "look at it: pavise change show " + ch.Name.ID
	switch {
	case ch.State != Open:
		return refuse(pavise.Conflict, show, "change %s is %s, and only an open one can be run before it is approved", ch.Name.ID, ch.State)
	case !c.now().Before(ch.Until):
		return refuse(pavise.Conflict, "propose it anew", "change %s was open until %s", ch.Name.ID, ch.Until.Format("2006-01-02 15:04 UTC"))
	case who.Name() != ch.Proposer.Name():
		return refuse(pavise.Denied, "propose it yourself, or approve it", "%s proposed change %s, and only they may run it before it is approved", ch.Proposer.Name(), ch.Name.ID)
	case who.By != (pavise.Name{}):
		return refuse(pavise.Denied, "use an identity that the issuer itself knows", "%s is an identity that %s had made", who.Name(), who.By)
	case len(b.Digest) < minDigest || !strings.HasPrefix(ch.Digest, strings.ToLower(b.Digest)):
		return refuse(pavise.Conflict, show+", and give the digest that it shows", "the digest is not that of change %s", ch.Name.ID)
	case b.Ticket == "" || len(b.Ticket) > maxTicket || b.Reason == "" || len(b.Reason) > maxReason:
		return refuse(pavise.Invalid, "--ticket INC-4711 --reason TEXT", "running a change before it is approved takes a ticket of up to %d bytes and a reason of up to %d", maxTicket, maxReason)
	}
	if why := c.guard.Barred(who, ch.Verb, ch.On); why != "" {
		return c.hopeless(who, ch.Verb, ch.On, why)
	}
	return c.breakable(ctx, ch)
}

// breakable refuses verbs and requests that always wait for others.
func (c *Changes) breakable(ctx context.Context, ch *Change) error {
	may := c.runners[ch.Verb].Breakable
	if may == nil {
		return &pavise.Error{Kind: pavise.Denied, Msg: fmt.Sprintf("%s is never run before others approve it", ch.Verb), Hint: "ask one of those who may: pavise policy who-can " + ch.Verb + " " + ch.On.String()}
	}
	return c.db.View(ctx, func(tx *store.Tx) error {
		whole, err := find(tx, ch.Name, true)
		if err != nil {
			return err
		}
		return may(whole.On, whole.request)
	})
}

// breaks reports whether a record says that exactly this change was to be run before it
// was approved, by who proposed it.
func (c *Changes) breaks(ch *Change, r *record.Record) bool {
	var b broken
	return json.Unmarshal(r.Detail, &b) == nil && b.Digest == ch.Digest && b.Ticket != "" && r.Who.Kind == pavise.Human &&
		r.Who.Name() == ch.Proposer.Name() && r.Who.By == (pavise.Name{}) && c.runners[ch.Verb].Breakable != nil
}
