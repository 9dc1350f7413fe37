package deploy

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pavise/pavise"
)

// TestUnapproved has somebody put another artefact at each target, behind everybody's back.
func TestUnapproved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(t)
		w.release(t, Release{Version: 1, To: three})
		w.release(t, Release{Version: 2, To: three[:2], Canary: 10})
		for _, s := range w.sites {
			s.set(func(s *site) { s.state.Main = "sha256:evil" })
		}
		time.Sleep(70 * time.Second)
		synctest.Wait()
		w.wantRuns(t, map[string]string{"gw": "1+2@10", "fn": "1+2@10", "edge": "1"})
		w.wantNotes(t, map[string]int{KindUnapproved: 3})
		v := w.now(t)
		if v.Stage != StageAlarm || v.Alarm.Ran != "sha256:evil" || v.Alarm.Times != 3 {
			t.Errorf("%+v", v.Alarm)
		}
		if _, err := w.PlanPromote(t.Context(), fraud); pavise.KindOf(err) != pavise.Denied {
			t.Errorf("a canary is promoted during an alarm: %v", err)
		}
		w.release(t, Release{Version: 3})
		if v := w.now(t); v.Alarm != nil || v.Stage != StageLive {
			t.Errorf("an approved release does not end the alarm: %+v", v)
		}
	})
}

// TestUnapprovedMidRelease has the artefact come while a release is under way.
func TestUnapprovedMidRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(t)
		w.release(t, Release{Version: 1, To: three})
		w.stop()
		w.sites["fn"].set(func(s *site) { s.state.Main = "sha256:evil" })
		w.release(t, Release{Version: 2})
		w.run(t)
		synctest.Wait()
		w.wantRuns(t, map[string]string{"gw": "2", "fn": "2", "edge": "2"})
		w.wantNotes(t, map[string]int{KindUnapproved: 1})
	})
}

// TestTakenBackComesAgain has a version run that was taken back: nobody approves it any more.
func TestTakenBackComesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(t)
		w.release(t, Release{Version: 1, To: three})
		w.release(t, Release{Version: 2})
		w.rollback(t)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		w.wantNotes(t, map[string]int{})
		w.sites["fn"].set(func(s *site) { s.state.Main = artefactOf(w.reg.versions[2]) })
		time.Sleep(70 * time.Second)
		synctest.Wait()
		w.wantRuns(t, map[string]string{"gw": "1", "fn": "1", "edge": "1"})
		w.wantNotes(t, map[string]int{KindUnapproved: 1})
	})
}

// TestStrayed has somebody move the weights, or put an older version: it is put back, and
// told.
func TestStrayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(t)
		w.release(t, Release{Version: 1, To: three})
		w.release(t, Release{Version: 2})
		w.sites["fn"].set(func(s *site) { s.state.Main = artefactOf(w.reg.versions[1]) })
		time.Sleep(70 * time.Second)
		synctest.Wait()
		w.release(t, Release{Version: 3, To: three[:1], Canary: 10})
		w.sites["gw"].set(func(s *site) { s.state.Weight = 90 })
		time.Sleep(70 * time.Second)
		synctest.Wait()
		w.wantRuns(t, map[string]string{"gw": "2+3@10", "fn": "2", "edge": "2"})
		w.wantNotes(t, map[string]int{KindStrayed: 2})
	})
}

// TestQuarantinedVersion takes a version back that the registry has in quarantine, wherever
// it runs.
func TestQuarantinedVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(t)
		w.release(t, Release{Version: 1, To: three})
		w.release(t, Release{Version: 2})
		w.release(t, Release{Version: 3, To: three[:2], Canary: 10})
		w.reg.words()
		w.reg.edit(2, func(v *Version) { v.State = "quarantined" }) // the one that answers, not the canary
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		w.wantRuns(t, map[string]string{"gw": "1", "fn": "1", "edge": "1"})
		w.wantNotes(t, map[string]int{KindRolledBack: 1})
		w.wantWords(t, "1 live", "2 rolled_back", "3 published")
	})
}

// TestRollbackTargetQuarantined has the version before in quarantine, too: the one before
// that comes, or, where there is none, somebody is paged, once.
func TestRollbackTargetQuarantined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(t)
		w.release(t, Release{Version: 1, To: three})
		w.release(t, Release{Version: 2})
		w.release(t, Release{Version: 3})
		w.reg.edit(2, func(v *Version) { v.State = "quarantined" })
		w.rollback(t)
		synctest.Wait()
		w.wantRuns(t, map[string]string{"gw": "1", "fn": "1", "edge": "1"})
		w.reg.edit(1, func(v *Version) { v.State = "quarantined" })
		time.Sleep(time.Hour)
		synctest.Wait()
		w.wantNotes(t, map[string]int{KindPaged: 1})
		if _, err := w.PlanRollback(t.Context(), fraud); pavise.KindOf(err) != pavise.Conflict {
			t.Errorf("%v", err)
		}
	})
}

