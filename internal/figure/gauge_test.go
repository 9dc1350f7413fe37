package figure

import (
	"math"
	"testing"
)

// A gauge stays inside its picture whatever was measured.
func TestGauge(t *testing.T) {
	for _, c := range []struct {
		score, threshold float64
		bar, mark        int
		over             bool
	}{
		{3, 2, 278, 185, true}, {1, 2, 139, 278, false}, {2, 2, 278, 278, false}, {0, 0, 0, 0, false}, {-1, 2, 0, 278, false},
		{math.NaN(), 2, 0, 278, false}, {math.Inf(1), 2, 278, 0, true}, {math.MaxFloat64, math.MaxFloat64, 278, 278, false}, {1e-300, 1, 0, 278, false},
	} {
		g := NewGauge(c.score, c.threshold)
		if g.Bar != c.bar || g.Mark != c.mark || g.Over != c.over {
			t.Errorf("%v against %v: %+v", c.score, c.threshold, g)
		}
		if g.Label < gaugeEdge || g.Label > g.Width-gaugeEdge || g.Bar > g.Width || g.Mark > g.Width {
			t.Errorf("%v against %v is drawn outside: %+v", c.score, c.threshold, g)
		}
	}
}
