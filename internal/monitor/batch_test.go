package monitor

import (
	"testing"
	"time"

	"github.com/pavise/pavise/internal/drift"
	"github.com/pavise/pavise/internal/tensor"
)

// TestBatch: rows that are counted together count for the version that answered them and for the
// group of their caller, in every column, and by both baselines.
func TestBatch(t *testing.T) {
	const columns = 11 // eight that are copied at once, and others
	sig := &tensor.Signature{Inputs: []tensor.Port{
		{Name: "x", Datatype: tensor.FP64, Shape: []int64{-1, columns}},
		{Name: "word", Datatype: tensor.Bytes, Shape: []int64{-1}},
	}}
	l := newLayout(sig, func(string) [32]byte { return [32]byte{} })
	item := func(version string, rows int, value float64, word string) *item {
		o := &item{layout: l, rows: rows, version: version, at: time.Unix(1, 0)}
		for range rows * columns {
			o.numbers = append(o.numbers, value+float64(len(o.numbers)%columns))
		}
		for range rows {
			o.say([]byte(word))
		}
		return o
	}
	learn := newLearning(l, 1)
	newBatch(l).all(item("v1", 500, 0, "a"), learn)
	newBatch(l).all(item("v1", 500, 1, "b"), learn)
	learn.rows = 1000
	w := newWatched(scorer, l, time.Unix(0, 0))
	b, err := w.based(learn.baseline(l))
	if err != nil {
		t.Fatal(err)
	}
	origin, err := w.based(b.Baseline)
	if err != nil {
		t.Fatal(err)
	}
	w.hold(b, origin)
	w.see(item("v1", 5, 0, "a"), 3)
	w.see(item("v2", 70, 1, "b"), 3) // the window begins anew
	w.see(item("v2", 7, 0, "a"), 4)
	w.see(item("v2", 3, 0, ""), 4)
	w.count()
	s := w.windows[short]
	if s.rows[3] != 70 || s.rows[4] != 10 || s.Groups() != 1<<3|1<<4 || w.batch.n != 0 {
		t.Fatalf("rows %v of groups %b, %d wait", s.rows, s.Groups(), w.batch.n)
	}
	for f := range l.titles {
		three, four, walked := s.Total(f, 1<<4), s.Total(f, 1<<3), origin.walk[short].Total(f, 0)
		low, high, lacks := b.held[f].place(float64(f), "a"), b.held[f].place(1+float64(f), "b"), uint32(0)
		if l.titles[f].text {
			lacks = 3
		}
		if three.Bins[high] != 70 || three.Rows() != 70 || four.Bins[low] != 10-lacks || four.Nulls != lacks || four.Rows() != 10 {
			t.Errorf("%s: %v and %v", l.titles[f].name, three, four)
		}
		if walked.Bins[low] != 15-lacks || walked.Bins[high] != 70 {
			t.Errorf("%s: by the first baseline %v", l.titles[f].name, walked)
		}
	}
}

// place is where a number or a text lies.
func (r *ruler) place(x float64, text string) uint8 {
	if r.kind == drift.Category {
		return r.Categories.Place([]byte(text))
	}
	return r.Numbers.Place(x)
}
