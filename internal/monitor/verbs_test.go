package monitor

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/drift"
	"github.com/pavise/pavise/internal/store"
)

// approved puts a baseline in force as a change that others approved.
func (w *world) approved(ask Ask) error {
	w.t.Helper()
	ctx := context.Background()
	ask.Model = scorer
	plan, err := w.PlanBaseline(ctx, onIt, ask)
	if err != nil {
		return err
	}
	who := ana
	who.Change, who.Proof = pavise.Name{Tenant: "local", Kind: "change", ID: "approved"}, "approved change"
	return w.Baseline(ctx, who, onIt, ask, plan.Digests(), func(*store.Tx) error { return nil })
}

// inForce is a copy of the baseline in force.
func (w *world) inForce() *drift.Baseline {
	w.mu.Lock()
	defer w.mu.Unlock()
	b, err := drift.ParseBaseline(w.models[scorer].bases[now].Text())
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

// TestSlowPoison: who leads the baseline away, a step at a time and each with approval, is found
// by the first one, which stays.
func TestSlowPoison(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.learn()
		origin := w.stands().Baseline
		by := 0.0
		w.shift = func(_ int, row []float64) { row[2] += by }
		for range 3 {
			by += 0.15 // of a number from 0 to 1
			if err := w.approved(Ask{Learn: 1500}); err != nil {
				t.Fatal(err)
			}
			w.windows(4)
		}
		w.windows(3)
		v := w.stands()
		if v.First != origin || v.Baseline == origin {
			t.Fatalf("the first baseline is %s, and was %s", v.First, origin)
		}
		if v.Verdict.Stage != Confirmed || v.Verdict.Cause != drift.Walked || len(w.house.rolled()) > 0 {
			t.Errorf("%+v", v.Verdict)
		}
		contains(t, strings.Join(v.Verdict.Features, " "), "input c")
		w.stop()
		w.run()
		w.windows(1)
		if v := w.stands(); v.First != origin || v.Verdict.Stage != Confirmed {
			t.Errorf("after a restart: %+v", v)
		}
		if err := w.approved(Ask{Learn: 1500, Anew: true}); err != nil {
			t.Fatal(err)
		}
		w.windows(4)
		if v := w.stands(); v.First != "" || v.Verdict.Stage == Confirmed {
			t.Errorf("after a new beginning: %+v", v)
		}
	})
}

// TestBaselineFromAFile: what a file names takes the place of what was learnt, and all else
// stays.
func TestBaselineFromAFile(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.learn()
		was := w.inForce()
		one := *was
		one.Features = nil
		for _, p := range was.Features {
			if p.Name == "a" {
				p.Side = ""
				for i := range p.Edges {
					p.Edges[i] += 1
				}
				one.Features = append(one.Features, p)
			}
		}
		one.Features = append(one.Features, drift.Profile{Name: "of nobody", Kind: drift.Number, Edges: []float64{1}, Counts: []uint32{50, 50}})
		plan, err := w.PlanBaseline(t.Context(), onIt, Ask{Model: scorer, File: one.Text()})
		if err != nil || plan.Features != 1 || plan.Stays != len(was.Features)-1 || len(plan.Others) != 1 {
			t.Fatalf("%+v: %v", plan, err)
		}
		if err := w.approved(Ask{File: one.Text()}); err != nil {
			t.Fatal(err)
		}
		w.shift = func(_ int, row []float64) { row[0] += 1 }
		w.windows(5)
		shown, err := w.Show(t.Context(), ana, scorer)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range shown.Features {
			for _, m := range f.Windows {
				if f.Name == "a" && m.Length == "5m" && (m.Agree >= 3) != m.First {
					t.Errorf("rows that are as the file says: %+v", m)
				}
			}
		}
	})
}

