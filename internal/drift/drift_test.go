package drift

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"
)

func near(got, want, within float64) bool { return math.Abs(got-want) <= within*math.Abs(want) }

// TestAgainstSciPy holds the tests to what SciPy 1.17 says of the same counts.
func TestAgainstSciPy(t *testing.T) {
	chi, df, p := chiSquare([]uint32{30, 20, 50}, []uint32{20, 40, 40}, 100, 100)
	if !near(chi, 9.777777777777779, 1e-12) || df != 2 || !near(p, 0.007529784255650024, 1e-9) {
		t.Errorf("%v %v %v", chi, df, p)
	}
	for _, c := range []struct{ x, df, p float64 }{{0.5, 1, 0.479500122}, {10, 5, 0.0752352461}, {100, 63, 0.00207723655}, {200, 63, 3.61700187e-16}} {
		if got := gammaQ(c.df/2, c.x/2); !near(got, c.p, 1e-7) {
			t.Errorf("χ² %v of %v: %v, want %v", c.x, c.df, got, c.p)
		}
	}
	if got := proportions(3, 100, 12, 100); !near(got, 0.028671314973177094, 1e-9) {
		t.Errorf("%v", got)
	}
	if got := proportions(0, 1000, 6, 500); !near(got, 0.0013444475531469236, 1e-9) {
		t.Errorf("%v", got)
	}
	if got := proportions(97, 100, 88, 100); !near(got, 0.028671314973177094, 1e-9) {
		t.Errorf("%v", got)
	}
	if got := proportions(10_000, 20_000, 9_700, 20_000); !near(got, 0.0026968055751747134, 1e-9) {
		t.Errorf("%v", got)
	}
	q := make([]float64, 5)
	falseDiscoveries([]float64{0.01, 0.04, 0.03, 0.005, 0.8}, q, make([]int, 5))
	for i, want := range []float64{0.025, 0.05, 0.05, 0.025, 0.8} {
		if !near(q[i], want, 1e-12) {
			t.Errorf("%v", q)
		}
	}
}

// TestBins holds the table to a search, on columns of every shape.
func TestBins(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for name, draw := range map[string]func() float64{
		"normal":    rng.NormFloat64,
		"lognormal": func() float64 { return math.Exp(4 * rng.NormFloat64()) },
		"cauchy":    func() float64 { return rng.NormFloat64() / rng.NormFloat64() },
		"integers":  func() float64 { return float64(rng.IntN(1000)) },
		"few":       func() float64 { return float64(rng.IntN(5)) },
		"constant":  func() float64 { return 7 },
		"zeros":     func() float64 { return max(0, rng.NormFloat64()) },
		"huge":      func() float64 { return math.MaxFloat64 * (2*rng.Float64() - 1) },
		"tiny":      func() float64 { return 5e-324 * float64(rng.IntN(100)) },
	} {
		sample := make([]float64, 5000)
		for i := range sample {
			sample[i] = draw()
		}
		r := NewReference(slices.Clone(sample))
		edges := r.Edges()
		if len(edges) > maxEdges || !slices.IsSorted(edges) || r.Bins() != len(edges)+1 {
			t.Fatalf("%s: %d edges", name, len(edges))
		}
		for range 20000 {
			x := draw()
			if rng.IntN(3) == 0 {
				x = edges[rng.IntN(len(edges))]
			}
			if want, _ := slices.BinarySearch(edges, x); r.Bin(x) != want {
				t.Fatalf("%s: %v is in bin %d, not %d", name, x, r.Bin(x), want)
			}
		}
		for _, x := range []float64{math.MaxFloat64, -math.MaxFloat64, 0, 5e-324} {
			if want, _ := slices.BinarySearch(edges, x); r.Bin(x) != want {
				t.Fatalf("%s: %v is in bin %d, not %d", name, x, r.Bin(x), want)
			}
		}
		list := append(slices.Clone(sample), math.MaxFloat64, -math.MaxFloat64)
		var h, near Histogram
		for _, x := range list {
			r.Count(&h, x)
		}
		for _, x := range edges {
			list = append(list, x, above(x), below(x))
		}
		for _, x := range list {
			want, _ := slices.BinarySearch(edges, x)
			near.Bins[want]++
		}
		near.Nulls = 3
		var all, each Histogram
		list = append(list, math.NaN(), math.Inf(1), math.Inf(-1))
		r.CountAll(&all, list)
		for _, x := range list {
			r.Count(&each, x)
		}
		if all != near || each != near {
			t.Errorf("%s: what is counted at once, or one by one, is other than what a search counts", name)
		}
		h.Bins[r.Bin(math.MaxFloat64)]--
		h.Bins[r.Bin(-math.MaxFloat64)]--
		if h.Bins[0]+h.Bins[r.Bins()-1] != 0 || h.Held() != 5000 {
			t.Errorf("%s: something of the baseline is outside of it", name)
		}
	}
}

