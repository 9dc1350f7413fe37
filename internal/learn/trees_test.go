package learn

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/onnx"
)

func treeConfig(classes int) TreeConfig {
	return TreeConfig{Classes: classes, Leaves: 15, MinRows: 5, Rounds: 60, Rate: 0.2, L2: 1, Patience: 10}
}

func plant(t testing.TB, cfg TreeConfig, s Set, seed uint64) *Trees {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 0))
	train, validation := s.Split(rng, 0.2)
	m, err := TrainTrees(cfg, train, validation, rng)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func treesONNX(m *Trees) []byte {
	w := onnx.NewWriter("test")
	m.Emit(w, w.Input("x", m.Inputs()), "y")
	w.Output("y", m.Classes())
	return w.Bytes()
}

// mixed are rows of columns whose scales have nothing to do with each other,
// some of them codes and some noise, whose class is a rule over a few.
func mixed(rng *rand.Rand, rows, classes int) Set {
	s := Set{X: NewMatrix(rows, 12), Y: make([]int, rows)}
	for i := range rows {
		x := s.X.Row(i)
		for j := range x {
			x[j] = float32(rng.NormFloat64() * math.Pow(10, float64(j%6)-3))
		}
		x[6], x[7], x[8] = float32(rng.IntN(5)), float32(rng.IntN(2)), float32(math.Exp(6*rng.Float64()))
		class := int(x[6])
		if x[7] == 1 && x[8] > 40 {
			class += 2
		}
		if x[2] > 0.05 {
			class++
		}
		s.Y[i] = class % classes
		if rng.IntN(50) == 0 {
			s.Y[i] = rng.IntN(classes)
		}
	}
	return s
}

func accuracy(m interface{ Predict(Matrix) Matrix }, s Set) float64 {
	right := 0
	for i, k := range m.Predict(s.X).ArgMax() {
		if k == s.Y[i] {
			right++
		}
	}
	return float64(right) / float64(len(s.Y))
}

// scale standardises sets by the columns of the first: a perceptron needs that,
// trees do not.
func scale(by Set, sets ...Set) {
	mean, deviation := make([]float64, by.X.Cols), make([]float64, by.X.Cols)
	for i, v := range by.X.Data {
		mean[i%by.X.Cols] += float64(v) / float64(by.X.Rows)
	}
	for i, v := range by.X.Data {
		deviation[i%by.X.Cols] += math.Pow(float64(v)-mean[i%by.X.Cols], 2) / float64(by.X.Rows)
	}
	for _, s := range sets {
		for i, v := range s.X.Data {
			j := i % s.X.Cols
			s.X.Data[i] = float32((float64(v) - mean[j]) / math.Sqrt(deviation[j]))
		}
	}
}

func TestTreesLearn(t *testing.T) {
	for _, tc := range []struct {
		name  string
		make  func(rng *rand.Rand) Set
		least float64
	}{
		{"rings of three", func(rng *rand.Rand) Set { return rings(rng, 300, 300, 300) }, 0.93},
		{"rings of two", func(rng *rand.Rand) Set { return rings(rng, 300, 300) }, 0.97},
		{"mixed columns, two classes", func(rng *rand.Rand) Set { return mixed(rng, 1200, 2) }, 0.95},
		{"mixed columns, five classes", func(rng *rand.Rand) Set { return mixed(rng, 1500, 5) }, 0.92},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, fresh := tc.make(rand.New(rand.NewPCG(1, 1))), tc.make(rand.New(rand.NewPCG(2, 2)))
			classes := slices.Max(s.Y) + 1
			boosted := accuracy(plant(t, treeConfig(classes), s, 7), fresh)
			alone := accuracy(plant(t, TreeConfig{Classes: classes, Leaves: 60, MinRows: 3, Single: true}, s, 7), fresh)
			scale(s, fresh, s)
			mlp := accuracy(fit(t, Config{Hidden: []int{32, 16}, Classes: classes, Epochs: 30, Batch: 32, Rate: 5e-3, L2: 1e-5, Patience: 10}, s, 7), fresh)
			t.Logf("accuracy on fresh rows: boosted %.4f, one tree %.4f, perceptron %.4f", boosted, alone, mlp)
			if boosted < tc.least || boosted < mlp-0.03 {
				t.Errorf("boosted trees reach %.4f, want %.2f, and about what the perceptron reaches, %.4f", boosted, tc.least, mlp)
			}
			if alone < tc.least-0.08 {
				t.Errorf("one tree reaches %.4f, want %.2f", alone, tc.least-0.08)
			}
		})
	}
}