// TestSwapped: a baseline that was exchanged between its approval and the act, or in the store,
// is not used.
func TestSwapped(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.learn()
		ask := Ask{Model: scorer, File: w.inForce().Text()}
		plan, err := w.PlanBaseline(t.Context(), onIt, ask)
		if err != nil {
			t.Fatal(err)
		}
		other := *w.inForce()
		other.Features = other.Features[:2]
		other.Features[0].Counts[1], other.Features[0].Counts[2] = other.Features[0].Counts[1]+1, other.Features[0].Counts[2]-1
		who := ana
		who.Change = pavise.Name{Tenant: "local", Kind: "change", ID: "approved"}
		err = w.Baseline(t.Context(), who, onIt, Ask{Model: scorer, File: other.Text()}, plan.Digests(), func(*store.Tx) error { return nil })
		if pavise.KindOf(err) != pavise.Conflict {
			t.Errorf("another file than was approved: %v", err)
		}
		w.windows(1)
		w.stop()
		if err := w.db.Update(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec(`UPDATE monitor_texts SET sealed = ?`, []byte("somebody else's"))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		w.run()
		w.windows(3)
		if v := w.stands(); v.Verdict.Stage != Broken || v.Baseline != "" {
			t.Errorf("%+v", v)
		}
		if len(w.notes(KindSwapped)) != 1 || len(w.notes(KindLearned)) != 1 {
			t.Errorf("%d swapped, %d learnt", len(w.notes(KindSwapped)), len(w.notes(KindLearned)))
		}
		if err := w.approved(Ask{Learn: 1500}); err != nil {
			t.Fatal(err)
		}
		w.windows(4)
		if v := w.stands(); v.Verdict.Stage != Stable {
			t.Errorf("after another was learnt: %+v", v)
		}
	})
}

// TestBaselinesNobodyTakes: what cannot be a baseline is refused when it is proposed.
func TestBaselinesNobodyTakes(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		w := newWorld(t)
		if _, err := w.PlanBaseline(t.Context(), onIt, Ask{Model: scorer, Learn: 1000}); pavise.KindOf(err) != pavise.NotFound {
			t.Errorf("of a model that nobody asked: %v", err)
		}
		w.learn()
		stranger := drift.Baseline{Format: drift.BaselineFormat, Rows: 100, Features: []drift.Profile{{Name: "z", Kind: drift.Number, Edges: []float64{1}, Counts: []uint32{50, 50}}}}
		for name, ask := range map[string]Ask{
			"nothing": {Model: scorer}, "both": {Model: scorer, Learn: 1000, File: stranger.Text()}, "few": {Model: scorer, Learn: 5},
			"no feature of it": {Model: scorer, File: stranger.Text()}, "no baseline": {Model: scorer, File: []byte(`{}`)},
			"another model": {Model: pavise.Name{Tenant: "local", Kind: "model", ID: "other"}, Learn: 1000},
			"no model":      {Model: pavise.Name{Tenant: "local", Kind: "dataset", ID: "scorer"}, Learn: 1000},
		} {
			if _, err := w.PlanBaseline(t.Context(), onIt, ask); pavise.KindOf(err) != pavise.Invalid {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := w.Baseline(t.Context(), ana, onIt, Ask{Model: scorer, Learn: 1000}, nil, nil); pavise.KindOf(err) != pavise.Denied {
			t.Errorf("without approval: %v", err)
		}
	})
}

// TestPeopleJudge: a person's word stands beside the verdict, what is dismissed is quiet until
// it was as the baseline has it, and no program says either.
func TestPeopleJudge(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.learn()
		say := Said{Model: scorer, Cause: drift.Traffic, Reason: "a new customer"}
		if _, err := w.Judge(t.Context(), ana, say); pavise.KindOf(err) != pavise.Conflict {
			t.Errorf("of a model that is stable: %v", err)
		}
		w.shift = func(_ int, row []float64) { row[0] += 1 }
		w.windows(5)
		for _, verb := range []func(context.Context, pavise.Principal, Said) (View, error){w.Judge, w.Dismiss} {
			if _, err := verb(t.Context(), robot, say); pavise.KindOf(err) != pavise.Denied {
				t.Errorf("a program: %v", err)
			}
		}
		v, err := w.Judge(t.Context(), ana, say)
		if err != nil || v.Verdict.Person != drift.Traffic || v.Verdict.By != ana.Name() {
			t.Fatalf("%+v: %v", v, err)
		}
		w.windows(1)
		if v := w.stands().Verdict; v.Reason != say.Reason {
			t.Errorf("the next window forgot who said what: %+v", v)
		}
		if v, err := w.Dismiss(t.Context(), ana, say); err != nil || v.Verdict.Stage != Dismissed {
			t.Fatalf("%+v: %v", v, err)
		}
		before := len(w.notes(KindConfirmed))
		w.windows(4)
		if v := w.stands().Verdict; v.Stage != Dismissed || len(w.notes(KindConfirmed)) != before {
			t.Errorf("%+v", v)
		}
		w.shift = nil
		w.windows(24)
		if v := w.stands().Verdict; v.Stage == Dismissed || v.Stage == Confirmed {
			t.Errorf("once it is as it was: %+v", v)
		}
		w.shift = func(_ int, row []float64) { row[0] += 1 }
		w.windows(5)
		if v := w.stands().Verdict; v.Stage != Confirmed {
			t.Errorf("when it moves again: %+v", v)
		}
	})
}

