package runner

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/figure"
	"github.com/pavise/pavise/internal/gate"
)

// HeldBatch is the request of ingest.release as its runner reads it.
type HeldBatch struct {
	Batch string `json:"batch"` // the batch's SHA-256, or the beginning of it
}

// WithGate returns the gate, where there is one. Where there is none, the error is of kind
// Unavailable.
func WithGate(g *gate.Gate) (*gate.Gate, error) {
	if g == nil {
		return nil, &pavise.Error{Kind: pavise.Unavailable, Msg: "this installation lets no records in", Hint: "pavise serve and pavise up do"}
	}
	return g, nil
}

// The names of what changes at the gate depend on.
const (
	batchHeld   = "batch"
	termsBefore = "terms before"
)

// reviseRunner runs ingest.revise.
func reviseRunner(rooms *Rooms) change.Runner {
	spec := func(on pavise.Name, request json.RawMessage) (*gate.Gate, gate.Spec, error) {
		s, err := parse[gate.Spec](request)
		if err == nil && s.Source != on {
			err = &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the terms are of %s, and were proposed for %s", s.Source, on)}
		}
		if err != nil {
			return nil, s, err
		}
		g, err := WithGate(rooms.Gate)
		return g, s, err
	}
	return change.Runner{
		Plan: func(ctx context.Context, on pavise.Name, request json.RawMessage) (change.Plan, error) {
			g, s, err := spec(on, request)
			if err != nil {
				return change.Plan{}, err
			}
			plan, err := g.PlanRevise(ctx, s)
			summary := fmt.Sprintf("hold %s to other terms", on)
			if len(plan.Looser) > 0 {
				summary += ", some of them looser: " + listed(plan.Looser)
			}
			return change.Plan{Summary: summary, Digests: map[string]string{termsBefore: plan.Before, "terms after": plan.After}, Detail: plan}, err
		},
		Run: func(ctx context.Context, act change.Act) error {
			g, s, err := spec(act.On, act.Request)
			if err != nil {
				return err
			}
			return g.Revise(ctx, act.Who, s, act.Digests[termsBefore], act.Mark)
		},
	}
}

// unholdRunner runs ingest.release.
func unholdRunner(rooms *Rooms) change.Runner {
	return change.Runner{
		Outside: true,
		Plan: func(ctx context.Context, on pavise.Name, request json.RawMessage) (change.Plan, error) {
			req, err := parse[HeldBatch](request)
			if err != nil {
				return change.Plan{}, err
			}
			g, err := WithGate(rooms.Gate)
			if err != nil {
				return change.Plan{}, err
			}
			plan, err := g.PlanRelease(ctx, on, req.Batch)
			if err != nil {
				return change.Plan{}, err
			}
			return change.Plan{
				Summary: fmt.Sprintf("let %s of %s in that %s brought as %.80q, sha256 %.12s…, although %s", figure.Count(plan.Rows, "row"), on, plan.Who, plan.Batch, plan.SHA256, plan.Reasons[0]),
				Digests: map[string]string{batchHeld: plan.SHA256, "reasons": plan.Before},
				Detail:  plan, Parties: slices.Compact([]pavise.Name{plan.Who, plan.Root}),
			}, nil
		},
		Run: func(ctx context.Context, act change.Act) error {
			g, err := WithGate(rooms.Gate)
			if err != nil {
				return err
			}
			return g.Release(ctx, act.Who, act.On, act.Digests[batchHeld], act.Mark)
		},
	}
}
