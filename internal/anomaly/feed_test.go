package anomaly

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// A feed makes what each hour brings: days and nights, weekends, chance, and a scatter of its
// own.
type feed struct {
	rng     *rand.Rand
	level   float64
	scatter float64
}

func newFeed(seed uint64) *feed {
	rng := rand.New(rand.NewPCG(seed, 1))
	return &feed{rng, math.Exp(3 + 7*rng.Float64()), 0.02 + 0.1*rng.Float64()}
}

func (f *feed) hour(h int) float64 {
	day := 1 + 0.8*math.Sin(2*math.Pi*float64(h%24)/24)
	if h%weekHours >= 5*24 {
		day *= 0.4
	}
	mean := f.level * day * math.Exp(f.scatter*f.rng.NormFloat64())
	return math.Round(max(0, mean+math.Sqrt(mean)*f.rng.NormFloat64()))
}

// watch plays a feed, changed from an hour on, and returns the first change that is told from
// then on, after how many hours, and how many were told before.
func watch(seed uint64, hours, from int, change func(after int, amount float64) float64) (first Change, delay, before int) {
	f, v := newFeed(seed), &Volume{}
	for h := range hours {
		amount := f.hour(h)
		if h >= from {
			amount = change(h-from, amount)
		}
		switch said := v.Observe(h, amount); {
		case said.Change == NoChange:
		case h < from:
			before++
		default:
			return said.Change, h - from + 1, before
		}
	}
	return NoChange, 0, before
}

// TestCleanFeeds counts false alarms: half a year of each of forty feeds.
func TestCleanFeeds(t *testing.T) {
	feeds, weeks := 40, 26
	if testing.Short() {
		feeds = 10
	}
	alarms, hours := map[Change]int{}, 0
	for seed := range uint64(feeds) {
		f, v := newFeed(seed), &Volume{}
		for h := range weeks * weekHours {
			hours++
			if said := v.Observe(h, f.hour(h)); said.Change != NoChange {
				alarms[said.Change]++
			}
		}
	}
	total := 0
	for _, n := range alarms {
		total += n
	}
	t.Logf("%d false alarms in %d hours of %d feeds: %v", total, hours, feeds, alarms)
	if total*20_000 > hours {
		t.Errorf("%d false alarms in %d hours: %v", total, hours, alarms)
	}
}

func TestChangesAreFound(t *testing.T) {
	const from = 6*weekHours + 10 // an hour by day
	for _, test := range []struct {
		name   string
		change func(after int, amount float64) float64
		want   []Change
		within int // hours
	}{
		{"four times as much", func(_ int, x float64) float64 { return 4 * x }, []Change{Burst, Rise}, 3},
		{"silence", func(int, float64) float64 { return 0 }, []Change{Silence, Fall}, 3},
		{"half of it, for good", func(_ int, x float64) float64 { return x / 2 }, []Change{Silence, Fall, CreepOff}, 12},
		{"one in fifty more each day", func(after int, x float64) float64 { return x * math.Pow(1.02, float64(after)/24) }, []Change{CreepUp, Rise, Burst}, 14 * 24},
		{"one in fifty less each day", func(after int, x float64) float64 { return x * math.Pow(0.98, float64(after)/24) }, []Change{CreepOff, Fall, Silence}, 14 * 24},
	} {
		found, slowest := 0, 0
		const feeds = 30
		for seed := range uint64(feeds) {
			first, delay, _ := watch(1000+seed, from+15*24, from, test.change)
			ok := false
			for _, want := range test.want {
				ok = ok || first == want
			}
			if ok && delay <= test.within {
				found++
				slowest = max(slowest, delay)
			}
		}
		t.Logf("%s: %d of %d feeds, within %d hours", test.name, found, feeds, slowest)
		if found < feeds*9/10 {
			t.Errorf("%s: found in %d of %d feeds within %d hours", test.name, found, feeds, test.within)
		}
	}
}

func TestNothingIsSaidWhileLearning(t *testing.T) {
	v := &Volume{}
	for h := range weeksLearnt * weekHours {
		if said := v.Observe(h, float64(h%2*1_000_000)); said.Change != NoChange {
			t.Errorf("hour %d: %+v", h, said)
		}
	}
	for _, amount := range []float64{math.NaN(), math.Inf(1), -5, 0} { // what no feed brings breaks nothing
		v.Observe(-1, amount)
	}
}

func TestSequence(t *testing.T) {
	s := &Sequence{}
	for _, step := range []struct {
		number  uint64
		want    Place
		missing uint64
	}{
		{100, InOrder, 0}, {101, InOrder, 0}, {101, Again, 0}, {104, Ahead, 0}, {102, Filling, 0}, {102, Again, 0}, {99, Again, 0},
		{105, InOrder, 0}, {1000, Ahead, 0}, {1127, Ahead, 1}, {103, TooLate, 1}, {10_000, Ahead, 8870}, {1, TooLate, 8870},
	} {
		if got := s.Observe(step.number); got != step.want {
			t.Errorf("%d is %s, want %s", step.number, got, step.want)
		}
		if s.Missing() != step.missing {
			t.Errorf("after %d %d are missing, want %d", step.number, s.Missing(), step.missing)
		}
	}
}

// TestSequenceAgainstAList holds counts to those of a plain list of all numbers.
func TestSequenceAgainstAList(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 2))
		s, came, newest := &Sequence{}, map[uint64]bool{}, uint64(0)
		var first, again, late uint64
		number := rng.Uint64N(5000)
		for range 3000 {
			switch rng.IntN(20) {
			case 0:
				number += rng.Uint64N(3000) // a gap
			case 1:
				number -= min(number, rng.Uint64N(1500)) // late, or again
			default:
				number = newest + 1
			}
			if len(came) == 0 {
				first, newest = number, number
			}
			switch {
			case number+sequenceWindow <= newest:
				late++
			case len(came) > 0 && (number < first || came[number]):
				again++
			}
			came[number] = came[number] || number+sequenceWindow > newest
			newest = max(newest, number)
			s.Observe(number)
		}
		missing := uint64(0)
		for n := first; n+sequenceWindow <= newest; n++ {
			if !came[n] {
				missing++
			}
		}
		gotAgain, gotLate := s.Replayed()
		if s.Missing() != missing || gotLate != late || gotAgain != again {
			t.Errorf("seed %d: %d missing, %d again, %d late; want %d, %d, %d", seed, s.Missing(), gotAgain, gotLate, missing, again, late)
		}
	}
}

func TestDistinct(t *testing.T) {
	for _, n := range []int{0, 1, 4096, 4097, 20_000, 40_000, 300_000} {
		d := NewDistinct()
		for range 2 {
			for i := range n {
				d.Add(fmt.Appendf(nil, "value %d", i))
			}
		}
		got := d.Count()
		if n <= distinctExact && got != float64(n) || math.Abs(got-float64(n)) > 0.04*float64(n) {
			t.Errorf("%d different values are counted as %.0f", n, got)
		}
	}
}
