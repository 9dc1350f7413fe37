package catalog

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// A seal that is refused leaves no file.
func TestRefusedSealsLeaveNothing(t *testing.T) {
	hours(t, func(t *testing.T, w *world) {
		w.watch(t)
		seal, err := os.ReadFile(w.sealFile(rows, w.now(t).Newest.Root))
		if err != nil {
			t.Fatal(err)
		}
		before, _ := filepath.Glob(filepath.Join(w.cfg.Dir, "*", "*"))
		other := pavise.Name{Tenant: "local", Kind: Kind, ID: "other"}
		for _, spec := range []SealSpec{{Name: other, Seal: seal, Parents: []string{"absent"}}, {Name: rows, Seal: seal}} {
			if _, err := w.Seal(t.Context(), ana, spec); err == nil {
				t.Errorf("%s is taken", spec.Name)
			}
		}
		if after, _ := filepath.Glob(filepath.Join(w.cfg.Dir, "*", "*")); len(after) != len(before) {
			t.Errorf("%v", after)
		}
	})
}

// A name in OpenLineage is one dataset's, whoever asks for it and however; the dataset may give
// it up.
func TestOneNameOneDataset(t *testing.T) {
	hours(t, func(t *testing.T, w *world) {
		w.watch(t, func(s *WatchSpec) { s.Called = "s3://lake/rows" })
		seal, err := os.ReadFile(w.sealFile(rows, w.now(t).Newest.Root))
		if err != nil {
			t.Fatal(err)
		}
		other := pavise.Name{Tenant: "local", Kind: Kind, ID: "other"}
		handed := func() error {
			_, err := w.Seal(t.Context(), ana, SealSpec{Name: other, Seal: seal, Called: "s3://lake/rows"})
			return err
		}
		watched := func(name pavise.Name, called string) error {
			_, err := w.Watch(t.Context(), ana, WatchSpec{Name: name, Place: Place{URL: "rows.csv"}, Called: called})
			return err
		}
		if err := handed(); pavise.KindOf(err) != pavise.Conflict {
			t.Errorf("a seal takes another's name: %v", err)
		}
		if err := watched(other, "s3://lake/rows"); pavise.KindOf(err) != pavise.Conflict {
			t.Errorf("a watch takes another's name: %v", err)
		}
		if err := watched(rows, "s3://lake/rows"); err != nil {
			t.Errorf("a dataset may not keep its own name: %v", err)
		}
		if err := watched(rows, "s3://lake/old"); err != nil {
			t.Fatal(err)
		}
		if err := handed(); err != nil {
			t.Errorf("a name that was given up: %v", err)
		}
	})
}

// A spell that was told, and not kept, as the process died in between, ends in the log, too:
// the same content is told when it comes again.
func TestSpellsThatWereNotKeptEnd(t *testing.T) {
	hours(t, func(t *testing.T, w *world) {
		w.watch(t)
		away := func() { w.lake.fails(errors.New("away")) }
		back := func() { w.lake.fails(nil) }
		change := func() { w.lake.pour(t, "rows.csv", "a,b\n1,2\n3,5\n") }
		for _, c := range []struct {
			begin, end func()
			between    func() // after the end, which is not seen before
			want       map[string]int
		}{
			{change, func() { w.lake.pour(t, "rows.csv", "a,b\n1,2\n3,4\n") }, func() { away(); w.pass(1); back() }, map[string]int{KindSealed: 1, KindChanged: 2, KindRestored: 1, KindUnreachable: 1, KindReachable: 1}},
			{away, back, func() {}, map[string]int{KindSealed: 1, KindChanged: 2, KindRestored: 2, KindUnreachable: 3, KindReachable: 2}},
		} {
			var doc string
			if err := w.cfg.Store.View(t.Context(), func(tx *store.Tx) error { return tx.QueryRow(`SELECT doc FROM catalog_datasets`).Scan(&doc) }); err != nil {
				t.Fatal(err)
			}
			c.begin()
			w.pass(1)
			w.stop() // and what it kept is not
			c.end()
			if err := w.cfg.Store.Update(t.Context(), func(tx *store.Tx) error {
				_, err := tx.Exec(`UPDATE catalog_datasets SET doc = ?, next = 1`, doc)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			w.run(t)
			c.between()
			w.pass(2)
			c.begin()
			w.pass(1)
			w.wantNotes(t, c.want)
			c.end()
			w.pass(1)
		}
		if s := w.now(t); s.State != StateSealed || s.Gone != 2 {
			t.Errorf("%+v", s)
		}
	})
}

// TestAskedBeforeItRuns asks for a look a moment before anything is looked at, as whoever calls a
// server that has just begun does: it waits, and is looked at.
func TestAskedBeforeItRuns(t *testing.T) {
	hours(t, func(t *testing.T, w *world) {
		w.watch(t)
		w.stop()
		early, err := Open(t.Context(), w.cfg)
		if err != nil {
			t.Fatal(err)
		}
		asked := make(chan error)
		go func() {
			_, err := early.Check(t.Context(), ana, rows, false)
			asked <- err
		}()
		synctest.Wait()
		ctx, stop := context.WithCancel(t.Context())
		ran := make(chan error)
		go func() { ran <- early.Run(ctx) }()
		if err := <-asked; err != nil {
			t.Error(err)
		}
		if v, err := early.Show(t.Context(), ana, rows); err != nil || !v.Last.Began.Equal(time.Now()) {
			t.Errorf("%+v %v", v.Last, err)
		}
		stop()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
}
