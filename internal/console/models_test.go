package console

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/deploy"
	"github.com/pavise/pavise/internal/policy"
	"github.com/pavise/pavise/internal/registry"
	"github.com/pavise/pavise/internal/verbs"
)

var (
	ana = pavise.Name{Tenant: "local", Kind: pavise.Human, ID: "ana"}
	ben = pavise.Name{Tenant: "local", Kind: pavise.Human, ID: "ben"}
)

// fraud is a model with a version that is live and one that waits to be reviewed.
func fraud() (model registry.Model, versions []*registry.Version) {
	model = registry.Model{Name: pavise.Name{Tenant: "local", Kind: registry.Kind, ID: "fraud"}, Risk: "high", Tags: map[string]string{"pavise.risk": "high"}, Description: "says whether a payment is one", By: ana, Created: began, Newest: 2, Aliases: map[string]int{"champion": 1}}
	live := &registry.Version{
		Ref: registry.Ref{Model: "fraud", Version: 1}, Tenant: "local", State: registry.Live, Since: began, Risk: "high", Intake: registry.Ready, Digest: registry.Digest{1}, Bytes: 2048, Count: 2,
		Files:       []registry.File{{Path: "model.onnx", Size: 2000, Digest: registry.Digest{2}}, {Path: "card.md", Size: 48, Digest: registry.Digest{3}}},
		Scan:        &registry.Scan{Verdict: "clean"},
		Signature:   &registry.Signature{Mode: "key", By: "ab12", Signer: "release-key"},
		House:       &registry.House{Key: "cd34", At: began},
		Datasets:    []registry.Seal{{Name: pavise.Name{Tenant: "local", Kind: "dataset", ID: "payments"}, Root: strings.Repeat("c", 64)}},
		Evaluations: []registry.Evidence{{Result: registry.Pass, Summary: "AUC 0.97", Metrics: map[string]float64{"auc": 0.97}, Tool: "sklearn", By: ben, Record: 12}},
		Attacks:     []registry.Evidence{{Result: registry.Fail, Summary: "copied in 500 rows", Tool: "redteam", By: ben, Record: 13, Stale: true}},
		Aliases:     []string{"champion"}, Creator: ana, Created: began, Proposer: ana, Reviewers: []pavise.Name{ben}, Change: pavise.Name{Tenant: "local", Kind: "change", ID: "c-pub"},
	}
	next := &registry.Version{Ref: registry.Ref{Model: "fraud", Version: 2}, Tenant: "local", State: registry.Proposed, Since: began, Intake: registry.Ready, Creator: ana, Created: began}
	return model, []*registry.Version{next, live}
}

// The list of models has each with how far its versions have come.
func TestModelsPage(t *testing.T) {
	s := newStand(t).signIn()
	if _, body := s.get("/registry"); !strings.Contains(text(body), "No model is registered") {
		t.Error("there is none, and the page does not say so")
	}
	model, versions := fraud()
	s.api.models = registry.List{Models: []registry.Listed{{Model: model, Versions: versions}}, More: 3}
	resp, body := s.get("/registry")
	checkHeaders(t, "/registry", resp, body)
	said := text(body)
	for _, want := range []string{"fraud local/model/fraud", "high risk", "champion = 1", "says whether a payment is one", "Version 2 Proposed since", "Version 1 champion Live since", "and 3 more"} {
		if !strings.Contains(said, want) {
			t.Errorf("the page does not say %q:\n%s", want, said)
		}
	}
	if strings.Count(body, `<li class="is" aria-current="step">proposed</li>`) != 1 || strings.Count(body, `<li class="is" aria-current="step">live</li>`) != 1 || strings.Count(body, `<li class="was">`) != 1+5 {
		t.Errorf("how far they have come is not drawn:\n%s", body)
	}
	if !strings.Contains(body, `href="/registry/of?model=local%2Fmodel%2Ffraud%2F1"`) {
		t.Error("nothing leads to a version")
	}
}

