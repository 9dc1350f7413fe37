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
				Summary: fmt.Sprintf("let %s be what was found at its place: %.12s, with %d rows, where it is %.12s, with %d%s", on.ID, plan.Will.Root, plan.Will.Rows, plan.Was.Root, plan.Was.Rows, screenedSo(plan.Screening)),
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

// screenedSo ends the sentence that people approve by with what screening for poison came to
// when it was proposed; of what nobody had screened it says nothing.
func screenedSo(s *catalog.Screening) string {
	switch {
	case s == nil:
		return ""
	case s.State == catalog.ScreenWaiting || s.State == catalog.ScreenUnderWay:
		return "; it is being screened for poison"
	case s.State == catalog.ScreenUnscreened:
		return "; it could not be screened for poison"
	}
	words := fmt.Sprintf("; screened for poison, %d of %d judged rows look so", s.Judged.Quarantine, s.Judged.Rows)
	if len(s.Judged.Dropped)+s.Judged.Apart+s.Judged.Untrusted > 0 {
		words += ", and not all of it was looked at"
	}
	return words
}
