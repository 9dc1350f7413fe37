package runner

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/monitor"
)

// ErrNoMonitor is what an installation answers where no models answer.
var ErrNoMonitor = &pavise.Error{Kind: pavise.Unavailable, Msg: "no models answer here that could drift", Hint: "pavise up watches them; in a fleet gateways do, and their findings are in their own logs"}

// baselineRunner runs drift.baseline.
func baselineRunner(rooms *Rooms) change.Runner {
	read := func(request json.RawMessage) (monitor.Ask, error) {
		ask, err := parse[monitor.Ask](request)
		if err == nil && rooms.Monitor == nil {
			err = ErrNoMonitor
		}
		return ask, err
	}
	return change.Runner{
		Plan: func(ctx context.Context, on pavise.Name, request json.RawMessage) (change.Plan, error) {
			ask, err := read(request)
			if err != nil {
				return change.Plan{}, err
			}
			plan, err := rooms.Monitor.PlanBaseline(ctx, on, ask)
			if err != nil {
				return change.Plan{}, err
			}
			how := fmt.Sprintf("hold what %s is asked and answers to another baseline: %s", on.ID, shortModel(plan.Baseline))
			if ask.Anew {
				how += "; and forget the first one"
			}
			return change.Plan{Summary: how, Digests: plan.Digests(), Detail: plan}, nil
		},
		Run: func(ctx context.Context, act change.Act) error {
			ask, err := read(act.Request)
			if err != nil {
				return err
			}
			return rooms.Monitor.Baseline(ctx, act.Who, act.On, ask, act.Digests, act.Mark)
		},
	}
}
