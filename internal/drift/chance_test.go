package drift

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestChanceOfTexts draws baselines and rows of now from the same worlds, whose texts are many or
// rare: which of them came to which side is chance, and is no drift.
func TestChanceOfTexts(t *testing.T) {
	worlds := map[string]func(*rand.Rand) int{
		"days":        func(r *rand.Rand) int { return r.IntN(60) },
		"hours":       func(r *rand.Rand) int { return r.IntN(168) },
		"addresses":   func(r *rand.Rand) int { return r.IntN(1024) },
		"identifiers": func(r *rand.Rand) int { return r.IntN(1_000_000) },
		"long tail":   func(r *rand.Rand) int { return int(1 / (1e-4 + r.Float64())) },
		"one is rare": func(r *rand.Rand) int { return max(r.IntN(100)-98, 0) },
	}
	for name, world := range worlds {
		rng := rand.New(rand.NewPCG(11, 7))
		wrong := 0
		for range 50 {
			sizes := [2]int{[]int{64, 200, 1000, 5000}[rng.IntN(4)], []int{40, 300, 4000}[rng.IntN(3)]}
			counts := map[string]int{}
			for range sizes[0] {
				counts[fmt.Sprint(world(rng))]++
			}
			c, base, _ := CountedCategories(counts, 0, true)
			now := &Histogram{}
			for range sizes[1] {
				c.Count(now, fmt.Append(nil, world(rng)))
			}
			if o := Hold(Category, MaxBins, base, now); o.Moved() {
				wrong++
			}
		}
		if wrong > 3 { // each with a chance of 1 % at most
			t.Errorf("%s: of 50 pairs that are of one world %d were called drift", name, wrong)
		}
	}
}

// TestCountedCategories has all of a baseline counted where its texts come often, and half where
// some are rare; what is not among its texts is halved with them.
func TestCountedCategories(t *testing.T) {
	_, base, halved := CountedCategories(map[string]int{"yes": 700, "no": 293, "never": 7}, 0, true)
	if n := base.Held(); halved || n != 1000 {
		t.Errorf("of 1000 texts that come often %d are counted, halved %v", n, halved)
	}
	_, base, halved = CountedCategories(map[string]int{"yes": 700, "no": 296, "never": 4}, 0, true)
	if n := base.Held(); !halved || n < 430 || n > 570 {
		t.Errorf("of 1000 texts with a rare one %d are counted, halved %v", n, halved)
	}
	_, base, halved = CountedCategories(map[string]int{"yes": 1000}, 9001, false)
	if n := base.Bins[restBin]; !halved || n != 4501 {
		t.Errorf("of 9001 texts that were not kept %d are counted, halved %v", n, halved)
	}
	if _, again, _ := CountedCategories(map[string]int{"yes": 1000}, 9001, false); *again != *base {
		t.Error("the same texts were counted otherwise")
	}
}

// TestANewTextIsFound has a text that the baseline never had in 3 % of the rows of now.
func TestANewTextIsFound(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 9))
	counts := map[string]int{}
	for range 4000 {
		counts[fmt.Sprint(rng.IntN(100))]++
	}
	c, base, _ := CountedCategories(counts, 0, true)
	now := &Histogram{}
	for i := range 4000 {
		if i%33 == 0 {
			c.Count(now, []byte("new"))
		} else {
			c.Count(now, fmt.Append(nil, rng.IntN(100)))
		}
	}
	if o := Hold(Category, MaxBins, base, now); !o.Moved() || o.Cause != ByUnseen || o.Unseen < 0.02 {
		t.Errorf("it is not found: %+v", o)
	}
}

// TestChanceOfEnds draws few rows: others of the same world go beyond the ends of what they had.
func TestChanceOfEnds(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 1))
	wrong, n := 0, 2000
	for range n {
		r := NewReference(normals(rng, 40, 0, 1))
		var base, now Histogram
		base.Bins[1] = 40
		r.CountAll(&now, normals(rng, 2000, 0, 1))
		var o Outcome
		if o.shape(Number, r.Bins(), &base, &now, 40, 2000); o.UnseeP <= 0.001 {
			wrong++
		}
	}
	if wrong > 4 {
		t.Errorf("of %d pairs of one world %d go beyond the ends by a chance of one in a thousand", n, wrong)
	}
}
