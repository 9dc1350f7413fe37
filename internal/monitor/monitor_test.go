package monitor

import (
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/drift"
)

// TestSteady: a model that goes on as it was is stable, over hours.
func TestSteady(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.learn()
		w.windows(30)
		if v := w.stands(); v.Verdict.Stage == Confirmed || v.Missed > 0 {
			t.Errorf("%+v", v)
		}
		if len(w.notes(KindLearned)) != 1 || len(w.notes(KindConfirmed)) != 0 {
			t.Errorf("%d learnt, %v confirmed", len(w.notes(KindLearned)), w.notes(KindConfirmed))
		}
	})
}

// TestBadVersion: a version whose outputs move when it begins to answer, while inputs do not,
// is rolled back, once three windows agree, and within the second of their end.
func TestBadVersion(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.learn()
		w.version, w.model = "v2", worse
		w.windows(2)
		if len(w.house.rolled()) > 0 {
			t.Fatal("it was rolled back before three windows agreed")
		}
		w.windows(2)
		if back := w.house.rolled(); len(back) != 1 || back[0] != "v2" {
			t.Fatalf("%v was rolled back: %+v", back, w.stands())
		}
		v := w.stands().Verdict
		if v.Cause != drift.BadVersion || v.Former != "v1" {
			t.Errorf("%+v", v)
		}
		contains(t, w.told().Summary, "answered by the one before")
		if bad := w.BadVersions(); len(bad) != 1 || bad[0].Version != "v2" {
			t.Errorf("bad are %+v", bad)
		}
		w.version, w.model = "v1", steady
		for who := range w.who { // it answers, and no window has ended since
			w.ask(who, 1)
		}
		time.Sleep(w.Monitor.cfg.Window / 10)
		synctest.Wait()
		if bad := w.BadVersions(); len(bad) != 0 || w.stands().Verdict.Stage != Confirmed {
			t.Errorf("of what another version did, it says that %+v are bad: %+v", bad, w.stands().Verdict)
		}
		w.windows(3)
		if v := w.stands().Verdict; v.Stage != Stable {
			t.Errorf("after it was rolled back: %+v", v)
		}
		if len(w.notes(KindEnded)) != 1 {
			t.Error("nobody says that it is well again")
		}
	})
}

// TestShiftedTraffic: inputs that move are no version's fault, even when the outputs move with
// them the moment that a version begins to answer.
func TestShiftedTraffic(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.house.former = steady
		w.learn()
		w.version = "v2"
		w.shift = func(_ int, row []float64) { row[0] += 1 }
		w.windows(6)
		if back := w.house.rolled(); len(back) > 0 {
			t.Fatalf("%v was rolled back by who shifts what is asked", back)
		}
		if v := w.stands().Verdict; v.Cause != drift.Traffic {
			t.Errorf("%+v", v)
		}
		contains(t, w.told().Summary, "retraining")
	})
}

// TestFewCallers: a few who shift what they ask are named and slowed down, and nothing else.
func TestFewCallers(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.learn()
		w.shift = func(who int, row []float64) {
			if who == 3 {
				row[0] += 4
			}
		}
		w.windows(5)
		held := w.house.held()
		if len(held) == 0 || held[0].ID != "caller-3" || len(w.house.rolled()) > 0 {
			t.Fatalf("held %v, rolled back %v: %+v", held, w.house.rolled(), w.stands())
		}
	})
}

// TestFewCannotDowngrade: three callers whose answers move, with inputs whose columns look as
// they did, do not bring an old version back the moment that one is released.
func TestFewCannotDowngrade(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.learn()
		w.version = "v2"
		evil := false
		w.shift = func(who int, row []float64) { evil = who < 3; row[1] = math.Copysign(row[1], row[1]) }
		w.model = func(x float64) float64 { // what they ask looks like anything, and is answered high
			if evil {
				return min(1, steady(x)+0.45)
			}
			return steady(x)
		}
		w.windows(7)
		if back := w.house.rolled(); len(back) > 0 {
			t.Fatalf("three callers had %v rolled back: %+v", back, w.stands())
		}
		if v := w.stands().Verdict; v.Cause != drift.Unclear {
			t.Errorf("%+v", v)
		}
		contains(t, w.told().Summary, "somebody has to look")
	})
}

// TestOneCallerIsEnoughWhereNoneIsFeared: who says so has a version rolled back by what one
// caller sees.
func TestOneCallerIsEnoughWhereNoneIsFeared(t *testing.T) {
	t.Parallel()
	for few, want := range map[int]int{0: 0, -1: 1} {
		in(t, func(t *testing.T) {
			w := newWorld(t, func(c *Config) { c.Few = few })
			w.who = 1
			w.learn()
			w.version, w.model = "v2", worse
			w.windows(5)
			if back := w.house.rolled(); len(back) != want {
				t.Errorf("few %d: %v was rolled back: %+v", few, back, w.stands())
			}
		})
	}
}

// TestTheVersionBeforeIsAsked: outputs that move later than a release are a version's fault when
// the one before answers the same requests as it did, and not when it answers alike.
func TestTheVersionBeforeIsAsked(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		former func(float64) float64
		want   int
	}{"it answers as it did": {steady, 1}, "it answers alike": {worse, 0}, "it cannot be asked": {nil, 0}} {
		in(t, func(t *testing.T) {
			w := newWorld(t)
			w.house.former = c.former
			w.learn()
			w.version = "v2"
			w.windows(8)
			w.model = worse
			w.windows(6)
			if back := w.house.rolled(); len(back) != c.want {
				t.Errorf("%s: %v was rolled back: %+v", name, back, w.stands())
			}
			if w.house.asked == 0 {
				t.Error("nobody asked")
			}
		})
	}
}

