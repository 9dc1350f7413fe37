package api

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/gateway"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/ledger"
)

// Verbs returns the table.
func Verbs() []Verb {
	return slices.Concat(ledgerVerbs(), policyVerbs(), routeVerbs(), otherVerbs())
}

// Empty is an answer or a request with nothing to say.
type Empty struct{}

// theLog is the name of a tenant's view of the evidence log.
func theLog(tenant string) pavise.Name {
	return pavise.Name{Tenant: tenant, Kind: "ledger", ID: "log"}
}

func ledgerVerbs() []Verb {
	onLog := []string{"ledger"}
	return []Verb{
		guarded(Verb{
			Name: "ledger.status", On: onLog, Class: guard.Pooled,
			Help:    "Show the state of the evidence log",
			About:   "Size, signed head, key and fingerprint, and what is wrong with the disk, if anything.",
			Example: "pavise ledger status",
		}, func(who pavise.Principal, _ Empty) pavise.Name { return theLog(who.Tenant) }, ledgerStatus),
		guarded(Verb{
			Name: "ledger.list", On: onLog, Class: guard.Pooled,
			Help:    "List records, newest last",
			About:   "Without --after it lists the newest. Only records of your own tenant are shown.",
			Example: "pavise ledger list --limit 5",
		}, func(who pavise.Principal, _ ListRequest) pavise.Name { return theLog(who.Tenant) }, ledgerList),
		guarded(Verb{
			Name: "ledger.read", On: onLog, Class: guard.Pooled,
			Help:    "Show one record whole, with its proof",
			About:   "The proof is an RFC 6962 inclusion proof under the newest signed checkpoint, checked before it is shown. A record of the last moments may not be covered yet.",
			Example: "pavise ledger read 0",
		}, func(who pavise.Principal, _ ReadRequest) pavise.Name { return theLog(who.Tenant) }, ledgerRead),
		{
			Name: "ledger.follow", On: onLog, Class: guard.Pooled,
			Help:     "Follow the evidence log live",
			About:    "GET, with ?after= for the first record wanted: one record a line (NDJSON), as they come, and an empty line now and then. The stream leaves one record, at its end.",
			register: registerFollow,
		},
	}
}

// ListRequest asks for records.
type ListRequest struct {
	After *uint64 `json:"after,omitempty" help:"begin with the record at this index" doc:"begin with the record at this index; absent: the newest"`
	Limit int     `json:"limit,omitempty" help:"how many (default 50, at most 1000)" doc:"how many; 50 when absent" minimum:"0" maximum:"1000"`
	Kind  string  `json:"kind,omitempty" help:"only records of this kind, for example model.infer" doc:"only records of this kind"`
}

// An Event is one record with its place in the log.
type Event struct {
	Index  uint64        `json:"index"`
	Record ledger.Record `json:"record"`
}

// ListAnswer holds records, oldest first.
type ListAnswer struct {
	Events []Event `json:"events"`
	Size   uint64  `json:"size"` // of the log
}

func ledgerList(rooms *Rooms, who pavise.Principal, req ListRequest) (ListAnswer, error) {
	limit, size := req.Limit, rooms.Log.Size()
	if limit == 0 {
		limit = 50
	}
	match := func(r ledger.Record) bool {
		return r.Tenant == who.Tenant && (req.Kind == "" || r.Kind == req.Kind)
	}
	answer := ListAnswer{Events: []Event{}, Size: size}
	if req.After != nil {
		next := *req.After
		for index, r := range rooms.Log.Records(next, size) {
			next = index + 1
			if match(r) {
				answer.Events = append(answer.Events, Event{index, r})
			}
			if len(answer.Events) == limit {
				return answer, nil
			}
		}
		if next < size {
			return answer, unreadable(rooms.Log, next)
		}
		return answer, nil
	}
	for index := size; index > 0 && len(answer.Events) < limit; index-- {
		r, err := rooms.Log.Read(index - 1)
		if err != nil {
			return answer, err
		}
		if match(r) {
			answer.Events = append(answer.Events, Event{index - 1, r})
		}
	}
	slices.Reverse(answer.Events)
	return answer, nil
}

