package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/lineage"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/rowseal"
	"github.com/pavise/pavise/internal/store"
)

// hours runs a test in which hours pass at once.
func hours(t *testing.T, test func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.lake.pour(t, "rows.csv", "a,b\n1,2\n3,4\n")
		test(t, w)
	})
}

// A change is told once for each new content, with its rows, and is not the dataset; when
// what was sealed lies there again, that is told, too.
func TestChangesAreTold(t *testing.T) {
	hours(t, func(t *testing.T, w *world) {
		w.watch(t)
		s := w.now(t)
		if s.State != StateSealed || len(s.Versions) != 1 || s.Versions[0].By != ana.Name() || s.Versions[0].How != "watched" || !s.Versions[0].Indexed || s.Versions[0].Rows != 3 {
			t.Fatalf("%+v", s)
		}
		first := s.Newest.Root
		w.pass(2)
		w.wantNotes(t, map[string]int{KindSealed: 1})
		w.lake.pour(t, "rows.csv", "a,b\n1,2\n3,5\n")
		w.pass(3)
		last := w.wantNotes(t, map[string]int{KindSealed: 1, KindChanged: 1})[KindChanged]
		if last.Finding.Severity != pavise.Critical || last.Finding.Summary != "rows is not what it was: the file: row 3 changed" || last.Was != first || last.Root == first || last.Differ.Files[0].Changed[0] != 3 {
			t.Errorf("%+v", last)
		}
		if s := w.now(t); s.State != StateChanged || s.Newest.Root != first || s.Found.Root != last.Root || s.Found.Would.Rows != 3 || len(s.Versions) != 1 {
			t.Errorf("%+v", s)
		}
		w.lake.pour(t, "rows.csv", "a,b\n1,2\n3,4\n5,6\n")
		w.pass(2)
		last = w.wantNotes(t, map[string]int{KindSealed: 1, KindChanged: 2})[KindChanged]
		if last.Finding.Severity != pavise.Warning || last.Was != first || last.Finding.Summary != "rows is not what it was: the file: row 4 added" {
			t.Errorf("rows that were only added: %+v", last)
		}
		w.lake.pour(t, "rows.csv", "a,b\n1,3\n3,4\n5,6\n")
		w.pass(1)
		if last = w.wantNotes(t, map[string]int{KindSealed: 1, KindChanged: 3})[KindChanged]; last.Finding.Severity != pavise.Critical {
			t.Errorf("rows that were added, and one that changed: %+v", last)
		}
		w.lake.pour(t, "rows.csv", "a,b\n1,2\n3,4\n")
		w.pass(2)
		w.wantNotes(t, map[string]int{KindSealed: 1, KindChanged: 3, KindRestored: 1})
		if s := w.now(t); s.State != StateSealed || s.Found != nil {
			t.Errorf("%+v", s)
		}
		files, err := filepath.Glob(filepath.Join(w.cfg.Dir, "*", "*"))
		if err != nil || len(files) != 2 {
			t.Errorf("what nobody needs is kept: %v, %v", files, err)
		}
		w.lake.pour(t, "rows.csv", "a,b\n1,2\n3,5\n") // the same once more is another spell
		w.pass(2)
		w.wantNotes(t, map[string]int{KindSealed: 1, KindChanged: 4, KindRestored: 1})
	})
}

// What cannot be sealed is a change, too, which nobody can accept.
func TestWhatCannotBeSealed(t *testing.T) {
	hours(t, func(t *testing.T, w *world) {
		w.watch(t)
		w.lake.pour(t, "rows.csv", "a,b\n1,2\n3\n")
		w.pass(3)
		last := w.wantNotes(t, map[string]int{KindSealed: 1, KindChanged: 1})[KindChanged]
		if !strings.Contains(last.Finding.Summary, "row 3 changed; it cannot be sealed: rows.csv, row 3: it has 1 cells") || last.Content == "" {
			t.Errorf("%+v", last)
		}
		s := w.now(t)
		if s.State != StateChanged || s.Found.Would != nil || s.Found.Why == "" {
			t.Errorf("%+v", s.Found)
		}
		if _, err := w.PlanAccept(t.Context(), rows, Acceptance{Root: strings.Repeat("0", 64)}); pavise.KindOf(err) != pavise.Conflict {
			t.Errorf("it can be accepted: %v", err)
		}
		w.lake.pour(t, "rows.csv", "a,b\n1,2\n3,4\n")
		w.pass(1)
		w.wantNotes(t, map[string]int{KindSealed: 1, KindChanged: 1, KindRestored: 1})
	})
}

