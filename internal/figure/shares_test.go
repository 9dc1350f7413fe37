package figure

import (
	"math"
	"strings"
	"testing"
)

// Bars stand on the foot, inside the picture, and the tallest reaches the top, whatever the
// shares are.
func TestShares(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		once, now []float64
	}{
		{nil, nil},
		{[]float64{1}, []float64{0}},
		{[]float64{0.5, 0.5}, []float64{0.1, 0.9}},
		{[]float64{0, 0, 0}, []float64{0, 0, 0}},
		{[]float64{nan, -1, math.Inf(1)}, []float64{math.Inf(-1), nan, 0.2}},
		{make([]float64, 68), append(make([]float64, 67), 1)},
	} {
		names := strings.Split(strings.Repeat("bin ", len(c.once)), " ")[:len(c.once)]
		s := NewShares(names, c.once, c.now)
		if len(s.Bars) != len(c.once) || s.Words == "" {
			t.Fatalf("%v: %+v", c, s)
		}
		end := 0
		for _, b := range s.Bars {
			if b.X < end || b.X+b.Width > s.Width || b.OnceY < sharesTop || b.NowY < sharesTop || b.OnceY+b.Once != s.Foot || b.NowY+b.Now != s.Foot {
				t.Errorf("%v: a bar outside of the picture, or over another: %+v", c, b)
			}
			if b.NowX < b.X || b.NowX+b.NowWidth > b.X+b.Width {
				t.Errorf("%v: the bar of now is not before that of once: %+v", c, b)
			}
			end = b.X + b.Width
		}
	}
	s := NewShares([]string{"a", "b"}, []float64{0.5, 0.5}, []float64{0, 1})
	if s.Bars[1].NowY != sharesTop || s.Bars[0].Now != 0 || s.Bars[1].More || !strings.Contains(s.Words, "a: 0.0 %, was 50.0 %") {
		t.Errorf("drawn as %+v", s)
	}
	if !NewShares([]string{"a"}, []float64{0.1}, []float64{0.9}).Bars[0].More {
		t.Error("nine times as much is not marked")
	}
}

func TestCourse(t *testing.T) {
	for _, values := range [][]float64{nil, {1}, {0, 0}, {0.5, 2, 1}, {math.NaN(), math.Inf(1), -3}, make([]float64, 300)} {
		names := strings.Split(strings.Repeat("at ", len(values)), " ")[:len(values)]
		c := NewCourse(names, values, 1)
		if len(c.Points) != len(values) {
			t.Fatalf("%v: %d points", values, len(c.Points))
		}
		for _, p := range c.Points {
			if p.X < 0 || p.X > c.Width || p.Y < courseTop-1 || p.Y > c.Foot {
				t.Errorf("%v: a point outside of the picture: %+v", values, p)
			}
		}
	}
	c := NewCourse([]string{"09:00", "10:00", "11:00"}, []float64{0.2, 1, 2}, 1)
	if c.Points[1].Over || !c.Points[2].Over || c.Points[1].Y != c.Line || c.Points[2].Y >= c.Line || !strings.HasPrefix(c.Path, "M4 ") || c.Points[2].X != c.Width-4 {
		t.Errorf("drawn as %+v", c)
	}
	if want := "3 values, 1 of them above 1.00; the last is 11:00: 2.00"; c.Words != want {
		t.Errorf("in words %q, want %q", c.Words, want)
	}
}
