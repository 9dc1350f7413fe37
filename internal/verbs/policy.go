package verbs

import (
	"context"
	"fmt"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/evidence"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/policy"
	"github.com/pavise/pavise/internal/runner"
)

func (rooms *Rooms) policyVerbs() []api.Verb {
	onPolicy := []string{"policy"}
	return []api.Verb{
		api.Do(api.Verb{
			Name: "policy.list", On: onPolicy, Class: guard.Pooled,
			Help:    "List your tenant's policies",
			About:   "The guardrails, which are compiled in and hold for every tenant, are not among them.",
			Example: "pavise policy list",
		}, func(ctx context.Context, who pavise.Principal, _ api.Empty) (PolicyList, error) {
			policies, err := rooms.Policies.List(ctx, who, who.Tenant)
			return PolicyList{Policies: policies, Digest: rooms.Guard.Digest(who.Tenant)}, err
		}),
		api.Proposing(api.Verb{
			Name: "policy.put", On: onPolicy,
			Help:    "Propose to add or replace a policy (Cedar)",
			About:   "The text is checked against the schema of verbs now, and comes into force once somebody else has approved it: it holds for the next request then.",
			Example: "pavise policy put night-shift cmd/pavise/testdata/night-shift.cedar",
		}, func(_ context.Context, who pavise.Principal, req PolicyPut) (pavise.Name, error) {
			name := ofKind(who, "policy", req.ID)
			return name, name.Validate()
		}, func(req PolicyPut) (any, error) {
			return runner.PolicyText{Text: req.Text}, nil
		}),
		api.Proposing(api.Verb{
			Name: "policy.delete", On: onPolicy,
			Help:    "Propose to delete a policy",
			About:   "Refused when afterwards nobody could change policies. Somebody else approves it.",
			Example: "pavise policy delete night-shift",
		}, func(_ context.Context, who pavise.Principal, req PolicyDelete) (pavise.Name, error) {
			name := ofKind(who, "policy", req.ID)
			return name, name.Validate()
		}, func(PolicyDelete) (any, error) { return api.Empty{}, nil }),
		api.Guarded(api.Verb{
			Name: "policy.schema", On: onPolicy, Class: guard.Pooled,
			Help:    "Print what a policy may name: types, attributes and actions",
			About:   "The Cedar schema that every policy is checked against. It follows from the table of verbs.",
			Example: "pavise policy schema",
		}, func(who pavise.Principal, _ api.Empty) pavise.Name {
			return pavise.Name{Tenant: who.Tenant, Kind: "policy", ID: "all"}
		}, func(_ context.Context, _ pavise.Principal, _ api.Empty) (PolicySchema, error) {
			return PolicySchema{rooms.Guard.Schema()}, nil
		}),
		api.Guarded(api.Verb{
			Name: "policy.explain", On: onPolicy, Class: guard.Pooled,
			Help:    "Say why a request was, or would be, allowed or denied",
			About:   "With --record, a recorded decision is computed again from the record and compared. Otherwise name a verb and a thing, and with --role who asks.",
			Example: "pavise policy explain model.infer local/model/threat-detector --role caller",
		}, func(who pavise.Principal, _ ExplainRequest) pavise.Name {
			return pavise.Name{Tenant: who.Tenant, Kind: "policy", ID: "all"}
		}, rooms.policyExplain),
		api.Guarded(api.Verb{
			Name: "policy.who-can", On: onPolicy, Class: guard.Pooled,
			Help:    "Say who may do a verb on a thing",
			About:   "Answers for anybody with each role that policies speak of, for whoever policies name, and for who holds a grant, as the thing is now. A verb that takes an approved change says so.",
			Example: "pavise policy who-can model.infer local/model/threat-detector",
		}, allPolicies[WhoCanRequest], studied(rooms, rooms.whoCan)),
		api.Guarded(api.Verb{
			Name: "policy.diff", On: onPolicy, Class: guard.Pooled,
			Help:    "List the decisions that another policy would turn",
			About:   "Compares what is in force with what would be, role by role, verb by verb, in every state of things that policies tell apart. Without a file, the policy is taken away. A proposal of policy put shows the same list.",
			Example: "pavise policy diff night-shift cmd/pavise/testdata/night-shift.cedar",
		}, allPolicies[DiffRequest], studied(rooms, rooms.policyDiff)),
		api.Guarded(api.Verb{
			Name: "policy.matrix", On: onPolicy, Class: guard.Pooled,
			Help:    "Show which roles may do what, verb by verb and state by state",
			About:   "A verb marked * is done only as a change that others have approved; one marked + is asked for with policy check, by whatever does it.",
			Example: "pavise policy matrix --verb model.infer",
		}, allPolicies[MatrixRequest], studied(rooms, rooms.policyMatrix)),
		api.Do(api.Verb{
			Name: "policy.check", On: onPolicy,
			Help:    "Ask whether you may do something that Pavise does not do itself, and have the answer recorded",
			About:   "For a trainer, a feature store, a scheduler: they ask with their caller's own token, and obey. The verbs are those of the catalogue (policy matrix shows them with +); the record is that of the verb.",
			Example: "pavise policy check model.train local/model/fraud",
		}, rooms.policyCheck),
	}
}

