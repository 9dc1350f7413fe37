package console

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/evidence"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/story"
)

// Bounds of one list: how many records one call asks for, how many calls look
// for rows that match, and how many rows a page holds.
const (
	window   = 500
	maxCalls = 4
	maxRows  = 100
)

// filters are the views of the list, in the order they are offered. The first
// is the default. What a person reads in the console is a record too; only the
// last two views show that.
var filters = []struct{ key, word string }{
	{"decisions", "Decisions"}, {"denied", "Denied"}, {"control", "Control"}, {"reads", "Reads"}, {"all", "All"},
}

// filterOf returns the request's filter.
func filterOf(r *http.Request) string {
	for _, f := range filters {
		if r.URL.Query().Get("show") == f.key {
			return f.key
		}
	}
	return filters[0].key
}

// matches reports whether a record belongs to a view.
func (c *Console) matches(filter string, r record.Record) bool {
	state := story.StateOf(r)
	control, verb := c.control[r.Kind]
	read := verb && !control && r.Kind != "model.infer"
	switch filter {
	case "denied":
		return state == story.Deny || state == story.Observed
	case "control":
		return control
	case "reads":
		return read
	case "all":
		return true
	}
	return state == story.Deny || !read && state != story.Begun
}

// A listing is the body of the live page.
type listing struct {
	Filter  string
	Tabs    []tab
	Rows    []story.Row // newest first
	Size    uint64      // of the log: what comes later comes by the feed
	Before  uint64      // the page shows records below it; 0: the newest
	Older   uint64      // the index below which older records lie; 0: there are none
	Allowed int
	Denied  int
	Seen    int // observed
	Rate    sparkline
	asked   bool // a row is about a model's answer
	Quiet   bool // no model was asked yet: show the newcomer how
	Hint    string
}

// A tab is one filter as it is offered.
type tab struct {
	Key, Word string
	Here      bool
}

// live shows the newest decisions, and the feed of those to come.
func (c *Console) live(w http.ResponseWriter, r *http.Request, s *visitor) {
	before, err := strconv.ParseUint(r.URL.Query().Get("before"), 10, 64)
	if err != nil {
		before = 0
	}
	list := listing{Filter: filterOf(r), Before: before, Hint: c.cfg.Hint}
	for _, f := range filters {
		list.Tabs = append(list.Tabs, tab{f.key, f.word, f.key == list.Filter})
	}
	if err := c.fill(r.Context(), s, &list); err != nil {
		c.refuse(w, s, err)
		return
	}
	list.Quiet = len(list.Rows) == 0 || list.Filter == filters[0].key && !list.asked && list.Before == 0 && list.Older == 0
	list.count(c.cfg.Now())
	c.show(w, s, http.StatusOK, "live", page{Title: "Live decisions", Here: "/", Body: list})
}

// fill looks for the newest matching records, going back a window at a time.
func (c *Console) fill(ctx context.Context, s *visitor, list *listing) error {
	below := list.Before
	for range maxCalls {
		answer, from, err := windowBelow(ctx, s.client, below)
		if err != nil {
			return err
		}
		list.Size = max(list.Size, answer.Size)
		for i := len(answer.Events) - 1; i >= 0; i-- {
			e := answer.Events[i]
			if below > 0 && e.Index >= below || !c.matches(list.Filter, e.Record) {
				continue
			}
			if len(list.Rows) == maxRows {
				list.Older = list.Rows[maxRows-1].Index
				return nil
			}
			list.Rows = append(list.Rows, story.NewRow(e))
			list.asked = list.asked || e.Record.Kind == "model.infer"
		}
		below, list.Older = from, from
		if from == 0 || len(list.Rows) >= maxRows/2 {
			return nil
		}
	}
	return nil
}

// windowBelow asks for the newest records below an index, or of all when that is 0,
// and returns the index below which the rest lies; 0: there is no more.
func windowBelow(ctx context.Context, client *api.Client, below uint64) (answer evidence.ListAnswer, from uint64, err error) {
	req := evidence.ListRequest{Limit: window}
	if below > 0 {
		req.Before = &below
	}
	err = client.Call(ctx, "ledger.list", req, &answer)
	if err == nil && answer.More && len(answer.Events) > 0 {
		from = answer.Events[0].Index
	}
	return answer, from, err
}

// count fills in the counters and the rate.
func (l *listing) count(now time.Time) {
	for _, r := range l.Rows {
		switch r.State {
		case story.Allow, story.Alter:
			l.Allowed++
		case story.Deny:
			l.Denied++
		case story.Observed:
			l.Seen++
		}
	}
	l.Rate = newSparkline(l.Rows, l.Older > 0, now)
}

// The size of a sparkline, in its own units.
const (
	buckets   = 60
	barPitch  = 6
	barHeight = 40
)

// A sparkline shows how many rows fell in each bucket of the last Span.
type sparkline struct {
	Span   time.Duration
	Word   string // the span, for people
	Bucket int64  // milliseconds
	Total  int    // rows within the span
	Bars   []bar  // oldest first
}

// A bar stacks what was denied on what was not. Y counts downwards.
type bar struct {
	X, Y, Height      int
	DenyY, DenyHeight int
}

// newSparkline counts rows. The span is the shortest that shows them all, or,
// when there are older ones than rows, the longest that they fill.
func newSparkline(rows []story.Row, older bool, now time.Time) sparkline {
	line := sparkline{Span: time.Minute, Word: "last minute"}
	age := time.Duration(0)
	if len(rows) > 0 {
		age = now.Sub(rows[len(rows)-1].At)
	}
	for _, s := range []sparkline{{Span: 5 * time.Minute, Word: "last 5 minutes"}, {Span: 15 * time.Minute, Word: "last 15 minutes"}} {
		if older && s.Span <= age || !older && line.Span < age {
			line = s
		}
	}
	width := line.Span / buckets
	line.Bucket = width.Milliseconds()
	end := now.Truncate(width).Add(width)
	var all, denied [buckets]int
	most := 4 // so that a single request is not a wall
	for _, r := range rows {
		i := buckets - 1 - int((end.Sub(r.At)-1)/width)
		if i < 0 || i >= buckets {
			continue
		}
		all[i]++
		line.Total++
		if r.State == story.Deny {
			denied[i]++
		}
		most = max(most, all[i])
	}
	for i := range all {
		high, deny := (all[i]*barHeight+most-1)/most, (denied[i]*barHeight+most-1)/most
		line.Bars = append(line.Bars, bar{X: i * barPitch, Y: barHeight - high, Height: high, DenyY: barHeight - high, DenyHeight: deny})
	}
	return line
}
