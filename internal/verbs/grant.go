package verbs

import (
	"context"
	"fmt"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/guard"
)

func (rooms *Rooms) grantVerbs() []api.Verb {
	onGrant := []string{"grant"}
	return []api.Verb{
		api.Proposing(api.Verb{
			Name: "grant.give", On: onGrant,
			Help:    "Propose to give somebody a role for a time",
			About:   "It counts beside the roles that their issuer says, until it ends by itself. Somebody else approves it, and neither who proposes nor who would hold the role counts. Roles that check each other are never held together.",
			Example: "pavise grant give local/human/ana data-steward --for 8h --reason release-of-may",
		}, func(_ context.Context, who pavise.Principal, req GrantRequest) (pavise.Name, error) {
			return grantOf(who, req.Holder, req.Role)
		}, func(req GrantRequest) (any, error) {
			lasts, err := time.ParseDuration(req.For)
			if err != nil || lasts < time.Minute || lasts > guard.MaxGrant {
				return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("a grant for %.40q", req.For), Hint: "say how long, from 1m to 2160h: --for 8h"}
			}
			return guard.GrantSpec{Minutes: int(lasts / time.Minute), Reason: req.Reason}, nil
		}),
		api.Do(api.Verb{
			Name: "grant.revoke", On: onGrant, Safe: true,
			Help:    "Take a role back that somebody was given for a time, at once",
			About:   "The next request meets it. Nobody need approve.",
			Example: "pavise grant revoke local/human/ana data-steward",
		}, func(ctx context.Context, who pavise.Principal, req GrantRef) (api.Empty, error) {
			name, err := grantOf(who, req.Holder, req.Role)
			if err != nil {
				return api.Empty{}, err
			}
			return api.Empty{}, rooms.Grants.Revoke(ctx, who, name)
		}),
		api.Do(api.Verb{
			Name: "grant.list", On: onGrant, Class: guard.Pooled,
			Help:    "List the roles that people were given for a time",
			About:   "Each with who proposed it, the change in which it was approved, why, and when it ends.",
			Example: "pavise grant list",
		}, func(ctx context.Context, who pavise.Principal, _ api.Empty) (GrantList, error) {
			grants, err := rooms.Grants.List(ctx, who, who.Tenant)
			return GrantList{grants}, err
		}),
		api.Guarded(api.Verb{
			Name: "caller.list", On: []string{"caller"}, Class: guard.Pooled,
			Help:    "List who has asked for something since the start",
			About:   "The most recent first: how each was known, with which roles, until when, and how often they were let in and refused. The log has each of their requests: pavise ledger list --who NAME.",
			Example: "pavise caller list",
		}, func(who pavise.Principal, _ api.Empty) pavise.Name {
			return pavise.Name{Tenant: who.Tenant, Kind: "caller", ID: "all"}
		}, func(_ context.Context, who pavise.Principal, _ api.Empty) (CallerList, error) {
			return CallerList{rooms.Guard.Callers(who.Tenant)}, nil
		}),
	}
}

// GrantRequest asks for a role for somebody.
type GrantRequest struct {
	Holder pavise.Name `json:"holder" arg:"" help:"who gets it, as tenant/human/id (or workload, or node)" doc:"who gets it, as tenant/kind/id"`
	Role   string      `json:"role" arg:"" help:"the role; pavise policy matrix shows them" doc:"the role"`
	For    string      `json:"for,omitempty" default:"8h" help:"how long, from when it is given" doc:"how long, from when it is given, for example 8h"`
	Reason string      `json:"reason,omitempty" help:"why" doc:"why"`
}

// Why is the reason that goes with it.
func (r GrantRequest) Why() string { return r.Reason }

// GrantRef names a grant.
type GrantRef struct {
	Holder pavise.Name `json:"holder" arg:"" help:"who has it, as tenant/human/id (or workload, or node)" doc:"who has it, as tenant/kind/id"`
	Role   string      `json:"role" arg:"" help:"the role" doc:"the role"`
}

// GrantList holds grants.
type GrantList struct {
	Grants []guard.Grant `json:"grants"`
}

// CallerList holds callers.
type CallerList struct {
	Callers []guard.Caller `json:"callers"`
}

// grantOf returns the name of a grant in the caller's tenant.
func grantOf(who pavise.Principal, holder pavise.Name, role string) (pavise.Name, error) {
	if holder.Tenant != who.Tenant {
		return pavise.Name{}, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.120s is not of tenant %s", holder, who.Tenant), Hint: "name who holds the role as " + who.Tenant + "/human/id"}
	}
	return guard.GrantName(holder, role)
}
