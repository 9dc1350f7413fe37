package console

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/pavise/pavise/internal/figure"
	"github.com/pavise/pavise/internal/story"
)

// A Step is one act of a demo, as its page shows it.
type Step struct {
	Number   int
	Minute   int // of the hour that is played
	At       time.Time
	Scene    string
	Actor    string
	Did      string
	Decision string // allow, deny or note
	Why      string
	Record   *uint64 // the record that proves it; nil: none does
	Prove    string  // the command that does
	Odd      bool    // it went otherwise than it should have
}

// A told step has what a page needs of it, too.
type told struct {
	Step
	State string // the class and icon
	Word  string
	Opens bool // a scene begins with it
}

// A tale is the body of the demo's page.
type tale struct {
	Steps []told
	Over  bool
	Next  int
}

// telling makes steps fit to be shown. before is the scene of the step before them.
func telling(steps []Step, before string) (all []told) {
	for _, s := range steps {
		t := told{Step: s, State: story.Note, Word: "Told", Opens: s.Scene != before}
		switch {
		case s.Odd:
			t.State, t.Word = story.Failed, "Went wrong"
		case s.Decision == story.Allow:
			t.State, t.Word = story.Allow, story.Words[story.Allow]
		case s.Decision == story.Deny:
			t.State, t.Word = story.Deny, "Stopped"
		}
		t.Scene, t.Actor, t.Did, t.Why, t.Prove = figure.Plain(s.Scene), figure.Plain(s.Actor), figure.Plain(s.Did), figure.Plain(s.Why), figure.Plain(s.Prove)
		all = append(all, t)
		before = s.Scene
	}
	return all
}

// noWait is a context that waits for nothing.
func noWait() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// demo shows the tale as far as it has come, and the feed of the rest.
func (c *Console) demo(w http.ResponseWriter, r *http.Request, s *visitor) {
	if c.cfg.Tale == nil {
		c.nowhere(w, r)
		return
	}
	steps, over := c.cfg.Tale(noWait(), 0)
	c.show(w, s, http.StatusOK, "demo", page{Title: "The demo", Here: "/demo", Body: tale{telling(steps, ""), over, len(steps)}})
}

// taleEvents is the feed of the demo's steps, as server-sent events. The event "over"
// says that there are no more.
func (c *Console) taleEvents(w http.ResponseWriter, r *http.Request, s *visitor) {
	if c.cfg.Tale == nil {
		c.nowhere(w, r)
		return
	}
	if !s.OpenStream() {
		c.fail(w, s, http.StatusTooManyRequests, "Too many live views", "This session has as many live views open as it may.", "close one of them")
		return
	}
	defer s.CloseStream()
	ctx, cancel := context.WithTimeout(r.Context(), s.Expires.Sub(c.cfg.Now()))
	defer cancel()
	go func() {
		select {
		case <-s.Gone():
			cancel()
		case <-ctx.Done():
		}
	}()
	w.Header().Set("Content-Type", "text/event-stream")
	f := feed{w: w, out: http.NewResponseController(w)}
	_ = f.out.SetReadDeadline(time.Time{}) // the request is read; a feed outlives the server's timeout
	f.write("retry: %d\n\n", retryAfter.Milliseconds())
	f.flush()
	c.tell(ctx, &f, resumeStep(r))
}

// tell writes the steps from one on, as they come.
func (c *Console) tell(ctx context.Context, f *feed, next int) {
	scene := ""
	if before, _ := c.cfg.Tale(noWait(), max(next-1, 0)); next > 0 && len(before) > 0 {
		scene = before[0].Scene
	}
	for f.err == nil && ctx.Err() == nil {
		within, cancel := context.WithTimeout(ctx, beat)
		steps, over := c.cfg.Tale(within, next)
		cancel()
		for _, t := range telling(steps, scene) {
			data, err := json.Marshal(t)
			if err != nil {
				return
			}
			f.write("id: %d\ndata: %s\n\n", t.Number, data)
			next, scene = t.Number+1, t.Scene
		}
		if over {
			f.say("over", "The demo is over.")
			return
		}
		f.write(": alive\n\n")
		f.flush()
	}
	f.say("over", "The session has ended.")
}

// resumeStep is the first step to send.
func resumeStep(r *http.Request) int {
	if last, err := strconv.Atoi(r.Header.Get("Last-Event-ID")); err == nil && last >= 0 {
		return last + 1
	}
	after, err := strconv.Atoi(r.URL.Query().Get("after"))
	if err != nil || after < 0 {
		return 0
	}
	return after
}