// TestOneRollbackInHalfAnHour: the house does not go back and back; then people are called.
func TestOneRollbackInHalfAnHour(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.learn()
		for _, version := range []string{"v2", "v3"} { // four windows each: within half an hour
			w.version, w.model = version, worse
			w.windows(3)
			w.version, w.model = "v1", steady
			w.windows(1)
		}
		if back := w.house.rolled(); len(back) != 1 {
			t.Errorf("%v was rolled back", back)
		}
		all := w.notes(KindActed)
		contains(t, all[len(all)-1].Summary, "not twice")
		if all[len(all)-1].Severity != pavise.Critical {
			t.Error("nobody is called")
		}
	})
}

// TestNoWayBack: where the version before may not answer, people are called.
func TestNoWayBack(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.house.fail = errors.New("the version before is in quarantine")
		w.learn()
		w.version, w.model = "v2", worse
		w.windows(5)
		f := w.told()
		contains(t, f.Summary, "in quarantine")
		if f.Severity != pavise.Critical {
			t.Errorf("%+v", f)
		}
	})
}

// TestBackElsewhere: where others bring versions back, nobody is called for it here.
func TestBackElsewhere(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.house.fail = &pavise.Error{Kind: pavise.Unavailable, Msg: "the control plane is told", Err: ErrElsewhere}
		w.learn()
		w.version, w.model = "v2", worse
		w.windows(5)
		f := w.told()
		contains(t, f.Summary, "the control plane is told")
		if f.Severity != pavise.Warning || len(w.BadVersions()) != 1 {
			t.Errorf("%+v, %v", f, w.BadVersions())
		}
		select {
		case <-w.Found():
		default:
			t.Error("nobody hears of it")
		}
	})
}

// TestUnseenWords: words that the baseline never had, and none at all, are inputs that moved.
func TestUnseenWords(t *testing.T) {
	t.Parallel()
	for _, word := range []string{"quic", ""} {
		in(t, func(t *testing.T) {
			w := newWorld(t)
			w.learn()
			n := 0
			w.word = func(int) string {
				if n++; n%10 == 0 {
					return word
				}
				return []string{"tcp", "udp", "icmp"}[n%3]
			}
			w.windows(5)
			v := w.stands().Verdict
			if v.Stage != Confirmed || len(v.Features) == 0 || v.Features[0] != "input word" {
				t.Errorf("%q: %+v", word, v)
			}
		})
	}
}

// TestNaN: what is no number is nothing, and moves a feature when there is more of it.
func TestNaN(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.learn()
		w.model = func(x float64) float64 {
			if x > 1.5 {
				return math.NaN()
			}
			return steady(x)
		}
		w.windows(5)
		if v := w.stands().Verdict; v.Stage != Confirmed || v.Cause == drift.BadVersion {
			t.Errorf("%+v", v)
		}
	})
}

// TestRestart: counts, votes, the version and what was done outlive the process.
func TestRestart(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.learn()
		w.version, w.model = "v2", worse
		w.windows(2)
		w.stop()
		time.Sleep(time.Hour)
		w.run()
		w.windows(3)
		if back := w.house.rolled(); len(back) != 1 {
			t.Fatalf("%v was rolled back: %+v", back, w.stands())
		}
		if len(w.notes(KindLearned)) != 1 {
			t.Error("a baseline was learnt anew")
		}
		w.stop()
		w.run()
		w.version, w.model = "v3", worse
		w.windows(4)
		if back := w.house.rolled(); len(back) != 1 {
			t.Errorf("a restart forgot that it was rolled back: %v", back)
		}
	})
}

// TestFlood: what is too much is dropped and counted, and nobody waits, not even where nothing is
// counted meanwhile.
func TestFlood(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.stop()
		w.open()
		for range 3 * waiting {
			w.ask(0, 10)
		}
		w.begin()
		time.Sleep(time.Minute)
		if v := w.stands(); v.Missed != 2*waiting || v.Counted != waiting {
			t.Errorf("%d missed, %d counted", v.Missed, v.Counted)
		}
		w.ask(0, 1<<20/4)
		if held := w.queue.held.Load(); held > oneElements {
			t.Errorf("%d numbers wait of one exchange", held)
		}
	})
}

// TestClockSetBack: windows go by the time that passes, whatever the clock says.
func TestClockSetBack(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		skew := time.Duration(0)
		w := newWorld(t, func(c *Config) { c.Now = func() time.Time { return time.Now().Round(0).Add(skew) } })
		w.learn()
		skew = -48 * time.Hour
		w.version, w.model = "v2", worse
		w.windows(5)
		if back := w.house.rolled(); len(back) != 1 {
			t.Errorf("%v was rolled back: %+v", back, w.stands())
		}
	})
}

// TestNobodyIsNamedForTheirNeighbour: a caller who does nothing is not named, whoever falls into
// the same group and however small windows are.
func TestNobodyIsNamedForTheirNeighbour(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.who = 32 // twice as many as there are groups
		w.learn()
		w.shift = func(who int, row []float64) {
			if who < 2 {
				row[0] += 6
			}
		}
		w.windows(26) // over hours, in which groups are drawn anew
		for _, who := range w.house.held() {
			if who.ID != "caller-0" && who.ID != "caller-1" {
				t.Errorf("%s is slowed down, and did nothing", who)
			}
		}
	})
}
