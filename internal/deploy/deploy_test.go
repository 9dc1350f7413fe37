package deploy

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

var three = []pavise.Name{target("gw"), target("fn"), target("edge")}

// TestLife brings versions to three targets, one beside another first, and back.
func TestLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(t)
		w.release(t, Release{Version: 1, To: three})
		w.wantRuns(t, map[string]string{"gw": "1", "fn": "1", "edge": "1"})
		w.wantWords(t, "1 live")
		if v := w.now(t); v.Stage != StageLive || v.Ready != 3 {
			t.Errorf("%+v", v)
		}
		w.release(t, Release{Version: 2, To: three[:2], Canary: 10})
		w.wantRuns(t, map[string]string{"gw": "1+2@10", "fn": "1+2@10", "edge": "1"})
		w.wantWords(t, "2 canary")
		if v := w.now(t); v.Stage != StageCanary {
			t.Errorf("%+v", v)
		}
		w.promote(t)
		w.wantRuns(t, map[string]string{"gw": "2", "fn": "2", "edge": "1"})
		w.wantWords(t, "2 live")
		w.release(t, Release{Version: 3, To: three[:1], Shadow: true})
		w.wantRuns(t, map[string]string{"gw": "2+3?", "fn": "2", "edge": "1"})
		w.wantWords(t, "3 canary")
		w.rollback(t) // what is beside another goes first
		w.wantRuns(t, map[string]string{"gw": "2", "fn": "2", "edge": "1"})
		synctest.Wait()
		w.wantWords(t, "3 rolled_back")
		w.rollback(t)
		if got := runs(w.sites["gw"].is()); got != "1" {
			t.Errorf("the gateway runs %s when the rollback has returned", got)
		}
		synctest.Wait()
		w.wantRuns(t, map[string]string{"gw": "1", "fn": "1", "edge": "1"})
		w.wantWords(t, "2 rolled_back")
		if _, err := w.PlanRollback(t.Context(), fraud); pavise.KindOf(err) != pavise.Conflict {
			t.Errorf("there is something before the first version: %v", err)
		}
		w.release(t, Release{Version: 4}) // everywhere
		w.wantRuns(t, map[string]string{"gw": "4", "fn": "4", "edge": "4"})
		w.wantNotes(t, map[string]int{})
	})
}

// TestRefused asks for what cannot be.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(t)
		w.reg.edit(3, func(v *Version) { v.State = "approved" })
		w.reg.edit(4, func(v *Version) { v.Files = nil })
		w.release(t, Release{Version: 1, To: three})
		for _, c := range []struct {
			r    Release
			kind pavise.Kind
			says string
		}{
			{Release{Version: 0}, pavise.Invalid, "from 1"},
			{Release{Version: 9}, pavise.NotFound, "no version 9"},
			{Release{Version: 3}, pavise.Denied, "only what is published"},
			{Release{Version: 4}, pavise.Invalid, "no files"},
			{Release{Version: 1}, pavise.Conflict, "already"},
			{Release{Version: 2, Canary: 100}, pavise.Invalid, "1 to 99"},
			{Release{Version: 2, Canary: 5, Shadow: true}, pavise.Invalid, "1 to 99"},
			{Release{Version: 2, To: three[2:], Canary: 5}, pavise.Invalid, "share of its calls"},
			{Release{Version: 2, To: three[1:2], Shadow: true}, pavise.Invalid, "hear its calls"},
			{Release{Version: 2, To: []pavise.Name{three[0], three[0]}}, pavise.Invalid, "twice"},
			{Release{Version: 2, To: []pavise.Name{target("nowhere")}}, pavise.NotFound, "no target"},
		} {
			if _, err := w.PlanRelease(t.Context(), fraud, c.r); pavise.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%+v: %v", c.r, err)
			}
		}
		other := pavise.Name{Tenant: "local", Kind: Kind, ID: "other"}
		if _, err := w.PlanRelease(t.Context(), other, Release{Version: 2, To: three[:1]}); pavise.KindOf(err) != pavise.Conflict {
			t.Errorf("two models at one target: %v", err)
		}
		if _, err := w.PlanPromote(t.Context(), fraud); pavise.KindOf(err) != pavise.Conflict {
			t.Errorf("nothing is beside another: %v", err)
		}
		for id, spec := range map[string]Spec{"a": {Kind: "boat"}, "b": {Kind: "place"}, "c": {Kind: "gate", Settings: map[string]string{"colour": "red"}}, "gw": {Kind: "gate"}} {
			if _, err := w.PlanPut(t.Context(), target(id), spec); err == nil {
				t.Errorf("%s: %+v can be put", id, spec)
			}
		}
		if err := w.Release(t.Context(), ana, fraud, Release{Version: 2}, nil, unmarked); pavise.KindOf(err) != pavise.Denied {
			t.Errorf("a release without a change: %v", err)
		}
	})
}

