package edge_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/pavise/pavise/internal/edgetest"
	"github.com/pavise/pavise/internal/route"
)

// TestTritonClient lets Triton's own client ask, as its users do: over HTTP with the
// binary extension, which is its default, and over gRPC, in streams too. PAVISE_TRITON
// names a Python that has the package tritonclient[http,grpc].
func TestTritonClient(t *testing.T) {
	python := os.Getenv("PAVISE_TRITON")
	if python == "" {
		t.Skip("PAVISE_TRITON names no Python with the package tritonclient[http,grpc]")
	}
	w := edgetest.New(t)
	w.Put(t, func(s *route.Spec) { s.Rate = "100000/1m" })
	cmd := exec.Command(python, "testdata/triton.py", w.Server.Listener.Addr().String(), w.Token)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.HasSuffix(string(out), "done\n") {
		t.Fatalf("%v\n%s", err, out)
	}
	infers := 0
	for _, r := range w.Log.Records(0, w.Log.Size()) {
		if r.Kind == "model.infer" {
			infers++
		}
	}
	if infers < 12 {
		t.Errorf("%d records of inferences", infers)
	}
}
