package tensor

import (
	"math"
	"testing"
)

// TestOverflow: what lies below rounds to a finite number, and nothing else does.
func TestOverflow(t *testing.T) {
	for _, d := range []Datatype{FP16, BF16, FP32, FP64} {
		top := d.overflow()
		if v := d.Round(top); !math.IsInf(v, 1) {
			t.Errorf("%s: %v rounds to %v", d, top, v)
		}
		if v := d.Round(math.Nextafter(top, 0)); math.IsInf(v, 0) {
			t.Errorf("%s: less than %v rounds to %v", d, top, v)
		}
		for _, v := range []float64{top, -top, math.Inf(1), math.Inf(-1), math.NaN()} {
			x := Tensor{Name: "x", Datatype: d, Shape: []int64{2}, Data: Data{Floats: []float64{0, v}}}
			if x.Unfit() == "" {
				t.Errorf("%s: %v is fit", d, v)
			}
			x.Data.Floats[1] = math.Nextafter(top, 0)
			if why := x.Unfit(); why != "" {
				t.Errorf("%s: %s", d, why)
			}
		}
	}
}
