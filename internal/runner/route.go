package runner

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/registry"
	"github.com/pavise/pavise/internal/route"
)

// modelOf returns the model that a route leads to.
func modelOf(route pavise.Name) pavise.Name {
	return pavise.Name{Tenant: route.Tenant, Kind: "model", ID: route.ID}
}

// shortModel is a model's digest as people compare it, or an address whole.
func shortModel(model string) string {
	if digest, ok := strings.CutPrefix(model, "sha256:"); ok && len(digest) > 12 {
		return "sha256:" + digest[:12]
	}
	return model
}

// routeBefore names the digest of the route that a change replaces.
const routeBefore = "route before"

// releaseRunner runs route.release.
func releaseRunner(rooms *Rooms) change.Runner {
	spec := func(on pavise.Name, request json.RawMessage) (route.ReleaseSpec, error) {
		s, err := parse[route.ReleaseSpec](request)
		if err == nil && s.Name != modelOf(on).String() {
			err = &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the release is of %.100s, and was proposed for %s", s.Name, on)}
		}
		return s, err
	}
	return change.Runner{
		Outside: true,
		Plan: func(ctx context.Context, on pavise.Name, request json.RawMessage) (change.Plan, error) {
			s, err := spec(on, request)
			if err != nil {
				return change.Plan{}, err
			}
			plan, err := rooms.Routes.PlanRelease(ctx, s)
			if err == nil {
				err = rooms.fit(ctx, on.Tenant, plan)
			}
			risk := registry.Low
			if err == nil {
				risk, err = rooms.risk(ctx, modelOf(on), append([]string{plan.Model}, plan.Beside...))
			}
			return change.Plan{
				Summary: fmt.Sprintf("let %s be answered by %s%s%s", s.Name, shortModel(plan.Model), plan.Will.Aside(), plan.Will.Heard()),
				Digests: map[string]string{routeBefore: plan.Before, "model": plan.Model}, Detail: plan, Risk: string(risk), Need: risk.Approvals(),
			}, err
		},
		Run: func(ctx context.Context, act change.Act) error {
			s, err := spec(act.On, act.Request)
			if err != nil {
				return err
			}
			return rooms.Routes.Release(ctx, act.Who, s, act.Digests[routeBefore], act.Mark)
		},
		Breakable: func(pavise.Name, json.RawMessage) error { return nil },
	}
}

// risk is the highest of the model that the registry has under a route's name, and of all versions
// whose files are to answer there; of what it does not know, low. Else what takes more people where
// versions are published and deployed would take fewer here.
func (rooms *Rooms) risk(ctx context.Context, model pavise.Name, answering []string) (worst registry.Risk, err error) {
	worst = registry.Low
	if rooms.Models == nil {
		return worst, nil
	}
	m, err := rooms.Models.Known(ctx, model)
	if err == nil {
		worst = m.Risk
	} else if pavise.KindOf(err) != pavise.NotFound {
		return worst, err
	}
	for _, one := range answering {
		all, err := rooms.Models.Having(ctx, model.Tenant, one)
		if err != nil {
			return worst, err
		}
		for _, v := range all {
			if slices.Index(registry.Risks, v.Risk) > slices.Index(registry.Risks, worst) {
				worst = v.Risk
			}
		}
	}
	return worst, nil
}

// fit refuses, with kind Denied, models of which the registry says that they may not answer.
func (rooms *Rooms) fit(ctx context.Context, tenant string, plan route.ReleasePlan) error {
	if rooms.Models == nil {
		return nil
	}
	for _, model := range append([]string{plan.Model}, plan.Beside...) {
		if err := rooms.Models.Unfit(ctx, tenant, model); err != nil {
			return err
		}
	}
	return nil
}

// safeRouteRunner runs a verb on a route in the safe direction.
func safeRouteRunner(plan func(context.Context, pavise.Name) (change.Plan, error), run func(context.Context, change.Act, pavise.Name) error) change.Runner {
	return change.Runner{
		Outside: true,
		Safe:    true,
		Plan: func(ctx context.Context, on pavise.Name, request json.RawMessage) (change.Plan, error) {
			if _, err := parse[Nothing](request); err != nil {
				return change.Plan{}, err
			}
			return plan(ctx, modelOf(on))
		},
		Run: func(ctx context.Context, act change.Act) error { return run(ctx, act, modelOf(act.On)) },
	}
}

func (rooms *Rooms) planRollback(ctx context.Context, model pavise.Name) (change.Plan, error) {
	plan, err := rooms.Routes.PlanRollback(ctx, model)
	if err == nil {
		err = rooms.fit(ctx, model.Tenant, plan)
	}
	return change.Plan{
		Summary: fmt.Sprintf("let %s be answered by %s again%s%s", model, shortModel(plan.Model), plan.Will.Aside(), plan.Will.Heard()),
		Digests: map[string]string{routeBefore: plan.Before, "model": plan.Model}, Detail: plan,
	}, err
}

func (rooms *Rooms) planQuarantine(_ context.Context, model pavise.Name) (change.Plan, error) {
	switch {
	case !rooms.Routes.Has(model):
		return change.Plan{}, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("no route leads to %s", model), Hint: "pavise route list shows those that exist"}
	case rooms.Routes.Quarantined(model):
		return change.Plan{}, &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("%s is in quarantine already", model), Hint: "pavise route release ends a quarantine"}
	}
	return change.Plan{Summary: fmt.Sprintf("let nobody ask %s until another release", model)}, nil
}
