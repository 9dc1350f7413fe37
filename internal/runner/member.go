package runner

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/registry"
	"github.com/pavise/pavise/internal/store"
)

// InvitedPerson is the request of person.invite as its runner reads it.
type InvitedPerson struct {
	Roles []string `json:"roles"`
	Key   string   `json:"key"` // fingerprint of theirs: sha256: and 64 hex digits
}

// HolderRoles is the request of node.roles as its runner reads it.
type HolderRoles struct {
	Roles []string `json:"roles"`
}

// Rotation is the request of ca.rotate as its runner reads it.
type Rotation struct {
	Step string `json:"step"` // prepare, activate or retire
}

// WithCA asks the CA, where there is one. Where there is none, the error is of kind
// Unavailable.
func WithCA[T any](ca *issuer.CA, f func(*issuer.CA) (T, error)) (none T, err error) {
	if ca == nil {
		return none, &pavise.Error{Kind: pavise.Unavailable, Msg: "this installation has no CA of its own", Hint: "pavise serve has one"}
	}
	return f(ca)
}

// partsOf returns whom the name of a holder names.
func partsOf(holder pavise.Name) (kind, id string) {
	kind, id, _ = strings.Cut(holder.ID, ":")
	return kind, id
}

// personRunner runs person.invite.
func personRunner(rooms *Rooms) change.Runner {
	read := func(on pavise.Name, request json.RawMessage) (issuer.Invite, error) {
		req, err := parse[InvitedPerson](request)
		kind, id := partsOf(on)
		if err == nil && kind != pavise.Human {
			err = &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s is no person", on.ID), Hint: "machines are invited with pavise node invite"}
		}
		return issuer.Invite{ID: id, Roles: req.Roles, Key: req.Key}, err
	}
	return change.Runner{
		Widens: true,
		Plan: func(_ context.Context, on pavise.Name, request json.RawMessage) (change.Plan, error) {
			inv, err := read(on, request)
			if err != nil {
				return change.Plan{}, err
			}
			return WithCA(rooms.CA, func(ca *issuer.CA) (change.Plan, error) {
				return change.Plan{
					Summary: fmt.Sprintf("let the person with the key %s join as %s, in the roles %s: compare the fingerprint with them", inv.Key, inv.ID, listed(inv.Roles)),
					Parties: []pavise.Name{{Tenant: on.Tenant, Kind: pavise.Human, ID: inv.ID}},
					Detail:  inv,
					Need:    rooms.letIn(ca, inv),
					Digests: map[string]string{"people who let somebody in": strconv.Itoa(max(rooms.letIn(ca, inv), 1))},
				}, cmp.Or(ca.CheckPerson(inv), rooms.Guard.KnowsRoles(on.Tenant, inv.Roles))
			})
		},
		Run: func(ctx context.Context, act change.Act) error {
			inv, err := read(act.On, act.Request)
			if err != nil {
				return err
			}
			_, err = WithCA(rooms.CA, func(ca *issuer.CA) (Nothing, error) {
				return Nothing{}, ca.InvitePerson(ctx, act.Who, inv, act.Approvals, act.Mark)
			})
			return err
		},
	}
}

// letIn is how many approvals it takes to let a person in: as many as what takes most, or two
// people could invent those whom they lack. It is one, 0 here, while fewer than three people are
// here, for somebody must be able to let the third one in; and for whoever comes back, with the
// key and no more than the roles that they had.
func (rooms *Rooms) letIn(ca *issuer.CA, inv issuer.Invite) int {
	if !rooms.crowded(ca) {
		return 0
	}
	was, err := ca.Holder(pavise.Human, inv.ID)
	if err == nil && !was.Since.IsZero() && was.Revoked.IsZero() && was.Key == inv.Key && !slices.ContainsFunc(inv.Roles, func(role string) bool { return !slices.Contains(was.Roles, role) }) {
		return 0
	}
	return registry.High.Approvals()
}

