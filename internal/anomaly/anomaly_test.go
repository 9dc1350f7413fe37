package anomaly

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func seeded(n uint64) *rand.Rand { return rand.New(rand.NewPCG(n, n)) }

func near(a, b, by float64) bool { return math.Abs(a-b) <= by }

// normals are rows of independent numbers, each column of its own size.
func normals(rng *rand.Rand, n int, size ...float64) (rows [][]float32) {
	for range n {
		row := make([]float32, len(size))
		for j, s := range size {
			row[j] = float32(s * rng.NormFloat64())
		}
		rows = append(rows, row)
	}
	return rows
}

// TestClopperPearson knows intervals from tables, and those that have a closed form.
func TestClopperPearson(t *testing.T) {
	for _, tt := range []struct {
		k, n            int
		confidence      float64
		low, high, fits float64
	}{
		{0, 10, 0.95, 0, 0.3085, 5e-5},
		{1, 10, 0.95, 0.0025, 0.4450, 5e-5},
		{5, 10, 0.95, 0.1871, 0.8129, 5e-5},
		{10, 10, 0.95, 0.6915, 1, 5e-5},
		{2, 20, 0.95, 0.0123, 0.3170, 5e-5},
		{0, 300, 0.95, 0, 1 - math.Pow(0.025, 1.0/300), 1e-9},
		{300, 300, 0.99, math.Pow(0.005, 1.0/300), 1, 1e-9},
		{0, 1, 0.9, 0, 0.95, 1e-9},
	} {
		if low, high := ClopperPearson(tt.k, tt.n, tt.confidence); !near(low, tt.low, tt.fits) || !near(high, tt.high, tt.fits) {
			t.Errorf("%d of %d at %v: %.5f to %.5f, want %.5f to %.5f", tt.k, tt.n, tt.confidence, low, high, tt.low, tt.high)
		}
	}
}

// TestAtLeast compares with the sum over all outcomes of a few coins.
func TestAtLeast(t *testing.T) {
	const n = 9
	for _, p := range []float64{0, 0.01, 0.3, 0.5, 0.99, 1} {
		for k := -1; k <= n+1; k++ {
			var want float64
			for outcome := range 1 << n {
				heads, chance := 0, 1.0
				for coin := range n {
					if outcome>>coin&1 == 1 {
						heads++
						chance *= p
					} else {
						chance *= 1 - p
					}
				}
				if heads >= k {
					want += chance
				}
			}
			if got := AtLeast(k, n, p); !near(got, want, 1e-12) {
				t.Errorf("%d of %d at %v: %v, want %v", k, n, p, got, want)
			}
		}
	}
}

// TestConformal draws scores and one more: how often that is above the threshold is what
// the bound says, whatever the scores are like.
func TestConformal(t *testing.T) {
	rng := seeded(1)
	for _, tt := range []struct {
		n           int
		alpha, want float64
	}{{19, 0.05, 0.05}, {10, 0.05, 1.0 / 11}, {100, 0.1, 10.0 / 101}, {1, 0.5, 0.5}, {250, 0.005, 1.0 / 251}, {39, 0.05, 0.05}} {
		const trials = 1500
		above := 0
		for range trials {
			scores := make([]float64, tt.n)
			for i := range scores {
				scores[i] = math.Exp(3 * rng.NormFloat64())
			}
			threshold, bound := Conformal(scores, tt.alpha)
			if !near(bound, tt.want, 1e-12) {
				t.Fatalf("%d scores support %v, want %v", tt.n, bound, tt.want)
			}
			if math.Exp(3*rng.NormFloat64()) > threshold {
				above++
			}
		}
		if got, fits := float64(above)/trials, 4*math.Sqrt(tt.want/trials); !near(got, tt.want, fits) {
			t.Errorf("%d scores: %v are above, and the bound is %v", tt.n, got, tt.want)
		}
	}
	scores := []float64{3, 1, 2}
	if threshold, _ := Conformal(scores, 0.5); threshold != 2 || !slices.Equal(scores, []float64{3, 1, 2}) {
		t.Errorf("%v of %v", threshold, scores)
	}
}

