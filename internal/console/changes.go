package console

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/figure"
	"github.com/pavise/pavise/internal/story"
	"github.com/pavise/pavise/internal/verbs"
)

// Bounds of the inbox.
const (
	maxEnded     = 50               // changes that wait no more, on the page
	maxForm      = 64 << 10         // bytes of a form
	countEvery   = 10 * time.Second // how old the number in the navigation may be
	countWithin  = 2 * time.Second  // how long a page waits for that number
	maxPips      = 16               // of a rule, at most
	maxWaitShown = 99
)

// The states a change is shown in, beside those of a record.
const (
	stateOpen      = "open"
	stateRan       = "ran"
	stateWithdrawn = "withdrawn"
	stateExpired   = "expired"
	stateVoid      = "void"
	stateContested = "contested"
)

// changeStates say each state of a change as an icon and in words.
var changeStates = map[change.State]struct{ state, word string }{
	change.Open:      {stateOpen, "Waits for approval"},
	change.Ran:       {stateRan, "Ran first, waits for approval"},
	change.Approved:  {story.Begun, "Approved, about to run"},
	change.Running:   {story.Begun, "Running"},
	change.Done:      {story.Allow, "Done"},
	change.Failed:    {story.Failed, "Failed"},
	change.Denied:    {story.Deny, "Denied"},
	change.Withdrawn: {stateWithdrawn, "Withdrawn"},
	change.Expired:   {stateExpired, "Expired"},
	change.Void:      {stateVoid, "Void"},
	change.Contested: {stateContested, "Contested"},
}

// A changeItem is one change as a list shows it.
type changeItem struct {
	Change  api.ChangeView
	State   string // its icon and colour
	Word    string
	Summary string
	Thing   string
	Waits   bool
	Left    string // for how long votes count yet; "" when they no longer do
	Pips    []bool // one for each approval it takes: is it there?
}

func newChangeItem(v api.ChangeView, now time.Time) changeItem {
	shown, known := changeStates[v.State]
	if !known {
		shown.state, shown.word = story.Note, figure.OneLine(string(v.State), story.MaxName)
	}
	item := changeItem{
		Change: v, State: shown.state, Word: shown.word, Waits: v.State.Waits(), Left: left(v.Until.Sub(now)),
		Summary: headline(v.Plan.Summary), Thing: strings.TrimPrefix(v.On.String(), v.Name.Tenant+"/"),
	}
	for i := range min(max(v.Need, 0), maxPips) {
		item.Pips = append(item.Pips, i < v.Have)
	}
	return item
}

// Short is the first digits of the change's digest.
func (i changeItem) Short() string { return figure.Clip(i.Change.Digest, 9) }

// headline is a sentence without its full stop.
func headline(text string) string {
	if text == "" {
		return "A change without a summary"
	}
	return strings.TrimSuffix(figure.Sentence(text), ".")
}

