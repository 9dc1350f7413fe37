package extraction

import (
	"fmt"
	"math"

	"github.com/pavise/pavise/internal/learn"
)

// equations solves a linear classifier for its weights: the logarithm of the ratio of two
// scores of a softmax, or of a logistic model, is linear in the row (Tramèr and others,
// "Stealing Machine Learning Models via Prediction APIs", 2016, section 4.1). Where scores
// are exact, as many rows as there are weights to a class would do; it asks twice as many.
// Where they are rounded it asks for all the budget.
//
// Rows are drawn around a place on the boundary, as far out as scores stay away from 0 and
// 1: what is saturated says nothing. So a boundary is looked for first, between rows of the
// data, and then the radius.
type equations struct {
	stage  stage
	tries  int          // rows asked in this stage, in probes or alone
	ends   learn.Matrix // the ends of the line on which a boundary is looked for, or none
	class  int          // of the first end
	centre learn.Matrix // where rows are drawn around
	halved int          // how often the radius was halved
	solved int          // rows asked for the equations
}

// A stage is what the rows last asked were for.
type stage int

const (
	seeking   stage = iota // rows of the data, for two of unlike classes
	nearing                // the middle of a line between those
	narrowing              // rows around the centre, for the radius
	solving                // rows for the equations
	stages
)

const (
	probes      = 16
	maxSought   = 4
	maxNearing  = 24
	maxHalved   = 40
	maxUnknowns = 2000
)

func (e *equations) plan(a *Attack, room int) (learn.Matrix, error) {
	if a.data.Rows.Cols > maxUnknowns {
		return learn.Matrix{}, invalid(fmt.Sprintf("equations of %d columns", a.data.Rows.Cols), fmt.Sprintf("at most %d are solved here", maxUnknowns))
	}
	if a.asked.Rows > 0 {
		e.look(a)
	}
	switch e.stage {
	case seeking:
		m := learn.NewMatrix(probes, a.data.Rows.Cols)
		for i := range m.Rows {
			copy(m.Row(i), a.some())
		}
		return m, nil
	case nearing:
		return middle(e.ends), nil
	case narrowing:
		return e.draw(a, probes), nil
	}
	want := 2*(a.data.Rows.Cols+1) + probes
	if roundedTo(a.answers) <= maxDigits {
		want = a.cfg.Budget
	}
	n := max(min(want-e.solved, batch, room), 0)
	e.solved += n
	return e.draw(a, n), nil
}

// look takes in the answers to what was asked last, and turns to the next stage where that
// is found which this one was for.
func (e *equations) look(a *Attack) {
	e.tries++
	switch e.stage {
	case seeking:
		e.pair(a)
	case nearing:
		x, y := tail(a.asked, 1), probabilities(tail(a.answers, 1), Scores)
		end := 1
		if y.ArgMax()[0] == e.class {
			end = 0
		}
		copy(e.ends.Row(end), x.Row(0))
		if lead := margin(y.Row(0)); lead < 0.3 || e.tries == maxNearing {
			e.begin(narrowing, x.Row(0))
		}
	case narrowing:
		if e.halved == maxHalved || telling(tail(a.answers, probes)) {
			e.stage = solving
			return
		}
		e.halved++
	}
}

func (e *equations) begin(s stage, centre []float32) {
	e.stage, e.tries = s, 0
	e.centre = learn.Matrix{Rows: 1, Cols: len(centre), Data: append([]float32(nil), centre...)}
}

// pair takes two of the last rows that the victim puts into different classes. Where there
// are none for long, it goes on from the row of which the victim is least sure.
func (e *equations) pair(a *Attack) {
	x, y := tail(a.asked, probes), probabilities(tail(a.answers, probes), Scores)
	top, unsure := y.ArgMax(), 0
	for i := range top {
		if top[i] != top[0] {
			e.begin(nearing, x.Row(i))
			e.ends, e.class = pick(x, []int{0, i}), top[0]
			return
		}
		if margin(y.Row(i)) < margin(y.Row(unsure)) {
			unsure = i
		}
	}
	if e.tries == maxSought {
		e.begin(narrowing, x.Row(unsure))
	}
}

// middle is the row between two.
func middle(ends learn.Matrix) learn.Matrix {
	m := learn.NewMatrix(1, ends.Cols)
	for j := range ends.Cols {
		m.Data[j] = float32((float64(ends.Row(0)[j]) + float64(ends.Row(1)[j])) / 2)
	}
	return m
}

// draw draws rows from the box around the centre.
func (e *equations) draw(a *Attack, n int) learn.Matrix {
	m, radius := learn.NewMatrix(n, a.data.Rows.Cols), math.Ldexp(2, -e.halved)
	for i := range m.Rows {
		for j, c := range a.column {
			v := float64(e.centre.Data[j]) + radius*c.std*(2*a.rng.Float64()-1)
			m.Row(i)[j] = float32(min(max(v, c.min), c.max))
		}
	}
	return m
}

