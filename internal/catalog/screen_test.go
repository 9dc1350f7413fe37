package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/poison"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/rowseal"
	"github.com/pavise/pavise/internal/store"
)

// judges has screenings judged so.
func (w *world) judges(judge func(ctx context.Context, ask ToScreen) (Judged, *Report, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.judge = judge
}

// asked are the screenings that were begun since it was asked last.
func (w *world) asked() []ToScreen {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.judged
	w.judged = nil
	return all
}

// stuck judges nothing before it is stopped.
func stuck(ctx context.Context, ask ToScreen) (Judged, *Report, error) {
	ask.Say("3 of 10 screens done …")
	ctx, cancel := context.WithTimeout(ctx, ask.Time)
	defer cancel()
	<-ctx.Done()
	return Judged{}, nil, ctx.Err()
}

// suspects finds two rows.
func suspects(context.Context, ToScreen) (Judged, *Report, error) {
	return Judged{Rows: 2, Columns: 1, Quarantine: 2, Screens: []poison.Outcome{{Screen: "labels", Found: 2, Remarks: []string{"a remark"}}}}, &Report{
		Rows: []Suspect{{File: "rows.csv", Row: 3, Score: 2, Digest: "d", Reasons: []poison.Reason{}}}, Quarantine: []string{"d", "e"},
	}, nil
}

// screen asks for a screening as ana, and returns what came of it once nothing happens any more.
func (w *world) screen(t *testing.T, edit ...func(*ScreenSpec)) Reported {
	t.Helper()
	spec := ScreenSpec{Name: rows, Terms: Terms{Label: "b"}}
	for _, e := range edit {
		e(&spec)
	}
	if _, err := w.Screen(t.Context(), ana, spec); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	return w.reported(t)
}

func (w *world) reported(t *testing.T) Reported {
	t.Helper()
	r, err := w.Report(t.Context(), ana, rows, 0)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// screenNotes are the notes on screenings that the log has.
func (w *world) screenNotes(t *testing.T) (all []ScreenNoted) {
	t.Helper()
	log := w.cfg.Log
	for r, err := range log.Select(t.Context(), ledger.Filter{Kinds: []string{KindScreened, KindUnscreened}, Phase: record.Note}, log.First(), log.Size()) {
		if err != nil {
			t.Fatal(err)
		}
		var n ScreenNoted
		if err := json.Unmarshal(r.Detail, &n); err != nil {
			t.Fatal(err)
		}
		all = append(all, n)
	}
	return all
}

// What a screening finds is kept with the content that it judged, and is a finding; it says
// nothing of another content, which is screened for itself.
func TestScreeningIsOfOneContent(t *testing.T) {
	hours(t, func(t *testing.T, w *world) {
		w.watch(t)
		if _, err := w.Report(t.Context(), ana, rows, 0); pavise.KindOf(err) != pavise.NotFound {
			t.Errorf("a report on what was never screened: %v", err)
		}
		w.judges(suspects)
		first := w.screen(t)
		s, root := first.Screening, w.now(t).Newest.Root
		if s.State != ScreenSuspect || s.Root != root || s.Version != 1 || s.By != ana.Name() || s.Begins != 1 || first.Report == nil || len(first.Report.Rows) != 1 || first.Report.Rows[0].Row != 3 {
			t.Fatalf("%+v", first)
		}
		notes := w.screenNotes(t)
		if len(notes) != 1 || notes[0].Finding == nil || notes[0].Finding.Summary != "of rows, version 1, 2 of 2 rows look poisoned" || notes[0].Report != s.Report || len(notes[0].Judged.Screens) != 1 || notes[0].Judged.Screens[0].Remarks != nil {
			t.Errorf("%+v", notes)
		}
		w.lake.pour(t, "rows.csv", "a,b\n1,2\n3,5\n")
		w.pass(1)
		w.judges(nil)
		second := w.screen(t, func(s *ScreenSpec) { s.Baseline = 1 })
		found := w.now(t).Found
		if s := second.Screening; s.State != ScreenUnscreened || !strings.Contains(s.Problem, "no row of version 1 lies there any more") {
			t.Errorf("a baseline of which nothing is left: %+v", s)
		}
		if again := w.screen(t).Screening; again.State != ScreenClean || again.Root != found.Root || again.Version != 0 {
			t.Errorf("%+v", again)
		}
		old, err := w.Report(t.Context(), ana, rows, 1)
		if err != nil || old.Screening.State != ScreenSuspect || old.Screening.Root != root {
			t.Errorf("what was said of version 1: %+v, %v", old, err)
		}
		if shown := w.now(t).Screening; shown == nil || shown.Root != found.Root || shown.State != ScreenClean {
			t.Errorf("it is shown as %+v", shown)
		}
		plan, err := w.PlanAccept(t.Context(), rows, Acceptance{Root: found.Root.String()})
		if err != nil || plan.Screening == nil || plan.Screening.State != ScreenClean {
			t.Errorf("who approves sees %+v, %v", plan.Screening, err)
		}
		if got := w.asked(); got[len(got)-2].Baseline != w.sealFile(rows, root) || got[len(got)-1].Baseline != "" {
			t.Errorf("%+v", got)
		}
		w.lake.pour(t, "rows.csv", "a,b\n1,2\n3,4\n") // what was found is gone, and what was said of it
		w.pass(1)
		if shown := w.now(t).Screening; shown == nil || shown.Root != root {
			t.Errorf("it is shown as %+v", shown)
		}
		files, err := filepath.Glob(filepath.Join(w.cfg.Dir, "*", "*.report"))
		if err != nil || len(files) != 1 {
			t.Errorf("reports that nobody needs are kept: %v, %v", files, err)
		}
		if err := os.WriteFile(files[0], []byte(`{"rows":[]}`), 0o600); err != nil {
			t.Fatal(err)
		}
		if r, err := w.Report(t.Context(), ana, rows, 1); pavise.KindOf(err) != pavise.Unverified {
			t.Errorf("a report that somebody wrote: %+v, %v", r, err)
		}
	})
}

// TestScreenRefuses: each of these is refused, and nothing is screened.
func TestScreenRefuses(t *testing.T) {
	hours(t, func(t *testing.T, w *world) {
		analyst := pavise.Principal{Tenant: "local", Kind: pavise.Human, ID: "cid", Roles: []string{"analyst"}}
		if _, err := w.Screen(t.Context(), ana, ScreenSpec{Name: rows, Terms: Terms{Label: "b"}}); pavise.KindOf(err) != pavise.NotFound {
			t.Errorf("a dataset that is not known: %v", err)
		}
		w.watch(t)
		for name, c := range map[string]struct {
			who  pavise.Principal
			edit func(*ScreenSpec)
			kind pavise.Kind
		}{
			"an analyst":        {analyst, func(*ScreenSpec) {}, pavise.Denied},
			"no label":          {ana, func(s *ScreenSpec) { s.Terms.Label = "" }, pavise.Invalid},
			"a long label":      {ana, func(s *ScreenSpec) { s.Terms.Label = strings.Repeat("b", maxURL+1) }, pavise.Invalid},
			"too much left out": {ana, func(s *ScreenSpec) { s.Terms.Omit = make([]string, maxGlobs+1) }, pavise.Invalid},
			"itself":            {ana, func(s *ScreenSpec) { s.Baseline = 1 }, pavise.Invalid},
			"no such version":   {ana, func(s *ScreenSpec) { s.Baseline = 7 }, pavise.NotFound},
		} {
			spec := ScreenSpec{Name: rows, Terms: Terms{Label: "b"}}
			c.edit(&spec)
			if _, err := w.Screen(t.Context(), c.who, spec); pavise.KindOf(err) != c.kind {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := w.Report(t.Context(), analyst, rows, 0); pavise.KindOf(err) != pavise.Denied {
			t.Errorf("an analyst reads values of rows: %v", err)
		}
		w.judges(stuck)
		w.screen(t)
		if _, err := w.Screen(t.Context(), ana, ScreenSpec{Name: rows, Terms: Terms{Label: "a"}}); pavise.KindOf(err) != pavise.Conflict {
			t.Errorf("another way, while one is under way: %v", err)
		}
		if r := w.screen(t); r.Screening.State != ScreenUnderWay || r.Said != "3 of 10 screens done …" || r.Screening.Begins != 1 {
			t.Errorf("the same way, while one is under way: %+v", r)
		}
		if got := len(w.asked()); got != 1 {
			t.Errorf("%d were begun", got)
		}
		if _, err := w.Unwatch(t.Context(), ana, rows, "it has ended"); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Screen(t.Context(), ana, ScreenSpec{Name: rows, Terms: Terms{Label: "b"}}); pavise.KindOf(err) != pavise.Conflict {
			t.Errorf("a dataset that nobody watches: %v", err)
		}
	})
}

// A screening that the server stops is begun anew, which is said; one that ends its process again
// and again is not; and one that takes too long is ended.
func TestScreeningIsBegunAnew(t *testing.T) {
	hours(t, func(t *testing.T, w *world) {
		w.watch(t)
		w.judges(stuck)
		w.screen(t)
		for range maxBegins + 1 {
			w.stop()
			if left, err := filepath.Glob(filepath.Join(w.cfg.Dir, screeningPrefix+"*")); err != nil || len(left) > 0 {
				t.Errorf("what was copied is left: %v, %v", left, err)
			}
			w.run(t)
			synctest.Wait()
		}
		if s := w.reported(t).Screening; s.State != ScreenUnderWay || s.Begins != maxBegins+2 || s.Stopped != maxBegins+1 {
			t.Errorf("%+v", s)
		}
		time.Sleep(screeningTime + time.Second)
		synctest.Wait()
		if s := w.reported(t).Screening; s.State != ScreenUnscreened || s.Problem != "it took longer than 30m0s" {
			t.Errorf("%+v", s)
		}

		w.screen(t)
		w.stop()
		lost := w.reported(t).Screening // as kill -9 leaves it
		lost.State, lost.Begins, lost.Stopped = ScreenUnderWay, maxBegins, 0
		if err := w.cfg.Store.Update(t.Context(), func(tx *store.Tx) error { return writeScreening(tx, rows, &lost) }); err != nil {
			t.Fatal(err)
		}
		left := filepath.Join(w.cfg.Dir, screeningPrefix+"left")
		if err := os.MkdirAll(filepath.Join(left, "copy"), 0o700); err != nil {
			t.Fatal(err)
		}
		w.asked()
		w.run(t)
		synctest.Wait()
		if s := w.reported(t).Screening; s.State != ScreenUnscreened || s.Problem != "it was begun 3 times, and each time the server ended before it did" || len(w.asked()) > 0 {
			t.Errorf("%+v", s)
		}
		if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("what a process left that was killed lies there: %v", err)
		}
		if notes := w.screenNotes(t); len(notes) != 2 || notes[0].Finding != nil {
			t.Errorf("%+v", notes)
		}

		w.judges(func(context.Context, ToScreen) (Judged, *Report, error) { panic("a hostile file") })
		if s := w.screen(t).Screening; s.State != ScreenUnscreened || !strings.Contains(s.Problem, "a hostile file") {
			t.Errorf("%+v", s)
		}
	})
}

// Of a tenant one dataset is screened at a time, and the next one after it.
func TestScreeningsTakeTurns(t *testing.T) {
	hours(t, func(t *testing.T, w *world) {
		w.watch(t)
		other := pavise.Name{Tenant: "local", Kind: Kind, ID: "other"}
		w.lake.pour(t, "other.csv", "a,b\n5,6\n")
		w.watch(t, func(s *WatchSpec) { s.Name, s.Place.URL = other, "other.csv" })
		w.judges(func(ctx context.Context, _ ToScreen) (Judged, *Report, error) {
			select {
			case <-time.After(time.Minute):
				return Judged{Rows: 1}, &Report{}, nil
			case <-ctx.Done():
				return Judged{}, nil, ctx.Err()
			}
		})
		w.screen(t)
		w.screen(t, func(s *ScreenSpec) { s.Name = other })
		state := func(name pavise.Name) ScreenState {
			r, err := w.Report(t.Context(), ana, name, 0)
			if err != nil {
				t.Fatal(err)
			}
			return r.Screening.State
		}
		for _, want := range [][2]ScreenState{{ScreenUnderWay, ScreenWaiting}, {ScreenClean, ScreenUnderWay}, {ScreenClean, ScreenClean}} {
			if got := [2]ScreenState{state(rows), state(other)}; got != want {
				t.Errorf("they are %v, want %v", got, want)
			}
			time.Sleep(time.Minute + time.Second)
			synctest.Wait()
		}
	})
}

// With --screen each new content is screened once, against the version before it; that it no
// longer is, is a finding; and what cannot be screened is one, too.
func TestEachNewContentIsScreened(t *testing.T) {
	hours(t, func(t *testing.T, w *world) {
		terms := &Terms{Label: "b", Omit: []string{"c"}}
		w.watch(t, func(s *WatchSpec) { s.Screen = terms })
		s := w.reported(t).Screening
		first := w.now(t).Newest.Root
		if s.State != ScreenClean || !s.Scheduled || s.Root != first || s.Label != "b" || s.Baseline != 0 || s.By != ana.Name() {
			t.Errorf("%+v", s)
		}
		w.watch(t) // in the same way, as it was set: what came of it is known
		w.pass(3)
		w.judges(suspects)
		w.lake.pour(t, "rows.csv", "a,b\n1,2\n3,4\n5,6\n")
		w.pass(3)
		if got := w.asked(); len(got) != 2 || got[1].Baseline != w.sealFile(rows, first) || !slices.Equal(got[1].Terms.Omit, terms.Omit) {
			t.Errorf("%+v", got)
		}
		if s := w.reported(t).Screening; s.State != ScreenSuspect || s.Baseline != 1 || s.Trust != first || s.Root != w.now(t).Found.Root {
			t.Errorf("%+v", s)
		}
		w.judges(func(context.Context, ToScreen) (Judged, *Report, error) {
			return Judged{}, nil, &pavise.Error{Kind: pavise.Invalid, Msg: "it has no column \"b\""}
		})
		w.lake.pour(t, "rows.csv", "a,c\n1,2\n")
		w.pass(1)
		notes := w.screenNotes(t)
		if last := notes[len(notes)-1]; len(notes) != 3 || last.Finding == nil || last.Finding.Kind != KindUnscreened || last.Finding.Summary != "rows was not screened for poison: it has no column \"b\"" {
			t.Errorf("%+v", notes)
		}
		spec := WatchSpec{Name: rows, Place: Place{URL: "rows.csv"}}
		if v, err := w.Watch(t.Context(), ana, spec); err != nil || v.Watch.Screen == nil {
			t.Errorf("what is left out is not as before: %+v, %v", v.Watch, err)
		}
		is := w.now(t).Dataset
		other := is
		watch := *is.Watch
		for how, screen := range map[string]*Terms{"what is new there is screened for poison no longer": nil, "what is new there is screened in another way": {Label: "a"}} {
			watch.Screen, other.Watch = screen, &watch
			if got := loosens(&is, &other); !slices.Contains(got, how) {
				t.Errorf("%v, and not %q", got, how)
			}
		}
		spec.Unscreened = true
		if v, err := w.Watch(t.Context(), ana, spec); err != nil || v.Watch.Screen != nil {
			t.Errorf("%+v, %v", v.Watch, err)
		}
		w.asked()
		w.lake.pour(t, "rows.csv", "a,b\n7,8\n")
		w.pass(2)
		if got := w.asked(); len(got) > 0 {
			t.Errorf("%+v", got)
		}
	})
}

// What was not looked at, or not as it is trusted, is not clean, and the finding says so.
func TestScreeningIsCleanOfAllThatIsThere(t *testing.T) {
	hours(t, func(t *testing.T, w *world) {
		w.watch(t)
		for words, j := range map[string]Judged{"; files that were not looked at: 2": {Rows: 1, Apart: 2}, "; files whose columns may be others than they were: 3": {Rows: 1, Untrusted: 3}} {
			w.judges(func(context.Context, ToScreen) (Judged, *Report, error) { return j, &Report{}, nil })
			if s := w.screen(t).Screening; s.State != ScreenSuspect {
				t.Errorf("%+v", s)
			}
			notes := w.screenNotes(t)
			if last := notes[len(notes)-1]; last.Finding == nil || last.Finding.Summary != "of rows, version 1, 0 of 1 rows look poisoned"+words {
				t.Errorf("%+v", last)
			}
			time.Sleep(time.Second)
		}
	})
}

// What could not be screened for something that may pass is screened at a later look, and not for
// ever.
func TestWhatMayPassIsTriedAgain(t *testing.T) {
	hours(t, func(t *testing.T, w *world) {
		kind := pavise.Unavailable
		w.judges(func(context.Context, ToScreen) (Judged, *Report, error) {
			return Judged{}, nil, &pavise.Error{Kind: kind, Msg: "the disk is full"}
		})
		w.watch(t, func(s *WatchSpec) { s.Screen = &Terms{Label: "b"} })
		w.pass(maxTries + 2)
		if got := len(w.asked()); got != maxTries+1 {
			t.Errorf("it was tried %d times", got)
		}
		if s := w.reported(t).Screening; s.State != ScreenUnscreened || !s.Passing || s.Tries != maxTries {
			t.Errorf("%+v", s)
		}
		kind = pavise.Conflict
		w.lake.pour(t, "rows.csv", "a,b\n5,6\n")
		w.pass(1)
		w.judges(nil)
		w.pass(3)
		if got := len(w.asked()); got != 2 {
			t.Errorf("it was tried %d times", got)
		}
		if s := w.reported(t).Screening; s.State != ScreenClean || s.Tries != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// What was judged while nothing can be written is kept once that can be, and is not judged again; a
// server that stops meanwhile has stopped, and has not ended without a word.
func TestVerdictsAreKeptOnceThereIsRoom(t *testing.T) {
	hours(t, func(t *testing.T, w *world) {
		w.watch(t)
		w.judges(suspects)
		do := func(query string) {
			t.Helper()
			if err := w.cfg.Store.Update(t.Context(), func(tx *store.Tx) error { _, err := tx.Exec(query); return err }); err != nil {
				t.Fatal(err)
			}
		}
		full := func() {
			do(`CREATE TRIGGER full BEFORE UPDATE ON catalog_screenings WHEN NOT NEW.pending BEGIN SELECT RAISE(ABORT, 'full'); END`)
		}
		full()
		w.screen(t)
		w.pass(maxBegins)
		if s := w.reported(t).Screening; s.State != ScreenUnderWay || s.Begins != 1 {
			t.Errorf("nothing can be written: %+v", s)
		}
		w.stop()
		if s := w.reported(t).Screening; s.State != ScreenWaiting || s.Stopped != 1 || s.Report != "" || s.Judged.Rows != 0 {
			t.Errorf("the server stopped: %+v", s)
		}
		w.asked()
		w.run(t)
		w.pass(1)
		do(`DROP TRIGGER full`)
		w.pass(1)
		if s := w.reported(t).Screening; s.State != ScreenSuspect || s.Begins != 2 || len(w.asked()) != 1 || len(w.screenNotes(t)) != 1 {
			t.Errorf("there is room: %+v, %+v", s, w.screenNotes(t))
		}
	})
}

// A note that was left before the process was killed is not left again.
func TestScreeningIsNotedOnce(t *testing.T) {
	hours(t, func(t *testing.T, w *world) {
		w.watch(t)
		w.judges(suspects)
		s := w.screen(t).Screening
		if err := w.noteScreening(t.Context(), rows, &s); err != nil || len(w.screenNotes(t)) != 1 {
			t.Errorf("%v: %+v", err, w.screenNotes(t))
		}
		s.Asked = s.Asked.Add(time.Second)
		if err := w.noteScreening(t.Context(), rows, &s); err != nil || len(w.screenNotes(t)) != 2 {
			t.Errorf("another one: %v: %+v", err, w.screenNotes(t))
		}
		if err := w.keepScreening(t.Context(), rows, &Screening{Root: rowseal.LinkRoot("gone"), State: ScreenClean}); err != nil {
			t.Error(err)
		}
		if err := w.cfg.Store.View(t.Context(), func(tx *store.Tx) error {
			gone, err := readScreening(tx, rows, rowseal.LinkRoot("gone"))
			if gone != nil {
				t.Errorf("of a content that is not kept: %+v", gone)
			}
			return err
		}); err != nil {
			t.Error(err)
		}
	})
}
