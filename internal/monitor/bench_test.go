package monitor

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/drift"
	"github.com/pavise/pavise/internal/tensor"
)

// wide is an exchange of rows with so many columns, and three scores.
func wide(rows, columns int) Exchange {
	rng := rand.New(rand.NewPCG(1, 2))
	sig := tensor.Signature{
		Inputs:  []tensor.Port{{Name: "x", Datatype: tensor.FP32, Shape: []int64{-1, int64(columns)}}},
		Outputs: []tensor.Port{{Name: "scores", Datatype: tensor.FP32, Shape: []int64{-1, 3}}},
	}
	fill := func(n int) (list []float64) {
		for range n {
			list = append(list, rng.NormFloat64())
		}
		return list
	}
	x := tensor.Tensor{Name: "x", Datatype: tensor.FP32, Shape: []int64{int64(rows), int64(columns)}, Data: tensor.Data{Floats: fill(rows * columns)}}
	y := tensor.Tensor{Name: "scores", Datatype: tensor.FP32, Shape: []int64{int64(rows), 3}, Data: tensor.Data{Floats: fill(rows * 3)}}
	return Exchange{
		At: time.Unix(1, 0), Who: pavise.Name{Tenant: "local", Kind: pavise.Workload, ID: "app"}, Model: scorer, Version: "v1", Signature: &sig,
		Asked: &tensor.Request{Inputs: []tensor.Tensor{x}}, Said: &tensor.Response{Outputs: []tensor.Tensor{y}},
	}
}

// BenchmarkHear is what a caller waits: the copy of an exchange into the queue.
func BenchmarkHear(b *testing.B) {
	for _, rows := range []int{1, 32} {
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			m := &Monitor{queue: newQueue(func(pavise.Name, string) [32]byte { return [32]byte{} })}
			e := wide(rows, 40)
			b.ReportAllocs()
			for b.Loop() {
				m.Hear(e)
				m.queue.free(<-m.queue.items)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*rows), "ns/row")
		})
	}
}

// BenchmarkCount is what counting takes off the way of answers, with one baseline.
func BenchmarkCount(b *testing.B) {
	for _, columns := range []int{40, 1024} { // the latter by projections
		b.Run(fmt.Sprintf("columns=%d", columns), func(b *testing.B) {
			m := &Monitor{queue: newQueue(func(pavise.Name, string) [32]byte { return [32]byte{1} })}
			const rows = 32
			m.Hear(wide(rows, columns))
			o := <-m.queue.items
			w := newWatched(scorer, o.layout, o.at)
			learn := newLearning(o.layout, 1)
			for range 20 {
				learn.see(o, new(scratch))
			}
			held, err := w.based(learn.baseline(o.layout))
			if err != nil {
				b.Fatal(err)
			}
			w.hold(held, nil)
			w.layout.replays = false // the sample of what is asked again is bounded by itself
			b.ReportAllocs()
			for b.Loop() {
				w.see(o, 3)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*rows), "ns/row")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*rows*(columns+3)), "ns/cell")
		})
	}
}

// BenchmarkEnd is the end of a window of 500 features that 16 groups of callers ask.
func BenchmarkEnd(b *testing.B) {
	m := &Monitor{queue: newQueue(func(pavise.Name, string) [32]byte { return [32]byte{1} })}
	m.Hear(wide(64, 250))
	o := <-m.queue.items
	w := newWatched(scorer, o.layout, o.at)
	learn := newLearning(o.layout, 1)
	learn.see(o, new(scratch))
	held, err := w.based(learn.baseline(o.layout))
	if err != nil {
		b.Fatal(err)
	}
	w.hold(held, nil)
	for b.Loop() {
		for group := range parties {
			w.see(o, group)
		}
		w.end(o.at, 3)
	}
	b.ReportMetric(float64(len(drift.Scales)), "lengths")
}