// Whoever puts files there chooses their names: however long and odd these are, the change is
// told.
func TestLongNamesAreTold(t *testing.T) {
	hours(t, func(t *testing.T, w *world) {
		deep := ""
		for range 15 {
			deep = filepath.Join(deep, strings.Repeat("\x01", 250))
		}
		w.lake.pour(t, filepath.Join("big", "a.csv"), "a\n1\n")
		w.watch(t, func(s *WatchSpec) { s.Place.URL = "big" })
		for n := range 40 {
			w.lake.pour(t, filepath.Join("big", deep, fmt.Sprint(n)+".csv"), "a\n2\n3\n")
		}
		w.pass(1)
		last := w.wantNotes(t, map[string]int{KindSealed: 1, KindChanged: 1})[KindChanged]
		if n := len(last.Differ.Files); n == 0 || n+last.Differ.More != 40 || last.Finding.Severity != pavise.Critical {
			t.Errorf("%d files and %d more", n, last.Differ.More)
		}
		if _, err := w.PlanAccept(t.Context(), rows, Acceptance{Root: w.now(t).Found.Root.String()}); err != nil {
			t.Error(err)
		}
		w.lake.fails(&pavise.Error{Kind: pavise.Unavailable, Msg: strings.Repeat("\x01", 1<<20)})
		w.pass(1)
		w.wantNotes(t, map[string]int{KindSealed: 1, KindChanged: 1, KindUnreachable: 1})
	})
}

// A dataset that cannot be looked at is told of once, and once more when it can; it is tried
// again soon, and then less often.
func TestUnreachableOncePerSpell(t *testing.T) {
	hours(t, func(t *testing.T, w *world) {
		w.watch(t)
		gone := &pavise.Error{Kind: pavise.NotFound, Msg: "there is no rows.csv"}
		for n := 1; n <= 2; n++ {
			w.lake.fails(gone)
			w.pass(5)
			last := w.wantNotes(t, map[string]int{KindSealed: 1, KindUnreachable: n, KindReachable: n - 1})[KindUnreachable]
			if last.Problem != gone.Msg || last.Finding.Summary != "nobody can say what rows is now: there is no rows.csv" {
				t.Errorf("%+v", last)
			}
			if s := w.now(t); s.State != StateUnreachable || s.Newest == nil || s.Silent.Tries < 5 {
				t.Errorf("%+v", s.Silent)
			}
			w.lake.fails(nil)
			w.pass(1)
			if s := w.now(t); s.State != StateSealed || s.Silent != nil {
				t.Errorf("%+v", s)
			}
		}
	})
}

// What changes while it is read is looked at again soon; that it does so again and again is
// told.
func TestUnsettled(t *testing.T) {
	hours(t, func(t *testing.T, w *world) {
		w.watch(t)
		w.lake.fails(&pavise.Error{Kind: pavise.Conflict, Msg: "rows.csv changed while it was read"})
		for w.now(t).Silent == nil {
			time.Sleep(time.Second)
			synctest.Wait()
		}
		for tries := 1; tries < patience; tries++ {
			if s := w.now(t); s.State != StateSealed || s.Silent.Tries != tries {
				t.Errorf("after %d: %+v", tries, s)
			}
			w.wantNotes(t, map[string]int{KindSealed: 1})
			time.Sleep(unsettled)
			synctest.Wait()
		}
		if s := w.now(t); s.State != StateUnreachable {
			t.Errorf("three times: %+v", s)
		}
		w.wantNotes(t, map[string]int{KindSealed: 1, KindUnreachable: 1})
	})
}

// One look in three is full, the others are fast; full ones are in the log. They come when
// they are due, a tenth earlier or later.
func TestFullLooks(t *testing.T) {
	hours(t, func(t *testing.T, w *world) {
		w.watch(t, func(s *WatchSpec) { s.Full, s.Every = 3, 10*time.Minute })
		if full, fast := w.lake.looks(); full != 1 || fast != 0 {
			t.Fatalf("at first %d full looks and %d fast ones", full, fast)
		}
		for _, want := range []string{"fast: 1 of 3 since everything was read", "fast: 2 of 3 since everything was read", "full: one in 3 is", "fast: 1 of 3 since everything was read"} {
			before := time.Now()
			for !w.now(t).Last.Ended.After(before) {
				time.Sleep(time.Second)
				synctest.Wait()
			}
			l := w.now(t).Last
			if since := l.Began.Sub(before); since < 9*time.Minute-time.Second || since > 11*time.Minute+time.Second {
				t.Errorf("it was looked at after %v", since)
			}
			if got := map[bool]string{true: "full: ", false: "fast: "}[l.Full] + l.Why; got != want {
				t.Errorf("a look is %s, want %s", got, want)
			}
		}
		if n := w.wantNotes(t, map[string]int{KindSealed: 1, KindVerified: 1})[KindVerified]; n.Rows != 3 || !n.Full || n.Finding != nil {
			t.Errorf("%+v", n)
		}
	})
}

