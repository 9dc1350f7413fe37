package api

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/identity"
	"github.com/pavise/pavise/internal/issuer"
)

// A Server serves the table of verbs below /v1.
type Server struct {
	rooms    *Rooms
	verifier atomic.Pointer[identity.Verifier]
	stopping context.Context // done when live feeds should end
	reask    time.Duration   // how often a feed's caller is asked again; never changes once it serves
}

// NewServer returns a server over the rooms for callers whom the verifier
// knows. Its live feeds end when ctx is done, so that a server can drain.
func NewServer(ctx context.Context, rooms *Rooms, verifier *identity.Verifier) *Server {
	s := &Server{rooms: rooms, stopping: ctx, reask: beat}
	s.verifier.Store(verifier)
	return s
}

// Believe has the callers of the next requests known by another verifier.
func (s *Server) Believe(v *identity.Verifier) { s.verifier.Store(v) }

// Handler serves POST /v1/{verb}, GET /v1/ledger.follow, POST /v1/token and the OpenAPI
// 3.1 description at /v1/openapi.json.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	cfg := huma.DefaultConfig("Pavise", "1")
	cfg.OpenAPIPath, cfg.DocsPath, cfg.SchemasPath = "/v1/openapi", "", "/v1/schemas"
	cfg.CreateHooks = nil // no $schema fields in answers
	cfg.Components.Schemas = huma.NewMapRegistry("#/components/schemas/", schemaName)
	cfg.Formats = map[string]huma.Format{"application/json": strictJSON, "json": strictJSON}
	cfg.Transformers = []huma.Transformer{inOurWords}
	cfg.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"bearer": {Type: "http", Scheme: "bearer", BearerFormat: "JWT"}}
	api := humago.New(mux, cfg)
	api.UseMiddleware(s.admit(api), chainOf)
	for _, v := range Verbs() {
		if v.register != nil {
			v.register(api, s, v)
		}
	}
	if s.rooms.Exchange != nil {
		mux.Handle("POST /v1/token", s.rooms.Exchange.Endpoint(s.verifier.Load))
	}
	if s.rooms.CA != nil {
		mux.Handle("POST "+issuer.PathJoin, s.rooms.CA.JoinDoor(func(w http.ResponseWriter, err error) { writeProblem(w, problem(err)) }))
	}
	mux.HandleFunc("/v1/", unknown)
	return mux
}

// schemaName names a type in the description by its room, too, unless it is one of
// the control plane's own: two rooms may have a Rule.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	_, room, ours := strings.Cut(t.PkgPath(), "/internal/")
	if !ours || room == "api" {
		return name
	}
	return strings.ToUpper(room[:1]) + room[1:] + name
}

const (
	maxBody  = 1 << 20          // bytes of a request, unless the verb says more
	bodyTime = 30 * time.Second // for all of a request's body to arrive
)

// operation describes a verb to huma.
func operation(api huma.API, v Verb) huma.Operation {
	refused := api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Problem](), true, "Problem")
	return huma.Operation{
		OperationID: v.Name, Method: http.MethodPost, Path: "/v1/" + v.Name,
		Summary: v.Help, Description: v.About,
		Security:     []map[string][]string{{"bearer": {}}},
		MaxBodyBytes: cmp.Or(v.maxBody, maxBody), BodyReadTimeout: bodyTime,
		Responses: map[string]*huma.Response{
			"200":     {Description: "Done"},
			"default": {Description: "Refused", Content: map[string]*huma.MediaType{"application/problem+json": {Schema: refused}}},
		},
	}
}

// callerKey is where admit leaves the principal for caller.Resolve, inside one
// request and this file.
type callerKey struct{}

// tokenKey is where admit leaves the caller's own token, for console.link alone.
type tokenKey struct{}

// admit lets only proven callers through to the verbs.
func (s *Server) admit(api huma.API) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		r, w := humago.Unwrap(ctx)
		who, err := s.rooms.Guard.Admit(ctx.Context(), s.verifier.Load(), identity.FromRequest(r), source(r.RemoteAddr))
		if err != nil {
			if pavise.KindOf(err) == pavise.Unverified {
				w.Header().Set("WWW-Authenticate", identity.Challenge(err))
			}
			writeProblem(w, problem(err))
			return
		}
		token, _ := identity.FromHeader(r.Header.Values("Authorization")) // the one that was just verified, if it was one
		next(huma.WithValue(huma.WithValue(ctx, callerKey{}, who), tokenKey{}, token))
	}
}

// long lets the long bodies that a verb takes only through from callers who may
// do it, whatever the thing is called: the name is in the body, and nobody else
// should make us keep that much of one. Others' bodies end where those of other
// verbs end.
func (s *Server) long(v Verb) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		r, w := humago.Unwrap(ctx)
		who, _ := ctx.Context().Value(callerKey{}).(pavise.Principal)
		on := pavise.Name{Tenant: who.Tenant, Kind: v.On[0], ID: "any"}
		if s.rooms.Guard.Explain(who, v.Name, on).Decision == pavise.Allow {
			next(ctx)
			return
		}
		ctx.SetReadDeadline(time.Now().Add(bodyTime))
		start, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
		if err != nil {
			writeProblem(w, problem(&pavise.Error{Kind: pavise.Invalid, Msg: "the request's body broke off", Hint: "send the whole body within 30 seconds", Err: err}))
			return
		}
		if len(start) > maxBody {
			writeProblem(w, &Problem{
				Status: http.StatusRequestEntityTooLarge, Title: pavise.Invalid.String(),
				Detail: fmt.Sprintf("the body is longer than %d bytes, and you may not do %s on %s", maxBody, v.Name, on),
				Hint:   fmt.Sprintf("pavise policy explain %s %s says who may", v.Name, on),
			})
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(start))
		next(ctx)
	}
}

// source is an address without its port.
func source(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return host
}

// caller is who calls, as an explicit part of a verb's input.
type caller struct{ who pavise.Principal }

// Resolve takes the principal that admit left. It is a huma.Resolver.
func (c *caller) Resolve(ctx huma.Context) []error {
	who, ok := ctx.Context().Value(callerKey{}).(pavise.Principal)
	if !ok {
		return []error{errors.New("no caller")}
	}
	c.who = who
	return nil
}
