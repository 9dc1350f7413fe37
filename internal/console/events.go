package console

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/evidence"
	"github.com/pavise/pavise/internal/story"
)

// The rhythm of a live feed.
const (
	beat       = 10 * time.Second // how often a silent feed says that it is alive
	retryAfter = 3 * time.Second  // when a browser comes back to one that broke off
	patience   = 30 * time.Second // how long a browser may take no bytes
)

// An arrival is one step of following the log.
type arrival struct {
	event evidence.Event
	err   error
}

// events is the live feed, as server-sent events: one message a row of the
// view asked for, its id the record's index, so that a browser that comes back
// resumes where it stopped. The event "away" says that the API does not answer
// and the browser should come back; "over", that it should not.
func (c *Console) events(w http.ResponseWriter, r *http.Request, s *visitor) {
	if !s.OpenStream() {
		c.fail(w, s, http.StatusTooManyRequests, "Too many live views", "This session has as many live views open as it may.", "close one of them")
		return
	}
	defer s.CloseStream()
	ctx, cancel := context.WithTimeout(r.Context(), s.Expires.Sub(c.cfg.Now()))
	defer cancel()
	w.Header().Set("Content-Type", "text/event-stream")
	f := feed{w: w, out: http.NewResponseController(w), next: resumeAt(r)}
	_ = f.out.SetReadDeadline(time.Time{}) // the request is read; a feed outlives the server's timeout
	f.write("retry: %d\n\n", retryAfter.Milliseconds())
	f.flush()
	arrivals := follow(ctx, s.client, f.next)
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for f.err == nil {
		select {
		case a, ok := <-arrivals:
			if !ok || a.err != nil {
				c.breakOff(&f, s, ctx, a.err)
				return
			}
			f.next = a.event.Index + 1
			if c.matches(filterOf(r), a.event.Record) {
				f.send(story.NewRow(a.event))
			}
			if len(arrivals) == 0 {
				f.flush()
			}
		case <-tick.C:
			f.alive()
		case <-s.Gone():
			f.say("over", "The session has ended.")
			return
		case <-ctx.Done():
			f.say("over", "The session has ended.")
			return
		}
	}
}

// breakOff tells the browser why the feed ends.
func (c *Console) breakOff(f *feed, s *visitor, ctx context.Context, err error) {
	switch kind := pavise.KindOf(err); {
	case ctx.Err() != nil:
		f.say("over", "The session has ended.")
	case kind == pavise.Unverified:
		c.book.End(s.Session)
		f.say("over", "The session has ended.")
	case kind == pavise.Denied:
		f.say("over", "You may not follow the log.")
	default:
		f.say("away", "Pavise does not answer.")
	}
}

// follow reads the log in its own goroutine, which ends with the context.
func follow(ctx context.Context, client *api.Client, next uint64) <-chan arrival {
	arrivals := make(chan arrival, 64)
	go func() {
		defer close(arrivals)
		for event, err := range evidence.Follow(ctx, client, evidence.Following{After: next}) {
			select {
			case arrivals <- arrival{event, err}:
			case <-ctx.Done():
				return
			}
		}
	}()
	return arrivals
}

// resumeAt returns the index of the first record to send: behind the last one a
// browser saw, or where the page said the feed begins.
func resumeAt(r *http.Request) uint64 {
	if last, err := strconv.ParseUint(r.Header.Get("Last-Event-ID"), 10, 64); err == nil && last+1 > 0 {
		return last + 1
	}
	after, err := strconv.ParseUint(r.URL.Query().Get("after"), 10, 64)
	if err != nil {
		return 0
	}
	return after
}

// A feed writes server-sent events. One goroutine owns it.
type feed struct {
	w    http.ResponseWriter
	out  *http.ResponseController
	next uint64 // the first index not yet looked at
	err  error  // the browser went away
}

// write writes once a deadline is set, where the server has deadlines.
func (f *feed) write(format string, args ...any) {
	if f.err != nil {
		return
	}
	_ = f.out.SetWriteDeadline(time.Now().Add(patience))
	_, f.err = fmt.Fprintf(f.w, format, args...)
}

func (f *feed) flush() {
	if f.err == nil {
		f.err = f.out.Flush()
	}
}

// send writes one row. JSON has no raw line breaks, so it cannot end a message.
func (f *feed) send(r story.Row) {
	data, err := json.Marshal(r)
	if err != nil {
		f.err = err
		return
	}
	f.write("id: %d\ndata: %s\n\n", r.Index, data)
}

// alive moves the browser's resume point without a message.
func (f *feed) alive() {
	if f.next > 0 {
		f.write("id: %d\n\n", f.next-1)
	} else {
		f.write(": alive\n\n")
	}
	f.flush()
}

// say sends a named event for the script.
func (f *feed) say(event, text string) {
	f.write("event: %s\ndata: %s\n\n", event, text)
	f.flush()
}
