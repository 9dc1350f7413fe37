package role

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/deploy"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/onnx"
	"github.com/pavise/pavise/internal/registry"
)

// TestMonitorTakesBackACanary has a deployed version share the calls of the gateway with the
// one before: the house's verdict on the two takes the newer one away and bars it, and what is
// in quarantine comes beside nothing, nor hears anything, past the registry.
func TestMonitorTakesBackACanary(t *testing.T) {
	r := runUp(t, UpConfig{Data: installation.Data(t.TempDir())})
	model := func(weight float32) []byte {
		w := onnx.NewWriter("product")
		w.Node("MatMul", "y", []string{w.Input("x", 2), w.Floats("w", []int{2, 2}, []float32{weight, 2, 3, 4})})
		w.Output("y", 2)
		return w.Bytes()
	}
	digest := func(weight float32) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(model(weight))) }
	sample := pavise.Name{Tenant: Tenant, Kind: "model", ID: "threat-detector"}
	on := pavise.Name{Tenant: Tenant, Kind: deploy.Kind, ID: sample.ID}
	if _, err := r.Models.Create(t.Context(), r.person("dora"), registry.ModelSpec{Name: sample, Risk: registry.Low}); err != nil {
		t.Fatal(err)
	}
	r.do(t, "target.put", pavise.Name{Tenant: Tenant, Kind: deploy.KindTarget, ID: "gw"}, `{"kind":"gateway","settings":{"model":"threat-detector"}}`)
	r.publish(t, sample, model(1))
	r.publish(t, sample, model(2))
	r.do(t, "deploy.release", on, `{"version":1,"to":["gw"]}`)
	r.answers(t, sample, digest(1))
	r.do(t, "deploy.release", on, `{"version":2,"canary":10}`)
	both := digest(1) + " beside " + digest(2)
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if live, err := r.Rooms().Routes.Find(sample); err == nil && live.Is == both {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the second version does not come beside the first")
		}
	}
	back, err := r.Verdicts().Rollback(t.Context(), sample, both, "drift: its outputs moved")
	if err != nil || back != digest(1) {
		t.Fatalf("%s %v", back, err)
	}
	v, err := r.Deployments.Check(t.Context(), r.person("dora"), on)
	if err != nil || v.Spots[0].Main.Version != 1 || v.Spots[0].Beside != nil || len(v.Barred) != 1 || v.Barred[0].Version != 2 {
		t.Errorf("%+v %v", v, err)
	}
	if _, err := r.Models.Quarantine(t.Context(), r.person("dora"), Tenant, registry.Ref{Model: sample.ID, Version: 2}, "it was poisoned"); err != nil {
		t.Fatal(err)
	}
	for _, as := range []string{"beside", "shadow_onnx"} {
		request, err := json.Marshal(map[string]any{"name": sample.String(), as: model(2)})
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.Changes.Propose(t.Context(), r.person("dora"), change.Proposal{Verb: "route.release", On: pavise.Name{Tenant: Tenant, Kind: "route", ID: sample.ID}, Request: request})
		if pavise.KindOf(err) != pavise.Denied {
			t.Errorf("%s, past the registry: %v", as, err)
		}
	}
}
