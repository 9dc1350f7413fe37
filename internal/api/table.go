package api

import (
	"context"
	"crypto/x509"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/archive"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/feed"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/seal"
	"github.com/pavise/pavise/internal/siem"
	"github.com/pavise/pavise/internal/subject"
	"github.com/pavise/pavise/internal/tier"
	"github.com/pavise/pavise/internal/witness"
)

// Rooms are what the verbs act on.
type Rooms struct {
	Guard      *guard.Guard
	Log        *ledger.Log
	Policies   *guard.Policies
	Grants     *guard.Grants
	Routes     *route.Table
	Issuer     *issuer.Local // nil: there is no local issuer
	Revoked    *issuer.Revocations
	Exchange   *issuer.Exchange // nil: tokens are not exchanged
	CA         *issuer.CA       // gives certificates to machines, programs and people; nil: there is none
	Changes    *change.Changes
	Feeds      *feed.Feeds
	Subjects   *subject.Keys
	KEK        *seal.KEK // opens what records kept before subjects had keys of their own
	Archive    *archive.Archive
	Witness    *witness.Server    // cosigns other logs
	WitnessURL string             // where it is asked to
	Quorum     *witness.Quorum    // has ours cosigned; nil: nobody is asked
	Protection string             // what keeps the installation's keys: "software" for files
	Nodes      func() []NodeState // how the fleet's machines stand; nil: there is no fleet
	Bundles    Bundles            // keys that sign what gateways are told; nil: there is no fleet
	Wires      *siem.Wires        // where findings go
	Tiers      *tier.Book         // how callers stand at models; nil: nobody knows
	// Link makes a fresh link to the console. The session that it opens calls with
	// the token, until expires at most.
	Link func(token string, expires time.Time) string
	// MemberLink makes one for a person who calls with a certificate and not with a
	// token; nil: there are none.
	MemberLink func(chain []*x509.Certificate, expires time.Time) string
}

// A Verb is one row of the table.
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

	wireOnly bool  // served, and no command: what it takes is not an operator's
	maxBody  int64 // bytes of a request; 0 means maxBody
	request  reflect.Type
	register func(huma.API, *Server, Verb)
}

// NewRequest returns a pointer to a zero request of the verb, whose fields and
// tags are its command's arguments and flags. It is nil for a verb of the data
// plane, which has another door, and for one that programs alone call.
func (v Verb) NewRequest() any {
	if v.request == nil || v.wireOnly {
		return nil
	}
	return reflect.New(v.request).Interface()
}

// Actions are the table's verbs as the guard wants them.
func Actions() []guard.Action {
	var actions []guard.Action
	for _, v := range Verbs() {
		actions = append(actions, guard.Action{Verb: v.Name, On: v.On, Class: v.Class, Safe: v.Safe, Consequential: v.Consequential})
	}
	return actions
}

// verb completes a row with the function that does it.
func verb[Req, Resp any](v Verb, do func(context.Context, *Rooms, pavise.Principal, Req) (Resp, error)) Verb {
	v.request = reflect.TypeFor[Req]()
	v.register = func(api huma.API, s *Server, v Verb) {
		op := operation(api, v)
		if v.maxBody > maxBody {
			op.Middlewares = huma.Middlewares{s.long(v)}
		}
		huma.Register(api, op, func(ctx context.Context, in *input[Req]) (*output[Resp], error) {
			resp, err := do(ctx, s.rooms, in.who, in.Body)
			if err != nil {
				return nil, problem(err)
			}
			return &output[Resp]{Body: resp}, nil
		})
	}
	return v
}

// guarded enters through the guard for rooms that lie below it.
func guarded[Req, Resp any](v Verb, on func(pavise.Principal, Req) pavise.Name, do func(context.Context, *Rooms, pavise.Principal, Req) (Resp, error)) Verb {
	return verb(v, func(ctx context.Context, rooms *Rooms, who pavise.Principal, req Req) (resp Resp, err error) {
		entry, err := rooms.Guard.Enter(ctx, who, v.Name, on(who, req))
		if err != nil {
			return resp, err
		}
		defer entry.Exit(&err)
		return do(ctx, rooms, who, req)
	})
}

// proposing completes the row of a verb that is done as a change: calling it
// proposes one.
//
// on names the thing, and request is what the verb's runner reads.
func proposing[Req any](v Verb, on func(context.Context, *Rooms, pavise.Principal, Req) (pavise.Name, error), request func(Req) (any, error)) Verb {
	v.Consequential = true
	return verb(v, func(ctx context.Context, rooms *Rooms, who pavise.Principal, req Req) (ChangeView, error) {
		name, err := on(ctx, rooms, who, req)
		if err != nil {
			return ChangeView{}, err
		}
		body, err := request(req)
		if err != nil {
			return ChangeView{}, err
		}
		return propose(ctx, rooms, who, v.Name, name, body, reasonOf(req))
	})
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
