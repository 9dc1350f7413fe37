package onnx

import (
	"math"
	"testing"
)

func TestExp(t *testing.T) {
	for x := float32(-110); x < 95; x += 0.0137 {
		want := float32(math.Exp(float64(x)))
		if got := Exp(x); math.Abs(float64(got)-float64(want)) > 1.2e-7*float64(want)+1e-45 {
			t.Fatalf("Exp(%v) = %v, want %v", x, got, want)
		}
	}
	if nan := Exp(float32(math.NaN())); nan == nan {
		t.Errorf("exp of NaN is %v", nan)
	}
	if inf := Exp(float32(math.Inf(-1))); inf != 0 {
		t.Errorf("exp of -∞ is %v", inf)
	}
}
