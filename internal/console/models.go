package console

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/deploy"
	"github.com/pavise/pavise/internal/figure"
	"github.com/pavise/pavise/internal/registry"
	"github.com/pavise/pavise/internal/story"
	"github.com/pavise/pavise/internal/verbs"
)

// The lengths of what a model's page lists; the rest is for the command.
const (
	maxVersions = 50
	maxSteps    = 100
	maxFiles    = 100
)

// lives are how states of a version are shown: the state has the icon and the colour.
var lives = map[registry.State]string{
	registry.Draft: "begun", registry.Proposed: "open", registry.Reviewed: "open", registry.Approved: story.Allow, registry.Published: story.Allow,
	registry.Canary: "ran", registry.Live: story.Allow, registry.Accepted: story.Allow, registry.Degraded: story.Alter,
	registry.RolledBack: "withdrawn", registry.Rejected: story.Deny, registry.Retired: "expired", registry.Quarantined: story.Deny,
}

// lifeWay is the states that a version goes through if all goes well.
var lifeWay = []registry.State{registry.Draft, registry.Proposed, registry.Reviewed, registry.Approved, registry.Published, registry.Canary, registry.Live}

// A station is one of them as it is drawn: where a version was, is, or has yet to come.
type station struct {
	Word string
	Mark string // "was", "is" or ""
}

// lifeLine draws how far a version has come. Where it left the way, it is drawn as far as it
// came, which is what it was before.
func lifeLine(v *registry.Version) (line []station) {
	state := v.State
	switch state {
	case registry.Quarantined:
		state = v.Was
	case registry.Degraded, registry.Accepted:
		state = registry.Live
	case registry.RolledBack: // from all calls, or from a share of them: it has neither now
		state = registry.Published
	}
	at := slices.Index(lifeWay, state)
	for i, s := range lifeWay {
		one := station{Word: string(s)}
		switch {
		case i < at && s != registry.Canary || i == at && v.State == registry.RolledBack: // not every version was a canary
			one.Mark = "was"
		case i == at:
			one.Mark = "is"
		}
		line = append(line, one)
	}
	return line
}

// stateWord is a state for people.
func stateWord(s registry.State) string {
	word := strings.ReplaceAll(string(s), "_", " ")
	return strings.ToUpper(word[:min(1, len(word))]) + word[min(1, len(word)):]
}

// A versionItem is one version of a model.
type versionItem struct {
	*registry.Version
	State, Word string
	Line        []station
}

func newVersionItem(v *registry.Version) versionItem {
	item := versionItem{v, lives[v.State], stateWord(v.State), lifeLine(v)}
	if item.State == "" {
		item.State = story.Note
	}
	return item
}

// Fileno is how many files it has.
func (i versionItem) Fileno() uint64 { return uint64(max(i.Count, 0)) }

// Address is that of the version's page.
func (i versionItem) Address() string { return modelAddress(i.Tenant, i.Ref.String()) }

// modelAddress is the address of a model's page, or of a version's, as NAME or NAME/N.
func modelAddress(tenant, ref string) string {
	return "/registry/of?" + url.Values{"model": {tenant + "/" + registry.Kind + "/" + ref}}.Encode()
}

// A modelItem is a model in the list.
type modelItem struct {
	registry.Model
	Versions []versionItem
}

// Address is that of the model's page.
func (i modelItem) Address() string { return modelAddress(i.Name.Tenant, i.Name.ID) }

// trouble is how much a model's worst version asks for somebody.
func (i modelItem) trouble() (most int) {
	for _, v := range i.Versions {
		most = max(most, map[registry.State]int{registry.Quarantined: 2, registry.Degraded: 1}[v.Version.State])
	}
	return most
}

// A modelsPage is the body of the page of all models.
type modelsPage struct {
	Items []modelItem
	More  int
}

