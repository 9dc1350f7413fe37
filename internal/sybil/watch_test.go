package sybil

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/theft"
)

const (
	columns  = 12
	clusters = 9
	classes  = 3
)

// A world is a made-up table: clusters of rows, and a model that knows them.
type world struct{ at [clusters][columns]float64 }

func newWorld() *world {
	w, rng := &world{}, rand.New(rand.NewPCG(1, 5))
	for k := range w.at {
		for j := range w.at[k] {
			w.at[k][j] = rng.NormFloat64()
		}
	}
	return w
}

func (w *world) row(rng *rand.Rand, cluster int) []float64 {
	row := make([]float64, columns)
	for j := range row {
		row[j] = w.at[cluster][j] + 0.4*rng.NormFloat64()
	}
	return row
}

func (w *world) asked(client string, row []float64) *theft.Asked {
	p := make([]float64, classes)
	sum := 1e-30
	for k := range w.at {
		var d float64
		for j, v := range row {
			d += (v - w.at[k][j]) * (v - w.at[k][j])
		}
		p[k%classes] += math.Exp(-d / 4)
		sum += math.Exp(-d / 4)
	}
	for k := range p {
		p[k] /= sum
	}
	return &theft.Asked{Client: client, Input: row, Scores: p, Class: -1}
}

// habit gives the rows of one honest client: each asks for other clusters than others do.
func (w *world) habit(rng *rand.Rand) func() []float64 {
	mix, flat := make([]float64, clusters), []float64{0.2, 0.5, 1, 3}[rng.IntN(4)]
	for k := range mix {
		mix[k] = math.Pow(rng.ExpFloat64(), 1/flat)
		if k > 0 {
			mix[k] += mix[k-1]
		}
	}
	return func() []float64 {
		k, _ := slices.BinarySearch(mix, rng.Float64()*mix[len(mix)-1])
		return w.row(rng, min(k, clusters-1))
	}
}

// thieves give the rows of those who copy.
var thieves = map[string]func(*world, *rand.Rand) func() []float64{
	"noise": func(_ *world, rng *rand.Rand) func() []float64 {
		return func() []float64 {
			row := make([]float64, columns)
			for j := range row {
				row[j] = 4*rng.Float64() - 2
			}
			return row
		}
	},
	"jbda": func(w *world, rng *rand.Rand) func() []float64 {
		var rows [][]float64
		return func() []float64 {
			if len(rows) < 10 {
				rows = append(rows, w.row(rng, rng.IntN(clusters)))
				return rows[len(rows)-1]
			}
			row := slices.Clone(rows[rng.IntN(len(rows))])
			for j := range row {
				row[j] += 0.1 * float64(2*rng.IntN(2)-1)
			}
			rows = append(rows, row)
			return row
		}
	},
}

var learnt struct {
	*world
	c *theft.Calibration
}

// calibrated is the world and what its honest clients are like.
func calibrated(t testing.TB) (*world, *theft.Calibration) {
	t.Helper()
	if learnt.c == nil {
		w := newWorld()
		c, err := theft.Calibrate(func(yield func(*theft.Asked, error) bool) {
			for i := range 300 {
				rng := rand.New(rand.NewPCG(7, uint64(i)))
				next := w.habit(rng)
				for range 200 + rng.IntN(100) {
					if !yield(w.asked(fmt.Sprint("client-", i), next()), nil) {
						return
					}
				}
			}
		}, 0.02, 1)
		if err != nil {
			t.Fatal(err)
		}
		learnt.world, learnt.c = w, c
	}
	return learnt.world, learnt.c
}

func callerOf(i int) pavise.Name {
	return pavise.Name{Tenant: "local", Kind: pavise.Workload, ID: fmt.Sprint("c", i)}
}

// played is what came of a play.
type played struct {
	own   int // rows that made somebody amber alone
	pools map[string]int
	alike []pavise.Name
}

// play has so many callers ask so many rows each, in turns.
func play(w *Watch, world *world, callers, rows int, facts func(int) Facts, next func(int) []float64) played {
	p := played{pools: map[string]int{}}
	for n := range rows {
		for i := range callers {
			_, found, pools := w.See(time.Duration(n)*time.Second, callerOf(i), facts(i), world.asked("", next(i)))
			if found {
				p.own++
			}
			for _, f := range pools {
				link, _, _ := strings.Cut(f.Pool, " ")
				p.pools[link]++
				if f.Alike != nil {
					p.alike = f.Alike
				}
			}
		}
	}
	return p
}

