package api

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/ledger"
)

// followInput is what ledger.follow is asked for.
type followInput struct {
	Following
	caller
}

// Following says what a feed is to tell.
type Following struct {
	After uint64 `query:"after" doc:"begin with the record at this index"`
	Name  string `query:"name" doc:"go on where the follower of this name was acknowledged; a new one begins at after"`
	FollowConditions
}

// FollowConditions are those of a feed: all that are given must hold.
type FollowConditions struct {
	Kind    []string `query:"kind,explode" maxItems:"32" help:"Only records of this kind, model.infer, or of this room, model; may be repeated." doc:"only records of these kinds (model.infer) or rooms (model)"`
	Who     string   `query:"who" placeholder:"NAME" help:"Only what this principal did, as tenant/kind/id or kind/id." doc:"only what this principal did, as tenant/kind/id"`
	On      string   `query:"on" placeholder:"NAME" help:"Only what was done to this thing, as tenant/kind/id or kind/id." doc:"only what was done to this thing, as tenant/kind/id"`
	Subject string   `query:"subject" placeholder:"PSEUDONYM" help:"Only records that keep data of this subject, by its pseudonym." doc:"only records that keep data of this subject, by its pseudonym"`
	Ending  string   `query:"ending" enum:"deny,alter,failed," placeholder:"ENDING" default:"" help:"Only what ended so: deny, alter, or failed, which denied ones are too." doc:"only what ended so: deny, alter, or failed, which denied ones are too"`
}

// query writes what is wanted into an address.
func (f Following) query() string {
	q := url.Values{}
	for key, value := range map[string]string{"name": f.Name, "who": f.Who, "on": f.On, "subject": f.Subject, "ending": f.Ending} {
		if value != "" {
			q.Set(key, value)
		}
	}
	if f.After > 0 {
		q.Set("after", strconv.FormatUint(f.After, 10))
	}
	for _, kind := range f.Kind {
		q.Add("kind", kind)
	}
	return q.Encode()
}

// filter is what the follower wants.
func (in *followInput) filter() (ledger.Filter, error) {
	c := Conditions{Kind: in.Kind, Who: in.Who, On: in.On, Subject: in.Subject, Ending: in.Ending}
	return c.filter(in.who.Tenant, time.Time{}) // no condition is a time
}

const (
	ndjson = "application/x-ndjson" // one Event a line
	// beat is how often a silent stream says that it is alive.
	beat = 15 * time.Second
	// feedBurst is how many lines are written before they are sent on, if they come
	// within feedPause of each other.
	feedBurst = 256
	feedPause = time.Millisecond
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
		filter, from, err := s.begin(ctx, in)
		if err != nil {
			entry.Exit(&err)
			return nil, problem(err)
		}
		return &huma.StreamResponse{Body: func(hctx huma.Context) {
			var err error
			defer entry.Exit(&err)
			_, w := humago.Unwrap(hctx)
			err = s.follow(hctx.Context(), w, in, filter, from)
		}}, nil
	})
}

// begin says which records a stream has, and at which it begins.
func (s *Server) begin(ctx context.Context, in *followInput) (ledger.Filter, uint64, error) {
	filter, err := in.filter()
	if err != nil || in.Name == "" {
		return filter, in.After, err
	}
	if err := anothers(in.Name); err != nil {
		return filter, 0, err
	}
	cursor, err := s.rooms.Feeds.Begin(ctx, in.who.Tenant, in.Name, filter, in.After)
	if err == nil && in.After > cursor.Next { // it would pass over what the follower has not done with
		err = &pavise.Error{
			Kind: pavise.Conflict, Msg: fmt.Sprintf("the follower %s goes on at %d, and after, %d, is for a new one", in.Name, cursor.Next, in.After),
			Hint: fmt.Sprintf("leave after out, or say that it has done with those before: pavise ledger acknowledge %s %d", in.Name, in.After),
		}
	}
	return filter, cursor.Next, err
}

// follow writes the records that the caller wants as they come, until the caller
// goes away, is known no more or may follow no more, or the log closes. Its error is a
// record that cannot be read, or why the caller may not.
func (s *Server) follow(ctx context.Context, w http.ResponseWriter, in *followInput, filter ledger.Filter, from uint64) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if !in.who.Expires.IsZero() {
		ctx, cancel = context.WithDeadline(ctx, in.who.Expires)
		defer cancel()
	}
	stop := context.AfterFunc(s.stopping, cancel)
	defer stop()
	out := newFeedWriter(w)
	events := make(chan Event)
	go func() {
		defer close(events)
		for found, failure := range s.rooms.Feeds.Live(ctx, filter, from) {
			if failure != nil {
				err = failure // read once events is closed
				return
			}
			select {
			case events <- Event{found.Index, found.Record}:
			case <-ctx.Done():
				return
			}
		}
	}()
	ended := s.whileTheyMay(in.who, func() bool { return out.serve(events) })
	cancel()
	for range events { // until the reader has seen that nobody listens
	}
	return cmp.Or(ended, err)
}

// whileTheyMay has a feed go on until it ends, or until its caller may follow the log no
// more, which is asked every beat: a grant ends, and policies change, under a feed.
func (s *Server) whileTheyMay(who pavise.Principal, next func() bool) error {
	asked := time.Now()
	for next() {
		if time.Since(asked) < s.reask {
			continue
		}
		asked = time.Now()
		x := s.rooms.Guard.Explain(who, verbFollow, theLog(who.Tenant))
		if x.Decision != pavise.Allow && !x.Observe {
			return &pavise.Error{Kind: pavise.Denied, Msg: "the feed ends: " + x.Why, Hint: "pavise policy explain " + verbFollow + " " + theLog(who.Tenant).String() + " shows what would allow it"}
		}
	}
	return nil
}

// verbFollow is the verb of a feed.
const verbFollow = "ledger.follow"

// A feedWriter writes a feed's lines.
type feedWriter struct {
	out   *http.ResponseController
	lines *json.Encoder
	w     http.ResponseWriter
}

func newFeedWriter(w http.ResponseWriter) *feedWriter {
	f := &feedWriter{out: http.NewResponseController(w), lines: json.NewEncoder(w), w: w}
	f.out.SetReadDeadline(time.Time{}) // the request is read; a feed outlives the server's timeout
	w.Header().Set("Content-Type", ndjson)
	w.Header().Set("Cache-Control", "no-store")
	f.flush() // who follows learns at once that they may
	return f
}

// serve writes what comes next: a record and those that are there already, or an
// empty line when nothing comes for a while. It is false when the feed ends.
func (f *feedWriter) serve(events <-chan Event) bool {
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

func (f *feedWriter) flush() bool {
	f.out.SetWriteDeadline(time.Now().Add(2 * beat))
	return f.out.Flush() == nil
}
