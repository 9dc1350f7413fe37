package verbs

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/edge"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/policy"
	"github.com/pavise/pavise/internal/route"
)

func (rooms *Rooms) routeVerbs() []api.Verb {
	onRoute := []string{"route"}
	return []api.Verb{
		api.Do(api.Verb{
			Name: "route.list", On: onRoute, Class: guard.Pooled,
			Help:    "List the routes to your tenant's models",
			About:   "A route says what stands behind a model's name, and on what terms callers may ask it. It also says which models are in quarantine, and how each server of a model does at the machine that is asked.",
			Example: "pavise route list",
		}, func(ctx context.Context, who pavise.Principal, _ api.Empty) (RouteList, error) {
			routes, err := rooms.Routes.List(ctx, who, who.Tenant)
			return RouteList{routes}, err
		}),
		api.Do(api.Verb{
			Name: "route.put", On: onRoute, MaxBody: maxModel,
			Help:    "Put a model behind the firewall, or change its terms",
			About:   "The model runs in the gateway (--onnx) or on a model server (--upstream, and --protocol unless it speaks the Open Inference Protocol v2); a server that cannot say what its model takes and gives needs --signature. On a route that exists, what is left out stays as it is; --no-observe and the like take back what was set. Requests under way end on the terms they began on. A model can run on several servers (--replica, each with its --weight), and a --shadow can hear its requests. Of ONNX models in the gateway several can share the calls (--beside, each with its --weight). Weights and --balance change at once, on the connections that there are. Another model for a name that has one, another version or server beside it, or another shadow is a release: pavise route release. So is the first one of a registered model, unless it is the file of a published version of it.",
			Example: "pavise route put local/model/fraud --onnx cmd/pavise/testdata/fraud.onnx --rate 600/1m --shape round:3",
		}, func(ctx context.Context, who pavise.Principal, req route.Spec) (route.Placed, error) {
			if _, err := req.Model(); err != nil {
				return route.Placed{}, err // no name to ask the guard about
			}
			return rooms.Routes.Put(ctx, who, req)
		}),
		api.Proposing(api.Verb{
			Name: "route.release", On: onRoute, MaxBody: maxModel,
			Help:    "Propose another model, version, server or shadow for a name, or its first model",
			About:   "The route's terms stay, and so do bounds on values while the inputs are the same. A name that never had a model gets its first one on the terms of new routes, which route put changes then. It answers once somebody else has approved it. A release ends a quarantine; the model that answers already can be released for that, and for nothing else. After route delete it is the way to another model under the name, on the terms of the last route.",
			Example: "pavise route release local/model/fraud --onnx cmd/pavise/testdata/fraud2.onnx",
		}, func(_ context.Context, _ pavise.Principal, req ReleaseRequest) (pavise.Name, error) {
			return routeOf(req.Name)
		}, func(req ReleaseRequest) (any, error) {
			return req.ReleaseSpec, nil
		}),
		api.Proposing(api.Verb{
			Name: "route.rollback", On: onRoute, Safe: true,
			Help:    "Go back to the model that answered before, at once",
			About:   "It is done first, and approved afterwards: the safe direction never waits. The route's terms stay.",
			Example: "pavise route rollback local/model/fraud",
		}, func(_ context.Context, _ pavise.Principal, req RouteRequest) (pavise.Name, error) {
			return routeOf(req.Name)
		}, func(RouteRequest) (any, error) { return api.Empty{}, nil }),
		api.Proposing(api.Verb{
			Name: "route.quarantine", On: onRoute, Safe: true,
			Help:    "Let nobody ask a model any more, at once",
			About:   "It is done first, and approved afterwards. A release ends it.",
			Example: "pavise route quarantine local/model/fraud",
		}, func(_ context.Context, _ pavise.Principal, req RouteRequest) (pavise.Name, error) {
			return routeOf(req.Name)
		}, func(RouteRequest) (any, error) { return api.Empty{}, nil }),
		api.Do(api.Verb{
			Name: "route.delete", On: onRoute,
			Help:    "Take a model away from behind the firewall",
			About:   "Callers get notfound from then on. What they have taken stays in the log. Under the same name the same model may be put again; another one is a release, and a quarantine lasts until one.",
			Example: "pavise route delete local/model/fraud",
		}, func(ctx context.Context, who pavise.Principal, req RouteDelete) (api.Empty, error) {
			return api.Empty{}, rooms.Routes.Delete(ctx, who, req.Name)
		}),
	}
}

// maxModel is the body of route.put: an ONNX model of 32 MiB, which is all that
// package learn reads, in base64, and the rest.
const maxModel = 48 << 20

