package catalog

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// manyRows is a file of a thousand rows, whose index has some 33 kB.
func manyRows(of string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%s,%d\n", of, i)
	}
	return b.String()
}

// bounded runs a test in which hours pass, with so many bytes for the tenant's seals and indexes.
func bounded(t *testing.T, bytes int64, test func(t *testing.T, w *world)) {
	hours(t, func(t *testing.T, w *world) {
		w.stop()
		w.cfg.Bounds.Tenant = bytes
		w.run(t)
		w.lake.pour(t, "rows.csv", manyRows("a", 1000))
		test(t, w)
	})
}

// accept makes what was found the newest version.
func (w *world) accept(t *testing.T) {
	t.Helper()
	approved := ben
	approved.Change = pavise.Name{Tenant: "local", Kind: "change", ID: "approved"}
	found := w.now(t).Found
	if found == nil {
		t.Fatalf("nothing was found: %+v", w.now(t))
	}
	ask := Acceptance{Root: found.Root.String()}
	plan, err := w.PlanAccept(t.Context(), rows, ask)
	if err == nil {
		err = w.Accept(t.Context(), approved, rows, ask, plan.Digests(), func(*store.Tx) error { return nil })
	}
	if err != nil {
		t.Fatal(err)
	}
}

// lying is how many bytes lie in the catalog's directory.
func (w *world) lying(t *testing.T) (sum int64) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(w.cfg.Dir, "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		sum += info.Size()
	}
	return sum
}

// TestOldIndexesGoFirst has a tenant with room for two indexes and a half: the oldest goes when a
// look needs its room, that is told, and the newest stays.
func TestOldIndexesGoFirst(t *testing.T) {
	const room = 90_000
	bounded(t, room, func(t *testing.T, w *world) {
		w.watch(t)
		w.lake.pour(t, "rows.csv", manyRows("b", 1000))
		w.pass(1)
		w.accept(t)
		w.wantNotes(t, map[string]int{KindSealed: 1, KindChanged: 1})
		w.lake.pour(t, "rows.csv", manyRows("c", 1000))
		w.pass(1)
		last := w.wantNotes(t, map[string]int{KindSealed: 1, KindChanged: 2, KindUnindexed: 1})[KindUnindexed]
		if f := last.Finding; last.Version != 1 || f == nil || f.Severity != pavise.Warning || !strings.Contains(f.Summary, "the rows of rows, version 1, can be asked about no more") || !strings.Contains(f.Summary, "87.9 KiB at most") {
			t.Errorf("%+v", last)
		}
		s := w.now(t)
		if v := s.Versions; v[1].Indexed || v[1].Dropped.IsZero() || !v[0].Indexed || !v[0].Dropped.IsZero() || s.State != StateChanged {
			t.Errorf("%+v", s)
		}
		if s.Kept.Dataset != w.lying(t) || s.Kept.Tenant != s.Kept.Dataset || s.Kept.All != s.Kept.Dataset || s.Kept.TenantBound != room || s.Kept.AllBound != usualAll {
			t.Errorf("%d bytes lie there: %+v", w.lying(t), s.Kept)
		}
		if found, err := w.Holding(t.Context(), "local", leaf("a,7")); err != nil || len(found) != 1 || found[0].Version != 1 || !strings.Contains(found[0].Unsure, "its index was dropped for want of room") {
			t.Errorf("%+v, %v", found, err)
		}
		w.accept(t)
		w.pass(30) // with a full look of what is the newest
		s = w.now(t)
		if v := s.Versions; s.State != StateSealed || !v[0].Indexed || v[1].Indexed || v[1].Dropped.IsZero() || !s.Last.Ended.After(v[0].At) {
			t.Errorf("%+v", s)
		}
		kept := s.Kept
		w.stop()
		w.run(t)
		if s := w.now(t); s.Kept != kept || kept.Dataset != w.lying(t) {
			t.Errorf("after a start %+v are kept, and before it %+v", s.Kept, kept)
		}
	})
}

