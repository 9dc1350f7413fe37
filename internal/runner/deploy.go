package runner

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/deploy"
)

// ErrNoDeployments is what an installation answers that deploys nothing.
var ErrNoDeployments = &pavise.Error{Kind: pavise.Unavailable, Msg: "nothing is deployed from here", Hint: "pavise up and pavise serve deploy versions of models"}

// deployRunners run what is done to targets and deployments.
func deployRunners(rooms *Rooms) map[string]change.Runner {
	return map[string]change.Runner{
		"target.put":      targetRunner(rooms),
		"deploy.release":  releasedRunner(rooms),
		"deploy.promote":  promoteRunner(rooms),
		"deploy.rollback": deployBackRunner(rooms),
	}
}

// Released is the request of deploy.release.
type Released struct {
	Version int      `json:"version"`
	To      []string `json:"to,omitempty"` // ids of targets
	Canary  int      `json:"canary,omitempty"`
	Shadow  bool     `json:"shadow,omitempty"`
}

// Because is the request of an act that takes a reason and nothing else.
type Because struct {
	Why string `json:"why,omitempty"`
}

// deployed reads the request of an act on deployments.
func deployed[T any](rooms *Rooms, request json.RawMessage) (T, error) {
	ask, err := parse[T](request)
	if err == nil && rooms.Deployments == nil {
		err = ErrNoDeployments
	}
	return ask, err
}

// targetRunner runs target.put.
func targetRunner(rooms *Rooms) change.Runner {
	return change.Runner{
		Plan: func(ctx context.Context, on pavise.Name, request json.RawMessage) (change.Plan, error) {
			spec, err := deployed[deploy.Spec](rooms, request)
			if err != nil {
				return change.Plan{}, err
			}
			plan, err := rooms.Deployments.PlanPut(ctx, on, spec)
			summary := fmt.Sprintf("let %s be a target of kind %s", on.ID, spec.Kind)
			if plan.In != "" {
				summary = fmt.Sprintf("let %s, where versions of %s run, be another target of kind %s", on.ID, plan.In, spec.Kind)
			}
			return change.Plan{Summary: summary, Digests: map[string]string{targetBefore: plan.Before}, Detail: plan}, err
		},
		Run: func(ctx context.Context, act change.Act) error {
			spec, err := deployed[deploy.Spec](rooms, act.Request)
			if err != nil {
				return err
			}
			return rooms.Deployments.Put(ctx, act.Who, act.On, spec, act.Digests[targetBefore], act.Mark)
		},
	}
}

// targetBefore names the digest of the target that a change replaces.
const targetBefore = "target before"

// planned is the plan of an act on a deployment.
func planned(plan *deploy.Plan, err error, format string, args ...any) (change.Plan, error) {
	if err != nil {
		return change.Plan{}, err
	}
	return change.Plan{Summary: fmt.Sprintf(format, args...) + " at " + plan.Words(), Digests: plan.Digests(), Detail: plan, Need: plan.Need}, nil
}

// releasedRunner runs deploy.release.
func releasedRunner(rooms *Rooms) change.Runner {
	read := func(on pavise.Name, request json.RawMessage) (deploy.Release, error) {
		ask, err := deployed[Released](rooms, request)
		r := deploy.Release{Version: ask.Version, Canary: ask.Canary, Shadow: ask.Shadow}
		for _, id := range ask.To {
			r.To = append(r.To, pavise.Name{Tenant: on.Tenant, Kind: deploy.KindTarget, ID: id})
		}
		return r, err
	}
	return change.Runner{
		Plan: func(ctx context.Context, on pavise.Name, request json.RawMessage) (change.Plan, error) {
			r, err := read(on, request)
			if err != nil {
				return change.Plan{}, err
			}
			plan, err := rooms.Deployments.PlanRelease(ctx, on, r)
			return planned(plan, err, "deploy version %d of %s", r.Version, on.ID)
		},
		Run: func(ctx context.Context, act change.Act) error {
			r, err := read(act.On, act.Request)
			if err != nil {
				return err
			}
			return rooms.Deployments.Release(ctx, act.Who, act.On, r, act.Digests, act.Mark)
		},
	}
}

// promoteRunner runs deploy.promote.
func promoteRunner(rooms *Rooms) change.Runner {
	return change.Runner{
		Plan: func(ctx context.Context, on pavise.Name, request json.RawMessage) (change.Plan, error) {
			if _, err := deployed[Nothing](rooms, request); err != nil {
				return change.Plan{}, err
			}
			plan, err := rooms.Deployments.PlanPromote(ctx, on)
			return planned(plan, err, "let the version of %s that is beside another answer all calls", on.ID)
		},
		Run: func(ctx context.Context, act change.Act) error {
			return rooms.Deployments.Promote(ctx, act.Who, act.On, act.Digests, act.Mark)
		},
	}
}

// deployBackRunner runs deploy.rollback.
func deployBackRunner(rooms *Rooms) change.Runner {
	return change.Runner{
		Safe: true,
		Plan: func(ctx context.Context, on pavise.Name, request json.RawMessage) (change.Plan, error) {
			if _, err := deployed[Because](rooms, request); err != nil {
				return change.Plan{}, err
			}
			plan, err := rooms.Deployments.PlanRollback(ctx, on)
			return planned(plan, err, "let %s go back", on.ID)
		},
		Run: func(ctx context.Context, act change.Act) error {
			ask, err := deployed[Because](rooms, act.Request)
			if err != nil {
				return err
			}
			return rooms.Deployments.Rollback(ctx, act.Who, act.On, ask.Why, act.Digests, act.Mark)
		},
	}
}
