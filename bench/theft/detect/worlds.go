package main

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/pavise/pavise/bench/theft/dataset"
	threatdetector "github.com/pavise/pavise/examples/threat-detector"
	"github.com/pavise/pavise/internal/learn"
	"github.com/pavise/pavise/internal/onnx"
)

// A world is a model, and the rows that its clients and thieves draw from.
type world struct {
	name, about string
	model       func(learn.Matrix) learn.Matrix // safe for several at once
	classes     int
	pool        learn.Set    // rows of the clients
	byClass     [][]int      // of them
	other       learn.Set    // rows of the thief
	far         learn.Matrix // rows of another source
	low, high   []float32    // ranges of the columns
	side        int          // of an image; 0 of a table
	most        int          // rows of a client
	alter       func(rng *rand.Rand, h *habits, row []float32)
}

// made fills in what follows from the rest.
func (w *world) made() *world {
	w.byClass = make([][]int, slices.Max(w.pool.Y)+1)
	for i, y := range w.pool.Y {
		w.byClass[y] = append(w.byClass[y], i)
	}
	w.classes = w.model(learn.Matrix{Rows: 1, Cols: w.pool.X.Cols, Data: w.pool.X.Row(0)}).Cols
	w.most = cmp.Or(w.most, 1500)
	return w
}

func ranges(x learn.Matrix) (low, high []float32) {
	low, high = make([]float32, x.Cols), make([]float32, x.Cols)
	copy(low, x.Row(0))
	copy(high, x.Row(0))
	for i := range x.Rows {
		for j, v := range x.Row(i) {
			low[j], high[j] = min(low[j], v), max(high[j], v)
		}
	}
	return low, high
}

func mnist(seed uint64) (*world, error) {
	train, test, err := dataset.Digits()
	if err != nil {
		return nil, err
	}
	victim := dataset.Part(train, 0, 12000)
	rng := rand.New(rand.NewPCG(seed, 3))
	fit, val := victim.Split(rng, 0.1)
	m, err := learn.Train(learn.Config{Hidden: []int{64}, Classes: 10, Epochs: 6, Batch: 64, Rate: 1e-3}, fit, val, rng)
	if err != nil {
		return nil, err
	}
	w := &world{name: "mnist", about: "784 columns, 10 classes, a perceptron 784-64-10. Clients are brighter and darker, half of them noisy, and a fifth have no whole bytes.", side: 28, pool: dataset.Part(train, 12000, 42000), other: dataset.Part(train, 42000, 60000), model: m.Predict}
	w.far = learn.NewMatrix(5000, 784)
	for i := range 5000 { // turned by a quarter, and mirrored half of the time
		for y := range 28 {
			for x := range 28 {
				v := test.X.Row(i)[y*28+x]
				if i%2 == 0 {
					w.far.Row(i)[x*28+27-y] = v
				} else {
					w.far.Row(i)[y*28+27-x] = v
				}
			}
		}
	}
	w.low, w.high = make([]float32, 784), make([]float32, 784)
	for j := range w.high {
		w.high[j] = 1
	}
	w.alter = func(rng *rand.Rand, h *habits, row []float32) {
		for j, v := range row {
			v := min(1, max(0, float64(v)*h.bright+h.noise*rng.NormFloat64()))
			if h.quantised {
				v = math.Round(v*255) / 255
			}
			row[j] = float32(v)
		}
	}
	return w.made(), nil
}

// table is a made-up table: clusters of some classes in columns of several kinds.
func table(seed uint64) (*world, error) { return clusters(seed, "table", 12, 24, 4) }

// pair has two classes in few columns, and hundred a hundred.
func pair(seed uint64) (*world, error)    { return clusters(seed, "two-classes", 8, 10, 2) }
func hundred(seed uint64) (*world, error) { return clusters(seed, "hundred-classes", 30, 200, 100) }

func clusters(seed uint64, name string, columns, n, classes int) (*world, error) {
	rng := rand.New(rand.NewPCG(seed, 5))
	at := learn.NewMatrix(n, columns)
	for j := range at.Data {
		at.Data[j] = float32(rng.NormFloat64())
	}
	draw := func(rows int) learn.Set {
		s := learn.Set{X: learn.NewMatrix(rows, columns), Y: make([]int, rows)}
		for i := range rows {
			k := rng.IntN(n)
			s.Y[i] = k % classes
			for j := range columns {
				v := float64(at.Row(k)[j]) + 0.4*rng.NormFloat64()
				switch j % 4 {
				case 1:
					v = math.Exp(3 * v)
				case 2:
					v = math.Round(2 * v)
				case 3:
					v = math.Round(100*v) / 100
				}
				s.X.Row(i)[j] = float32(v)
			}
		}
		return s
	}
	w, err := tabular(name, draw(8000), draw(30000), draw(10000), classes, rng)
	if err == nil {
		w.about = fmt.Sprintf("made up: %d columns of four kinds, %d clusters of %d classes, a perceptron with 48 hidden units.", columns, n, classes)
	}
	return w, err
}

