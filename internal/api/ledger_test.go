package api

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/record"
)

// fill writes n records of a kind.
func (w *world) fill(t *testing.T, kind string, n int) {
	t.Helper()
	const writers = 64
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for range n/writers + min(1, max(0, n%writers-i)) {
				if _, err := w.Log.Append(t.Context(), &record.Record{Kind: kind, Phase: record.Note, Tenant: "local", At: time.Now().UTC()}, ledger.Written); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestListIsBounded looks for rare records in a long log, both ways, and goes on
// where it is told to.
func TestListIsBounded(t *testing.T) {
	w := newWorld(t)
	analyst := w.client(t, "analyst")
	w.fill(t, "test.rare", 1)
	rare := w.Log.Size() - 1
	w.fill(t, "test.noise", maxLooked+stride/2)
	list := func(req ListRequest) (answer ListAnswer) {
		t.Helper()
		if err := analyst.Call(t.Context(), "ledger.list", req, &answer); err != nil {
			t.Fatal(err)
		}
		return answer
	}
	back := list(ListRequest{Kind: "test.rare"})
	if len(back.Events) != 0 || back.Reached == nil || *back.Reached != back.Size-maxLooked || back.Next != nil {
		t.Errorf("backwards: %+v", back)
	}
	after := uint64(0)
	if a := list(ListRequest{Kind: "test.rare", After: &after}); len(a.Events) != 1 || a.Events[0].Index != rare || a.Next == nil || *a.Next != maxLooked || a.Reached != nil {
		t.Errorf("forwards: %d events, next %v", len(a.Events), a.Next)
	} else if rest := list(ListRequest{Kind: "test.rare", After: a.Next}); len(rest.Events) != 0 || rest.Next != nil {
		t.Errorf("going on: %+v", rest)
	}
	if a := list(ListRequest{Kind: "test.rare", After: &rare}); len(a.Events) != 1 {
		t.Errorf("from the record on: %+v", a)
	}
}

// TestListPages walks a log of a few strides by pages of every sort of size, and
// holds the newest against the end of the walk.
func TestListPages(t *testing.T) {
	w := newWorld(t)
	w.fill(t, "test.a", 700)
	var mixed sync.WaitGroup
	mixed.Go(func() { w.fill(t, "test.b", 700) })
	mixed.Go(func() { w.fill(t, "test.a", 900) })
	mixed.Wait()
	size := w.Log.Size()
	for _, kind := range []string{"test.a", "test.b", ""} {
		l := listing{log: w.Log, size: size, matches: func(r record.Record) bool { return kind == "" || r.Kind == kind }}
		var want []uint64
		for i, r := range w.Log.Records(0, size) {
			if l.matches(r) {
				want = append(want, i)
			}
		}
		for _, l.limit = range []int{1, 7, 500, 1000} {
			if l.limit == 1 && kind != "test.b" {
				continue // long, and nothing new
			}
			var got []uint64
			for next := new(uint64); next != nil; {
				a, err := l.forward(t.Context(), *next)
				if err != nil || len(a.Events) > l.limit || a.Next != nil && *a.Next <= *next {
					t.Fatalf("%q by %d: %d events, next %v, %v", kind, l.limit, len(a.Events), a.Next, err)
				}
				got, next = append(got, indexes(a)...), a.Next
			}
			if !slices.Equal(got, want) {
				t.Errorf("%q by %d: %d records, want %d", kind, l.limit, len(got), len(want))
			}
			newest, err := l.back(t.Context())
			if err != nil || newest.Reached != nil || !slices.Equal(indexes(newest), want[len(want)-min(len(want), l.limit):]) {
				t.Errorf("the newest %d of %q: %v, %v, %v", l.limit, kind, indexes(newest), newest.Reached, err)
			}
		}
	}
}

func indexes(a ListAnswer) (list []uint64) {
	for _, e := range a.Events {
		list = append(list, e.Index)
	}
	return list
}

// TestListStops is called by somebody who went away.
func TestListStops(t *testing.T) {
	w := newWorld(t)
	w.fill(t, "test.noise", 3)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	l := listing{log: w.Log, limit: 5, size: w.Log.Size(), matches: func(record.Record) bool { return true }}
	if a, err := l.back(gone); err != nil || len(a.Events) != 0 || a.Reached == nil || *a.Reached != l.size {
		t.Errorf("backwards: %+v, %v", a, err)
	}
	if a, err := l.forward(gone, 1); err != nil || len(a.Events) != 0 || a.Next == nil || *a.Next != 1 {
		t.Errorf("forwards: %+v, %v", a, err)
	}
	if a, err := l.forward(t.Context(), 1<<63); err != nil || len(a.Events) != 0 || a.Next != nil {
		t.Errorf("from far behind the end: %+v, %v", a, err)
	}
}

// TestStatusKeys holds the answer to its documented keys.
func TestStatusKeys(t *testing.T) {
	w := newWorld(t)
	var answer map[string]any
	if err := w.client(t, "analyst").Call(t.Context(), "ledger.status", Empty{}, &answer); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"origin", "key", "fingerprint", "records", "signed", "published", "protection", "segments", "bytes", "full"} {
		if _, ok := answer[key]; !ok {
			t.Errorf("no %s in %v", key, answer)
		}
	}
	if answer["origin"] != "test/api" || answer["records"].(float64) < 3 || len(answer) != 10 || answer["protection"] != "software" {
		t.Errorf("%v", answer)
	}
}
