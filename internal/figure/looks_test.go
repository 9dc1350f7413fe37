package figure

import (
	"math"
	"testing"
)

// What stands at the foot of a bar is no wider than the room that it has: labels met.
func TestLabelsOfLooksDoNotMeet(t *testing.T) {
	const sign = 7 // of the font of 11, in units of the picture
	after := []int{50, 100, 150, 250, 350, 500, 750, 900, 1000, 1500, 2000}
	for _, b := range NewLooks(after, nil, 0, 1).Bars {
		if room := b.Width + looksGap; sign*len(b.Foot) >= room {
			t.Errorf("%s is %d wide, and has room for %d", b.Foot, sign*len(b.Foot), room)
		}
	}
}

// Looks stay inside their picture whatever was measured, and show no bar where nobody looked.
func TestLooks(t *testing.T) {
	after := []int{50, 100, 250, 500, 1000, 2000}
	for _, c := range []struct {
		scores    []float64
		looked    int
		threshold float64
		over      int
	}{
		{[]float64{0.5, 1, 3, 4, 0, 0}, 4, 2, 2}, {[]float64{2, 2, 2, 2, 2, 2}, 6, 2, 0}, {make([]float64, 6), 0, 0, 0},
		{[]float64{math.NaN(), math.Inf(1), -1, math.MaxFloat64, 1e-300, 0}, 6, 1, 2}, {[]float64{1}, 9, math.Inf(1), 0}, {nil, 3, math.NaN(), 0}, {[]float64{1, 1, 1, 1, 1, 1}, -4, 1, 0},
	} {
		l := NewLooks(after, c.scores, c.looked, c.threshold)
		over, bars := 0, 0
		for i, b := range l.Bars {
			if b.X < 0 || b.X+b.Width > l.Width || b.Y < looksTop || b.Y+b.Height != l.Foot || b.Height < 0 || b.After == "" {
				t.Errorf("%v against %v: bar %d is drawn at %+v", c.scores, c.threshold, i, b)
			}
			if b.Over {
				over++
			}
			if b.Score != "" {
				bars++
			}
		}
		if want := max(0, min(c.looked, len(c.scores))); len(l.Bars) != len(after) || over != c.over || bars != want || l.Line < looksTop || l.Line > l.Foot {
			t.Errorf("%v against %v: %d bars, %d over, the line at %d", c.scores, c.threshold, bars, over, l.Line)
		}
	}
	l := NewLooks(after, []float64{0.5, 3}, 2, 2)
	if l.Words != "scores: 0.50 after 50 rows, 3.00 after 100 rows; the most of honest clients is 2.00" || l.Bars[5].After != Thousands(2000) || l.Bars[5].Foot != "2k" || l.Bars[3].Foot != "500" || thousandth(1500) != "1.5k" {
		t.Errorf("%+v", l)
	}
	if none := NewLooks(nil, nil, 0, 1); len(none.Bars) != 0 {
		t.Errorf("%+v", none)
	}
}
