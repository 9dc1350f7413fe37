package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/pavise/pavise"
)

const (
	ndjson = "application/x-ndjson" // one Event a line
	// beat is how often a silent stream says that it is alive.
	beat = 15 * time.Second
	// feedBurst is how many lines are written before they are sent on, if they come
	// within feedPause of each other.
	feedBurst = 256
	feedPause = time.Millisecond
)

// Feed completes the row of a verb that is followed with GET: it is answered with
// newline-delimited JSON, one Event a line as it comes, and an empty line now and then.
// It is entered here: one entry and one record stand for the whole stream, or the log
// would feed on being watched.
//
// on names the thing. begin reads what is asked for; the events that it returns end with
// their context, or with an error.
func Feed[Query, Event any](v Verb, on func(pavise.Principal) pavise.Name, begin func(context.Context, pavise.Principal, Query) (Events[Event], error)) Verb {
	v.register = func(api huma.API, s *Server, v Verb) {
		op := operation(api, v)
		line := api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Event](), true, "Event")
		op.Responses["200"].Content = map[string]*huma.MediaType{ndjson: {Schema: line}}
		huma.Register(api, op, func(ctx context.Context, in *Query) (*huma.StreamResponse, error) {
			who, ok := ctx.Value(callerKey{}).(pavise.Principal)
			if !ok {
				return nil, problem(errors.New("no caller"))
			}
			entry, err := s.guard.Enter(ctx, who, v.Name, on(who))
			if err != nil {
				return nil, problem(err)
			}
			events, err := begin(ctx, who, *in)
			if err != nil {
				entry.Exit(&err)
				return nil, problem(err)
			}
			return &huma.StreamResponse{Body: func(hctx huma.Context) {
				var err error
				defer entry.Exit(&err)
				_, w := humago.Unwrap(hctx)
				err = follow(hctx.Context(), s, w, follower{who, v.Name, on(who)}, events)
			}}, nil
		})
	}
	return v
}

// Events are what a feed tells, until the context is done.
type Events[Event any] func(context.Context) iter.Seq2[Event, error]

// A follower is who follows a feed, by which verb, and of what thing.
type follower struct {
	who  pavise.Principal
	verb string
	on   pavise.Name
}

// follow writes the events as they come, until the caller goes away, is known no more or
// may follow no more, or they end. Its error is that of an event that cannot be read, or
// why the caller may not.
func follow[Event any](ctx context.Context, s *Server, w http.ResponseWriter, f follower, all Events[Event]) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if !f.who.Expires.IsZero() {
		ctx, cancel = context.WithDeadline(ctx, f.who.Expires)
		defer cancel()
	}
	stop := context.AfterFunc(s.stopping, cancel)
	defer stop()
	out := newFeedWriter[Event](w)
	events := make(chan Event)
	go func() {
		defer close(events)
		for event, failure := range all(ctx) {
			if failure != nil {
				err = failure // read once events is closed
				return
			}
			select {
			case events <- event:
			case <-ctx.Done():
				return
			}
		}
	}()
	ended := s.whileTheyMay(f, func() bool { return out.serve(events) })
	cancel()
	for range events { // until the reader has seen that nobody listens
	}
	return cmp.Or(ended, err)
}

// whileTheyMay has a feed go on until it ends, or until its caller may follow it no
// more, which is asked every beat: a grant ends, and policies change, under a feed.
func (s *Server) whileTheyMay(f follower, next func() bool) error {
	asked := time.Now()
	for next() {
		if time.Since(asked) < s.reask {
			continue
		}
		asked = time.Now()
		x := s.guard.Explain(f.who, f.verb, f.on)
		if x.Decision != pavise.Allow && !x.Observe {
			return &pavise.Error{Kind: pavise.Denied, Msg: "the feed ends: " + x.Why, Hint: "pavise policy explain " + f.verb + " " + f.on.String() + " shows what would allow it"}
		}
	}
	return nil
}

// A feedWriter writes a feed's lines.
type feedWriter[Event any] struct {
	out   *http.ResponseController
	lines *json.Encoder
	w     http.ResponseWriter
}

func newFeedWriter[Event any](w http.ResponseWriter) *feedWriter[Event] {
	f := &feedWriter[Event]{out: http.NewResponseController(w), lines: json.NewEncoder(w), w: w}
	f.out.SetReadDeadline(time.Time{}) // the request is read; a feed outlives the server's timeout
	w.Header().Set("Content-Type", ndjson)
	w.Header().Set("Cache-Control", "no-store")
	f.flush() // who follows learns at once that they may
	return f
}

// serve writes what comes next: an event and those that are there already, or an
// empty line when nothing comes for a while. It is false when the feed ends.
func (f *feedWriter[Event]) serve(events <-chan Event) bool {
	select {
	case e, ok := <-events:
		if !ok || f.lines.Encode(e) != nil {
			return false
		}
		for range feedBurst {
			select {
			case e, ok := <-events:
				if !ok || f.lines.Encode(e) != nil {
					return false
				}
				continue
			case <-time.After(feedPause):
			}
			break
		}
	case <-time.After(beat):
		if _, err := fmt.Fprintln(f.w); err != nil {
			return false
		}
	}
	return f.flush()
}

func (f *feedWriter[Event]) flush() bool {
	f.out.SetWriteDeadline(time.Now().Add(2 * beat))
	return f.out.Flush() == nil
}
