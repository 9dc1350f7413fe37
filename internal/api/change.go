package api

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/archive"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/plainjson"
	"github.com/pavise/pavise/internal/route"
)

func changeVerbs() []Verb {
	onChange := []string{"change"}
	named := func(who pavise.Principal, id string) pavise.Name {
		return pavise.Name{Tenant: who.Tenant, Kind: "change", ID: id}
	}
	return []Verb{
		verb(Verb{
			Name: "change.list", On: onChange, Class: guard.Pooled,
			Help:    "List changes, newest first",
			About:   "A change is an act with consequences for others that somebody proposed: it is run once others have approved it. --waiting lists those that wait for votes.",
			Example: "pavise change list --waiting",
		}, func(ctx context.Context, rooms *Rooms, who pavise.Principal, req ChangeListRequest) (ChangeList, error) {
			all, err := rooms.Changes.List(ctx, who, who.Tenant, req.Waiting)
			list := ChangeList{Changes: []ChangeView{}}
			for _, ch := range all {
				v := view(ch)
				v.Plan.Detail = nil // change.show has it
				list.Changes = append(list.Changes, v)
			}
			return list, err
		}),
		verb(Verb{
			Name: "change.show", On: onChange, Class: guard.Pooled,
			Help:    "Show one change: what it would do, who voted, and the digest that a vote repeats",
			About:   "What the outcome depends on stands under digests: when one of them changes, approvals are dead.",
			Example: "pavise change show CHANGE",
		}, func(ctx context.Context, rooms *Rooms, who pavise.Principal, req ChangeRequest) (ChangeView, error) {
			return viewed(rooms.Changes.Show(ctx, who, named(who, req.ID)))
		}),
		verb(Verb{
			Name: "change.propose", On: onChange,
			Help:    "Propose any verb that is done as a change, with its request as JSON",
			About:   "The verbs themselves propose, too: pavise policy put is a proposal of policy.put. This one is for programs, and for requests that were kept in a file.",
			Example: `pavise change propose change.rule local/change/policy.put '{"verb":"policy.put","need":2,"days":3}'`,
		}, func(ctx context.Context, rooms *Rooms, who pavise.Principal, req ProposeRequest) (ChangeView, error) {
			if !json.Valid([]byte(req.Request)) {
				return ChangeView{}, &pavise.Error{Kind: pavise.Invalid, Msg: "the request is no JSON", Hint: "an empty one is {}"}
			}
			return viewed(rooms.Changes.Propose(ctx, who, change.Proposal{Verb: req.Verb, On: req.On, Request: json.RawMessage(req.Request), Reason: req.Reason}))
		}),
		{
			Name: "change.emergency", On: onChange, Safe: true,
			Help:  "Propose an act in the safe direction, which is run before anybody approved it",
			About: "Not asked for by itself: route.rollback and route.quarantine do. Neither a full disk nor a clock that was set back bars it.",
		},
		verb(Verb{
			Name: "change.approve", On: onChange,
			Help:    "Approve a change that somebody else proposed",
			About:   "Give the digest that you looked at, or its first eight digits. With the last approval that it takes, the change is run. Nobody approves what they proposed, and one person counts once.",
			Example: "pavise change approve CHANGE DIGEST",
		}, func(ctx context.Context, rooms *Rooms, who pavise.Principal, req VoteRequest) (ChangeView, error) {
			return viewed(rooms.Changes.Approve(ctx, who, named(who, req.ID), req.Digest, req.Reason))
		}),
		verb(Verb{
			Name: "change.deny", On: onChange,
			Help:    "Say no to a change, which ends it",
			About:   "A reason is needed. An act in the safe direction was run already: denying it makes it a finding.",
			Example: "pavise change deny CHANGE DIGEST --reason TEXT",
		}, func(ctx context.Context, rooms *Rooms, who pavise.Principal, req VoteRequest) (ChangeView, error) {
			return viewed(rooms.Changes.Deny(ctx, who, named(who, req.ID), req.Digest, req.Reason))
		}),
		verb(Verb{
			Name: "change.break", On: onChange,
			Help:    "Run what you proposed before anybody approved it, in an emergency",
			About:   "Takes a ticket and a reason, pages somebody, and waits for approval afterwards: without it the change becomes a finding. Policies, rules and shredding are never run so, and a role is given for an hour at most.",
			Example: "pavise change break CHANGE DIGEST --ticket INC-4711 --reason wrong-scores",
		}, func(ctx context.Context, rooms *Rooms, who pavise.Principal, req BreakRequest) (ChangeView, error) {
			return viewed(rooms.Changes.Break(ctx, who, named(who, req.ID), req.Digest, req.Ticket, req.Reason))
		}),
		verb(Verb{
			Name: "change.withdraw", On: onChange,
			Help:    "Take back what you proposed",
			About:   "Only an open change can be withdrawn, by who proposed it.",
			Example: "pavise change withdraw CHANGE",
		}, func(ctx context.Context, rooms *Rooms, who pavise.Principal, req ChangeRequest) (ChangeView, error) {
			return viewed(rooms.Changes.Withdraw(ctx, who, named(who, req.ID)))
		}),
		verb(Verb{
			Name: "change.rules", On: onChange, Class: guard.Pooled,
			Help:    "Show how many approvals each verb takes",
			About:   "Verbs without a rule of their own take one other person within three days. Those in the safe direction run first and are approved afterwards.",
			Example: "pavise change rules",
		}, func(ctx context.Context, rooms *Rooms, who pavise.Principal, _ Empty) (RuleList, error) {
			rules, err := rooms.Changes.Rules(ctx, who, who.Tenant)
			return RuleList{rules}, err
		}),
		proposing(Verb{
			Name: "change.rule", On: onChange,
			Help:    "Propose another rule for a verb",
			About:   "--need 0 lets the verb run without anybody's approval, and is recorded as such; a change of rules always takes somebody else. --of names the people whose approval counts.",
			Example: "pavise change rule route.release --need 2",
		}, func(_ context.Context, _ *Rooms, who pavise.Principal, req RuleRequest) (pavise.Name, error) {
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

// ChangeListRequest asks for changes.
type ChangeListRequest struct {
	Waiting bool `json:"waiting,omitempty" help:"only those that wait for votes" doc:"only those that wait for votes"`
}

// ChangeRequest names a change.
type ChangeRequest struct {
	ID string `json:"id" arg:"" name:"change" help:"the change's id" doc:"the change's id"`
}

// VoteRequest is a vote on a change.
type VoteRequest struct {
	ID     string `json:"id" arg:"" name:"change" help:"the change's id" doc:"the change's id"`
	Digest string `json:"digest" arg:"" help:"the digest that change show prints, or its first eight digits" doc:"the change's digest, or at least its first eight digits"`
	Reason string `json:"reason,omitempty" help:"why" doc:"why"`
}

// BreakRequest has a change run before it is approved.
type BreakRequest struct {
	ID     string `json:"id" arg:"" name:"change" help:"the change's id" doc:"the change's id"`
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
	Changes []ChangeView `json:"changes"`
}

// A ChangeView is a change as it is shown.
type ChangeView struct {
	change.Change
	Have int `json:"have"` // approvals it has
	Need int `json:"need"` // and those it takes
}

func view(ch *change.Change) ChangeView {
	v := ChangeView{Change: *ch}
	v.Have, v.Need = ch.Approvals()
	return v
}

func viewed(ch *change.Change, err error) (ChangeView, error) {
	if ch == nil {
		return ChangeView{}, err
	}
	return view(ch), err
}

// propose proposes a verb with the request that its runner reads.
func propose(ctx context.Context, rooms *Rooms, who pavise.Principal, verb string, on pavise.Name, request any, reason string) (ChangeView, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return ChangeView{}, fmt.Errorf("encode a proposal of %s: %w", verb, err)
	}
	return viewed(rooms.Changes.Propose(ctx, who, change.Proposal{Verb: verb, On: on, Request: body, Reason: reason}))
}

// A reasoned request says why.
type reasoned interface{ why() string }

// reasonOf returns why, if the request says so.
func reasonOf(req any) string {
	if r, ok := req.(reasoned); ok {
		return r.why()
	}
	return ""
}

func (r RuleRequest) why() string    { return r.Reason }
func (r PolicyPut) why() string      { return r.Reason }
func (r PolicyDelete) why() string   { return r.Reason }
func (r ReleaseRequest) why() string { return r.Reason }
func (r RouteRequest) why() string   { return r.Reason }
func (r ShredRequest) why() string   { return r.Reason }
func (r RetainRequest) why() string  { return r.Reason }

// Runners are what runs the verbs that are done as changes, by verb. They are handed
// over to package change, which knows none of the rooms.
func Runners(rooms *Rooms) map[string]change.Runner {
	return map[string]change.Runner{
		"policy.put":    policyRunner(rooms, true),
		"policy.delete": policyRunner(rooms, false),
		"route.release": releaseRunner(rooms),
		"route.rollback": safeRouteRunner(rooms.planRollback, func(ctx context.Context, act change.Act, model pavise.Name) error {
			return rooms.Routes.Rollback(ctx, act.Who, model, act.Digests[routeBefore], act.Mark)
		}),
		"route.quarantine": safeRouteRunner(rooms.planQuarantine, func(ctx context.Context, act change.Act, model pavise.Name) error {
			return rooms.Routes.Quarantine(ctx, act.Who, model, act.Mark)
		}),
		"grant.give":     grantRunner(rooms),
		"subject.shred":  shredRunner(rooms),
		"archive.retain": retainRunner(rooms),
		"person.invite":  personRunner(rooms),
		"node.roles":     rolesRunner(rooms),
		"ca.rotate":      rotateRunner(rooms),
		"bundle.rotate":  bundleRunner(rooms, "bundle.rotate"),
		"bundle.revoke":  bundleRunner(rooms, "bundle.revoke"),
	}
}

// parse reads the request of a runner. A key that it does not know is refused: what it
// was to say would be lost in silence.
func parse[T any](request json.RawMessage) (v T, err error) {
	if v, err = plainjson.ReadKnown[T](request); err != nil {
		return v, &pavise.Error{Kind: pavise.Invalid, Msg: "the request of the change cannot be read: " + strings.TrimPrefix(err.Error(), "json: "), Hint: "GET /v1/openapi.json says what the verb takes", Err: err}
	}
	return v, nil
}

// policyRunner runs policy.put, and policy.delete.
func policyRunner(rooms *Rooms, put bool) change.Runner {
	text := func(request json.RawMessage) (string, error) {
		if !put {
			_, err := parse[Empty](request)
			return "", err
		}
		p, err := parse[policyText](request)
		if err == nil && p.Text == "" {
			err = &pavise.Error{Kind: pavise.Invalid, Msg: "a policy has a text", Hint: `the request is {"text":"permit (…);"}`}
		}
		return p.Text, err
	}
	return change.Runner{
		Plan: func(ctx context.Context, on pavise.Name, request json.RawMessage) (change.Plan, error) {
			body, err := text(request)
			if err != nil {
				return change.Plan{}, err
			}
			preview, err := rooms.Policies.Preview(ctx, on, body)
			words := map[bool]string{true: "put in force the policy ", false: "take away the policy "}
			if preview.Was != "" && put {
				words[true] = "replace the policy "
			}
			return change.Plan{
				Summary: words[put] + on.ID,
				Digests: map[string]string{"policies before": preview.Before, "policies after": preview.After},
				Detail:  preview,
			}, err
		},
		Run: func(ctx context.Context, act change.Act) error {
			body, err := text(act.Request)
			if err != nil {
				return err
			}
			if put {
				return rooms.Policies.Put(ctx, act.Who, act.On.Tenant, act.On.ID, body, act.Mark)
			}
			return rooms.Policies.Delete(ctx, act.Who, act.On.Tenant, act.On.ID, act.Mark)
		},
	}
}

// policyText is the request of policy.put as its runner reads it.
type policyText struct {
	Text string `json:"text"`
}

// modelOf returns the model that a route leads to.
func modelOf(route pavise.Name) pavise.Name {
	return pavise.Name{Tenant: route.Tenant, Kind: "model", ID: route.ID}
}

// shortModel is a model's digest as people compare it, or an address whole.
func shortModel(model string) string {
	if digest, ok := strings.CutPrefix(model, "sha256:"); ok && len(digest) > 12 {
		return "sha256:" + digest[:12]
	}
	return model
}

// routeBefore names the digest of the route that a change replaces.
const routeBefore = "route before"

// releaseRunner runs route.release.
func releaseRunner(rooms *Rooms) change.Runner {
	spec := func(on pavise.Name, request json.RawMessage) (route.ReleaseSpec, error) {
		s, err := parse[route.ReleaseSpec](request)
		if err == nil && s.Name != modelOf(on).String() {
			err = &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the release is of %.100s, and was proposed for %s", s.Name, on)}
		}
		return s, err
	}
	return change.Runner{
		Plan: func(ctx context.Context, on pavise.Name, request json.RawMessage) (change.Plan, error) {
			s, err := spec(on, request)
			if err != nil {
				return change.Plan{}, err
			}
			plan, err := rooms.Routes.PlanRelease(ctx, s)
			return change.Plan{
				Summary: fmt.Sprintf("let %s be answered by %s%s", s.Name, shortModel(plan.Model), plan.Will.Heard()),
				Digests: map[string]string{routeBefore: plan.Before, "model": plan.Model}, Detail: plan,
			}, err
		},
		Run: func(ctx context.Context, act change.Act) error {
			s, err := spec(act.On, act.Request)
			if err != nil {
				return err
			}
			return rooms.Routes.Release(ctx, act.Who, s, act.Digests[routeBefore], act.Mark)
		},
		Breakable: func(pavise.Name, json.RawMessage) error { return nil },
	}
}

// safeRouteRunner runs a verb on a route in the safe direction.
func safeRouteRunner(plan func(context.Context, pavise.Name) (change.Plan, error), run func(context.Context, change.Act, pavise.Name) error) change.Runner {
	return change.Runner{
		Safe: true,
		Plan: func(ctx context.Context, on pavise.Name, request json.RawMessage) (change.Plan, error) {
			if _, err := parse[Empty](request); err != nil {
				return change.Plan{}, err
			}
			return plan(ctx, modelOf(on))
		},
		Run: func(ctx context.Context, act change.Act) error { return run(ctx, act, modelOf(act.On)) },
	}
}

func (rooms *Rooms) planRollback(ctx context.Context, model pavise.Name) (change.Plan, error) {
	plan, err := rooms.Routes.PlanRollback(ctx, model)
	return change.Plan{
		Summary: fmt.Sprintf("let %s be answered by %s again%s", model, shortModel(plan.Model), plan.Will.Heard()),
		Digests: map[string]string{routeBefore: plan.Before, "model": plan.Model}, Detail: plan,
	}, err
}

func (rooms *Rooms) planQuarantine(_ context.Context, model pavise.Name) (change.Plan, error) {
	switch {
	case !rooms.Routes.Has(model):
		return change.Plan{}, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("no route leads to %s", model), Hint: "pavise route list shows those that exist"}
	case rooms.Routes.Quarantined(model):
		return change.Plan{}, &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("%s is in quarantine already", model), Hint: "pavise route release ends a quarantine"}
	}
	return change.Plan{Summary: fmt.Sprintf("let nobody ask %s until another release", model)}, nil
}

// shredRunner runs subject.shred.
func shredRunner(rooms *Rooms) change.Runner {
	return change.Runner{
		Plan: func(ctx context.Context, on pavise.Name, request json.RawMessage) (change.Plan, error) {
			if _, err := parse[Empty](request); err != nil {
				return change.Plan{}, err
			}
			_, err := rooms.Subjects.Key(ctx, on.Tenant, on.ID)
			return change.Plan{Summary: fmt.Sprintf("shred the key of data subject %s: what the log keeps under it can never be opened again", on.ID)}, err
		},
		Run: func(ctx context.Context, act change.Act) error { return shred(ctx, rooms, act) },
	}
}

// retainRunner runs archive.retain.
func retainRunner(rooms *Rooms) change.Runner {
	return change.Runner{
		Plan: func(ctx context.Context, on pavise.Name, request json.RawMessage) (change.Plan, error) {
			c, err := parse[archive.Class](request)
			if err != nil {
				return change.Plan{}, err
			}
			if err := claimable(c); err != nil {
				return change.Plan{}, err
			}
			was, err := rooms.Archive.Plan(ctx, c)
			return change.Plan{
				Summary: "keep " + retention(c), Digests: map[string]string{"class before": was.Digest},
				Detail: map[string]any{"before": was.Class, "after": c},
			}, err
		},
		Run: func(ctx context.Context, act change.Act) error { return retain(ctx, rooms, act) },
	}
}
