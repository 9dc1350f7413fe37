package gateway

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/infer"
	"github.com/pavise/pavise/internal/intake"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/tensor"
)

// An AsideCall is what somebody asks of a model server aside from inference: to load a
// model, to count tokens. It is refused unless a policy permits its verb.
type AsideCall struct {
	Verb      string
	Server    string   // the product: triton, vllm …
	Model     string   // the model that the path names; empty: it is about the whole server
	Version   string   // of the model; empty: none is named
	By        string   // the model whose server is meant, when the path names none; empty: the only server that there is
	Protocols []string // what such a server speaks: routes of others lead to none
	Method    string   // as asked
	Path      string   // as asked, percent-encoded
	// There returns where a server has it, whose model has that name there; nil: it is
	// never passed on.
	There func(remote, version string) string
	Text  bool // the answer is text, not JSON
	Body  io.Reader
	// Wrong is what the transport found amiss, which is refused with it; nil: nothing.
	Wrong error
}

// on is what the verb is done to.
func (c AsideCall) on(who pavise.Principal) pavise.Name {
	if c.Model != "" {
		return pavise.Name{Tenant: who.Tenant, Kind: "model", ID: c.Model}
	}
	return pavise.Name{Tenant: who.Tenant, Kind: "server", ID: c.Server}
}

// The lengths, in bytes, that a record keeps of what was asked.
const (
	maxMethod = 32
	maxPath   = 256
)

// An asideTrail is the detail of its record, whoever refuses.
type asideTrail struct {
	Method   string `json:"method"`         // as asked, clipped
	Path     string `json:"path"`           // as asked, percent-encoded and clipped
	Sent     string `json:"sent,omitempty"` // the path that the server was asked for
	Upstream string `json:"upstream,omitempty"`
	Status   int    `json:"status,omitempty"` // of the server's answer
}

// An AsideAnswer is what the server said, encoded anew.
type AsideAnswer struct {
	*infer.Aside
	Record uint64
}

// Aside passes something else than inference to a model server, if a policy permits it:
// the call's verb on tenant/model/id, or on tenant/server/product when the path names no
// model. The server gets a path of ours and JSON that was read strictly and is written
// anew, and no header of the caller's. Observe mode does not open it. After the guard
// let the caller in, every error is a *Refusal.
func (g *Gateway) Aside(ctx context.Context, who pavise.Principal, call AsideCall) (a *AsideAnswer, err error) {
	entry, err := call.attempt().Enter(ctx, g.guard, who, call.Verb, call.on(who))
	if err != nil {
		return nil, err
	}
	trail := call.trail()
	entry.Detail(trail)
	hold := g.bodies.Begin(who.Name())
	said, err := func() (_ *infer.Aside, err error) {
		defer entry.Exit(&err)
		defer hold.Free()
		if check, err := call.barred(entry.Observed()); err != nil {
			entry.Verdict(pavise.Verdict{Check: check, Outcome: pavise.Deny, Reason: err.Error()})
			return nil, err
		}
		return g.aside(ctx, who, call, hold, trail)
	}()
	if err != nil {
		return nil, &Refusal{entry: entry, err: err}
	}
	index, _ := entry.Record()
	return &AsideAnswer{said, index}, nil
}

// trail is the detail of the call's record before any server is asked.
func (c AsideCall) trail() *asideTrail {
	clip := func(s string, most int) string { return strings.ToValidUTF8(s[:min(len(s), most)], "") }
	return &asideTrail{Method: clip(c.Method, maxMethod), Path: clip(c.Path, maxPath)}
}

// attempt is what the record says of the call even if no policy permits it: what was
// asked, and why nobody could be permitted it.
func (c AsideCall) attempt() guard.Attempt {
	a := guard.Attempt{Detail: c.trail()}
	if c.There == nil {
		a.Check, a.Why = c.barred(false)
	}
	return a
}

// barred says which check refuses the call although the guard let the caller in, and
// why; nil: none.
func (c AsideCall) barred(observed bool) (check string, why error) {
	switch {
	case observed:
		return "policy", &pavise.Error{Kind: pavise.Denied, Msg: "no policy permits it; observe mode is for inference alone"}
	case c.Wrong != nil && (c.There != nil || pavise.KindOf(c.Wrong) == pavise.Invalid):
		return "codec", c.Wrong
	case c.Wrong != nil:
		return "profile", c.Wrong
	case c.There == nil:
		return "profile", &pavise.Error{Kind: pavise.Denied, Msg: "this is never passed on, whatever policies say"}
	}
	return "", nil
}

