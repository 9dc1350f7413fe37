package learn

import (
	"bytes"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/onnx"
)

// rings returns points on rings of growing radius, one ring to a class, which
// no linear model can tell apart.
func rings(rng *rand.Rand, perClass ...int) Set {
	var s Set
	s.X.Cols = 2
	for class, n := range perClass {
		for range n {
			angle, radius := 2*math.Pi*rng.Float64(), float64(class)+0.3*rng.Float64()
			s.X.Data = append(s.X.Data, float32(radius*math.Cos(angle)), float32(radius*math.Sin(angle)))
			s.X.Rows++
			s.Y = append(s.Y, class)
		}
	}
	return s
}

func ringConfig() Config {
	return Config{Hidden: []int{16, 8}, Classes: 3, Epochs: 60, Batch: 32, Rate: 5e-3, L2: 1e-5, Patience: 20}
}

func fit(t *testing.T, cfg Config, s Set, seed uint64) *MLP {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 0))
	train, validation := s.Split(rng, 0.2)
	m, err := Train(cfg, train, validation, rng)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func onnxOf(m *MLP) []byte {
	w := onnx.NewWriter("test")
	m.Emit(w, w.Input("x", m.Inputs()), "y")
	w.Output("y", m.Classes())
	return w.Bytes()
}

func recall(t *testing.T, m *MLP, s Set, class int) float64 {
	t.Helper()
	c, err := Confuse(m.Classes(), s.Y, m.Predict(s.X).ArgMax())
	if err != nil {
		t.Fatal(err)
	}
	return c.Recall(class)
}

func TestTrainLearns(t *testing.T) {
	m := fit(t, ringConfig(), rings(rand.New(rand.NewPCG(1, 1)), 300, 300, 300), 7)
	fresh := rings(rand.New(rand.NewPCG(2, 2)), 200, 200, 200)
	for class := range 3 {
		if r := recall(t, m, fresh, class); r < 0.95 {
			t.Errorf("class %d: recall %.3f on fresh rows, want at least 0.95", class, r)
		}
	}
	linear := ringConfig()
	linear.Hidden = nil
	if r := recall(t, fit(t, linear, rings(rand.New(rand.NewPCG(1, 1)), 300, 300, 300), 7), fresh, 1); r > 0.8 {
		t.Errorf("a linear model reaches recall %.3f on rings: the test proves nothing", r)
	}
}

func TestTrainRepeats(t *testing.T) {
	s := rings(rand.New(rand.NewPCG(1, 1)), 100, 100, 100)
	first, again, other := onnxOf(fit(t, ringConfig(), s, 7)), onnxOf(fit(t, ringConfig(), s, 7)), onnxOf(fit(t, ringConfig(), s, 8))
	if !bytes.Equal(first, again) {
		t.Error("the same seed gave two models")
	}
	if bytes.Equal(first, other) {
		t.Error("two seeds gave one model")
	}
}

func TestTrainWeighsClasses(t *testing.T) {
	// Two overlapping clouds, one of them rare.
	rng := rand.New(rand.NewPCG(3, 3))
	s := Set{X: randomMatrix(rng, 1000, 1), Y: make([]int, 1000)}
	for i := range 50 {
		s.X.Data[i] += 1
		s.Y[i] = 1
	}
	cfg := Config{Classes: 2, Epochs: 30, Batch: 32, Rate: 1e-2}
	plain := recall(t, fit(t, cfg, s, 1), s, 1)
	cfg.Weights = []float32{1, 20}
	if weighed := recall(t, fit(t, cfg, s, 1), s, 1); weighed < plain+0.3 {
		t.Errorf("recall of the rare class is %.2f, and %.2f when weighed 20", plain, weighed)
	}
}

func TestTrainStopsEarlyAndKeepsTheBest(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	noise := Set{X: randomMatrix(rng, 60, 20), Y: make([]int, 60)}
	for i := range noise.Y {
		noise.Y[i] = rng.IntN(2)
	}
	cfg := Config{Hidden: []int{32}, Classes: 2, Epochs: 500, Batch: 8, Rate: 1e-2, Patience: 5}
	epochs, best := 0, math.Inf(1)
	cfg.Progress = func(e Epoch) {
		if epochs++; e.Best != (e.Validation < best) {
			t.Errorf("epoch %d: Best is %v", e.Number, e.Best)
		}
		best = min(best, e.Validation)
	}
	train, validation := noise.Split(rng, 0.5)
	m, err := Train(cfg, train, validation, rng)
	if err != nil {
		t.Fatal(err)
	}
	if epochs == cfg.Epochs {
		t.Error("training on noise never stopped early")
	}
	if got := newTrainer(cfg, m).loss(validation); got != best {
		t.Errorf("the model returned has validation loss %v, the best epoch had %v", got, best)
	}
}

