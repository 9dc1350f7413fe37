package gateway

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/pavise/pavise/internal/onnx"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/theft"
)

// softmaxCalibration is of clients who ask the softmax model.
func softmaxCalibration(t *testing.T) []byte {
	t.Helper()
	c, err := theft.Calibrate(func(yield func(*theft.Asked, error) bool) {
		for i := range 24 {
			for j := range 60 {
				row := []float64{math.Sin(float64(i + j*j)), math.Cos(float64(i * j))}
				e := []float64{math.Exp(row[0]), math.Exp(2 * row[1]), math.Exp(-row[0])}
				sum := e[0] + e[1] + e[2]
				if !yield(&theft.Asked{Client: fmt.Sprint(i), Input: row, Scores: []float64{e[0] / sum, e[1] / sum, e[2] / sum}, Class: -1}, nil) {
					return
				}
			}
		}
	}, 0.05, 1)
	if err != nil {
		t.Fatal(err)
	}
	text, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestCalibrationEndsWithItsModel releases another model: the calibration was made with
// answers of the one before, so it ends, and the plan says so to who decides. A rollback
// brings it back with its model, and so does a restart.
func TestCalibrationEndsWithItsModel(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, dir)
	w.put(t, nil)
	if r := w.change(t, route.Spec{Calibration: softmaxCalibration(t), Alterable: new(true), Amber: "label"}); r.Calibration == "" {
		t.Fatal("it is not taken")
	}
	other := onnx.NewWriter("other")
	weights := other.Floats("w", []int{2, 3}, []float32{0, 1, 2, -1, 0, 1})
	other.Node("Softmax", "scores", []string{other.Node("MatMul", "z", []string{other.Input("x", 2), weights})})
	other.Output("scores", 3)
	release := route.ReleaseSpec{Name: theModel.String(), ONNX: other.Bytes()}
	plan, err := w.Routes.PlanRelease(t.Context(), release)
	if err != nil || !strings.Contains(plan.Warning, "the calibration was made with answers of another model") || plan.Will.Calibration != "" {
		t.Fatalf("%+v, %v", plan, err)
	}
	if err := w.Routes.Release(t.Context(), changing(), release, plan.Before, unmarked); err != nil {
		t.Fatal(err)
	}
	if r, _ := w.Routes.Get(theModel); r.Calibration != "" {
		t.Errorf("it goes on with another model: %+v", r)
	}
	back, err := w.Routes.PlanRollback(t.Context(), theModel)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Routes.Rollback(t.Context(), changing(), theModel, back.Before, unmarked); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if r, _ := w.Routes.Get(theModel); r.Calibration == "" || r.Amber != "label" {
			t.Errorf("it did not come back with its model: %+v", r)
		}
		w.close()
		w = newWorld(t, dir)
	}
}
