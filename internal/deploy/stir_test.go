package deploy

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestStir has a version put in quarantine: where the registry says so, the version before is
// back at once, although the next look is a minute away and one target hangs meanwhile.
func TestStir(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(t)
		w.release(t, Release{Version: 1, To: three})
		w.release(t, Release{Version: 2})
		time.Sleep(5 * time.Second)
		w.sites["fn"].set(func(s *site) { s.hangs = 50 * time.Second })
		w.reg.edit(2, func(v *Version) { v.State = "quarantined" })
		began := time.Now()
		w.Stir(w.reg.versions[2].Model)
		synctest.Wait()
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %v", took)
		}
		w.wantRuns(t, map[string]string{"gw": "1", "fn": "2", "edge": "1"})
		w.wantNotes(t, map[string]int{KindRolledBack: 1})
		w.sites["fn"].set(func(s *site) { s.hangs = 0 })
		time.Sleep(51 * time.Second)
		synctest.Wait()
		w.wantRuns(t, map[string]string{"gw": "1", "fn": "1", "edge": "1"})
	})
}

// TestStirOthers looks at no other model's targets.
func TestStirOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(t)
		w.release(t, Release{Version: 1, To: three})
		w.sites["gw"].set(func(s *site) { s.state.Main = "sha256:evil" })
		other := w.reg.versions[1].Model
		other.ID = "other"
		w.Stir(other)
		w.Heard() // and gw was not in trouble when it was looked at
		synctest.Wait()
		w.wantRuns(t, map[string]string{"gw": "sha256:evil", "fn": "1", "edge": "1"})
	})
}

// TestHeard has gateways come back after so long that the next look is minutes away: once one
// says something else of itself, what is said of the target is looked at anew.
func TestHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(t)
		w.release(t, Release{Version: 1, To: three})
		for _, id := range []string{"gw", "edge"} {
			w.sites[id].set(func(s *site) { s.lazy = true })
		}
		w.release(t, Release{Version: 2})
		time.Sleep(20 * time.Minute)
		for _, id := range []string{"gw", "edge"} {
			w.sites[id].set(func(s *site) { s.lazy = false; s.state.Main = artefactOf(w.reg.versions[2]) })
		}
		stood := func() (gw, edge string) {
			v := w.now(t)
			return v.spot(target("gw")).Problem, v.spot(target("edge")).Problem
		}
		if gw, edge := stood(); gw == "" || edge == "" {
			t.Fatalf("nothing is wrong: %q, %q", gw, edge)
		}
		began := time.Now()
		w.Heard()
		synctest.Wait()
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %v", took)
		}
		if gw, edge := stood(); gw != "" || edge == "" {
			t.Errorf("gateways say that they have it, and the problem is %q; at the edge, of which nothing was heard, %q", gw, edge)
		}
	})
}

// TestHeardIsNoTry has gateways say one after another that they have a version: that is how a
// release goes, and no target in trouble.
func TestHeardIsNoTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(t)
		w.release(t, Release{Version: 1, To: three})
		w.sites["gw"].set(func(s *site) { s.lazy = true })
		w.release(t, Release{Version: 2, To: three[:1]})
		for range 20 {
			time.Sleep(50 * time.Millisecond)
			w.Heard()
			synctest.Wait()
		}
		w.wantNotes(t, map[string]int{})
		time.Sleep(4 * time.Second)
		synctest.Wait()
		w.wantNotes(t, map[string]int{KindPartial: 1})
	})
}

// TestTroubleOfAClockAhead has a target in trouble while the clock is days ahead: once that is put
// right, it is tried again as ever, and no more often.
func TestTroubleOfAClockAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(t)
		w.release(t, Release{Version: 1, To: three})
		w.skew.Store(int64(5 * 24 * time.Hour))
		w.sites["gw"].set(func(s *site) { s.lazy = true })
		w.release(t, Release{Version: 2, To: three[:1]})
		time.Sleep(10 * time.Second)
		synctest.Wait()
		w.skew.Store(0)
		w.Heard()
		synctest.Wait()
		v := w.now(t)
		before := v.spot(target("gw")).Tries
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		v = w.now(t)
		if tries := v.spot(target("gw")).Tries - before; tries < 2 || tries > 20 {
			t.Errorf("it was tried %d times in ten minutes", tries)
		}
		w.sites["gw"].set(func(s *site) { s.lazy = false })
		time.Sleep(longRest)
		synctest.Wait()
		w.wantRuns(t, map[string]string{"gw": "2", "fn": "1", "edge": "1"})
	})
}
