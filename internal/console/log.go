package console

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/archive"
	"github.com/pavise/pavise/internal/evidence"
	feeds "github.com/pavise/pavise/internal/feed"
	"github.com/pavise/pavise/internal/figure"
	"github.com/pavise/pavise/internal/story"
	"github.com/pavise/pavise/internal/witness"
)

// A section is a part of a page that has a verb of its own: what it answers, or why
// it does not. The rest of the page does without.
type section[T any] struct {
	Data    T
	Refusal *refusal
	err     error
}

// ask fills a section.
func ask[T any](ctx context.Context, s *visitor, verb string) (part section[T]) {
	if part.err = s.client.Call(ctx, verb, api.Empty{}, &part.Data); part.err != nil {
		part.Refusal = newRefusal(part.err)
	}
	return part
}

// A logPage is the body of the log's page.
type logPage struct {
	Status    section[logState]
	Followers section[followers]
	Archive   section[archived]
	Witness   section[evidence.WitnessList]
	Subjects  section[evidence.SubjectCount]
	Verify    string
}

// A logState is the state of the log.
type logState struct {
	evidence.LogStatus
	now time.Time
}

// Behind is how many records no signed head covers yet.
func (l logState) Behind() uint64 { return l.Records - min(l.Records, l.Signed) }

// Unseen is how many of the published records no quorum of witnesses has seen.
func (l logState) Unseen() uint64 {
	if l.Witnessed == nil {
		return 0
	}
	return l.Published - min(l.Published, l.Witnessed.Records)
}

// Watchers returns the witnesses as they are shown.
func (l logState) Watchers() []watcher {
	var all []watcher
	if l.Witnessed == nil {
		return nil
	}
	for _, w := range l.Witnessed.Witnesses {
		all = append(all, newWatcher(w, l.Published, l.now))
	}
	return all
}

// A watcher is one witness of this log.
type watcher struct {
	witness.Status
	State, Word string
	Ahead       string // how far its clock is from ours, when that is worth a word
}

// How far a witness's clock may be off, and how old its word may be, without a word
// about that: its times are in whole seconds, and it is asked every few of them.
const (
	skewWorth = 2 * time.Second
	lateWorth = time.Minute
)

func newWatcher(w witness.Status, published uint64, now time.Time) watcher {
	seen := watcher{Status: w, State: story.Allow, Word: "Watches"}
	switch {
	case w.Problem != "":
		seen.State, seen.Word = story.Failed, "In trouble"
	case w.Size == 0:
		seen.State, seen.Word = story.Begun, "Has not answered yet"
	case w.Size < published && now.Sub(w.At) > lateWorth:
		seen.State, seen.Word = story.Failed, "Behind"
	}
	if w.Skew > skewWorth {
		seen.Ahead = figure.Span(w.Skew.Round(time.Second)) + " ahead of ours"
	} else if w.Skew < -skewWorth {
		seen.Ahead = figure.Span(-w.Skew.Round(time.Second)) + " behind ours"
	}
	return seen
}

// followers are those who follow the log under a name.
type followers struct {
	Followers []follower `json:"followers"`
}

// A follower is one of them.
type follower struct{ feeds.Backlog }

// Wants says in words which records it follows.
func (f follower) Wants() []string {
	var all []string
	for _, one := range []struct{ what, value string }{
		{"by ", f.Filter.Who}, {"on ", f.Filter.On}, {"of subject ", f.Filter.Subject}, {"that ended in ", f.Filter.Ending},
	} {
		if one.value != "" {
			all = append(all, one.what+one.value)
		}
	}
	return append(append([]string{}, f.Filter.Kinds...), all...)
}

// Age is how old the oldest record is that it has before it.
func (f follower) Age() string { return figure.Lasted(f.Lag) }

// archived is what was archived.
type archived struct{ evidence.ArchiveList }

// Here is how many of the segments are on this machine too.
func (a archived) Here() (n int) {
	for _, s := range a.Segments {
		if s.Here {
			n++
		}
	}
	return n
}

// Bytes is how much was archived.
func (a archived) Bytes() (n int64) {
	for _, s := range a.Segments {
		n += s.Bytes
	}
	return n
}

// Until is the record before which all were archived.
func (a archived) Until() uint64 {
	if len(a.Segments) == 0 {
		return 0
	}
	last := a.Segments[len(a.Segments)-1]
	return last.First + last.Count
}

// Kept returns the classes of retention in words.
func (a archived) Kept() []kept {
	var all []kept
	for _, c := range a.Classes {
		k := kept{Class: c, Here: "for ever", There: "no lock"}
		if c.Online > 0 {
			k.Here = figure.Days(c.Online)
		}
		if c.Keep > 0 {
			k.There = figure.Days(c.Keep)
		}
		all = append(all, k)
	}
	return all
}

// kept is a class of retention in words.
type kept struct {
	archive.Class
	Here, There string
}

// log shows the state of the evidence log, and of all that looks after it. Its parts
// are asked for at once, and each that is refused says so in its place.
func (c *Console) log(w http.ResponseWriter, r *http.Request, s *visitor) {
	p := logPage{Verify: c.cfg.Verify}
	var all sync.WaitGroup
	all.Go(func() { p.Status = ask[logState](r.Context(), s, "ledger.status") })
	all.Go(func() { p.Followers = ask[followers](r.Context(), s, "ledger.followers") })
	all.Go(func() { p.Archive = ask[archived](r.Context(), s, "archive.list") })
	all.Go(func() { p.Witness = ask[evidence.WitnessList](r.Context(), s, "witness.list") })
	all.Go(func() { p.Subjects = ask[evidence.SubjectCount](r.Context(), s, "subject.list") })
	all.Wait()
	p.Status.Data.now = c.cfg.Now()
	away := 0
	errs := []error{p.Status.err, p.Followers.err, p.Archive.err, p.Witness.err, p.Subjects.err}
	for _, err := range errs {
		switch {
		case err == nil:
		case pavise.KindOf(err) == pavise.Unverified:
			c.refuse(w, s, err)
			return
		case pavise.KindOf(err) == pavise.Unavailable:
			away++
		}
	}
	if away == len(errs) {
		c.refuse(w, s, errs[0])
		return
	}
	c.show(w, s, http.StatusOK, "log", page{Title: "Evidence log", Here: "/evidence", Body: p})
}