// A model's page has its life, where it runs, and who may; a version's has all that vouches
// for it.
func TestModelPage(t *testing.T) {
	s := newStand(t).signIn()
	model, versions := fraud()
	s.api.shown = map[string]registry.Shown{"local/model/fraud": {Model: model, Versions: versions}, "local/model/fraud/1": {Model: model, Versions: versions[1:]}}
	s.api.life = registry.History{Model: model.Name, Steps: []registry.Step{
		{At: began, Version: 1, To: registry.Draft, By: ana, Record: 4},
		{At: began.Add(time.Minute), Version: 1, From: registry.Draft, To: registry.Proposed, By: ana, Record: 6},
		{At: began.Add(time.Hour), Version: 1, From: registry.Canary, To: registry.Live, Why: "every target has it"},
		{At: began.Add(2 * time.Hour), Version: 2, To: registry.Draft, By: ana, Record: 9},
		{At: began.Add(3 * time.Hour), Version: 1, Alias: "champion", By: ben, Change: pavise.Name{Tenant: "local", Kind: "change", ID: "c-al"}, Record: 11},
	}, Serving: []registry.Step{{At: began, Version: 1, To: registry.Live}}}
	s.api.whoCan = verbs.WhoCan{Holders: []policy.Holder{{Kind: pavise.Human, Role: "model-reviewer"}, {Kind: pavise.Workload, Role: "model-reviewer"}}}
	gate, edge := pavise.Name{Tenant: "local", Kind: "target", ID: "gate"}, pavise.Name{Tenant: "local", Kind: "target", ID: "till"}
	s.api.runs = &deploy.View{Deployment: deploy.Deployment{Spots: []deploy.Spot{
		{Target: gate, Main: &deploy.Held{Version: 1}, Beside: &deploy.Held{Version: 2}, Weight: 10, Revision: 3, Applied: 3},
		{Target: edge, Main: &deploy.Held{Version: 1}, Revision: 3, Applied: 2, Problem: "it cannot be reached"},
		{Target: pavise.Name{Tenant: "local", Kind: "target", ID: "desk"}, Revision: 3, Applied: 3},
	}}}
	resp, body := s.get("/registry/of?model=local/model/fraud&at=2026-03-04")
	checkHeaders(t, "/registry/of", resp, body)
	said := text(body)
	for _, want := range []string{
		"Alias given champion 1 change proposed by ben human", "Live 1 every target has it a deployment", "Draft 2 ana human",
		"Version 1 was live then", "gate 1 90 % As wanted", "gate 2 10 % As wanted", "till 1 In trouble it cannot be reached", "desk nothing As wanted", "Who may what next version 2 Review model-reviewer Reject model-reviewer Quarantine model-reviewer", "Who may publish it", "pavise model show fraud",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("the page does not say %q:\n%s", want, said)
		}
	}
	if s.api.since.At != "2026-03-04" || s.api.since.Name != model.Name {
		t.Errorf("asked for its life until %+v", s.api.since)
	}
	if !strings.Contains(body, `<dt class="key">pavise.risk</dt>`) || !strings.Contains(body, `<dt class="key">champion</dt>`) {
		t.Error("the key of a tag, or an alias, is written otherwise than it is")
	}
	if !strings.Contains(body, `href="/trail/11"`) || !strings.Contains(body, `href="/changes/c-al"`) {
		t.Error("a step does not lead to its record, or to its change")
	}
	s.api.runs.Withheld = map[int]string{1: "quarantined"}
	_, body = s.get("/registry/of?model=local/model/fraud")
	if said := text(body); !strings.Contains(said, "gate 1 90 % Quarantined") || !strings.Contains(said, "gate 2 10 % As wanted") {
		t.Errorf("a version that the registry bars is shown as wanted:\n%s", said)
	}
	resp, body = s.get("/registry/of?model=local/model/fraud/1")
	checkHeaders(t, "/registry/of", resp, body)
	said = text(body)
	for _, want := range []string{
		"Live fraud version 1", "2, 2.0 KiB", "clean", "Signed by its producer release-key , key ab12", "Signed here 2026-03-04 09:30 UTC: its files are those that were looked at. By the key cd34", "payments cccccccc", "not known here", "Evaluations Result Made with Says By pass sklearn AUC 0.97 auc 0.97 ben",
		"Attacks on it Result Made with Says By fail of other files redteam copied in 500 rows", "model.onnx", "c-pub", "pavise model show fraud/1",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("the version's page does not say %q:\n%s", want, said)
		}
	}
	if !strings.Contains(body, `href="/search?on=local%2fdataset%2fpayments"`) || !strings.Contains(body, `href="/routes#fraud"`) {
		t.Error("a version does not lead to what it was trained on, or to its route")
	}
	if strings.Contains(said, "Draft 2") {
		t.Error("the version's page tells of another version")
	}
	if resp, _ := s.get("/registry/of"); resp.StatusCode != http.StatusNotFound {
		t.Errorf("no model: status %d", resp.StatusCode)
	}
}

