package drift

import (
	"math/rand/v2"
	"slices"
	"testing"
)

const (
	features = 500
	windows  = 288
	rows     = 500
)

// world makes features with baselines of 4,000 rows each.
func world(rng *rand.Rand) []Feature {
	all := make([]Feature, features)
	for i := range all {
		sample := normals(rng, 4000, 0, 1)
		r := NewReference(slices.Clone(sample))
		all[i] = Feature{Numbers: r, Base: &Histogram{}}
		for _, x := range sample {
			r.Count(all[i].Base, x)
		}
	}
	return all
}

// window plays a window in which the first so many features have moved by some standard
// deviations.
func window(w *Watch, rng *rand.Rand, moved int, by float64) (suspected, confirmed int, wrong int) {
	values := make([]float64, rows)
	for f := range features {
		mean := 0.0
		if f < moved {
			mean = by
		}
		for i := range values {
			values[i] = mean + rng.NormFloat64()
		}
		w.Column(f, values)
	}
	for f, s := range w.End() {
		if s.Suspected {
			suspected++
		}
		if s.Confirmed {
			if confirmed++; f >= moved {
				wrong++
			}
		}
	}
	return suspected, confirmed, wrong
}

// TestNoFalseAlarm plays a day of windows of five minutes in which nothing moves.
func TestNoFalseAlarm(t *testing.T) {
	if testing.Short() {
		t.Skip("72 million values")
	}
	rng := rand.New(rand.NewPCG(11, 11))
	w := NewWatch(world(rng))
	suspected := 0
	for n := range windows {
		s, c, _ := window(w, rng, 0, 0)
		if s > 0 {
			suspected++
		}
		if c > 0 {
			t.Errorf("window %d: %d features are called drift", n, c)
		}
	}
	t.Logf("%d of %d windows have a suspect, none a confirmed one", suspected, windows)
	if suspected > windows/10 {
		t.Errorf("%d of %d windows have a suspect", suspected, windows)
	}
}

// TestShiftIsFound moves 5 in 100 features by 0.3 standard deviations, six times.
func TestShiftIsFound(t *testing.T) {
	rng := rand.New(rand.NewPCG(12, 12))
	worlds := 6
	if testing.Short() {
		worlds = 2
	}
	base := world(rng)
	for n := range worlds {
		w := NewWatch(base)
		for range 2 {
			window(w, rng, 0, 0)
		}
		for i := 1; ; i++ {
			_, confirmed, wrong := window(w, rng, features/20, 0.3)
			if wrong > 0 {
				t.Errorf("world %d: %d features that did not move are called drift", n, wrong)
			}
			if confirmed > 0 {
				t.Logf("world %d: window %d, %d of %d", n, i, confirmed, features/20)
				break
			}
			if i == 3 {
				t.Errorf("world %d: nothing is found within 3 windows", n)
				break
			}
		}
	}
}

// TestLongScales finds by the hour what five minutes cannot: 0.15 standard deviations.
func TestLongScales(t *testing.T) {
	if testing.Short() {
		t.Skip("many windows")
	}
	rng := rand.New(rand.NewPCG(13, 13))
	w := NewWatch(world(rng))
	for i := 1; i <= 60; i++ {
		if _, confirmed, wrong := window(w, rng, features/20, 0.15); confirmed > 0 {
			t.Logf("window %d: %d", i, confirmed)
			if wrong > 0 {
				t.Errorf("%d wrong", wrong)
			}
			return
		}
	}
	t.Error("it is not found in five hours")
}

// TestRecovery ends what has ended: after five windows without drift nothing is confirmed by
// the shortest scale.
func TestRecovery(t *testing.T) {
	rng := rand.New(rand.NewPCG(14, 14))
	base := world(rng)[:1]
	w := NewWatch(base)
	states := make([]bool, 0, 9)
	for i := range 9 {
		mean := 0.0
		if i < 3 {
			mean = 1
		}
		w.Column(0, normals(rng, rows, mean, 1))
		states = append(states, w.End()[0].Confirmed)
	}
	if want := []bool{false, false, true, true, true, false, false, false, false}; !slices.Equal(states, want) {
		t.Errorf("%v", states)
	}
	quiet := NewWatch(base) // a window with too little in it says nothing
	for i := range 6 {
		if i%2 == 0 {
			quiet.Column(0, normals(rng, rows, 1, 1))
		}
		states[i] = quiet.End()[0].Confirmed
	}
	if !states[4] || !states[5] || states[3] {
		t.Errorf("%v", states[:6])
	}
}

func BenchmarkUpdate(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	w := NewWatch(world(rng)[:100])
	values := make([][]float64, 100)
	for i := range values {
		values[i] = normals(rng, 1000, 0, 1)
	}
	i := 0
	perCell(b, len(values[0]), func() {
		w.Column(i%100, values[i%100])
		i++
	})
}

func BenchmarkRows(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	w := NewWatch(world(rng)[:100])
	values := normals(rng, 100_000, 0, 1)
	for i := 0; b.Loop(); i++ {
		for f := range 100 {
			w.Number(f, values[(i*100+f)%len(values)])
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/cell")
}
