package drift

import (
	"math"
	"testing"
)

// TestReservoir gives each of many the same chance, and the first their places in order. That a
// share is six deviations off is of a chance of one in hundred millions.
func TestReservoir(t *testing.T) {
	for _, c := range []struct{ places, all int }{{1, 1}, {1, 30}, {5, 4}, {5, 5}, {5, 6}, {8, 200}, {50, 60}, {2, 3000}} {
		const runs = 5_000
		kept := make([]int, c.all)
		for range runs {
			var r Reservoir
			held := make([]int, c.places)
			for i := 0; i < c.all; i++ {
				if n := c.all / 3; i+n <= c.all && r.Pass(n) {
					if i < c.places {
						t.Fatalf("%d of %d: the %d. is passed over", c.places, c.all, i)
					}
					i += n - 1
					continue
				}
				at := r.Keep(c.places)
				if i < c.places && at != i {
					t.Fatalf("%d of %d: the %d. is put at %d", c.places, c.all, i, at)
				}
				if at >= 0 {
					held[at] = i
				}
			}
			if r.Seen() != int64(c.all) {
				t.Fatalf("%d came, and it says %d", c.all, r.Seen())
			}
			for _, i := range held[:min(c.places, c.all)] {
				kept[i]++
			}
		}
		p := float64(min(c.places, c.all)) / float64(c.all)
		for i, n := range kept {
			if off := math.Abs(float64(n) - p*runs); off > 6*math.Sqrt(p*(1-p)*runs) {
				t.Errorf("%d of %d: the %d. is kept %d times in %d", c.places, c.all, i, n, runs)
			}
		}
	}
}

// TestReservoirOfVeryMany ends with chances that are too small for numbers.
func TestReservoirOfVeryMany(t *testing.T) {
	r := Reservoir{seen: 1 << 62, next: 1 << 61, fall: 1e-320}
	if at := r.Keep(3); at < 0 || r.next <= r.seen {
		t.Errorf("at %d, then %d of %d", at, r.next, r.seen)
	}
}
