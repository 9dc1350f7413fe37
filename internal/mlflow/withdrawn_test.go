package mlflow

import (
	"fmt"
	"sync"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/registry"
	"github.com/pavise/pavise/internal/store"
)

// TestRetiredFiles: a version that was never published is not to be had by being retired, and
// one in quarantine by nobody.
func TestRetiredFiles(t *testing.T) {
	w := newWorld(t)
	draft, bad := w.register(t, model), w.register(t, map[string]string{"model/MLmodel": "flavors: {}\n", "model/w.json": "{}"})
	w.ask(t, "pat", "POST", "/mlflow/model-versions/transition-stage", stage(draft, "Archived"), 403, "awaits approval")
	w.approve(t)
	of := "/mlflow-artifacts/artifacts/models/fraud/"
	w.ask(t, "dan", "GET", of+draft+"/MLmodel", "", 403, "model.inspect")
	w.ask(t, "mia", "GET", of+draft+"/MLmodel", "", 200)

	ref := registry.Ref{Model: "fraud", Version: 2}
	if _, err := w.cfg.Registry.Quarantine(t.Context(), ray, "local", ref, "odd"); err != nil {
		t.Fatal(err)
	}
	p, err := w.cfg.Registry.PlanRetire(t.Context(), "local", ref)
	if err != nil {
		t.Fatal(err)
	}
	who := pat
	who.Change = pavise.Name{Tenant: "local", Kind: "change", ID: "c-9"}
	w.running = who.Change
	if err := w.cfg.Registry.Retire(t.Context(), "local", ref, registry.Act{Who: who, Digests: p.Digests(), Approvers: []pavise.Name{mia.Root()}, Mark: func(*store.Tx) error { return nil }}); err != nil {
		t.Fatal(err)
	}
	w.ask(t, "mia", "GET", of+bad+"/MLmodel", "", 403, "quarantine")
	w.ask(t, "dan", "GET", of+bad+"/MLmodel", "", 403, "quarantine")
	w.ask(t, "mia", "POST", "/mlflow/model-versions/create", fmt.Sprintf(`{"name":"fraud","source":"runs:/%032x/model"}`, 2), 403, "in quarantine, as fraud/2")
}

// TestRefusedFilesGo: files are not held for a version that was refused, unless another has them.
func TestRefusedFilesGo(t *testing.T) {
	w := newWorld(t)
	w.register(t, model)
	run := w.run(t, "mia", map[string]string{"model/MLmodel": "flavors: {}\n", "model/other.json": `{"w":[3]}`})
	for of := range 2 {
		w.ask(t, "mia", "POST", "/mlflow/model-versions/create", fmt.Sprintf(`{"name":"fraud","source":"runs:/%032x/model","tags":[{"key":"pavise.dataset.x","value":"no root"}]}`, of+1), 400)
		w.ask(t, "mia", "DELETE", fmt.Sprintf("/mlflow-artifacts/artifacts/runs/%032x/model", of+1), "", 200)
	}
	w.hour.Add(100_000)
	if gone, err := w.cfg.Depot.Sweep(t.Context()); gone != 1 || err != nil {
		t.Errorf("%d contents of run %s went, %v", gone, run, err)
	}
}

// TestSamePlace: of several that put an artifact in one place at once, the last one's is kept.
func TestSamePlace(t *testing.T) {
	w := newWorld(t)
	run := w.run(t, "mia", nil)
	at := "/mlflow-artifacts/artifacts/runs/" + run + "/a"
	for range 4 {
		var all sync.WaitGroup
		for i := range 6 {
			all.Go(func() {
				if a := w.send("mia", "PUT", "/api/2.0"+at, fmt.Sprint(i%2)); a.Code != 200 {
					t.Errorf("%d %s", a.Code, a.Body)
				}
			})
		}
		all.Wait()
		w.hour.Add(100_000)
		if _, err := w.cfg.Depot.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.ask(t, "mia", "GET", at, "", 200)
		if used, _ := w.cfg.Depot.Used(); used != 1 {
			t.Fatalf("%d bytes are kept", used)
		}
	}
}
