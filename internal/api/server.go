package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/identity"
)

// A Server serves the table of verbs below /v1.
type Server struct {
	rooms    *Rooms
	verifier *identity.Verifier
	stopping context.Context // done when live feeds should end
}

// NewServer returns a server over the rooms for callers whom the verifier
// knows. Its live feeds end when ctx is done, so that a server can drain.
func NewServer(ctx context.Context, rooms *Rooms, verifier *identity.Verifier) *Server {
	return &Server{rooms: rooms, verifier: verifier, stopping: ctx}
}

// Handler serves POST /v1/{verb}, GET /v1/ledger.follow and the OpenAPI 3.1
// description at /v1/openapi.json.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	cfg := huma.DefaultConfig("Pavise", "1")
	cfg.OpenAPIPath, cfg.DocsPath, cfg.SchemasPath = "/v1/openapi", "", "/v1/schemas"
	cfg.CreateHooks = nil // no $schema fields in answers
	cfg.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"bearer": {Type: "http", Scheme: "bearer", BearerFormat: "JWT"}}
	api := humago.New(mux, cfg)
	api.UseMiddleware(s.admit(api))
	for _, v := range Verbs() {
		if v.register != nil {
			v.register(api, s, v)
		}
	}
	s.registerFollow(api)
	return mux
}

// operation describes a verb to huma.
func operation(v Verb) huma.Operation {
	return huma.Operation{
		OperationID: v.Name, Method: http.MethodPost, Path: "/v1/" + v.Name,
		Summary: v.Help, Description: v.About,
		Security: []map[string][]string{{"bearer": {}}},
	}
}

// callerKey is where admit leaves the principal for caller.Resolve, inside one
// request and this file.
type callerKey struct{}

// admit lets only proven callers through to the verbs.
func (s *Server) admit(api huma.API) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		r, w := humago.Unwrap(ctx)
		who, err := s.rooms.Guard.Admit(s.verifier, r.Header.Values("Authorization"), source(r.RemoteAddr))
		if err != nil {
			if pavise.KindOf(err) == pavise.Unverified {
				w.Header().Set("WWW-Authenticate", identity.Challenge(err))
			}
			writeProblem(w, err)
			return
		}
		next(huma.WithValue(ctx, callerKey{}, who))
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

// A Problem is how the API says no (RFC 9457).
type Problem struct {
	Status int     `json:"status"`
	Title  string  `json:"title"`            // the kind of failure: denied, invalid …
	Detail string  `json:"detail"`           // what is wrong, and where
	Hint   string  `json:"hint,omitempty"`   // what to do next
	Record *uint64 `json:"record,omitempty"` // the record that says why
}

// Error returns the detail.
func (p *Problem) Error() string { return p.Detail }

// GetStatus returns the HTTP status, for huma.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType returns the media type of a problem, for huma.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// problem is what a caller may know of an error.
func problem(err error) *Problem {
	kind := pavise.KindOf(err)
	p := &Problem{Status: kind.HTTPStatus(), Title: kind.String(), Detail: "internal error", Hint: "the operator finds the cause in the log"}
	if e, ok := errors.AsType[*pavise.Error](err); ok {
		p.Detail, p.Hint = e.Msg, e.Hint
	}
	if d, ok := errors.AsType[*guard.Denial](err); ok {
		p.Record = &d.Record
	}
	return p
}

func writeProblem(w http.ResponseWriter, err error) {
	p := problem(err)
	body, _ := json.Marshal(p) // cannot fail: strings and numbers
	w.Header().Set("Content-Type", p.ContentType(""))
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(p.Status)
	w.Write(body)
}

// followInput is what ledger.follow is asked for.
type followInput struct {
	After uint64 `query:"after" doc:"begin with the record at this index"`
	caller
}

// beat is how often a silent stream says that it is alive.
const beat = 15 * time.Second

// registerFollow serves the live feed: newline-delimited JSON, one Event a line,
// and an empty line now and then. One entry and one record stand for the whole
// stream, or the log would feed on being watched.
func (s *Server) registerFollow(api huma.API) {
	op := operation(Verb{Name: "ledger.follow", Help: "Follow the evidence log live"})
	op.Method = http.MethodGet
	huma.Register(api, op, func(ctx context.Context, in *followInput) (*huma.StreamResponse, error) {
		entry, err := s.rooms.Guard.Enter(ctx, in.who, "ledger.follow", theLog(in.who.Tenant))
		if err != nil {
			return nil, problem(err)
		}
		return &huma.StreamResponse{Body: func(hctx huma.Context) {
			var err error
			defer entry.Exit(&err)
			_, w := humago.Unwrap(hctx)
			err = s.follow(hctx.Context(), w, in.who.Tenant, in.After)
		}}, nil
	})
}

// follow writes a tenant's records as they come, until the caller goes away or
// the log closes.
func (s *Server) follow(ctx context.Context, w http.ResponseWriter, tenant string, next uint64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(s.stopping, cancel)
	defer stop()
	out := http.NewResponseController(w)
	out.SetReadDeadline(time.Time{}) // the request is read; a feed outlives the server's timeout
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Cache-Control", "no-store")
	lines := json.NewEncoder(w)
	for {
		for index, r := range s.rooms.Log.Records(next, s.rooms.Log.Size()) {
			next = index + 1
			if r.Tenant != tenant {
				continue
			}
			if err := lines.Encode(Event{Index: index, Record: r}); err != nil {
				return nil // the caller went away
			}
		}
		out.SetWriteDeadline(time.Now().Add(2 * beat))
		if err := out.Flush(); err != nil {
			return nil
		}
		if err := s.pause(ctx, w, next); err != nil {
			return nil
		}
	}
}

// pause waits for the log to grow, and writes an empty line when it does not.
func (s *Server) pause(ctx context.Context, w http.ResponseWriter, next uint64) error {
	wait, cancel := context.WithTimeout(ctx, beat)
	defer cancel()
	err := s.rooms.Log.Wait(wait, next)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		_, err = fmt.Fprintln(w)
	}
	return err
}