func TestTreesRepeat(t *testing.T) {
	s := mixed(rand.New(rand.NewPCG(1, 1)), 600, 3)
	cfg := treeConfig(3)
	cfg.Rows, cfg.Columns = 0.7, 0.5
	first, again, other := treesONNX(plant(t, cfg, s, 7)), treesONNX(plant(t, cfg, s, 7)), treesONNX(plant(t, cfg, s, 8))
	if !bytes.Equal(first, again) {
		t.Error("the same seed gave two models")
	}
	if bytes.Equal(first, other) {
		t.Error("two seeds gave one model")
	}
}

// TestTreesAreTheirONNX walks the trees by hand, and compares with what their
// file says when it is read and run.
func TestTreesAreTheirONNX(t *testing.T) {
	for classes := 2; classes <= 4; classes++ {
		s := mixed(rand.New(rand.NewPCG(1, 1)), 800, classes)
		for name, cfg := range map[string]TreeConfig{
			"boosted": treeConfig(classes), "one": {Classes: classes, Leaves: 20, MinRows: 1, Single: true},
		} {
			t.Run(fmt.Sprintf("%s, %d classes", name, classes), func(t *testing.T) {
				m := plant(t, cfg, s, 3)
				g, err := onnx.Parse(treesONNX(m))
				if err != nil {
					t.Fatal(err)
				}
				out, err := g.Run(map[string]Matrix{"x": s.X})
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(out["y"].Data, m.Predict(s.X).Data) {
					t.Error("Predict and the file differ")
				}
				for i := range s.X.Rows {
					want, sum := byHand(m, s.X.Row(i)), 0.0
					for k, p := range out["y"].Row(i) {
						if sum += float64(p); math.Abs(float64(p)-want[k]) > 1e-6 {
							t.Fatalf("row %d, class %d: %v, want %v", i, k, p, want[k])
						}
					}
					if math.Abs(sum-1) > 1e-6 {
						t.Fatalf("row %d: the probabilities add up to %v", i, sum)
					}
				}
			})
		}
	}
}

// byHand adds up the leaves of a row in float64.
func byHand(m *Trees, row []float32) []float64 {
	if m.single {
		at := m.trees[0].find(row) * m.classes
		p := make([]float64, m.classes)
		for k, v := range m.trees[0].values[at : at+m.classes] {
			p[k] = float64(v)
		}
		return p
	}
	scores := make([]float64, len(m.base))
	for k, v := range m.base {
		scores[k] = float64(v)
	}
	for _, t := range m.trees {
		scores[t.class] += float64(t.values[t.find(row)])
	}
	if m.classes == 2 {
		p := 1 / (1 + math.Exp(-scores[0]))
		return []float64{1 - p, p}
	}
	sum := 0.0
	for k, v := range scores {
		scores[k] = math.Exp(v)
		sum += scores[k]
	}
	for k := range scores {
		scores[k] /= sum
	}
	return scores
}