// TestNeeds asks how many approvals versions take.
func TestNeeds(t *testing.T) {
	for risk, want := range map[string]int{"low": 1, "medium": 1, "high": 2, "": 2} {
		if got := Needs(Version{Risk: risk}); got != want {
			t.Errorf("risk %q takes %d", risk, got)
		}
	}
}

// TestApprovedIsBound changes what was approved before it is done.
func TestApprovedIsBound(t *testing.T) {
	for what, change := range map[string]func(*testing.T, *world){
		"the version's content": func(_ *testing.T, w *world) { w.reg.edit(2, func(v *Version) { v.Digest = "other" }) },
		"the version's state":   func(_ *testing.T, w *world) { w.reg.edit(2, func(v *Version) { v.State = "quarantined" }) },
		"what runs before":      func(t *testing.T, w *world) { w.release(t, Release{Version: 3, To: three[:1]}) },
		"where the target points": func(t *testing.T, w *world) {
			w.putTarget(t, "gw", Spec{Kind: "gate", Settings: map[string]string{"at": "elsewhere"}})
		},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.run(t)
				w.release(t, Release{Version: 1, To: three[:1]})
				ask := Release{Version: 2, To: three[:1]}
				plan, err := w.PlanRelease(t.Context(), fraud, ask)
				if err != nil {
					t.Fatal(err)
				}
				change(t, w)
				synctest.Wait()
				if again, err := w.PlanRelease(t.Context(), fraud, ask); err == nil && maps.Equal(again.Digests(), plan.Digests()) {
					t.Error("approvals are still alive")
				}
				if err := w.Release(t.Context(), as("approved"), fraud, ask, plan.Digests(), unmarked); err == nil {
					t.Error("it is released")
				}
				synctest.Wait()
				if got := runs(w.sites["gw"].is()); got == "2" {
					t.Error("version 2 runs")
				}
			})
		})
	}
}

// TestSwappedAfterApproval changes the version in the registry between the act and the
// targets: nothing of it is brought anywhere.
func TestSwappedAfterApproval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.release(t, Release{Version: 1, To: three})
		w.reg.edit(1, func(v *Version) { v.Digest = "v2" })
		w.run(t)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		w.wantRuns(t, map[string]string{"gw": "", "fn": "", "edge": ""})
		w.wantNotes(t, map[string]int{KindChanged: 3})
	})
}

