package gate

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pavise/pavise"
)

// TestStorm has many bring the same batches and others at once, while people look, release,
// discard and revise: each batch counts once, and positions are those of the output.
func TestStorm(t *testing.T) {
	w := newWorld(t)
	w.put(t, Spec{Contract: []byte(promise), Templates: "amount", Learn: 5, NewShare: 1})
	var group sync.WaitGroup
	verdicts := map[string]int{}
	var mu sync.Mutex
	for writer := range 6 {
		group.Go(func() {
			for i := range 12 {
				body := good(i*10, 3)
				if i%4 == 3 {
					body = fmt.Sprintf(`{"id":%d,"amount":-1}`+"\n", i)
				}
				r, err := w.Admit(t.Context(), pusher, rows, Batch{ID: fmt.Sprint(i), Form: FormNDJSON, Body: []byte(body), Writer: fmt.Sprint(writer)})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				verdicts[r.Verdict]++
				mu.Unlock()
			}
		})
	}
	group.Go(func() {
		for range 10 {
			if _, err := w.List(t.Context(), operator); err != nil {
				t.Error(err)
			}
			held, err := w.Held(t.Context(), operator, rows, "")
			if err != nil {
				t.Error(err)
			}
			for i, h := range held.Held {
				if i%2 == 0 {
					_, err = w.Discard(t.Context(), operator, rows, h.SHA256, "storm")
				} else {
					err = w.Release(t.Context(), approved(operator), rows, h.SHA256, nil)
				}
				if err != nil && pavise.KindOf(err) != pavise.NotFound {
					t.Error(err)
				}
			}
			w.tend(t.Context())
		}
	})
	group.Wait()
	if verdicts[Admitted] != 9 || verdicts[Held] != 3 || verdicts[Repeated] != 60 {
		t.Errorf("verdicts %v", verdicts)
	}
	got := w.output(t)
	sorted := slices.Sorted(slices.Values(got))
	if len(slices.Compact(sorted)) != len(got) || len(got) < 9 {
		t.Errorf("the output has %d batches, some of them twice: %q", len(got), got)
	}
	s, err := w.Show(t.Context(), operator, rows)
	if err != nil || s.Admitted != len(got) || s.Position != uint64(len(got)) {
		t.Errorf("%d count, the last at %d, and %d are there: %v", s.Admitted, s.Position, len(got), err)
	}
	if n := strings.Count(strings.Join(got, ""), "\n"); n < 27 {
		t.Errorf("%d rows", n)
	}
}