// TestTreesKeepTheirBounds holds the settings to what grew.
func TestTreesKeepTheirBounds(t *testing.T) {
	s := mixed(rand.New(rand.NewPCG(1, 1)), 700, 3)
	for name, cfg := range map[string]TreeConfig{
		"leaves":     {Classes: 3, Leaves: 6, MinRows: 1, Rounds: 5, Rate: 1},
		"depth":      {Classes: 3, Leaves: 100, Depth: 3, MinRows: 1, Rounds: 5, Rate: 1},
		"rows":       {Classes: 3, Leaves: 100, MinRows: 60, Rounds: 5, Rate: 1},
		"two leaves": {Classes: 3, Leaves: 2, MinRows: 1, Rounds: 5, Rate: 1, Bins: 2},
		"one":        {Classes: 3, Leaves: 9, Depth: 5, MinRows: 40, Single: true},
	} {
		m, err := TrainTrees(cfg, s, s, rand.New(rand.NewPCG(1, 1)))
		if err != nil {
			t.Fatal(err)
		}
		for i, tree := range m.trees {
			leaves, depth := 0, depthOf(tree.nodes, 0)
			rows := make([]int, len(tree.nodes))
			for r := range s.X.Rows {
				rows[tree.find(s.X.Row(r))]++
			}
			for _, n := range tree.nodes {
				if n.leaf >= 0 {
					if leaves++; rows[n.leaf] < cfg.MinRows {
						t.Errorf("%s: a leaf of tree %d holds %d rows", name, i, rows[n.leaf])
					}
				}
			}
			if leaves > cfg.Leaves || cfg.Depth > 0 && depth > cfg.Depth {
				t.Errorf("%s: tree %d has %d leaves and is %d deep", name, i, leaves, depth)
			}
		}
	}
}

func depthOf(nodes []node, at int) int {
	if n := nodes[at]; n.leaf < 0 {
		return 1 + max(depthOf(nodes, n.yes), depthOf(nodes, n.no))
	}
	return 0
}

// TestTies holds that of equal splits the first column is taken, and there the
// lowest threshold.
func TestTies(t *testing.T) {
	s := Set{X: Matrix{Rows: 6, Cols: 3, Data: []float32{
		5, 0, 0, 5, 0, 0, 5, 1, 1, 5, 1, 1, 5, 2, 2, 5, 2, 2,
	}}, Y: []int{0, 0, 1, 1, 0, 0}}
	m, err := TrainTrees(TreeConfig{Classes: 2, Leaves: 2, MinRows: 1, Single: true}, s, s, rand.New(rand.NewPCG(1, 1)))
	if err != nil {
		t.Fatal(err)
	}
	if root := m.trees[0].nodes[0]; root.column != 1 || root.threshold != 0.5 {
		t.Errorf("split at column %d, %v; want column 1, 0.5", root.column, root.threshold)
	}
}

// TestNothingToTellApart trains on sets that leave nothing to learn.
func TestNothingToTellApart(t *testing.T) {
	same := Set{X: NewMatrix(20, 2), Y: make([]int, 20)}
	for i := range 10 {
		same.Y[i] = 1
	}
	one := mixed(rand.New(rand.NewPCG(1, 1)), 50, 3)
	clear(one.Y)
	for name, tc := range map[string]struct {
		set  Set
		want []float64
	}{
		"rows alike": {same, []float64{0.5, 0.5, 0}},
		"one class":  {one, []float64{1, 0, 0}},
		"one row":    {one.Pick([]int{4}), []float64{1, 0, 0}},
	} {
		for _, cfg := range []TreeConfig{treeConfig(3), {Classes: 3, Leaves: 9, MinRows: 1, Single: true}} {
			m, err := TrainTrees(cfg, tc.set, tc.set, rand.New(rand.NewPCG(1, 1)))
			if err != nil {
				t.Fatal(err)
			}
			if m.Leaves() > 3 {
				t.Errorf("%s: %d leaves", name, m.Leaves())
			}
			for k, p := range m.Predict(head(tc.set.X, 1)).Data {
				if math.Abs(float64(p)-tc.want[k]) > 1e-4 {
					t.Errorf("%s: class %d has probability %v, want %v", name, k, p, tc.want[k])
				}
			}
		}
	}
}