// unreadable says why the log's walk stopped at a record.
func unreadable(log *ledger.Log, index uint64) error {
	if _, err := log.Read(index); err != nil {
		return err
	}
	return &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("record %d could not be read", index), Hint: "try again; pavise ledger verify says whether it was changed"}
}

// ReadRequest names a record.
type ReadRequest struct {
	Index uint64 `json:"index" arg:"" help:"the record's index" doc:"the record's index"`
}

// ReadAnswer is a record with its proof.
type ReadAnswer struct {
	Event
	Proof *Proof `json:"proof,omitempty"` // absent while no signed checkpoint covers the record
}

// A Proof shows that a record is in the log under a signed checkpoint.
type Proof struct {
	Leaf       string   `json:"leaf"`       // base64 SHA-256 of the entry (RFC 6962 leaf hash)
	Path       []string `json:"path"`       // base64 hashes, leaf to root
	Size       uint64   `json:"size"`       // of the tree
	Root       string   `json:"root"`       // base64
	Checkpoint string   `json:"checkpoint"` // the signed note
}

func ledgerRead(rooms *Rooms, who pavise.Principal, req ReadRequest) (ReadAnswer, error) {
	r, err := rooms.Log.Read(req.Index)
	if err != nil {
		return ReadAnswer{}, err
	}
	if r.Tenant != who.Tenant {
		return ReadAnswer{}, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("your tenant has no record %d", req.Index), Hint: "pavise ledger list shows those it has"}
	}
	answer := ReadAnswer{Event: Event{req.Index, r}}
	proof, err := rooms.Log.Prove(req.Index)
	if pavise.KindOf(err) == pavise.Unavailable {
		return answer, nil
	}
	if err != nil {
		return answer, err
	}
	answer.Proof = &Proof{
		Leaf: base64.StdEncoding.EncodeToString(proof.Leaf[:]), Path: []string{},
		Size: proof.Checkpoint.Size, Root: proof.Checkpoint.Root.String(), Checkpoint: string(proof.Checkpoint.Note),
	}
	for _, h := range proof.Path {
		answer.Proof.Path = append(answer.Proof.Path, base64.StdEncoding.EncodeToString(h[:]))
	}
	return answer, nil
}

func ledgerStatus(rooms *Rooms, _ pavise.Principal, _ Empty) (ledger.Status, error) {
	return rooms.Log.Status(), nil
}

func policyVerbs() []Verb {
	onPolicy := []string{"policy"}
	return []Verb{
		verb(Verb{
			Name: "policy.list", On: onPolicy, Class: guard.Pooled,
			Help:    "List your tenant's policies",
			About:   "The guardrails, which are compiled in and hold for every tenant, are not among them.",
			Example: "pavise policy list",
		}, func(ctx context.Context, rooms *Rooms, who pavise.Principal, _ Empty) (PolicyList, error) {
			policies, err := rooms.Policies.List(ctx, who, who.Tenant)
			return PolicyList{Policies: policies, Digest: rooms.Guard.Digest(who.Tenant)}, err
		}),
		verb(Verb{
			Name: "policy.put", On: onPolicy,
			Help:    "Add or replace a policy (Cedar)",
			About:   "The text is checked against the schema of verbs before it takes effect, and holds for the next request.",
			Example: "pavise policy put night-shift testdata/night-shift.cedar",
		}, func(ctx context.Context, rooms *Rooms, who pavise.Principal, req PolicyPut) (PolicyDigest, error) {
			err := rooms.Policies.Put(ctx, who, who.Tenant, req.ID, req.Text)
			return PolicyDigest{rooms.Guard.Digest(who.Tenant)}, err
		}),
		verb(Verb{
			Name: "policy.delete", On: onPolicy,
			Help:    "Delete a policy",
			About:   "Refused when afterwards nobody could change policies.",
			Example: "pavise policy delete night-shift",
		}, func(ctx context.Context, rooms *Rooms, who pavise.Principal, req PolicyDelete) (PolicyDigest, error) {
			err := rooms.Policies.Delete(ctx, who, who.Tenant, req.ID)
			return PolicyDigest{rooms.Guard.Digest(who.Tenant)}, err
		}),
		guarded(Verb{
			Name: "policy.explain", On: onPolicy, Class: guard.Pooled,
			Help:    "Say why a request was, or would be, allowed or denied",
			About:   "With --record, a recorded decision is computed again from the record and compared. Otherwise name a verb and a thing, and with --role who asks.",
			Example: "pavise policy explain model.infer local/model/threat-detector --role caller",
		}, func(who pavise.Principal, _ ExplainRequest) pavise.Name {
			return pavise.Name{Tenant: who.Tenant, Kind: "policy", ID: "all"}
		}, policyExplain),
	}
}

