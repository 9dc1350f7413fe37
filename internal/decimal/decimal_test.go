package decimal

import (
	"math"
	"strconv"
	"testing"
)

// FuzzAppend writes numbers and has the standard library read them back. How texts
// become numbers is tested where they are scanned, in package tensor.
func FuzzAppend(f *testing.F) {
	for _, v := range []float64{0, 1, -1.5, 1e-7, 1e21, 65504, math.MaxFloat32, math.SmallestNonzeroFloat64, 7.038531e-26} {
		f.Add(math.Float64bits(v))
	}
	f.Fuzz(func(t *testing.T, bits uint64) {
		v := math.Float64frombits(bits)
		for _, size := range []struct {
			bits  int
			value float64
		}{{64, v}, {32, float64(float32(v))}, {16, RoundHalf(v)}, {16, RoundBrain(v)}} {
			if math.IsNaN(size.value) || math.IsInf(size.value, 0) {
				continue
			}
			text := string(Append(nil, size.value, size.bits))
			back, err := strconv.ParseFloat(text, max(size.bits, 32))
			if err != nil || back != size.value || math.Signbit(back) != math.Signbit(size.value) {
				t.Errorf("%v as %d bits was written %s and read %v, %v", size.value, size.bits, text, back, err)
			}
		}
	})
}