// A modelPage is the body of the page of one model, or of one of its versions.
type modelPage struct {
	modelItem
	Older   int
	Steps   []stepItem // the newest first
	Earlier int        // steps that are not shown
	Served  []registry.Step
	At      string // until when; "" is now
	Refusal *refusal
	One     *versionItem // nil: the page is the model's
	Files   int          // of the version, that are not shown
	Places  []placeItem  // where it runs
	Might   []might      // who may do what is next
	Of      int          // with which version
	Command string
	May     string // the address of who may publish it
	Drift   string // the address of its drift
}

// A placeItem is one target, and what runs there.
type placeItem struct {
	Target, Kind string
	Version      string
	Share        string // of the calls, if others have a share
	State, Word  string
	Why          string
}

// A might is an act, and who may do it.
type might struct {
	Word    string
	Holders []string // roles, and who is named by a policy
	verb    string
}

// A stepItem is a step in the life of a version.
type stepItem struct {
	registry.Step
	State, Word string
}

// models shows the models that are known.
func (c *Console) models(w http.ResponseWriter, r *http.Request, s *visitor) {
	var list registry.List
	if err := s.client.Call(r.Context(), "model.list", verbs.ModelList{}, &list); err != nil {
		c.refuse(w, s, err)
		return
	}
	body := modelsPage{More: list.More}
	for _, m := range list.Models {
		body.Items = append(body.Items, newModelItem(m.Model, m.Versions))
	}
	slices.SortStableFunc(body.Items, func(a, b modelItem) int { return cmp.Compare(b.trouble(), a.trouble()) })
	c.show(w, s, http.StatusOK, "models", page{Title: "Models", Here: "/registry", Body: body})
}

func newModelItem(m registry.Model, versions []*registry.Version) modelItem {
	item := modelItem{Model: m}
	for _, v := range versions {
		item.Versions = append(item.Versions, newVersionItem(v))
	}
	return item
}

// model shows one model with its life, or one version with all that vouches for it.
func (c *Console) model(w http.ResponseWriter, r *http.Request, s *visitor) {
	asked := strings.TrimSpace(r.URL.Query().Get("model"))
	var shown registry.Shown
	if err := s.client.Call(r.Context(), "model.show", verbs.ModelShow{Model: asked}, &shown); err != nil {
		c.refuse(w, s, err)
		return
	}
	name := shown.Name.String()
	body := modelPage{modelItem: newModelItem(shown.Model, shown.Versions), Older: shown.Older, At: strings.TrimSpace(r.URL.Query().Get("at")),
		May:   "/access/ask?" + url.Values{"verb": {"model.publish"}, "on": {name}}.Encode(),
		Drift: driftAddress(name), Command: c.cfg.Command("model show " + shown.Name.ID)}
	title := shown.Name.ID
	if asked != name && asked != shown.Name.ID && len(body.Versions) == 1 {
		one := body.Versions[0]
		title = one.Ref.String()
		body.One, body.Command = &one, c.cfg.Command("model show "+title)
		files := *one.Version
		body.Files = max(0, len(files.Files)-maxFiles)
		files.Files = files.Files[:len(files.Files)-body.Files]
		body.One.Version = &files
	}
	body.Older += max(0, len(body.Versions)-maxVersions)
	body.Versions = body.Versions[:min(len(body.Versions), maxVersions)]
	c.life(r, s, &body)
	c.places(r, s, &body)
	if len(shown.Versions) > 0 { // the newest, or the one that the page is of
		body.Of, body.Might = shown.Versions[0].Ref.Version, c.might(r, s, shown.Versions[0])
	}
	c.show(w, s, http.StatusOK, "model", page{Title: figure.OneLine(title, story.MaxReason), Here: "/registry", Body: body})
}

// life adds what became of the model. Without it the page is shown with what the API said.
func (c *Console) life(r *http.Request, s *visitor, body *modelPage) {
	var h registry.History
	if err := s.client.Call(r.Context(), "model.history", verbs.ModelHistory{Name: body.Name, At: body.At}, &h); err != nil {
		body.Refusal = newRefusal(err)
		return
	}
	body.Served = h.Serving
	for _, step := range slices.Backward(h.Steps) {
		if body.One != nil && step.Version != body.One.Ref.Version {
			continue
		}
		if len(body.Steps) == maxSteps {
			body.Earlier++
			continue
		}
		item := stepItem{step, lives[step.To], stateWord(step.To)}
		switch {
		case step.Alias != "" && step.Version == 0:
			item.State, item.Word = story.Note, "Alias taken away"
		case step.Alias != "":
			item.State, item.Word = story.Note, "Alias given"
		}
		body.Steps = append(body.Steps, item)
	}
	body.Earlier += h.Earlier
}