// PolicyList holds a tenant's policies and the digest of all that is in force.
type PolicyList struct {
	Policies []guard.TenantPolicy `json:"policies"`
	Digest   string               `json:"digest"`
}

// PolicyPut asks for a policy to be put in force.
type PolicyPut struct {
	ID   string `json:"id" arg:"" help:"the policy's id" doc:"the policy's id"`
	Text string `json:"text" arg:"" type:"textfile" placeholder:"FILE" help:"file with one Cedar policy" doc:"one Cedar policy"`
}

// PolicyDelete names a policy.
type PolicyDelete struct {
	ID string `json:"id" arg:"" help:"the policy's id" doc:"the policy's id"`
}

// PolicyDigest is the digest of what is in force after a change.
type PolicyDigest struct {
	Digest string `json:"digest"`
}

// ExplainRequest asks about a decision: a recorded one, or one that might be.
type ExplainRequest struct {
	Record *uint64     `json:"record,omitempty" help:"explain the decision in this record" doc:"explain the decision in this record"`
	Verb   string      `json:"verb,omitempty" arg:"" optional:"" help:"the verb, for example model.infer" doc:"the verb, for example model.infer"`
	On     pavise.Name `json:"on,omitzero" arg:"" optional:"" help:"the thing, as tenant/kind/id" doc:"the thing, as tenant/kind/id"`
	Role   []string    `json:"role,omitempty" help:"a role of the caller; may be repeated" doc:"roles of the caller"`
	Kind   string      `json:"kind,omitempty" enum:"human,workload,node" default:"human" help:"kind of caller: human, workload or node" doc:"kind of caller"`
	ID     string      `json:"id,omitempty" default:"somebody" help:"id of the caller" doc:"id of the caller"`
}

func policyExplain(rooms *Rooms, who pavise.Principal, req ExplainRequest) (guard.Explanation, error) {
	if req.Record != nil {
		found, err := ledgerRead(rooms, who, ReadRequest{*req.Record})
		if err != nil {
			return guard.Explanation{}, err
		}
		return rooms.Guard.ExplainRecord(found.Record), nil
	}
	if req.On.Tenant != who.Tenant {
		return guard.Explanation{}, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("explain needs --record, or a verb and a thing of tenant %s", who.Tenant), Hint: "for example: pavise policy explain model.infer " + who.Tenant + "/model/threat-detector --role caller"}
	}
	asked := pavise.Principal{Tenant: who.Tenant, Kind: req.Kind, ID: req.ID, Roles: req.Role, Proof: "asked"}
	return rooms.Guard.Explain(asked, req.Verb, req.On), nil
}

func routeVerbs() []Verb {
	onRoute := []string{"route"}
	return []Verb{
		verb(Verb{
			Name: "route.list", On: onRoute, Class: guard.Pooled,
			Help:    "List the routes to your tenant's models",
			About:   "A route says what stands behind a model's name, and on what terms callers may ask it.",
			Example: "pavise route list",
		}, func(ctx context.Context, rooms *Rooms, who pavise.Principal, _ Empty) (RouteList, error) {
			routes, err := rooms.Routes.List(ctx, who, who.Tenant)
			return RouteList{routes}, err
		}),
		verb(Verb{
			Name: "route.put", On: onRoute, maxBody: maxModel,
			Help:    "Put a model behind the firewall, or change its terms",
			About:   "The model runs in the gateway (--onnx) or on a server that speaks the Open Inference Protocol v2 (--upstream). Requests under way end on the terms they began on.",
			Example: "pavise route put local/model/fraud --onnx testdata/fraud.onnx --rate 600/1m --shape round:3",
		}, func(ctx context.Context, rooms *Rooms, who pavise.Principal, req gateway.RouteSpec) (gateway.Route, error) {
			return rooms.Routes.Put(ctx, who, req)
		}),
		verb(Verb{
			Name: "route.delete", On: onRoute,
			Help:    "Take a model away from behind the firewall",
			About:   "Callers get notfound from then on. What they have taken stays in the log.",
			Example: "pavise route delete local/model/fraud",
		}, func(ctx context.Context, rooms *Rooms, who pavise.Principal, req RouteDelete) (Empty, error) {
			return Empty{}, rooms.Routes.Delete(ctx, who, req.Name)
		}),
	}
}

