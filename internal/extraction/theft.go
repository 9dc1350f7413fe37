package extraction

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/pavise/pavise/internal/learn"
)

// A Surrogate is what a thief makes of the answers: a model of the same question.
type Surrogate interface {
	// Predict returns the score of each class for each row.
	Predict(learn.Matrix) learn.Matrix
}

// Surrogates that an attack can make.
const (
	Own    = "own"    // what the attack itself finds out: solved equations, a found tree; of others MLP
	MLP    = "mlp"    // a multilayer perceptron
	Affine = "linear" // weighted sums, trained as such
	Trees  = "trees"  // boosted trees, which learn the top class alone
)

// SurrogateNames are those that Steal takes.
var SurrogateNames = []string{Own, MLP, Affine, Trees}

// A Theft says what is made of the answers.
type Theft struct {
	Surrogate string // of SurrogateNames; empty: Own
	// Perturb is what a defence that never varies does to a row of scores in place. A
	// thief who uses Lookup knows it, and undoes it: every other one leaves it nil.
	Perturb func(row []float32)
}

var errNothing = invalid("no row of the attack's own was answered yet", "raise the budget")

// Steal makes a model of what was answered when so many rows had been asked. The same
// state gives the same model.
func (a *Attack) Steal(t Theft, rows int) (Surrogate, error) {
	x, y := a.gathered(rows)
	name := cmp.Or(t.Surrogate, Own)
	owner, has := a.plan.(interface {
		own(a *Attack, rows int) (Surrogate, error)
	})
	switch {
	case !slices.Contains(SurrogateNames, name):
		return nil, invalid(fmt.Sprintf("there is no surrogate %.40q", name), "surrogates are "+strings.Join(SurrogateNames, ", "))
	case a.cfg.Answers == Lookup && t.Perturb == nil:
		return nil, invalid("a thief who undoes a perturbation has to know it", "name the defence, or use --answers scores")
	case x.Rows == 0:
		return nil, errNothing
	case name == Own && has && a.cfg.Answers != Lookup: // what is undone is only near the truth, and these need it
		return owner.own(a, rows)
	case name == Trees:
		return a.growTrees(x, y)
	}
	fit := fitMLP
	if name == Affine {
		fit = fitLinear
	}
	wanted := a.targets(y)
	if a.cfg.Answers == Lookup {
		first, err := fit(a, x.Rows, named(y), stealPasses)
		if err != nil {
			return nil, err
		}
		wanted = undone(y, first.Predict(x), t.Perturb)
	}
	return fit(a, x.Rows, wanted, stealPasses)
}

// targets are the probabilities that a copy is to learn from answers.
func (a *Attack) targets(answers learn.Matrix) learn.Matrix {
	return probabilities(answers, a.cfg.Answers)
}

// probabilities makes of answers what they say of the classes: all for the top one, or
// the scores, scaled to add up to 1. Scores that are no probabilities, below 0 or adding up
// to more than rounding explains, are taken for logits.
func probabilities(answers learn.Matrix, use string) learn.Matrix {
	if use == Top1 {
		return named(answers)
	}
	p := learn.NewMatrix(answers.Rows, answers.Cols)
	for i := range p.Rows {
		row, sum := p.Row(i), 0.0
		copy(row, answers.Row(i))
		for _, v := range row {
			sum += float64(v)
		}
		if slices.Min(row) < 0 || sum > 1.02+0.01*float64(len(row)) || sum < 1e-6 {
			row, sum = logits(row), 1
		}
		for j := range row {
			row[j] = float32(float64(row[j]) / sum)
		}
	}
	return p
}

// logits turns logits into probabilities in place.
func logits(row []float32) []float32 {
	top, sum := float64(slices.Max(row)), 0.0
	for _, v := range row {
		sum += math.Exp(float64(v) - top)
	}
	for j, v := range row {
		row[j] = float32(math.Exp(float64(v)-top) / sum)
	}
	return row
}

// named are the top classes alone.
func named(answers learn.Matrix) learn.Matrix {
	p := learn.NewMatrix(answers.Rows, answers.Cols)
	for i, top := range answers.ArgMax() {
		p.Row(i)[top] = 1
	}
	return p
}

// A copied is a model that was trained on answers, with how it looks at columns.
type copied struct {
	mlp   *learn.MLP
	scale scale
}

func (c *copied) Predict(x learn.Matrix) learn.Matrix { return c.mlp.Predict(c.scale.apply(x)) }

