package registry

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/pavise/pavise"
)

// TestLife takes a version from draft to retired, and reads back what became of it.
func TestLife(t *testing.T) {
	w := newWorld(t)
	w.create(t, Medium)
	v := w.publish(t, `{"a": 1}`)
	if v.Ref != (Ref{"fraud", 1}) || v.Intake != Ready || v.Scan.Verdict != "clean" || v.BOM == (Digest{}) || len(v.Approvers) != 2 {
		t.Errorf("published: %+v", v)
	}
	w.want(t, v.Ref, Published)
	before := w.cfg.Now()
	for _, to := range []State{Canary, Live, Degraded, Accepted, RolledBack} {
		time.Sleep(time.Millisecond)
		if err := w.Moved(t.Context(), "local", v.Ref, to, "in a test"); err != nil {
			t.Fatal(err)
		}
		w.want(t, v.Ref, to)
	}
	if n := len(w.notes(t, KindMoved)); n != 5 {
		t.Errorf("%d notes of moves, want 5", n)
	}
	p, err := w.PlanRetire(t.Context(), "local", v.Ref)
	if err == nil {
		err = w.Retire(t.Context(), "local", v.Ref, approved(pat, p, amy))
	}
	if err != nil {
		t.Fatal(err)
	}
	w.want(t, v.Ref, Retired)
	h, err := w.History(t.Context(), mia, fraud, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	var went []State
	for _, s := range h.Steps {
		went = append(went, s.To)
	}
	if want := []State{Draft, Proposed, Reviewed, Approved, Published, Canary, Live, Degraded, Accepted, RolledBack, Retired}; !slices.Equal(went, want) {
		t.Errorf("it went %v", went)
	}
	if h, err := w.History(t.Context(), mia, fraud, before); err != nil || len(h.Serving) != 0 || h.Versions[0].To != Published {
		t.Errorf("before it served: %+v, %v", h, err)
	}
	if err := w.Moved(t.Context(), "local", v.Ref, Live, "again"); pavise.KindOf(err) != pavise.Conflict {
		t.Errorf("a retired version goes live: %v", err)
	}
}

// TestLeads: no state leads past the ones that others decide on, whoever moves it.
func TestLeads(t *testing.T) {
	for _, from := range States {
		for _, to := range States {
			if !from.Leads(to) {
				continue
			}
			if to == Published && !slices.Contains([]State{Approved, Canary, Live, Degraded, Accepted, Quarantined}, from) || to.Serves() && !slices.Contains([]State{Published, Canary, Live, Degraded, Accepted}, from) {
				t.Errorf("%s leads to %s", from, to)
			}
			if from.Ends() {
				t.Errorf("%s ends, and leads to %s", from, to)
			}
		}
		if _, ok := wants[from]; ok == from.Ends() || (Timeouts[from] > 0) == from.Ends() {
			t.Errorf("%s: nobody is told what to do when nothing comes of it, or somebody is and it ends", from)
		}
	}
}

// TestFacts: policies see how a version stands; a model is barred while what served is in
// quarantine and nothing took its place; and all of that is there after a restart.
func TestFacts(t *testing.T) {
	w := newWorld(t)
	w.create(t, Low)
	one, two := w.publish(t, `{"a": 1}`), w.publish(t, `{"a": 2}`)
	bar := func(want bool) {
		t.Helper()
		if got := w.Facts(fraud).Quarantined; got != want {
			t.Errorf("the model is barred: %t", got)
		}
	}
	move := func(v *Version, to State) {
		t.Helper()
		time.Sleep(time.Millisecond)
		if err := w.Moved(t.Context(), "local", v.Ref, to, "in a test"); err != nil {
			t.Fatal(err)
		}
	}
	move(one, Live)
	move(two, Canary)
	bar(false)
	move(two, Quarantined)
	bar(false) // the others are served by what is live
	time.Sleep(time.Millisecond)
	if _, err := w.Quarantine(t.Context(), ray, "local", one.Ref, "it leaks"); err != nil {
		t.Fatal(err)
	}
	bar(true)
	if f := w.Facts(one.Name()); !f.Quarantined || f.State != "quarantined" || f.Risk != "low" {
		t.Errorf("facts: %+v", f)
	}
	wantKind(t, w.Moved(t.Context(), "local", one.Ref, Published, "the way round"), pavise.Conflict)
	again, err := Open(context.Background(), w.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if !again.Facts(fraud).Quarantined || again.Facts(one.Name()) != w.Facts(one.Name()) {
		t.Error("after a restart policies see something else")
	}
	three := w.publish(t, `{"a": 3}`)
	move(three, Live)
	bar(false)
}