// TestSubspace finds axes that are known: two of five columns differ much, and rows that
// stick out of their plane do so by as much as they were moved.
func TestSubspace(t *testing.T) {
	rng := seeded(2)
	rows := normals(rng, 2000, 0.01, 5, 0.01, 2, 0.01)
	for _, row := range rows {
		row[0] += 7
	}
	s := FitSubspace(rows, 48, rng)
	if len(s.Axes) != 2 || s.Misfit(5) != "" || s.Misfit(4) == "" {
		t.Fatalf("%d axes; %s", len(s.Axes), s.Misfit(5))
	}
	if !near(math.Abs(float64(s.Axes[0][1])), 1, 1e-3) || !near(math.Abs(float64(s.Axes[1][3])), 1, 1e-3) {
		t.Errorf("the axes are %v", s.Axes)
	}
	for i, a := range s.Axes {
		for k, b := range s.Axes {
			want := 0.0
			if i == k {
				want = 1
			}
			if !near(float64(dot(a, b)), want, 1e-5) {
				t.Errorf("axes %d and %d: %v", i, k, dot(a, b))
			}
		}
	}
	if want := math.Sqrt(29); !near(float64(s.Unit), want, 0.1*want) {
		t.Errorf("the unit is %v, want %v", s.Unit, want)
	}
	at, out := s.Project([]float32{9}, []float32{7, 3, 4, -1, 0})
	if at[0] != 9 || len(at) != 3 || !near(math.Abs(float64(at[1])), 3, 0.3) || !near(math.Abs(float64(at[2])), 1, 0.3) || !near(float64(out), 4, 0.05) {
		t.Errorf("it is at %v, and sticks out by %v", at, out)
	}
	one := FitSubspace([][]float32{{1}, {2}, {3}}, 4, rng)
	if at, out := one.Project(nil, []float32{5}); len(at) != 1 || !near(math.Abs(float64(at[0])), 3, 1e-5) || out > 1e-3 {
		t.Errorf("one column: %v, %v", at, out)
	}
	same := FitSubspace([][]float32{{1, 2, 3, 4}, {1, 2, 3, 4}}, 4, rng)
	if at, out := same.Project(nil, []float32{1, 2, 3, 5}); !near(float64(out), 1, 1e-5) || at[0] != 0 || same.Misfit(4) != "" {
		t.Errorf("rows that are all alike: %v, %v", at, out)
	}
}

// TestFourier holds inner products of features to the kernels that they stand for.
func TestFourier(t *testing.T) {
	rng := seeded(3)
	points := normals(rng, 300, 1, 1, 1, 1)
	f := FitFourier(points, 2000, rng)
	usual := usualDistance(points, seeded(4))
	if f.Len() != 4000 || f.Misfit(4) != "" || f.Misfit(5) == "" || !near(usual, 2.7, 0.3) {
		t.Fatalf("%d features, the usual distance is %v", f.Len(), usual)
	}
	for i := range 50 {
		a, b := points[2*i], points[2*i+1]
		x, y := make([]float32, f.Len()), make([]float32, f.Len())
		f.Add(x, a)
		f.Add(y, b)
		d := float64(Distance(a, b)) / usual
		want := (math.Exp(-d*d/2) + math.Exp(-2*d*d)) / 2
		if got := float64(dot(x, y)); !near(got, want, 0.05) || !near(float64(dot(x, x)), 1, 1e-3) {
			t.Errorf("points %.2f apart: %.3f, want %.3f", d, got, want)
		}
	}
	if f := FitFourier([][]float32{{1, 2}, {1, 2}}, 2, rng); f.Misfit(2) != "" {
		t.Error("points that are all alike have no frequencies")
	}
	if (&Fourier{}).Misfit(0) == "" {
		t.Error("no frequencies fit")
	}
}