// allPolicies is the thing that questions about all policies of a tenant are about.
func allPolicies[Req any](who pavise.Principal, _ Req) pavise.Name {
	return pavise.Name{Tenant: who.Tenant, Kind: "policy", ID: "all"}
}

// PolicyList holds a tenant's policies and the digest of all that is in force.
type PolicyList struct {
	Policies []guard.TenantPolicy `json:"policies"`
	Digest   string               `json:"digest"`
}

// PolicySchema is the Cedar schema.
type PolicySchema struct {
	Schema string `json:"schema"`
}

// PolicyPut asks for a policy to be put in force.
type PolicyPut struct {
	ID   string `json:"id" arg:"" help:"the policy's id" doc:"the policy's id"`
	Text string `json:"text" arg:"" type:"textfile" placeholder:"FILE" help:"file with one Cedar policy" doc:"one Cedar policy"`

	Reason string `json:"reason,omitempty" help:"why" doc:"why"`
}

// PolicyDelete names a policy.
type PolicyDelete struct {
	ID     string `json:"id" arg:"" help:"the policy's id" doc:"the policy's id"`
	Reason string `json:"reason,omitempty" help:"why" doc:"why"`
}

// ExplainRequest asks about a decision: a recorded one, or one that might be.
type ExplainRequest struct {
	Record *uint64     `json:"record,omitempty" help:"explain the decision in this record" doc:"explain the decision in this record"`
	Verb   string      `json:"verb,omitempty" arg:"" optional:"" help:"the verb, for example model.infer" doc:"the verb, for example model.infer"`
	On     pavise.Name `json:"on,omitzero" arg:"" optional:"" help:"the thing, as tenant/kind/id, or its id alone" doc:"the thing, as tenant/kind/id"`
	Role   []string    `json:"role,omitempty" help:"a role of the caller; may be repeated" doc:"roles of the caller"`
	Kind   string      `json:"kind,omitempty" enum:"human,workload,node" default:"human" help:"kind of caller: human, workload or node" doc:"kind of caller"`
	ID     string      `json:"id,omitempty" default:"somebody" help:"id of the caller" doc:"id of the caller"`
}

func (rooms *Rooms) policyExplain(ctx context.Context, who pavise.Principal, req ExplainRequest) (guard.Explanation, error) {
	if req.Record != nil {
		found, err := rooms.Read(ctx, who, evidence.ReadRequest{Index: *req.Record})
		if err != nil {
			return guard.Explanation{}, err
		}
		return rooms.Guard.ExplainRecord(ctx, found.Record, rooms.Log), nil
	}
	if req.On.Tenant != who.Tenant {
		return guard.Explanation{}, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("explain needs --record, or a verb and a thing of tenant %s", who.Tenant), Hint: "for example: pavise policy explain model.infer " + who.Tenant + "/model/threat-detector --role caller"}
	}
	asked := pavise.Principal{Tenant: who.Tenant, Kind: req.Kind, ID: req.ID, Roles: req.Role, Proof: "asked"}
	return rooms.Guard.Explain(asked, req.Verb, req.On), nil
}

// WhoCanRequest asks who may do a verb on a thing.
type WhoCanRequest struct {
	Verb string      `json:"verb" arg:"" help:"the verb, for example model.infer" doc:"the verb, for example model.infer"`
	On   pavise.Name `json:"on" arg:"" help:"the thing, as tenant/kind/id, or its id alone" doc:"the thing, as tenant/kind/id"`
}

