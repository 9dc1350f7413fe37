package console

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/lineage"
)

// tellOf has the API know what a run read and wrote.
func (f *fakeAPI) tellOf(run, job string, reads, writes []lineage.Use) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told.Add(lineage.Event{At: began, Type: "COMPLETE", Run: run, Job: lineage.Dataset{Namespace: "airflow", Name: job}, Inputs: reads, Outputs: writes},
		pavise.Name{Tenant: "local", Kind: pavise.Workload, ID: "airflow"}, began)
}

const aRun, bRun = "6f1c0000-0000-4000-8000-000000000001", "6f1c0000-0000-4000-8000-000000000002"

// TestLineagePage draws what is behind a model, each standing by a mark and a word, the worst
// claim first, and leads on to each dataset.
func TestLineagePage(t *testing.T) {
	s := newStand(t).signIn()
	if _, body := s.get("/lineage"); !strings.Contains(text(body), "Nobody has told of a run") {
		t.Error("nobody told of a run, and the page does not say so")
	}
	raw, clean := lineage.Dataset{Namespace: "s3://lake", Name: "raw"}, lineage.Dataset{Namespace: "s3://lake", Name: "clean"}
	a, b := strings.Repeat("a", 64), strings.Repeat("b", 64)
	s.api.tellOf(aRun, "dag.clean", []lineage.Use{{Dataset: raw, Root: a}}, []lineage.Use{{Dataset: clean, Root: b}})
	s.api.tellOf(bRun, "dag.train", []lineage.Use{{Dataset: clean}, {Dataset: lineage.Dataset{Namespace: "gs://x", Name: "more"}, Root: b}}, []lineage.Use{{Dataset: lineage.Dataset{Namespace: "mlflow", Name: "fraud"}, Type: "MODEL"}})
	s.api.told.AddSeal(lineage.Seal{Dataset: raw, Root: a})
	s.api.told.AddSeal(lineage.Seal{Dataset: clean, Root: a})

	resp, body := s.get("/lineage?of=fraud")
	checkHeaders(t, "/lineage", resp, body)
	said := text(body)
	for _, want := range []string{
		"fraud in mlflow", "dataset lineage mlflow/fraud", "1 claim is refuted", "in 3 OpenLineage events", "Events are kept for 400 days.", "refuted names one that the dataset never had",
		"Refuted dag.clean " + aRun + " wrote clean s3://lake This dataset has one seal, and that is not it. airflow workload 2026-03-04 09:30 UTC Unknown dag.train",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("the page does not say %q:\n%s", want, said)
		}
	}
	for _, want := range []string{
		`<g class="line refuted"><title>refuted: this dataset has one seal, and that is not it</title>`, `<use href="#m-refuted"`, `<use href="#m-sealed"`, `<use href="#m-unsealed"`, `<use href="#m-unknown"`,
		`<g class="node model here"><title>model mlflow fraud</title>`, `href="/lineage?of=s3%3A%2F%2Flake&#43;raw"`,
	} {
		if !strings.Contains(strings.ReplaceAll(body, "+raw", "&#43;raw"), want) {
			t.Errorf("the picture lacks %s", want)
		}
	}
	if _, body := s.get("/lineage"); !strings.Contains(text(body), "fraud mlflow") || strings.Contains(body, "class=\"flow\"") {
		t.Error("without a dataset the page does not list them")
	}
	resp, body = s.get("/lineage?of=nosuch")
	if resp.StatusCode != http.StatusOK || !strings.Contains(text(body), "Not found. No event names the dataset") || !strings.Contains(text(body), "fraud mlflow") {
		t.Errorf("a dataset that nobody names: %d\n%s", resp.StatusCode, text(body))
	}
}

// TestLineageOfHostileNames shows names that would be markup, or hide something.
func TestLineageOfHostileNames(t *testing.T) {
	s := newStand(t).signIn()
	evil := lineage.Dataset{Namespace: "data:text/html,x", Name: `</title><script>alert(1)</script>"'>`}
	s.api.tellOf(aRun, "<b>job</b>\u202e", []lineage.Use{{Dataset: evil}}, []lineage.Use{{Dataset: lineage.Dataset{Namespace: strings.Repeat("n", 2048), Name: strings.Repeat("W", 2048)}}})
	if _, body := s.get("/lineage?of=" + url.QueryEscape(evil.String())); strings.Contains(text(body), "dataset lineage "+evil.Namespace) {
		t.Error("a name that a shell would read otherwise is in a command to paste")
	}
	for _, path := range []string{"/lineage", "/lineage?of=" + url.QueryEscape(evil.String()), "/lineage?of=" + url.QueryEscape(`"><script>alert(2)</script>`)} {
		resp, body := s.get(path)
		checkHeaders(t, path, resp, body)
		if strings.Contains(body, "<script>alert") || strings.Contains(body, "<b>job") || strings.Contains(body, "\u202e") || strings.Contains(body, `href="data:`) {
			t.Errorf("%s lets a name be what it likes:\n%s", path, body)
		}
	}
}