// TestLetOutOfQuarantine: a version that nothing could take the place of serves anew, and the
// registry hears so, once it is let out.
func TestLetOutOfQuarantine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(t)
		w.release(t, Release{Version: 1, To: three})
		w.wantWords(t, "1 live")
		w.reg.edit(1, func(v *Version) { v.State = "quarantined" })
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		w.wantWords(t)
		if v := w.now(t); v.Stage != StageDegraded || v.Withheld[1] != "quarantined" {
			t.Errorf("what is in quarantine and runs is shown as %s: %v", v.Stage, v.Withheld)
		}
		if list, err := w.List(t.Context(), ana); err != nil || len(list.Deployments) != 1 || list.Deployments[0].Stage != StageDegraded {
			t.Errorf("%+v, %v", list, err)
		}
		w.reg.edit(1, func(v *Version) { v.State = "published" })
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		w.wantWords(t, "1 live")
		if v := w.now(t); v.Stage != StageLive || v.Withheld != nil {
			t.Errorf("once it was let out, it is shown as %s: %v", v.Stage, v.Withheld)
		}
	})
}

// TestAutomatic goes back by itself once in half an hour, and pages after that, also when the
// clock was set back.
func TestAutomatic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(t)
		w.release(t, Release{Version: 1, To: three})
		w.release(t, Release{Version: 2})
		w.release(t, Release{Version: 3})
		before := time.Now()
		if err := w.Automatic(t.Context(), fraud, 3, "drift is confirmed"); err != nil {
			t.Fatal(err)
		}
		if got := runs(w.sites["gw"].is()); got != "2" || time.Since(before) > time.Second {
			t.Errorf("the gateway runs %s after %v", got, time.Since(before))
		}
		synctest.Wait()
		w.wantRuns(t, map[string]string{"gw": "2", "fn": "2", "edge": "2"})
		time.Sleep(29 * time.Minute)
		for range 3 {
			if err := w.Automatic(t.Context(), fraud, 2, "drift is confirmed"); pavise.KindOf(err) != pavise.Throttled {
				t.Errorf("%v", err)
			}
		}
		w.wantNotes(t, map[string]int{KindRolledBack: 1, KindPaged: 1})
		w.skew.Store(int64(-5 * time.Hour))
		if err := w.Automatic(t.Context(), fraud, 2, "drift is confirmed"); pavise.KindOf(err) != pavise.Throttled {
			t.Errorf("a clock that was set back: %v", err)
		}
		w.skew.Store(0)
		time.Sleep(2 * time.Minute)
		if err := w.Automatic(t.Context(), fraud, 2, "drift is confirmed"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		w.wantRuns(t, map[string]string{"gw": "1", "fn": "1", "edge": "1"})
		if err := w.Automatic(t.Context(), fraud, 1, "drift is confirmed"); pavise.KindOf(err) != pavise.Conflict {
			t.Errorf("there is nothing before: %v", err)
		}
	})
}

// TestClockSetBack has the clock set back by a day: targets are looked at all the same.
func TestClockSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(t)
		w.release(t, Release{Version: 1, To: three})
		w.skew.Store(int64(-24 * time.Hour))
		w.sites["fn"].set(func(s *site) { s.state.Main = "sha256:evil" })
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		w.wantRuns(t, map[string]string{"gw": "1", "fn": "1", "edge": "1"})
		w.wantNotes(t, map[string]int{KindUnapproved: 1})
	})
}

// TestWentBackAlone has a machine at the edge go back by itself: it is told, and the machine
// is left where it is until another release.
func TestWentBackAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(t)
		w.release(t, Release{Version: 1, To: three})
		w.release(t, Release{Version: 2})
		w.sites["edge"].set(func(s *site) {
			s.state = State{Main: artefactOf(w.reg.versions[1]), Alone: true, Problem: "its health command ended with 1"}
		})
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		w.wantRuns(t, map[string]string{"gw": "2", "fn": "2", "edge": "1"})
		w.wantNotes(t, map[string]int{KindRolledBack: 1})
		v := w.now(t)
		if s := v.spot(target("edge")); s.Main.Version != 1 || s.Applied != s.Revision {
			t.Errorf("%+v", s)
		}
	})
}

// TestRegistryAway has the registry not answer: nothing is undone, and it is told later how
// far the versions came.
func TestRegistryAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(t)
		w.release(t, Release{Version: 1, To: three})
		w.release(t, Release{Version: 2, To: three[:1]})
		w.reg.words()
		w.reg.away(errors.New("away"))
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		w.wantRuns(t, map[string]string{"gw": "2", "fn": "1", "edge": "1"})
		w.reg.away(nil)
		time.Sleep(longRest)
		synctest.Wait()
		if v := w.now(t); v.Ready != 3 {
			t.Errorf("%+v", v)
		}
	})
}

// TestCheck looks at once, and does not wait for the time of any target.
func TestCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.release(t, Release{Version: 1, To: three})
		v, err := w.Check(t.Context(), ana, fraud)
		if err != nil || v.Ready != 3 || v.Stage != StageLive {
			t.Errorf("%+v %v", v, err)
		}
		w.wantWords(t, "1 live")
		w.sites["fn"].set(func(s *site) { s.state.Main = "sha256:evil" })
		if v, err = w.Check(t.Context(), ana, fraud); err != nil || v.Stage != StageAlarm {
			t.Errorf("%+v %v", v, err)
		}
		if _, err := w.Check(t.Context(), ana, pavise.Name{Tenant: "local", Kind: Kind, ID: "none"}); pavise.KindOf(err) != pavise.NotFound {
			t.Errorf("%v", err)
		}
	})
}
