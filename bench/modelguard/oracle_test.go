package modelguard

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/pavise/pavise/internal/firewall"
	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/optimize/convex/lp"
)

const margin, floor = 1e-4, 1e-6

// TestLinearProgram has the same least sum as the solver on random rows: sharp and flat,
// with ties and zeros, under bounds of all sizes.
func TestLinearProgram(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	solved, worst := 0, 0.0
	for range 2500 {
		classes := []int{2, 3, 5, 10, 25}[rng.IntN(5)]
		row := draw(rng, classes)
		epsilon := []float64{0.05, 0.2, 0.5, 1, 1.5, 2}[rng.IntN(6)]
		want, err := solve(row, epsilon)
		if errors.Is(err, lp.ErrInfeasible) {
			g := firewall.ModelGuard{Epsilon: epsilon}
			if why := g.Row(make([]float64, classes), row); why == "" {
				t.Errorf("epsilon %v of %v: answered, and the program has no solution", epsilon, row)
			}
			continue
		}
		if err != nil { // the solver gave up: on about one in a hundred
			continue
		}
		solved++
		got := make([]float64, classes)
		g := firewall.ModelGuard{Epsilon: epsilon}
		if why := g.Row(got, row); why != "" {
			t.Errorf("epsilon %v of %v: %s", epsilon, row, why)
			continue
		}
		sum := 0.0
		for i, v := range row {
			sum += math.Log(v+floor) * got[i]
		}
		if gap := math.Abs(sum - want); gap > 1e-7 {
			t.Errorf("epsilon %v of %v: %v has %v, the program %v", epsilon, row, got, sum, want)
		} else {
			worst = max(worst, gap)
		}
	}
	t.Logf("%d programs, the largest gap is %.1e", solved, worst)
	if solved < 2000 {
		t.Errorf("only %d programs were solved", solved)
	}
}

func draw(rng *rand.Rand, classes int) []float64 {
	row, sum := make([]float64, classes), 0.0
	sharp := []float64{0.05, 0.3, 1, 4}[rng.IntN(4)]
	for i := range row {
		row[i] = math.Pow(-math.Log(1-rng.Float64()), 1/sharp)
		sum += row[i]
	}
	for i := range row {
		row[i] /= sum
	}
	switch rng.IntN(5) {
	case 0: // two equal ones at the top
		row[0], row[1] = (row[0]+row[1])/2, (row[0]+row[1])/2
	case 1: // zeros
		last := classes - 1
		row[0], row[last] = row[0]+row[last], 0
	}
	return row
}

// solve returns the least sum of the program in standard form. Its variables are the
// changed scores, what each rose and fell, and the slack of the bounds.
func solve(row []float64, epsilon float64) (float64, error) {
	n, top := len(row), 0
	for i, v := range row {
		if v > row[top] {
			top = i
		}
	}
	columns, rows := 3*n+1+(n-1), n+1+1+(n-1)
	a, b, c := mat.NewDense(rows, columns, nil), make([]float64, rows), make([]float64, columns)
	for i, v := range row {
		c[i] = math.Log(v + floor)
		a.Set(i, i, 1) // score - rose + fell = true score
		a.Set(i, n+i, -1)
		a.Set(i, 2*n+i, 1)
		b[i] = v
		a.Set(n, i, 1) // the scores add up
		b[n] += v
		a.Set(n+1, n+i, 1) // rose + fell + slack = epsilon
		a.Set(n+1, 2*n+i, 1)
	}
	a.Set(n+1, 3*n, 1)
	b[n+1] = epsilon
	at := n + 2
	for i := range row {
		if i != top { // top - score - slack = margin
			a.Set(at, top, 1)
			a.Set(at, i, -1)
			a.Set(at, 3*n+1+at-n-2, -1)
			b[at] = margin
			at++
		}
	}
	sum, _, err := lp.Simplex(c, a, b, 1e-10, nil)
	return sum, err
}
