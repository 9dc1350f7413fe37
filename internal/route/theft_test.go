package route

import (
	"math"
	"testing"

	"github.com/pavise/pavise/internal/tensor"
)

// TestFilled: outputs that a caller did not ask for are there for the detectors, without
// numbers, so that leaving some out hides nobody.
func TestFilled(t *testing.T) {
	r := Route{Signature: tensor.Signature{Outputs: []tensor.Port{
		{Name: "label", Datatype: tensor.Int64, Shape: []int64{-1}},
		{Name: "scores", Datatype: tensor.FP32, Shape: []int64{-1, 3}},
		{Name: "text", Datatype: tensor.Bytes, Shape: []int64{-1}},
	}}}
	scores := tensor.Tensor{Name: "scores", Datatype: tensor.FP32, Shape: []int64{2, 3}, Data: tensor.Data{Floats: []float64{1, 2, 3, 4, 5, 6}}}
	got := r.Filled(tensor.Response{Outputs: []tensor.Tensor{scores}}, 2)
	if len(got.Outputs) != 2 || got.Outputs[0].Name != "label" || len(got.Outputs[0].Data.Floats) != 2 || !math.IsNaN(got.Outputs[0].Data.Floats[0]) || got.Outputs[1].Data.Floats[5] != 6 {
		t.Errorf("%+v", got.Outputs)
	}
	whole := tensor.Response{Outputs: make([]tensor.Tensor, 3)}
	if same := r.Filled(whole, 2); len(same.Outputs) != 3 {
		t.Errorf("%+v", same)
	}
}