func tabular(name string, victim, pool, other learn.Set, classes int, rng *rand.Rand) (*world, error) {
	p := standard(victim.X)
	fit, val := (learn.Set{X: p(victim.X), Y: victim.Y}).Split(rng, 0.1)
	m, err := learn.Train(learn.Config{Hidden: []int{48}, Classes: classes, Epochs: 8, Batch: 64, Rate: 2e-3}, fit, val, rng)
	if err != nil {
		return nil, err
	}
	w := &world{name: name, pool: pool, other: other, far: crossed(other.X, rng), model: func(x learn.Matrix) learn.Matrix { return m.Predict(p(x)) }}
	w.low, w.high = ranges(victim.X)
	return w.made(), nil
}

// crossed are rows of another source: real ones with half of their columns from another one.
func crossed(x learn.Matrix, rng *rand.Rand) learn.Matrix {
	far := learn.NewMatrix(4000, x.Cols)
	for i := range far.Rows {
		a, b := x.Row(rng.IntN(x.Rows)), x.Row(rng.IntN(x.Rows))
		for j := range far.Row(i) {
			far.Row(i)[j] = a[j]
			if rng.IntN(2) == 0 {
				far.Row(i)[j] = b[j]
			}
		}
	}
	return far
}

// standard scales logarithms of columns.
func standard(x learn.Matrix) func(learn.Matrix) learn.Matrix {
	mean, dev := make([]float64, x.Cols), make([]float64, x.Cols)
	lg := func(v float32) float64 { return math.Copysign(math.Log1p(math.Abs(float64(v))), float64(v)) }
	for i := range x.Rows {
		for j, v := range x.Row(i) {
			mean[j] += lg(v) / float64(x.Rows)
		}
	}
	for i := range x.Rows {
		for j, v := range x.Row(i) {
			dev[j] += (lg(v) - mean[j]) * (lg(v) - mean[j]) / float64(x.Rows)
		}
	}
	return func(x learn.Matrix) learn.Matrix {
		out := learn.NewMatrix(x.Rows, x.Cols)
		for i := range x.Rows {
			for j, v := range x.Row(i) {
				out.Row(i)[j] = float32((lg(v) - mean[j]) / math.Sqrt(dev[j]+1e-6))
			}
		}
		return out
	}
}

// flows reads NSL-KDD, in an order that the seed decides.
func flows(seed uint64) (learn.Set, *rand.Rand, error) {
	all, err := dataset.Flows()
	if err != nil {
		return learn.Set{}, nil, err
	}
	rng := rand.New(rand.NewPCG(seed, 9))
	return all.Pick(rng.Perm(all.X.Rows)), rng, nil
}

// third is one of three parts of a set.
func third(s learn.Set, part int) learn.Set {
	return dataset.Part(s, part*len(s.Y)/3, (part+1)*len(s.Y)/3)
}

func nslkdd(seed uint64) (*world, error) {
	all, rng, err := flows(seed)
	if err != nil {
		return nil, err
	}
	w, err := tabular("nsl-kdd", third(all, 0), third(all, 1), third(all, 2), 5, rng)
	if err == nil {
		w.about = "41 columns of wildly different scales, texts as codes, 5 classes, a perceptron with 48 hidden units."
	}
	return w, err
}

func sample(seed uint64) (*world, error) {
	all, rng, err := flows(seed)
	if err != nil {
		return nil, err
	}
	graph, err := onnx.Parse(threatdetector.Model())
	if err != nil {
		return nil, err
	}
	card := threatdetector.Card()
	w := &world{
		name: "sample", about: "the sample model of examples/threat-detector, on the same data.",
		pool: third(all, 1), other: third(all, 2), far: crossed(third(all, 2).X, rng),
		model: func(x learn.Matrix) learn.Matrix {
			said, err := graph.Run(map[string]learn.Matrix{card.Input: x})
			if err != nil {
				panic(err) // rows of the right width are answered
			}
			return said[card.Output]
		},
	}
	w.low, w.high = ranges(all.X)
	return w.made(), nil
}
