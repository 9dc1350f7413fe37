package console

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/drift"
	"github.com/pavise/pavise/internal/figure"
	"github.com/pavise/pavise/internal/monitor"
	"github.com/pavise/pavise/internal/story"
	"github.com/pavise/pavise/internal/verbs"
)

// maxDrawn is how many features the page draws, those that moved most.
const maxDrawn = 24

// stages are how verdicts are shown: the state has the icon and the colour.
var stages = map[monitor.Stage]struct{ state, word string }{
	monitor.Stable: {story.Allow, "Stable"}, monitor.Learning: {"begun", "Learning"}, monitor.Suspected: {story.Alter, "Suspected"},
	monitor.Confirmed: {story.Deny, "Moved"}, monitor.Dismissed: {story.Note, "Dismissed"}, monitor.Broken: {story.Failed, "Broken"},
}

// causes are why a model has moved, for people.
var causes = map[monitor.Cause]string{
	drift.BadVersion: "a bad version", drift.Traffic: "other traffic", drift.Callers: "other traffic, by a few callers",
	drift.Walked: "a baseline that was walked", drift.Unclear: "not clear yet",
}

// A driftItem is how one model stands.
type driftItem struct {
	monitor.View
	State, Word string
	Cause       string // for people; "" where nothing moved
}

func newDriftItem(v monitor.View) driftItem {
	item := driftItem{View: v, State: stages[v.Verdict.Stage].state, Word: stages[v.Verdict.Stage].word, Cause: causes[v.Verdict.Cause]}
	if item.State == "" {
		item.State, item.Word = story.Note, figure.OneLine(string(v.Verdict.Stage), story.MaxName)
	}
	return item
}

// Address is that of the page of the model's drift.
func (i driftItem) Address() string { return driftAddress(i.Model.String()) }

func driftAddress(model string) string { return "/drift/of?" + url.Values{"model": {model}}.Encode() }

// LastSeen is when the model was asked last.
func (i driftItem) LastSeen() string {
	if i.Last.IsZero() {
		return "never since the start"
	}
	return figure.Minute(i.Last)
}

// Learned is how many rows came of those that a baseline is learnt from.
func (i driftItem) Learned() uint64 { return uint64(max(i.Learning, 0)) }

// Needed is how many rows a baseline takes.
func (i driftItem) Needed() uint64 { return uint64(max(i.Wanted, 0)) }

// Judged reports whether there is something to judge.
func (i driftItem) Judged() bool {
	return i.Verdict.Stage == monitor.Suspected || i.Verdict.Stage == monitor.Confirmed
}

// A driftPage is the body of the page of all models.
type driftPage struct {
	Items     []driftItem
	Unwatched uint64
}

// A driftOne is the body of the page of one model.
type driftOne struct {
	driftItem
	Window   string
	Courses  []driftCourse
	Features []driftFeature
	More     int // features that are not drawn
	Refusal  *refusal
	Reason   string // what somebody typed
	Dismiss  string // the commands that do the same
	Judge    string
}

// A driftCourse is how far inputs, or outputs, were from the baseline.
type driftCourse struct {
	Name string
	*figure.Course
}

// A driftFeature is one feature with the picture of it.
type driftFeature struct {
	monitor.FeatureView
	Shares *figure.Shares // nil: it is held to nothing
}

// drift shows how all models stand.
func (c *Console) drift(w http.ResponseWriter, r *http.Request, s *visitor) {
	var list monitor.List
	if err := s.client.Call(r.Context(), "drift.list", verbs.DriftList{}, &list); err != nil {
		c.refuse(w, s, err)
		return
	}
	body := driftPage{Unwatched: list.Unwatched}
	for _, v := range list.Models {
		body.Items = append(body.Items, newDriftItem(v))
	}
	c.show(w, s, http.StatusOK, "drift", page{Title: "Drift", Here: "/registry", Body: body})
}

// driftOf shows one model: its verdict, its windows and its features.
func (c *Console) driftOf(w http.ResponseWriter, r *http.Request, s *visitor) {
	c.showDrift(w, r, s, r.URL.Query(), http.StatusOK, nil)
}

