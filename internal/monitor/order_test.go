package monitor

import (
	"context"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// stored is what the state database has of the model beside its baselines.
func (w *world) stored() (doc string) {
	w.t.Helper()
	if err := w.db.View(w.t.Context(), func(tx *store.Tx) error { return tx.QueryRow(`SELECT doc FROM monitor_models`).Scan(&doc) }); err != nil {
		w.t.Fatal(err)
	}
	return doc
}

// TestOrdersNobodyApproved: an order to learn that somebody wrote into the store, changed or put
// back is told, and nothing is learnt by it.
func TestOrdersNobodyApproved(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rows int // of an order that others approved
		do   func(w *world, ordered string)
	}{
		"written": {0, func(w *world, _ string) {
			w.exec(`UPDATE monitor_models SET doc = json_set(doc, '$.wait', json('{"rows":500,"anew":true}'))`)
		}},
		"changed":  {100_000, func(w *world, _ string) { w.exec(`UPDATE monitor_models SET doc = json_set(doc, '$.wait.rows', 500)`) }},
		"put back": {600, func(w *world, ordered string) { w.exec(`UPDATE monitor_models SET doc = ?`, ordered) }},
	} {
		in(t, func(t *testing.T) {
			w := newWorld(t)
			w.learn()
			ordered := ""
			if c.rows > 0 {
				if err := w.approved(Ask{Learn: c.rows}); err != nil {
					t.Fatal(err)
				}
				ordered = w.stored()
				w.windows(2)
			}
			is, learnt := w.stands().Baseline, len(w.notes(KindLearned))
			w.stop()
			c.do(w, ordered)
			w.run()
			w.shift = func(_ int, row []float64) { row[0] += 1 }
			w.windows(3)
			if v := w.stands(); v.Baseline != is || len(w.notes(KindLearned)) != learnt || len(w.notes(KindSwapped)) != 1 {
				t.Errorf("%s: %s was in force, and is %s; learnt %d times before, and %d; %v", name, is, v.Baseline, learnt, len(w.notes(KindLearned)), w.notes(KindSwapped))
			}
		})
	}
}

// TestOrderStays: what others had be learnt is, though another version begins to answer, or is given
// its own baseline, and the process is killed.
func TestOrderStays(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.learn()
		is := w.stands().Baseline
		file := w.inForce()
		file.Rows++
		if err := w.approved(Ask{Learn: 1500}); err != nil {
			t.Fatal(err)
		}
		if err := w.approved(Ask{File: file.Text(), Version: "v3"}); err != nil {
			t.Fatal(err)
		}
		w.version = "v2"
		w.windows(1) // it inherits
		killed := w.stop
		w.run()
		next := w.stop
		w.windows(3)
		if v := w.stands(); v.Baseline == is || len(w.notes(KindSwapped)) > 0 {
			t.Errorf("%+v, %v", v, w.notes(KindSwapped))
		}
		next()
		killed()
	})
}

// TestBaselineOfWhatWas: a model takes something else between a plan and its act: the baseline does
// not hold; and where it does so between the book and what is watched, the book is the new one's.
func TestBaselineOfWhatWas(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.learn()
		ctx, none := context.Background(), func(*store.Tx) error { return nil }
		_, was, b, err := w.plan(onIt, Ask{Model: scorer, File: w.inForce().Text()})
		if err != nil {
			t.Fatal(err)
		}
		w.mu.Lock()
		live := newWatched(scorer, was.layout, w.cfg.Now())
		live.book, live.texts = was.book, was.texts
		w.models[scorer] = live
		w.mu.Unlock()
		if err := w.install(ctx, was, b, "v1", false, none); pavise.KindOf(err) != pavise.Conflict {
			t.Errorf("put: %v", err)
		}
		if err := w.order(ctx, was, Ask{Model: scorer, Learn: 600}, none); pavise.KindOf(err) != pavise.Conflict {
			t.Errorf("ordered: %v", err)
		}
		w.mu.Lock()
		next := w.draft(was)
		w.mu.Unlock()
		w.writing.Lock()
		err = w.put(ctx, was, next, next.Texts(was.texts), none)
		w.writing.Unlock()
		if err != nil || live.book != next {
			t.Errorf("the book is number %d, and not %d: %v", live.book.Serial, next.Serial, err)
		}
	})
}
