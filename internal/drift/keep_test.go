package drift

import (
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
)

// TestKeptBins: bins that were kept and made again put everything where it was.
func TestKeptBins(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, scale := range []float64{1, 1e-9, 1e300} {
		sample := make([]float64, 5000)
		for i := range sample {
			sample[i] = rng.NormFloat64() * scale
		}
		was := NewReference(sample)
		is, err := ReferenceOf(was.Edges())
		if err != nil {
			t.Fatal(err)
		}
		for range 5000 {
			if x := rng.NormFloat64() * 2 * scale; was.Bin(x) != is.Bin(x) {
				t.Fatalf("%v is in bin %d, and was in %d", x, is.Bin(x), was.Bin(x))
			}
		}
	}
	counts := map[string]int{}
	for i := range 300 {
		counts["word "+strconv.Itoa(i)] = 300 - i
	}
	was := NewCategories(counts, true)
	is, err := CategoriesOf(was.Names, was.Seen(), was.Open)
	if err != nil {
		t.Fatal(err)
	}
	var a, b Histogram
	for i := range 400 {
		was.Count(&a, []byte("word "+strconv.Itoa(i)))
		is.Count(&b, []byte("word "+strconv.Itoa(i)))
	}
	if a != b || a.Bins[newBin] == 0 {
		t.Errorf("%v, and before %v", b, a)
	}
}

// TestKeptBinsThatAreNone refuses what cannot have been kept.
func TestKeptBinsThatAreNone(t *testing.T) {
	for _, edges := range [][]float64{{1, 1}, {2, 1}, {math.NaN()}, {math.Inf(1)}, make([]float64, maxEdges+1)} {
		if _, err := ReferenceOf(edges); err == nil {
			t.Errorf("%v are edges", edges)
		}
	}
	if _, err := CategoriesOf([]string{"a", "a"}, nil, false); err == nil {
		t.Error("a name stands there twice")
	}
	if _, err := CategoriesOf(make([]string, maxNames+1), nil, false); err == nil {
		t.Error("too many names")
	}
	if _, err := CategoriesOf(nil, make([]uint64, 3), false); err == nil {
		t.Error("a short filter")
	}
}
