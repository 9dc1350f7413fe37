package role

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/deploy"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/onnx"
	"github.com/pavise/pavise/internal/registry"
)

// TestQuarantineIsHeeded has the version that answers put in quarantine: the one before answers
// at once, and not when the target is looked at again.
func TestQuarantineIsHeeded(t *testing.T) {
	t.Parallel()
	r := runUp(t, UpConfig{Data: installation.Data(t.TempDir())})
	sample := pavise.Name{Tenant: Tenant, Kind: "model", ID: "threat-detector"}
	on := pavise.Name{Tenant: Tenant, Kind: deploy.Kind, ID: sample.ID}
	if _, err := r.Models.Create(t.Context(), r.person("dora"), registry.ModelSpec{Name: sample, Risk: registry.Low}); err != nil {
		t.Fatal(err)
	}
	r.do(t, "target.put", pavise.Name{Tenant: Tenant, Kind: deploy.KindTarget, ID: "gw"}, `{"kind":"gateway","settings":{"model":"threat-detector"}}`)
	var digests []string
	for n := range 2 {
		w := onnx.NewWriter("product")
		w.Node("MatMul", "y", []string{w.Input("x", 2), w.Floats("w", []int{2, 2}, []float32{float32(n), 2, 3, 4})})
		w.Output("y", 2)
		digests = append(digests, fmt.Sprintf("sha256:%x", sha256.Sum256(w.Bytes())))
		r.publish(t, sample, w.Bytes())
		r.do(t, "deploy.release", on, fmt.Sprintf(`{"version":%d,"to":["gw"]}`, n+1))
		r.answers(t, sample, digests[n])
	}
	if _, err := r.Models.Quarantine(t.Context(), r.person("eve"), Tenant, registry.Ref{Model: sample.ID, Version: 2}, "it was poisoned"); err != nil {
		t.Fatal(err)
	}
	r.answers(t, sample, digests[0])
}
