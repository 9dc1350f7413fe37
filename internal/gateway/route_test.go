package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/firewall"
	"github.com/pavise/pavise/internal/onnx"
	"github.com/pavise/pavise/internal/route"
)

// bounds are those of softmaxModel's input.
const bounds = `{"name":"a card","input":"x","output":"scores","features":[{"name":"a","min":0,"max":1,"codes":["no","yes"]},{"name":"b","min":-1}]}`

// change puts words on a route that may exist.
func (w *world) change(t *testing.T, spec route.Spec) route.Route {
	t.Helper()
	spec.Name = theModel.String()
	names := spec.ONNX != nil || spec.Upstream != "" || spec.Remote != ""
	if now := w.current(spec.Name); now != nil && names {
		release := route.ReleaseSpec{Name: spec.Name, ONNX: spec.ONNX, Upstream: spec.Upstream, Remote: spec.Remote}
		if err := w.Routes.Release(t.Context(), changing(), release, w.before(t, release), unmarked); err != nil {
			t.Fatal(err)
		}
		return *w.current(spec.Name)
	}
	route, err := w.Routes.Put(t.Context(), operator, spec)
	if err != nil {
		t.Fatal(err)
	}
	return route.Route
}

// TestPutChangesOnlyWhatIsSaid changes one thing after another and finds the
// others as they were, after a restart, too.
func TestPutChangesOnlyWhatIsSaid(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, dir)
	want := w.change(t, route.Spec{
		ONNX: softmaxModel(), Bounds: json.RawMessage(bounds), MaxRows: 7, Rate: "70/1m burst 7", Budget: "700/24h", ModelRate: "7000/1m",
		ModelBudget: "70000/24h", Shape: "label", Purpose: "marketing", Alterable: new(true), Observe: new(true), Durable: new(true),
	})
	if got := w.change(t, route.Spec{}); !reflect.DeepEqual(got, want) {
		t.Errorf("no words changed %+v into %+v", want, got)
	}
	for name, tt := range map[string]struct {
		spec route.Spec
		edit func(*route.Route)
	}{
		"rows": {route.Spec{MaxRows: 8}, func(r *route.Route) { r.MaxRows = 8 }},
		"rate": {route.Spec{Rate: "80/1m"}, func(r *route.Route) { r.Terms.Rate, _ = firewall.ParseRate("80/1m") }},
		"model rate": {route.Spec{ModelRate: "none"}, func(r *route.Route) {
			r.Terms.ModelRate.Count, r.Terms.ModelRate.Per, r.Terms.ModelRate.Burst = 0, 0, 0
		}},
		"shape":   {route.Spec{Shape: "full"}, func(r *route.Route) { r.Shape.Kind = "full" }},
		"purpose": {route.Spec{Purpose: "games"}, func(r *route.Route) { r.Purpose = "games" }},
		"observe": {route.Spec{Observe: new(false)}, func(r *route.Route) { r.Observe = false }},
		"durable": {route.Spec{Durable: new(false)}, func(r *route.Route) { r.Durable = false }},
	} {
		tt.edit(&want)
		if got := w.change(t, tt.spec); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	w.close()
	again := newWorld(t, dir)
	if list, err := again.Routes.List(t.Context(), operator, tenant); err != nil || len(list) != 1 || !reflect.DeepEqual(list[0], route.Standing{Route: want}) {
		t.Errorf("after a restart: %+v, %v, want %+v", list, err, want)
	}
	if resp, body := again.post(t, good, nil); resp.StatusCode != 200 {
		t.Errorf("the model does not answer any more: %d %s", resp.StatusCode, body)
	}
}

// otherModel takes so many numbers as input and says them back.
func otherModel(input string, columns int) []byte {
	w := onnx.NewWriter("other")
	w.Node("Relu", "scores", []string{w.Input(input, columns)})
	w.Output("scores", columns)
	return w.Bytes()
}

