package anomaly_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/pavise/pavise/internal/anomaly"
)

// TestTells: what follows is told, also from two things together, what has nothing to do with it is not,
// and rows that are out do not count.
func TestTells(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const rows = 4000
	one, square, other, joint := make([]int32, rows), make([]int32, rows), make([]int32, rows), make([]int32, rows)
	planted, half, none := make([]int32, rows), make([]bool, rows), make([]bool, rows)
	for k := range rows {
		one[k], other[k] = rng.Int32N(20), rng.Int32N(15)
		square[k] = one[k] * one[k]
		joint[k] = (one[k] + other[k]) % 7
		if planted[k] = other[k]; k%2 == 0 {
			half[k], planted[k] = true, one[k]
		}
	}
	pair := func(a, b []int32) []int32 {
		both := make([]int32, rows)
		for k := range both {
			both[k] = 1000*a[k] + b[k]
		}
		return both
	}
	for name, c := range map[string]struct {
		one, other []int32
		out        []bool
		want       float64
	}{
		"a square":                {one, square, none, 1},
		"nothing":                 {one, other, none, 0},
		"one of two":              {one, joint, none, 0},
		"both":                    {pair(one, other), joint, none, 1},
		"half of the rows":        {one, planted, none, 0.25},
		"half of the rows is out": {one, planted, half, 0},
	} {
		if got := anomaly.Tells(c.one, c.other, pair(c.other, c.one), c.out); math.Abs(got-c.want) > 0.05 {
			t.Errorf("%s: %.3f, want %.2f", name, got, c.want)
		}
	}
	if got := anomaly.Tells(nil, nil, nil, nil); got != 0 {
		t.Errorf("no rows tell %v", got)
	}
	if got := anomaly.Tells([]int32{0}, []int32{0}, []int32{0}, []bool{false}); got != 0 {
		t.Errorf("one row tells %v", got)
	}
}

// TestDivergence: rows that are drawn from a distribution differ from it by nothing on average.
func TestDivergence(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	q, sum := []float64{0.5, 0.3, 0.15, 0.05}, 0.0
	const draws, rows = 2000, 200
	for range draws {
		p := make([]float64, len(q))
		for range rows {
			x, b := rng.Float64(), 0
			for x > q[b] && b < len(q)-1 {
				x, b = x-q[b], b+1
			}
			p[b] += 1.0 / rows
		}
		d, _ := anomaly.Divergence(p, q, rows)
		sum += d / draws
	}
	if math.Abs(sum) > 2e-4 {
		t.Errorf("the mean is %g", sum)
	}
	if d, free := anomaly.Divergence([]float64{1, 0}, []float64{0, 1}, 1000); math.Abs(d-math.Ln2) > 0.001 || free != 0 {
		t.Errorf("what has nothing in common is %g apart, by %g free", d, free)
	}
}

// TestInformation: what is the same tells all of it, and what has nothing to do with it nothing.
func TestInformation(t *testing.T) {
	if got := anomaly.Information([]float64{5000, 0, 0, 5000}, 2, 10000); math.Abs(got-math.Ln2) > 0.001 {
		t.Errorf("a copy tells %g nats", got)
	}
	if got := anomaly.Information([]float64{2500, 2500, 2500, 2500}, 2, 10000); got != 0 {
		t.Errorf("chance tells %g nats", got)
	}
}

// TestIsolation: a row far from all others is alone soonest.
func TestIsolation(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	points, rows := make([][]float32, 600), []int32(nil)
	for i := range points {
		points[i] = []float32{float32(rng.NormFloat64()), float32(rng.NormFloat64()), float32(rng.NormFloat64())}
		rows = append(rows, int32(i))
	}
	points[77] = []float32{9, -9, 9}
	score := anomaly.Isolation(points, rows, rng)
	for i, s := range score {
		if s <= 0 || s >= 1 || i != 77 && s >= score[77] {
			t.Fatalf("row %d scores %g, and the one that is far away %g", i, s, score[77])
		}
	}
}