func network(text string) Facts { return Facts{Network: NetworkOf(netip.MustParseAddr(text))} }

// A stream of a thief that is split into names of forty rows each, of which none can be
// judged alone, is found in a pool: by what its rows repeat of each other, which makes its
// names amber, or by their network, which is evidence and no more.
func TestSybilsAreFound(t *testing.T) {
	if testing.Short() {
		t.Skip("it measures; nothing in it runs beside anything else")
	}
	const streams, each = 10, 40
	world, c := calibrated(t)
	for _, k := range []struct {
		thief string
		names int
		found int // streams that must be found in any pool
		alike int // and in one of those alike
	}{{"noise", 2, streams, 0}, {"noise", 5, streams, 0}, {"noise", 20, streams, 0}, {"jbda", 2, streams - 1, 0}, {"jbda", 5, streams, streams - 1}, {"jbda", 20, streams, streams - 1}} {
		found, alike, amber := 0, 0, 0
		for seed := range uint64(streams) {
			w, next := NewWatch(theft.NewExtraction(c), c, 0), thieves[k.thief](world, rand.New(rand.NewPCG(seed, 9)))
			p := play(w, world, k.names, each, func(i int) Facts { return network(fmt.Sprintf("192.0.2.%d", i+1)) }, func(int) []float64 { return next() })
			if p.own > 0 {
				t.Errorf("%s under %d names: a name of %d rows was judged alone", k.thief, k.names, each)
			}
			if len(p.pools) > 0 {
				found++
			}
			if p.pools["alike"] > 0 {
				alike++
				amber += len(p.alike)
			}
		}
		t.Logf("%s under %d names of %d rows: %d of %d streams are found, %d by what they repeat, which names %d of %d", k.thief, k.names, each, found, streams, alike, amber, alike*k.names)
		if found < k.found || alike < k.alike || amber < alike*k.names*3/5 {
			t.Errorf("%s under %d names: %d are found, %d alike", k.thief, k.names, found, alike)
		}
	}
}

// Two hundred honest callers of one network, of one organisation, whose identities one
// person had made, are no thief: none is alike with another, and no pool is found.
func TestAHouseIsNoThief(t *testing.T) {
	world, c := calibrated(t)
	facts := Facts{Made: callerOf(-1), Organisation: "acme", Network: NetworkOf(netip.MustParseAddr("192.0.2.1"))}
	for _, rows := range []int{10, 40, 120} {
		w := NewWatch(theft.NewExtraction(c), c, 0)
		var nexts []func() []float64
		for i := range 200 {
			nexts = append(nexts, world.habit(rand.New(rand.NewPCG(uint64(rows), uint64(i)))))
		}
		p := play(w, world, 200, rows, func(int) Facts { return facts }, func(i int) []float64 { return nexts[i]() })
		if len(p.pools) > 0 {
			t.Errorf("of %d rows each: pools %v are found", rows, p.pools)
		}
		w.Crowd.Settle(time.Hour)
		for i := range 200 {
			if others := w.Crowd.AlikeTo(callerOf(i)); others != nil {
				t.Errorf("of %d rows each: %v are alike", rows, others)
			}
		}
		if all := linked(w.Crowd); len(all) != 1 || len(all[w.Crowd.Cluster(callerOf(0))]) != 200 || len(w.Crowd.Pools(nil, callerOf(0))) != 3 {
			t.Errorf("the house is %+v", all)
		}
	}
}

// Honest callers who were judged alone are not held for what those do who repeat them.
func TestJudgedCallersAreNotFramed(t *testing.T) {
	world, c := calibrated(t)
	w := NewWatch(theft.NewExtraction(c), c, 0)
	honest := world.habit(rand.New(rand.NewPCG(3, 3)))
	rng := rand.New(rand.NewPCG(4, 4))
	victim := callerOf(0)
	for n := range 400 {
		row := honest()
		at := time.Duration(n) * time.Second
		if _, found, _ := w.See(at, victim, Facts{}, world.asked("", row)); found {
			t.Fatal("the honest client is found by itself")
		}
		if n < 100 {
			continue
		}
		for j := range row {
			row[j] += 0.02 * rng.NormFloat64()
		}
		_, _, pools := w.See(at, callerOf(1+n%10), Facts{}, world.asked("", row))
		for _, p := range pools {
			if slices.Contains(p.Alike, victim) {
				t.Fatalf("row %d: the one who was repeated is held for it: %+v", n, p)
			}
		}
	}
}
