package edge_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/pavise/pavise/internal/edgetest"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/tensor"
)

// vector is the signature of the softmax model.
var vector = tensor.Signature{
	Inputs:  []tensor.Port{{Name: "x", Datatype: tensor.FP32, Shape: []int64{-1, 2}}},
	Outputs: []tensor.Port{{Name: "scores", Datatype: tensor.FP32, Shape: []int64{-1, 3}}},
}

// serving returns the address of a server that the test's end closes.
func serving(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(looked(h))
	t.Cleanup(server.Close)
	return server.URL
}

// looked answers the looks at a server of which callers know nothing: those of whoever
// puts a route to it.
func looked(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "GET" && (r.URL.Path == "/v1/models" || r.URL.Path == "/ping") {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		h(w, r)
	}
}

// permit adds a policy to those that every tenant begins with.
func permit(t *testing.T, w *edgetest.World, text string) {
	t.Helper()
	all := guard.Defaults()
	all["test"] = text
	if err := w.Guard.Load(edgetest.Tenant, all); err != nil {
		t.Fatal(err)
	}
}

func newRecorder() *httptest.ResponseRecorder { return httptest.NewRecorder() }

func newRequest(method, path string, body io.Reader) *http.Request {
	r := httptest.NewRequest(method, path, body)
	r.Header.Set("Content-Type", "application/json")
	return r
}