// TestBoundsStayOrEndAloud replaces models behind bounds: they hold on as long as
// the inputs are the same, and the answer and the record say when they end.
func TestBoundsStayOrEndAloud(t *testing.T) {
	w := newWorld(t, t.TempDir())
	const outside = `{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[-1,0]}]}`
	w.put(t, func(s *route.Spec) { s.Bounds = json.RawMessage(bounds) })
	for name, spec := range map[string]route.Spec{
		"terms": {Rate: "100/1m"}, "the same inputs": {ONNX: otherModel("x", 2)}, "the first model": {ONNX: softmaxModel()},
	} {
		route := w.change(t, spec)
		if resp, body := w.post(t, outside, nil); resp.StatusCode != 400 || !strings.Contains(body, "outside 0 to 1") || len(route.Signature.Inputs[0].Columns) != 2 {
			t.Errorf("%s: %d %s, %+v", name, resp.StatusCode, body, route.Signature)
		}
	}
	size := w.log.Size()
	if route := w.change(t, route.Spec{ONNX: otherModel("x", 3)}); len(route.Signature.Inputs[0].Columns) != 0 {
		t.Errorf("two bounds on three columns: %+v", route.Signature)
	}
	records := slices.Collect(func(yield func(string) bool) {
		for _, r := range w.log.Records(size, w.log.Size()) {
			if r.Kind == "route.release" && len(r.Detail) > 0 && !yield(string(r.Detail)) {
				return
			}
		}
	})
	if len(records) != 1 || strings.Contains(records[0], "columns") {
		t.Errorf("records %q", records)
	}
	w.change(t, route.Spec{ONNX: softmaxModel()})
	if resp, body := w.post(t, outside, nil); resp.StatusCode != 200 {
		t.Errorf("bounds came back from the dead: %d %s", resp.StatusCode, body)
	}
}

// TestBoundsOfTheCard puts the sample model again, as a user does, with its card.
func TestBoundsOfTheCard(t *testing.T) {
	w := newWorld(t, t.TempDir())
	read := func(name string) []byte {
		text, err := os.ReadFile("../../examples/threat-detector/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	route := w.change(t, route.Spec{ONNX: read("model.onnx"), Bounds: read("card.json")})
	columns := route.Signature.Inputs[0].Columns
	row := make([]float64, len(columns))
	for i, c := range columns {
		row[i] = *c.Min
	}
	ask := func() (*http.Response, string) {
		data, err := json.Marshal(row)
		if err != nil {
			t.Fatal(err)
		}
		return w.post(t, fmt.Sprintf(`{"inputs":[{"name":"flow","shape":[1,%d],"datatype":"FP32","data":%s}]}`, len(row), data), nil)
	}
	if resp, body := ask(); resp.StatusCode != 200 {
		t.Errorf("a row within bounds: %d %s", resp.StatusCode, body)
	}
	row[0] = -1
	if resp, body := ask(); resp.StatusCode != 400 || !strings.Contains(body, "(duration): -1 is outside 0 to 86400") {
		t.Errorf("a duration of -1: %d %s", resp.StatusCode, body)
	}
}

// TestExternalRoute puts a model that is behind a proxy: what it takes and gives has to be
// said, unless the name has always given it; and going there or back is a release.
func TestExternalRoute(t *testing.T) {
	w := newWorld(t, t.TempDir())
	spec := route.Spec{Name: theModel.String(), Upstream: "external"}
	_, err := w.Routes.Put(t.Context(), operator, spec)
	if e, ok := errors.AsType[*pavise.Error](err); !ok || e.Kind != pavise.Invalid || !strings.Contains(e.Hint, "--signature") {
		t.Fatalf("without a signature: %v", err)
	}
	spec.Signature = json.RawMessage(`{"inputs":[{"name":"x","datatype":"FP32","shape":[-1,2]}],"outputs":[{"name":"scores","datatype":"FP32","shape":[-1,3]}]}`)
	put, err := w.Routes.Put(t.Context(), operator, spec)
	if err != nil || put.Upstream != "external" || put.Remote != theModel.ID || len(put.Signature.Outputs) != 1 {
		t.Fatalf("%+v, %v", put, err)
	}
	if _, err := w.Routes.Put(t.Context(), operator, route.Spec{Name: theModel.String(), Rate: "7/1m"}); err != nil {
		t.Errorf("other terms: %v", err)
	}
	if _, err := w.Routes.Put(t.Context(), operator, route.Spec{Name: theModel.String(), ONNX: softmaxModel()}); pavise.KindOf(err) != pavise.Conflict {
		t.Errorf("another model: %v", err)
	}
	w.change(t, route.Spec{ONNX: softmaxModel()})
	plan, err := w.Routes.PlanRelease(t.Context(), route.ReleaseSpec{Name: theModel.String(), Upstream: "external"})
	if err != nil || plan.Will.Upstream != "external" || len(plan.Will.Signature.Inputs) != 1 || !strings.Contains(plan.Will.At(), "proxy") {
		t.Errorf("back to the proxy: %+v, %v", plan, err)
	}
	w.change(t, route.Spec{Upstream: "external"})
	if resp, body := w.post(t, good, nil); resp.StatusCode != 503 || !strings.Contains(body, "proxy") {
		t.Errorf("asked at the gateway's own door: %d %s", resp.StatusCode, body)
	}
}