// TestAlteredAfterApproval has the registry find a version changed that is published, or was: it is
// neither planned nor brought anywhere, on the way back either, until it is what was published.
func TestAlteredAfterApproval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		alter := func(number int, why string) { w.reg.edit(number, func(v *Version) { v.Altered = why }) }
		w.release(t, Release{Version: 1, To: three})
		alter(1, "it is not as it was signed")
		w.run(t)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		w.wantRuns(t, map[string]string{"gw": "", "fn": "", "edge": ""})
		w.wantNotes(t, map[string]int{KindChanged: 3})
		if _, err := w.PlanRelease(t.Context(), fraud, Release{Version: 1, To: three}); pavise.KindOf(err) != pavise.Unverified {
			t.Errorf("planned: %v", err)
		}
		alter(1, "")
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		w.wantRuns(t, map[string]string{"gw": "1", "fn": "1", "edge": "1"})
		w.release(t, Release{Version: 2, Canary: 10, To: []pavise.Name{target("gw")}})
		alter(2, "it is not as it was signed")
		if _, err := w.PlanPromote(t.Context(), fraud); pavise.KindOf(err) != pavise.Unverified {
			t.Errorf("promoted: %v", err)
		}
		w.reg.edit(2, func(v *Version) { v.Altered, v.Unsigned = "", "it waits for a signature" })
		if _, err := w.PlanPromote(t.Context(), fraud); pavise.KindOf(err) != pavise.Denied {
			t.Errorf("promoted unsigned: %v", err)
		}
		if _, err := w.PlanRelease(t.Context(), fraud, Release{Version: 2}); pavise.KindOf(err) != pavise.Denied {
			t.Errorf("released unsigned: %v", err)
		}
		w.reg.edit(2, func(v *Version) { v.Unsigned = "" })
		w.release(t, Release{Version: 2})
		time.Sleep(time.Minute)
		synctest.Wait()
		w.wantRuns(t, map[string]string{"gw": "2", "fn": "2", "edge": "2"})
		alter(1, "it is not as it was signed")
		w.rollback(t)
		time.Sleep(time.Minute)
		synctest.Wait()
		w.wantRuns(t, map[string]string{"gw": "2", "fn": "2", "edge": "2"})
		alter(1, "")
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		w.wantRuns(t, map[string]string{"gw": "1", "fn": "1", "edge": "1"})
	})
}

// TestKilledHalfway ends the process after the act, and after some of the targets: the next
// one goes on.
func TestKilledHalfway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.release(t, Release{Version: 1, To: three}) // nobody runs
		w.wantRuns(t, map[string]string{"gw": "", "fn": "", "edge": ""})
		if v := w.now(t); v.Stage != StageRolling || v.Ready != 0 {
			t.Errorf("%+v", v)
		}
		w.sites["fn"].set(func(s *site) { s.slow = time.Minute })
		w.run(t)
		time.Sleep(time.Second)
		synctest.Wait()
		w.wantRuns(t, map[string]string{"gw": "1", "fn": "", "edge": "1"})
		w.stop()
		w.sites["fn"].set(func(s *site) { s.slow = 0; s.state = State{Healthy: true} }) // it is as if nothing had come
		w.cfg.Store.Update(t.Context(), func(tx *store.Tx) error {
			dep, _ := deployment(tx, fraud)
			dep.spot(target("fn")).Applied = 0 // nor had anybody seen it
			return put(tx, "deploy_deployments", fraud, dep)
		})
		w.run(t)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		w.wantRuns(t, map[string]string{"gw": "1", "fn": "1", "edge": "1"})
		w.wantWords(t, "1 live")
	})
}

// TestTargetDownHalfway has one of three targets down: that is shown, told once, tried again
// more and more seldom, and ends well.
func TestTargetDownHalfway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(t)
		w.release(t, Release{Version: 1, To: three})
		w.wantWords(t, "1 live")
		w.sites["fn"].set(func(s *site) { s.fail = errors.New("connection refused") })
		w.release(t, Release{Version: 2})
		v := w.now(t)
		if s := v.spot(target("fn")); v.Stage != StageRolling || v.Ready != 2 || s.Problem != "connection refused" {
			t.Errorf("%+v", v)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		w.wantNotes(t, map[string]int{KindPartial: 1})
		if v := w.now(t); v.Stage != StageDegraded || v.spot(target("fn")).Tries > 25 {
			t.Errorf("%+v", v)
		}
		w.wantRuns(t, map[string]string{"gw": "2", "fn": "1", "edge": "2"})
		w.sites["fn"].set(func(s *site) { s.fail = nil })
		time.Sleep(longRest)
		synctest.Wait()
		w.wantRuns(t, map[string]string{"gw": "2", "fn": "2", "edge": "2"})
		if v := w.now(t); v.Stage != StageLive || v.Ready != 3 {
			t.Errorf("%+v", v)
		}
	})
}

