package learn

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/pavise/pavise"
)

// TestImitateLearnsProbabilities has one model learn what another says, which labels alone
// do not tell.
func TestImitateLearnsProbabilities(t *testing.T) {
	teacher := fit(t, ringConfig(), rings(rand.New(rand.NewPCG(1, 1)), 300, 300, 300), 7)
	x := rings(rand.New(rand.NewPCG(5, 5)), 400, 400, 400).X
	said := teacher.Predict(x)
	cfg := ringConfig()
	cfg.Epochs = 150
	copied := func(seed uint64) *MLP {
		m, err := Imitate(cfg, x, said, 0.1, rand.New(rand.NewPCG(seed, 0)))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	m, fresh := copied(1), rings(rand.New(rand.NewPCG(6, 6)), 200, 200, 200).X
	a, b, apart := teacher.Predict(fresh), m.Predict(fresh), 0.0
	for i := range a.Data {
		apart += math.Abs(float64(a.Data[i] - b.Data[i]))
	}
	if apart /= float64(a.Rows); apart > 0.15 {
		t.Errorf("the probabilities are %.3f apart (L1)", apart)
	}
	if !bytes.Equal(onnxOf(m), onnxOf(copied(1))) || bytes.Equal(onnxOf(m), onnxOf(copied(2))) {
		t.Error("the seed does not decide, or does not matter")
	}
}

func TestImitateRefuses(t *testing.T) {
	good := Config{Classes: 2, Epochs: 1, Batch: 4, Rate: 1e-2}
	weighed := good
	weighed.Weights = []float32{1, 1}
	x := NewMatrix(3, 2)
	half := Matrix{Rows: 3, Cols: 2, Data: []float32{.5, .5, 1, 0, 0, 1}}
	for name, tt := range map[string]struct {
		cfg  Config
		p    Matrix
		held float64
	}{
		"weights":  {weighed, half, 0},
		"negative": {good, Matrix{Rows: 3, Cols: 2, Data: []float32{-1, 2, 1, 0, 0, 1}}, 0},
		"NaN":      {good, Matrix{Rows: 3, Cols: 2, Data: []float32{float32(math.NaN()), 1, 1, 0, 0, 1}}, 0},
		"sum":      {good, Matrix{Rows: 3, Cols: 2, Data: []float32{1, 1, 1, 0, 0, 1}}, 0},
		"rows":     {good, NewMatrix(2, 2), 0},
		"held":     {good, half, 1},
		"classes":  {Config{Classes: 3, Epochs: 1, Batch: 1, Rate: 1}, half, 0},
	} {
		if _, err := Imitate(tt.cfg, x, tt.p, tt.held, rand.New(rand.NewPCG(1, 1))); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Imitate(good, x, half, 0, rand.New(rand.NewPCG(1, 1))); err != nil {
		t.Error(err)
	}
}

// TestGradientOfAnInput compares it with differences.
func TestGradientOfAnInput(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	m := newMLP([]int{3, 8, 6, 4}, rng)
	x, class := randomMatrix(rng, 5, 3), []int{0, 1, 2, 3, 0}
	got := m.Gradient(x, class)
	const step = 1e-3
	for i := range x.Rows {
		for j := range x.Cols {
			at := func(by float32) float64 {
				moved := Matrix{Rows: 1, Cols: 3, Data: append([]float32{}, x.Row(i)...)}
				moved.Data[j] += by
				return math.Log(float64(m.Predict(moved).Data[class[i]]))
			}
			want := (at(step) - at(-step)) / (2 * step)
			if g := float64(got.Row(i)[j]); math.Abs(g-want) > 0.02*(1+math.Abs(want)) {
				t.Errorf("row %d, column %d: %v, and by differences %v", i, j, g, want)
			}
		}
	}
}
