package firewall

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// probabilities draws a row: the smaller the concentration, the more one class has.
func probabilities(rng *rand.Rand, classes int, concentration float64) []float64 {
	row, sum := make([]float64, classes), 0.0
	for i := range row {
		row[i] = math.Pow(-math.Log(1-rng.Float64()), 1/concentration)
		sum += row[i]
	}
	for i := range row {
		row[i] /= sum
	}
	return row
}

// misleads is what ModelGuard-W makes small.
func misleads(row, changed []float64) (sum float64) {
	for i, v := range row {
		sum += math.Log(v+guardFloor) * changed[i]
	}
	return sum
}

// holdToBounds fails when a changed row breaks one of the bounds on it.
func holdToBounds(t *testing.T, g *ModelGuard, row, changed []float64) {
	t.Helper()
	const slack = 1e-9
	sum, was, l1, top := 0.0, 0.0, 0.0, argmax(row)
	for i, v := range changed {
		if !(v >= 0) {
			t.Fatalf("%v of %v: score %v", g, row, v)
		}
		if i != top && v > changed[top]-(1-g.Grain)*g.margin()+slack {
			t.Fatalf("epsilon %v of %v: class %d has %v, the top %v", g.Epsilon, row, i, v, changed[top])
		}
		sum, was, l1 = sum+v, was+row[i], l1+math.Abs(v-row[i])
	}
	if math.Abs(sum-was) > slack {
		t.Fatalf("epsilon %v of %v: adds up to %v, was %v", g.Epsilon, row, sum, was)
	}
	if l1 > g.Epsilon+slack {
		t.Fatalf("epsilon %v of %v: %v away", g.Epsilon, row, l1)
	}
}

// TestModelGuardSpendsItsBound: of rows of ten classes, sure ones and doubtful ones, each is moved
// as far as the owner allows. What a thief still learns is not for want of it.
func TestModelGuardSpendsItsBound(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		row := probabilities(rng, 10, []float64{0.05, 0.1, 0.3, 1}[rng.IntN(4)])
		g, changed := &ModelGuard{Epsilon: 1}, make([]float64, len(row))
		if why := g.Row(changed, row); why != "" {
			t.Fatalf("%v: %s", row, why)
		}
		holdToBounds(t, g, row, changed)
		l1 := 0.0
		for k, v := range changed {
			l1 += math.Abs(v - row[k])
		}
		if l1 < 1-3*guardMargin { // the margin of the top takes the rest of it
			t.Errorf("%v is moved by %v alone, to %v", row, l1, changed)
		}
	}
}

// TestModelGuardGrid holds rows of three classes to the best one of a grid. The bench's
// oracle holds more classes to a solver of linear programs.
func TestModelGuardGrid(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const steps = 400
	for range 150 {
		row := probabilities(rng, 3, []float64{0.1, 0.5, 2}[rng.IntN(3)])
		g := &ModelGuard{Epsilon: []float64{0.1, 0.4, 1, 1.7, 2}[rng.IntN(5)]}
		changed, top := make([]float64, 3), argmax(row)
		if why := g.Row(changed, row); why != "" {
			t.Fatalf("%v: %s", row, why)
		}
		holdToBounds(t, g, row, changed)
		least, best := math.Inf(1), []float64(nil)
		for i := range steps + 1 {
			for j := range steps + 1 - i {
				p := []float64{float64(i) / steps, float64(j) / steps, float64(steps-i-j) / steps}
				l1, ok := 0.0, true
				for k := range p {
					l1 += math.Abs(p[k] - row[k])
					ok = ok && (k == top || p[k] <= p[top]-guardMargin)
				}
				if sum := misleads(row, p); ok && l1 <= g.Epsilon && sum < least {
					least, best = sum, p
				}
			}
		}
		if sum := misleads(row, changed); sum > least+1e-9 {
			t.Errorf("epsilon %v of %v: %v has %v, but %v has %v", g.Epsilon, row, changed, sum, best, least)
		} else if sum < least-0.2 && best != nil { // a step of 1/400 costs up to 14 of them
			t.Errorf("epsilon %v of %v: %v has %v, far below the grid's %v", g.Epsilon, row, changed, sum, least)
		}
	}
}