// TestSilentTarget takes what it is told and does nothing, and is said to be half done.
func TestSilentTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(t)
		w.release(t, Release{Version: 1, To: three})
		w.sites["gw"].set(func(s *site) { s.lazy = true })
		w.release(t, Release{Version: 2})
		time.Sleep(time.Minute)
		synctest.Wait()
		if v := w.now(t); v.Ready != 2 || !strings.Contains(v.spot(target("gw")).Problem, "it runs sha256:v1-artefact still") {
			t.Errorf("%+v", v.spot(target("gw")))
		}
		w.wantNotes(t, map[string]int{KindPartial: 1})
	})
}

// TestHalfOfTheGateways have it: that is in trouble, not done.
func TestHalfOfTheGateways(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(t)
		w.release(t, Release{Version: 1, To: three})
		w.sites["gw"].set(func(s *site) {
			s.state.Healthy, s.state.Reached, s.state.Of, s.state.Problem = false, 3, 6, "3 of 6 gateways have it"
		})
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		v := w.now(t)
		if s := v.spot(target("gw")); v.Ready != 2 || s.Seen.Reached != 3 || s.Problem != "3 of 6 gateways have it" || v.Stage != StageDegraded {
			t.Errorf("%+v", v)
		}
		if n := w.notes(t)[KindPartial]; len(n) != 1 || n[0].Reached != 3 || n[0].Of != 6 {
			t.Errorf("%+v", n)
		}
	})
}

// TestGatewaysFirst brings a version to where calls are sent before anywhere else.
func TestGatewaysFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var mu sync.Mutex // guards order: targets that are no gateways are brought beside each other
		var order []string
		for id, s := range w.sites {
			s.set(func(s *site) {
				s.inApply = func() {
					mu.Lock()
					defer mu.Unlock()
					order = append(order, id)
				}
			})
		}
		w.run(t)
		w.release(t, Release{Version: 1, To: three})
		if len(order) != 3 || order[0] != "gw" {
			t.Errorf("the order is %v", order)
		}
	})
}

// TestSlowTargetDoesNotUndo has an older step of a target end after a rollback was ordered.
func TestSlowTargetDoesNotUndo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(t)
		w.release(t, Release{Version: 1, To: three})
		w.sites["fn"].set(func(s *site) { s.slow = 30 * time.Second })
		w.release(t, Release{Version: 2})
		w.rollback(t) // while the function takes version 2
		if got := runs(w.sites["gw"].is()); got != "1" {
			t.Errorf("the gateway waits: %s", got)
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		w.wantRuns(t, map[string]string{"gw": "1", "fn": "1", "edge": "1"})
		w.wantNotes(t, map[string]int{})
	})
}

// TestUntraced tells once of a version that nobody can trace.
func TestUntraced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.reg.edit(1, func(v *Version) { v.Untraced = "no run is recorded" })
		w.run(t)
		w.release(t, Release{Version: 1, To: three})
		time.Sleep(time.Hour)
		synctest.Wait()
		w.wantNotes(t, map[string]int{KindUntraced: 1})
	})
}

// TestRemoved forgets a target that runs something.
func TestRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(t)
		w.release(t, Release{Version: 1, To: three})
		if err := w.Remove(t.Context(), ana, target("edge"), "it was sold"); err != nil {
			t.Fatal(err)
		}
		w.wantNotes(t, map[string]int{KindUnwatched: 1})
		if v := w.now(t); len(v.Spots) != 2 {
			t.Errorf("%+v", v)
		}
		list, err := w.Targets(t.Context(), ana)
		if err != nil || len(list.Targets) != 2 {
			t.Errorf("%+v %v", list, err)
		}
		deps, err := w.List(t.Context(), ana)
		if err != nil || len(deps.Deployments) != 1 || deps.Deployments[0].Ready != 2 {
			t.Errorf("%+v %v", deps, err)
		}
		s, err := w.Target(t.Context(), ana, target("gw"))
		if err != nil || s.Spot == nil || s.Deployment != fraud || !slices.Equal([]int{s.Spot.Main.Version}, []int{1}) {
			t.Errorf("%+v %v", s, err)
		}
		if _, err := w.Target(t.Context(), ana, target("edge")); pavise.KindOf(err) != pavise.NotFound {
			t.Errorf("%v", err)
		}
	})
}