// crowded reports whether there are people enough to let others in together.
func (rooms *Rooms) crowded(ca *issuer.CA) bool {
	return rooms.Strangers || ca != nil && ca.Holders().People() >= 3
}

func listed(roles []string) string {
	if len(roles) == 0 {
		return "none"
	}
	return strings.Join(roles, ", ")
}

// rolesRunner runs node.roles.
func rolesRunner(rooms *Rooms) change.Runner {
	return change.Runner{
		Plan: func(_ context.Context, on pavise.Name, request json.RawMessage) (change.Plan, error) {
			req, err := parse[HolderRoles](request)
			if err != nil {
				return change.Plan{}, err
			}
			kind, id := partsOf(on)
			return WithCA(rooms.CA, func(ca *issuer.CA) (change.Plan, error) {
				has, err := ca.Holder(kind, id)
				was, parties := has.Roles, []pavise.Name{{Tenant: on.Tenant, Kind: kind, ID: id}}
				if has.By != (pavise.Name{}) {
					parties = append(parties, has.By) // what theirs may do, they may
				}
				if err == nil {
					err = cmp.Or(issuer.CheckRoles(req.Roles), rooms.Guard.KnowsRoles(on.Tenant, req.Roles))
				}
				return change.Plan{
					Summary: fmt.Sprintf("give the %s %s the roles %s, where it has %s", kind, id, listed(req.Roles), listed(was)),
					Digests: map[string]string{"roles before": strings.Join(was, " "), "who holds it": fmt.Sprintf("joined %s, of %s", has.Since.Format(time.RFC3339), has.By)},
					Parties: parties,
					Detail:  map[string][]string{"before": was, "after": req.Roles},
				}, err
			})
		},
		Run: func(ctx context.Context, act change.Act) error {
			req, err := parse[HolderRoles](act.Request)
			if err != nil {
				return err
			}
			kind, id := partsOf(act.On)
			_, err = WithCA(rooms.CA, func(ca *issuer.CA) (Nothing, error) {
				return Nothing{}, ca.SetRoles(ctx, act.Who, kind, id, req.Roles, act.Mark)
			})
			return err
		},
	}
}

// rotateRunner runs ca.rotate.
func rotateRunner(rooms *Rooms) change.Runner {
	return change.Runner{
		Plan: func(_ context.Context, _ pavise.Name, request json.RawMessage) (change.Plan, error) {
			req, err := parse[Rotation](request)
			if err != nil {
				return change.Plan{}, err
			}
			return WithCA(rooms.CA, func(ca *issuer.CA) (change.Plan, error) {
				summary, err := ca.PlanRotate(req.Step)
				return change.Plan{Summary: summary, Digests: map[string]string{"root that signs": ca.Fingerprint()}}, err
			})
		},
		Run: func(ctx context.Context, act change.Act) error {
			req, err := parse[Rotation](act.Request)
			if err != nil {
				return err
			}
			_, err = WithCA(rooms.CA, func(ca *issuer.CA) (Nothing, error) {
				return Nothing{}, ca.Rotate(ctx, act.Who, req.Step, func(tx *store.Tx) error { return act.Mark(tx) })
			})
			return err
		},
	}
}

// ErrNoFleet is what an installation answers that has no gateways to tell anything.
var ErrNoFleet = &pavise.Error{Kind: pavise.Unavailable, Msg: "this installation tells no gateways anything", Hint: "pavise serve does"}

// bundleRunner runs bundle.rotate or bundle.revoke, where there is a fleet.
func bundleRunner(rooms *Rooms, verb string) change.Runner {
	if rooms.Bundles != nil {
		return rooms.Bundles(verb)
	}
	return change.Runner{
		Plan: func(context.Context, pavise.Name, json.RawMessage) (change.Plan, error) {
			return change.Plan{}, ErrNoFleet
		},
		Run: func(context.Context, change.Act) error { return ErrNoFleet },
	}
}
