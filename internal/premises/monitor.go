package premises

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/config"
	"github.com/pavise/pavise/internal/drift/book"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/monitor"
	"github.com/pavise/pavise/internal/tensor"
	"github.com/pavise/pavise/internal/tier"
)

// OpenMonitor opens what says whether the house's models still answer what they answered. It
// comes before the data plane, which feeds it, and acts by what is opened after it.
func (h *House) OpenMonitor(ctx context.Context, k installation.Keys, own *config.Drift) (err error) {
	h.Monitor, err = monitor.Open(ctx, monitor.Config{
		Guard: h.Guard, Log: h.Log, Store: h.DB, Key: k.KEK.Baselines, Sign: ed25519.NewKeyFromSeed(k.Drift), House: h.Verdicts(), Review: drifting{h}.Review, Now: h.Now, Say: h.Say,
		Window: own.Length(), Learn: own.Learnt(), Few: own.Feared(),
	})
	return err
}

// Verdicts does what the monitor's verdicts ask for.
func (h *House) Verdicts() monitor.House { return drifting{h} }

// slowed is how long a caller is held to amber who makes what comes in move.
const slowed = 24 * time.Hour

// drifting does what the monitor's verdicts ask for. It implements monitor.House.
type drifting struct{ h *House }

// who the monitor acts as: a program of the house with the role drift-monitor, which policies
// permit what they like.
func (d drifting) who() pavise.Principal {
	return pavise.Principal{Tenant: d.h.Tenant, Kind: pavise.Workload, ID: "drift-monitor", Roles: []string{"drift-monitor"}, Proof: "part of the house"}
}

// Rollback implements monitor.House: an emergency, that people approve or contest afterwards. What
// a deployment steers goes back at all its targets, or the deployment would put the bad version
// back.
//
// Unguarded: the change enters, twice; of a deployment, the policies on the route are asked.
func (d drifting) Rollback(ctx context.Context, model pavise.Name, version, why string) (now string, err error) {
	if d.h.Changes == nil {
		return "", &pavise.Error{Kind: pavise.Unavailable, Msg: "the control plane is told, and what came of it stands there, as drift.reported", Hint: "by hand: pavise route rollback " + model.ID, Err: monitor.ErrElsewhere}
	}
	live, err := d.h.Gateway.Routes.Find(model)
	if err != nil {
		return "", err
	}
	if book.Known(live.Is) != book.Known(version) { // a long name the monitor has by its digest
		return "", &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("%s is answered by %s by now", model, live.Is), Hint: "it is looked at anew"}
	}
	if d.h.Deployments != nil {
		switch name, bad, err := d.h.Deployments.Behind(ctx, model); {
		case err == nil:
			return d.everywhere(ctx, model, name, bad, live.Is, why)
		case pavise.KindOf(err) != pavise.NotFound:
			return "", err
		}
	}
	plan, err := d.h.Gateway.Routes.PlanRollback(ctx, model)
	if err != nil {
		return "", err
	}
	for _, one := range append([]string{plan.Model}, plan.Beside...) {
		if d.h.Unfit == nil {
			break
		}
		if err := d.h.Unfit(ctx, model.Tenant, one); err != nil {
			return "", err
		}
	}
	ch, err := d.h.Changes.Propose(ctx, d.who(), change.Proposal{
		Verb: "route.rollback", On: pavise.Name{Tenant: model.Tenant, Kind: "route", ID: model.ID}, Request: json.RawMessage(`{}`), Reason: first512(why),
	})
	if err != nil {
		return "", err
	}
	if ch.State != change.Ran && ch.State != change.Done {
		return "", &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("the rollback of %s is %s: %s", model, ch.State, ch.Outcome), Hint: "pavise change show " + ch.Name.ID}
	}
	return plan.Model, nil
}

// everywhere has a deployment go back from a version, at each of its targets.
func (d drifting) everywhere(ctx context.Context, model, deployment pavise.Name, bad int, was, why string) (now string, err error) {
	if route := (pavise.Name{Tenant: model.Tenant, Kind: "route", ID: model.ID}); !d.h.Guard.May(d.who(), "route.rollback", route) {
		return "", &pavise.Error{Kind: pavise.Denied, Msg: fmt.Sprintf("policies do not let %s roll back %s", d.who().Name(), route), Hint: "pavise deploy rollback " + deployment.ID}
	}
	if err := d.h.Deployments.Automatic(ctx, deployment, bad, first512(why)); err != nil {
		return "", err
	}
	live, err := d.h.Gateway.Routes.Find(model)
	if err != nil {
		return "", err
	}
	if live.Is == was {
		return "", &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("%s is to go back from version %d, and its route has not", deployment.ID, bad), Hint: "it is tried again; pavise deploy show " + deployment.ID + " says why"}
	}
	return live.Is, nil
}

// first512 is as much of a reason as a change keeps.
func first512(why string) string { return why[:min(len(why), 512)] }

// Slow implements monitor.House: it holds the caller to amber.
//
// Unguarded: it enters, as the monitor.
func (d drifting) Slow(ctx context.Context, model, caller pavise.Name, why string) (err error) {
	who := d.who()
	entry, err := d.h.Guard.Enter(ctx, who, "tier.hold", pavise.Name{Tenant: model.Tenant, Kind: "tier", ID: model.ID})
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	word := tier.Word{Model: model, Who: caller, Tier: tier.Amber, Until: d.h.Now().Add(slowed).Truncate(time.Minute), By: who.Name(), Reason: why}
	entry.Detail(struct {
		Model  pavise.Name `json:"model"`
		Caller pavise.Name `json:"caller"`
		Tier   tier.Tier   `json:"tier"`
		Until  time.Time   `json:"until"`
		Reason string      `json:"reason"`
	}{model, caller, word.Tier, word.Until, why})
	_, err = d.h.Gateway.Tiers.Hold(ctx, word)
	return err
}

// Review proposes that what a model is asked and answers now is as usual, of models that are in the
// registry: those have somebody who decides.
//
// Unguarded: the change enters.
func (d drifting) Review(ctx context.Context, ask monitor.Ask, why string) (name pavise.Name, until time.Time, err error) {
	if d.h.Changes == nil || d.h.Models == nil {
		return name, until, nil
	}
	if _, err := d.h.Models.Known(ctx, ask.Model); err != nil {
		if pavise.KindOf(err) == pavise.NotFound {
			err = nil
		}
		return name, until, err
	}
	request, err := json.Marshal(ask)
	if err != nil {
		return name, until, fmt.Errorf("spell what %s is to be held to: %w", ask.Model, err)
	}
	ch, err := d.h.Changes.Propose(ctx, d.who(), change.Proposal{Verb: "drift.baseline", On: monitor.Of(ask.Model), Request: request, Reason: first512(why)})
	if err != nil {
		return name, until, err
	}
	return ch.Name, ch.Until, nil
}

// Ask implements monitor.House.
//
// Unguarded: no caller gets the answer, and none asks.
func (d drifting) Ask(ctx context.Context, model pavise.Name, asked *tensor.Request) (*tensor.Response, error) {
	former, err := d.h.Gateway.Routes.Former(ctx, model)
	if err != nil {
		return nil, err
	}
	defer former.Close()
	return former.Infer(ctx, asked)
}
