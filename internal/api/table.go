package api

import (
	"cmp"
	"context"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/guard"
)

// A Verb is one row of the table. A row without a function that does it has another
// door than this package's.
type Verb struct {
	Name  string      // room.verb
	On    []string    // the kinds of thing it applies to
	Class guard.Class // when its record must be safe
	Safe  bool        // safe direction or recovery
	// Consequential: the verb proposes a change, and is run once others have approved.
	Consequential bool
	Help          string // one line
	About         string // more, for --help and the reference
	Example       string // a command line that a test runs; "" if the verb is no command
	WireOnly      bool   // served, and no command: what it takes is not an operator's
	MaxBody       int64  // bytes of a request; 0 means those of most, 1 MiB

	request  reflect.Type
	register func(huma.API, *Server, Verb)
}

// NewRequest returns a pointer to a zero request of the verb, whose fields and
// tags are its command's arguments and flags. It is nil for a verb of the data
// plane, which has another door, and for one that programs alone call.
func (v Verb) NewRequest() any {
	if v.request == nil || v.WireOnly {
		return nil
	}
	return reflect.New(v.request).Interface()
}

// Method returns the HTTP method that asks for the verb: POST, GET for a feed, and none
// for a verb that has another door.
func (v Verb) Method() string {
	switch {
	case v.register == nil:
		return ""
	case v.request == nil:
		return http.MethodGet
	}
	return http.MethodPost
}

// Empty is an answer or a request with nothing to say.
type Empty struct{}

// A doer does a verb for a principal.
type doer[Req, Resp any] func(context.Context, pavise.Principal, Req) (Resp, error)

// Do completes a row with the function that does it, which enters through the guard
// itself, or has a room do so.
func Do[Req, Resp any](v Verb, do func(context.Context, pavise.Principal, Req) (Resp, error)) Verb {
	return row(v, func(*Server) doer[Req, Resp] { return do })
}

// Guarded completes the row of a verb of rooms that lie below the guard: it is entered
// here. on names the thing.
func Guarded[Req, Resp any](v Verb, on func(pavise.Principal, Req) pavise.Name, do func(context.Context, pavise.Principal, Req) (Resp, error)) Verb {
	return row(v, func(s *Server) doer[Req, Resp] {
		return func(ctx context.Context, who pavise.Principal, req Req) (resp Resp, err error) {
			entry, err := s.guard.Enter(ctx, who, v.Name, on(who, req))
			if err != nil {
				return resp, err
			}
			defer entry.Exit(&err)
			return do(ctx, who, req)
		}
	})
}

// Proposing completes the row of a verb that is done as a change: calling it
// proposes one.
//
// on names the thing, and request is what the verb's runner reads.
func Proposing[Req Reasoned](v Verb, on func(context.Context, pavise.Principal, Req) (pavise.Name, error), request func(Req) (any, error)) Verb {
	v.Consequential = true
	return row(v, func(s *Server) doer[Req, ChangeView] {
		return func(ctx context.Context, who pavise.Principal, req Req) (ChangeView, error) {
			name, err := on(ctx, who, req)
			if err != nil {
				return ChangeView{}, err
			}
			body, err := request(req)
			if err != nil {
				return ChangeView{}, err
			}
			return s.propose(ctx, who, v.Name, name, body, req.Why())
		}
	})
}

// row completes a row with what does it at a server.
func row[Req, Resp any](v Verb, at func(*Server) doer[Req, Resp]) Verb {
	v.request = reflect.TypeFor[Req]()
	v.register = func(api huma.API, s *Server, v Verb) {
		op := operation(api, v)
		if v.MaxBody > maxBody {
			op.Middlewares = huma.Middlewares{s.long(v)}
		}
		do := at(s)
		huma.Register(api, op, func(ctx context.Context, in *input[Req]) (*output[Resp], error) {
			resp, err := do(ctx, in.who, in.Body)
			if err != nil {
				return nil, problem(err)
			}
			return &output[Resp]{Body: resp}, nil
		})
	}
	return v
}

// operation describes a verb to huma.
func operation(api huma.API, v Verb) huma.Operation {
	refused := api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Problem](), true, "Problem")
	return huma.Operation{
		OperationID: v.Name, Method: v.Method(), Path: "/v1/" + v.Name,
		Summary: v.Help, Description: v.About,
		Security:     []map[string][]string{{"bearer": {}}},
		MaxBodyBytes: cmp.Or(v.MaxBody, maxBody), BodyReadTimeout: bodyTime,
		Responses: map[string]*huma.Response{
			"200":     {Description: "Done"},
			"default": {Description: "Refused", Content: map[string]*huma.MediaType{"application/problem+json": {Schema: refused}}},
		},
	}
}

// input is what huma reads of a call: the body, and who calls.
type input[Req any] struct {
	Body Req
	caller
}

// output is what huma writes.
type output[Resp any] struct {
	Body Resp
}
