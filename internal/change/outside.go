package change

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/store"
)

// ProofTicket is the proof of a principal whose word was read in a tool that people have:
// the tool says who it was. No proof that a caller brings is known by that word.
const ProofTicket = "ticket"

// RiskHigh is the risk of a plan that nobody decides on from outside.
const RiskHigh = "high"

// KindUnseen is the kind of the note that half of a change's time is over, and nobody has
// voted on it.
const KindUnseen = "change.unseen"

// maxOrigin bounds each text of an origin, in bytes.
const maxOrigin = 512

// An Origin says where a vote was read that did not come through our own door.
type Origin struct {
	Tool    string    `json:"tool"`    // the name of the tool here
	At      string    `json:"at"`      // its address
	Ticket  string    `json:"ticket"`  // of the change, there
	Word    string    `json:"word"`    // which word on it: the id of a comment or an approval
	Account string    `json:"account"` // who said it, by the tool's own id
	Said    time.Time `json:"said"`    // when, by the tool's clock
}

// valid refuses an origin that says too little, or too much for a record.
func (o Origin) valid() error {
	for _, text := range []string{o.Tool, o.At, o.Ticket, o.Word, o.Account} {
		if text == "" || len(text) > maxOrigin {
			return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("where a vote was read is said in %d bytes, not 1 to %d", len(text), maxOrigin)}
		}
	}
	return nil
}

// A Word is a vote that was read outside.
type Word struct {
	Digest string // of the change, or its first digits
	Yes    bool
	Reason string
	Origin Origin
}

// Outside is a vote that was read in a tool that people have: the verb change.approve or
// change.deny, for a person whose proof is [ProofTicket]. It counts as any other vote
// does, with the same checks, and not where a verb or a plan is not decided on from
// outside. The error is of kind Denied then; otherwise the errors are those of Approve.
//
// Unguarded: vote enters for it, so that its record is closed before the act runs.
func (c *Changes) Outside(ctx context.Context, who pavise.Principal, name pavise.Name, w Word) (*Change, error) {
	if err := w.Origin.valid(); err != nil {
		return nil, err
	}
	if who.Proof != ProofTicket {
		return nil, fmt.Errorf("a vote of %s from outside was proved by %q", who.Name(), who.Proof)
	}
	verb := "change.deny"
	if w.Yes {
		verb = "change.approve"
	}
	if err := c.vote(ctx, who, verb, name, decided{Digest: w.Digest, Yes: w.Yes, Reason: w.Reason, Origin: &w.Origin}); err != nil {
		return nil, err
	}
	return c.settle(ctx, name)
}

// hears says why a change is not decided on from outside, or "".
func (c *Changes) hears(ch *Change) string {
	switch runner := c.runners[ch.Verb]; {
	case !runner.Outside || runner.Widens:
		return fmt.Sprintf("%s is not decided on from outside", ch.Verb)
	case ch.Plan.Risk == RiskHigh:
		return "the risk is high, and so it is not decided on from outside"
	case ch.Rule.Need != 1:
		return fmt.Sprintf("it takes %d people, and so it is not decided on from outside", ch.Rule.Need)
	}
	return ""
}

// mayHear refuses a vote from outside on a change that is not decided on from there, and
// one that hides where it is from.
func (c *Changes) mayHear(ch *Change, who pavise.Principal, d decided) error {
	if d.Origin == nil && who.Proof != ProofTicket {
		return nil
	}
	if why := c.hears(ch); d.Origin == nil || why != "" {
		return &pavise.Error{Kind: pavise.Denied, Msg: fmt.Sprintf("change %s: %s", ch.Name.ID, why), Hint: "vote here: pavise change show " + ch.Name.ID}
	}
	return nil
}

// Hears says why a change is not decided on from outside, or "" where it is.
//
// It reads nothing: ch is as [Changes.Look] returned it.
func (c *Changes) Hears(ch *Change) string { return c.hears(ch) }

// heard reports whether a record of a vote may count, as to where it is from.
func (c *Changes) heard(ch *Change, r *record.Record, d decided) bool {
	return d.Origin == nil && r.Who.Proof != ProofTicket || d.Origin != nil && c.hears(ch) == ""
}

// Look returns a change as it stands, without its request.
//
// Unguarded: the house asks, for rooms that tell of changes.
func (c *Changes) Look(ctx context.Context, name pavise.Name) (ch *Change, err error) {
	err = c.db.View(ctx, func(tx *store.Tx) error {
		ch, err = find(tx, name, false)
		return err
	})
	return ch, err
}

// Proposed returns the names of a tenant's changes that were proposed at a time or later,
// the oldest first, limit at most, and when the last of them was.
//
// Unguarded: the house asks, for rooms that tell of changes.
func (c *Changes) Proposed(ctx context.Context, tenant string, from time.Time, limit int) (names []pavise.Name, last time.Time, err error) {
	err = c.db.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(`SELECT id, proposed FROM change_changes WHERE tenant = ? AND proposed >= ? ORDER BY proposed, id LIMIT ?`, tenant, from.UnixMicro(), limit)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			name, at := pavise.Name{Tenant: tenant, Kind: "change"}, int64(0)
			if err := rows.Scan(&name.ID, &at); err != nil {
				return err
			}
			names, last = append(names, name), time.UnixMicro(at).UTC()
		}
		return rows.Err()
	})
	return names, last, err
}

// remind notes that half of a change's time is over and nobody has voted on it, once for
// each: whoever is to look has the other half left.
func (c *Changes) remind(ctx context.Context) error {
	now := c.now()
	waiting, err := c.listed(ctx, `state IN ('open', 'ran') AND proposed + (until - proposed) / 2 <= ? AND until > ? ORDER BY until`, now.UnixMicro(), now.UnixMicro())
	if err != nil {
		return err
	}
	unseen := slices.DeleteFunc(waiting, func(ch *Change) bool { return len(ch.Votes) > 0 || !ch.Unseen.IsZero() })
	c.mu.Lock()
	sure := c.half.see(unseen)
	c.mu.Unlock()
	for _, ch := range sure {
		if err := c.unseen(ctx, ch.Name); err != nil {
			return err
		}
	}
	return nil
}

// unseen notes it of one change.
func (c *Changes) unseen(ctx context.Context, name pavise.Name) error {
	ch, release, err := c.claim(ctx, name)
	if err != nil {
		return err
	}
	defer release()
	if !ch.State.Waits() || len(ch.Votes) > 0 || !ch.Unseen.IsZero() {
		return nil // decided meanwhile
	}
	was := ch.Outcome
	ch.Outcome = fmt.Sprintf("half of its time is over, and nobody has voted: it waits until %s", ch.Until.Format("2006-01-02 15:04 UTC"))
	if err := c.note(ctx, KindUnseen, ch, pavise.Warning); err != nil {
		return err
	}
	ch.Unseen, ch.Outcome = c.now().UTC(), was
	return c.save(ctx, ch, ch.State)
}
