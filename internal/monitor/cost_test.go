package monitor

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/drift"
	"github.com/pavise/pavise/internal/tensor"
)

// heap is what is in use, once what is not is let go of.
func heap() uint64 {
	var s runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

// TestMemory: what a model's features take after more than an hour that sixteen callers ask it two
// thousand rows a minute, so that each window of each length has counts of each group.
func TestMemory(t *testing.T) {
	const columns = 100
	sig := &tensor.Signature{Inputs: []tensor.Port{{Name: "x", Datatype: tensor.FP64, Shape: []int64{-1, columns}}}}
	rng := rand.New(rand.NewPCG(1, 2))
	l := newLayout(sig, func(string) [32]byte { return [32]byte{} })
	l.replays = false // rows that may be asked again have a bound of their own
	item := func(rows int) *item {
		o := &item{layout: l, rows: rows, numbers: make([]float64, rows*columns)}
		for i := range o.numbers {
			o.numbers[i] = rng.NormFloat64()
		}
		return o
	}
	text := func() []byte {
		learn := newLearning(l, 1)
		newBatch(l).all(item(2000), learn)
		learn.rows = 2000
		return learn.baseline(l).Text()
	}()
	asked := item(625)

	before := heap()
	w := newWatched(scorer, l, asked.at)
	b, err := drift.ParseBaseline(text)
	if err != nil {
		t.Fatal(err)
	}
	held, err := w.based(b)
	if err != nil {
		t.Fatal(err)
	}
	based := heap()
	w.hold(held, nil)
	for window := range 24 {
		for group := range parties {
			asked.who = pavise.Name{Tenant: "local", Kind: pavise.Workload, ID: fmt.Sprint(group)}
			w.see(asked, group)
		}
		if w.count(); window < 23 {
			w.end(asked.at, 3)
		}
	}
	after := heap()
	runtime.KeepAlive([]any{w, l, asked, text})
	baseline, windows := (float64(based)-float64(before))/columns, (float64(after)-float64(based))/columns
	t.Logf("a feature takes %.0f bytes: %.0f of them the baseline, %.0f the counts and outcomes of windows", baseline+windows, baseline, windows)
	if baseline+windows > 5<<10 {
		t.Errorf("a feature takes %.0f bytes", baseline+windows)
	}
}