// TestPureLeaves boosts what is told apart after one round: nothing may leave
// the finite numbers when there is no curvature left.
func TestPureLeaves(t *testing.T) {
	s := Set{X: NewMatrix(40, 1), Y: make([]int, 40)}
	for i := range s.Y {
		s.X.Data[i], s.Y[i] = float32(i), i/20
	}
	m, err := TrainTrees(TreeConfig{Classes: 2, Leaves: 4, MinRows: 1, Rounds: 300, Rate: 1}, s, s, rand.New(rand.NewPCG(1, 1)))
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range m.Predict(s.X).Data {
		if want := float32((i%2 + i/40 + 1) % 2); math.Abs(float64(p-want)) > 1e-3 {
			t.Errorf("row %d, class %d: %v", i/2, i%2, p)
		}
	}
}

func TestTreesStopEarlyAndKeepTheBest(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	noise := Set{X: randomMatrix(rng, 200, 10), Y: make([]int, 200)}
	for i := range noise.Y {
		noise.Y[i] = rng.IntN(2)
	}
	cfg := TreeConfig{Classes: 2, Leaves: 8, MinRows: 2, Rounds: 500, Rate: 0.3, Patience: 5}
	rounds, best, first := 0, math.Inf(1), 0.0
	cfg.Progress = func(e Epoch) {
		if rounds++; e.Number != rounds || e.Best != (e.Validation < best) {
			t.Errorf("round %d: number %d, Best is %v", rounds, e.Number, e.Best)
		}
		if first == 0 {
			first = e.Loss
		} else if e.Loss >= first {
			t.Errorf("round %d: the loss on the training set is %v, after %v", e.Number, e.Loss, first)
		}
		best = min(best, e.Validation)
	}
	train, validation := noise.Split(rng, 0.5)
	m, err := TrainTrees(cfg, train, validation, rng)
	if err != nil {
		t.Fatal(err)
	}
	if rounds == cfg.Rounds {
		t.Error("training on noise never stopped early")
	}
	if got := lossOf(cfg, m.Predict(validation.X), validation.Y); math.Abs(got-best) > 1e-6 {
		t.Errorf("the trees returned have validation loss %v, the best round had %v", got, best)
	}
}

func TestTreesWeighClasses(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	s := Set{X: randomMatrix(rng, 1000, 1), Y: make([]int, 1000)}
	for i := range 50 {
		s.X.Data[i] += 1
		s.Y[i] = 1
	}
	for _, cfg := range []TreeConfig{
		{Classes: 2, Leaves: 4, MinRows: 20, Rounds: 20, Rate: 0.2, L2: 1},
		{Classes: 2, Leaves: 4, MinRows: 20, Single: true},
	} {
		found := func() (n int) {
			for i, k := range plant(t, cfg, s, 1).Predict(s.X).ArgMax() {
				n += k * s.Y[i]
			}
			return n
		}
		plain := found()
		cfg.Weights = []float32{1, 20}
		if weighed := found(); weighed < plain+15 {
			t.Errorf("single %v: of 50 rare rows %d are found, and %d when weighed 20", cfg.Single, plain, weighed)
		}
	}
}

// TestCuts holds thresholds apart from the values that they part.
func TestCuts(t *testing.T) {
	next := math.Nextafter32(1, 2)
	for _, tc := range []struct {
		values []float32
		most   int
		want   []float32
	}{
		{[]float32{3, 3, 3}, 256, nil},
		{[]float32{1, 2, 2, 4}, 256, []float32{1.5, 3}},
		{[]float32{1, next}, 256, []float32{1}},
		{[]float32{-math.MaxFloat32, math.MaxFloat32}, 256, []float32{0}},
		{[]float32{1, 2, 3, 4, 5, 6, 7, 8}, 4, []float32{2.5, 4.5, 6.5}},
		{[]float32{0, 0, 0, 0, 0, 0, 1, 2, 3}, 3, []float32{0.5, 2.5}},
		{[]float32{1, 2, 3}, 2, []float32{2.5}},
	} {
		if have := cut(tc.values, tc.most); !slices.Equal(have, tc.want) {
			t.Errorf("%v in %d bins: cut at %v, want %v", tc.values, tc.most, have, tc.want)
		}
	}
}

