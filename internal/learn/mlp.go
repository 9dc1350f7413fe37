package learn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/pavise/pavise/internal/onnx"
)

// An MLP is a multilayer perceptron that tells classes apart: rectified linear
// hidden layers and a softmax. It does not change once trained and is safe for
// concurrent use.
type MLP struct {
	layers []layer
}

// A layer computes x·w + b. The weights are in rows by input.
type layer struct {
	in, out int
	w, b    []float32
}

// newMLP returns a network of the given layer sizes, input first, with weights
// drawn uniformly from ±√(6/in) (He and others, "Delving Deep into Rectifiers",
// 2015) and biases of zero.
func newMLP(sizes []int, rng *rand.Rand) *MLP {
	m := &MLP{}
	for i := range len(sizes) - 1 {
		l := layer{in: sizes[i], out: sizes[i+1]}
		l.w, l.b = make([]float32, l.in*l.out), make([]float32, l.out)
		bound := math.Sqrt(6 / float64(l.in))
		for j := range l.w {
			l.w[j] = float32((2*rng.Float64() - 1) * bound)
		}
		m.layers = append(m.layers, l)
	}
	return m
}

// Inputs returns the number of columns that the model reads.
func (m *MLP) Inputs() int { return m.layers[0].in }

// Classes returns the number of classes that the model tells apart.
func (m *MLP) Classes() int { return m.layers[len(m.layers)-1].out }

// Predict returns the probability of each class for each row of x, whose width
// must be Inputs.
func (m *MLP) Predict(x Matrix) Matrix {
	for i, l := range m.layers {
		y := NewMatrix(x.Rows, l.out)
		l.forward(y, x, i < len(m.layers)-1)
		x = y
	}
	for i := range x.Rows {
		onnx.Softmax(x.Row(i))
	}
	return x
}

// forward fills y with x·w + b, rectified if asked.
func (l layer) forward(y, x Matrix, rectify bool) {
	for i := range x.Rows {
		row := y.Row(i)
		copy(row, l.b)
		onnx.Accumulate(row, x.Row(i), 1, l.in, l.w, true)
		if rectify {
			for j, v := range row {
				row[j] = max(v, 0)
			}
		}
	}
}

// Emit adds the nodes of the model to w: from the value named x, of [N,
// Inputs], to the value named y, the probabilities [N, Classes].
func (m *MLP) Emit(w *onnx.Writer, x, y string) {
	for i, l := range m.layers {
		name := fmt.Sprintf("layer%d", i+1)
		weights := w.Floats(name+".weight", []int{l.in, l.out}, l.w)
		bias := w.Floats(name+".bias", []int{l.out}, l.b)
		x = w.Node("Gemm", name, []string{x, weights, bias})
		if i < len(m.layers)-1 {
			x = w.Node("Relu", name+".relu", []string{x})
		}
	}
	w.Node("Softmax", y, []string{x}, onnx.Int("axis", 1))
}

// Layers returns a copy of the weights: of each layer a list by input, and last what is
// always added, each by output. Hidden layers are rectified, and behind the last one comes a
// softmax.
func (m *MLP) Layers() [][][]float32 {
	layers := make([][][]float32, len(m.layers))
	for i, l := range m.layers {
		for row := range slices.Chunk(l.w, l.out) {
			layers[i] = append(layers[i], slices.Clone(row))
		}
		layers[i] = append(layers[i], slices.Clone(l.b))
	}
	return layers
}

func (m *MLP) clone() *MLP {
	c := &MLP{layers: slices.Clone(m.layers)}
	for i, l := range c.layers {
		c.layers[i].w, c.layers[i].b = slices.Clone(l.w), slices.Clone(l.b)
	}
	return c
}
