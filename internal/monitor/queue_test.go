package monitor

import (
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/tensor"
)

// TestRoomsOfLongOnes has exchanges of middling length come behind long ones: they count for about
// what they are, and not for the rooms that the long ones left.
func TestRoomsOfLongOnes(t *testing.T) {
	m := &Monitor{queue: newQueue(func(pavise.Name, string) [32]byte { return [32]byte{} })}
	long, middling := wide(380, 40), wide(16, 40)
	middling.Signature = long.Signature
	const n = 20
	for range n {
		m.Hear(long)
	}
	for range n {
		m.queue.free(<-m.queue.items)
	}
	m.Hear(middling)
	o := <-m.queue.items
	one := int64(len(o.numbers))
	m.queue.free(o)
	for range n {
		m.Hear(middling)
	}
	if held := m.queue.held.Load(); one == 0 || held > 4*n*one {
		t.Errorf("%d exchanges of %d numbers count for %d", n, one, held)
	}
}

// TestSeatBySignature finds the seat of a model by what it takes and gives: also where two models
// share that, where a route has another, and where a model has left.
func TestSeatBySignature(t *testing.T) {
	q := newQueue(func(pavise.Name, string) [32]byte { return [32]byte{} })
	one, two := wide(1, 4).Signature, wide(1, 5).Signature
	a, b := pavise.Name{Tenant: "t", Kind: scorer.Kind, ID: "a"}, pavise.Name{Tenant: "t", Kind: scorer.Kind, ID: "b"}
	for range 3 {
		for _, at := range []struct {
			model     pavise.Name
			signature *tensor.Signature
		}{{a, one}, {b, one}, {a, one}, {a, two}, {b, two}, {a, one}} {
			s := q.seat(&Exchange{Model: at.model, Signature: at.signature})
			if s.model != at.model || s.signature != at.signature || q.seats[at.model] != s {
				t.Fatalf("%s of %p has the seat of %s of %p", at.model, at.signature, s.model, s.signature)
			}
		}
		q.leave(a)
		if s := (*q.near.Load())[one]; s != nil && s.model == a {
			t.Fatal("who left has a seat still")
		}
		q.seat(&Exchange{Model: a, Signature: one}).heard.Add(1)
	}
	if heard, _ := q.counted(a); heard != 1 {
		t.Errorf("of the last seat %d are counted", heard)
	}
}

// TestTextsOfAnyLength takes over texts that are their words, and those that are not, and none.
func TestTextsOfAnyLength(t *testing.T) {
	e := words(40, 2)
	for i := range e.Asked.Inputs[1].Data.Bytes {
		e.Asked.Inputs[1].Data.Bytes[i] = []byte(strings.Repeat("xyz", 110)[:i*8])
	}
	l := newLayout(e.Signature, func(string) [32]byte { return [32]byte{} })
	o := &item{layout: l, rows: 38}
	o.copy(&e, 40, 2)
	for c := range l.ports[:2] {
		p := &l.ports[c]
		for row := range o.rows {
			want := e.Asked.Inputs[c].Data.Bytes[row+2]
			if want = want[:min(len(want), oneText)]; string(o.text(nil, o.word(p, row, 0))) != string(want) {
				t.Errorf("port %d, row %d: it has %q, and not %q", c, row, o.text(nil, o.word(p, row, 0)), want)
			}
		}
	}
	e.Asked.Inputs = e.Asked.Inputs[:1]
	o = &item{layout: l, rows: 40}
	if o.copy(&e, 40, 0); o.word(&l.ports[1], 39, 0).Size != 0 {
		t.Error("a port that is not there has a text")
	}
}