// WhoCan lists who may.
type WhoCan struct {
	Holders []policy.Holder `json:"holders"`
	Facts   string          `json:"facts,omitempty"` // what is known of the thing
}

func (rooms *Rooms) whoCan(_ context.Context, who pavise.Principal, req WhoCanRequest) (WhoCan, error) {
	if req.On.Tenant != who.Tenant {
		return WhoCan{}, &pavise.Error{Kind: pavise.Invalid, Msg: "who-can answers for things of tenant " + who.Tenant, Hint: "name one as " + who.Tenant + "/kind/id"}
	}
	holders, facts, err := rooms.Guard.WhoCan(req.Verb, req.On)
	return WhoCan{Holders: holders, Facts: facts.String()}, err
}

// DiffRequest asks what a policy would turn.
type DiffRequest struct {
	ID   string `json:"id" arg:"" help:"the policy's id" doc:"the policy's id"`
	Text string `json:"text,omitempty" arg:"" optional:"" type:"textfile" placeholder:"FILE" help:"file with one Cedar policy; none: the policy is taken away" doc:"one Cedar policy; absent: the policy is taken away"`
}

func (rooms *Rooms) policyDiff(ctx context.Context, who pavise.Principal, req DiffRequest) (guard.Preview, error) {
	name := ofKind(who, "policy", req.ID)
	if err := name.Validate(); err != nil {
		return guard.Preview{}, err
	}
	return rooms.Policies.Preview(ctx, name, req.Text)
}

// MatrixRequest asks for the matrix, or a part of it.
type MatrixRequest struct {
	Verb string `json:"verb,omitempty" help:"only this verb, or this room" doc:"only this verb, or this room"`
	Role string `json:"role,omitempty" help:"only what this role may do" doc:"only what this role may do"`
}

// Matrix says who may do what.
type Matrix = guard.Matrix

func (rooms *Rooms) policyMatrix(_ context.Context, who pavise.Principal, req MatrixRequest) (Matrix, error) {
	return rooms.Guard.Matrix(who.Tenant, policy.Part{Verb: req.Verb, Role: req.Role}), nil
}

// studied has a question about all policies wait for its turn.
func studied[Req, Resp any](rooms *Rooms, do func(context.Context, pavise.Principal, Req) (Resp, error)) func(context.Context, pavise.Principal, Req) (Resp, error) {
	return func(ctx context.Context, who pavise.Principal, req Req) (resp Resp, err error) {
		done, err := rooms.Guard.Study(ctx)
		if err != nil {
			return resp, err
		}
		defer done()
		return do(ctx, who, req)
	}
}

// CheckRequest asks for a decision on what is done elsewhere.
type CheckRequest struct {
	Verb string      `json:"verb" arg:"" help:"the verb, for example model.train" doc:"the verb, for example model.train"`
	On   pavise.Name `json:"on" arg:"" help:"the thing, as tenant/kind/id, or its id alone" doc:"the thing, as tenant/kind/id"`
}

// Checked says that somebody may: a denial is an error.
type Checked struct {
	Decision pavise.Outcome `json:"decision"`
	Record   *uint64        `json:"record,omitempty"` // index of the decision's record, where it is durable
}

// policyCheck decides on a verb that no room serves, in the name of who asks, and
// leaves its record.
func (rooms *Rooms) policyCheck(ctx context.Context, who pavise.Principal, req CheckRequest) (checked Checked, err error) {
	if !rooms.Guard.Declared(req.Verb) {
		return checked, &pavise.Error{
			Kind: pavise.Invalid, Msg: fmt.Sprintf("%.80q is no verb of the catalogue", req.Verb),
			Hint: "pavise policy matrix shows those that are, with +; of a verb that Pavise does itself, pavise policy explain says who may",
		}
	}
	entry, err := rooms.Guard.Enter(ctx, who, req.Verb, req.On)
	if err != nil {
		return checked, err
	}
	defer entry.Exit(&err)
	checked.Decision = pavise.Allow
	if entry.Observed() {
		checked.Decision = pavise.Deny
	}
	if index, written := entry.Record(); written {
		checked.Record = &index
	}
	return checked, nil
}