// How many rows a copy is shown in training, repeated ones counted, and how many times
// each at least and at most.
const (
	stealPasses = 150_000
	quickPasses = 10_000
	leastEpochs = 8
	mostEpochs  = 100
)

// fitMLP trains a copy on the first rows of the attack's own.
func fitMLP(a *Attack, rows int, wanted learn.Matrix, passes int) (*copied, error) {
	return a.fit([]int{min(max(a.data.Rows.Cols, 32), 64)}, rows, wanted, passes)
}

func fitLinear(a *Attack, rows int, wanted learn.Matrix, passes int) (*copied, error) {
	return a.fit(nil, rows, wanted, passes)
}

// quick is a linear copy that costs little.
func quick(a *Attack, rows int) (*copied, error) {
	return fitLinear(a, rows, a.targets(head(a.answers, rows)), quickPasses)
}

func (a *Attack) fit(hidden []int, rows int, wanted learn.Matrix, passes int) (*copied, error) {
	if rows == 0 {
		return nil, errNothing
	}
	rng := rand.New(rand.NewPCG(a.cfg.Seed, theftStream+uint64(rows)<<8))
	order := rng.Perm(rows)
	x := head(a.asked, rows)
	c := &copied{scale: newScale(x)}
	cfg := learn.Config{
		Hidden: hidden, Classes: wanted.Cols, Epochs: min(max(passes/rows, leastEpochs), mostEpochs),
		Batch: 32, Rate: 2e-3, L2: 1e-5,
	}
	if rows >= 2000 {
		cfg.Batch = 64
	}
	held := 0.0
	if rows >= 200 {
		held = 0.1
	}
	var err error
	c.mlp, err = learn.Imitate(cfg, c.scale.apply(pick(x, order)), pick(wanted, order), held, rng)
	return c, err
}

// growTrees boosts trees on the top classes of the answers.
func (a *Attack) growTrees(x, y learn.Matrix) (Surrogate, error) {
	rng := rand.New(rand.NewPCG(a.cfg.Seed, theftStream+uint64(x.Rows)<<8))
	all := learn.Set{X: x, Y: y.ArgMax()}
	train, held := all, all
	if x.Rows >= 50 {
		train, held = all.Split(rng, 0.1)
	}
	if held.X.Rows == 0 {
		held = train
	}
	return learn.TrainTrees(learn.TreeConfig{
		Classes: y.Cols, Leaves: 31, MinRows: min(20, 1+x.Rows/100), Rounds: 80, Rate: 0.15, L2: 1,
		Rows: 0.8, Columns: min(1, 0.3+20/float64(x.Cols)), Patience: 12,
	}, train, held, rng)
}

// A scale brings columns to like sizes: those whose values lie orders of magnitude apart
// by their logarithm.
type scale struct {
	unit   []float64 // of a logarithm; 0: the column as it is
	centre []float64
	width  []float64 // 0: the column is constant and left out
}

const longTail = 100 // how far a value is beyond the usual ones where only its size tells

func newScale(x learn.Matrix) scale {
	s := scale{unit: make([]float64, x.Cols), centre: make([]float64, x.Cols), width: make([]float64, x.Cols)}
	for j, c := range columns(x) {
		if far := max(math.Abs(c.min), math.Abs(c.max)); c.tail > 0 && far > longTail*c.tail {
			s.unit[j] = c.tail
			logs := learn.NewMatrix(x.Rows, 1)
			for i := range x.Rows {
				logs.Data[i] = float32(s.bend(j, float64(x.Row(i)[j])))
			}
			c = columnOf(logs, 0)
		}
		if c.negligible {
			continue
		}
		// Columns that are mostly 0 stay so: it is what training is quick with.
		if math.Abs(c.mean) > 2*c.std {
			s.centre[j] = c.mean
		}
		s.width[j] = max(c.std, c.span()/4)
	}
	return s
}

// bend is a value by the logarithm of its size, if the column is seen that way.
func (s scale) bend(j int, v float64) float64 {
	if s.unit[j] == 0 {
		return v
	}
	return math.Copysign(math.Log1p(math.Abs(v)/s.unit[j]), v)
}

func (s scale) apply(x learn.Matrix) learn.Matrix {
	m := learn.NewMatrix(x.Rows, x.Cols)
	for i := range x.Rows {
		to := m.Row(i)
		for j, v := range x.Row(i) {
			if s.width[j] > 0 {
				to[j] = float32(min(max((s.bend(j, float64(v))-s.centre[j])/s.width[j], -20), 20))
			}
		}
	}
	return m
}