// TestGradient compares the gradient of every weight with the slope measured by
// moving it.
func TestGradient(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	cfg := Config{Hidden: []int{5, 4}, Classes: 3, Epochs: 1, Batch: 6, Rate: 1, Weights: []float32{1, 2, 0.5}}
	s := Set{X: randomMatrix(rng, 6, 7), Y: []int{0, 1, 2, 2, 1, 0}}
	tr := newTrainer(cfg, newMLP([]int{7, 5, 4, 3}, rng))
	copy(tr.acts[0].Data, s.X.Data)
	tr.forward(6)
	tr.differentiate(s.Y)
	tr.backward(6)
	const h = 1e-3
	for i, l := range tr.net.layers {
		for name, pair := range map[string][2][]float32{"weight": {l.w, tr.grad[i].w}, "bias": {l.b, tr.grad[i].b}} {
			for j := range pair[0] {
				was := pair[0][j]
				pair[0][j] = was + h
				up := tr.loss(s)
				pair[0][j] = was - h
				down := tr.loss(s)
				pair[0][j] = was
				if slope := (up - down) / (2 * h); math.Abs(slope-float64(pair[1][j])) > 5e-3 {
					t.Errorf("layer %d, %s %d: gradient %v, measured %v", i, name, j, pair[1][j], slope)
				}
			}
		}
	}
}

func TestTrainRefuses(t *testing.T) {
	good := func() (Config, Set) {
		return ringConfig(), rings(rand.New(rand.NewPCG(1, 1)), 10, 10, 10)
	}
	for _, tc := range []struct {
		name  string
		spoil func(*Config, *Set)
		want  string
	}{
		{"one class", func(c *Config, _ *Set) { c.Classes = 1 }, "at least 2 classes"},
		{"no rate", func(c *Config, _ *Set) { c.Rate = math.NaN() }, "rate"},
		{"negative L2", func(c *Config, _ *Set) { c.L2 = -1 }, "L2"},
		{"weights", func(c *Config, _ *Set) { c.Weights = []float32{1} }, "1 class weights for 3 classes"},
		{"empty layer", func(c *Config, _ *Set) { c.Hidden = []int{0} }, "hidden layer of 0"},
		{"huge layer", func(c *Config, _ *Set) { c.Hidden = []int{1 << 40} }, "hidden layer"},
		{"label", func(_ *Config, s *Set) { s.Y[4] = 3 }, "row 4: class 3 of 3"},
		{"labels", func(_ *Config, s *Set) { s.Y = s.Y[1:] }, "29 labels"},
		{"data", func(_ *Config, s *Set) { s.X.Data = s.X.Data[1:] }, "holding 59 numbers"},
		{"not a number", func(_ *Config, s *Set) { s.X.Data[5] = float32(math.NaN()) }, "row 2, column 1"},
		{"infinite", func(_ *Config, s *Set) { s.X.Data[5] = float32(math.Inf(1)) }, "row 2, column 1"},
		{"no rows", func(_ *Config, s *Set) { *s = Set{X: Matrix{Cols: 2}} }, "0 labels"},
		{"diverging", func(c *Config, s *Set) { c.Rate, s.X.Data[0] = 1e30, 1e30 }, "lower the rate"},
	} {
		cfg, s := good()
		tc.spoil(&cfg, &s)
		_, err := Train(cfg, s, s, rand.New(rand.NewPCG(1, 1)))
		if err == nil || pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: error %v, want one of kind Invalid", tc.name, err)
			continue
		}
		if e, _ := err.(*pavise.Error); !strings.Contains(e.Msg+e.Hint, tc.want) {
			t.Errorf("%s: error %q, hint %q; want %q", tc.name, e.Msg, e.Hint, tc.want)
		}
	}
}