// What people call models, tags and reasons is text, wherever it is shown.
func TestModelsAreText(t *testing.T) {
	s := newStand(t).signIn()
	model, versions := fraud()
	model.Description, model.Aliases, model.Tags = payload, map[string]int{payload: 1}, map[string]string{payload: payload}
	one := versions[1]
	one.Problem, one.Source, one.Run, one.Aliases = payload, payload, payload, []string{payload}
	one.Files[0].Path, one.Scan.Findings, one.Signature.Signer, one.Attacks[0].Summary = payload, []string{payload}, payload, payload
	s.api.models = registry.List{Models: []registry.Listed{{Model: model, Versions: versions}}}
	s.api.shown = map[string]registry.Shown{"local/model/fraud/1": {Model: model, Versions: versions[1:]}}
	s.api.life = registry.History{Steps: []registry.Step{{Version: 1, To: registry.State(payload), Why: payload, Alias: payload}}}
	s.api.runs = &deploy.View{Deployment: deploy.Deployment{Spots: []deploy.Spot{{Main: &deploy.Held{Version: 1}, Problem: payload}}}}
	for _, path := range []string{"/registry", "/registry/of?model=local/model/fraud/1"} {
		_, body := s.get(path)
		if raw.MatchString(body) || !strings.Contains(body, "XMARK") {
			t.Errorf("%s: %q came through raw", path, raw.FindString(body))
		}
	}
}

// What somebody should look at comes first in the list, and a version that was taken back is not
// drawn as one that is live: it may never have been more than a canary.
func TestModelsInTrouble(t *testing.T) {
	s := newStand(t).signIn()
	of := func(id string, state registry.State) registry.Listed {
		name := pavise.Name{Tenant: "local", Kind: registry.Kind, ID: id}
		v := &registry.Version{Ref: registry.Ref{Model: id, Version: 1}, Tenant: "local", State: state, Was: registry.Live, Since: began, Creator: ana, Created: began}
		return registry.Listed{Model: registry.Model{Name: name, Risk: "low", By: ana, Created: began, Newest: 1}, Versions: []*registry.Version{v}}
	}
	s.api.models = registry.List{Models: []registry.Listed{of("alpha", registry.Live), of("beta", registry.Degraded), of("gamma", registry.Live), of("omega", registry.Quarantined)}}
	_, body := s.get("/registry")
	said := text(body)
	at := -1
	for _, id := range []string{"omega", "beta", "alpha", "gamma"} {
		next := strings.Index(said, "local/model/"+id)
		if next <= at {
			t.Errorf("%s stands at %d, after %d:\n%s", id, next, at, said)
		}
		at = next
	}
	s.api.models = registry.List{Models: []registry.Listed{of("alpha", registry.RolledBack)}}
	if _, body = s.get("/registry"); strings.Contains(body, `class="is"`) || strings.Count(body, `<li class="was">`) != 5 || !strings.Contains(text(body), "Rolled back since") {
		t.Errorf("what was taken back is drawn as live:\n%s", body)
	}
}