// Looks that were due while nobody ran are one, at once. A clock that is set back or forward
// makes nothing be looked at again and again, and nothing not at all.
func TestDueWhileDown(t *testing.T) {
	hours(t, func(t *testing.T, w *world) {
		w.watch(t)
		w.stop()
		time.Sleep(100 * time.Hour)
		w.lake.looks()
		w.run(t)
		synctest.Wait()
		if full, fast := w.lake.looks(); full != 0 || fast != 1 {
			t.Errorf("after four days: %d full looks and %d fast ones", full, fast)
		}
		for _, skew := range []time.Duration{-48 * time.Hour, 72 * time.Hour, 0} {
			w.skew.Store(int64(skew))
			time.Sleep(2 * wake)
			synctest.Wait()
			if full, fast := w.lake.looks(); full+fast > 1 || skew < 0 && fast != 1 {
				t.Errorf("with the clock %v off it is looked at %d times", skew, full+fast)
			}
			w.pass(3)
			if full, fast := w.lake.looks(); full+fast < 2 || full+fast > 4 {
				t.Errorf("with the clock %v off, it is looked at %d times in three hours", skew, full+fast)
			}
		}
	})
}

// So many are looked at beside each other as there are slots, and none waits for ever.
func TestSlots(t *testing.T) {
	hours(t, func(t *testing.T, w *world) {
		w.lake.slows(time.Minute)
		for n := range 9 {
			spec := WatchSpec{Name: pavise.Name{Tenant: "local", Kind: Kind, ID: fmt.Sprint("set", n)}, Place: Place{URL: "rows.csv"}}
			if _, err := w.Watch(t.Context(), ana, spec); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(6 * time.Minute)
		synctest.Wait()
		list, err := w.List(t.Context(), ana, StateSealed)
		if err != nil || len(list.Datasets) != 9 || w.lake.beside() != 2 {
			t.Errorf("%d of 9 are sealed, at most %d beside each other, %v", len(list.Datasets), w.lake.beside(), err)
		}
		w.lake.slows(time.Second)
		var all sync.WaitGroup
		for _, d := range list.Datasets { // people who ask take no more
			all.Go(func() {
				if _, err := w.Check(t.Context(), ana, d.Name, false); err != nil {
					t.Error(err)
				}
			})
		}
		if all.Wait(); w.lake.beside() != 2 {
			t.Errorf("%d are looked at beside each other", w.lake.beside())
		}
	})
}

// A look that was cut off goes on where it stopped, and its end is told once.
func TestCutOffLooksGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for _, name := range []string{"a.bin", "b.bin"} { // each too long to be sealed beside another
			w.lake.pour(t, filepath.Join("big", name), strings.Repeat("1,2,3,4\n", 9<<20/8))
		}
		cut := func(ctx context.Context, out string) context.Context {
			w.lake.before = nil
			ctx, cancel := context.WithCancel(ctx)
			return &cutting{ctx, cancel, out + ".journal", w}
		}
		w.lake.before = cut
		w.watch(t, func(s *WatchSpec) { s.Place.URL = "big" })
		w.stop()
		if s := w.now(t); s.State != StateChecking || s.Last != nil {
			t.Fatalf("%+v", s)
		}
		w.wantNotes(t, map[string]int{})
		w.run(t)
		synctest.Wait()
		if s := w.now(t); s.State != StateSealed || s.Last.Resumed == 0 || s.Newest.Files != 2 {
			t.Errorf("%+v, %+v", s, s.Last)
		}
		if n := w.wantNotes(t, map[string]int{KindSealed: 1})[KindSealed]; n.Resumed == 0 || w.now(t).Passes != 1 {
			t.Errorf("a look that went on is one that read everything: %+v", n)
		}
		w.lake.before = cut
		if _, err := w.Check(t.Context(), ana, rows, true); err != nil {
			t.Fatal(err)
		}
		w.stop()
		if left, _ := filepath.Glob(w.lookFile(rows) + "*"); len(left) == 0 {
			t.Fatal("nothing was cut off")
		}
		w.run(t)
		synctest.Wait()
		w.begin(rows, true) // which is asked for, and begins anew
		synctest.Wait()
		if s := w.now(t); s.Last.Resumed != 0 || s.Last.Why != "it was asked for" || s.Passes != 0 {
			t.Errorf("%+v", s.Last)
		}
	})
}

