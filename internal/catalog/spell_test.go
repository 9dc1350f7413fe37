package catalog

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

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
