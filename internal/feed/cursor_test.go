package feed

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/store"
)

// wantError holds an error against a kind and a word, and wants a hint.
func wantError(t *testing.T, err error, kind pavise.Kind, msg string) {
	t.Helper()
	e, ok := errors.AsType[*pavise.Error](err)
	if !ok || e.Kind != kind || !strings.Contains(e.Msg, msg) || e.Hint == "" {
		t.Errorf("error %v, want %s %q and a hint", err, kind, msg)
	}
}

// TestBegin makes a cursor once, finds it again as it was, and refuses another wish
// under the same name.
func TestBegin(t *testing.T) {
	f := world(t, 10)
	berlin := time.FixedZone("", 7200)
	filter := ledger.Filter{Tenant: "acme", Kinds: []string{"model", "route.put"}, Since: testTime.In(berlin)}
	c, err := f.Begin(t.Context(), "acme", "x", filter, 4)
	if err != nil || c.Next != 4 || c.Name != "x" || c.Tenant != "acme" || !c.Moved.Equal(testTime) {
		t.Fatalf("%+v, %v", c, err)
	}
	again, err := f.Begin(t.Context(), "acme", "x", filter, 7)
	if err != nil || again.Next != 4 || again.Filter.Kinds[1] != "route.put" || !again.Filter.Since.Equal(testTime) {
		t.Errorf("again: %+v, %v", again, err)
	}
	_, err = f.Begin(t.Context(), "acme", "x", ledger.Filter{}, 4)
	wantError(t, err, pavise.Conflict, "wants other records: those of kind model or route.put, since 2026-05-04T0")
	if other, err := f.Begin(t.Context(), "other", "x", ledger.Filter{}, 0); err != nil || other.Next != 0 {
		t.Errorf("another tenant's: %+v, %v", other, err)
	}
}

// TestBeginRefuses names that are none, and places that the log has not signed; nothing
// of it is kept, so that a mistake holds no name and no pruning up.
func TestBeginRefuses(t *testing.T) {
	f := world(t, 10)
	for _, name := range []string{"", ".", "a/b", "a b", "ä", "x\x00", strings.Repeat("x", 129)} {
		_, err := f.Begin(t.Context(), "acme", name, ledger.Filter{}, 0)
		wantError(t, err, pavise.Invalid, "no name of a follower")
	}
	if _, err := f.Begin(t.Context(), "", "x", ledger.Filter{}, 0); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("without a tenant: %v", err)
	}
	_, err := f.Begin(t.Context(), "acme", "x", ledger.Filter{}, 11)
	wantError(t, err, pavise.Invalid, "would begin at 11")
	if _, ok, err := f.Oldest(t.Context()); ok || err != nil {
		t.Errorf("something was kept, error %v", err)
	}
	if c, err := f.Begin(t.Context(), "acme", "x", ledger.Filter{}, 10); err != nil || c.Next != 10 {
		t.Errorf("at the end: %+v, %v", c, err)
	}
}

// TestBeginAtOnce has many begin under one name: there is one cursor, where the first
// of them wanted it.
func TestBeginAtOnce(t *testing.T) {
	f := world(t, 20)
	var mu sync.Mutex
	got := map[uint64]bool{}
	var wg sync.WaitGroup
	for i := range uint64(16) {
		wg.Go(func() {
			c, err := f.Begin(t.Context(), "acme", "x", ledger.Filter{}, i)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			got[c.Next] = true
		})
	}
	wg.Wait()
	if len(got) != 1 {
		t.Errorf("they begin at %v", got)
	}
}