func (c *Console) showDrift(w http.ResponseWriter, r *http.Request, s *visitor, asked url.Values, status int, refused *refusal) {
	var shown monitor.Shown
	model, err := pavise.ParseName(strings.TrimSpace(asked.Get("model")))
	if err == nil {
		err = s.client.Call(r.Context(), "drift.show", verbs.DriftRef{Model: model}, &shown)
	}
	if err != nil {
		c.refuse(w, s, err)
		return
	}
	body := driftOne{
		driftItem: newDriftItem(shown.View), Window: shown.Window, Courses: coursesOf(shown.Past), Refusal: refused, Reason: typedReason(asked),
		More:    max(0, len(shown.Features)-maxDrawn),
		Dismiss: c.cfg.Command("drift dismiss " + model.String() + " --reason TEXT"),
		Judge:   c.cfg.Command("drift verdict " + model.String() + " --cause traffic --reason TEXT"),
	}
	for _, f := range shown.Features[:len(shown.Features)-body.More] {
		body.Features = append(body.Features, newDriftFeature(f))
	}
	c.show(w, s, status, "driftone", page{Title: figure.OneLine(model.ID, story.MaxReason) + " · drift", Here: "/registry", Body: body})
}

// coursesOf draws how far the inputs and the outputs of each window were from the baseline.
func coursesOf(past []monitor.Window) []driftCourse {
	if len(past) == 0 {
		return nil
	}
	names, inputs, outputs := make([]string, len(past)), make([]float64, len(past)), make([]float64, len(past))
	for i, at := range past {
		names[i] = fmt.Sprintf("%s, %d rows of %s", figure.Minute(at.At), at.Rows, at.Version)
		inputs[i], outputs[i] = at.Inputs.Effect, at.Outputs.Effect
	}
	in, out := figure.NewCourse(names, inputs, 1), figure.NewCourse(names, outputs, 1)
	for i, at := range past { // what is far by chance alone, as it is of few rows, has not moved
		in.Points[i].Over, out.Points[i].Over = at.Inputs.Moved > 0, at.Outputs.Moved > 0
	}
	return []driftCourse{{"Inputs", in}, {"Outputs", out}}
}

func newDriftFeature(f monitor.FeatureView) driftFeature {
	if len(f.Was) == 0 {
		return driftFeature{f, nil}
	}
	names := f.Labels
	if len(names) != len(f.Was) {
		names = make([]string, len(f.Was))
		for i := range names {
			names[i] = fmt.Sprintf("step %d of %d", i+1, len(names))
		}
		names[0], names[len(names)-1] = "lowest", "highest"
	}
	return driftFeature{f, figure.NewShares(names, f.Was, f.Is)}
}

// judge takes what the form says: that nothing moved, or why something did. Only the form
// counts: the address of a link can say nothing here.
func (c *Console) judge(verb string) func(http.ResponseWriter, *http.Request, *visitor) {
	return func(w http.ResponseWriter, r *http.Request, s *visitor) {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if err := r.ParseForm(); err != nil {
			c.fail(w, s, http.StatusBadRequest, "That cannot be read", "The form is too long, or it broke off. Nothing was changed.", "open the page again: /drift")
			return
		}
		model, err := pavise.ParseName(strings.TrimSpace(r.PostForm.Get("model")))
		if err != nil {
			c.refuse(w, s, err)
			return
		}
		var said any = verbs.DriftDismiss{DriftRef: verbs.DriftRef{Model: model}, Reason: typedReason(r.PostForm)}
		if verb == "drift.verdict" {
			said = verbs.DriftVerdict{DriftRef: verbs.DriftRef{Model: model}, Cause: r.PostForm.Get("cause"), Reason: typedReason(r.PostForm)}
		}
		if err := s.client.Call(r.Context(), verb, said, nil); err != nil {
			c.showDrift(w, r, s, r.PostForm, pavise.KindOf(err).HTTPStatus(), newRefusal(err))
			return
		}
		http.Redirect(w, r, driftAddress(model.String()), http.StatusSeeOther)
	}
}

// toDrift leads back from the address of a form to the page that has it.
func (c *Console) toDrift(w http.ResponseWriter, r *http.Request, _ *visitor) {
	http.Redirect(w, r, "/drift", http.StatusSeeOther)
}