// TestLooksAreRefusedAtTheBound has content that is too large for its room: it is not sealed, which
// is told, what was written of it is gone, and what was sealed before is as it was.
func TestLooksAreRefusedAtTheBound(t *testing.T) {
	bounded(t, 90_000, func(t *testing.T, w *world) {
		w.watch(t)
		before := w.lying(t)
		w.lake.pour(t, "rows.csv", manyRows("b", 5000))
		w.pass(1)
		last := w.wantNotes(t, map[string]int{KindSealed: 1, KindUnreachable: 1})[KindUnreachable]
		if !strings.Contains(last.Finding.Summary, "there is no room for its index: of the datasets of local ") {
			t.Errorf("%+v", last)
		}
		if s := w.now(t); s.State != StateUnreachable || !s.Newest.Indexed || w.lying(t) != before || s.Kept.Dataset != before {
			t.Errorf("%d bytes lie there, and before %d: %+v", w.lying(t), before, s)
		}
		w.lake.pour(t, "rows.csv", manyRows("a", 1000))
		w.pass(2)
		if s := w.now(t); s.State != StateSealed {
			t.Errorf("what was sealed lies there again: %+v", s)
		}
	})
}

// TestParentsKeepTheirIndex has a version that another dataset was made of: its index stays, and
// the look is refused.
func TestParentsKeepTheirIndex(t *testing.T) {
	bounded(t, 90_000, func(t *testing.T, w *world) {
		w.watch(t)
		first := w.now(t).Newest.Root
		small := filepath.Join(t.TempDir(), "seal")
		w.lake.pour(t, "small.csv", "a,b\n1,2\n")
		if _, err := w.lake.Seal(t.Context(), Place{URL: "small.csv"}, small, nil); err != nil {
			t.Fatal(err)
		}
		seal, err := os.ReadFile(small)
		if err != nil {
			t.Fatal(err)
		}
		spec := SealSpec{Name: pavise.Name{Tenant: "local", Kind: Kind, ID: "made"}, Seal: seal, Parents: []string{first.String()}}
		if _, err := w.Seal(t.Context(), ana, spec); err != nil {
			t.Fatal(err)
		}
		w.lake.pour(t, "rows.csv", manyRows("b", 1000))
		w.pass(1)
		w.accept(t)
		w.lake.pour(t, "rows.csv", manyRows("c", 1000))
		w.pass(1)
		w.wantNotes(t, map[string]int{KindSealed: 1, KindChanged: 1, KindUnreachable: 1})
		if v := w.now(t).Versions; !v[0].Indexed || !v[1].Indexed || !v[1].Dropped.IsZero() {
			t.Errorf("%+v", v)
		}
	})
}

// TestSealsAreRefusedAtTheBound has a seal handed over where there is no room for it.
func TestSealsAreRefusedAtTheBound(t *testing.T) {
	bounded(t, 100, func(t *testing.T, w *world) {
		out := filepath.Join(t.TempDir(), "seal")
		if _, err := w.lake.Seal(t.Context(), Place{URL: "rows.csv"}, out, nil); err != nil {
			t.Fatal(err)
		}
		seal, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Seal(t.Context(), ana, SealSpec{Name: rows, Seal: seal}); pavise.KindOf(err) != pavise.Unavailable || w.lying(t) != 0 {
			t.Errorf("%v, and %d bytes lie there", err, w.lying(t))
		}
	})
}

// TestShelf has two tenants: each has its own bound, and both together another one.
func TestShelf(t *testing.T) {
	s := newShelf(Bounds{Tenant: 100, All: 150})
	one, two := pavise.Name{Tenant: "one", Kind: Kind, ID: "a"}, pavise.Name{Tenant: "two", Kind: Kind, ID: "a"}
	for _, step := range []struct {
		name pavise.Name
		n    int64
		full string
	}{
		{one, 60, ""}, {one, 41, "of the datasets of one 60 bytes are kept, and 100 bytes at most"}, {one, 40, ""},
		{two, 51, "of all datasets 100 bytes are kept, and 150 bytes at most"}, {two, 50, ""}, {two, 1, "of all datasets 150 bytes are kept, and 150 bytes at most"},
	} {
		if got := s.take(step.name, step.n); got != step.full {
			t.Errorf("%d bytes of %s: %q, want %q", step.n, step.name, got, step.full)
		}
	}
	s.set(one, 10)
	if k := s.kept(two); k != (Kept{50, 50, 100, 60, 150}) {
		t.Errorf("%+v", k)
	}
}
