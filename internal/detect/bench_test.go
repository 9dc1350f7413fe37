package detect

import (
	"testing"
	"time"

	"github.com/pavise/pavise/internal/tensor"
)

// BenchmarkHear is what a request of one row of 64 numbers pays for being looked at: its
// copy into the queue. What the detectors do with it is on nobody's way. Where the queue is
// full, it pays for counting that.
func BenchmarkHear(b *testing.B) {
	r := &tensor.Request{Inputs: []tensor.Tensor{{Name: "x", Datatype: tensor.FP32, Shape: []int64{1, 64}, Data: tensor.Data{Floats: make([]float64, 64)}}}}
	a := &tensor.Response{Outputs: []tensor.Tensor{{Name: "scores", Datatype: tensor.FP32, Shape: []int64{1, 10}, Data: tensor.Data{Floats: make([]float64, 10)}}}}
	at := time.Unix(1e9, 0)
	b.Run("room", func(b *testing.B) {
		q := NewQueue(nil, []Detector{&taker{}})
		b.ReportAllocs()
		for b.Loop() {
			q.Hear(at, caller, model, r, a)
			q.free(<-q.queue)
		}
		if q.Overlooked() > 0 {
			b.Fatal("some were not heard")
		}
	})
	b.Run("full", func(b *testing.B) {
		q := NewQueue(nil, []Detector{&taker{}})
		b.ReportAllocs()
		for b.Loop() {
			q.Hear(at, caller, model, r, a)
		}
	})
}
