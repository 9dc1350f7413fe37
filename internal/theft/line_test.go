package theft

import (
	"math"
	"testing"

	"github.com/pavise/pavise/internal/anomaly"
)

// TestLines: a step that goes on where the one before it went is on a line, and so is one back
// or a twentieth aside; one that goes aside by a fifth is not, as three honest rows do whose
// columns hardly differ but for one.
func TestLines(t *testing.T) {
	_, c := calibrated(t)
	at := func(along, aside float64) (p [anomaly.SketchLen]float32) {
		p[0], p[1] = float32(along), float32(aside)
		return p
	}
	for _, tt := range []struct {
		name   string
		next   [anomaly.SketchLen]float32
		onLine bool
	}{
		{"on", at(3, 0), true},
		{"back to the middle", at(0.5, 0), true},
		{"a twentieth aside", at(2, 0.05), true},
		{"a fifth aside", at(2, 0.2), false},
		{"a quarter turn", at(1, 1), false},
		{"nowhere", at(1, 0), false},
	} {
		s := &study{fresh: 3}
		s.before = [2][anomaly.SketchLen]float32{at(0, 0), at(1, 0)}
		if got := s.onLine(&glance{fold: tt.next}, 0, -1); got != tt.onLine {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
	if m := measureLine; c.Spread[0][m] > spreadLeast(m, c.Looks[0]) {
		t.Errorf("honest clients have lines: %v", c.Spread[0][m])
	}
}

// TestFewOddValues: where no honest client ever had a value of another kind than its column has,
// one row in ten that has is enough to be found.
func TestFewOddValues(t *testing.T) {
	w, c := calibrated(t)
	rng := clientRand(31, 4)
	habit, asked := w.habit(rng), 0
	n, s := found(c, w, 500, func() []float64 {
		row := habit()
		if asked++; asked%10 == 0 {
			row[2] = math.Floor(row[2]) + 0.5 // a column of whole numbers
		}
		return row
	})
	if n == 0 || s.Detector != measureNames[measureOdd] {
		t.Errorf("found after %d rows, by %q: %+v", n, s.Detector, s)
	}
}