// telling reports whether half of the rows of scores have logarithms that tell something. A
// small score of a softmax has as many digits as a large one; of two classes one may be
// what the other leaves of 1, which has not.
func telling(said learn.Matrix) bool {
	rounded, good, small := roundedTo(said) <= maxDigits, 0, float32(1e-20)
	if said.Cols == 2 {
		small = 1e-4
	}
	p := probabilities(said, Scores)
	for i := range p.Rows {
		least, most := float32(1), float32(0)
		for _, v := range p.Row(i) {
			least, most = min(least, v), max(most, v)
		}
		if rounded && most < 0.95 || !rounded && least > small {
			good++
		}
	}
	return 2*good >= p.Rows
}

// tail returns the last rows of m, at most n.
func tail(m learn.Matrix, n int) learn.Matrix {
	n = min(n, m.Rows)
	return learn.Matrix{Rows: n, Cols: m.Cols, Data: m.Data[(m.Rows-n)*m.Cols:]}
}

// roundedTo is to how many decimals all scores are rounded; more than maxDigits: they are
// not.
func roundedTo(said learn.Matrix) (digits int) {
	for _, v := range said.Data {
		if digits = max(digits, decimals(v)); digits > maxDigits {
			return digits
		}
	}
	return digits
}

func (e *equations) code(c *coder, a *Attack) {
	cols, at := a.data.Rows.Cols, int(e.stage)
	c.count(&at, int(stages)-1)
	e.stage = stage(at)
	c.count(&e.tries, a.cfg.Budget)
	c.matrix(&e.ends, cols, 2)
	c.count(&e.class, a.cfg.Classes-1)
	c.matrix(&e.centre, cols, 1)
	c.count(&e.halved, maxHalved)
	c.count(&e.solved, a.cfg.Budget)
	c.check((e.stage == seeking || e.centre.Rows == 1) && (e.stage != nearing || e.ends.Rows == 2))
}

// own is what the solved equations make of a row.
func (e *equations) own(a *Attack, rows int) (Surrogate, error) {
	x, y := a.gathered(rows)
	return solve(a, x, y)
}

// A Linear is a classifier whose scores are the softmax of weighted sums.
type Linear struct {
	centre, width []float64   // of each column; a width of 0: it counts for nothing
	weights       [][]float64 // of each class, by column, the constant last
}

// Weights returns the weights of the columns as they are, the constant last, of a class
// against class 0: those of all classes together are known only up to a common vector.
func (l *Linear) Weights(class int) []float64 {
	w := make([]float64, len(l.centre)+1)
	last := len(l.centre)
	w[last] = l.weights[class][last] - l.weights[0][last]
	for j, width := range l.width {
		if width > 0 {
			w[j] = (l.weights[class][j] - l.weights[0][j]) / width
			w[last] -= w[j] * l.centre[j]
		}
	}
	return w
}

// Predict returns the scores of each row.
func (l *Linear) Predict(x learn.Matrix) learn.Matrix {
	p, u, z := learn.NewMatrix(x.Rows, len(l.weights)), make([]float64, len(l.centre)+1), make([]float64, len(l.weights))
	for i := range x.Rows {
		l.scaled(u, x.Row(i))
		softened(z, l.weights, u)
		for k, v := range z {
			p.Row(i)[k] = float32(v)
		}
	}
	return p
}

// scaled fills u with the columns of a row as the weights take them, and a 1.
func (l *Linear) scaled(u []float64, row []float32) {
	for j, width := range l.width {
		if u[j] = 0; width > 0 {
			u[j] = (float64(row[j]) - l.centre[j]) / width
		}
	}
	u[len(u)-1] = 1
}

// softened fills z with the softmax of the weighted sums of u.
func softened(z []float64, weights [][]float64, u []float64) {
	top, sum := math.Inf(-1), 0.0
	for k, w := range weights {
		z[k] = dot(w, u)
		top = max(top, z[k])
	}
	for k := range z {
		z[k] = math.Exp(z[k] - top)
		sum += z[k]
	}
	for k := range z {
		z[k] /= sum
	}
}

func dot(a, b []float64) (sum float64) {
	for i, v := range a {
		sum += v * b[i]
	}
	return sum
}

