package firewall

import (
	"fmt"
	"testing"

	"github.com/pavise/pavise/internal/tensor"
)

// BenchmarkExchange is what the firewall does with the tensors of an exchange: every
// column has bounds, and the answer is ten scores.
func BenchmarkExchange(b *testing.B) {
	lo, hi := 0.0, 1.0
	answer := func() *tensor.Response {
		return &tensor.Response{Outputs: []tensor.Tensor{{Name: "scores", Datatype: tensor.FP32, Shape: []int64{1, 10}, Data: tensor.Data{
			Floats: singles(0.0312871, 0.1523467, 0.0074512, 0.3120045, 0.0498231, 0.0912344, 0.2004127, 0.0231178, 0.1100981, 0.0222244),
		}}}}
	}()
	for _, columns := range []int{32, 512} {
		signature := tensor.Signature{
			Inputs:  []tensor.Port{{Name: "x", Datatype: tensor.FP32, Shape: []int64{-1, int64(columns)}}},
			Outputs: []tensor.Port{{Name: "scores", Datatype: tensor.FP32, Shape: []int64{-1, 10}}},
		}
		r := &tensor.Request{Inputs: []tensor.Tensor{{Name: "x", Datatype: tensor.FP32, Shape: []int64{1, int64(columns)}}}}
		for i := range columns {
			signature.Inputs[0].Columns = append(signature.Inputs[0].Columns, tensor.Column{Name: fmt.Sprint(i), Min: &lo, Max: &hi})
			r.Inputs[0].Data.Floats = append(r.Inputs[0].Data.Floats, float64(i)/float64(columns))
		}
		g := NewGate(signature, 64)
		b.Run(fmt.Sprintf("check-%d", columns), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if v := g.Check(r); v.Stops() {
					b.Fatal(v)
				}
			}
		})
		b.Run(fmt.Sprintf("check-answer-%d", columns), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if v := g.CheckAnswer(r, answer); v.Stops() {
					b.Fatal(v)
				}
			}
		})
	}
	b.Run("shape", func(b *testing.B) {
		b.ReportAllocs()
		s := Shape{Kind: Round, Digits: 4}
		for b.Loop() {
			if _, v := s.Apply(answer); v.Stops() {
				b.Fatal(v)
			}
		}
	})
}

func singles(list ...float64) []float64 {
	for i, v := range list {
		list[i] = tensor.FP32.Round(v)
	}
	return list
}
