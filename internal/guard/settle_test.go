package guard

import (
	"errors"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/record"
)

// leftOpen returns, from the whole log, the Enters that nothing closes, and
// fails on one that is closed twice.
func leftOpen(t *testing.T, records []record.Record) []uint64 {
	t.Helper()
	open := map[uint64]bool{}
	for i, r := range records {
		if r.Phase == record.Enter {
			open[uint64(i)] = true
		} else if r.Enter != nil {
			if !open[*r.Enter] {
				t.Fatalf("record %d closes %d, which is not open", i, *r.Enter)
			}
			delete(open, *r.Enter)
		}
	}
	var left []uint64
	for i := range open {
		left = append(left, i)
	}
	slices.Sort(left)
	return left
}

// restart opens a guard over the first n records of a log.
func restart(t *testing.T, records []record.Record) (*Guard, *fakeLog) {
	t.Helper()
	log := &fakeLog{records: slices.Clone(records), hows: make([]ledger.Durability, len(records))}
	g, err := New(Config{Actions: testActions(), Log: log, Now: func() time.Time { return epoch }})
	if err != nil {
		t.Fatal(err)
	}
	few := map[string]string{} // compiling all takes longer than most recoveries
	for _, id := range []string{"operator-runs", "caller-uses-models"} {
		few[id] = Defaults()[id]
	}
	if err := g.Load("local", few); err != nil {
		t.Fatal(err)
	}
	return g, log
}

// TestRecoverAfterEveryCrash runs a seeded mix of acts, cuts the log after
// every record, recovers, and crashes that recovery after every record too.
func TestRecoverAfterEveryCrash(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	g, log := newGuard(t, nil)
	var open []*Entry
	for range 60 {
		switch {
		case rng.IntN(3) > 0 && len(open) < 5:
			e, err := g.Enter(t.Context(), operator, "route.put", route)
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, e)
		case rng.IntN(4) == 0:
			e, err := g.Enter(t.Context(), caller, "model.infer", model)
			if err != nil {
				t.Fatal(err)
			}
			e.Exit(nil)
		case len(open) > 0:
			i := rng.IntN(len(open))
			open[i].Exit(nil)
			open = slices.Delete(open, i, i+1)
		}
	}
	if why := unsound(log.records); why != "" {
		t.Fatal(why)
	}
	step := 1
	if testing.Short() {
		step = 9
	}
	for cut := 0; cut <= len(log.records); cut += step {
		recoverAndCrash(t, log.records[:cut])
	}
}

// recoverAndCrash recovers the log in as many lives as it takes when each dies
// after one record more of recovery.
func recoverAndCrash(t *testing.T, records []record.Record) {
	t.Helper()
	want := len(leftOpen(t, records))
	g, log := restart(t, records)
	if n, err := g.Recover(t.Context()); err != nil || n != want {
		t.Fatalf("cut at %d: closed %d, error %v, want %d", len(records), n, err, want)
	}
	if n, err := g.Recover(t.Context()); err != nil || n != 0 {
		t.Fatalf("cut at %d: second Recover closed %d, error %v", len(records), n, err)
	}
	if left := leftOpen(t, log.records); len(left) > 0 {
		t.Fatalf("cut at %d: left open %d", len(records), left)
	}
	if settled := g.open.settled(log); settled != log.Size() {
		t.Fatalf("cut at %d: recovered, but only %d of %d is settled", len(records), settled, log.Size())
	}
	for lives := range want {
		g, log := restart(t, records)
		budget := lives
		log.fail = func(*record.Record) error {
			if budget--; budget < 0 {
				return errors.New("the process died")
			}
			return nil
		}
		if _, err := g.Recover(t.Context()); err == nil {
			t.Fatal("recovery did not notice that it died")
		}
		if why := unsound(log.records); why != "" {
			t.Fatal(why)
		}
		g, log = restart(t, log.records)
		if _, err := g.Recover(t.Context()); err != nil || len(leftOpen(t, log.records)) > 0 {
			t.Fatalf("cut at %d, died after %d: error %v, left open %d", len(records), lives, err, leftOpen(t, log.records))
		}
	}
}

// TestEnterBeforeRecover: acts of the new process are not closed by recovery,
// and their records do not hide what it still has to close.
func TestEnterBeforeRecover(t *testing.T) {
	g, log := newGuard(t, nil)
	if _, err := g.Enter(t.Context(), operator, "route.put", route); err != nil {
		t.Fatal(err)
	}
	g, log = restart(t, log.records)
	e, err := g.Enter(t.Context(), operator, "route.put", route)
	if err != nil {
		t.Fatal(err)
	}
	if why := unsound(log.records); why != "" {
		t.Fatal(why)
	}
	if n, err := g.Recover(t.Context()); n != 1 || err != nil {
		t.Fatalf("closed %d, error %v, want 1", n, err)
	}
	if r := log.last(t); r.Phase != record.Interrupted || *r.Enter != 0 || !r.Safe || r.Kind != "route.put" || r.Who == nil {
		t.Errorf("recorded as %+v", r)
	}
	e.Exit(&err)
	if err != nil || len(leftOpen(t, log.records)) != 0 {
		t.Errorf("error %v, left open %d", err, leftOpen(t, log.records))
	}
}

// TestWhatGotLostIsFoundAtRestart: an Exit that could not be written, and an
// Enter that was written although its append reported an error, are closed.
func TestWhatGotLostIsFoundAtRestart(t *testing.T) {
	for what, lose := range map[string]func(*Guard, *fakeLog){
		"exit": func(g *Guard, log *fakeLog) {
			e, err := g.Enter(t.Context(), operator, "route.put", route)
			if err != nil {
				t.Fatal(err)
			}
			log.fail = func(*record.Record) error { return errors.New("disk full") }
			e.Exit(&err)
		},
		"enter": func(g *Guard, log *fakeLog) {
			log.fail = func(r *record.Record) error {
				log.records = append(log.records, *r)
				log.hows = append(log.hows, ledger.Written)
				return errors.New("no answer from the disk")
			}
			if _, err := g.Enter(t.Context(), operator, "route.put", route); err == nil {
				t.Fatal("Enter did not notice")
			}
		},
	} {
		g, log := newGuard(t, nil)
		lose(g, log)
		log.fail = nil
		for range 3 {
			e, err := g.Enter(t.Context(), operator, "route.put", route)
			if err != nil {
				t.Fatal(err)
			}
			e.Exit(&err)
		}
		g, _ = restart(t, log.records)
		if n, err := g.Recover(t.Context()); n != 1 || err != nil {
			t.Errorf("%s: closed %d, error %v, want 1", what, n, err)
		}
	}
}

// blindLog cannot read back its records.
type blindLog struct{ fakeLog }

func (l *blindLog) Records(from, to uint64) iter.Seq2[uint64, record.Record] {
	return func(func(uint64, record.Record) bool) {}
}

func TestUnreadableLogIsNotStarted(t *testing.T) {
	log := &blindLog{fakeLog{records: make([]record.Record, 3)}}
	if _, err := New(Config{Actions: testActions(), Log: log}); pavise.KindOf(err) != pavise.Unavailable || !strings.Contains(err.Error(), "record 0 ") {
		t.Errorf("error %v, want unavailable", err)
	}
}