// TestTwoZeros: there are two zeros in bits, and one in a column.
func TestTwoZeros(t *testing.T) {
	minus := math.Copysign(0, -1)
	for _, edges := range [][]float64{
		{0, 1e-300, 1, 1e300}, {minus, 5e-324, 1e-323, 1.5e-323, 2e-323},
		{minus, 1e-300, 1, 1e300}, {-1e300, -1e-300, minus, 1e-300, 1e300}, {-1e300, -1e-300, 0, 1e-300, 1e300},
	} {
		r, err := ReferenceOf(edges)
		if err != nil {
			t.Fatal(err)
		}
		if want, _ := slices.BinarySearch(edges, 0); r.Bin(0) != want || r.Bin(minus) != want || !r.byKey {
			t.Errorf("of %v: 0 is in bin %d, -0 in bin %d, and both belong in %d", edges, r.Bin(0), r.Bin(minus), want)
		}
	}
}

func above(x float64) float64 { return math.Nextafter(x, math.Inf(1)) }

// compared holds one sample to another.
func compared(a, b []float64) Outcome {
	r := NewReference(slices.Clone(a))
	var x, y Histogram
	for _, v := range a {
		r.Count(&x, v)
	}
	for _, v := range b {
		r.Count(&y, v)
	}
	return Hold(Number, r.Bins(), &x, &y)
}

func normals(rng *rand.Rand, n int, mean, sd float64) []float64 {
	all := make([]float64, n)
	for i := range all {
		all[i] = mean + sd*rng.NormFloat64()
	}
	return all
}

// TestOneOutlier plays the evasion that bins over both samples fall to: a shift of one standard
// deviation, and one value of a billion among 100,000. It hides nothing here, and makes no
// drift where there is none.
func TestOneOutlier(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	base := normals(rng, 100_000, 0, 1)
	for _, far := range []float64{1e9, -1e300, math.MaxFloat64} {
		shifted, same := normals(rng, 100_000, 1, 1), normals(rng, 100_000, 0, 1)
		without := compared(base, shifted)
		shifted[7], same[7] = far, far
		with, none := compared(base, shifted), compared(base, same)
		if !with.Moved() || !near(with.JS, without.JS, 1e-3) || !near(with.PSI, without.PSI, 1e-3) {
			t.Errorf("%v: js %v, without it %v", far, with.JS, without.JS)
		}
		if none.Moved() {
			t.Errorf("%v alone is called drift: %+v", far, none)
		}
	}
}

// TestTrivialShift calls no drift what a million rows make significant and nobody would notice;
// and what matters it does, in any column.
func TestTrivialShift(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	base := normals(rng, 1_000_000, 0, 1)
	if o := compared(base, normals(rng, 1_000_000, 0.02, 1)); o.P > 1e-6 || o.Moved() {
		t.Errorf("0.02: %+v", o)
	}
	base = base[:100_000]
	for name, now := range map[string][]float64{
		"shift": normals(rng, 2000, 0.3, 1), "wider": normals(rng, 2000, 0, 1.5), "narrower": normals(rng, 2000, 0, 0.6),
		"constant": slices.Repeat([]float64{0}, 2000), "beyond": append(normals(rng, 1950, 0, 1), slices.Repeat([]float64{40}, 50)...),
		"nothing": append(normals(rng, 1800, 0, 1), slices.Repeat([]float64{math.NaN()}, 200)...),
		"two":     append(normals(rng, 1000, -0.8, 0.6), normals(rng, 1000, 0.8, 0.6)...),
	} {
		if o := compared(base, now); !o.Moved() {
			t.Errorf("%s: %+v", name, o)
		}
	}
}

// TestDistanceOfFewRows is about nothing where nothing moved, though few rows differ by chance.
func TestDistanceOfFewRows(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	base, sum := normals(rng, 4000, 0, 1), 0.0
	for range 100 {
		sum += compared(base, normals(rng, 500, 0, 1)).JS
	}
	if mean := sum / 100; mean > 0.04 {
		t.Errorf("%v on average", mean)
	}
}