// places adds where the model runs. Nothing is said of a model that runs nowhere.
func (c *Console) places(r *http.Request, s *visitor, body *modelPage) {
	var v deploy.View
	on := pavise.Name{Tenant: body.Name.Tenant, Kind: deploy.Kind, ID: body.Name.ID}
	if err := s.client.Call(r.Context(), "deploy.show", verbs.DeployRef{Name: on}, &v); err != nil {
		return // there is no deployment, or whoever looks may not see it
	}
	for _, spot := range v.Spots {
		item := placeItem{Target: spot.Target.ID, State: story.Allow, Word: "As wanted", Why: spot.Problem}
		switch {
		case v.Alarm != nil && v.Alarm.Target == spot.Target:
			item.State, item.Word, item.Why = story.Deny, "Alarm", "what ran there nobody approved: "+figure.Brief(v.Alarm.Ran)
		case spot.Problem != "":
			item.State, item.Word = story.Failed, "In trouble"
		case spot.Applied != spot.Revision:
			item.State, item.Word = story.Begun, "On its way"
		}
		if item.Version = "nothing"; spot.Main == nil {
			body.Places = append(body.Places, item)
		}
		for _, held := range []*deploy.Held{spot.Main, spot.Beside} {
			if held == nil {
				continue
			}
			one := item
			one.Version = strconv.Itoa(held.Version)
			if state, barred := v.Withheld[held.Version]; barred && item.State != story.Deny {
				one.State, one.Word = story.Deny, stateWord(registry.State(state))
			}
			if spot.Beside != nil {
				one.Share = shareOf(&spot, held == spot.Beside)
			}
			body.Places = append(body.Places, one)
		}
	}
}

// shareOf is which share of the calls one of two versions answers.
func shareOf(spot *deploy.Spot, beside bool) string {
	switch {
	case beside && spot.Shadow:
		return "hears the calls"
	case beside:
		return strconv.Itoa(spot.Weight) + " %"
	case spot.Shadow:
		return "answers all"
	}
	return strconv.Itoa(100-spot.Weight) + " %"
}

// nexts are what can become of a version by people's hands, by its state.
var nexts = map[registry.State][]might{
	registry.Draft: {{Word: "Propose", verb: "model.propose"}}, registry.Proposed: {{Word: "Review", verb: "model.review"}, {Word: "Reject", verb: "model.reject"}},
	registry.Reviewed: {{Word: "Publish", verb: "model.publish"}, {Word: "Reject", verb: "model.reject"}}, registry.Published: {{Word: "Retire", verb: "model.retire"}},
	registry.RolledBack: {{Word: "Retire", verb: "model.retire"}}, registry.Quarantined: {{Word: "Release", verb: "model.release"}},
}

// might asks who may do what can become of a version next. What the API does not say is left
// out.
func (c *Console) might(r *http.Request, s *visitor, v *registry.Version) (list []might) {
	acts := nexts[v.State]
	if v.State.Leads(registry.Quarantined) {
		acts = append(slices.Clone(acts), might{Word: "Quarantine", verb: "model.quarantine"})
	}
	for _, one := range acts {
		var can verbs.WhoCan
		if err := s.client.Call(r.Context(), "policy.who-can", verbs.WhoCanRequest{Verb: one.verb, On: v.Name()}, &can); err != nil {
			continue
		}
		for _, h := range can.Holders {
			if who := cmp.Or(h.Role, h.Name.ID); who != "" && !slices.Contains(one.Holders, who) {
				one.Holders = append(one.Holders, who)
			}
		}
		list = append(list, one)
	}
	return list
}
