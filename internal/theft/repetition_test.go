package theft

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/pavise/pavise"
)

// some draws rows of one client.
func some(w *world, rng *rand.Rand, n int) (rows [][]float64) {
	next := w.habit(rng)
	for range n {
		rows = append(rows, next())
	}
	return rows
}

// inTurns asks rows one after another, again and again.
func inTurns(rows [][]float64) func() []float64 {
	i := -1
	return func() []float64 { i++; return rows[i%len(rows)] }
}

// timers ask few rows often, to time the model or to average what it says.
var timers = map[string]struct {
	thief
	most int // rows until it is found; 0: it is not, within 2,500
}{
	"two rows in turns": {func(w *world, rng *rand.Rand) func() []float64 { return inTurns(some(w, rng, 2)) }, 102},
	"two rows, one after the other": {func(w *world, rng *rand.Rand) func() []float64 {
		rows, n := some(w, rng, 2), -1
		return func() []float64 { n++; return rows[n/150%2] }
	}, 300},
	"twenty rows in turns": {func(w *world, rng *rand.Rand) func() []float64 { return inTurns(some(w, rng, 20)) }, 300},
	"twenty rows, thirty times each, in any order": {func(w *world, rng *rand.Rand) func() []float64 {
		rows := some(w, rng, 20)
		order := rng.Perm(600)
		n := -1
		return func() []float64 { n++; return rows[order[n%600]%20] }
	}, 300},
	"two rows among three times as many honest ones": {func(w *world, rng *rand.Rand) func() []float64 {
		return diluted(w, rng, 0.25, func(w *world, rng *rand.Rand) func() []float64 { return inTurns(some(w, rng, 2)) })
	}, 600},
	"twenty rows among three times as many honest ones": {func(w *world, rng *rand.Rand) func() []float64 {
		return diluted(w, rng, 0.25, func(w *world, rng *rand.Rand) func() []float64 { return inTurns(some(w, rng, 20)) })
	}, 0},
}

// TestTimersAreFound: who asks few rows again and again is found, and by that.
func TestTimersAreFound(t *testing.T) {
	w, c := calibrated(t)
	for name, k := range timers {
		for i := range 5 {
			n, s := found(c, w, 2500, k.thief(w, clientRand(44, i)))
			if k.most > 0 && (n == 0 || n > k.most || !slices.Contains(repeatNames[:], s.Detector) || s.Score <= s.Threshold) {
				t.Errorf("%s: after %d rows: %+v", name, n, s)
			}
			if k.most == 0 && n > 0 && slices.Contains(repeatNames[:], s.Detector) {
				t.Errorf("%s is found, by %+v: say so in docs/theft.md and LIMITATIONS.md", name, s)
			}
		}
	}
}

// pollers repeat rows for honest reasons.
var pollers = map[string]thief{
	"a monitor":                  func(w *world, rng *rand.Rand) func() []float64 { return inTurns(some(w, rng, 1)) },
	"a monitor beside the calls": func(w *world, rng *rand.Rand) func() []float64 { return watchedCalls(w, rng, 2) },
	"a monitor nine times in ten": func(w *world, rng *rand.Rand) func() []float64 {
		ping, use := some(w, rng, 1)[0], w.habit(rng)
		return func() []float64 {
			if rng.IntN(10) > 0 {
				return ping
			}
			return use()
		}
	},
	"calls that are tried again": func(w *world, rng *rand.Rand) func() []float64 {
		use, row, left := w.habit(rng), []float64(nil), 0
		return func() []float64 {
			if left--; left < 0 {
				if row, left = use(), 0; rng.IntN(10) == 0 {
					left = 1 + rng.IntN(4)
				}
			}
			return row
		}
	},
	"everything twice":       func(w *world, rng *rand.Rand) func() []float64 { return each(w.habit(rng), 2) },
	"everything three times": func(w *world, rng *rand.Rand) func() []float64 { return each(w.habit(rng), 3) },
	"a test of forty rows":   func(w *world, rng *rand.Rand) func() []float64 { return inTurns(some(w, rng, 40)) },
	"a test of hundred rows": func(w *world, rng *rand.Rand) func() []float64 { return inTurns(some(w, rng, 100)) },
	"forty rows in any order": func(w *world, rng *rand.Rand) func() []float64 {
		rows := some(w, rng, 40)
		return func() []float64 { return rows[rng.IntN(40)] }
	},
}

