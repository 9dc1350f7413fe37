// Detect measures how soon clients who copy a model are found, and how many honest ones
// are taken for such: with clients that differ from each other, which neither the
// calibration nor its threshold has seen.
package main

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"sort"
	"time"

	"github.com/pavise/pavise/internal/anomaly"
	"github.com/pavise/pavise/internal/learn"
	"github.com/pavise/pavise/internal/theft"
)

// A world is a model, and the rows that its clients and thieves draw from.
type world struct {
	name      string
	pool      learn.Set    // rows of the clients
	other     learn.Set    // rows of the thief
	far       learn.Matrix // rows of another kind, near enough to be tried
	model     func(learn.Matrix) learn.Matrix
	low, high []float32
	alter     func(rng *rand.Rand, c *habits, row []float32)
}

// habits are what makes a client differ from others.
type habits struct {
	mix       []float64
	bright    float64
	noise     float64
	quantised bool
	dx, dy    int
}

var (
	most  *int
	quick *bool
)

func main() {
	seed := flag.Uint64("seed", 1, "of everything")
	clients := flag.Int("clients", 300, "honest clients to calibrate with, and as many to try")
	only := flag.String("only", "", "one world")
	verbose := flag.Bool("v", false, "show measures")
	most = flag.Int("rows", 2200, "most rows of a client")
	quick = flag.Bool("quick", false, "whole streams and a quarter only")
	flag.Parse()
	for _, make := range []func(uint64) (*world, error){mnist, table, nslkdd} {
		w, err := make(*seed)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			continue
		}
		if *only != "" && *only != w.name {
			continue
		}
		measure(w, *clients, *seed, *verbose)
	}
}

func measure(w *world, n int, seed uint64, verbose bool) {
	began := time.Now()
	traffic := func(from, to int) theft.Traffic {
		return func(yield func(*theft.Asked, error) bool) {
			for i := from; i < to; i++ {
				if !w.honest(i, seed, func(a *theft.Asked) bool { return yield(a, nil) }) {
					return
				}
			}
		}
	}
	c, err := theft.Calibrate(traffic(0, n), 0.005, seed)
	if err != nil {
		fmt.Println(w.name, err)
		return
	}
	fmt.Printf("%s: threshold %.2f, bound %.4f by %d judged of %d, looks %v, %.0f s\n", w.name, c.Threshold, c.Bound, c.Judged, c.Clients, c.Looks, time.Since(began).Seconds())
	began = time.Now()
	e := theft.NewExtraction(c)
	false_, why, rows := 0, map[string]int{}, 0
	for a := range traffic(n, 2*n) {
		rows++
		if s, ok := e.See(a); ok {
			false_++
			why[s.Detector]++
			if verbose {
				fmt.Println("   ", s)
			}
		}
	}
	if verbose {
		worst := map[string]float64{}
		for i := n; i < 2*n; i++ {
			s := e.Closest(fmt.Sprintf("client-%d", i))
			worst[s.Detector] = max(worst[s.Detector], s.Score)
		}
		fmt.Println("  furthest honest, by measure:", worst)
	}
	low, high := anomaly.ClopperPearson(false_, n, 0.95)
	fmt.Printf("  honest: %d of %d left green (%.2f %% to %.2f %%) %v; %.1f µs a row\n", false_, n, 100*low, 100*high, why, float64(time.Since(began).Microseconds())/float64(rows))
	for _, k := range attacks {
		shares := []float64{1, 0.5, 0.25, 0.1}
		if *quick {
			shares = []float64{1, 0.25}
		}
		for _, share := range shares {
			w.attack(c, k, share, seed)
		}
	}
}

// honest plays one honest client.
func (w *world) honest(i int, seed uint64, see func(*theft.Asked) bool) bool {
	rng := rand.New(rand.NewPCG(seed<<32+uint64(i), 7))
	h := w.habits(rng)
	rows := 300 + rng.IntN(*most-300)
	name := fmt.Sprintf("client-%d", i)
	for range rows {
		if !w.ask(name, w.draw(rng, h), see) {
			return false
		}
	}
	return true
}

func (w *world) ask(name string, row []float32, see func(*theft.Asked) bool) bool {
	p := w.model(learn.Matrix{Rows: 1, Cols: len(row), Data: row})
	return see(&theft.Asked{Client: name, Input: wide(row), Scores: wide(p.Row(0)), Class: -1})
}

func wide(row []float32) []float64 {
	out := make([]float64, len(row))
	for i, v := range row {
		out[i] = float64(v)
	}
	return out
}

func (w *world) habits(rng *rand.Rand) *habits {
	classes := 0
	for _, y := range w.pool.Y {
		classes = max(classes, y+1)
	}
	alpha := []float64{0.3, 1, 10}[rng.IntN(3)]
	h := &habits{bright: 0.7 + 0.5*rng.Float64(), noise: 0.06 * rng.Float64() * float64(rng.IntN(2)), quantised: rng.IntN(5) > 0, dx: 0, dy: 0}
	for range classes {
		h.mix = append(h.mix, gamma(rng, alpha))
	}
	return h
}

// gamma draws from the gamma distribution (Marsaglia and Tsang, 2000).
func gamma(rng *rand.Rand, a float64) float64 {
	if a < 1 {
		return gamma(rng, a+1) * math.Pow(rng.Float64(), 1/a)
	}
	d := a - 1.0/3
	for {
		x := rng.NormFloat64()
		v := math.Pow(1+x/math.Sqrt(9*d), 3)
		if v > 0 && math.Log(rng.Float64()) < x*x/2+d-d*v+d*math.Log(v) {
			return d * v
		}
	}
}