// left says how long something lasts yet, as people do.
func left(d time.Duration) string {
	switch {
	case d <= 0:
		return ""
	case d < 2*time.Minute:
		return "for less than two minutes"
	case d < 2*time.Hour:
		return fmt.Sprintf("for another %d minutes", d.Round(time.Minute)/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("for another %d hours", d.Round(time.Hour)/time.Hour)
	}
	return fmt.Sprintf("for another %d days", d.Round(24*time.Hour)/(24*time.Hour))
}

// An inbox is the body of the page of changes.
type inbox struct {
	Waiting []changeItem
	Ended   []changeItem
	More    bool // there are other changes that wait no more
}

// changes shows those that wait for votes, and then those that did.
func (c *Console) changes(w http.ResponseWriter, r *http.Request, s *visitor) {
	var waiting, all verbs.ChangeList
	err := s.client.Call(r.Context(), "change.list", verbs.ChangeListRequest{Waiting: true}, &waiting)
	if err == nil {
		err = s.client.Call(r.Context(), "change.list", verbs.ChangeListRequest{}, &all)
	}
	if err != nil {
		c.refuse(w, s, err)
		return
	}
	s.Count(len(waiting.Changes), c.cfg.Now())
	var box inbox
	for _, v := range waiting.Changes {
		box.Waiting = append(box.Waiting, newChangeItem(v, c.cfg.Now()))
	}
	for _, v := range all.Changes {
		if v.State.Waits() {
			continue
		}
		if box.More = len(box.Ended) == maxEnded; box.More {
			break
		}
		box.Ended = append(box.Ended, newChangeItem(v, c.cfg.Now()))
	}
	c.show(w, s, http.StatusOK, "changes", page{Title: "Changes", Here: "/changes", Body: box})
}

// A changePage is the body of one change's page.
type changePage struct {
	changeItem
	Steps   []changeStep
	Depends []dependence
	Preview preview
	Offer   offer
	Refusal *refusal // what came of the vote that was just sent, if nothing did
	Typed   string   // the reason that was sent with it
	Command string   // how the same is approved in a terminal
}

// A changeStep is one station of a change's story.
type changeStep struct {
	story.Step
	At     time.Time
	Record *uint64 // the record that proves it
}

// A dependence is something that a change depends on, with its digest.
type dependence struct{ What, Digest string }

// An offer is what a page lets its reader do about a change, and why not more.
type offer struct {
	Approve, Deny, Withdraw bool
	Why                     string
}

// change shows one change whole.
func (c *Console) change(w http.ResponseWriter, r *http.Request, s *visitor) {
	c.showChange(w, r, s, http.StatusOK, nil, "")
}

// back leads from the address that a vote was sent to, to the change itself: people
// reload pages.
func (c *Console) back(w http.ResponseWriter, r *http.Request, s *visitor) {
	if id, ok := c.changeID(w, r, s); ok {
		http.Redirect(w, r, "/changes/"+id, http.StatusSeeOther)
	}
}

// showChange shows the change that the path names, with what came of a vote on it.
func (c *Console) showChange(w http.ResponseWriter, r *http.Request, s *visitor, status int, refused *refusal, typed string) {
	id, ok := c.changeID(w, r, s)
	if !ok {
		return
	}
	var v api.ChangeView
	if err := s.client.Call(r.Context(), "change.show", verbs.ChangeRequest{ID: id}, &v); err != nil {
		c.refuse(w, s, err)
		return
	}
	p := changePage{changeItem: newChangeItem(v, c.cfg.Now()), Steps: storyOf(v), Preview: newPreview(v), Offer: s.offers(v), Refusal: refused, Typed: typed}
	p.Command = c.cfg.Command(fmt.Sprintf("change approve %s %s", id, v.Digest))
	for _, what := range slices.Sorted(maps.Keys(v.Plan.Digests)) {
		p.Depends = append(p.Depends, dependence{what, v.Plan.Digests[what]})
	}
	slices.Reverse(p.Depends) // what was before, before what comes after
	c.show(w, s, status, "change", page{Title: "Change " + figure.OneLine(id, story.MaxName), Here: "/changes", Body: p})
}

// changeID returns the id in the path, or says that it is none.
func (c *Console) changeID(w http.ResponseWriter, r *http.Request, s *visitor) (string, bool) {
	id := r.PathValue("id")
	if (pavise.Name{Tenant: "t", Kind: "change", ID: id}).Validate() != nil {
		c.fail(w, s, http.StatusNotFound, "Not found", "A change is known by its id, such as c-k3v9xyz.", "/changes lists those there are")
		return "", false
	}
	return id, true
}

// offers is what the session's person may try. Whether they may is for the API to
// say; this spares them what cannot work.
func (s *visitor) offers(v api.ChangeView) offer {
	mine := s.Is(v.Proposer.Name())
	switch {
	case !v.State.Waits():
		return offer{}
	case slices.ContainsFunc(v.Votes, func(vote change.Vote) bool { return s.Is(vote.By) }):
		return offer{Why: "You have voted. Somebody else's vote is wanted."}
	case mine && v.State == change.Open:
		return offer{Withdraw: true, Why: "You proposed this, and nobody approves their own: let somebody else look at it. Until they have, you can take it back."}
	case mine:
		return offer{Deny: true, Why: "You proposed this, and nobody approves their own: let somebody else look at it."}
	}
	return offer{Approve: true, Deny: true, Withdraw: s.Holder.ID == "" && v.State == change.Open}
}

// vote does one of the verbs by which people decide, with what the form says. Only
// the form counts: the address of a link can say nothing here.
func (c *Console) vote(verb string) func(http.ResponseWriter, *http.Request, *visitor) {
	return func(w http.ResponseWriter, r *http.Request, s *visitor) {
		id, ok := c.changeID(w, r, s)
		if !ok {
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if err := r.ParseForm(); err != nil {
			c.fail(w, s, http.StatusBadRequest, "That cannot be read", "The form is too long, or it broke off. Nothing was decided.", "open the change again: /changes/"+id)
			return
		}
		reason := strings.TrimSpace(strings.ReplaceAll(r.PostForm.Get("reason"), "\r\n", "\n"))
		var req any = verbs.VoteRequest{ID: id, Digest: r.PostForm.Get("digest"), Reason: reason}
		if verb == "change.withdraw" {
			req = verbs.ChangeRequest{ID: id}
		}
		err := s.client.Call(r.Context(), verb, req, nil)
		s.Count(0, time.Time{})
		if err != nil {
			c.showChange(w, r, s, pavise.KindOf(err).HTTPStatus(), newRefusal(err), reason)
			return
		}
		http.Redirect(w, r, "/changes/"+id, http.StatusSeeOther)
	}
}

// storyOf tells what happened to a change, in order.
func storyOf(v api.ChangeView) []changeStep {
	proposed := "by " + v.Proposer.Name().String()
	if v.Reason != "" {
		proposed += ": " + v.Reason
	}
	steps := []changeStep{{story.Step{State: story.Allow, Title: "Proposed", Text: proposed}, v.Proposed, &v.Record}}
	switch {
	case v.Glass != nil:
		steps = append(steps, changeStep{story.Step{State: stateRan, Title: "Run through the glass", Text: "before anybody approved it, for ticket " + v.Glass.Ticket + ": " + v.Glass.Reason}, v.Glass.At, &v.Glass.Record})
	case v.State == change.Ran:
		steps = append(steps, changeStep{Step: story.Step{State: stateRan, Title: "Run at once", Text: "it leads only to more safety, and is approved afterwards"}})
	}
	for _, vote := range v.Votes {
		s := changeStep{story.Step{State: story.Allow, Title: "Approved", Text: "by " + vote.By.String()}, vote.At, &vote.Record}
		if !vote.Yes {
			s.State, s.Title = story.Deny, "Denied"
		}
		if o := vote.Origin; o != nil {
			s.Text += ", on " + o.Ticket + " in " + o.Tool
		}
		if vote.Reason != "" {
			s.Text += ": " + vote.Reason
		}
		steps = append(steps, s)
	}
	shown := changeStates[v.State]
	switch {
	case v.State.Waits():
		steps = append(steps, changeStep{Step: story.Step{State: stateOpen, Title: "Waits for " + approvals(v.Need-v.Have), Text: "votes count until " + figure.Minute(v.Until)}})
	case v.State != change.Denied && shown.state != "": // who denied it has said so
		steps = append(steps, changeStep{story.Step{State: shown.state, Title: shown.word, Text: v.Outcome}, v.Ended, nil})
	}
	return steps
}

// approvals counts them in words.
func approvals(n int) string {
	if n == 1 {
		return "one more approval"
	}
	return fmt.Sprintf("%d more approvals", max(n, 0))
}

// counting keeps the number of waiting changes in the navigation fresh. A page is
// shown without it when the API does not say.
func (c *Console) counting(next func(http.ResponseWriter, *http.Request, *visitor)) func(http.ResponseWriter, *http.Request, *visitor) {
	return func(w http.ResponseWriter, r *http.Request, s *visitor) {
		if _, asked := s.Waiting(); c.cfg.Now().Sub(asked) >= countEvery {
			ctx, cancel := context.WithTimeout(r.Context(), countWithin)
			defer cancel()
			var list verbs.ChangeList
			_ = s.client.Call(ctx, "change.list", verbs.ChangeListRequest{Waiting: true}, &list)
			s.Count(len(list.Changes), c.cfg.Now())
		}
		next(w, r, s)
	}
}

// waitingShown is the number in the navigation, or "" when there is none to show.
func (s *visitor) waitingShown() string {
	switch n, _ := s.Waiting(); {
	case n == 0:
		return ""
	case n > maxWaitShown:
		return fmt.Sprintf("%d+", maxWaitShown)
	default:
		return fmt.Sprint(n)
	}
}
