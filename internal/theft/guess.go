package theft

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/pavise/pavise/internal/learn"
)

const (
	guessColumns = 64 // of inputs that the guess looks at one by one; of wider rows it has their coordinates
	guessHidden  = 48
	guessEpochs  = 24
	guessFurther = 8    // deviations beyond which an input says no more
	guessLeast   = 1e-6 // probability, below which nothing is told apart
)

// A Guess foretells what the model answers, by what it answered honest clients, and whether
// a row is one at all or was made of such. Who asks what honest clients ask learns what
// follows from their answers already: rows whose answers surprise are those that a thief
// needs. It is a perceptron of one hidden layer. Its last class is of rows that were made up
// (outlier exposure: Hendrycks, Mazeika and Dietterich, "Deep Anomaly Detection with Outlier
// Exposure", 2019).
type Guess struct {
	Mean      []float32   `json:"mean"`      // by input
	Deviation []float32   `json:"deviation"` // by input, above 0
	Hidden    [][]float32 `json:"hidden"`    // by input, and once more for what is always added: weights
	Out       [][]float32 `json:"out"`       // by hidden unit, and once more: weights of the groups of classes, and of rows that are made up
}

// inputs are what is guessed by: the columns where they are few, or the coordinates, and how
// far the row sticks out.
func (c *Calibration) inputs(g *glance) []float32 {
	g.in = g.in[:0]
	if len(g.scaled) <= guessColumns {
		g.in = append(g.in, g.scaled...)
	} else {
		g.in = append(g.in, g.coordinates...)
	}
	g.in = append(g.in, max(-2, min(guessFurther, (g.residual-c.Residual.Usual)/c.Residual.Unit)))
	return g.in
}

// fitGuess learns from the rows of the reference and as many that are made of them. The
// clients at its end tell when it has learnt enough.
func (t *trainer) fitGuess(list []*sampledRow, groups []int) error {
	held := len(list)
	for _, name := range t.order[len(t.order)-max(1, len(t.order)/6):] {
		held -= len(t.reference[name].rows)
	}
	classes := len(t.c.Groups) + 2
	fit, check := t.guessed(list[:held], groups[:held], classes-1), t.guessed(list[held:], groups[held:], classes-1)
	g := &Guess{Mean: make([]float32, fit.X.Cols), Deviation: make([]float32, fit.X.Cols)}
	g.scale(learn.Matrix{Rows: held, Cols: fit.X.Cols, Data: fit.X.Data[:held*fit.X.Cols]})
	for _, set := range []learn.Set{fit, check} {
		for i := range set.X.Rows {
			g.bring(set.X.Row(i))
		}
	}
	cfg := learn.Config{Hidden: []int{guessHidden}, Classes: classes, Epochs: guessEpochs, Batch: 32, Rate: 2e-3, L2: 1e-4, Patience: 4}
	m, err := learn.Train(cfg, fit, check, t.rng)
	if err != nil {
		return err
	}
	layers := m.Layers()
	g.Hidden, g.Out = layers[0], layers[1]
	t.c.Guess = g
	return nil
}

// guessed are rows as the guess has them, with their groups, and behind them as many that
// are made up.
func (t *trainer) guessed(list []*sampledRow, groups []int, made int) learn.Set {
	var g glance
	set := learn.Set{Y: slices.Clone(groups)}
	add := func(a *Asked) {
		t.c.place(&g, a)
		set.X.Data = append(set.X.Data, t.c.inputs(&g)...)
		set.X.Cols = len(g.in)
		set.X.Rows++
	}
	for _, a := range list {
		add(&a.Asked)
	}
	for range list {
		add(&Asked{Input: madeUp(list, t.rng)})
		set.Y = append(set.Y, made)
	}
	return set
}

// madeUp makes a row of several, as those do who have few: by crossing two, splicing them,
// mixing them, taking each column from another one, or shaking it.
func madeUp(list []*sampledRow, rng *rand.Rand) []float64 {
	any := func() []float64 { return list[rng.IntN(len(list))].Input }
	row, other := slices.Clone(any()), any()
	how, share, cut := rng.IntN(5), rng.Float64(), rng.IntN(len(row))
	for j := range row {
		switch {
		case how == 0 && rng.IntN(2) == 0, how == 1 && j >= cut:
			row[j] = other[j]
		case how == 2:
			row[j] += (0.25 + share/2) * (other[j] - row[j])
		case how == 3:
			row[j] = any()[j]
		case how == 4:
			row[j] += (0.1 + 0.4*share) * rng.NormFloat64() * (other[j] - any()[j])
		}
	}
	return row
}

// scale learns how large the inputs are.
func (g *Guess) scale(x learn.Matrix) {
	n := float32(x.Rows)
	for i := range x.Rows {
		for j, v := range x.Row(i) {
			g.Mean[j] += v / n
		}
	}
	for i := range x.Rows {
		for j, v := range x.Row(i) {
			g.Deviation[j] += (v - g.Mean[j]) * (v - g.Mean[j]) / n
		}
	}
	for j, v := range g.Deviation {
		g.Deviation[j] = max(float32(math.Sqrt(float64(v))), 1e-3)
	}
}

// bring brings inputs onto one scale, in place.
func (g *Guess) bring(in []float32) {
	for j, v := range in {
		in[j] = max(-guessFurther, min(guessFurther, (v-g.Mean[j])/g.Deviation[j]))
	}
}

// of returns the logarithm of how unlikely the guess takes an answer of that group to be,
// and of the odds that the row is made up, both in nats. It changes in.
func (g *Guess) of(in []float32, group int, room *guessRoom) (surprise, made float64) {
	g.bring(in)
	hidden, out := room.hidden[:len(g.Hidden[0])], room.out[:len(g.Out[0])]
	copy(hidden, g.Hidden[len(in)])
	for j, v := range in {
		for k, w := range g.Hidden[j][:len(hidden)] {
			hidden[k] += v * w
		}
	}
	copy(out, g.Out[len(hidden)])
	for j, v := range hidden {
		if v > 0 {
			for k, w := range g.Out[j][:len(out)] {
				out[k] += v * w
			}
		}
	}
	top, sum := slices.Max(out), 0.0
	for k, v := range out {
		e := math.Exp(float64(v - top))
		out[k], sum = float32(e), sum+e
	}
	p, q := float64(out[group])/sum, float64(out[len(out)-1])/sum
	return -math.Log(p + guessLeast), math.Log((q + guessLeast) / (1 - q + guessLeast))
}

// A guessRoom is what the guess works in.
type guessRoom struct {
	hidden [fileMost * guessHidden]float32
	out    [calibrationGroups + 2]float32
}

// misfit says what of the guess does not fit so many groups and inputs, or "".
func (g *Guess) misfit(inputs, groups int) string {
	if len(g.Mean) != inputs || len(g.Deviation) != inputs || len(g.Hidden) != inputs+1 {
		return "its guess does not fit its columns"
	}
	hidden := len(g.Hidden[0])
	if hidden == 0 || hidden > fileMost*guessHidden || len(g.Out) != hidden+1 {
		return "its guess does not fit itself"
	}
	for _, row := range g.Hidden {
		if len(row) != hidden {
			return "its guess does not fit itself"
		}
	}
	for _, row := range g.Out {
		if len(row) != groups+1 {
			return "its guess does not fit its classes"
		}
	}
	for _, v := range g.Deviation {
		if !(v > 0) {
			return "its guess has no scale"
		}
	}
	return ""
}