// TestPeopleAreAsked: of a model that has moved by no version's fault people are asked, once until
// their time is over, whether that is as usual; and what they approve dies with the verdict.
func TestPeopleAreAsked(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		var asked []Ask
		w := newWorld(t, func(c *Config) {
			c.Review = func(_ context.Context, ask Ask, _ string) (pavise.Name, time.Time, error) {
				asked = append(asked, ask)
				return pavise.Name{Tenant: "local", Kind: "change", ID: "c-review"}, time.Now().Add(24 * time.Hour), nil
			}
		})
		w.learn()
		for i := range 2 {
			w.shift = func(_ int, row []float64) { row[0] += 1 }
			w.windows(5)
			if v := w.stands().Verdict; i == 0 && v.Change.ID != "c-review" {
				t.Errorf("the verdict does not name the change: %+v", v)
			}
			w.shift = nil
			w.windows(6)
		}
		if len(w.notes(KindConfirmed)) != 2 || len(asked) != 1 || !asked[0].Review || asked[0].Anew || asked[0].Learn != 1500 {
			t.Fatalf("asked %+v, %d times confirmed", asked, len(w.notes(KindConfirmed)))
		}
		contains(t, w.notes(KindActed)[0].Summary, "c-review")
		if _, err := w.PlanBaseline(t.Context(), onIt, asked[0]); pavise.KindOf(err) != pavise.Conflict {
			t.Errorf("what was asked of a model that is as it was again: %v", err)
		}
		w.shift = func(_ int, row []float64) { row[0] += 1 }
		w.windows(5)
		plan, err := w.PlanBaseline(t.Context(), onIt, asked[0])
		if err != nil || plan.Cause != drift.Traffic || plan.Digests()["cause"] != string(drift.Traffic) {
			t.Fatalf("%+v: %v", plan, err)
		}
		if err := w.approved(asked[0]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(24 * time.Hour)
		w.windows(8)
		if v := w.stands(); v.Verdict.Cause != drift.Walked || len(asked) != 2 || !asked[1].Anew {
			t.Errorf("of what was led away from the first baseline: %+v, %+v", v.Verdict, asked)
		}
	})
}

// TestPeopleAreAskedAgain: their time is over, nobody has decided, and it has moved still; or nobody
// could be asked.
func TestPeopleAreAskedAgain(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		asked := 0
		w := newWorld(t, func(c *Config) {
			c.Review = func(context.Context, Ask, string) (pavise.Name, time.Time, error) {
				if asked++; asked == 1 {
					return pavise.Name{}, time.Time{}, errors.New("the disk is full")
				}
				return pavise.Name{Tenant: "local", Kind: "change", ID: "c-review"}, time.Now().Add(24 * time.Hour), nil
			}
		})
		w.learn()
		w.shift = func(_ int, row []float64) { row[0] += 1 }
		w.windows(5)
		for i, pass := range []time.Duration{0, askedAgain, 23 * time.Hour, time.Hour} {
			time.Sleep(pass)
			synctest.Wait()
			w.windows(1)
			if want := []int{1, 2, 2, 3}[i]; asked != want || len(w.notes(KindActed)) != want || len(w.notes(KindConfirmed)) != 1 {
				t.Fatalf("%d: asked %d times, %v", i, asked, w.notes(KindActed))
			}
		}
		if _, err := w.Judge(t.Context(), ana, Said{Model: scorer, Cause: drift.Traffic, Reason: "a new customer"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(25 * time.Hour)
		if w.windows(1); asked != 3 {
			t.Errorf("asked of what somebody has judged: %d times", asked)
		}
	})
}