// TestDiscrepancy is about 0 for draws of the same, small or many, and what the definition
// says for others.
func TestDiscrepancy(t *testing.T) {
	rng := seeded(5)
	f := FitFourier(normals(rng, 300, 1, 1, 1), 32, rng)
	features := func(n int, shift float32) []float32 {
		sum := make([]float32, f.Len())
		for _, p := range normals(rng, n, 1, 1, 1) {
			p[0] += shift
			f.Add(sum, p)
		}
		return sum
	}
	mean := features(5000, 0)
	for i := range mean {
		mean[i] /= 5000
	}
	for _, n := range []int{2, 5, 25} {
		var sum, squares float64
		const trials = 400
		for range trials {
			d := Discrepancy(features(n, 0), float64(n), mean)
			sum, squares = sum+d, squares+d*d
		}
		average := sum / trials
		deviation := math.Sqrt(squares/trials-average*average) / math.Sqrt(trials)
		if math.Abs(average) > 4*deviation+6e-4 {
			t.Errorf("%d points: the discrepancy is %.5f, give or take %.5f", n, average, deviation)
		}
	}
	if d := Discrepancy(features(500, 1.5), 500, mean); d < 0.1 {
		t.Errorf("points elsewhere: %v", d)
	}
	var list [][]float32
	sum := make([]float32, f.Len())
	for _, p := range normals(rng, 12, 1, 2, 3) {
		x := make([]float32, f.Len())
		f.Add(x, p)
		f.Add(sum, p)
		list = append(list, x)
	}
	var own, cross float64
	for i, a := range list {
		cross += float64(dot(a, mean))
		for k, b := range list {
			if i != k {
				own += float64(dot(a, b))
			}
		}
	}
	if got, want := Discrepancy(sum, 12, mean), own/(12*11)-2*cross/12+float64(dot(mean, mean)); !near(got, want, 1e-5) {
		t.Errorf("%v, and pair by pair %v", got, want)
	}
}

// TestColumns learns columns of all kinds.
func TestColumns(t *testing.T) {
	rng := seeded(6)
	var rows [][]float64
	for i := range 1000 {
		rows = append(rows, []float64{
			rng.NormFloat64(),                             // 0: any
			math.Round(50 * rng.NormFloat64()),            // 1: whole
			math.Round(100*rng.NormFloat64()) / 100,       // 2: of two digits
			float64(rng.IntN(256)) / 255,                  // 3: a byte
			float64([]int{1, 5, 9}[rng.IntN(3)]),          // 4: three categories
			7.25,                                          // 5: always alike
			math.Exp(10 * rng.NormFloat64()),              // 6: of all sizes
			float64(i/999) * 1e6,                          // 7: once something
			[]float64{math.NaN(), math.Inf(1), 1, 2}[i%4], // 8: often nothing
			math.NaN(),                                    // 9: always nothing
			[]float64{1e300, -1e300, 1, 2, 3, 4}[i%6],     // 10: beyond 32 bits
			[]float64{3e38, -3e38}[i%2],                   // 11: just within
		})
	}
	c := FitColumns(rows)
	if c.Width() != 12 || c.Misfit() != "" {
		t.Fatal(c.Misfit())
	}
	if want := []float64{0, 1, 0.01, 1.0 / 255, 1}; !slices.Equal(c.Step[:5], want) {
		t.Errorf("steps are %v, want %v", c.Step[:5], want)
	}
	for j, want := range map[int]int{0: 0, 1: 0, 3: 0, 4: 3, 5: 1, 7: 2, 8: 2, 9: 0, 10: 4} {
		if len(c.Few[j]) != want {
			t.Errorf("column %d has %v", j, c.Few[j])
		}
	}
	if !near(float64(c.Scale[0]), 3.29/4, 0.1) || !near(float64(c.Center[0]), 0, 0.1) || c.Center[5] != 7.25 {
		t.Errorf("scales %v, centres %v", c.Scale, c.Center)
	}
	at := c.Apply(nil, slices.Repeat([]float64{math.MaxFloat64}, 12))
	at = c.Apply(at, slices.Repeat([]float64{math.Inf(-1)}, 12))
	for i, row := range rows {
		row := c.Apply(nil, row)
		for j, x := range row {
			if math.IsNaN(float64(x)) || math.Abs(float64(x)) > 100 || i < 999 && j < 6 && math.Abs(float64(x)) > 6 {
				t.Fatalf("row %d, column %d: %v", i, j, x)
			}
		}
	}
	for j, x := range at {
		if math.IsNaN(float64(x)) || math.Abs(float64(x)) > 100 {
			t.Errorf("column %d of what is beyond all: %v", j%12, x)
		}
	}
	usual := []float64{0.123456, 7, 1.23, 17.0 / 255, 5, 7.25, 1, 0, 1, 1, 1, 3e38}
	if c.Odd(usual) {
		t.Error("a usual row is odd")
	}
	for j, v := range map[int]float64{1: 7.5, 2: 1.234, 3: 0.5, 4: 5.5, 0: math.NaN(), 6: math.Inf(1), 8: math.NaN()} {
		row := slices.Clone(usual)
		if row[j] = v; !c.Odd(row) {
			t.Errorf("%v in column %d is not odd", v, j)
		}
	}
	for _, tt := range []Columns{
		{Center: []float32{1}}, {Center: []float32{1}, Scale: []float32{0}, Step: []float64{0}, Few: make([][]float64, 1)},
		{Center: []float32{1}, Scale: []float32{1}, Step: []float64{-1}, Few: make([][]float64, 1)},
	} {
		if tt.Misfit() == "" {
			t.Errorf("%+v fits", tt)
		}
	}
}