func (w *world) draw(rng *rand.Rand, h *habits) []float32 {
	var sum float64
	for _, v := range h.mix {
		sum += v
	}
	for {
		at, k := rng.Float64()*sum, 0
		for k < len(h.mix)-1 && at >= h.mix[k] {
			at -= h.mix[k]
			k++
		}
		for range 2000 {
			if i := rng.IntN(len(w.pool.Y)); w.pool.Y[i] == k {
				row := slices.Clone(w.pool.X.Row(i))
				if w.alter != nil {
					w.alter(rng, h, row)
				}
				return row
			}
		}
	}
}

// An attack gives the thief's next row; it may look at what the model said before.
type attack struct {
	name string
	make func(w *world, rng *rand.Rand) func() []float32
}

var attacks = []attack{
	{"noise", func(w *world, rng *rand.Rand) func() []float32 {
		return func() []float32 {
			row := make([]float32, len(w.low))
			for j := range row {
				row[j] = w.low[j] + (w.high[j]-w.low[j])*rng.Float32()
			}
			return row
		}
	}},
	{"marginals", func(w *world, rng *rand.Rand) func() []float32 { // each column drawn by itself, from real values
		return func() []float32 {
			row := make([]float32, len(w.low))
			for j := range row {
				row[j] = w.other.X.Row(rng.IntN(w.other.X.Rows))[j]
			}
			return row
		}
	}},
	{"near-ood", func(w *world, rng *rand.Rand) func() []float32 {
		return func() []float32 { return slices.Clone(w.far.Row(rng.IntN(w.far.Rows))) }
	}},
	{"mixup", func(w *world, rng *rand.Rand) func() []float32 {
		return func() []float32 {
			a, b, t := w.other.X.Row(rng.IntN(w.other.X.Rows)), w.other.X.Row(rng.IntN(w.other.X.Rows)), 0.3+0.4*rng.Float32()
			row := make([]float32, len(a))
			for j := range row {
				row[j] = a[j] + t*(b[j]-a[j])
			}
			return row
		}
	}},
	{"jbda", func(w *world, rng *rand.Rand) func() []float32 {
		var rows [][]float32
		for range 100 {
			rows = append(rows, slices.Clone(w.other.X.Row(rng.IntN(w.other.X.Rows))))
		}
		next := 0
		return func() []float32 {
			if next < 100 {
				next++
				return rows[next-1]
			}
			parent := rows[next-len(rows)/2]
			if next == len(rows) {
				parent = rows[0]
			}
			_ = parent
			base := rows[(next-100)%len(rows)]
			next++
			row := slices.Clone(base)
			for j := range row {
				row[j] = min(w.high[j], max(w.low[j], row[j]+0.1*(w.high[j]-w.low[j])*float32(2*rng.IntN(2)-1)))
			}
			rows = append(rows, row)
			return row
		}
	}},
	{"line", func(w *world, rng *rand.Rand) func() []float32 {
		var a, b []float32
		left := 0
		var low, high float32
		return func() []float32 {
			if left == 0 {
				a, b, left, low, high = w.other.X.Row(rng.IntN(w.other.X.Rows)), w.other.X.Row(rng.IntN(w.other.X.Rows)), 12, 0, 1
			}
			left--
			mid := (low + high) / 2
			if rng.IntN(2) == 0 {
				low = mid
			} else {
				high = mid
			}
			row := make([]float32, len(a))
			for j := range row {
				row[j] = a[j] + mid*(b[j]-a[j])
			}
			return row
		}
	}},
	{"one-feature", func(w *world, rng *rand.Rand) func() []float32 { // path-finding in trees
		var base []float32
		left, col := 0, 0
		return func() []float32 {
			if left == 0 {
				base, left, col = slices.Clone(w.other.X.Row(rng.IntN(w.other.X.Rows))), 15, rng.IntN(len(w.low))
			}
			left--
			row := slices.Clone(base)
			row[col] = w.low[col] + (w.high[col]-w.low[col])*rng.Float32()
			return row
		}
	}},
	{"in-dist", func(w *world, rng *rand.Rand) func() []float32 {
		return func() []float32 { return slices.Clone(w.other.X.Row(rng.IntN(w.other.X.Rows))) }
	}},
}

// attack plays 20 thieves who hide a share of their rows among those of an honest client.
func (w *world) attack(c *theft.Calibration, k attack, share float64, seed uint64) {
	var found []int
	why := map[string]int{}
	thieves := 20
	if *quick {
		thieves = 6
	}
	for i := range thieves {
		rng := rand.New(rand.NewPCG(seed<<32+uint64(i), 99))
		h, next := w.habits(rng), k.make(w, rng)
		e := theft.NewExtraction(c)
		for n := 1; n <= *most; n++ {
			row := []float32(nil)
			if rng.Float64() < share {
				row = next()
			} else {
				row = w.draw(rng, h)
			}
			stop := false
			w.ask("thief", row, func(a *theft.Asked) bool {
				if s, ok := e.See(a); ok {
					found = append(found, n)
					why[s.Detector]++
					stop = true
				}
				return true
			})
			if stop {
				break
			}
		}
	}
	sort.Ints(found)
	at := func(q float64) string {
		if i := int(math.Ceil(q*float64(thieves))) - 1; i < len(found) {
			return fmt.Sprint(found[i])
		}
		return "-"
	}
	fmt.Printf("  %-12s %3.0f%%: found %2d of %d, median %s, p95 %s %v\n", k.name, 100*share, len(found), thieves, at(0.5), at(0.95), why)
}
