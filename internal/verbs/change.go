package verbs

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/runner"
	"github.com/pavise/pavise/internal/ticket"
)

func (rooms *Rooms) changeVerbs() []api.Verb {
	onChange := []string{"change"}
	named := func(who pavise.Principal, id string) pavise.Name { return ofKind(who, "change", id) }
	return []api.Verb{
		api.Do(api.Verb{
			Name: "change.list", On: onChange, Class: guard.Pooled,
			Help:    "List changes, newest first",
			About:   "A change is an act with consequences for others that somebody proposed: it is run once others have approved it. --waiting lists those that wait for votes.",
			Example: "pavise change list --waiting",
		}, func(ctx context.Context, who pavise.Principal, req ChangeListRequest) (ChangeList, error) {
			all, err := rooms.Changes.List(ctx, who, who.Tenant, req.Waiting)
			list := ChangeList{Changes: []api.ChangeView{}}
			for _, ch := range all {
				v := api.View(ch)
				v.Plan.Detail = nil // change.show has it
				list.Changes = append(list.Changes, v)
			}
			return list, err
		}),
		api.Do(api.Verb{
			Name: "change.show", On: onChange, Class: guard.Pooled,
			Help:    "Show one change: what it would do, who voted, and the digest that a vote repeats",
			About:   "What the outcome depends on stands under digests: when one of them changes, approvals are dead.",
			Example: "pavise change show CHANGE",
		}, func(ctx context.Context, who pavise.Principal, req ChangeRequest) (api.ChangeView, error) {
			return api.Viewed(rooms.Changes.Show(ctx, who, named(who, req.ID)))
		}),
		api.Do(api.Verb{
			Name: "change.propose", On: onChange,
			Help:    "Propose any verb that is done as a change, with its request as JSON",
			About:   "The verbs themselves propose, too: pavise policy put is a proposal of policy.put. This one is for programs, and for requests that were kept in a file.",
			Example: `pavise change propose change.rule local/change/policy.put '{"verb":"policy.put","need":2,"days":3}'`,
		}, func(ctx context.Context, who pavise.Principal, req ProposeRequest) (api.ChangeView, error) {
			if !json.Valid([]byte(req.Request)) {
				return api.ChangeView{}, &pavise.Error{Kind: pavise.Invalid, Msg: "the request is no JSON", Hint: "an empty one is {}"}
			}
			return api.Viewed(rooms.Changes.Propose(ctx, who, change.Proposal{Verb: req.Verb, On: req.On, Request: json.RawMessage(req.Request), Reason: req.Reason}))
		}),
		{
			Name: "change.emergency", On: onChange, Safe: true,
			Help:  "Propose an act in the safe direction, which is run before anybody approved it",
			About: "Not asked for by itself: route.rollback and route.quarantine do. Neither a full disk nor a clock that was set back bars it.",
		},
		api.Do(api.Verb{
			Name: "change.approve", On: onChange,
			Help:    "Approve a change that somebody else proposed",
			About:   "Give the digest that you looked at, or its first eight digits. With the last approval that it takes, the change is run. Nobody approves what they proposed, and one person counts once.",
			Example: "pavise change approve CHANGE DIGEST",
		}, func(ctx context.Context, who pavise.Principal, req VoteRequest) (api.ChangeView, error) {
			return api.Viewed(rooms.Changes.Approve(ctx, who, named(who, req.ID), req.Digest, req.Reason))
		}),
		api.Do(api.Verb{
			Name: "change.deny", On: onChange,
			Help:    "Say no to a change, which ends it",
			About:   "A reason is needed. An act in the safe direction was run already: denying it makes it a finding.",
			Example: "pavise change deny CHANGE DIGEST --reason TEXT",
		}, func(ctx context.Context, who pavise.Principal, req VoteRequest) (api.ChangeView, error) {
			return api.Viewed(rooms.Changes.Deny(ctx, who, named(who, req.ID), req.Digest, req.Reason))
		}),
		api.Do(api.Verb{
			Name: "change.break", On: onChange,
			Help:    "Run what you proposed before anybody approved it, in an emergency",
			About:   "Takes a ticket and a reason, pages somebody, and waits for approval afterwards: without it the change becomes a finding. Policies, rules and shredding are never run so, and a role is given for an hour at most.",
			Example: "pavise change break CHANGE DIGEST --ticket INC-4711 --reason wrong-scores",
		}, func(ctx context.Context, who pavise.Principal, req BreakRequest) (api.ChangeView, error) {
			return api.Viewed(rooms.Changes.Break(ctx, who, named(who, req.ID), req.Digest, req.Ticket, req.Reason))
		}),
		api.Do(api.Verb{
			Name: "change.withdraw", On: onChange,
			Help:    "Take back what you proposed",
			About:   "Only an open change can be withdrawn, by who proposed it.",
			Example: "pavise change withdraw CHANGE",
		}, func(ctx context.Context, who pavise.Principal, req ChangeRequest) (api.ChangeView, error) {
			return api.Viewed(rooms.Changes.Withdraw(ctx, who, named(who, req.ID)))
		}),
		api.Do(api.Verb{
			Name: "change.rules", On: onChange, Class: guard.Pooled,
			Help:    "Show how many approvals each verb takes",
			About:   "Verbs without a rule of their own take one other person within three days. Those in the safe direction run first and are approved afterwards.",
			Example: "pavise change rules",
		}, func(ctx context.Context, who pavise.Principal, _ api.Empty) (RuleList, error) {
			rules, err := rooms.Changes.Rules(ctx, who, who.Tenant)
			return RuleList{rules}, err
		}),
		api.Proposing(api.Verb{
			Name: "change.rule", On: onChange,
			Help:    "Propose another rule for a verb",
			About:   "--need 0 lets the verb run without anybody's approval, and is recorded as such; a change of rules always takes somebody else. --of names the people whose approval counts.",
			Example: "pavise change rule route.release --need 2",
		}, func(_ context.Context, who pavise.Principal, req RuleRequest) (pavise.Name, error) {
			return named(who, req.Verb), nil
		}, func(req RuleRequest) (any, error) {
			rule := change.Rule{Need: 1, Of: req.Of, Days: req.Days}
			if req.Need != nil {
				rule.Need = *req.Need
			}
			return change.VerbRule{Verb: req.Verb, Rule: rule}, nil
		}),
	}
}

