package deploy

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/route"
)

// TestQuarantinedBeforeItCame puts a version in quarantine between the act and the targets:
// nothing of it is brought anywhere.
func TestQuarantinedBeforeItCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.release(t, Release{Version: 1, To: three})
		w.reg.edit(1, func(v *Version) { v.State = "quarantined" })
		w.run(t)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		w.wantRuns(t, map[string]string{"gw": "", "fn": "", "edge": ""})
		w.wantNotes(t, map[string]int{KindPartial: 3, KindPaged: 1})
		w.reg.edit(1, func(v *Version) { v.State = "published" })
		time.Sleep(longRest + time.Minute)
		synctest.Wait()
		w.wantRuns(t, map[string]string{"gw": "1", "fn": "1", "edge": "1"})
	})
}

// TestHangingTarget has one target never answer: what runs at others is watched as ever, and a
// release comes to the gateway.
func TestHangingTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(t)
		w.release(t, Release{Version: 1, To: three})
		w.putTarget(t, "gw2", Spec{Kind: "gate"})
		other, ask := pavise.Name{Tenant: "local", Kind: Kind, ID: "other"}, Release{Version: 1, To: []pavise.Name{target("gw2")}}
		plan, err := w.PlanRelease(t.Context(), other, ask)
		if err == nil {
			err = w.Release(t.Context(), as("approved"), other, ask, plan.Digests(), unmarked)
		}
		if err != nil {
			t.Fatal(err)
		}
		w.sites["fn"].set(func(s *site) { s.hangs = time.Hour })
		time.Sleep(3 * time.Minute) // it is looked at by now
		w.sites["gw2"].set(func(s *site) { s.state.Main = "sha256:evil" })
		w.release(t, Release{Version: 2, To: three[:1]})
		if got := runs(w.sites["gw"].is()); got != "2" {
			t.Errorf("the gateway runs %s", got)
		}
		time.Sleep(70 * time.Second)
		synctest.Wait()
		if got := runs(w.sites["gw2"].is()); got != "1" {
			t.Errorf("what nobody approved runs on: %s", got)
		}
	})
}

// TestOneTargetForARoute refuses a second target that steers the same route.
func TestOneTargetForARoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.cfg.Drivers["gateway"] = GatewayDriver(&table{}, nil, nil)
		spec := func(model, file string) Spec {
			return Spec{Kind: "gateway", Settings: map[string]string{"model": model, "file": file}}
		}
		w.putTarget(t, "one", spec("fraud", ""))
		for id, want := range map[string]struct {
			spec Spec
			ok   bool
		}{"two": {spec("fraud", "x.onnx"), false}, "one": {spec("fraud", "x.onnx"), true}, "three": {spec("credit", ""), true}} {
			plan, err := w.PlanPut(t.Context(), target(id), want.spec)
			if (err == nil) != want.ok || err != nil && pavise.KindOf(err) != pavise.Conflict {
				t.Errorf("%s: %v", id, err)
			}
			if err := w.Put(t.Context(), as("approved"), target(id), want.spec, plan.Before, unmarked); (err == nil) != want.ok {
				t.Errorf("%s is put: %v", id, err)
			}
		}
	})
}

// TestOneMachineBarsNothing has one machine go back by itself: the version is good enough for
// others still, and is not what a later way back passes over.
func TestOneMachineBarsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(t)
		w.release(t, Release{Version: 1, To: three})
		w.release(t, Release{Version: 2})
		w.sites["edge"].set(func(s *site) {
			s.state = State{Main: artefactOf(w.reg.versions[1]), Alone: true, Problem: "it says so"}
		})
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if v := w.now(t); len(v.Barred) > 0 {
			t.Errorf("one machine bars %+v", v.Barred)
		}
		w.release(t, Release{Version: 3, To: three[:2]})
		w.rollback(t)
		synctest.Wait()
		if got := runs(w.sites["gw"].is()); got != "2" {
			t.Errorf("the way back leads to %s", got)
		}
	})
}

// TestBarredVersionComesBack has somebody put a version that was taken back elsewhere where it
// ran once: that is no stray, but an alarm.
func TestBarredVersionComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(t)
		w.release(t, Release{Version: 1, To: three})
		w.release(t, Release{Version: 2})
		w.release(t, Release{Version: 3, To: three[1:2]})
		w.reg.edit(2, func(v *Version) { v.State = "quarantined" }) // it goes from gw and edge
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		w.wantRuns(t, map[string]string{"gw": "1", "fn": "3", "edge": "1"})
		w.sites["fn"].set(func(s *site) { s.state.Main = artefactOf(w.reg.versions[2]) })
		time.Sleep(70 * time.Second)
		synctest.Wait()
		w.wantRuns(t, map[string]string{"gw": "1", "fn": "3", "edge": "1"})
		w.wantNotes(t, map[string]int{KindRolledBack: 1, KindUnapproved: 1})
	})
}

// TestAwayAtItsFirstVersion has a machine and a function that cannot be reached when their first
// version comes, which is taken back elsewhere meanwhile: it runs at neither, once they are back.
func TestAwayAtItsFirstVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(t)
		w.release(t, Release{Version: 1, To: three[:1]})
		w.sites["fn"].set(func(s *site) { s.fail = errors.New("connection refused") })
		w.sites["edge"].set(func(s *site) { s.lazy = true })
		w.release(t, Release{Version: 2, To: three})
		w.wantRuns(t, map[string]string{"gw": "2", "fn": "", "edge": ""})
		w.rollback(t)
		synctest.Wait()
		w.sites["fn"].set(func(s *site) { s.fail = nil })
		w.sites["edge"].set(func(s *site) { s.lazy = false })
		time.Sleep(time.Hour)
		synctest.Wait()
		w.wantRuns(t, map[string]string{"gw": "1", "fn": "", "edge": ""})
		v := w.now(t)
		if fn := v.spot(target("fn")); !strings.Contains(fn.Problem, "version 2 is taken back by now") {
			t.Errorf("nobody is told why nothing runs: %+v", fn)
		}
		if edge := v.spot(target("edge")); edge.Main != nil || edge.Applied != edge.Revision || edge.Problem != "" {
			t.Errorf("the machine is to run %s: %+v", edge.words(), edge)
		}
		w.sites["edge"].set(func(s *site) { s.state.Main = artefactOf(w.reg.versions[2]) }) // it had fetched it, and not said so
		time.Sleep(70 * time.Second)
		synctest.Wait()
		w.wantRuns(t, map[string]string{"gw": "1", "fn": "", "edge": ""})
		w.wantNotes(t, map[string]int{KindPartial: 1, KindStrayed: 1})
		w.release(t, Release{Version: 2, To: []pavise.Name{target("gw"), target("edge")}}) // it was good, after all
		time.Sleep(longRest)
		synctest.Wait()
		w.wantRuns(t, map[string]string{"gw": "2", "fn": "2", "edge": "2"})
	})
}

// TestShadowBehindACanary has somebody let another server hear the calls while a canary is under
// way.
func TestShadowBehindACanary(t *testing.T) {
	routes := &table{route: &route.Route{Upstream: "http://a/v1", Replicas: []route.Replica{{URL: "http://a/v2", Weight: 1}}, Shadow: "http://evil"}}
	g := openGateway(t, routes, nil, nil, map[string]string{"model": "fraud", "server": "http://a/v{version}"})
	if s, err := g.Observe(t.Context()); err != nil || s.Beside != "http://evil" || !s.Shadow {
		t.Errorf("%+v %v", s, err)
	}
}
