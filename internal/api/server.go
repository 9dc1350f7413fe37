package api

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/identity"
)

// A Config says what a server serves, and to whom.
type Config struct {
	Guard    *guard.Guard
	Changes  *change.Changes    // takes proposals; nil if no row is Proposing
	Verbs    []Verb             // the table
	Verifier *identity.Verifier // knows the callers, until Believe names another
}

// A Server serves a table of verbs below /v1.
type Server struct {
	guard    *guard.Guard
	changes  *change.Changes
	verbs    []Verb
	verifier atomic.Pointer[identity.Verifier]
	beside   map[string]http.Handler // doors that are no verbs, by pattern; never change once it serves
	stopping context.Context         // done when live feeds should end
	reask    time.Duration           // how often a feed's caller is asked again; never changes once it serves
}

// NewServer returns a server. Its live feeds end when ctx is done, so that it can drain.
func NewServer(ctx context.Context, cfg Config) *Server {
	s := &Server{guard: cfg.Guard, changes: cfg.Changes, verbs: cfg.Verbs, beside: map[string]http.Handler{}, stopping: ctx, reask: beat}
	s.verifier.Store(cfg.Verifier)
	return s
}

// Believe has the callers of the next requests known by another verifier.
func (s *Server) Believe(v *identity.Verifier) { s.verifier.Store(v) }

// Believed returns the verifier by which callers are known now.
func (s *Server) Believed() *identity.Verifier { return s.verifier.Load() }

// Beside adds a door that is no verb, for the requests of a pattern of http.ServeMux. It
// comes before Handler.
func (s *Server) Beside(pattern string, door http.Handler) { s.beside[pattern] = door }

// Handler serves POST /v1/{verb}, GET /v1/{verb} for a feed, the doors beside them and
// the OpenAPI 3.1 description at /v1/openapi.json.
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
	for _, v := range s.verbs {
		if v.register != nil {
			v.register(api, s, v)
		}
	}
	for pattern, door := range s.beside {
		mux.Handle(pattern, door)
	}
	mux.HandleFunc("/v1/", s.unknown)
	return mux
}

// ownRooms are those whose types are named alone in the description: this one, and those
// of the table's rows.
var ownRooms = []string{"api", "evidence", "verbs"}

// schemaName names a type in the description by its room, too, unless it is one of
// the control plane's own: two rooms may have a Rule.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	_, room, ours := strings.Cut(t.PkgPath(), "/internal/")
	if !ours || slices.Contains(ownRooms, room) {
		return name
	}
	return strings.ToUpper(room[:1]) + room[1:] + name
}

const (
	maxBody  = 1 << 20          // bytes of a request, unless the verb says more
	bodyTime = 30 * time.Second // for all of a request's body to arrive
)

// callerKey is where admit leaves the principal for caller.Resolve, inside one
// request and this file.
type callerKey struct{}

// tokenKey is where admit leaves the caller's own token, for TokenOf.
type tokenKey struct{}

// TokenOf returns the bearer token with which the caller of a verb came, or none: whoever
// has it can do all that the caller can.
func TokenOf(ctx context.Context) string {
	token, _ := ctx.Value(tokenKey{}).(string)
	return token
}

// chainKey is where chainOf leaves the caller's certificates, for ChainOf.
type chainKey struct{}

// ChainOf returns the certificates with which the caller of a verb came, the caller's own
// first, or none.
func ChainOf(ctx context.Context) []*x509.Certificate {
	chain, _ := ctx.Value(chainKey{}).([]*x509.Certificate)
	return chain
}

// chainOf is the middleware behind admit, which has verified who calls.
func chainOf(ctx huma.Context, next func(huma.Context)) {
	r, _ := humago.Unwrap(ctx)
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		ctx = huma.WithValue(ctx, chainKey{}, r.TLS.PeerCertificates)
	}
	next(ctx)
}

// Admit returns who asks, for a door that is no verb; or why they are not known, which
// Refuse answers and identity.Challenge tells how to mend.
func (s *Server) Admit(r *http.Request) (pavise.Principal, error) {
	return s.guard.Admit(r.Context(), s.verifier.Load(), identity.FromRequest(r), source(r.RemoteAddr))
}

// admit lets only proven callers through to the verbs.
func (s *Server) admit(api huma.API) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		r, w := humago.Unwrap(ctx)
		who, err := s.Admit(r)
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
		if s.guard.May(who, v.Name, on) { // what takes others is proposed, with all of it
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
