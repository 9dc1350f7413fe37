package runner

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"strconv"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/monitor"
	"github.com/pavise/pavise/internal/registry"
)

// ErrNoMonitor is what an installation answers where no models answer.
var ErrNoMonitor = &pavise.Error{Kind: pavise.Unavailable, Msg: "no models answer here that could drift", Hint: "pavise up watches them; in a fleet gateways do, and their findings are in their own logs"}

// baselineRunner runs drift.baseline.
func baselineRunner(rooms *Rooms) change.Runner {
	read := func(ctx context.Context, request json.RawMessage) (monitor.Ask, error) {
		ask, err := parse[monitor.Ask](request)
		if err == nil && rooms.Monitor == nil {
			err = ErrNoMonitor
		}
		if err == nil {
			ask.Version, err = rooms.called(ctx, ask.Model, ask.Version)
		}
		return ask, err
	}
	return change.Runner{
		Plan: func(ctx context.Context, on pavise.Name, request json.RawMessage) (change.Plan, error) {
			ask, err := read(ctx, request)
			if err != nil {
				return change.Plan{}, err
			}
			plan, err := rooms.Monitor.PlanBaseline(ctx, on, ask)
			if err != nil {
				return change.Plan{}, err
			}
			how := fmt.Sprintf("hold what %s is asked and answers to another baseline: %s", on.ID, shortModel(plan.Baseline))
			if ask.Version != "" {
				how += ", while " + shortModel(ask.Version) + " answers"
			}
			switch {
			case ask.Review && ask.Anew:
				how = fmt.Sprintf("take what %s is asked and answers now for usual: learn it as its first baseline. Or say no, and what is done: retrained, or it was an attack", on.ID)
			case ask.Review:
				how = fmt.Sprintf("take what %s is asked and answers now for usual, and learn it. Or say no, and what is done: retrained, or it was an attack", on.ID)
			case ask.Anew:
				how += "; and no more to the first one"
			}
			days := 0
			if ask.Review {
				days = rooms.reviewDays(ctx, ask.Model)
			}
			return change.Plan{Summary: how, Digests: plan.Digests(), Detail: plan, Days: days}, nil
		},
		Run: func(ctx context.Context, act change.Act) error {
			ask, err := read(ctx, act.Request)
			if err != nil {
				return err
			}
			return rooms.Monitor.Baseline(ctx, act.Who, act.On, ask, act.Digests, act.Mark)
		},
	}
}

// called is what a release's plan calls a version: of one that is given by its number in the
// registry, the digest of the file of it that a gateway runs.
func (rooms *Rooms) called(ctx context.Context, model pavise.Name, version string) (string, error) {
	number, err := strconv.Atoi(version)
	if err != nil || rooms.Models == nil {
		return version, nil
	}
	v, err := rooms.Models.Resolve(ctx, model.Tenant, registry.Ref{Model: model.ID, Version: number})
	if err != nil {
		return "", err
	}
	var found []string
	for _, f := range v.Files {
		if path.Ext(f.Path) == ".onnx" {
			found = append(found, f.Digest.String())
		}
	}
	if len(found) != 1 {
		return "", &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("version %d of %s has %d files that a gateway runs, not one", number, model, len(found)), Hint: "name what answers, as pavise drift show does: --version sha256:…, or the addresses of its servers"}
	}
	return found[0], nil
}

// reviewDays is how long people may take to decide on a model that has moved: a day where its risk
// is high, two where it is medium, else as long as on any other change.
func (rooms *Rooms) reviewDays(ctx context.Context, model pavise.Name) int {
	if rooms.Models == nil {
		return 0
	}
	m, err := rooms.Models.Known(ctx, model)
	if err != nil {
		return 0
	}
	return map[registry.Risk]int{registry.High: 1, registry.Medium: 2}[m.Risk]
}