// TestSketch keeps distances about, lines exactly, and narrow rows as they are.
func TestSketch(t *testing.T) {
	rng := seeded(7)
	size := slices.Repeat([]float64{1}, 600)
	rows := normals(rng, 200, size...)
	s := FitSketch(rows, rng)
	if s.Misfit(600) != "" || s.Misfit(599) == "" {
		t.Fatal(s.Misfit(600))
	}
	var ratio float64
	var a, b, c [SketchLen]float32
	for i := range 100 {
		s.Fold(&a, rows[i])
		s.Fold(&b, rows[i+100])
		ratio += float64(Distance(a[:], b[:])*s.Unit/Distance(rows[i], rows[i+100])) / 100
	}
	if !near(ratio, 1, 0.05) {
		t.Errorf("distances of sketches are %.3f of the rows'", ratio)
	}
	mid := make([]float32, 600)
	for j := range mid {
		mid[j] = 0.25*rows[0][j] + 0.75*rows[1][j]
	}
	s.Fold(&a, rows[0])
	s.Fold(&b, rows[1])
	s.Fold(&c, mid)
	for k := range c {
		if !near(float64(c[k]), float64(0.25*a[k]+0.75*b[k]), 1e-4) {
			t.Errorf("coordinate %d of a row between two: %v, not between %v and %v", k, c[k], a[k], b[k])
		}
	}
	narrow := FitSketch(normals(rng, 500, 3, 3), rng)
	narrow.Fold(&a, []float32{6, -3})
	if !near(float64(narrow.Unit), 3, 0.3) || a[0] != 6/narrow.Unit || a[1] != -3/narrow.Unit || a[2] != 0 {
		t.Errorf("unit %v, %v", narrow.Unit, a)
	}
	if nothing := FitSketch([][]float32{{0, 0}}, rng); nothing.Misfit(2) != "" {
		t.Error("rows of nothing have no unit")
	}
}

