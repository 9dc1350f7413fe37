package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/detect"
	"github.com/pavise/pavise/internal/firewall"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/route"
)

// spread is a baseline of softmaxModel's input.
const spread = `{"input":"x","features":[{"name":"first","edges":[0,0.5,1],"shares":[0,0.5,0.5,0]},{"name":"second"}],"classes":["as a card has"]}`

// rowsOf is a request of so many rows whose first numbers go through those given.
func rowsOf(n int, first ...float64) string {
	var data []float64
	for i := range n {
		data = append(data, first[i%len(first)], 0.25)
	}
	text, _ := json.Marshal(data)
	return fmt.Sprintf(`{"inputs":[{"name":"x","shape":[%d,2],"datatype":"FP32","data":%s}]}`, n, text)
}

// drifted returns a record's verdict on drift.
func drifted(r record.Record) (v pavise.Verdict) {
	for _, each := range r.Verdicts {
		if each.Check == "drift" {
			v = each
		}
	}
	return v
}

// notes waits for notes of a kind, and returns their findings.
func (w *world) notes(t *testing.T, kind string, n int) (list []pavise.Finding) {
	t.Helper()
	for range 500 {
		list = nil
		for _, r := range w.log.Records(0, w.log.Size()) {
			var d struct{ Finding pavise.Finding }
			if r.Phase == record.Note && r.Kind == kind && json.Unmarshal(r.Detail, &d) == nil {
				list = append(list, d.Finding)
			}
		}
		if len(list) >= n {
			return list
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%d notes %s, want %d", len(list), kind, n)
	return nil
}

// running has the gateway's own work done until the test's end.
func (w *world) running(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		<-done
	})
}

// TestDriftDenies refuses while the last window was another world, charges what it
// refuses, tells the caller no column, and recovers by what it refused.
func TestDriftDenies(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.running(t)
	w.put(t, func(s *route.Spec) {
		s.Baseline, s.Drift, s.Rate = json.RawMessage(spread), "deny", "1000000/1m"
	})
	post := func(want int, first ...float64) record.Record {
		t.Helper()
		resp, body := w.post(t, rowsOf(250, first...), nil)
		if resp.StatusCode != want || strings.Contains(body, "first") {
			t.Fatalf("%d %s, want %d", resp.StatusCode, body, want)
		}
		return w.record(t, resp)
	}
	for range 8 {
		if v := drifted(post(200, 0.25, 0.75)); v.Outcome != pavise.Allow || v.Reason != "" {
			t.Errorf("%+v", v)
		}
	}
	for range 3 {
		post(200, 0.25)
	}
	r := post(503, 0.25)
	if v := drifted(r); v.Outcome != pavise.Deny || !strings.Contains(v.Reason, `1 of 1 columns have drifted from the baseline: "first"`) {
		t.Errorf("%+v", v)
	}
	var trail Trail
	if err := json.Unmarshal(r.Detail, &trail); err != nil || trail.Charged != 250 {
		t.Errorf("charged %d for what fills the window: %v", trail.Charged, err)
	}
	w.change(t, route.Spec{Rate: "2000000/1m"}) // other terms forget nothing
	for range 3 {
		post(503, 0.25, 0.75)
	}
	post(200, 0.25, 0.75)
	notes := w.notes(t, KindDrifted, 2)
	if notes[0].On != theModel || notes[0].Severity != pavise.Warning || !strings.Contains(notes[0].Summary, "first") || notes[1].Severity != pavise.Info {
		t.Errorf("%+v", notes)
	}
}

// TestDriftAlarms lets pass, and the records say what has moved. On a route that only
// observes, a denial passes too.
func TestDriftAlarms(t *testing.T) {
	for name, edit := range map[string]func(*route.Spec){
		"alarm":   func(*route.Spec) {},
		"observe": func(s *route.Spec) { s.Drift, s.Observe = "deny", new(true) },
	} {
		w := newWorld(t, t.TempDir())
		w.put(t, func(s *route.Spec) {
			s.Baseline, s.Rate = json.RawMessage(spread), "1000000/1m"
			edit(s)
		})
		for i := range 5 {
			resp, body := w.post(t, rowsOf(250, 0.25), nil)
			if resp.StatusCode != 200 {
				t.Fatalf("%s: %d %s", name, resp.StatusCode, body)
			}
			v := drifted(w.record(t, resp))
			if v.Stops() || v.Observed != (i >= 3) || (v.Reason != "") != (i >= 3) {
				t.Errorf("%s, request %d: %+v", name, i, v)
			}
		}
	}
}