// watchedCalls asks one row beside every so many.
func watchedCalls(w *world, rng *rand.Rand, every int) func() []float64 {
	ping, use, n := some(w, rng, 1)[0], w.habit(rng), 0
	return func() []float64 {
		if n++; n%every == 0 {
			return ping
		}
		return use()
	}
}

// each asks every row so many times.
func each(next func() []float64, times int) func() []float64 {
	var row []float64
	n := -1
	return func() []float64 {
		if n++; n%times == 0 {
			row = next()
		}
		return row
	}
}

// TestPollersStayGreen: who repeats rows for honest reasons is not found for it, though the
// calibration has seen nobody who does.
func TestPollersStayGreen(t *testing.T) {
	w, c := calibrated(t)
	for name, k := range pollers {
		for i := range 5 {
			if n, s := found(c, w, 2500, k(w, clientRand(45, i))); n > 0 && slices.Contains(repeatNames[:], s.Detector) {
				t.Errorf("%s: after %d rows: %+v", name, n, s)
			}
		}
	}
}

// dashboard polls a few rows in turns.
func dashboard(w *world, i int) func() []float64 {
	rng := clientRand(46, i)
	return inTurns(some(w, rng, 3+rng.IntN(20)))
}

// withDashboards is honest traffic of whom so many are dashboards.
func withDashboards(w *world, clients, dashboards int) Traffic {
	return func(yield func(*Asked, error) bool) {
		for i := range dashboards {
			next := dashboard(w, i)
			for range 400 {
				if !yield(w.asked(fmt.Sprint("dashboard-", i), next()), nil) {
					return
				}
			}
		}
		w.honest(0, clients, 250)(yield)
	}
}

// TestRecordedPollersSetTheBound: dashboards that a calibration has seen stay green as other
// honest clients do, within its bound, and do not blind the other detectors.
func TestRecordedPollersSetTheBound(t *testing.T) {
	w, plain := calibrated(t)
	c, err := Calibrate(recorded(withDashboards(w, 60, 8)), 0.02, 1)
	if err != nil {
		t.Fatal(err)
	}
	if c.Repetition.Threshold > 3 || c.Taken() <= c.Bound || c.Repetition.Judged < c.Judged {
		t.Errorf("threshold %.2f, bound %.3f of %d judged", c.Repetition.Threshold, c.Repetition.Bound, c.Repetition.Judged)
	}
	amber := 0
	for i := range 16 { // and 120 others, as in the calibration
		if n, s := found(c, w, 1000, dashboard(w, 1000+i)); n > 0 {
			amber++
			t.Logf("dashboard %d: %+v", i, s)
		}
	}
	e := NewExtraction(c)
	for a := range w.honest(2000, 2120, 250) {
		if s, ok := e.See(a); ok {
			amber++
			t.Logf("%+v", s)
		}
	}
	if amber > int(c.Taken()*136)+2 {
		t.Errorf("%d of 136 honest clients left green, with a bound of %.3f", amber, c.Taken())
	}
	if n, s := found(c, w, 600, timers["two rows, one after the other"].thief(w, clientRand(47, 1))); n == 0 {
		t.Errorf("a timer is not found beside dashboards: %+v", s)
	}
	one, err := Calibrate(recorded(withDashboards(w, 60, 1)), 0.02, 1)
	if err != nil {
		t.Fatal(err)
	}
	if one.Threshold > 1.5*plain.Threshold {
		t.Errorf("one dashboard in %d clients moves the threshold of all other measures from %.2f to %.2f", one.Clients, plain.Threshold, one.Threshold)
	}
}

