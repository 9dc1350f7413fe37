package runner

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/catalog"
	"github.com/pavise/pavise/internal/change"
)

// ErrNoCatalog is what an installation answers that knows no datasets.
var ErrNoCatalog = &pavise.Error{Kind: pavise.Unavailable, Msg: "no datasets are known here", Hint: "pavise up and pavise serve know some"}

// acceptRunner runs dataset.accept. Who set the watch gains by it: where the data lie was
// their choice.
func acceptRunner(rooms *Rooms) change.Runner {
	read := func(request json.RawMessage) (catalog.Acceptance, error) {
		ask, err := parse[catalog.Acceptance](request)
		if err == nil && rooms.Catalog == nil {
			err = ErrNoCatalog
		}
		return ask, err
	}
	return change.Runner{
		Outside: true,
		Plan: func(ctx context.Context, on pavise.Name, request json.RawMessage) (change.Plan, error) {
			ask, err := read(request)
			if err != nil {
				return change.Plan{}, err
			}
			plan, err := rooms.Catalog.PlanAccept(ctx, on, ask)
			if err != nil {
				return change.Plan{}, err
			}
			return change.Plan{
				Summary: fmt.Sprintf("let %s be what was found at its place: %.12s, with %d rows, where it is %.12s, with %d", on.ID, plan.Will.Root, plan.Will.Rows, plan.Was.Root, plan.Was.Rows),
				Digests: plan.Digests(), Detail: plan, Parties: plan.Watchers,
			}, nil
		},
		Run: func(ctx context.Context, act change.Act) error {
			ask, err := read(act.Request)
			if err != nil {
				return err
			}
			return rooms.Catalog.Accept(ctx, act.Who, act.On, ask, act.Digests, act.Mark)
		},
	}
}
