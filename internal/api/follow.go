package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/pavise/pavise"
)

// followInput is what ledger.follow is asked for.
type followInput struct {
	After uint64 `query:"after" doc:"begin with the record at this index"`
	caller
}

const (
	ndjson = "application/x-ndjson" // one Event a line
	// beat is how often a silent stream says that it is alive.
	beat = 15 * time.Second
)

// registerFollow serves the live feed: newline-delimited JSON, one Event a line,
// and an empty line now and then. One entry and one record stand for the whole
// stream, or the log would feed on being watched.
func registerFollow(api huma.API, s *Server, v Verb) {
	op := operation(api, v)
	op.Method = http.MethodGet
	line := api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Event](), true, "Event")
	op.Responses["200"].Content = map[string]*huma.MediaType{ndjson: {Schema: line}}
	huma.Register(api, op, func(ctx context.Context, in *followInput) (*huma.StreamResponse, error) {
		entry, err := s.rooms.Guard.Enter(ctx, in.who, v.Name, theLog(in.who.Tenant))
		if err != nil {
			return nil, problem(err)
		}
		return &huma.StreamResponse{Body: func(hctx huma.Context) {
			var err error
			defer entry.Exit(&err)
			_, w := humago.Unwrap(hctx)
			err = s.follow(hctx.Context(), w, in.who, in.After)
		}}, nil
	})
}

// follow writes the records of the caller's tenant as they come, until the
// caller goes away or is known no more, or the log closes. Its error is a record
// that cannot be read.
func (s *Server) follow(ctx context.Context, w http.ResponseWriter, who pavise.Principal, next uint64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if !who.Expires.IsZero() {
		ctx, cancel = context.WithDeadline(ctx, who.Expires)
		defer cancel()
	}
	stop := context.AfterFunc(s.stopping, cancel)
	defer stop()
	out := http.NewResponseController(w)
	out.SetReadDeadline(time.Time{}) // the request is read; a feed outlives the server's timeout
	w.Header().Set("Content-Type", ndjson)
	w.Header().Set("Cache-Control", "no-store")
	lines := json.NewEncoder(w)
	for ctx.Err() == nil {
		size := s.rooms.Log.Size()
		for index, r := range s.rooms.Log.Records(next, size) {
			next = index + 1
			if r.Tenant != who.Tenant {
				continue
			}
			if err := lines.Encode(Event{Index: index, Record: r}); err != nil {
				return nil // the caller went away
			}
		}
		if next < size {
			return unreadable(s.rooms.Log, next)
		}
		out.SetWriteDeadline(time.Now().Add(2 * beat))
		if err := out.Flush(); err != nil {
			return nil
		}
		if err := s.pause(ctx, w, next); err != nil {
			return nil
		}
	}
	return nil
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
