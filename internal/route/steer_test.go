package route

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/infer"
)

// TestSteer has a room of the house say what is behind a route: an ONNX model, servers in
// shares, a shadow, and back again with the servers away.
func TestSteer(t *testing.T) {
	var asked atomic.Int64
	serve := func() *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			io.WriteString(w, `{"inputs":[{"name":"x","datatype":"FP32","shape":[-1,2]}],"outputs":[{"name":"s","datatype":"FP32","shape":[-1,2]}]}`)
		}))
		t.Cleanup(s.Close)
		return s
	}
	one, two := serve(), serve()
	w := newWorld(t, t.TempDir())
	course := Course{Model: theModel, Servers: []Replica{{one.URL, 1}}}
	if err := w.Steer(t.Context(), course); pavise.KindOf(err) != pavise.NotFound {
		t.Errorf("there is no route: %v", err)
	}
	w.put(t, func(s *Spec) { s.Rate = "7/1m" })
	first := w.current(theModel.String()).ONNX
	next, err := infer.NewNative("m", otherModel("x", 2))
	if err != nil {
		t.Fatal(err)
	}
	steer := func(c Course) Route {
		t.Helper()
		c.Model = theModel
		if err := w.Steer(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		r, _ := w.Get(theModel)
		if r.Terms.Rate.Count != 7 {
			t.Errorf("the terms are %+v", r.Terms)
		}
		return r
	}
	fetched := 0
	bytes := func(context.Context) ([]byte, error) { fetched++; return otherModel("x", 2), nil }
	if r := steer(Course{Digest: next.Digest(), ONNX: bytes}); r.ONNX != next.Digest() || fetched != 1 {
		t.Errorf("%+v", r)
	}
	heard := ReleaseSpec{Name: theModel.String(), Shadow: one.URL} // somebody has a server hear what is asked
	if err := w.Release(t.Context(), changing(), heard, w.before(t, heard), unmarked); err != nil {
		t.Fatal(err)
	}
	if r, _ := w.Get(theModel); r.Shadow != one.URL {
		t.Fatalf("%+v", r)
	}
	if r := steer(Course{Digest: next.Digest(), ONNX: bytes}); r.Shadow != "" || r.ONNX != next.Digest() {
		t.Errorf("somebody hears on: %+v", r)
	}
	if r := steer(Course{Servers: []Replica{{one.URL, 90}, {two.URL, 10}}}); r.ONNX != "" || r.Upstream != one.URL || *r.Weight != 90 || !slices.Equal(r.Replicas, []Replica{{two.URL, 10}}) {
		t.Errorf("%+v", r)
	}
	if r := steer(Course{Servers: []Replica{{one.URL, 1}}, Shadow: two.URL}); r.Weight != nil || len(r.Replicas) != 0 || r.Shadow != two.URL {
		t.Errorf("%+v", r)
	}
	if r := steer(Course{Servers: []Replica{{two.URL, 1}}}); r.Upstream != two.URL || r.Shadow != "" {
		t.Errorf("%+v", r)
	}
	if err := w.Quarantine(t.Context(), changing(), theModel, unmarked); err != nil {
		t.Fatal(err)
	}
	one.Close()
	was := asked.Load()
	if r := steer(Course{Servers: []Replica{{one.URL, 1}}, Safe: true}); r.Upstream != one.URL || asked.Load() != was {
		t.Errorf("the way back asked the server: %+v", r)
	}
	if !w.Quarantined(theModel) {
		t.Error("steering ends a quarantine")
	}
	if r := steer(Course{Digest: next.Digest(), ONNX: bytes, Safe: true}); r.ONNX != next.Digest() || fetched != 1 {
		t.Errorf("a model that is here was fetched: %+v", r)
	}
	for what, c := range map[string]Course{
		"nobody":          {},
		"a closed server": {Servers: []Replica{{one.URL + "/other", 1}}},
		"no address":      {Servers: []Replica{{"nowhere", 1}}},
		"no model":        {Digest: first[:len(first)-1], ONNX: func(context.Context) ([]byte, error) { return []byte("?"), nil }},
	} {
		c.Model = theModel
		if err := w.Steer(t.Context(), c); err == nil {
			t.Errorf("%s: steered", what)
		}
		if r, _ := w.Get(theModel); r.ONNX != next.Digest() {
			t.Errorf("%s: the route is %+v", what, r)
		}
	}
}
