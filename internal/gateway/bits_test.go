package gateway

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/route"
)

// TestBudgetInBits holds a caller to as many rows as disclose no more than the budget, under
// one shape and then another, over a restart, and at a gateway that shares the budget.
func TestBudgetInBits(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, dir)
	w.put(t, func(s *route.Spec) { s.Budget, s.Shape = "200 bits/24h", "round:4" }) // three scores of 13.3 bits a row
	for i := range 6 {
		want := http.StatusOK
		if i == 5 {
			want = http.StatusTooManyRequests
		}
		if resp, body := w.post(t, good, nil); resp.StatusCode != want {
			t.Fatalf("row %d: %d %s", i, resp.StatusCode, body)
		}
	}
	w.close()
	w = newWorld(t, dir)
	if resp, body := w.post(t, good, nil); resp.StatusCode != http.StatusTooManyRequests {
		t.Errorf("after a restart: %d %s", resp.StatusCode, body)
	}
	if r := w.change(t, route.Spec{Shape: "round:1"}); !r.Terms.Budget.Bits || r.Terms.Budget.Count != 200 {
		t.Errorf("%+v", r.Terms)
	}
	if resp, body := w.post(t, good, nil); resp.StatusCode != http.StatusTooManyRequests {
		t.Errorf("what has been disclosed is forgotten with the shape: %d %s", resp.StatusCode, body)
	}

	standings := w.Routes.Standings()
	if b := standings[0].Terms.Budget; b.Bits || b.Count != 19 {
		t.Errorf("gateways are told %v", b)
	}
	other := newWorld(t, t.TempDir())
	if err := other.Routes.Adopt(t.Context(), standings, 2, w.model(t)); err != nil {
		t.Fatal(err)
	}
	if b := other.current(theModel.String()).Terms.Budget; b.Bits || b.Count != 9 {
		t.Errorf("one of two gateways has %v", b)
	}
}

// model has what Adopt asks for the bytes of models.
func (w *world) model(t *testing.T) func(string) ([]byte, error) {
	return func(digest string) ([]byte, error) { return w.Routes.Model(t.Context(), digest) }
}

// TestBudgetsInBitsRefused are those of which nobody can say how many rows they are.
func TestBudgetsInBitsRefused(t *testing.T) {
	w := newWorld(t, t.TempDir())
	texts := `{"inputs":[{"name":"x","datatype":"FP32","shape":[-1,2]}],"outputs":[{"name":"t","datatype":"BYTES","shape":[-1]}]}`
	for want, spec := range map[string]route.Spec{
		"one row of this route": {ONNX: softmaxModel(), Budget: "30 bits/24h"},
		"nobody can say":        {Upstream: "http://127.0.0.1:1", Signature: json.RawMessage(texts), Shape: "full", Budget: "9000 bits/24h"},
		"a language model":      {Upstream: "http://127.0.0.1:1", Protocol: "openai", ModelBudget: "9000 bits/24h"},
		"is not COUNT/TIME":     {ONNX: softmaxModel(), Budget: "9000 bytes/24h"},
	} {
		spec.Name = theModel.String()
		if _, err := w.Routes.Put(t.Context(), operator, spec); pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	w.put(t, func(s *route.Spec) { s.Budget = "100 bits/24h" })
	if _, err := w.Routes.Put(t.Context(), operator, route.Spec{Name: theModel.String(), Shape: "full", Budget: "60 bits/24h"}); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("a shape that tells more than the budget has: %v", err)
	}
}
