package onnx

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// sampleModel is a network of the size of the sample model.
func sampleModel(rng *rand.Rand) []byte {
	w := NewWriter("sample")
	perceptron(w, w.Input("x", 122), "y", rng, 122, 64, 32, 5)
	w.Output("y", 5)
	return w.Bytes()
}

// perceptron adds a network of random weights, of the given layer sizes.
func perceptron(w *Writer, x, y string, rng *rand.Rand, sizes ...int) {
	for i := range len(sizes) - 1 {
		in, out := sizes[i], sizes[i+1]
		weights := w.Floats(fmt.Sprint("w", i), []int{in, out}, randomMatrix(rng, in, out).Data)
		x = w.Node("Gemm", fmt.Sprint("gemm", i), []string{x, weights, w.Floats(fmt.Sprint("b", i), []int{out}, make([]float32, out))})
		if i < len(sizes)-2 {
			x = w.Node("Relu", fmt.Sprint("relu", i), []string{x})
		}
	}
	w.Node("Softmax", y, []string{x}, Int("axis", 1))
}

func sampleGraph(tb testing.TB, rng *rand.Rand) *Graph {
	tb.Helper()
	g, err := Parse(sampleModel(rng))
	if err != nil {
		tb.Fatal(err)
	}
	return g
}

func randomMatrix(rng *rand.Rand, rows, cols int) Matrix {
	m := NewMatrix(rows, cols)
	for i := range m.Data {
		m.Data[i] = float32(rng.NormFloat64())
	}
	return m
}

func BenchmarkRun(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	g := sampleGraph(b, rng)
	for _, rows := range []int{1, 32, 1024} {
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			in := map[string]Matrix{"x": randomMatrix(rng, rows, 122)}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := g.Run(in); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*rows), "ns/row")
		})
	}
}

func BenchmarkParse(b *testing.B) {
	model := sampleModel(rand.New(rand.NewPCG(1, 2)))
	b.SetBytes(int64(len(model)))
	for b.Loop() {
		if _, err := Parse(model); err != nil {
			b.Fatal(err)
		}
	}
}
