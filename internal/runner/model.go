package runner

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/policy"
	"github.com/pavise/pavise/internal/registry"
)

// ErrNoRegistry is what an installation answers that knows no models.
var ErrNoRegistry = &pavise.Error{Kind: pavise.Unavailable, Msg: "no models are known here", Hint: "pavise up and pavise serve know some"}

// AliasTo is the request of model.alias: an alias is given to a version.
type AliasTo struct {
	Alias   string `json:"alias"`
	Version int    `json:"version"`
}

// AliasOff is the request of model.unalias: an alias is taken away.
type AliasOff struct {
	Alias string `json:"alias"`
}

// modelRunners run what is done to versions of models, and to aliases, once others have
// approved it. Who decides that a version is published is not who publishes it.
func modelRunners(rooms *Rooms) map[string]change.Runner {
	reg := func() *registry.Registry { return rooms.Models }
	publish := versionRunner(rooms, "approve and publish %s, of %s risk", (*registry.Registry).PlanPublish, (*registry.Registry).Publish)
	publish.Votes = policy.VerbAgree
	return map[string]change.Runner{
		"model.publish": publish,
		"model.release": versionRunner(rooms, "let %s, of %s risk, out of quarantine", (*registry.Registry).PlanRelease, (*registry.Registry).Release),
		"model.retire":  versionRunner(rooms, "retire %s, of %s risk", (*registry.Registry).PlanRetire, (*registry.Registry).Retire),
		"model.alias": aliasRunner(rooms, func(ask AliasTo) registry.AliasSpec { return registry.AliasSpec(ask) }, func(ctx context.Context, on pavise.Name, spec registry.AliasSpec, act registry.Act) error {
			return reg().Alias(ctx, on, spec, act)
		}),
		"model.unalias": aliasRunner(rooms, func(ask AliasOff) registry.AliasSpec { return registry.AliasSpec{Alias: ask.Alias} }, func(ctx context.Context, on pavise.Name, spec registry.AliasSpec, act registry.Act) error {
			return reg().Unalias(ctx, on, spec.Alias, act)
		}),
	}
}

// approvedAct is a change as the registry does it.
func approvedAct(act change.Act) registry.Act {
	return registry.Act{Who: act.Who, Digests: act.Digests, Approvers: act.Approvers, Mark: act.Mark}
}

// versionRunner runs what is done to one version.
func versionRunner(rooms *Rooms, summary string, plan func(*registry.Registry, context.Context, string, registry.Ref) (registry.Plan, error), do func(*registry.Registry, context.Context, string, registry.Ref, registry.Act) error) change.Runner {
	read := func(on pavise.Name, request json.RawMessage) (registry.Ref, error) {
		ref, is := registry.RefOf(on)
		if rooms.Models == nil {
			return ref, ErrNoRegistry
		}
		if !is {
			return ref, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s is no version of a model", on), Hint: "write it as tenant/model/NAME@N"}
		}
		_, err := parse[Nothing](request)
		return ref, err
	}
	return change.Runner{
		Outside: true,
		Plan: func(ctx context.Context, on pavise.Name, request json.RawMessage) (change.Plan, error) {
			ref, err := read(on, request)
			if err != nil {
				return change.Plan{}, err
			}
			p, err := plan(rooms.Models, ctx, on.Tenant, ref)
			if err != nil {
				return change.Plan{}, err
			}
			return change.Plan{Summary: fmt.Sprintf(summary, ref, p.Version.Risk) + ": " + p.Version.Digest.String(), Digests: p.Digests(), Detail: p, Risk: string(p.Version.Risk), Parties: p.Parties, Need: p.Need}, nil
		},
		Run: func(ctx context.Context, act change.Act) error {
			ref, err := read(act.On, act.Request)
			if err != nil {
				return err
			}
			return do(rooms.Models, ctx, act.On.Tenant, ref, approvedAct(act))
		},
	}
}

// riskOf is that of the version which an alias would name; "": it would name none.
func riskOf(p registry.Plan) string {
	if p.Version == nil {
		return ""
	}
	return string(p.Version.Risk)
}

// aliasRunner runs what is done to an alias of a model.
func aliasRunner[Ask any](rooms *Rooms, spec func(Ask) registry.AliasSpec, do func(context.Context, pavise.Name, registry.AliasSpec, registry.Act) error) change.Runner {
	read := func(request json.RawMessage) (registry.AliasSpec, error) {
		ask, err := parse[Ask](request)
		if err == nil && rooms.Models == nil {
			err = ErrNoRegistry
		}
		return spec(ask), err
	}
	return change.Runner{
		Outside: true,
		Plan: func(ctx context.Context, on pavise.Name, request json.RawMessage) (change.Plan, error) {
			ask, err := read(request)
			if err != nil {
				return change.Plan{}, err
			}
			p, err := rooms.Models.PlanAlias(ctx, on, ask)
			if err == nil {
				err = unaltered(ctx, rooms.Models, on, ask.Version)
			}
			if err != nil {
				return change.Plan{}, err
			}
			return change.Plan{Summary: aliasSummary(on, p), Digests: p.Digests(), Detail: p, Risk: riskOf(p), Parties: p.Parties, Need: p.Need}, nil
		},
		Run: func(ctx context.Context, act change.Act) error {
			ask, err := read(act.Request)
			if err == nil {
				err = unaltered(ctx, rooms.Models, act.On, ask.Version)
			}
			if err != nil {
				return err
			}
			return do(ctx, act.On, ask, approvedAct(act))
		},
	}
}

// unaltered refuses, with kind Unverified, a version of a model that is not what was published;
// number 0: it is about none.
func unaltered(ctx context.Context, models *registry.Registry, model pavise.Name, number int) error {
	if number == 0 {
		return nil
	}
	v, err := models.Resolve(ctx, model.Tenant, registry.Ref{Model: model.ID, Version: number})
	if err != nil {
		return err
	}
	if why := models.Altered(ctx, v); why != "" {
		return &pavise.Error{Kind: pavise.Unverified, Msg: why, Hint: "no alias leads to it: compare the state database with the log, and restore it, or add the files anew"}
	}
	return nil
}

// aliasSummary says what becomes of an alias.
func aliasSummary(model pavise.Name, p registry.Plan) string {
	was := "which is nobody's now"
	if p.Was > 0 {
		was = fmt.Sprintf("which is version %d's now", p.Was)
	}
	if p.Version == nil {
		return fmt.Sprintf("take the alias %s of %s away, %s", p.Alias, model.ID, was)
	}
	return fmt.Sprintf("give the alias %s, %s, to %s: %s", p.Alias, was, p.Version.Ref, p.Version.Digest)
}