// TestEdges judges what hardly can be.
func TestEdges(t *testing.T) {
	nan := slices.Repeat([]float64{math.NaN()}, 100)
	five, six := slices.Repeat([]float64{5}, 100), slices.Repeat([]float64{6}, 100)
	for _, c := range []struct {
		name   string
		a, b   []float64
		enough bool
		moved  bool
	}{
		{"nothing at all", nil, nil, false, false},
		{"one row", five, five[:1], false, false},
		{"all nulls", nan, nan, true, false},
		{"nulls, and then not", nan, five, true, true},
		{"constant", five, five, true, false},
		{"another constant", five, six, true, true},
		{"infinite", five, slices.Repeat([]float64{math.Inf(1)}, 100), true, true},
	} {
		o := compared(c.a, c.b)
		if o.Enough != c.enough || o.Moved() != c.moved {
			t.Errorf("%s: %+v", c.name, o)
		}
		for _, v := range []float64{o.P, o.ChiP, o.KSP, o.NullP, o.UnseeP, o.JS, o.PSI, o.Effect} {
			if v-v != 0 || v < 0 {
				t.Errorf("%s: %+v", c.name, o)
			}
		}
	}
}

// TestCategories finds new texts, and texts that changed places; a column of identifiers makes
// no noise.
func TestCategories(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	counts := map[string]int{"red": 600, "green": 300, "blue": 100}
	for i := range 200 {
		counts[string(rune('a'+i%26))+string(rune('A'+i/26))] = 1
	}
	c := NewCategories(counts, true)
	draw := func(weights ...int) *Histogram {
		var h Histogram
		for i, text := range []string{"red", "green", "blue", "aA", "violet"} {
			for range weights[i] {
				c.Count(&h, []byte(text))
			}
		}
		return &h
	}
	base := draw(600, 300, 100, 20, 0)
	for name, w := range map[string]struct {
		now   *Histogram
		moved bool
		cause Cause
	}{
		"same":   {draw(590, 310, 100, 22, 0), false, ByShape},
		"swap":   {draw(300, 600, 100, 20, 0), true, ByShape},
		"unseen": {draw(590, 290, 100, 20, 30), true, ByUnseen},
	} {
		o := Hold(Category, MaxBins, base, w.now)
		if o.Moved() != w.moved || w.moved && o.Cause != w.cause {
			t.Errorf("%s: %+v", name, o)
		}
	}
	many := map[string]int{}
	for range 4096 {
		many[string(bisected(rng.Uint64()))] = 1
	}
	ids := NewCategories(many, false)
	var a, b Histogram
	for range 5000 {
		ids.Count(&a, bisected(rng.Uint64()))
		ids.Count(&b, bisected(rng.Uint64()))
	}
	if o := Hold(Category, MaxBins, &a, &b); !ids.Open || o.Moved() {
		t.Errorf("identifiers: %+v", o)
	}
}

func bisected(n uint64) []byte {
	b := make([]byte, 8)
	for i := range b {
		b[i] = 'a' + byte(n>>(8*i)%26)
	}
	return b
}

// TestRows counts the same by rows, by columns and one by one.
func TestRows(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	all := make([]Feature, 7)
	for i := range all {
		all[i] = Feature{Numbers: NewReference(normals(rng, 1000, float64(i), 1)), Base: &Histogram{}}
	}
	a, b := NewWatch(all), NewWatch(all)
	values := normals(rng, 7*300+3, 3, 3)
	for window := range uint64(3) {
		a.Rows(values)
		for i, x := range values[:7*300] {
			if i%2 == 0 {
				b.Number(i%7, x)
			} else {
				b.Feed(i % 7).Number(x)
			}
		}
		a.End()
		b.End()
		if !slices.Equal(a.now, b.now) || b.now[0][1].Rows() != 300*(window+1) {
			t.Error("rows count other than their values do")
		}
	}
	NewWatch(nil).Rows(values)
}

// TestCost holds what a feature costs to its bounds: no allocation for what comes nor for the
// end of a window, and 5 KB.
func TestCost(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	r := NewReference(normals(rng, 1000, 0, 1))
	c := NewCategories(map[string]int{"a": 3, "b": 2}, true)
	w := NewWatch([]Feature{{Numbers: r, Base: &Histogram{}}, {Categories: c, Base: &Histogram{}}})
	values, text := normals(rng, 100, 0, 1), []byte("b")
	if n := testing.AllocsPerRun(100, func() {
		w.Column(0, values)
		w.Number(0, 1)
		w.Text(1, text)
		w.Null(1)
		w.End()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	size := unsafe.Sizeof(Feature{}) + unsafe.Sizeof(Reference{}) + unsafe.Sizeof(Histogram{}) + unsafe.Sizeof(w.now[0]) + unsafe.Sizeof(w.history[0]) +
		unsafe.Sizeof(State{}) + unsafe.Sizeof(Outcome{}) + unsafe.Sizeof(w.heard[0]) + 3*8
	if size > 5000 {
		t.Errorf("%d bytes a feature", size)
	}
	t.Logf("%d bytes a feature", size)
}