// A passer is a model on a server that can be asked for something else.
type passer interface {
	Pass(ctx context.Context, method, path string, body []byte) (*infer.Aside, error)
}

func (g *Gateway) aside(ctx context.Context, who pavise.Principal, call AsideCall, hold *intake.Hold, trail *asideTrail) (*infer.Aside, error) {
	l, err := g.serverOf(who.Tenant, call)
	if err != nil {
		return nil, err
	}
	server, _ := l.Predictor.(passer)
	if l.Chat != nil {
		server = l.Chat
	}
	if server == nil {
		return nil, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("%s runs in the gateway, and has no server", l.Model.ID)}
	}
	if n := len(l.Replicas); n > 0 {
		return nil, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("%s runs on %d servers, and this is for one", l.Model.ID, n+1), Hint: "ask a route that leads to one of them alone, or the server itself"}
	}
	if call.Version != "" && call.Version != l.Version {
		return nil, noVersion(l.Model, call.Version)
	}
	text, err := hold.Read(call.Body, infer.MaxAside)
	if err != nil {
		return nil, err
	}
	body, err := infer.Canonical(text, call.Method == "GET")
	if err != nil {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "the body: " + err.Error(), Hint: fmt.Sprintf("send one JSON value of at most %d bytes, without a key twice", infer.MaxAside), Err: err}
	}
	trail.Sent, trail.Upstream = call.There(l.Remote, l.Version), l.Upstream
	a, err := server.Pass(ctx, call.Method, trail.Sent, body)
	if err != nil {
		return nil, err
	}
	trail.Status = a.Status
	if a.Status/100 != 2 {
		return nil, &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("the model server answered with status %d", a.Status), Hint: "the operator finds why in the server's own log"}
	}
	if call.Text {
		if !utf8.Valid(a.Body) || bytes.IndexByte(a.Body, 0) >= 0 {
			return nil, &pavise.Error{Kind: pavise.Unavailable, Msg: "the model server answered with what is no text"}
		}
		return a, nil
	}
	if a.Body, err = infer.Canonical(a.Body, true); err != nil {
		return nil, &pavise.Error{Kind: pavise.Unavailable, Msg: "the model server answered with what is no JSON", Err: err}
	}
	return a, nil
}

// serverOf finds the route whose server is asked.
func (g *Gateway) serverOf(tenant string, call AsideCall) (*route.Live, error) {
	name := pavise.Name{Tenant: tenant, Kind: "model", ID: call.Model}
	if call.Model == "" {
		name.ID = call.By
	}
	if name.ID != "" {
		l, err := g.Routes.Find(name)
		if err == nil && !slices.Contains(call.Protocols, l.Place().Protocol) {
			err = &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("%s is on no server that has this", name)}
		}
		return l, err
	}
	var found *route.Live
	for l := range g.Routes.All() {
		if l.Model.Tenant != tenant || l.Upstream == "" || !slices.Contains(call.Protocols, l.Place().Protocol) {
			continue
		}
		if found != nil && found.Upstream != l.Upstream {
			return nil, &pavise.Error{Kind: pavise.NotFound, Msg: "there is more than one server that could have this", Hint: "name one of its models in the header Pavise-Model"}
		}
		found = l
	}
	if found == nil {
		return nil, &pavise.Error{Kind: pavise.NotFound, Msg: "no route leads to a server that speaks " + strings.Join(call.Protocols, " or "), Hint: "pavise route list shows those that exist"}
	}
	return found, nil
}

// noVersion is the refusal of a version that the route does not name.
func noVersion(model pavise.Name, version string) error {
	return &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("%s has no version %.64q here", model, version), Hint: "leave the version out, or ask for the one that the route names"}
}

// Speaks returns what the server behind a model speaks, one of tensor.Names, for whoever
// chooses the words of an answer; "" if there is none. It tells callers nothing.
func (g *Gateway) Speaks(model pavise.Name) string {
	l, err := g.Routes.Find(model)
	if err != nil {
		return ""
	}
	if l.ONNX != "" {
		return tensor.NameOIP
	}
	return l.Place().Protocol
}

// Only returns the one model of a tenant whose server speaks a protocol, if there is
// just one.
func (g *Gateway) Only(tenant, protocol string) (id string, ok bool) {
	for l := range g.Routes.All() {
		if l.Model.Tenant == tenant && l.Upstream != "" && l.Place().Protocol == protocol {
			if ok {
				return "", false
			}
			id, ok = l.Model.ID, true
		}
	}
	return id, ok
}