// RouteList holds routes.
type RouteList struct {
	Routes []route.Standing `json:"routes"`
}

// routeOf returns the name of the route to a model.
func routeOf(model string) (pavise.Name, error) {
	name, err := route.Spec{Name: model}.Model()
	name.Kind = "route"
	return name, err
}

// ReleaseRequest proposes a release.
type ReleaseRequest struct {
	route.ReleaseSpec
	Reason string `json:"reason,omitempty" help:"why" doc:"why"`
}

// RouteRequest names a route's model.
type RouteRequest struct {
	Name   string `json:"name" arg:"" help:"the model's name: its id, or tenant/model/id" doc:"the model's name, as tenant/model/id"`
	Reason string `json:"reason,omitempty" help:"why" doc:"why"`
}

// RouteDelete names a route's model.
type RouteDelete struct {
	Name pavise.Name `json:"name" arg:"" help:"the model's name: its id, or tenant/model/id" doc:"the model's name, as tenant/model/id"`
}

// asideVerbs are those of the data plane aside from inference.
func asideVerbs() (all []api.Verb) {
	for _, a := range policy.Named() {
		if at := slices.IndexFunc(edge.Verbs(), func(v [3]string) bool { return v[0] == a.Verb }); at >= 0 {
			all = append(all, api.Verb{Name: a.Verb, On: a.On, Class: a.Class, Help: edge.Verbs()[at][1], About: edge.Verbs()[at][2]})
		}
	}
	return all
}