// ofKind is a thing of somebody's tenant by its id, or by its whole name, as answers have it.
func ofKind(who pavise.Principal, kind, id string) pavise.Name {
	return pavise.Name{Tenant: who.Tenant, Kind: kind, ID: strings.TrimPrefix(id, who.Tenant+"/"+kind+"/")}
}

// ChangeListRequest asks for changes.
type ChangeListRequest struct {
	Waiting bool `json:"waiting,omitempty" help:"only those that wait for votes" doc:"only those that wait for votes"`
}

// ChangeRequest names a change.
type ChangeRequest struct {
	ID string `json:"id" arg:"" name:"change" help:"the change's id, or its whole name" doc:"the change's id, or its whole name"`
}

// VoteRequest is a vote on a change.
type VoteRequest struct {
	ID     string `json:"id" arg:"" name:"change" help:"the change's id, or its whole name" doc:"the change's id, or its whole name"`
	Digest string `json:"digest" arg:"" help:"the digest that change show prints, or its first eight digits" doc:"the change's digest, or at least its first eight digits"`
	Reason string `json:"reason,omitempty" help:"why" doc:"why"`
}

// BreakRequest has a change run before it is approved.
type BreakRequest struct {
	ID     string `json:"id" arg:"" name:"change" help:"the change's id, or its whole name" doc:"the change's id, or its whole name"`
	Digest string `json:"digest" arg:"" help:"the digest that change show prints, or its first eight digits" doc:"the change's digest, or at least its first eight digits"`
	Ticket string `json:"ticket" required:"" help:"the ticket of the incident" doc:"the ticket of the incident"`
	Reason string `json:"reason" required:"" help:"why it cannot wait" doc:"why it cannot wait"`
}

// ProposeRequest proposes a verb.
type ProposeRequest struct {
	Verb    string      `json:"verb" arg:"" help:"the verb, for example policy.put" doc:"the verb, for example policy.put"`
	On      pavise.Name `json:"on" arg:"" help:"the thing, as tenant/kind/id" doc:"the thing, as tenant/kind/id"`
	Request string      `json:"request" arg:"" help:"the verb's request, as JSON" doc:"the verb's request, as JSON text"`
	Reason  string      `json:"reason,omitempty" help:"why" doc:"why"`
}

// RuleRequest proposes a rule.
type RuleRequest struct {
	Verb   string   `json:"verb" arg:"" help:"the verb, for example policy.put" doc:"the verb, for example policy.put"`
	Need   *int     `json:"need,omitempty" help:"how many other people must approve (default 1)" doc:"how many other people must approve; absent: 1" minimum:"0" maximum:"16"`
	Of     []string `json:"of,omitempty" help:"whose approval counts; may be repeated (default: all who may do the verb)" doc:"whose approval counts; absent: all who may do the verb"`
	Days   int      `json:"days,omitempty" default:"3" help:"how long votes count" doc:"how many days votes count" minimum:"1" maximum:"90"`
	Reason string   `json:"reason,omitempty" help:"why" doc:"why"`
}

// RuleList holds rules.
type RuleList struct {
	Rules []change.VerbRule `json:"rules"`
}

// ChangeList holds changes.
type ChangeList struct {
	Changes []api.ChangeView `json:"changes"`
}

// Why is the reason that goes with it.
func (r RuleRequest) Why() string { return r.Reason }

// Why is the reason that goes with it.
func (r PolicyPut) Why() string { return r.Reason }

// Why is the reason that goes with it.
func (r PolicyDelete) Why() string { return r.Reason }

// Why is the reason that goes with it.
func (r ReleaseRequest) Why() string { return r.Reason }

// Why is the reason that goes with it.
func (r RouteRequest) Why() string { return r.Reason }

// Runners are what runs the verbs that are done as changes, by verb.
func (rooms *Rooms) Runners() map[string]change.Runner {
	r := runner.Rooms{
		Guard: rooms.Guard, Log: rooms.Log, Policies: rooms.Policies, Grants: rooms.Grants, Routes: rooms.Routes,
		CA: rooms.CA, Strangers: rooms.Strangers, Gate: rooms.Gate, Subjects: rooms.Subjects, Archive: rooms.Archive, Catalog: rooms.Catalog, Monitor: rooms.Monitor, Models: rooms.Models, Deployments: rooms.Deployments, Known: Known, Tickets: func() *ticket.Desk { return rooms.Tickets },
	}
	if rooms.Bundles != nil {
		r.Bundles = rooms.Bundles.Change
	}
	return runner.All(&r)
}
