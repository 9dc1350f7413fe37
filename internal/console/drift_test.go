package console

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/drift"
	"github.com/pavise/pavise/internal/monitor"
)

// moved is a model whose outputs moved with a version.
func moved() monitor.Shown {
	view := monitor.View{Model: detector, Version: "v2", Former: "v1", Switched: began, Baseline: strings.Repeat("b", 64), Counted: 4321, Verdict: monitor.Verdict{
		Stage: monitor.Confirmed, Cause: drift.BadVersion, Since: began, Words: "outputs moved with the version, and inputs did not", Done: "v1 answers again",
	}}
	return monitor.Shown{View: view, Window: "5m", Past: []monitor.Window{
		{At: began, Rows: 100, Version: "v1", Inputs: monitor.Summary{Effect: 0.2}, Outputs: monitor.Summary{Effect: 0.1}},
		{At: began.Add(5 * time.Minute), Rows: 120, Version: "v2", Inputs: monitor.Summary{Effect: 0.3}, Outputs: monitor.Summary{Moved: 1, Effect: 2.5}},
	}, Features: []monitor.FeatureView{
		{Name: "score", Side: "output", Kind: drift.Number, Moved: true, Was: []float64{0.5, 0.5}, Is: []float64{0.1, 0.9}, Windows: []monitor.Measure{{Length: "5m", Agree: 3, Outcome: drift.Outcome{Effect: 2.5, Cause: drift.ByShape, Q: 1e-9}}}},
		{Name: "proto", Side: "input", Suspected: true, Labels: []string{"tcp", "udp"}, Was: []float64{0.9, 0.1}, Is: []float64{0.9, 0.1}},
	}}
}

func TestDriftPage(t *testing.T) {
	s := newStand(t).signIn()
	if _, body := s.get("/drift"); !strings.Contains(text(body), "No model was asked yet") {
		t.Error("there is none, and the page does not say so")
	}
	s.api.drifts = monitor.List{Models: []monitor.View{moved().View, {Model: pavise.Name{Tenant: "local", Kind: "model", ID: "young"}, Verdict: monitor.Verdict{Stage: monitor.Learning, Words: "one is learnt"}, Learning: 1200, Wanted: 5000}}, Unwatched: 12345}
	resp, body := s.get("/drift")
	checkHeaders(t, "/drift", resp, body)
	said := text(body)
	for _, want := range []string{"Moved threat-detector v2 2026-03-04 09:30 UTC Outputs moved with the version, and inputs did not. a bad version V1 answers again.", "Learning young no version One is learnt. 1 200 of 5 000 rows of a baseline", "12 345 answers of other models"} {
		if !strings.Contains(said, want) {
			t.Errorf("the page does not say %q:\n%s", want, said)
		}
	}
}

// A model's page draws its windows and features, and has the forms where there is something to
// judge.
func TestDriftOfPage(t *testing.T) {
	s := newStand(t).signIn()
	s.api.drift = moved()
	address := driftAddress(detector.String())
	resp, body := s.get(address)
	checkHeaders(t, address, resp, body)
	said := text(body)
	for _, want := range []string{"Moved threat-detector a bad version", "Windows of 5m ", "score output, number moved", "5m 3 of 5 2.50 distribution 1e-09", "proto input suspected", "lowest highest", "tcp udp", "4 321 answers since the start", "Judge it", "Dismiss it"} {
		if !strings.Contains(said, want) {
			t.Errorf("the page does not say %q:\n%s", want, said)
		}
	}
	if !strings.Contains(body, `aria-label="Outputs: 2 values, 1 of them above 1.00; the last is 2026-03-04 09:35 UTC, 120 rows of v2: 2.50"`) || !strings.Contains(body, `aria-label="shares of rows in 2 bins; the one that moved most is`) {
		t.Errorf("it is not drawn:\n%s", body)
	}
	if strings.Count(body, `class="over"><title>`) != 1 {
		t.Errorf("one window moved, and it is not drawn red:\n%s", body)
	}
	s.api.drift.Past[1].Outputs.Moved = 0 // of few rows much is far by chance
	if _, body := s.get(address); strings.Contains(body, `class="over"><title>`) {
		t.Error("what is far by chance is drawn as if it had moved")
	}
	s.api.drift.Verdict.Stage = monitor.Stable
	if _, body := s.get(address); strings.Contains(body, "<form method=\"post\" action=\"/drift") {
		t.Error("there is nothing to judge, and a form for it")
	}
}

// Only a form of our own judges, and what the API answers is shown.
func TestDriftForms(t *testing.T) {
	s := newStand(t).signIn()
	s.api.drift = moved()
	form := url.Values{"model": {detector.String()}, "cause": {"traffic"}, "reason": {"a new\r\nsensor"}}
	if resp, _ := s.post("/drift/verdict", form); resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != driftAddress(detector.String()) {
		t.Errorf("status %d, leads to %q", resp.StatusCode, resp.Header.Get("Location"))
	}
	s.post("/drift/dismiss", form)
	if want := "drift.verdict threat-detector traffic a new\nsensor; drift.dismiss threat-detector  a new\nsensor"; strings.Join(s.api.judged, "; ") != want {
		t.Errorf("judged %q", s.api.judged)
	}
	for name, headers := range map[string][]string{
		"another site": {"Origin", "http://evil.example"}, "nobody": {"Cookie", "pavise_session=guess"},
	} {
		if resp, _ := s.post("/drift/dismiss", form, headers...); resp.StatusCode != http.StatusForbidden && resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: status %d", name, resp.StatusCode)
		}
	}
	if len(s.api.judged) != 2 {
		t.Errorf("judged %q", s.api.judged)
	}
}

// What features and versions are called is text.
func TestDriftIsText(t *testing.T) {
	s := newStand(t).signIn()
	s.api.drift = moved()
	d := &s.api.drift
	d.Version, d.Former, d.Verdict.Words, d.Verdict.Done, d.Verdict.Cause = payload, payload, payload, payload, monitor.Cause(payload)
	d.Features[0].Name, d.Features[0].Windows[0].Length, d.Features[1].Labels[0], d.Passed = payload, payload, payload, []string{payload}
	d.Past[0].Version = payload
	s.api.drifts.Models = []monitor.View{d.View}
	for _, path := range []string{"/drift", driftAddress(detector.String())} {
		_, body := s.get(path)
		if raw.MatchString(body) || !strings.Contains(body, "XMARK") {
			t.Errorf("%s: %q came through raw", path, raw.FindString(body))
		}
	}
}