// solve finds the linear classifier that says y of x: by least squares on the logarithms
// of the scores where those are exact, and else by climbing to the most likely weights.
func solve(a *Attack, x, y learn.Matrix) (*Linear, error) {
	if x.Rows == 0 {
		return nil, errNothing
	}
	d := x.Cols
	l := &Linear{centre: make([]float64, d), width: make([]float64, d), weights: make([][]float64, a.cfg.Classes)}
	for k := range l.weights {
		l.weights[k] = make([]float64, d+1)
	}
	for j := range d {
		if c := columnOf(x, j); !c.negligible {
			l.centre[j], l.width[j] = (c.min+c.max)/2, c.span()/2
		}
	}
	p := probabilities(y, Scores)
	exact := roundedTo(y) > maxDigits
	if exact {
		if rows := positive(p); len(rows) > d+1 {
			return l, l.logarithms(pick(x, rows), pick(p, rows))
		}
	}
	return l, l.climb(x, p)
}

// positive are the rows of which no score is so small that its logarithm tells little.
func positive(p learn.Matrix) (rows []int) {
	for i := range p.Rows {
		good := true
		for _, v := range p.Row(i) {
			good = good && v > 1e-30
		}
		if good {
			rows = append(rows, i)
		}
	}
	return rows
}

// logarithms solves for the weights of every class against class 0.
func (l *Linear) logarithms(x, p learn.Matrix) error {
	u := l.rows(x)
	factor, err := newFactor(u, len(l.centre)+1)
	if err != nil {
		return err
	}
	for k := 1; k < p.Cols; k++ {
		b := make([]float64, len(l.centre)+1)
		for i, row := range u {
			ratio := math.Log(float64(p.Row(i)[k])) - math.Log(float64(p.Row(i)[0]))
			for j, v := range row {
				b[j] += v * ratio
			}
		}
		l.weights[k] = factor.solve(b)
	}
	return nil
}

func (l *Linear) rows(x learn.Matrix) [][]float64 {
	u := make([][]float64, x.Rows)
	for i := range u {
		u[i] = make([]float64, len(l.centre)+1)
		l.scaled(u[i], x.Row(i))
	}
	return u
}

// climb finds the most likely weights of a softmax whose scores were p: each step is a
// least-squares problem with one matrix for all of them, an upper bound of the curvature
// (Böhning, "Multinomial Logistic Regression Algorithm", 1992), so that no step overshoots.
func (l *Linear) climb(x, p learn.Matrix) error {
	const steps, stop = 300, 1e-9
	u := l.rows(x)
	factor, err := newFactor(u, len(l.centre)+1)
	if err != nil {
		return err
	}
	z, classes := make([]float64, p.Cols), p.Cols
	slope := make([][]float64, classes)
	for range steps {
		for k := range slope {
			slope[k] = make([]float64, len(l.centre)+1)
		}
		for i, row := range u {
			softened(z, l.weights, row)
			for k := range z {
				miss := float64(p.Row(i)[k]) - z[k]
				for j, v := range row {
					slope[k][j] += miss * v
				}
			}
		}
		moved := 0.0
		for k := range slope {
			for j, v := range factor.solve(slope[k]) {
				l.weights[k][j] += 2 * v
				moved = max(moved, math.Abs(v))
			}
		}
		if moved < stop {
			break
		}
	}
	return nil
}

// A factor is the Cholesky factor of the rows' products, UᵀU, with a touch on the diagonal
// so that columns that say nothing get the weight 0.
type factor struct {
	n int
	l []float64
}

func newFactor(u [][]float64, n int) (*factor, error) {
	f := &factor{n: n, l: make([]float64, n*n)}
	for _, row := range u {
		for i, v := range row {
			if v == 0 {
				continue
			}
			to := f.l[i*n : i*n+i+1]
			for j := range to {
				to[j] += v * row[j]
			}
		}
	}
	const touch = 1e-12
	for i := range n {
		f.l[i*n+i] += touch * (1 + float64(len(u)))
	}
	for i := range n {
		for j := range i + 1 {
			rest := f.l[i*n+j] - dot(f.l[i*n:i*n+j], f.l[j*n:j*n+j])
			switch {
			case i != j:
				f.l[i*n+j] = rest / f.l[j*n+j]
			case rest > 0:
				f.l[i*n+i] = math.Sqrt(rest)
			default:
				return nil, invalid("the rows asked do not tell the columns apart", "raise the budget")
			}
		}
	}
	return f, nil
}

// solve returns the w with UᵀU·w = b.
func (f *factor) solve(b []float64) []float64 {
	w := append([]float64(nil), b...)
	for i := range f.n {
		w[i] = (w[i] - dot(f.l[i*f.n:i*f.n+i], w[:i])) / f.l[i*f.n+i]
	}
	for i := f.n - 1; i >= 0; i-- {
		for j := i + 1; j < f.n; j++ {
			w[i] -= f.l[j*f.n+i] * w[j]
		}
		w[i] /= f.l[i*f.n+i]
	}
	return w
}
