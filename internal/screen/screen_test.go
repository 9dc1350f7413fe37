package screen

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/archive"
	"github.com/pavise/pavise/internal/deploy"
	"github.com/pavise/pavise/internal/drift"
	"github.com/pavise/pavise/internal/evidence"
	"github.com/pavise/pavise/internal/firewall"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/monitor"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/tensor"
	"github.com/pavise/pavise/internal/verbs"
)

// TestOutcomes says in a word and a line how records ended.
func TestOutcomes(t *testing.T) {
	passed := pavise.Verdict{Check: "gate", Outcome: pavise.Deny, Reason: "too large", Observed: true}
	stopped := pavise.Verdict{Check: "budget", Outcome: pavise.Deny, Reason: "spent"}
	failure := &record.Failure{Kind: "unavailable", Msg: "away"}
	for name, c := range map[string]struct {
		record               record.Record
		who, outcome, reason string
	}{
		"allowed":              {record.Record{Phase: record.Act, Outcome: pavise.Allow}, "", "allow", ""},
		"failed":               {record.Record{Phase: record.Act, Outcome: pavise.Allow, Error: failure}, "", "failed", "away"},
		"begun":                {record.Record{Phase: record.Enter}, "", "begun", ""},
		"observed check":       {record.Record{Phase: record.Act, Outcome: pavise.Allow, Verdicts: []pavise.Verdict{passed}}, "", "would deny", "gate: too large"},
		"observed and failed":  {record.Record{Phase: record.Act, Outcome: pavise.Allow, Error: failure, Verdicts: []pavise.Verdict{passed}}, "", "would deny", "gate: too large"},
		"observed policy":      {record.Record{Phase: record.Enter, Outcome: pavise.Allow, Policy: &record.Policy{Observed: true}}, "", "would deny", ""},
		"observed and stopped": {record.Record{Phase: record.Act, Outcome: pavise.Deny, Verdicts: []pavise.Verdict{passed, stopped}}, "", "deny", "budget: spent"},
		"stranger": {
			record.Record{Kind: "identity.refused", Phase: record.Note, Detail: json.RawMessage(`{"source":"192.0.2.1","reason":"expired","count":3}`)},
			"192.0.2.1", "deny", "expired (3 times in a second)",
		},
		"stranger unread": {record.Record{Kind: "identity.refused", Phase: record.Note, Detail: json.RawMessage(`{"source":1,"reason":"x"}`)}, "", "deny", ""},
		"not a note":      {record.Record{Kind: "identity.refused", Phase: record.Act, Outcome: pavise.Allow}, "", "allow", ""},
		"other note":      {record.Record{Kind: "guard.clock", Phase: record.Note}, "", "note", ""},
	} {
		if got := [3]string{who(c.record), Outcome(c.record), Reason(c.record)}; got != [3]string{c.who, c.outcome, c.reason} {
			t.Errorf("%s: %q, want %q, %q, %q", name, got, c.who, c.outcome, c.reason)
		}
	}
}