// TestModelGuardRows draws rows of every kind: each keeps its bounds, and no step of a
// little mass between two classes misleads more.
func TestModelGuardRows(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	g := &ModelGuard{}
	for n := range 6000 {
		classes := []int{2, 3, 5, 10, 40}[rng.IntN(5)]
		row := probabilities(rng, classes, []float64{0.05, 0.2, 1, 5}[rng.IntN(4)])
		switch rng.IntN(4) {
		case 0: // as an answer that was rounded: zeros and ties
			for i := range row {
				row[i] = math.Round(row[i]*100) / 100
			}
		case 1: // as an FP32
			for i := range row {
				row[i] = float64(float32(row[i]))
			}
		}
		g.Epsilon = 2 * rng.Float64()
		if n%7 == 0 {
			g.Epsilon = 1
		}
		changed := make([]float64, classes)
		if why := g.Row(changed, row); why != "" {
			if !strings.Contains(why, "apart") && !strings.Contains(why, "add up") {
				t.Fatalf("%v: %s", row, why)
			}
			continue
		}
		holdToBounds(t, g, row, changed)
		holdToSteps(t, g, row, changed)
	}
}

// holdToSteps moves a little mass from each class to each other one.
func holdToSteps(t *testing.T, g *ModelGuard, row, changed []float64) {
	t.Helper()
	const step = 1e-7
	top, sum := argmax(row), misleads(row, changed)
	for from := range row {
		for to := range row {
			next := slices.Clone(changed)
			next[from] -= step
			next[to] += step
			l1, ok := 0.0, next[from] >= 0
			for i, v := range next {
				l1 += math.Abs(v - row[i])
				ok = ok && (i == top || v <= next[top]-guardMargin)
			}
			if ok && l1 <= g.Epsilon && misleads(row, next) < sum-1e-10 {
				t.Fatalf("epsilon %v of %v: %v misleads less than with %v from %d to %d", g.Epsilon, row, changed, step, from, to)
			}
		}
	}
}

// TestModelGuardCorners has the rows that are odd.
func TestModelGuardCorners(t *testing.T) {
	thin := make([]float64, 100_000)
	for i := range thin {
		thin[i] = 1e-5
	}
	for _, c := range []struct {
		name    string
		epsilon float64
		row     []float64
		want    []float64 // nil: only the bounds
	}{
		{"two classes", 1, []float64{0.9, 0.1}, []float64{0.50005, 0.49995}},
		{"two classes, a small bound", 0.2, []float64{0.9, 0.1}, []float64{0.8, 0.2}},
		{"two equal classes", 1, []float64{0.5, 0.5}, []float64{0.50005, 0.49995}},
		{"the second on top", 1, []float64{0.1, 0.9}, []float64{0.49995, 0.50005}},
		{"sure of itself", 1, []float64{0, 1, 0}, []float64{0.4999, 0.5, 0.0001}},
		{"sure of itself, no bound", 2, []float64{0, 0, 1}, []float64{0.3333, 0.3333, 0.3334}},
		{"nothing known, no bound", 2, []float64{0.25, 0.25, 0.25, 0.25}, nil},
		{"the top gains", 0.4, []float64{0.4, 0.39, 0.2, 0.01}, nil},
		{"nothing may change", 0, []float64{0.6, 0.4}, []float64{0.6, 0.4}},
		{"ties below", 1, []float64{0.7, 0.1, 0.1, 0.1}, nil},
		{"a small number", 1, []float64{1 - 5e-324, 5e-324}, nil},
		{"rounded, and so not 1", 1, []float64{0.333, 0.333, 0.333}, nil},
		{"many classes, all alike", 1, thin, nil},
		{"many classes, one of them sure", 1, append([]float64{1}, make([]float64, 99_999)...), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := &ModelGuard{Epsilon: c.epsilon}
			changed := slices.Clone(c.row)
			if why := g.Row(changed, changed); why != "" {
				t.Fatal(why)
			}
			if c.epsilon > 0 {
				holdToBounds(t, g, c.row, changed)
			}
			for i, want := range c.want {
				if math.Abs(changed[i]-want) > 1e-9 {
					t.Errorf("%v, want %v", changed, c.want)
					break
				}
			}
			again := make([]float64, len(c.row))
			if (&ModelGuard{Epsilon: c.epsilon}).Row(again, c.row); !slices.Equal(again, changed) {
				t.Error("another answer to the same row")
			}
		})
	}
}

