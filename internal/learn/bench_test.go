package learn

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// sampleGraph is a network of the size of the sample model.
func sampleGraph(tb testing.TB, rng *rand.Rand) *Graph {
	tb.Helper()
	w := NewWriter("sample")
	x := w.Input("x", 122)
	newMLP([]int{122, 64, 32, 5}, rng).Emit(w, x, "y")
	w.Output("y", 5)
	g, err := ParseONNX(w.Bytes())
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

func BenchmarkParseONNX(b *testing.B) {
	w := NewWriter("sample")
	x := w.Input("x", 122)
	newMLP([]int{122, 64, 32, 5}, rand.New(rand.NewPCG(1, 2))).Emit(w, x, "y")
	w.Output("y", 5)
	model := w.Bytes()
	b.SetBytes(int64(len(model)))
	for b.Loop() {
		if _, err := ParseONNX(model); err != nil {
			b.Fatal(err)
		}
	}
}