// maxModel is the body of route.put: an ONNX model of 32 MiB, which is all that
// package learn reads, in base64, and the rest.
const maxModel = 48 << 20

// RouteList holds routes.
type RouteList struct {
	Routes []gateway.Route `json:"routes"`
}

// RouteDelete names a route's model.
type RouteDelete struct {
	Name pavise.Name `json:"name" arg:"" help:"the model's name, as tenant/model/id" doc:"the model's name, as tenant/model/id"`
}

func otherVerbs() []Verb {
	return []Verb{
		verb(Verb{
			Name: "issuer.mint", On: []string{"issuer"},
			Help:    "Give out a short-lived token of the local issuer",
			About:   "Demo roles only (caller, analyst, operator), one hour at most. The record holds who the token is for, never the token.",
			Example: "pavise issuer mint --subject ci --role caller",
		}, func(ctx context.Context, rooms *Rooms, who pavise.Principal, req MintRequest) (issuer.Token, error) {
			return rooms.Issuer.Mint(ctx, who, issuer.MintRequest{Subject: req.Subject, Kind: req.Kind, Roles: req.Role, TTL: time.Duration(req.Minutes) * time.Minute})
		}),
		guarded(Verb{
			Name: "console.link", On: []string{"console"},
			Help:    "Print a fresh link to the console",
			About:   "Good once, for ten minutes. Whoever opens it acts as the operator for an hour.",
			Example: "pavise console link",
		}, func(who pavise.Principal, _ Empty) pavise.Name {
			return pavise.Name{Tenant: who.Tenant, Kind: "console", ID: "web"}
		}, func(rooms *Rooms, _ pavise.Principal, _ Empty) (ConsoleLink, error) {
			return ConsoleLink{rooms.Link()}, nil
		}),
		verb(Verb{
			Name: "clock.accept", On: []string{"clock"}, Safe: true,
			Help:    "Go on although the clock was set back",
			About:   "After a step back of more than two seconds everything else is refused, so that no record can claim an earlier time. This verb records the step and takes the clock as it is now.",
			Example: "pavise clock accept",
		}, func(ctx context.Context, rooms *Rooms, who pavise.Principal, _ Empty) (Empty, error) {
			return Empty{}, AcceptClock(ctx, rooms.Guard, who)
		}),
		{
			Name: "model.infer", On: []string{"model"}, Class: guard.Pooled,
			Help:  "Ask a model",
			About: "At the gateway's door: POST /v2/models/{model}/infer, in the Open Inference Protocol.",
		},
		{
			Name: "model.describe", On: []string{"model"}, Class: guard.Pooled,
			Help:  "Show what a model takes and gives",
			About: "At the gateway's door: GET /v2/models/{model}, in the Open Inference Protocol.",
		},
	}
}

// ConsoleLink opens the console, once.
type ConsoleLink struct {
	Link string `json:"link"`
}

// AcceptClock does clock.accept, for the server and for whoever starts the house
// while its clock is behind.
func AcceptClock(ctx context.Context, g *guard.Guard, who pavise.Principal) (err error) {
	entry, err := g.Enter(ctx, who, "clock.accept", pavise.Name{Tenant: who.Tenant, Kind: "clock", ID: "wall"})
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	return g.AcceptClock(ctx, who)
}

// MintRequest asks for a token.
type MintRequest struct {
	Subject string   `json:"subject" required:"true" help:"who the token is for" doc:"who the token is for"`
	Role    []string `json:"role" required:"true" minItems:"1" help:"a role it carries; may be repeated: caller, analyst or operator" doc:"the roles it carries: caller, analyst or operator"`
	Kind    string   `json:"kind,omitempty" enum:"human,workload" default:"workload" help:"human or workload" doc:"human or workload"`
	Minutes int      `json:"minutes,omitempty" default:"15" help:"how long it lives, at most 60" doc:"how long it lives" minimum:"1" maximum:"60"`
}