func (rooms *Rooms) otherVerbs() []api.Verb {
	return []api.Verb{
		api.Do(api.Verb{
			Name: "issuer.mint", On: []string{"issuer"},
			Help:    "Give out a short-lived token of the local issuer",
			About:   "Demo roles only (caller, analyst, operator), one hour at most. The record holds who the token is for, never the token.",
			Example: "pavise issuer mint --subject ci --role caller",
		}, func(ctx context.Context, who pavise.Principal, req MintRequest) (issuer.Token, error) {
			if rooms.Issuer == nil {
				return issuer.Token{}, &pavise.Error{
					Kind: pavise.Unavailable, Msg: "this installation makes no tokens for demonstration",
					Hint: "people and programs join with a certificate, pavise node invite and pavise person invite, or come with tokens of your own issuer",
				}
			}
			return rooms.Issuer.Mint(ctx, who, issuer.MintRequest{Subject: req.Subject, Kind: req.Kind, Roles: req.Role, TTL: time.Duration(req.Minutes) * time.Minute})
		}),
		{
			Name: "issuer.exchange", On: []string{"issuer"}, Class: guard.Pooled,
			Help:  "Exchange a proof of who one is for a short-lived token of this installation",
			About: "At POST /v1/token, as RFC 8693 has it: the same name, no role more and no longer life, bound to the caller's key. With an actor_token, one acts for another.",
		},
		api.Guarded(api.Verb{
			Name: "issuer.whoami", On: []string{"issuer"}, Class: guard.Pooled,
			Help:    "Say whom the server takes you for",
			About:   "By the proof that you call with: name, roles, who vouches for you, who had the identity made, and until when.",
			Example: "pavise issuer whoami",
		}, func(who pavise.Principal, _ api.Empty) pavise.Name {
			return pavise.Name{Tenant: who.Tenant, Kind: "issuer", ID: "self"}
		}, func(_ context.Context, who pavise.Principal, _ api.Empty) (Whoami, error) {
			return Whoami{
				Name: who.Name(), Root: who.Root(), Issuer: who.Issuer, Roles: append([]string{}, who.Roles...),
				Environment: who.Environment, Proof: who.Proof, Expires: who.Expires,
			}, nil
		}),
		api.Do(api.Verb{
			Name: "issuer.revoke", On: []string{"issuer"}, Safe: true,
			Help:    "Refuse what somebody was given until now: tokens and certificates",
			About:   "From the next request on, and for good. Name a principal, and with them all that acts for them or that they had made; or an issuer by its URL (a trust domain as spiffe://NAME); or --all for everybody of your tenant, yourself included. What they are given from now on works: whom an issuer should no longer vouch for is its own affair.",
			Example: "pavise issuer revoke local/workload/ci --reason leaked",
		}, rooms.issuerRevoke),
		api.Do(api.Verb{
			Name: "issuer.revocations", On: []string{"issuer"}, Class: guard.Pooled,
			Help:    "List what was revoked in your tenant",
			About:   "What was given out before the time is refused.",
			Example: "pavise issuer revocations",
		}, func(ctx context.Context, who pavise.Principal, _ api.Empty) (RevocationList, error) {
			all, err := rooms.Revoked.List(ctx, who)
			return RevocationList{all}, err
		}),
		api.Guarded(api.Verb{
			Name: "console.link", On: []string{"console"},
			Help:    "Print a fresh link to the console",
			About:   "For people only. Good once, for ten minutes. Whoever opens it acts as you, for an hour at most and no longer than the token that asks.",
			Example: "pavise console link",
		}, func(who pavise.Principal, _ api.Empty) pavise.Name {
			return pavise.Name{Tenant: who.Tenant, Kind: "console", ID: "web"}
		}, rooms.consoleLink),
		api.Do(api.Verb{
			Name: "clock.accept", On: []string{"clock"}, Safe: true,
			Help:    "Go on although the clock was set back",
			About:   "After a step back of more than two seconds everything else is refused, so that no record can claim an earlier time. This verb records the step and takes the clock as it is now.",
			Example: "pavise clock accept",
		}, func(ctx context.Context, who pavise.Principal, _ api.Empty) (api.Empty, error) {
			return api.Empty{}, AcceptClock(ctx, rooms.Guard, who)
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

// Whoami is whom the server takes its caller for.
type Whoami struct {
	Name        pavise.Name `json:"name"`
	Root        pavise.Name `json:"root"`                  // who answers for it: who had the identity made, or itself
	Issuer      string      `json:"issuer"`                // who vouches for it
	Roles       []string    `json:"roles"`                 // what the issuer says it is
	Environment string      `json:"environment,omitempty"` // where it runs
	Proof       string      `json:"proof"`                 // how it is known: bearer, dpop, mtls, bearer+mtls
	Expires     time.Time   `json:"expires"`               // when the proof ends
}

// RevokeRequest names whose tokens and certificates to refuse.
type RevokeRequest struct {
	Principal pavise.Name `json:"principal,omitzero" arg:"" optional:"" help:"whose, as tenant/kind/id, for example local/workload/ci" doc:"whose, as tenant/kind/id"`
	Issuer    string      `json:"issuer,omitempty" help:"all of this issuer's, by its URL or as spiffe://TRUST-DOMAIN" doc:"all of this issuer's, by its URL or as spiffe://TRUST-DOMAIN"`
	All       bool        `json:"all,omitempty" help:"everybody's of your tenant" doc:"everybody's of the tenant"`
	Reason    string      `json:"reason,omitempty" help:"why" doc:"why"`
}

// RevocationList holds revocations.
type RevocationList struct {
	Revocations []issuer.Revocation `json:"revocations"`
}

func (rooms *Rooms) issuerRevoke(ctx context.Context, who pavise.Principal, req RevokeRequest) (issuer.Revocation, error) {
	named := 0
	for _, is := range []bool{req.Principal != (pavise.Name{}), req.Issuer != "", req.All} {
		if is {
			named++
		}
	}
	if named != 1 {
		return issuer.Revocation{}, &pavise.Error{Kind: pavise.Invalid, Msg: "a revocation is of one principal, of one issuer, or of all", Hint: "name a principal as tenant/kind/id, or give --issuer or --all"}
	}
	return rooms.Revoked.Revoke(ctx, who, issuer.RevokeRequest{Principal: req.Principal, Issuer: req.Issuer, Reason: req.Reason})
}

// ConsoleLink opens the console, once.
type ConsoleLink struct {
	Link string `json:"link"`
}

// consoleLink gives a link to people only: the session that it opens acts as a
// person, which a program's records must never claim. It acts as who asked and as
// nobody else, for it calls with their own token: one made for it could carry
// another name, other roles or a longer life.
func (rooms *Rooms) consoleLink(ctx context.Context, who pavise.Principal, _ api.Empty) (ConsoleLink, error) {
	if who.Kind != pavise.Human {
		return ConsoleLink{}, &pavise.Error{
			Kind: pavise.Denied, Msg: fmt.Sprintf("%s/%s is no person, and the console's sessions act as one", who.Kind, who.ID),
			Hint: "ask with a person's token; a program has the API, which can do all that the console can",
		}
	}
	if who.Proof == "mtls" && rooms.MemberLink != nil {
		return ConsoleLink{rooms.MemberLink(api.ChainOf(ctx), who.Expires)}, nil
	}
	token := api.TokenOf(ctx)
	if who.Proof != "bearer" || token == "" {
		return ConsoleLink{}, &pavise.Error{
			Kind: pavise.Denied, Msg: "the console's sessions call with the token of whoever asks, and yours is bound to a key that only you have",
			Hint: "ask with a plain bearer token",
		}
	}
	return ConsoleLink{rooms.Link(token, who.Expires)}, nil
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
