package verbs

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/drift"
	"github.com/pavise/pavise/internal/monitor"
	"github.com/pavise/pavise/internal/registry"
	"github.com/pavise/pavise/internal/tensor"
)

// drifter is a model that is watched for drift.
var drifter = DriftRef{pavise.Name{Tenant: "local", Kind: "model", ID: "drifter"}}

// drifts is what it takes and gives.
var drifts = tensor.Signature{
	Inputs:  []tensor.Port{{Name: "x", Datatype: tensor.FP64, Shape: []int64{-1}}},
	Outputs: []tensor.Port{{Name: "y", Datatype: tensor.FP64, Shape: []int64{-1}}},
}

// drift has the model asked until it stands so: as usual, or, to be confirmed, otherwise.
func (w *world) drift(t *testing.T, stage monitor.Stage) {
	t.Helper()
	rng, by := rand.New(rand.NewPCG(8, 9)), 0.0
	if stage == monitor.Confirmed {
		by = 2
	}
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		const rows = 64
		x := tensor.Tensor{Name: "x", Datatype: tensor.FP64, Shape: []int64{rows}}
		for range rows {
			x.Data.Floats = append(x.Data.Floats, rng.NormFloat64()+by)
		}
		y := x
		y.Name = "y"
		w.Monitor.Hear(monitor.Exchange{
			At: time.Now(), Who: pavise.Name{Tenant: "local", Kind: pavise.Workload, ID: "app"}, Model: drifter.Model, Version: "v1", Signature: &drifts,
			Asked: &tensor.Request{Inputs: []tensor.Tensor{x}}, Said: &tensor.Response{Outputs: []tensor.Tensor{y}},
		})
		var list monitor.List
		if err := w.client(t, "operator").Call(t.Context(), "drift.list", DriftList{Stage: string(stage)}, &list); err != nil {
			t.Fatal(err)
		}
		if len(list.Models) > 0 && list.Models[0].Baseline != "" {
			return
		}
	}
	t.Fatalf("it does not come to be %s", stage)
}

// TestBaselineTakesAnother: what a model is held to is another's word, and in force once it is
// given.
func TestBaselineTakesAnother(t *testing.T) {
	w := newWorld(t)
	w.drift(t, monitor.Stable)
	var ch api.ChangeView
	ask := DriftBaseline{DriftRef: drifter, Learn: 500, Reason: "a new customer"}
	if err := w.person(t, "ana", "operator").Call(t.Context(), "drift.baseline", ask, &ch); err != nil || ch.State != change.Open {
		t.Fatalf("%+v: %v", ch, err)
	}
	vote := VoteRequest{ID: ch.Name.ID, Digest: ch.Digest}
	if err := w.person(t, "ana", "operator").Call(t.Context(), "change.approve", vote, &ch); pavise.KindOf(err) != pavise.Denied {
		t.Errorf("who proposed it approves: %v", err)
	}
	if err := w.person(t, "ben", "operator").Call(t.Context(), "change.approve", vote, &ch); err != nil || ch.State != change.Done {
		t.Fatalf("%s: %s, %v", ch.State, ch.Outcome, err)
	}
	var shown monitor.Shown
	if err := w.client(t, "analyst").Call(t.Context(), "drift.show", drifter, &shown); err != nil || shown.Wanted != 500 {
		t.Errorf("%+v: %v", shown.View, err)
	}
	nobody := &Rooms{Rooms: w.Rooms.Rooms}
	do := withMonitor(nobody, func(*monitor.Monitor, context.Context, pavise.Principal, DriftRef) (monitor.Shown, error) {
		return monitor.Shown{}, nil
	})
	if _, err := do(t.Context(), pavise.Principal{}, drifter); pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("where no models answer: %v", err)
	}
}