func TestSplit(t *testing.T) {
	s := rings(rand.New(rand.NewPCG(1, 1)), 100, 3, 1)
	rest, part := s.Split(rand.New(rand.NewPCG(9, 9)), 0.2)
	count := func(s Set, class int) (n int) {
		for _, y := range s.Y {
			if y == class {
				n++
			}
		}
		return n
	}
	for class, want := range []int{20, 1, 0} {
		if got := count(part, class); got != want {
			t.Errorf("class %d: %d rows split off, want %d", class, got, want)
		}
	}
	all := append(slices.Clone(rest.X.Data), part.X.Data...)
	slices.Sort(all)
	want := slices.Clone(s.X.Data)
	slices.Sort(want)
	if !slices.Equal(all, want) {
		t.Error("the parts together are not the whole")
	}
	if rest, part := (Set{X: Matrix{Cols: 2}}).Split(rand.New(rand.NewPCG(9, 9)), 0.5); rest.X.Rows+part.X.Rows != 0 {
		t.Error("an empty set splits into rows")
	}
}

func TestConfusion(t *testing.T) {
	c, err := Confuse(3, []int{0, 0, 0, 1, 1, 2}, []int{0, 0, 1, 1, 1, 0})
	if err != nil {
		t.Fatal(err)
	}
	near := func(what string, got, want float64) {
		if math.Abs(got-want) > 1e-12 {
			t.Errorf("%s is %v, want %v", what, got, want)
		}
	}
	near("accuracy", c.Accuracy(), 4.0/6)
	near("precision of 0", c.Precision(0), 2.0/3)
	near("recall of 0", c.Recall(0), 2.0/3)
	near("precision of 1", c.Precision(1), 2.0/3)
	near("recall of 1", c.Recall(1), 1)
	near("F1 of 1", c.F1(1), 0.8)
	near("F1 of 2", c.F1(2), 0)
	near("macro F1", c.MacroF1(), (2.0/3+0.8)/3)
	if _, err := Confuse(2, []int{0}, []int{2}); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("a class out of range: %v", err)
	}
	if _, err := Confuse(2, []int{0}, nil); err == nil {
		t.Error("more truths than predictions are accepted")
	}
	var empty Confusion
	near("accuracy of nothing", empty.Accuracy(), 0)
	near("macro F1 of nothing", empty.MacroF1(), 0)
}

// TestGraphIsTheModel carries more rows than one block through a trained model
// and its ONNX, which must agree to the last bit.
func TestGraphIsTheModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	m := newMLP([]int{10, 8, 3}, rng)
	g, err := onnx.Parse(onnxOf(m))
	if err != nil {
		t.Fatal(err)
	}
	if in, out := g.Inputs(), g.Outputs(); !slices.Equal(in, []onnx.Port{{Name: "x", Cols: 10}}) || !slices.Equal(out, []onnx.Port{{Name: "y", Cols: 3}}) {
		t.Errorf("inputs %v, outputs %v", in, out)
	}
	for _, rows := range []int{0, 1, 31, 32, 97} {
		x := randomMatrix(rng, rows, 10)
		out, err := g.Run(map[string]Matrix{"x": x})
		if err != nil {
			t.Fatal(err)
		}
		if y := out["y"]; y.Rows != rows || !slices.Equal(y.Data, m.Predict(x).Data) {
			t.Errorf("%d rows: the graph and the model differ", rows)
		}
	}
}

func randomMatrix(rng *rand.Rand, rows, cols int) Matrix {
	m := NewMatrix(rows, cols)
	for i := range m.Data {
		m.Data[i] = float32(rng.NormFloat64())
	}
	return m
}

// TestLayers predicts by the weights.
func TestLayers(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 1))
	set := Set{X: NewMatrix(40, 3), Y: make([]int, 40)}
	for i := range set.X.Data {
		set.X.Data[i] = float32(rng.NormFloat64())
	}
	for i := range set.Y {
		set.Y[i] = i % 2
	}
	m, err := Train(Config{Hidden: []int{4}, Classes: 2, Epochs: 2, Batch: 8, Rate: 1e-2}, set, set, rng)
	if err != nil {
		t.Fatal(err)
	}
	layers, x := m.Layers(), set.X.Row(0)
	for i, l := range layers {
		out := slices.Clone(l[len(x)])
		for j, v := range x {
			for k, w := range l[j] {
				out[k] += v * w
			}
		}
		for k, v := range out {
			if i == 0 {
				out[k] = max(0, v)
			}
		}
		x = out
	}
	p := m.Predict(set.X).Row(0)
	if got := 1 / (1 + math.Exp(float64(x[1]-x[0]))); len(layers) != 2 || math.Abs(got-float64(p[0])) > 1e-5 {
		t.Errorf("%d layers predict %v, and the model %v", len(layers), got, p)
	}
	layers[0][0][0]++
	if q := m.Predict(set.X).Row(0); q[0] != p[0] {
		t.Error("the weights are the model's own")
	}
}