func TestTrainTreesRefuses(t *testing.T) {
	for _, tc := range []struct {
		name  string
		spoil func(*TreeConfig, *Set)
		want  string
	}{
		{"one class", func(c *TreeConfig, _ *Set) { c.Classes = 1 }, "1 classes"},
		{"one leaf", func(c *TreeConfig, _ *Set) { c.Leaves = 1 }, "2 leaves"},
		{"many leaves", func(c *TreeConfig, _ *Set) { c.Leaves = 1 << 40 }, "leaves"},
		{"empty leaves", func(c *TreeConfig, _ *Set) { c.MinRows = 0 }, "1 row"},
		{"depth", func(c *TreeConfig, _ *Set) { c.Depth = 2000 }, "depth of 2000"},
		{"negative depth", func(c *TreeConfig, _ *Set) { c.Depth = -1 }, "depth of -1"},
		{"bins", func(c *TreeConfig, _ *Set) { c.Bins = 257 }, "257 bins"},
		{"no rounds", func(c *TreeConfig, _ *Set) { c.Rounds = 0 }, "1 round"},
		{"no rate", func(c *TreeConfig, _ *Set) { c.Rate = math.NaN() }, "rate"},
		{"negative L2", func(c *TreeConfig, _ *Set) { c.L2 = -1 }, "L2"},
		{"infinite L2", func(c *TreeConfig, _ *Set) { c.L2 = math.Inf(1) }, "L2"},
		{"share", func(c *TreeConfig, _ *Set) { c.Rows = 1.5 }, "between 0 and 1"},
		{"share of NaN", func(c *TreeConfig, _ *Set) { c.Columns = math.NaN() }, "between 0 and 1"},
		{"too large", func(c *TreeConfig, _ *Set) { c.Rounds, c.Leaves = 1<<40, 1<<15 }, "nodes"},
		{"boosted alone", func(c *TreeConfig, _ *Set) { c.Single = true }, "single"},
		{"weights", func(c *TreeConfig, _ *Set) { c.Weights = []float32{1} }, "1 class weights"},
		{"weight of nothing", func(c *TreeConfig, _ *Set) { c.Weights = []float32{1, 0, 1} }, "class 1 weighs 0"},
		{"label", func(_ *TreeConfig, s *Set) { s.Y[4] = 3 }, "row 4: class 3 of 3"},
		{"not a number", func(_ *TreeConfig, s *Set) { s.X.Data[5] = float32(math.NaN()) }, "row 2, column 1"},
		{"no rows", func(_ *TreeConfig, s *Set) { *s = Set{X: Matrix{Cols: 2}} }, "0 labels"},
	} {
		cfg, s := treeConfig(3), rings(rand.New(rand.NewPCG(1, 1)), 10, 10, 10)
		tc.spoil(&cfg, &s)
		_, err := TrainTrees(cfg, s, s, rand.New(rand.NewPCG(1, 1)))
		if err == nil || pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: error %v, want one of kind Invalid", tc.name, err)
			continue
		}
		if e, _ := err.(*pavise.Error); !strings.Contains(e.Msg+e.Hint, tc.want) {
			t.Errorf("%s: error %q, hint %q; want %q", tc.name, e.Msg, e.Hint, tc.want)
		}
	}
}

func BenchmarkTrainTrees(b *testing.B) {
	s := mixed(rand.New(rand.NewPCG(1, 1)), 10000, 5)
	cfg := TreeConfig{Classes: 5, Leaves: 31, MinRows: 20, Rounds: 10, Rate: 0.1, L2: 1}
	for b.Loop() {
		if _, err := TrainTrees(cfg, s, s, rand.New(rand.NewPCG(1, 1))); err != nil {
			b.Fatal(err)
		}
	}
}