// TestShow: what is shown is enough for a picture of every feature, and of the windows.
func TestShow(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.learn()
		w.shift = func(_ int, row []float64) { row[1] -= 1 }
		w.windows(5)
		s, err := w.Show(t.Context(), ana, scorer)
		if err != nil {
			t.Fatal(err)
		}
		f := s.Features[0]
		if f.Name != "b" || f.Side != Input || !f.Moved || len(f.Was) == 0 || len(f.Was) != len(f.Is) || len(f.Windows) == 0 || f.Windows[0].Length != "5m" || f.Windows[0].Effect < 1 || f.Windows[0].P > 0.01 {
			t.Errorf("%+v", f)
		}
		if last := s.Past[len(s.Past)-1]; last.Inputs.Moved != 1 || last.Inputs.Feature != "b" || last.Rows != 640 {
			t.Errorf("%+v", last)
		}
		if names := len(s.Features); names != 3+1+2+2 || s.Held != names {
			t.Errorf("%d features, and %d are held to the baseline", names, s.Held)
		}
		if _, err := w.Show(t.Context(), ana, pavise.Name{Tenant: "local", Kind: "model", ID: "other"}); pavise.KindOf(err) != pavise.NotFound {
			t.Errorf("a model that nobody asked: %v", err)
		}
		if _, err := w.Show(t.Context(), pavise.Principal{Tenant: "local", Kind: pavise.Workload, ID: "x", Roles: []string{"caller"}}, scorer); pavise.KindOf(err) != pavise.Denied {
			t.Errorf("a caller: %v", err)
		}
	})
}

// TestWhichOfSeveral has two models share the calls: a window says how many rows each of them
// answered, and no window is split by who answers what.
func TestWhichOfSeveral(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.learn()
		w.version = "a beside b"
		for i := range 8 {
			if w.by = "a"; i%4 == 0 {
				w.by = "b"
			}
			w.ask(i, 40)
		}
		w.by = ""
		time.Sleep(w.Monitor.cfg.Window)
		synctest.Wait()
		s, err := w.Show(t.Context(), ana, scorer)
		if err != nil {
			t.Fatal(err)
		}
		if last := s.Past[len(s.Past)-1]; last.Rows != 320 || last.By["a"] != 240 || last.By["b"] != 80 || len(last.By) != 2 || last.Version != "a beside b" {
			t.Errorf("%+v", last)
		}
		w.windows(1)
		if s, err = w.Show(t.Context(), ana, scorer); err != nil || s.Past[len(s.Past)-1].By != nil {
			t.Errorf("of one model: %+v %v", s.Past[len(s.Past)-1], err)
		}
	})
}

// What one window said moved is suspected, also after a restart, which forgets how far it was:
// it is not shown beside what is as it was.
func TestSuspectsAreNamed(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.learn()
		w.shift = func(_ int, row []float64) { row[2] += 0.5 }
		w.windows(1)
		named := func() {
			t.Helper()
			s, err := w.Show(t.Context(), ana, scorer)
			if err != nil || s.Verdict.Stage != Suspected || len(s.Features) == 0 {
				t.Fatalf("%+v, %v", s.Verdict, err)
			}
			for _, f := range s.Features {
				if said := slices.Contains(s.Verdict.Features, string(f.Side)+" "+f.Name); f.Moved || f.Suspected != said {
					t.Errorf("%s %s: %+v", f.Side, f.Name, f)
				}
			}
		}
		named()
		w.stop()
		w.run()
		w.ask(0, 1)
		time.Sleep(time.Second)
		synctest.Wait()
		named()
	})
}
