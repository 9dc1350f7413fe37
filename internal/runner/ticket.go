package runner

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/figure"
	"github.com/pavise/pavise/internal/registry"
	"github.com/pavise/pavise/internal/ticket"
)

// ErrNoTickets is what an installation answers that tells no tool of its changes.
var ErrNoTickets = &pavise.Error{Kind: pavise.Unavailable, Msg: "changes are told to no tool here", Hint: "pavise up and pavise serve tell of theirs"}

// passRunner runs ticket.pass. Nobody decides on it from outside: whoever runs the tool in
// which a deployment waits would say yes to themselves.
func passRunner(rooms *Rooms) change.Runner {
	read := func(request json.RawMessage) (*ticket.Desk, ticket.PassSpec, error) {
		ask, err := parse[ticket.PassSpec](request)
		if err == nil && (rooms.Tickets == nil || rooms.Tickets() == nil) {
			err = ErrNoTickets
		}
		if err != nil {
			return nil, ask, err
		}
		return rooms.Tickets(), ask, nil
	}
	return change.Runner{
		Plan: func(ctx context.Context, on pavise.Name, request json.RawMessage) (change.Plan, error) {
			desk, ask, err := read(request)
			if err != nil {
				return change.Plan{}, err
			}
			plan, err := desk.PlanPass(ctx, on, ask)
			if err != nil {
				return change.Plan{}, err
			}
			return change.Plan{
				Summary: fmt.Sprintf("let %s of %s be deployed to %s, where it waits in %s (%s)", plan.SHA[:12], plan.Ref, plan.Environment, on.ID, plan.Place),
				Digests: map[string]string{ticket.DigestDeployment: plan.Digest}, Detail: plan, Parties: plan.Began,
			}, nil
		},
		Run: func(ctx context.Context, act change.Act) error {
			desk, ask, err := read(act.Request)
			if err != nil {
				return err
			}
			return desk.Pass(ctx, act.Who, act.On, ask, act.Digests[ticket.DigestDeployment], act.Mark)
		},
	}
}

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
			need := 0
			if rooms.crowded(rooms.CA) { // as for a person who is invited
				need = registry.High.Approvals()
			}
			return change.Plan{
				Need:    need,
				Summary: fmt.Sprintf("let what the account %s says in %s (%s at %s) be votes of %s, as %s, for %s", ask.Account, on.ID, plan.Kind, plan.Place, ask.Person, listed(ask.Roles), figure.Count(ask.Days, "day")),
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