// TestCursorsAreBounded takes 256 followers of a tenant, and of the next tenant too.
func TestCursorsAreBounded(t *testing.T) {
	f := world(t, 1)
	for i := range maxCursors {
		if _, err := f.Begin(t.Context(), "acme", fmt.Sprint("f", i), ledger.Filter{}, 0); err != nil {
			t.Fatal(err)
		}
	}
	_, err := f.Begin(t.Context(), "acme", "more", ledger.Filter{}, 0)
	wantError(t, err, pavise.Conflict, "has 256 followers already")
	if _, err := f.Begin(t.Context(), "acme", "f7", ledger.Filter{}, 0); err != nil {
		t.Errorf("one of them again: %v", err)
	}
	if _, err := f.Begin(t.Context(), "other", "more", ledger.Filter{}, 0); err != nil {
		t.Errorf("another tenant's: %v", err)
	}
	if err := f.Drop(t.Context(), "acme", "f0"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Begin(t.Context(), "acme", "more", ledger.Filter{}, 0); err != nil {
		t.Errorf("in the place of another: %v", err)
	}
}

// TestAcknowledge moves a cursor on and never back, as far as records are signed, and
// only that of the tenant who asks.
func TestAcknowledge(t *testing.T) {
	f := world(t, 10)
	for _, tenant := range []string{"acme", "other"} {
		if _, err := f.Begin(t.Context(), tenant, "x", ledger.Filter{}, 2); err != nil {
			t.Fatal(err)
		}
	}
	for _, next := range []uint64{5, 3, 0, 5} {
		err := f.Acknowledge(t.Context(), "acme", "x", next)
		if next < 5 {
			wantError(t, err, pavise.Conflict, "is at 5 already, and does not go back")
		} else if err != nil {
			t.Fatal(err)
		}
		if got := cursorOf(t, f, "x").Next; got != 5 {
			t.Errorf("after %d the cursor is at %d, want 5", next, got)
		}
	}
	wantError(t, f.Acknowledge(t.Context(), "acme", "x", 11), pavise.Invalid, "has 10 signed records, and 11")
	wantError(t, f.Acknowledge(t.Context(), "acme", "y", 1), pavise.NotFound, "has no follower y")
	wantError(t, f.Acknowledge(t.Context(), "nobody", "x", 1), pavise.NotFound, "has no follower x")
	if err := f.Acknowledge(t.Context(), "acme", "x", 10); err != nil {
		t.Error(err)
	}
	if other, err := f.Begin(t.Context(), "other", "x", ledger.Filter{}, 0); err != nil || other.Next != 2 {
		t.Errorf("the other tenant's cursor: %+v, %v", other, err)
	}
}

// TestDrop forgets a follower, that tenant's only: one of its name begins anew.
func TestDrop(t *testing.T) {
	f := world(t, 10)
	for _, tenant := range []string{"acme", "other"} {
		if _, err := f.Begin(t.Context(), tenant, "x", ledger.Filter{}, 6); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Drop(t.Context(), "acme", "x"); err != nil {
		t.Fatal(err)
	}
	wantError(t, f.Drop(t.Context(), "acme", "x"), pavise.NotFound, "has no follower x")
	if c, err := f.Begin(t.Context(), "acme", "x", ledger.Filter{Kinds: []string{"route"}}, 1); err != nil || c.Next != 1 {
		t.Errorf("anew: %+v, %v", c, err)
	}
	if c, err := f.Begin(t.Context(), "other", "x", ledger.Filter{}, 0); err != nil || c.Next != 6 {
		t.Errorf("the other tenant's: %+v, %v", c, err)
	}
}

// TestBacklogs says of each follower how many records it wants and has not done with,
// and how old the oldest of them is.
func TestBacklogs(t *testing.T) {
	f := world(t, 0)
	add(t, f.log, 10, "acme", "model.infer")
	add(t, f.log, 3, "acme", "route.put")
	f.now = func() time.Time { return testTime.Add(time.Hour) }
	for name, b := range map[string]struct {
		kinds []string
		next  uint64
	}{"all": {nil, 4}, "routes": {[]string{"route"}, 0}, "done": {nil, 13}, "idle": {[]string{"nobody.home"}, 0}} {
		if _, err := f.Begin(t.Context(), "acme", name, ledger.Filter{Kinds: b.kinds}, b.next); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.Begin(t.Context(), "other", "theirs", ledger.Filter{}, 0); err != nil {
		t.Fatal(err)
	}
	got, err := f.Backlogs(t.Context(), "acme")
	if err != nil || len(got) != 4 {
		t.Fatalf("%+v, %v", got, err)
	}
	for i, want := range []struct {
		name   string
		next   uint64
		behind uint64
		lag    time.Duration
	}{{"all", 4, 9, time.Hour - 4*time.Second}, {"done", 13, 0, 0}, {"idle", 0, 0, 0}, {"routes", 0, 3, time.Hour}} {
		if b := got[i]; b.Name != want.name || b.Next != want.next || b.Behind != want.behind || b.Lag != want.lag {
			t.Errorf("%+v, want %+v", b, want)
		}
	}
	f.now = func() time.Time { return testTime.Add(-time.Hour) } // set back
	if got, err := f.Backlogs(t.Context(), "acme"); err != nil || got[0].Lag != 0 {
		t.Errorf("before the records, the lag is %s, error %v", got[0].Lag, err)
	}
	if none, err := f.Backlogs(t.Context(), "nobody"); err != nil || len(none) != 0 {
		t.Errorf("of nobody: %+v, %v", none, err)
	}
}

// TestOldest is the least of all cursors, of whatever tenant, and none without any.
func TestOldest(t *testing.T) {
	f := world(t, 10)
	if next, ok, err := f.Oldest(t.Context()); next != 0 || ok || err != nil {
		t.Errorf("of nobody: %d, %v, %v", next, ok, err)
	}
	for i, tenant := range []string{"acme", "other", "third"} {
		if _, err := f.Begin(t.Context(), tenant, "x", ledger.Filter{}, uint64(7-2*i)); err != nil {
			t.Fatal(err)
		}
	}
	if next, ok, err := f.Oldest(t.Context()); next != 3 || !ok || err != nil {
		t.Errorf("%d, %v, %v, want 3", next, ok, err)
	}
	if err := f.Acknowledge(t.Context(), "third", "x", 9); err != nil {
		t.Fatal(err)
	}
	if next, ok, err := f.Oldest(t.Context()); next != 5 || !ok || err != nil {
		t.Errorf("%d, %v, %v, want 5", next, ok, err)
	}
}

// TestEffectAndCursorAreOne makes the move of the cursor impossible: the effect, which
// came first, is undone with it.
func TestEffectAndCursorAreOne(t *testing.T) {
	f := world(t, 10)
	err := f.db.Migrate(t.Context(), "hinder", []string{`CREATE TRIGGER hinder_move BEFORE UPDATE ON feed_cursors WHEN new.next > 5 BEGIN SELECT raise(ABORT, 'hindered'); END`})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.CatchUp(t.Context(), "acme", "x", ledger.Filter{}, noting("x")); err == nil || !strings.Contains(err.Error(), "hindered") {
		t.Errorf("CatchUp: %v", err)
	}
	if got, at := noted(t, f.db, "x"), cursorOf(t, f, "x").Next; len(got) != 0 || at != 0 {
		t.Errorf("%d records are noted, and the cursor is at %d", len(got), at)
	}
	if err := f.db.Update(t.Context(), func(tx *store.Tx) error { _, err := tx.Exec("DROP TRIGGER hinder_move"); return err }); err != nil {
		t.Fatal(err)
	}
	if err := f.CatchUp(t.Context(), "acme", "x", ledger.Filter{}, noting("x")); err != nil {
		t.Fatal(err)
	}
	if got := noted(t, f.db, "x"); len(got) != 10 {
		t.Errorf("%d records are noted, want 10", len(got))
	}
}