// TestBaselineOfAVersionByNumber: a version of the registry is known by its number, and what is
// approved is of its file.
func TestBaselineOfAVersionByNumber(t *testing.T) {
	w := newWorld(t)
	w.drift(t, monitor.Stable)
	var v registry.Version
	file := w.shelf.file("drifter.onnx", "another drifter")
	ana := w.person(t, "ana", "operator")
	if err := ana.Call(t.Context(), "model.create", ModelCreate{Name: drifter.Model, Risk: "low"}, nil); err != nil {
		t.Fatal(err)
	}
	for _, f := range []registry.File{file, w.shelf.file("a.txt", "nothing that runs")} {
		if err := ana.Call(t.Context(), "model.add", ModelAdd{Name: drifter.Model, Files: []registry.File{f}}, &v); err != nil {
			t.Fatal(err)
		}
	}
	f := drift.Feature{Numbers: drift.NewReference([]float64{1, 2, 3}), Base: &drift.Histogram{}}
	f.Numbers.CountAll(f.Base, make([]float64, drift.LeastRows))
	b := drift.Baseline{Format: drift.BaselineFormat, Rows: drift.LeastRows, Features: []drift.Profile{drift.ProfileOf("x", "", f)}}
	ask := DriftBaseline{DriftRef: drifter, File: b.Text(), Version: "1", Reason: "of its release"}
	var ch api.ChangeView
	if err := ana.Call(t.Context(), "drift.baseline", ask, &ch); err != nil || ch.Plan.Digests["version"] != file.Digest.String() {
		t.Errorf("%+v: %v", ch.Plan, err)
	}
	for version, kind := range map[string]pavise.Kind{"2": pavise.Invalid, "7": pavise.NotFound} {
		if ask.Version = version; pavise.KindOf(ana.Call(t.Context(), "drift.baseline", ask, &ch)) != kind {
			t.Errorf("version %s, which has no file that runs, or is none, has a baseline", version)
		}
	}
}

// TestReviewOfAModelThatMoved: what the house proposes of a model that has moved is decided as any
// change is, in the time that its risk leaves.
func TestReviewOfAModelThatMoved(t *testing.T) {
	w := newWorld(t)
	ana := w.person(t, "ana", "operator")
	if err := ana.Call(t.Context(), "model.create", ModelCreate{Name: drifter.Model, Risk: "high"}, nil); err != nil {
		t.Fatal(err)
	}
	w.drift(t, monitor.Stable)
	house := pavise.Principal{Tenant: "local", Kind: pavise.Workload, ID: "drift-monitor", Roles: []string{"drift-monitor"}, Proof: "part of the house"}
	p := change.Proposal{Verb: "drift.baseline", On: monitor.Of(drifter.Model), Request: json.RawMessage(`{"model":"local/model/drifter","learn":500,"review":true}`), Reason: "drift: it has moved"}
	if _, err := w.Changes.Propose(t.Context(), house, p); pavise.KindOf(err) != pavise.Conflict {
		t.Errorf("of a model that has not moved: %v", err)
	}
	w.drift(t, monitor.Confirmed)
	ch, err := w.Changes.Propose(t.Context(), house, p)
	if err != nil || ch.State != change.Open || ch.Until.Sub(ch.Proposed) != 24*time.Hour {
		t.Fatalf("%+v: %v", ch, err)
	}
	var done api.ChangeView
	vote := VoteRequest{ID: ch.Name.ID, Digest: ch.Digest, Reason: "it was an attack"}
	if err := ana.Call(t.Context(), "change.deny", vote, &done); err != nil || done.State != change.Denied {
		t.Errorf("%s: %v", done.State, err)
	}
	if ch, err = w.Changes.Propose(t.Context(), house, p); err != nil {
		t.Fatal(err)
	}
	vote = VoteRequest{ID: ch.Name.ID, Digest: ch.Digest}
	if err := ana.Call(t.Context(), "change.approve", vote, &done); err != nil || done.State != change.Done {
		t.Errorf("%s, %s: %v", done.State, done.Outcome, err)
	}
}
