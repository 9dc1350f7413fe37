package edge_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/edgetest"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/theft"
	"github.com/pavise/pavise/internal/tier"
)

// TestCalibrationOfARoute puts, keeps, changes and takes away what the callers of a route
// are held to, and what those in amber get.
func TestCalibrationOfARoute(t *testing.T) {
	w := watchedWorld(t, nil)
	file, err := calibrationFile()
	if err != nil {
		t.Fatal(err)
	}
	put := func(s route.Spec) (route.Placed, error) {
		s.Name = edgetest.Model.String()
		return w.Routes.Put(t.Context(), edgetest.Operator, s)
	}
	first, _ := w.Routes.Get(edgetest.Model)
	if !strings.HasPrefix(first.Calibration, "sha256:") || first.Measure().String() != tier.Budget {
		t.Fatalf("%+v", first)
	}
	for _, step := range []struct {
		name    string
		words   route.Spec
		kept    bool
		measure string
		mark    float64
		kind    pavise.Kind // of the error; Internal: none
	}{
		{"nothing is said", route.Spec{}, true, "budget", 0, pavise.Internal},
		{"guard without consent", route.Spec{Amber: "guard"}, true, "budget", 0, pavise.Denied},
		{"marks without consent", route.Spec{Mark: "0.005"}, true, "budget", 0, pavise.Denied},
		{"consent", route.Spec{Alterable: new(true)}, true, "guard", 0, pavise.Internal},
		{"labels", route.Spec{Amber: "label"}, true, "label", 0, pavise.Internal},
		{"nonsense", route.Spec{Amber: "red"}, true, "label", 0, pavise.Invalid},
		{"marks", route.Spec{Mark: "0.005"}, true, "label", 0.005, pavise.Internal},
		{"too many marks", route.Spec{Mark: "0.5"}, true, "label", 0.005, pavise.Invalid},
		{"no marks at all", route.Spec{Mark: "NaN"}, true, "label", 0.005, pavise.Invalid},
		{"words for a share", route.Spec{Mark: "yes"}, true, "label", 0.005, pavise.Invalid},
		{"consent is taken back", route.Spec{Alterable: new(false)}, true, "label", 0.005, pavise.Denied},
		{"all is taken back", route.Spec{Alterable: new(false), Amber: "budget", Mark: "none"}, true, "budget", 0, pavise.Internal},
		{"a calibration and off", route.Spec{Calibration: file, Amber: "off"}, true, "budget", 0, pavise.Invalid},
		{"none and marks", route.Spec{Calibration: []byte("none"), Mark: "0.005"}, true, "budget", 0, pavise.Invalid},
		{"none", route.Spec{Calibration: []byte(`"none"`)}, false, "budget", 0, pavise.Internal},
		{"again", route.Spec{Calibration: append(slices.Clone(file), '\n')}, true, "budget", 0, pavise.Internal},
		{"off", route.Spec{Amber: "off"}, false, "budget", 0, pavise.Internal},
	} {
		placed, err := put(step.words)
		if step.kind == pavise.Internal && (err != nil || placed.Warning != "") || step.kind != pavise.Internal && pavise.KindOf(err) != step.kind {
			t.Errorf("%s: %v %s", step.name, err, placed.Warning)
		}
		if r, _ := w.Routes.Get(edgetest.Model); (r.Calibration != "") != step.kept || r.Measure().String() != step.measure || r.Mark != step.mark {
			t.Errorf("%s: %+v", step.name, r)
		}
	}
}

// TestCalibrationsThatAreRefused: changed by somebody, of another model, of other columns;
// each error says what is wrong, and nothing changes.
func TestCalibrationsThatAreRefused(t *testing.T) {
	w := watchedWorld(t, func(s *route.Spec) {
		s.Bounds = []byte(`{"input":"x","features":[{"name":"a"},{"name":"b"},{"name":"c"},{"name":"d"},{"name":"e"},{"name":"f"}]}`)
	})
	file, err := calibrationFile()
	if err != nil {
		t.Fatal(err)
	}
	was, _ := w.Routes.Get(edgetest.Model)
	with := func(edit func(*theft.Calibration)) []byte {
		c, err := theft.ParseCalibration(file)
		if err != nil {
			t.Fatal(err)
		}
		edit(c)
		text, err := c.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for name, tt := range map[string]struct {
		file []byte
		want string
	}{
		"no calibration": {[]byte(`{"format":"x"}`), "its format is"},
		"no JSON":        {[]byte(`guard`), "cannot be used"},
		"changed":        {bytes.Replace(file, []byte(`"threshold":`), []byte(`"threshold":9`), 1), "it was changed after it was made"},
		"cut":            {file[:len(file)/2], "cannot be used"},
		"other scores":   {with(func(c *theft.Calibration) { c.Scores = 7 }), "7 scores"},
		"other columns":  {with(func(c *theft.Calibration) { c.Columns = strings.Split("abcdeg", "") }), `"g"`},
	} {
		if _, err := w.Routes.Put(t.Context(), edgetest.Operator, route.Spec{Name: edgetest.Model.String(), Calibration: tt.file}); pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if now, _ := w.Routes.Get(edgetest.Model); now.Calibration != was.Calibration {
		t.Error("it is another")
	}
	same := with(func(c *theft.Calibration) { c.Columns = strings.Split("abcdef", "") })
	if _, err := w.Routes.Put(t.Context(), edgetest.Operator, route.Spec{Name: edgetest.Model.String(), Calibration: same}); err != nil {
		t.Errorf("the same columns: %v", err)
	}
	other := pavise.Name{Tenant: edgetest.Tenant, Kind: "model", ID: "other"}
	if _, err := w.Routes.Put(t.Context(), edgetest.Operator, route.Spec{Name: other.String(), ONNX: edgetest.Softmax(), Calibration: file}); pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), "2 inputs") && !strings.Contains(err.Error(), "4 scores") {
		t.Errorf("another model: %v", err)
	}
}

// TestAdoptedCalibration carries a route to a gateway, with the bytes of its calibration.
func TestAdoptedCalibration(t *testing.T) {
	from := watchedWorld(t, nil)
	to := edgetest.New(t)
	text, err := json.Marshal(from.Routes.Standings())
	if err != nil {
		t.Fatal(err)
	}
	var all []route.Standing
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	asked := 0
	fetch := func(digest string) ([]byte, error) {
		asked++
		return from.Routes.Model(t.Context(), digest)
	}
	if len(all[0].Blobs()) != 2 {
		t.Fatalf("blobs %v", all[0].Blobs())
	}
	swapped := func(digest string) ([]byte, error) { return from.Routes.Model(t.Context(), all[0].ONNX) }
	if err := to.Routes.Adopt(t.Context(), all, 1, swapped); pavise.KindOf(err) != pavise.Unverified || to.Routes.Len() != 0 {
		t.Errorf("something else in the place of the calibration: %v", err)
	}
	to = edgetest.New(t)
	for range 2 {
		if err := to.Routes.Adopt(t.Context(), all, 1, fetch); err != nil {
			t.Fatal(err)
		}
	}
	if asked != 2 {
		t.Errorf("%d blobs were fetched", asked)
	}
	if got, err := to.Routes.Model(t.Context(), all[0].Calibration); err != nil || len(got) == 0 {
		t.Errorf("the calibration: %v", err)
	}
	all[0].Amber = "label" // which the route does not allow
	if err := to.Routes.Adopt(t.Context(), all, 1, fetch); pavise.KindOf(err) != pavise.Denied {
		t.Errorf("labels without consent: %v", err)
	}
}
