package role

import (
	"context"
	"fmt"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/siem"
	"github.com/pavise/pavise/internal/verbs"
	"github.com/pavise/pavise/internal/witness"
)

// A control is a house with a control plane: where policies, routes and changes are
// made.
type control struct {
	house
	fresh bool // the log is new, or an earlier process came no further than this

	policies *guard.Policies
	grants   *guard.Grants
	witness  *witness.Server
	rooms    *verbs.Rooms
}

// openGuard opens the door, closes what the last process left open, and gives a new
// installation its first policies. demo is the issuer whose principals are for
// demonstration, or empty.
func (c *control) openGuard(ctx context.Context, demo string, first map[string]string) (err error) {
	c.guard, err = guard.New(guard.Config{
		Actions: verbs.Actions(), Log: c.log, Now: c.now, Tenant: c.tenant, DemoIssuer: demo, Pool: underWay,
		Facts: c.facts,
		Approved: func(name pavise.Name, verb string, on pavise.Name) bool {
			return c.changes != nil && c.changes.UnderWay(name, verb, on)
		},
	})
	if err != nil {
		return err
	}
	if c.policies, err = guard.OpenPolicies(ctx, c.guard, c.db); err != nil {
		return err
	}
	if c.fresh { // an earlier process may have come as far as this
		if err := c.policies.Seed(ctx, c.tenant, first); err != nil && pavise.KindOf(err) != pavise.Conflict {
			return err
		}
	}
	if !c.guard.Loaded(c.tenant) {
		return c.data.StateLost(c.log.Size())
	}
	if err := c.policies.Renew(ctx, c.tenant); err != nil && pavise.KindOf(err) != pavise.Conflict {
		return err
	}
	if c.grants, err = guard.OpenGrants(ctx, c.guard, c.db); err != nil {
		return err
	}
	_, err = c.guard.Recover(ctx)
	return err
}

// openWitness opens the witness that this installation is to others: what it
// cosigns is a record, so that this log is the log of those logs.
func (c *control) openWitness(ctx context.Context, k installation.Keys) error {
	signers, err := cosigners(c.origin+"/witness", k)
	if err != nil {
		return err
	}
	c.witness, err = witness.Open(ctx, witness.Config{
		Signers: signers, Store: c.db, Now: c.now,
		Record: func(ctx context.Context, cp proof.Checkpoint) error {
			return c.guard.Note(ctx, witness.KindCosigned, nil, witness.Name(c.tenant, cp.Origin), witness.NewCosigning(cp))
		},
		Forked: func(ctx context.Context, origin string, a, b []byte) error {
			return c.finding(ctx, "witness.forked", witness.Name(c.tenant, origin), fmt.Sprintf("the log %s has signed two histories", origin),
				map[string]any{"checkpoints": []string{string(a), string(b)}})
		},
	})
	return err
}

// openChanges opens the road for consequential acts, and goes on with those that
// were cut off. The rooms are completed before by whoever knows more of them.
func (c *control) openChanges(ctx context.Context, k installation.Keys, more verbs.Rooms) (err error) {
	c.rooms = &more
	r := c.rooms
	r.Guard, r.Log, r.Policies, r.Grants, r.Routes, r.Protection = c.guard, c.log, c.policies, c.grants, c.gateway.Routes, k.KEK.Protection()
	r.Tiers, r.Marks = c.gateway.Tiers, c.gateway
	r.Feeds, r.Subjects, r.KEK, r.Archive, r.Witness, r.Quorum = c.feeds, c.subjects, k.KEK, c.archive, c.witness, c.quorum
	c.changes, err = change.New(ctx, change.Config{Guard: c.guard, Store: c.db, Log: c.log, Runners: r.Runners(), Now: c.now})
	if err != nil {
		return err
	}
	r.Changes = c.changes
	if err := c.changes.Resume(ctx); err != nil {
		return err
	}
	return c.shredAgain(ctx)
}

// openWires opens where findings go, as the rest of cfg says, for the verbs, too.
func (c *control) openWires(ctx context.Context, k installation.Keys, cfg siem.Config) error {
	err := c.house.openWires(ctx, k, cfg)
	c.rooms.Wires = c.wires
	return err
}

// Rooms are the rooms that it runs, for whoever works with them in its process.
func (c *control) Rooms() *verbs.Rooms { return c.rooms }
