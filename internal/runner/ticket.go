package runner

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/ticket"
)

// ErrNoTickets is what an installation answers that tells no tool of its changes.
var ErrNoTickets = &pavise.Error{Kind: pavise.Unavailable, Msg: "changes are told to no tool here", Hint: "pavise up and pavise serve tell of theirs"}

// mapRunner runs ticket.map. It lets somebody new decide, from where others run the door:
// it takes as many people as any verb does, and the person that it is for is none of them.
func mapRunner(rooms *Rooms) change.Runner {
	read := func(request json.RawMessage) (*ticket.Desk, ticket.MapSpec, error) {
		ask, err := parse[ticket.MapSpec](request)
		if err != nil {
			return nil, ask, err
		}
		if rooms.Tickets == nil || rooms.Tickets() == nil {
			return nil, ask, ErrNoTickets
		}
		return rooms.Tickets(), ask, nil
	}
	return change.Runner{
		Widens: true,
		Plan: func(ctx context.Context, on pavise.Name, request json.RawMessage) (change.Plan, error) {
			desk, ask, err := read(request)
			if err != nil {
				return change.Plan{}, err
			}
			plan, err := desk.PlanMap(ctx, on, ask)
			if err != nil {
				return change.Plan{}, err
			}
			return change.Plan{
				Summary: fmt.Sprintf("let what the account %s says in %s (%s at %s) be votes of %s, as %s, for %d days", ask.Account, on.ID, plan.Kind, plan.Place, ask.Person, listed(ask.Roles), ask.Days),
				Digests: plan.Digests(), Detail: plan, Parties: []pavise.Name{ask.Person},
			}, nil
		},
		Run: func(ctx context.Context, act change.Act) error {
			desk, ask, err := read(act.Request)
			if err != nil {
				return err
			}
			return desk.Map(ctx, act.Who, act.On, ask, act.Digests, act.Mark)
		},
	}
}