// A cutting context ends, and has the catalog stop, when the first file is sealed.
type cutting struct {
	context.Context
	cancel  func()
	journal string
	w       *world
}

func (c *cutting) Err() error {
	if info, err := os.Stat(c.journal); err == nil && info.Size() > 0 {
		c.cancel()
		c.w.cancelRun()
	}
	return c.Context.Err()
}

// A process that dies after it left a note, and before it kept that it did, leaves no second
// one.
func TestNotesAreLeftOnce(t *testing.T) {
	hours(t, func(t *testing.T, w *world) {
		w.watch(t)
		keep := func() string {
			var doc string
			if err := w.cfg.Store.View(t.Context(), func(tx *store.Tx) error { return tx.QueryRow(`SELECT doc FROM catalog_datasets`).Scan(&doc) }); err != nil {
				t.Fatal(err)
			}
			return doc
		}
		for _, change := range []func(){
			func() { w.lake.pour(t, "rows.csv", "a,b\n1,2\n3,5\n") },
			func() { w.lake.pour(t, "rows.csv", "a,b\n1,2\n3,4\n") },
			func() { w.lake.fails(errors.New("away")) },
			func() { w.lake.fails(nil) },
		} {
			was := keep()
			change()
			w.pass(1)
			w.stop()
			if err := w.cfg.Store.Update(t.Context(), func(tx *store.Tx) error {
				_, err := tx.Exec(`UPDATE catalog_datasets SET doc = ?, next = 1`, was)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			w.run(t)
			w.pass(1)
		}
		w.wantNotes(t, map[string]int{KindSealed: 1, KindChanged: 1, KindRestored: 1, KindUnreachable: 1, KindReachable: 1})
	})
}

// While nothing can be kept, that is why nobody can say how a dataset is.
func TestNothingCanBeKept(t *testing.T) {
	hours(t, func(t *testing.T, w *world) {
		w.watch(t)
		dir := w.dir(rows)
		if err := errors.Join(os.Rename(dir, dir+".away"), os.WriteFile(dir, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		w.lake.pour(t, "rows.csv", "a,b\n1,2\n3,5\n")
		w.pass(1)
		if s := w.now(t); s.State != StateUnreachable || s.Found != nil || !strings.Contains(s.Silent.Why, "a seal cannot be kept") {
			t.Errorf("%+v", s)
		}
		if err := errors.Join(os.Remove(dir), os.Rename(dir+".away", dir)); err != nil {
			t.Fatal(err)
		}
		w.pass(1)
		if s := w.now(t); s.State != StateChanged || s.Found.Root == s.Newest.Root {
			t.Errorf("%+v", s)
		}
	})
}

// While nothing can be written at all, a dataset is looked at once a minute, which is said once.
func TestNothingCanBeWritten(t *testing.T) {
	hours(t, func(t *testing.T, w *world) {
		w.watch(t)
		w.stop()
		said := 0
		w.cfg.Say = func(string, error) { said++ }
		w.run(t)
		synctest.Wait()
		exec := func(statement string) {
			t.Helper()
			if err := w.cfg.Store.Update(t.Context(), func(tx *store.Tx) error { _, err := tx.Exec(statement); return err }); err != nil {
				t.Fatal(err)
			}
		}
		exec(`CREATE TRIGGER full BEFORE UPDATE ON catalog_datasets BEGIN SELECT RAISE(ABORT, 'the disk is full'); END`)
		w.lake.slows(time.Second)
		time.Sleep(2 * time.Hour) // it is due
		w.lake.looks()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if full, fast := w.lake.looks(); full+fast < 4 || full+fast > 11 || said != 1 {
			t.Errorf("in ten minutes, it is looked at %d times, and said %d times", full+fast, said)
		}
		exec(`DROP TRIGGER full`)
		w.pass(2)
		if full, fast := w.lake.looks(); full+fast < 2 || full+fast > 4 || said != 1 {
			t.Errorf("in two hours, it is looked at %d times, and said %d times", full+fast, said)
		}
	})
}

// An index that was spoiled is made anew.
func TestSpoiledIndex(t *testing.T) {
	hours(t, func(t *testing.T, w *world) {
		w.watch(t)
		file := w.sealFile(rows, w.now(t).Newest.Root) + rowseal.IndexSuffix
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text[len(text)-20] ^= 1
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		w.pass(1)
		if s := w.now(t); s.State != StateSealed || !s.Last.Full || !strings.Contains(s.Last.Why, "a fast look cannot tell") {
			t.Errorf("%+v", s.Last)
		}
		w.pass(1)
		if s := w.now(t); s.State != StateSealed || s.Last.Full {
			t.Errorf("%+v", s.Last)
		}
	})
}

// An acceptance is of the content that was approved, with the version before it, and of a
// change alone.
func TestAccept(t *testing.T) {
	hours(t, func(t *testing.T, w *world) {
		w.watch(t)
		w.lake.pour(t, "rows.csv", "a,b\n1,2\n3,5\n")
		w.pass(1)
		ask := Acceptance{Root: strings.ToUpper(w.now(t).Found.Root.String())}
		plan, err := w.PlanAccept(t.Context(), rows, ask)
		if err != nil || len(plan.Watchers) != 1 || plan.Watchers[0] != ana.Name() || plan.Will.Root != w.now(t).Found.Root {
			t.Fatalf("%+v, %v", plan, err)
		}
		approved := ben
		approved.Change = pavise.Name{Tenant: "local", Kind: "change", ID: "approved"}
		marked := 0
		mark := func(*store.Tx) error { marked++; return nil }
		if err := w.Accept(t.Context(), ben, rows, ask, plan.Digests(), mark); pavise.KindOf(err) != pavise.Denied {
			t.Errorf("without a change: %v", err)
		}
		stale := plan.Digests()
		stale[foundDigest] = strings.Repeat("0", 64)
		if err := w.Accept(t.Context(), approved, rows, ask, stale, mark); pavise.KindOf(err) != pavise.Conflict || marked > 0 {
			t.Errorf("another content was approved: %v", err)
		}
		w.lake.pour(t, "rows.csv", "a,b\n1,2\n3,6\n")
		w.pass(1)
		if err := w.Accept(t.Context(), approved, rows, ask, plan.Digests(), mark); pavise.KindOf(err) != pavise.Conflict || marked > 0 {
			t.Errorf("another content came: %v", err)
		}
		ask.Root = w.now(t).Found.Root.String()[:8]
		if plan, err = w.PlanAccept(t.Context(), rows, ask); err != nil {
			t.Fatal(err)
		}
		if err := w.Accept(t.Context(), approved, rows, ask, plan.Digests(), func(*store.Tx) error { return errors.New("no") }); err == nil || len(w.now(t).Versions) != 1 {
			t.Errorf("without its mark it is done: %v", err)
		}
		if err := w.Accept(t.Context(), approved, rows, ask, plan.Digests(), mark); err != nil || marked != 1 {
			t.Fatal(err)
		}
		w.pass(2)
		s := w.now(t)
		if v := s.Versions; s.State != StateSealed || len(v) != 2 || v[0].Number != 2 || v[0].Root != plan.Will.Root || v[0].By != ben.Name() || v[0].Change != approved.Change || !v[0].Indexed || v[1].Number != 1 {
			t.Errorf("%+v", s)
		}
		if _, err := w.PlanAccept(t.Context(), rows, ask); pavise.KindOf(err) != pavise.Conflict {
			t.Errorf("it can be accepted twice: %v", err)
		}
	})
}

// Who is behind the program that set a watch does not decide on what is found, at the second
// acceptance no more than at the first.
func TestWhoIsBehindAWatchStays(t *testing.T) {
	hours(t, func(t *testing.T, w *world) {
		robot := pavise.Principal{Tenant: "local", Kind: pavise.Workload, ID: "robot", By: ana.Name(), Roles: []string{"operator"}}
		if _, err := w.Watch(t.Context(), robot, WatchSpec{Name: rows, Place: Place{URL: "rows.csv"}}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		approved := ben
		approved.Change = pavise.Name{Tenant: "local", Kind: "change", ID: "approved"}
		for n := range 3 {
			w.lake.pour(t, "rows.csv", fmt.Sprintf("a,b\n1,2\n3,%d\n", 5+n))
			w.pass(1)
			ask := Acceptance{Root: w.now(t).Found.Root.String()}
			plan, err := w.PlanAccept(t.Context(), rows, ask)
			if err != nil || !slices.Equal(plan.Watchers, []pavise.Name{robot.Name(), ana.Name()}) {
				t.Fatalf("before acceptance %d: %v, %v", n, plan.Watchers, err)
			}
			if err := w.Accept(t.Context(), approved, rows, ask, plan.Digests(), func(*store.Tx) error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Where nobody can say what differs, it is known that something does, and what was found can
// be accepted.
func TestWhatDiffersCannotBeSaid(t *testing.T) {
	hours(t, func(t *testing.T, w *world) {
		w.watch(t)
		w.stop()
		compare := w.cfg.Compare
		w.cfg.Compare = func(context.Context, string, string) (Differences, error) {
			return Differences{}, &pavise.Error{Kind: pavise.Unverified, Msg: "the seals are of two forms"}
		}
		w.run(t)
		w.lake.pour(t, "rows.csv", "a,b\n1,2\n3,4\n5,6\n")
		w.pass(2)
		last := w.wantNotes(t, map[string]int{KindSealed: 1, KindChanged: 1})[KindChanged]
		if last.Finding.Severity != pavise.Critical || last.Finding.Summary != "rows is not what it was: what differs cannot be said: the seals are of two forms" {
			t.Errorf("%+v", last)
		}
		s := w.now(t)
		if _, err := w.PlanAccept(t.Context(), rows, Acceptance{Root: s.Found.Root.String()}); err != nil || s.State != StateChanged {
			t.Errorf("%+v, %v", s.View, err)
		}
		w.stop()
		w.cfg.Compare = compare
		w.run(t)
		if _, err := w.Check(t.Context(), ana, rows, true); err != nil {
			t.Fatal(err)
		}
		w.wantNotes(t, map[string]int{KindSealed: 1, KindChanged: 1})
		if s := w.now(t); s.Found.Would == nil || s.Found.Differ.Why != "" || len(s.Found.Differ.Files) != 1 {
			t.Errorf("later: %+v", s.Found)
		}
	})
}

// Of a watch that is set anew, the record says in which ways it is weaker: that is a finding.
func TestWeakerWatchesAreTold(t *testing.T) {
	hours(t, func(t *testing.T, w *world) {
		w.watch(t)
		w.watch(t, func(s *WatchSpec) { s.Every, s.Full = 30*time.Minute, 12 })
		w.watch(t)
		w.lake.pour(t, "rows.csv", "a,b\n1,2\n3,5\n")
		w.pass(1)
		root := w.now(t).Found.Root.String()
		w.lake.pour(t, "other.csv", "a\n1\n")
		w.watch(t, func(s *WatchSpec) {
			s.Place = Place{URL: "other.csv", ByBlock: []string{"*"}}
			s.Every, s.Full = 744*time.Hour, 1000
		})
		var told [][]string
		for r, err := range w.cfg.Log.Select(t.Context(), ledger.Filter{Kinds: []string{"dataset.watch"}, Phase: record.Exit}, w.cfg.Log.First(), w.cfg.Log.Size()) {
			var d struct{ Loosened []string }
			if err != nil || json.Unmarshal(r.Detail, &d) != nil {
				t.Fatal(err)
			}
			told = append(told, d.Loosened)
		}
		want := [][]string{nil, nil, nil, {
			"it looks at other.csv, and no longer at rows.csv", "it seals what lies there in another way", "it looks every 744h0m0s, and no longer every 30m0s",
			"it reads everything each 1000 looks, and no longer each 12", "the content " + root + ", which was found there, is no longer shown until it is found again",
		}}
		if fmt.Sprintf("%q", told) != fmt.Sprintf("%q", want) {
			t.Errorf("%q, want %q", told, want)
		}
		plan, err := w.PlanAccept(t.Context(), rows, Acceptance{Root: w.now(t).Found.Root.String()})
		if err != nil || plan.Place.URL != "other.csv" {
			t.Errorf("%+v, %v", plan, err)
		}
	})
}

// What somebody sees under a watch that was set anew meanwhile is of no account, and neither
// is a seal that is handed over for a watched dataset.
func TestWatchesAreSetAnew(t *testing.T) {
	hours(t, func(t *testing.T, w *world) {
		w.watch(t)
		w.lake.pour(t, "other.csv", "a\n1\n")
		w.lake.slows(10 * time.Minute)
		for !w.isLooking(rows) {
			time.Sleep(time.Minute)
		}
		if _, err := w.Watch(t.Context(), ben, WatchSpec{Name: rows, Place: Place{URL: "other.csv"}, Called: "s3://lake/rows"}); err != nil {
			t.Fatal(err)
		}
		w.pass(2)
		s := w.now(t)
		if s.State != StateChanged || s.Watch.By != ben.Name() || len(s.Watchers) != 2 || s.Found.Would.Rows != 2 || s.Called != (lineage.Dataset{Namespace: "s3://lake", Name: "rows"}) {
			t.Errorf("%+v", s)
		}
		seal, err := os.ReadFile(w.sealFile(rows, s.Found.Root))
		if err != nil {
			t.Fatal(err)
		}
		spec := SealSpec{Name: rows, Seal: seal}
		if _, err := w.Seal(t.Context(), ana, spec); pavise.KindOf(err) != pavise.Conflict {
			t.Errorf("a seal is handed over: %v", err)
		}
		if _, err := w.Unwatch(t.Context(), ana, rows, "enough"); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Check(t.Context(), ana, rows, false); pavise.KindOf(err) != pavise.Conflict {
			t.Errorf("nobody watches it: %v", err)
		}
		w.lake.looks()
		w.pass(3)
		if full, fast := w.lake.looks(); full+fast > 0 {
			t.Errorf("it is looked at %d times", full+fast)
		}
		sealed, err := w.Seal(t.Context(), ana, spec)
		if err != nil || sealed.Version.Number != 2 || sealed.Same {
			t.Errorf("%+v, %v", sealed, err)
		}
	})
}

// A row is found in every version that has it, and in what lies there and is no version; of a
// seal that was handed over nobody can tell.
func TestHolding(t *testing.T) {
	hours(t, func(t *testing.T, w *world) {
		w.watch(t, func(s *WatchSpec) { s.Called = "s3://lake/rows" })
		w.lake.pour(t, "rows.csv", "a,b\n1,2\n3,5\n3,5\n")
		w.pass(1)
		s := w.now(t)
		seal, err := os.ReadFile(w.sealFile(rows, s.Newest.Root))
		if err != nil {
			t.Fatal(err)
		}
		other := pavise.Name{Tenant: "local", Kind: Kind, ID: "other"}
		if _, err := w.Seal(t.Context(), ana, SealSpec{Name: other, Seal: seal, Parents: []string{"rows", s.Newest.Root.String()}}); err != nil {
			t.Fatal(err)
		}
		for text, want := range map[string]string{"3,4": "1: 1 at 3; other", "3,5": "0: 2 at 3; other", "1,2": "1: 1 at 2; 0: 1 at 2; other", "9,9": "other"} {
			found, err := w.Holding(t.Context(), "local", leaf(text))
			if err != nil {
				t.Fatal(err)
			}
			var said []string
			for _, h := range found {
				switch {
				case h.Dataset == other && h.Unsure != "" && h.Version == 1:
					said = append([]string{"other"}, said...)
				case h.Dataset == rows && h.Unsure == "":
					said = append(said, fmt.Sprintf("%d: %d at %d", h.Version, h.Count, h.Spots[0].Row))
				}
			}
			if len(said) > 0 {
				said = append(said[1:], said[0])
			}
			if got := strings.Join(said, "; "); got != want {
				t.Errorf("%s is in %s, want %s", text, got, want)
			}
		}
		w.lake.pour(t, "rows.csv", "a,b\n1,2\n3,4\n")
		w.pass(1)
		if found, err := w.Holding(t.Context(), "local", leaf("3,5")); err != nil || len(found) != 2 || !strings.Contains(found[1].Unsure+found[0].Unsure, "in the place of rows, so many are not kept: 1, the last until ") {
			t.Errorf("what was there, and is thrown away: %+v, %v", found, err)
		}
		w.lake.pour(t, "rows.csv", "a,b\n1,2\n3\n")
		w.pass(1)
		if found, err := w.Holding(t.Context(), "local", leaf("3")); err != nil || !strings.Contains(found[0].Unsure+found[1].Unsure, "rows cannot be sealed as it lies there now") {
			t.Errorf("what cannot be sealed: %+v, %v", found, err)
		}
		if found, err := w.Holding(t.Context(), "acme", leaf("3,4")); err != nil || len(found) > 0 {
			t.Errorf("another house's: %+v, %v", found, err)
		}
		seals, err := w.Seals(t.Context(), "local")
		if err != nil || len(seals) != 1 || seals[0].Root != s.Newest.Root.String() || seals[0].Dataset.Name != "rows" || seals[0].Rows != 3 {
			t.Errorf("%+v, %v", seals, err)
		}
	})
}

// A check waits for its look, and no longer than callers do; who goes away stops nothing.
func TestCheckWaits(t *testing.T) {
	hours(t, func(t *testing.T, w *world) {
		w.watch(t)
		w.lake.slows(time.Minute)
		began := time.Now()
		v, err := w.Check(t.Context(), ana, rows, false)
		if err != nil || !v.Looking || v.State != StateSealed || time.Since(began) != waits {
			t.Errorf("after %v: %+v, %v", time.Since(began), v, err)
		}
		w.lake.slows(0)
		time.Sleep(2 * time.Minute)
		gone, cancel := context.WithCancel(t.Context())
		w.lake.slows(5 * time.Second)
		time.AfterFunc(time.Second, cancel)
		if _, err := w.Check(gone, ana, rows, true); err != nil && !errors.Is(err, context.Canceled) && pavise.KindOf(err) != pavise.Unavailable {
			t.Errorf("who went away: %v", err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if l := w.now(t).Last; !l.Full || l.Why != "it was asked for" {
			t.Errorf("%+v", l)
		}
		w.lake.slows(10 * time.Second)
		w.begin(rows, false)
		time.Sleep(time.Second)
		w.lake.fails(&pavise.Error{Kind: pavise.NotFound, Msg: "gone"}) // after that one has asked
		w.lake.slows(0)
		if v, err := w.Check(t.Context(), ana, rows, false); err != nil || v.State != StateUnreachable {
			t.Errorf("what was begun before is taken for a look of now: %+v, %v", v, err)
		}
		w.lake.fails(nil)
		w.lake.slows(time.Second) // so that they do ask at once
		var both sync.WaitGroup
		w.lake.looks()
		for range 5 {
			both.Go(func() {
				if v, err := w.Check(t.Context(), ana, rows, false); err != nil || v.State != StateSealed {
					t.Errorf("%+v, %v", v, err)
				}
			})
		}
		both.Wait()
		if full, fast := w.lake.looks(); full+fast < 1 || full+fast > 2 {
			t.Errorf("five who ask at once have it looked at %d times", full+fast)
		}
	})
}

// Watches are refused that cannot be, or are not allowed.
func TestWatchRefuses(t *testing.T) {
	hours(t, func(t *testing.T, w *world) {
		analyst := ana
		analyst.Roles = []string{"analyst"}
		good := WatchSpec{Name: rows, Place: Place{URL: "rows.csv"}, Every: time.Hour}
		for name, c := range map[string]struct {
			who  pavise.Principal
			edit func(*WatchSpec)
			kind pavise.Kind
		}{
			"too often":           {ana, func(s *WatchSpec) { s.Every = time.Second }, pavise.Invalid},
			"too seldom":          {ana, func(s *WatchSpec) { s.Every = 365 * 24 * time.Hour }, pavise.Invalid},
			"never full":          {ana, func(s *WatchSpec) { s.Full = -1 }, pavise.Invalid},
			"elsewhere":           {ana, func(s *WatchSpec) { s.Place.URL = "../rows.csv" }, pavise.Denied},
			"an endless place":    {ana, func(s *WatchSpec) { s.Place.URL = strings.Repeat("x", maxURL+1) }, pavise.Invalid},
			"called nothing":      {ana, func(s *WatchSpec) { s.Called = "rows" }, pavise.Invalid},
			"by an analyst":       {analyst, func(*WatchSpec) {}, pavise.Denied},
			"of another house":    {ana, func(s *WatchSpec) { s.Name.Tenant = "acme" }, pavise.Denied},
			"of what is no thing": {ana, func(s *WatchSpec) { s.Name.ID = "../x" }, pavise.Denied},
		} {
			spec := good
			c.edit(&spec)
			if _, err := w.Watch(t.Context(), c.who, spec); pavise.KindOf(err) != c.kind {
				t.Errorf("%s: %v, want %v", name, err, c.kind)
			}
		}
		if list, err := w.List(t.Context(), analyst, ""); err != nil || len(list.Datasets) != 0 {
			t.Errorf("%+v, %v", list, err)
		}
		if _, err := w.Unwatch(t.Context(), ana, rows, "so"); pavise.KindOf(err) != pavise.NotFound {
			t.Errorf("what is not there is watched no more: %v", err)
		}
	})
}

// leaf is the digest of a row.
func leaf(text string) rowseal.Hash { return rowseal.Hash(rowseal.LinkRoot(text)) }

// FuzzParseCalled: what is taken for a name says the same when it is written out again.
func FuzzParseCalled(f *testing.F) {
	for _, text := range []string{"s3://lake/rows", "file /srv/rows.csv", "kafka://host:9092/topic", "public/rows", "s3://", "a b c", "\x00/x", "é/ü"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := ParseCalled(text)
		if err != nil {
			return
		}
		if again, err := ParseCalled(d.String()); strings.Contains(d.Namespace, " ") || err != nil || again != d {
			t.Errorf("%q is %+v, and %q is %+v, %v", text, d, d.String(), again, err)
		}
		if _, err := json.Marshal(d); err != nil || len(d.Namespace)+1+len(d.Name) != len(text) {
			t.Errorf("%q is %+v", text, d)
		}
	})
}
