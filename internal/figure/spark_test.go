package figure

import (
	"math"
	"testing"
)

func TestSpark(t *testing.T) {
	for _, c := range []struct {
		shares []float64
		most   float64
		want   string
	}{
		{[]float64{0, 0.001, 0.5, 1, 2}, 1, " ▁▄██"},
		{nil, 1, ""},
		{[]float64{1, 0}, 0, "  "},
		{[]float64{math.NaN(), -1}, 1, "  "},
	} {
		if got := Spark(c.shares, c.most); got != c.want {
			t.Errorf("%v: %q, want %q", c.shares, got, c.want)
		}
	}
}