// TestCalibrationsOfOtherVersions: a file of another form is refused, whether or not its parts
// would fit, and says what to do; and so is one that lacks a part that clients are judged by.
func TestCalibrationsOfOtherVersions(t *testing.T) {
	_, _, text := small(t)
	for _, version := range []string{"1", "2", "3", "4", "5", "7", "40"} {
		other := bytes.Replace(text, []byte(calibrationFormat), []byte("pavise.calibration/"+version), 1)
		var refused *pavise.Error
		if _, err := ParseCalibration(other); !errors.As(err, &refused) || refused.Kind != pavise.Invalid || !strings.Contains(refused.Msg, "made by another version") || !strings.Contains(refused.Hint, "pavise firewall calibrate") {
			t.Errorf("%s: %v", version, err)
		}
		if !IsCalibration(other) {
			t.Errorf("%s is not known for a calibration", version)
		}
	}
	for _, member := range []string{"repetition", "near", "near_own"} {
		var v map[string]json.RawMessage
		if err := json.Unmarshal(body(t, text), &v); err != nil {
			t.Fatal(err)
		}
		for _, value := range []string{"", "0", "-1", "null"} {
			delete(v, member)
			if value != "" {
				v[member] = json.RawMessage(value)
			}
			b, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := ParseCalibration(signed(b)); pavise.KindOf(err) != pavise.Invalid {
				t.Errorf("%s: %q is taken: %v", member, value, err)
			}
		}
	}
}

// TestRepetitionGoesOn breaks off in the middle of what is repeated, and goes on with what was
// kept of it.
func TestRepetitionGoesOn(t *testing.T) {
	w, c := calibrated(t)
	for name, k := range timers {
		at, want := found(c, w, 400, k.thief(w, clientRand(48, 1)))
		e, next := bound(c), k.thief(w, clientRand(48, 1))
		for i := 1; i <= max(at, 50); i++ {
			if i%37 == 0 {
				study, ok := e.AppendStudy(nil, "somebody")
				if !ok {
					t.Fatal("nothing was kept")
				}
				e = bound(c)
				if err := e.Restore("somebody", study); err != nil {
					t.Fatal(err)
				}
			}
			s, ok := e.See(w.asked("somebody", next()))
			if ok != (i == at) || ok && s != want {
				t.Errorf("%s: at %d of %d: %v, and not %v", name, i, at, s, want)
			}
		}
	}
}

// TestRepetitionIsBounded: whatever is asked, what is kept of it stays as large.
func TestRepetitionIsBounded(t *testing.T) {
	var r repeating
	rng := clientRand(49, 1)
	for i := range 200_000 {
		exact := uint64(rng.IntN(1 + i/100))
		r.see(exact, rng.IntN(3) > 0)
		if len(r.counted) > repeatCounted || r.others() < 0 || r.most.times > r.rows+1 {
			t.Fatalf("after %d rows: %d counted, %d others, most %d", i, len(r.counted), r.others(), r.most.times)
		}
		if r.due(looks) {
			var values [repeats]float64
			r.values(&values)
			for m, v := range values {
				if !(v >= 0 && v < 64) {
					t.Fatalf("%s is %v", repeatNames[m], v)
				}
			}
			r.next(len(looks))
		}
	}
}

// TestManyWhoAskTheSame: what many names ask alike is no repetition of one, in a pool.
func TestManyWhoAskTheSame(t *testing.T) {
	w, c := calibrated(t)
	e, next := NewExtraction(c), inTurns(some(w, clientRand(50, 1), 2))
	for range 1000 {
		if s, ok := e.SeePool(w.asked("network 192.0.2.0/24", next())); ok {
			t.Fatalf("%+v", s)
		}
	}
}