// TestModelGuardRefuses has the rows that are no probabilities, which it leaves alone.
func TestModelGuardRefuses(t *testing.T) {
	for _, c := range []struct {
		row []float64
		say string
	}{
		{nil, "0 classes"},
		{[]float64{1}, "1 classes"},
		{[]float64{2.5, -1.25}, "score 2.5 for class 0"},
		{[]float64{0.5, -0.5, 1}, "score -0.5 for class 1"},
		{[]float64{0.5, math.NaN()}, "score NaN"},
		{[]float64{math.Inf(1), 0}, "score +Inf"},
		{[]float64{0.9, 0.9}, "add up to 1.8"},
		{[]float64{0, 0, 0}, "add up to 0"},
	} {
		dst := slices.Repeat([]float64{7}, len(c.row))
		if why := (&ModelGuard{Epsilon: 1}).Row(dst, c.row); !strings.Contains(why, c.say) {
			t.Errorf("%v: %q, want %q", c.row, why, c.say)
		}
		if slices.ContainsFunc(dst, func(v float64) bool { return v != 7 }) {
			t.Errorf("%v: written to", c.row)
		}
	}
	if why := (&ModelGuard{Epsilon: 1e-5}).Row(make([]float64, 2), []float64{0.5, 0.5}); !strings.Contains(why, "too little") {
		t.Errorf("two at the top: %q", why)
	}
	for _, g := range []ModelGuard{{Epsilon: -1}, {Epsilon: 2.1}, {Epsilon: math.NaN()}, {Epsilon: 1, Margin: 0.5}, {Epsilon: 1, Grain: math.Inf(1)}} {
		if g.Validate() == nil {
			t.Errorf("%+v is valid", g)
		}
	}
}

// TestModelGuardGrain changes answers as a route does, and holds their texts to those of
// the true ones.
func TestModelGuardGrain(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	g := &ModelGuard{Epsilon: 1, Grain: 1e-5}
	var was, is int
	for range 2000 {
		row := probabilities(rng, 10, 0.2)
		changed := make([]float64, len(row))
		if why := g.Row(changed, row); why != "" {
			t.Fatal(why)
		}
		holdToBounds(t, g, row, changed)
		for i, v := range changed {
			text := fmt.Sprint(float32(v))
			if v == 0 && row[i] > 0 || len(text) < 6 && len(text) < len(fmt.Sprint(float32(row[i])))-3 {
				t.Fatalf("%v of %v: %s has few digits", changed, row, text)
			}
			was, is = was+len(fmt.Sprint(float32(row[i]))), is+len(text)
		}
	}
	if ratio := float64(is) / float64(was); ratio < 0.95 || ratio > 1.05 {
		t.Errorf("texts are %.3f times as long", ratio)
	}
}

func FuzzModelGuard(f *testing.F) {
	f.Add([]byte{1, 2, 3}, 1.0)
	f.Add([]byte{255, 0, 0, 0}, 2.0)
	f.Add([]byte{9, 9}, 0.3)
	f.Fuzz(func(t *testing.T, weights []byte, epsilon float64) {
		g := &ModelGuard{Epsilon: epsilon}
		if g.Validate() != nil || epsilon == 0 {
			return
		}
		row, sum := make([]float64, len(weights)), 0.0
		for i, w := range weights {
			row[i] = math.Pow(float64(w), 3)
			sum += row[i]
		}
		for i := range row {
			row[i] /= max(sum, 1)
		}
		changed := make([]float64, len(row))
		if g.Row(changed, row) == "" {
			holdToBounds(t, g, row, changed)
			if len(row) < 30 {
				holdToSteps(t, g, row, changed)
			}
		}
	})
}

func BenchmarkModelGuard(b *testing.B) {
	for _, classes := range []int{2, 10, 100, 1000, 100_000} {
		b.Run(fmt.Sprint(classes), func(b *testing.B) {
			rng := rand.New(rand.NewPCG(7, 8))
			var rows [][]float64
			for range 16 {
				rows = append(rows, probabilities(rng, classes, 0.2))
			}
			g, dst := &ModelGuard{Epsilon: 1}, make([]float64, classes)
			g.Row(dst, rows[0])
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				g.Row(dst, rows[i&15])
				i++
			}
		})
	}
}
