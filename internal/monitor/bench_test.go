package monitor

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/drift"
	"github.com/pavise/pavise/internal/tensor"
)

// wide is an exchange of rows with so many columns, and three scores.
func wide(rows, columns int) Exchange { return drawn(1, rows, columns) }

// drawn is another one for each seed.
func drawn(seed uint64, rows, columns int) Exchange {
	rng := rand.New(rand.NewPCG(seed, 2))
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

// processor is the time that processors have worked for this process, whatever else they do.
func processor(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// benched is a monitor that holds what it hears to a baseline of some exchanges.
func benched(b *testing.B, of ...Exchange) (*Monitor, *watched) {
	m := &Monitor{models: map[pavise.Name]*watched{}, queue: newQueue(func(pavise.Name, string) [32]byte { return [32]byte{1} })}
	var w *watched
	var learn *learning
	for _, e := range of {
		m.Hear(e)
		o := <-m.queue.items
		if learn == nil {
			w, learn = newWatched(scorer, o.layout, o.at), newLearning(o.layout, 1)
		}
		newBatch(o.layout).all(o, learn)
		learn.rows += o.rows
		m.queue.free(o)
	}
	held, err := w.based(learn.baseline(w.layout))
	if err != nil {
		b.Fatal(err)
	}
	w.hold(held, nil)
	m.models[scorer] = w
	return m, w
}

// whole looks that all of what was heard was counted: what is dropped costs nothing.
func whole(b *testing.B, m *Monitor) {
	m.drain()
	if _, missed := m.queue.counted(scorer); missed > 0 {
		b.Fatalf("%d exchanges were dropped", missed)
	}
}

// BenchmarkWay is the whole way of a cell: its copy, the queue, and what is counted of it off the
// way of answers, in nanoseconds of a processor.
func BenchmarkWay(b *testing.B) {
	for _, shape := range []struct {
		name          string
		rows, columns int
		first         bool
	}{
		{"rows=1,columns=40", 1, 40, false},
		{"rows=1,columns=250", 1, 250, false},
		{"rows=32,columns=40", 32, 40, false},
		{"rows=32,columns=40,two baselines", 32, 40, true},
		{"rows=15,columns=1024", 15, 1024, false}, // by projections
	} {
		b.Run(shape.name, func(b *testing.B) {
			sig := wide(1, shape.columns).Signature
			some := func(n, rows int) []Exchange {
				all := make([]Exchange, n)
				for i := range all {
					all[i] = drawn(uint64(n+i), rows, shape.columns)
					all[i].Signature, all[i].Who.ID = sig, fmt.Sprint("app", i%parties)
				}
				return all
			}
			m, w := benched(b, some(43, 15)...)
			all := some(4*parties, shape.rows)
			if shape.first {
				origin, err := w.based(w.bases[now].Baseline)
				if err != nil {
					b.Fatal(err)
				}
				w.hold(w.bases[now], origin)
			}
			cells := shape.rows * (shape.columns + 3)
			few := max(1, min(waiting/2, together/cells))
			b.ReportAllocs()
			began, n := processor(b), 0
			for b.Loop() {
				m.Hear(all[n%len(all)])
				if n++; n%few == 0 {
					m.drain()
				}
			}
			whole(b, m)
			b.ReportMetric(float64(processor(b)-began)/float64(n*cells), "cpu-ns/cell")
		})
	}
}

// BenchmarkText is the same of four columns of words, as the counting goes.
func BenchmarkText(b *testing.B) {
	for _, form := range []string{"protocol-%s", "a text of some length, number %s"} {
		b.Run(fmt.Sprintf("bytes=%d", len(form)), func(b *testing.B) {
			e := words(32, 4)
			for c := range e.Asked.Inputs {
				for i, text := range e.Asked.Inputs[c].Data.Bytes {
					e.Asked.Inputs[c].Data.Bytes[i] = fmt.Appendf(nil, form, bytes.TrimPrefix(text, []byte("protocol-")))
				}
			}
			m, _ := benched(b, slices.Repeat([]Exchange{e}, 32)...)
			b.ReportAllocs()
			began, n := processor(b), 0
			for b.Loop() {
				m.Hear(e)
				if n++; n%64 == 0 {
					m.drain()
				}
			}
			whole(b, m)
			b.ReportMetric(float64(processor(b)-began)/float64(n*32*4), "cpu-ns/cell")
		})
	}
}

// BenchmarkEnd is the end of a window of some 250 features that 16 groups of callers ask, and what
// a feature takes after an hour of such.
func BenchmarkEnd(b *testing.B) {
	e := wide(64, 250)
	m, w := benched(b, e)
	ask := func() {
		for group := range parties {
			m.Hear(e)
			o := <-m.queue.items
			w.see(o, group)
			w.count()
			m.queue.free(o)
		}
	}
	for b.Loop() {
		ask()
		w.end(e.At, 3)
	}
	b.ReportMetric(float64(len(drift.Scales)), "lengths")
}

// words is an exchange of rows with so many columns of words.
func words(rows, columns int) Exchange {
	rng := rand.New(rand.NewPCG(1, 2))
	e := wide(rows, 1)
	var sig tensor.Signature
	e.Asked, e.Said = &tensor.Request{}, &tensor.Response{}
	for c := range columns {
		name := fmt.Sprint("word", c)
		sig.Inputs = append(sig.Inputs, tensor.Port{Name: name, Datatype: tensor.Bytes, Shape: []int64{-1}})
		t := tensor.Tensor{Name: name, Datatype: tensor.Bytes, Shape: []int64{int64(rows)}}
		for range rows {
			t.Data.Bytes = append(t.Data.Bytes, fmt.Appendf(nil, "protocol-%d", rng.IntN(20)))
		}
		e.Asked.Inputs = append(e.Asked.Inputs, t)
	}
	e.Signature = &sig
	return e
}
