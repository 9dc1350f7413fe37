package role

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/config"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/premises"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/siem"
	"github.com/pavise/pavise/internal/verbs"
	"github.com/pavise/pavise/internal/witness"
)

// witnessPrefix is where the witness is asked, below the server's address.
const witnessPrefix = "/witness"

// A control is a house with a control plane: where policies, routes and changes are
// made.
type control struct {
	premises.House
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
	c.Guard, err = guard.New(guard.Config{
		Actions: verbs.Actions(), Log: c.Log, Now: c.Now, Tenant: c.Tenant, DemoIssuer: demo, Pool: premises.UnderWay,
		Facts: c.Facts,
		Approved: func(name pavise.Name, verb string, on pavise.Name) bool {
			return c.Changes != nil && c.Changes.UnderWay(name, verb, on)
		},
	})
	if err != nil {
		return err
	}
	if c.policies, err = guard.OpenPolicies(ctx, c.Guard, c.DB); err != nil {
		return err
	}
	if c.fresh { // an earlier process may have come as far as this
		if err := c.policies.Seed(ctx, c.Tenant, first); err != nil && pavise.KindOf(err) != pavise.Conflict {
			return err
		}
	}
	if !c.Guard.Loaded(c.Tenant) {
		return c.Data.StateLost(c.Log.Size())
	}
	if err := c.policies.Renew(ctx, c.Tenant); err != nil && pavise.KindOf(err) != pavise.Conflict {
		return err
	}
	if c.grants, err = guard.OpenGrants(ctx, c.Guard, c.DB); err != nil {
		return err
	}
	_, err = c.Guard.Recover(ctx)
	return err
}

// openWitness opens the witness that this installation is to others: what it
// cosigns is a record, so that this log is the log of those logs.
func (c *control) openWitness(ctx context.Context, k installation.Keys) error {
	signers, err := premises.Cosigners(c.Origin+"/witness", k)
	if err != nil {
		return err
	}
	c.witness, err = witness.Open(ctx, witness.Config{
		Signers: signers, Store: c.DB, Now: c.Now,
		Record: func(ctx context.Context, cp proof.Checkpoint) error {
			return c.Guard.Note(ctx, witness.KindCosigned, nil, witness.Name(c.Tenant, cp.Origin), witness.NewCosigning(cp))
		},
		Forked: func(ctx context.Context, origin string, a, b []byte) error {
			return c.Finding(ctx, "witness.forked", witness.Name(c.Tenant, origin), fmt.Sprintf("the log %s has signed two histories", origin),
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
	r.Guard, r.Log, r.Policies, r.Grants, r.Routes, r.Protection = c.Guard, c.Log, c.policies, c.grants, c.Gateway.Routes, k.KEK.Protection()
	r.Tiers, r.Marks, r.Gate, r.Catalog, r.Models, r.Deployments, r.Edges, r.Lineage, r.Receivers, r.Monitor = c.Gateway.Tiers, c.Gateway, c.Gate, c.Catalog, c.Models, c.Deployments, c.Edges, c.Lineage, c.Receivers, c.Monitor
	r.Feeds, r.Subjects, r.KEK, r.Archive, r.Witness, r.Quorum = c.Feeds, c.Subjects, k.KEK, c.Archive, c.witness, c.Quorum
	c.Changes, err = change.New(ctx, change.Config{Guard: c.Guard, Store: c.DB, Log: c.Log, Runners: r.Runners(), Now: c.Now})
	if err != nil {
		return err
	}
	r.Changes = c.Changes
	if err := c.Changes.Resume(ctx); err != nil {
		return err
	}
	return c.ShredAgain(ctx)
}

// openMLflow opens the API of MLflow, for the verbs, too.
func (c *control) openMLflow(ctx context.Context, cfg *config.Models, at string) error {
	err := c.House.OpenMLflow(ctx, cfg, at)
	c.rooms.MLflow = c.MLflow
	return err
}

// openOCI opens the door for clients of OCI registries, for the verbs, too.
func (c *control) openOCI(ctx context.Context, at string) error {
	err := c.House.OpenOCI(ctx, at)
	c.rooms.OCI = c.OCI
	return err
}

// openWires opens where findings go, as the rest of cfg says, and the desk that tells tools
// of changes, for the verbs, too.
func (c *control) openWires(ctx context.Context, k installation.Keys, cfg siem.Config) error {
	if err := c.House.OpenWires(ctx, k, cfg); err != nil {
		return err
	}
	err := c.OpenTickets(ctx, k, cfg, c.rooms.Revoked.Refuses)
	c.rooms.Wires, c.rooms.Tickets = c.Wires, c.Tickets
	return err
}

// Rooms are the rooms that it runs, for whoever works with them in its process.
func (c *control) Rooms() *verbs.Rooms { return c.rooms }

// firstRoute puts one of the models that an empty store begins with.
func (c *control) firstRoute(ctx context.Context, who pavise.Principal, r config.Route) error {
	name, err := r.Model(c.Tenant)
	if err != nil || c.Gateway.Routes.Has(name) {
		return err // or an earlier start came further than this
	}
	spec := route.Spec{
		Name: name.String(), Upstream: r.Upstream, Replicas: r.Replicas, Remote: r.Remote, Protocol: r.Protocol, TLS: r.TLS, Rate: r.Rate, Budget: r.Budget, Shape: r.Shape, Purpose: r.Purpose,
	}
	for _, file := range []struct {
		name string
		to   func([]byte)
	}{
		{r.ONNX, func(text []byte) { spec.ONNX = text }},
		{r.Signature, func(text []byte) { spec.Signature = text }},
	} {
		if file.name == "" {
			continue
		}
		text, err := os.ReadFile(file.name)
		if err != nil {
			return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("read %s, of %s: %v", file.name, name, err), Hint: "bootstrap.routes in pavise.yaml names it", Err: err}
		}
		file.to(text)
	}
	placed, err := c.Gateway.Routes.Put(ctx, who, spec)
	if placed.Warning != "" && err == nil {
		c.Say("warning", fmt.Errorf("%s: %s", name, placed.Warning))
	}
	if pavise.KindOf(err) == pavise.Unavailable && r.Upstream != "" {
		return &pavise.Error{
			Kind: pavise.Unavailable, Msg: fmt.Sprintf("the model server of %s at %s cannot be asked what the model takes: %v", r.Name, r.Upstream, err),
			Hint: "start it first, or correct upstream or remote under bootstrap.routes in pavise.yaml", Err: err,
		}
	}
	if e, ok := errors.AsType[*pavise.Error](err); ok && e.Kind == pavise.Invalid {
		return &pavise.Error{Kind: e.Kind, Msg: fmt.Sprintf("bootstrap.routes, %s: %s", r.Name, e.Msg), Hint: e.Hint + "; in pavise.yaml flags are fields: signature: FILE", Err: err}
	}
	return err
}