// TestCenters finds three clouds, and what lies in none.
func TestCenters(t *testing.T) {
	rng := seeded(8)
	var points [][]float32
	clouds := [][2]float32{{0, 0}, {10, 0}, {0, 10}}
	for i, p := range normals(rng, 900, 0.5, 0.5) {
		p[0] += clouds[i%3][0]
		p[1] += clouds[i%3][1]
		points = append(points, p)
	}
	c := FitCenters(points, 3, rng)
	if len(c.Points) != 3 || c.Misfit(2) != "" || c.Misfit(3) == "" {
		t.Fatalf("%d centres", len(c.Points))
	}
	for _, cloud := range clouds {
		if k, d := c.nearest(cloud[:]); d > 0.2 || !near(float64(c.Radius[k]), 0.5*math.Sqrt(-2*math.Log(0.1)), 0.15) {
			t.Errorf("the centre nearest to %v is %v away, with a radius of %v", cloud, d, c.Radius[k])
		}
	}
	within := 0
	for _, p := range points {
		if c.Outside(p) <= 1 {
			within++
		}
	}
	if within < 800 || within > 820 {
		t.Errorf("%d of 900 points are within the radius", within)
	}
	if far := c.Outside([]float32{5, 5}); far < 5 {
		t.Errorf("what lies between the clouds is %v radii away", far)
	}
	same := FitCenters([][]float32{{1, 1}, {1, 1}}, 8, rng)
	if len(same.Points) != 1 || same.Misfit(2) != "" || same.Outside([]float32{1, 1}) != 0 || math.IsInf(float64(same.Outside([]float32{2, 1})), 0) {
		t.Errorf("points that are all alike: %+v", same)
	}
}

// TestProfile describes many by three numbers, of which the second follows from the first.
func TestProfile(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	draw := func() []float64 {
		a := rng.NormFloat64()
		return []float64{a, 2*a + 0.1*rng.NormFloat64(), 3}
	}
	var m Moments
	all := make([][]float64, 400)
	for i := range all {
		all[i] = draw()
		m.Add(all[i])
	}
	p := m.Fit(nil, []int{0}, []int{1, 2}, []int{1})
	if p.Misfit(3, 3) != "" || p.Misfit(4, 3) == "" || p.Misfit(3, 2) == "" {
		t.Errorf("%q", p.Misfit(3, 3))
	}
	var far, usual float64
	for range 200 {
		x := draw()
		far, usual = max(far, math.Abs(p.Contrast(0, x))), usual+p.Distance(x)/200
	}
	if far > 4 || usual < 0.3 || usual > 1.2 {
		t.Errorf("known vectors are up to %.1f deviations from what is expected, and %.2f from the mean", far, usual)
	}
	// Each number by itself is an ordinary one.
	if odd := []float64{1, -1, 3}; p.Contrast(0, odd) > -4 || p.Distance(odd) < 4 {
		t.Errorf("an odd one is %.1f deviations from what is expected, and %.2f from the mean", p.Contrast(0, odd), p.Distance(odd))
	}
	if odd := []float64{4, 8, 3}; p.Contrast(2, odd) < 3 || p.Contrast(2, odd) > 5 || math.Abs(p.Contrast(0, odd)) > 2 {
		t.Errorf("a large one is %.1f deviations from the mean, and %.1f from what is expected", p.Contrast(2, odd), p.Contrast(0, odd))
	}
	if odd := []float64{0, 0, 4}; p.Contrast(1, odd) < 10 {
		t.Errorf("what never differs does by %.1f deviations", p.Contrast(1, odd))
	}
	var others Moments
	for _, x := range all[1:] {
		others.Add(x)
	}
	a, b := m.Fit(all[0], []int{0}, []int{1, 2}, []int{1}), others.Fit(nil, []int{0}, []int{1, 2}, []int{1})
	for k, x := range all[:20] {
		if math.Abs(a.Distance(x)-b.Distance(x)) > 1e-9 || math.Abs(a.Contrast(0, x)-b.Contrast(0, x)) > 1e-6 {
			t.Errorf("vector %d: without one, and of the others, are not the same", k)
		}
	}
	if again := m.Fit(nil, []int{0}, []int{1, 2}, []int{1}); math.Abs(again.Distance(all[0])-p.Distance(all[0])) > 1e-9 {
		t.Error("taking one out changed the sums")
	}
}