// TestPrintArchive shows classes in one form, and what belongs to none.
func TestPrintArchive(t *testing.T) {
	const day = 24 * time.Hour
	for want, classes := range map[string][]archive.Class{
		"CLASS    RECORDS OF       KEPT HERE  IN THE ARCHIVE\ndefault  everything else  for ever   without a lock\n": nil,
		"CLASS    RECORDS OF       KEPT HERE  IN THE ARCHIVE\nx        model route      12h        730 days\ndefault  everything else  for ever   without a lock\n": {
			{Name: "x", Kinds: []string{"model", "route"}, Online: 12 * time.Hour, Keep: 730 * day},
		},
		"CLASS    RECORDS OF       KEPT HERE  IN THE ARCHIVE\ndefault  everything else  1 day      without a lock\n": {{Name: "default", Online: day}},
	} {
		var out bytes.Buffer
		printArchive(&out, evidence.ArchiveList{Place: "file:///a", Lock: "none", Classes: classes})
		if _, got, _ := strings.Cut(out.String(), "\n\n"); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestNoRecords lists kinds that have none, and kinds that nobody writes.
func TestNoRecords(t *testing.T) {
	for kind, want := range map[string]string{
		"model":            "no records\n",
		"model.infer":      "no records\n",
		"identity.refused": "no records\n",
		"foo":              "no records\n\"foo\" is neither a verb, nor a room, nor a kind of note\n",
	} {
		var out bytes.Buffer
		printRecords(&out, &evidence.ListRequest{Conditions: evidence.Conditions{Kind: []string{kind}}}, evidence.ListAnswer{Size: 7})
		if out.String() != want {
			t.Errorf("%s: %q, want %q", kind, out.String(), want)
		}
	}
}

// TestExplainWithoutPolicy explains a record about which no policy was asked.
func TestExplainWithoutPolicy(t *testing.T) {
	var out bytes.Buffer
	printExplanation(&out, guard.Explanation{Status: guard.Unverified, Why: "no policy was asked"})
	if !strings.HasSuffix(out.String(), ": no policy was asked\n") || strings.ContainsAny(out.String()[:1], " (:") {
		t.Errorf("%q", out.String())
	}
}

func TestLimits(t *testing.T) {
	for want, rate := range map[string]firewall.Rate{
		"none":               {},
		"1200/1m burst 300":  {Count: 1200, Per: time.Minute, Burst: 300},
		"100000/24h":         firewall.PerWindow(100000, 24*time.Hour),
		"5/10m":              firewall.PerWindow(5, 10*time.Minute),
		"5/20s":              firewall.PerWindow(5, 20*time.Second),
		"5/1h30m":            firewall.PerWindow(5, 90*time.Minute),
		"5/1m30s":            firewall.PerWindow(5, 90*time.Second),
		"5/10h0m5s":          firewall.PerWindow(5, 10*time.Hour+5*time.Second),
		"5/500ms burst 9":    {Count: 5, Per: time.Second / 2, Burst: 9},
		"5/1h10m burst 10":   {Count: 5, Per: 70 * time.Minute, Burst: 10},
		"1/8760h burst 1000": {Count: 1, Per: 365 * 24 * time.Hour, Burst: 1000},
	} {
		if got := limit(rate); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// TestCellsStayCells shows a name that would make a row of its own.
func TestCellsStayCells(t *testing.T) {
	const answer = `{"events":[{"index":1,"record":{"kind":"model.infer\n2\t00:00:00\thuman/op","who":{"kind":"workload","id":"a\nb\tc\fd\u000be"},"verdicts":[{"check":"x\n","outcome":"deny","reason":"y\tz"}]}}]}`
	var a evidence.ListAnswer
	if err := json.Unmarshal([]byte(answer), &a); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	printRecords(&out, &evidence.ListRequest{}, a)
	if lines := strings.Count(out.String(), "\n"); lines != 2 || strings.ContainsAny(out.String(), "\t\f\v") {
		t.Errorf("%d lines: %q", lines, out.String())
	}
}

// TestListSaysThatThereIsMore prints what the server says of a list that was longer.
func TestListSaysThatThereIsMore(t *testing.T) {
	events := []evidence.Event{{Index: 4711}, {Index: 4712}}
	for want, request := range map[string]evidence.ListRequest{"--before 4711 shows earlier ones\n": {}, "--after 4713 goes on\n": {After: new(uint64(4711))}} {
		var out bytes.Buffer
		printRecords(&out, &request, evidence.ListAnswer{Events: events, Size: 70000, More: true})
		if !strings.HasSuffix(out.String(), "\n"+want) {
			t.Errorf("%q, want %q", out.String(), want)
		}
	}
}

func TestServersInTheList(t *testing.T) {
	served := route.Standing{Route: route.Route{Upstream: "http://a", Replicas: []route.Replica{{URL: "http://b"}, {URL: "http://c"}}, Shadow: "http://d"}}
	served.Servers = []route.Server{{URL: "http://a"}, {URL: "http://b", Out: true}, {URL: "http://c"}, {URL: "http://old", Out: true, Leaving: true}}
	if got := behindAll(served); got != "http://a http://b http://c, 3 servers, 1 out, with a shadow" {
		t.Error(got)
	}
	if got := behindAll(route.Standing{Route: route.Route{Upstream: "http://a"}}); got != "http://a" {
		t.Error(got)
	}
}

// TestRoutesInTheList shows what each route speaks, where, and to what its inputs are held,
// in a line where there is room for one, and in several where there is not.
func TestRoutesInTheList(t *testing.T) {
	name := func(id string) pavise.Name { return pavise.Name{Tenant: "local", Kind: "model", ID: id} }
	list := verbs.RouteList{Routes: []route.Standing{
		{Route: route.Route{Model: name("risk"), Upstream: "http://a:8000", Remote: "risk_v7", Protocol: "v1", Drift: &firewall.Drift{Then: "deny", Baseline: firewall.Baseline{Features: make([]firewall.Spread, 2)}}}},
		{Route: route.Route{Model: name("llama"), Upstream: "http://b:8000", Protocol: "openai"}},
		{Route: route.Route{Model: name("own"), ONNX: "sha256:0123456789abcdef"}},
		{Route: route.Route{Model: name("fraud"), Upstream: "http://c:8000"}},
	}}
	for columns, want := range map[int][]string{
		0:    {"local/model/risk v1 risk_v7 at http://a:8000", "2 columns, deny", "local/model/llama openai http://b:8000 by tier none", "local/model/own - onnx sha256:0123456789ab", "local/model/fraud oip http://c:8000"},
		1000: {"MODEL PROTOCOL BEHIND IT ANSWERS BASELINE"},
		60:   {"local/model/risk\n protocol v1\n behind it risk_v7 at http://a:8000\n", "\n baseline 2 columns, deny\n"},
	} {
		var out bytes.Buffer
		printRoutes(Terminal{Columns: columns, text: &out}, list)
		lines := strings.Split(out.String(), "\n")
		for i, line := range lines {
			if columns > 0 && len(line) > columns {
				t.Errorf("%d columns, and a line of %d: %s", columns, len(line), line)
			}
			lines[i] = strings.Join(strings.Fields(line), " ")
		}
		said := strings.Join(lines, "\n")
		for _, w := range want {
			if w = strings.ReplaceAll(w, "\n ", "\n"); !strings.Contains(said, w) {
				t.Errorf("%d columns: %q is not in\n%s", columns, w, out.String())
			}
		}
	}
}

// TestWarnings says beside an act what is amiss with the server that it leads to.
// TestBoundsThatThereAre counts the columns that are held to something: a name bounds nothing.
func TestBoundsThatThereAre(t *testing.T) {
	named, most := tensor.Column{Name: "a"}, 1.0
	for want, columns := range map[string][]tensor.Column{
		"no bounds on values": {named, named},
		"bounds on 1 column":  {named, {Name: "b", Max: &most}},
	} {
		r := route.Route{Signature: tensor.Signature{Inputs: []tensor.Port{{Name: "x", Columns: columns}}}}
		if got := bounds(r); got != want {
			t.Errorf("%d columns: %s, want %s", len(columns), got, want)
		}
	}
}

func TestWarnings(t *testing.T) {
	for verb, answers := range map[string][2]string{
		"route.put":     {`{"warning":"it does not answer\u001b[2J"}`, `{}`},
		"route.release": {`{"plan":{"detail":{"warning":"it does not answer\u001b[2J"}}}`, `{"plan":{"detail":{"before":"ab"}}}`},
	} {
		for i, want := range []string{"pavise: warning: it does not answer", ""} {
			var aside strings.Builder
			if _, err := Answer(io.Discard, &aside, verb, nil, json.RawMessage(answers[i])); err != nil || !strings.HasPrefix(aside.String(), want) || want == "" && aside.Len() > 0 || strings.Contains(aside.String(), "\x1b") {
				t.Errorf("%s: %q, %v, want %q", verb, aside.String(), err, want)
			}
		}
	}
}

// TestPrintGateways says under a target what each gateway last said of it, and of no other.
func TestPrintGateways(t *testing.T) {
	name := func(id string) pavise.Name { return pavise.Name{Tenant: "acme", Kind: deploy.KindTarget, ID: id} }
	heard := time.Date(2026, 3, 1, 12, 0, 0, 0, time.Local)
	var out bytes.Buffer
	printDeployment(&out, deploy.View{
		Deployment: deploy.Deployment{Name: pavise.Name{Tenant: "acme", Kind: deploy.Kind, ID: "fraud"}, Spots: []deploy.Spot{{Target: name("gws")}, {Target: name("fn")}}},
		Gateways: []deploy.Part{
			{Target: name("gws"), Gateway: "gw-1", Words: "version 1", Heard: heard, Has: true},
			{Target: name("gws"), Gateway: "gw-2", Words: "version \x1b[2J2", Heard: heard, Away: true},
			{Target: name("gws"), Gateway: "gw-3", Words: "version 2", Heard: heard, Barred: true, Refuses: true},
			{Target: name("gws"), Gateway: "gw-4", Words: "version 2", Heard: heard},
		},
	})
	gws, fn, _ := strings.Cut(out.String(), "\nfn\n")
	for _, want := range []string{
		"gw-1  version 1, said 2026-03-01 12:00 UTC\n", "gw-2  version ", "(not heard of since: it may go on by this until its grace is over)\n",
		"(in quarantine: nobody may ask it there; it refuses everything: what it was told is too old)\n", "(not yet what is wanted)",
	} {
		if !strings.Contains(gws, want) {
			t.Errorf("it does not say %q:\n%s", want, gws)
		}
	}
	if strings.Contains(fn, "gateway") || strings.Contains(gws, "\x1b") {
		t.Errorf("%q", out.String())
	}
}

// TestDriftCountsFeatures: what is shown says how many features are held to the baseline, though
// in the answer their list has the name of the number.
func TestDriftCountsFeatures(t *testing.T) {
	text, err := json.Marshal(monitor.Shown{
		View: monitor.View{Features: 2, Baseline: "sha256:1234"},
		Held: 2, Features: []monitor.FeatureView{{Name: "a", Kind: drift.Number}, {Name: "b", Kind: drift.Number, Suspected: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if _, err := Answer(&out, io.Discard, "drift.show", nil, text); err != nil || !strings.Contains(out.String(), "sha256:1234, 2 features\n") || !strings.Contains(out.String(), "as it was  a ()") || !strings.Contains(out.String(), "suspected  b ()") {
		t.Errorf("%v:\n%s", err, out.String())
	}
}

// TestPrintWithheld says that a version is to run and barred by the registry.
func TestPrintWithheld(t *testing.T) {
	var out bytes.Buffer
	printDeployment(&out, deploy.View{
		Deployment: deploy.Deployment{Name: pavise.Name{Tenant: "acme", Kind: deploy.Kind, ID: "fraud"}},
		Stage:      deploy.StageDegraded, Withheld: map[int]string{3: "quarantined"},
	})
	if !strings.Contains(out.String(), "fraud is degraded") || !strings.Contains(out.String(), "version 3 is quarantined, and was not taken back yet") {
		t.Errorf("%s", out.String())
	}
}

// Whoever holds what a terminal says beside a record or the console, which have UTC, is told
// whose time it is.
func TestInstantsNameTheirZone(t *testing.T) {
	defer func(was *time.Location) { time.Local = was }(time.Local)
	time.Local = time.FixedZone("JST", 9*60*60)
	when := time.Date(2026, 3, 4, 22, 30, 5, 0, time.UTC)
	for _, c := range [][2]string{{At(when), "2026-03-05 07:30 JST"}, {Second(when), "2026-03-05 07:30:05 JST"}, {milli(when), "2026-03-05 07:30:05.000 JST"}, {At(time.Time{}), ""}} {
		if c[0] != c[1] {
			t.Errorf("%q, and not %q", c[0], c[1])
		}
	}
}

// TestTerminal lets through what may be shown, byte for byte, and nothing that a terminal obeys.
func TestTerminal(t *testing.T) {
	for text, want := range map[string]string{
		"plain, ~\t and\n":     "plain, ~\t and\n",
		"ä 日本\n":               "ä 日本\n",
		"a\x1b[31mb\x7f\r\x00": "a\uFFFD[31mb\uFFFD\uFFFD\uFFFD",
		"a\u202eb\u0085":       "a\uFFFDb\uFFFD",
		"a\xffb":               "a\uFFFDb",
	} {
		var out bytes.Buffer
		if n, err := (Terminal{text: &out}).Write([]byte(text)); n != len(text) || err != nil || out.String() != want {
			t.Errorf("%q: %q, %d, %v", text, out.String(), n, err)
		}
	}
}
