package console

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/figure"
	"github.com/pavise/pavise/internal/story"
	"github.com/pavise/pavise/internal/theft"
	"github.com/pavise/pavise/internal/tier"
	"github.com/pavise/pavise/internal/verbs"
)

// maxTiers is how many standings the page shows, the strictest.
const maxTiers = 200

// tierStates are how tiers are shown: the state has the icon and the colour.
var tierStates = map[tier.Tier]struct{ state, word string }{
	tier.Green: {story.Allow, "Green"}, tier.Amber: {story.Alter, "Amber"}, tier.Red: {story.Deny, "Red"},
}

// A tierItem is how one caller stands at one model.
type tierItem struct {
	verbs.TierView
	State string // its icon and colour
	Word  string
	Left  string        // for how long yet; "" if not by itself, or no more
	Gauge *figure.Gauge // of the detector's score; nil: there is none
	Looks *figure.Looks // of its score at each look; nil: there was none
}

// Address is that of the page of the caller at the model.
func (i tierItem) Address() string { return tierAddress(i.Model.String(), i.Who.String()) }

// Held reports whether there is something to lift.
func (i tierItem) Held() bool { return i.Tier != tier.Green || i.By != (pavise.Name{}) }

// A tierPage is the body of the page of all who are not green.
type tierPage struct {
	Items  []tierItem
	More   int           // standings that are not shown
	Pushed uint64        // standings that were let go for want of room
	Unseen []tier.Unseen // what detectors did not see
	Fields []field
}

// A tierOne is the body of the page of one caller at one model.
type tierOne struct {
	tierItem
	Records []verbs.TierRecord
	Refusal *refusal // what came of a form that was just sent, if nothing did
	Typed   tierForm
	Lift    string // the command that does the same
	Hold    string
}

// A tierForm is what somebody typed.
type tierForm struct{ Tier, For, Reason string }

func tierAddress(model, caller string) string {
	return "/tiers/of?" + url.Values{"model": {model}, "caller": {caller}}.Encode()
}

func (c *Console) newTierItem(v verbs.TierView) tierItem {
	item := tierItem{TierView: v, State: tierStates[v.Tier].state, Word: tierStates[v.Tier].word, Left: left(v.Until.Sub(c.cfg.Now()))}
	if v.Until.IsZero() {
		item.Left = ""
	}
	if e := v.Evidence; e != nil {
		item.Gauge = figure.NewGauge(e.Score, e.Threshold)
		if e.Looked > 0 {
			after := theft.Looks()
			item.Looks = figure.NewLooks(after[:], e.Scores[:], e.Looked, e.Threshold)
		}
	}
	return item
}

// tiers shows who is amber or red at which model.
func (c *Console) tiers(w http.ResponseWriter, r *http.Request, s *visitor) {
	var list verbs.TierViews
	if err := s.client.Call(r.Context(), "tier.list", verbs.TierList{}, &list); err != nil {
		c.refuse(w, s, err)
		return
	}
	body := tierPage{More: list.More + max(0, len(list.Tiers)-maxTiers), Pushed: list.Pushed, Unseen: list.Unseen, Fields: []field{
		{Key: "model", Word: "Model", Example: "local/model/threat-detector", About: "tenant/model/id", Value: r.URL.Query().Get("model")},
		{Key: "caller", Word: "Caller", Example: "local/workload/demo", About: "tenant/kind/id", Value: r.URL.Query().Get("caller")},
	}}
	for _, v := range list.Tiers[:min(len(list.Tiers), maxTiers)] {
		body.Items = append(body.Items, c.newTierItem(v))
	}
	c.show(w, s, http.StatusOK, "tiers", page{Title: "Callers held to a tier", Here: "/access", Body: body})
}

// tierOf shows how one caller stands at one model, and the records that this stands on.
func (c *Console) tierOf(w http.ResponseWriter, r *http.Request, s *visitor) {
	c.showTier(w, r, s, r.URL.Query(), http.StatusOK, nil)
}

func (c *Console) showTier(w http.ResponseWriter, r *http.Request, s *visitor, asked url.Values, status int, refused *refusal) {
	var shown verbs.TierShown
	ref, err := tierRef(asked)
	if err == nil {
		err = s.client.Call(r.Context(), "tier.show", ref, &shown)
	}
	if err != nil {
		c.refuse(w, s, err)
		return
	}
	body := tierOne{
		tierItem: c.newTierItem(shown.TierView), Records: shown.Records, Refusal: refused,
		Typed: tierForm{asked.Get("tier"), asked.Get("for"), typedReason(asked)},
		Lift:  c.cfg.Command("tier lift " + ref.Model.String() + " " + ref.Caller.String() + " --reason TEXT"),
		Hold:  c.cfg.Command("tier hold " + ref.Model.String() + " " + ref.Caller.String() + " --tier amber --reason TEXT"),
	}
	if body.Typed.For == "" {
		body.Typed.For = "24h"
	}
	c.show(w, s, status, "tier", page{Title: figure.OneLine(ref.Caller.ID+" at "+ref.Model.ID, story.MaxReason), Here: "/access", Body: body})
}

// tierRef reads whom the address or a form is about.
func tierRef(asked url.Values) (ref verbs.TierRef, err error) {
	for _, one := range []struct {
		key string
		to  *pavise.Name
	}{{"model", &ref.Model}, {"caller", &ref.Caller}} {
		if *one.to, err = pavise.ParseName(strings.TrimSpace(asked.Get(one.key))); err != nil {
			return ref, err
		}
	}
	return ref, nil
}

func typedReason(form url.Values) string {
	return strings.TrimSpace(strings.ReplaceAll(form.Get("reason"), "\r\n", "\n"))
}

// setTier lifts, or holds, with what the form says. Only the form counts: the address of
// a link can say nothing here.
func (c *Console) setTier(verb string) func(http.ResponseWriter, *http.Request, *visitor) {
	return func(w http.ResponseWriter, r *http.Request, s *visitor) {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if err := r.ParseForm(); err != nil {
			c.fail(w, s, http.StatusBadRequest, "That cannot be read", "The form is too long, or it broke off. Nothing was changed.", "open the page again: /tiers")
			return
		}
		ref, err := tierRef(r.PostForm)
		if err != nil {
			c.refuse(w, s, err)
			return
		}
		var req any = verbs.TierLift{TierRef: ref, Reason: typedReason(r.PostForm)}
		if verb == "tier.hold" {
			req = verbs.TierHold{Model: ref.Model, Caller: ref.Caller, Tier: r.PostForm.Get("tier"), Reason: typedReason(r.PostForm), For: strings.TrimSpace(r.PostForm.Get("for"))}
		}
		if err := s.client.Call(r.Context(), verb, req, nil); err != nil {
			c.showTier(w, r, s, r.PostForm, pavise.KindOf(err).HTTPStatus(), newRefusal(err))
			return
		}
		http.Redirect(w, r, tierAddress(ref.Model.String(), ref.Caller.String()), http.StatusSeeOther)
	}
}

// toTiers leads from the address that a form was sent to, to the tiers: people reload
// pages.
func (c *Console) toTiers(w http.ResponseWriter, r *http.Request, _ *visitor) {
	http.Redirect(w, r, "/tiers", http.StatusSeeOther)
}