// TestDriftInWords puts baselines, keeps them, changes and ends them.
func TestDriftInWords(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, dir)
	r := w.change(t, route.Spec{ONNX: softmaxModel(), Baseline: json.RawMessage(spread)})
	if r.Drift == nil || r.Drift.Then != firewall.DriftAlarm || len(r.Drift.Features) != 2 {
		t.Fatalf("%+v", r.Drift)
	}
	if r = w.change(t, route.Spec{Drift: "deny"}); r.Drift.Then != firewall.DriftDeny || len(r.Drift.Features) != 2 {
		t.Errorf("%+v", r.Drift)
	}
	if r = w.change(t, route.Spec{Baseline: json.RawMessage(spread)}); r.Drift.Then != firewall.DriftDeny {
		t.Errorf("another baseline changed what follows: %+v", r.Drift)
	}
	if err := r.Validate(); err != nil {
		t.Error(err)
	}
	for want, spec := range map[string]route.Spec{
		`drift is "perhaps"`:             {Drift: "perhaps"},
		"a baseline is given, and drift": {Baseline: json.RawMessage(spread), Drift: "off"},
		"baseline: invalid character":    {Baseline: json.RawMessage("a,b\n")},
		"baseline: unexpected end":       {Baseline: json.RawMessage{}},
		`the model has no input "y"`:     {Baseline: json.RawMessage(strings.Replace(spread, `"x"`, `"y"`, 1))},
		"edges that do not rise":         {Baseline: json.RawMessage(strings.Replace(spread, `[0,0.5,1]`, `[0,1,0.5]`, 1))},
		"1 features for input":           {Baseline: json.RawMessage(`{"input":"x","features":[{"name":"a","min":0}]}`)},
		"a language model has no":        {Upstream: "http://127.0.0.1:1", Protocol: "openai", Drift: "off"},
	} {
		spec.Name = theModel.String()
		if _, err := w.Routes.Put(t.Context(), operator, spec); pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	w.close()
	if again := newWorld(t, dir); again.current(theModel.String()).Drift.Then != firewall.DriftDeny {
		t.Error("a restart ended the baseline")
	} else {
		w = again
	}
	if r = w.change(t, route.Spec{Drift: "off"}); r.Drift != nil {
		t.Errorf("%+v", r.Drift)
	}
	if _, err := w.Routes.Put(t.Context(), operator, route.Spec{Name: theModel.String(), Drift: "alarm"}); err == nil || !strings.Contains(err.Error(), "no baseline to drift from") {
		t.Error(err)
	}
	bad := r
	bad.Drift = &firewall.Drift{Then: "deny", Baseline: firewall.Baseline{Input: "y"}}
	if bad.Validate() == nil {
		t.Error("a baseline of another input would be adopted")
	}
}

// curious suspects everybody.
type curious struct{}

func (curious) Name() string { return "curious" }

func (curious) See(o *detect.Observation) string {
	return fmt.Sprintf("it asked %v and was told %v", o.Values, len(o.Scores))
}

// TestDetectors hear of what was answered, as it was before it was shaped, and of nothing
// that was refused.
func TestDetectors(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.suspects = detect.NewQueue(w.noteFinding, []detect.Detector{curious{}})
	w.running(t)
	w.put(t, func(s *route.Spec) { s.Shape, s.Alterable = "label", new(true) })
	if resp, _ := w.post(t, strings.Replace(good, "[1,2]", "[1,3]", 1), nil); resp.StatusCode != 400 {
		t.Errorf("%d", resp.StatusCode)
	}
	if resp, body := w.post(t, good, nil); resp.StatusCode != 200 {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	list := w.notes(t, detect.KindSuspected, 1)
	if f := list[0]; len(list) != 1 || f.Summary != "it asked [0.5 0.25] and was told 3" || f.On != theModel || f.Who.ID != "app" {
		t.Errorf("%+v", list)
	}
}
