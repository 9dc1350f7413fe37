package guard

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/record"
)

func TestControlRecordsQuestionAndEnding(t *testing.T) {
	g, log := newGuard(t, nil)
	e, err := g.Enter(t.Context(), operator, "route.put", route)
	if err != nil {
		t.Fatal(err)
	}
	if len(log.records) != 1 || log.hows[0] != ledger.Durable || log.records[0].Phase != record.Enter || at(t, e) != 0 {
		t.Fatalf("Enter left %+v", log.records)
	}
	e.Detail(map[string]int{"weight": 3})
	err = &pavise.Error{Kind: pavise.Conflict, Msg: "route changed", Err: errors.New("secret cause")}
	e.Exit(&err)
	r := log.last(t)
	if len(log.records) != 2 || log.hows[1] != ledger.Durable || r.Phase != record.Exit || r.Enter == nil || *r.Enter != 0 {
		t.Fatalf("Exit left %+v", r)
	}
	if r.Error == nil || *r.Error != (record.Failure{Kind: "conflict", Msg: "route changed"}) || string(r.Detail) != `{"weight":3}` {
		t.Errorf("Exit left %+v", r)
	}
	e.Exit(&err)
	if len(log.records) != 2 {
		t.Error("second Exit left a record")
	}
}

func TestPooledRecordsOnce(t *testing.T) {
	g, log := newGuard(t, nil)
	e, err := g.Enter(t.Context(), caller, "model.infer", model)
	if err != nil || len(log.records) != 0 {
		t.Fatalf("Enter: %v and %d records", err, len(log.records))
	}
	e.Verdict(pavise.Verdict{Check: "shape", Outcome: pavise.Alter})
	e.Verdict(pavise.Verdict{Check: "budget", Outcome: pavise.Deny, Observed: true})
	e.Seal([]byte{1, 2, 3})
	e.Exit(&err)
	r := log.last(t)
	if log.hows[0] != ledger.Written || r.Phase != record.Act || r.Outcome != pavise.Alter || len(r.Verdicts) != 2 || len(r.Sealed) != 3 {
		t.Errorf("recorded as %+v", r)
	}
	if e, err = g.Enter(t.Context(), caller, "model.infer", model); err != nil {
		t.Fatal(err)
	}
	e.Verdict(pavise.Verdict{Check: "budget", Outcome: pavise.Deny})
	e.Exit(&err)
	if r := log.last(t); r.Outcome != pavise.Deny || at(t, e) != 1 {
		t.Errorf("recorded at %d as %+v", at(t, e), r)
	}
	if e, err = g.Enter(t.Context(), caller, "model.infer", model); err != nil {
		t.Fatal(err)
	}
	e.Verdict(pavise.Verdict{Check: "rounding", Outcome: pavise.Alter, Observed: true})
	e.Exit(&err)
	if r := log.last(t); r.Outcome != pavise.Allow {
		t.Errorf("an observed alteration was recorded as %+v", r)
	}
}

func TestPanicLeavesARecord(t *testing.T) {
	g, log := newGuard(t, nil)
	act := func() (err error) {
		e, err := g.Enter(t.Context(), caller, "model.infer", model)
		if err != nil {
			return err
		}
		defer e.Exit(&err)
		panic("tensor out of range")
	}
	func() {
		defer func() {
			if p := recover(); p != "tensor out of range" {
				t.Errorf("recovered %v", p)
			}
		}()
		_ = act()
	}()
	if r := log.last(t); r.Error == nil || r.Error.Kind != "internal" || !strings.Contains(r.Error.Msg, "tensor out of range") {
		t.Errorf("recorded as %+v", r)
	}
	if g.slots.busy != 0 {
		t.Error("slot was not released")
	}
}

func TestExitThatCannotBeRecorded(t *testing.T) {
	for _, verb := range []string{"model.infer", "route.put"} {
		who, on := caller, model
		if verb == "route.put" {
			who, on = operator, route
		}
		g, log := newGuard(t, nil)
		e, err := g.Enter(t.Context(), who, verb, on)
		if err != nil {
			t.Fatal(err)
		}
		log.fail = func(*record.Record) error {
			return &pavise.Error{Kind: pavise.Unavailable, Msg: "disk full", Hint: "free some"}
		}
		e.Exit(&err)
		if pavise.KindOf(err) != pavise.Unavailable {
			t.Errorf("%s: error %v, want unavailable", verb, err)
		}
		if failed, _ := errors.AsType[*pavise.Error](err); failed.Hint != "free some" {
			t.Errorf("%s: hint %q", verb, failed.Hint)
		}
		if e, err = g.Enter(t.Context(), who, verb, on); err == nil {
			own := errors.New("own failure")
			err = own
			e.Exit(&err)
			if err != own {
				t.Errorf("%s: the act's own error became %v", verb, err)
			}
		}
		if g.slots.busy != 0 {
			t.Errorf("%s: slot was not released", verb)
		}
	}
}

// TestInflatedPayloadDoesNotHideTheAct: whoever can make a payload too large
// for the log must not thereby act unrecorded.
func TestInflatedPayloadDoesNotHideTheAct(t *testing.T) {
	for what, inflate := range map[string]func(*Entry){
		"detail":   func(e *Entry) { e.Detail(strings.Repeat("x", 1<<17)) },
		"envelope": func(e *Entry) { e.Seal(make([]byte, 1<<17)) },
		"verdicts": func(e *Entry) {
			for range 5000 {
				e.Verdict(pavise.Verdict{Check: strings.Repeat("c", 100), Outcome: pavise.Allow, Reason: strings.Repeat("<", 500)})
			}
		},
		"no JSON": func(e *Entry) { e.Detail(func() {}) },
	} {
		g, log := newGuard(t, nil)
		e, err := g.Enter(t.Context(), caller, "model.infer", model)
		if err != nil {
			t.Fatal(err)
		}
		inflate(e)
		e.Exit(&err)
		if pavise.KindOf(err) != pavise.Internal || err == nil {
			t.Errorf("%s: error %v, want internal", what, err)
		}
		if r := log.last(t); r.Kind != "model.infer" || r.Error == nil {
			t.Errorf("%s: recorded as %+v", what, r)
		}
	}
}

// TestManyAtOnce lets ten thousand acts overlap and checks afterwards that no
// record claimed more to be settled than was.
func TestManyAtOnce(t *testing.T) {
	const acts = 10_000
	g, log := newGuard(t, func(c *Config) { c.Pool = share * acts })
	var group sync.WaitGroup
	for i := range acts {
		group.Go(func() {
			who, verb, on := caller, "model.infer", model
			switch {
			case i%10 == 0:
				who, verb, on = operator, "route.put", route
			case i%10 == 1:
				who = analyst
				who.ID = fmt.Sprint("ana", i) // one principal's many denials are not recorded one by one
			}
			e, err := g.Enter(t.Context(), who, verb, on)
			if (err != nil) != (i%10 == 1) {
				t.Errorf("act %d: %v", i, err)
			}
			if err != nil {
				return
			}
			e.Verdict(pavise.Verdict{Check: "shape", Outcome: pavise.Allow})
			e.Exit(&err)
			if err != nil {
				t.Errorf("act %d: %v", i, err)
			}
		})
	}
	group.Wait()
	if want := acts + acts/10; len(log.records) != want {
		t.Errorf("%d records, want %d", len(log.records), want)
	}
	if why := unsound(log.records); why != "" {
		t.Error(why)
	}
	if size := log.Size(); g.open.settled(log) != size || g.slots.busy != 0 {
		t.Errorf("all is over, but %d of %d is settled and %d slots are taken", g.open.settled(log), size, g.slots.busy)
	}
}

// unsound finds a record whose Settled passes an Enter still open before it.
func unsound(records []record.Record) string {
	open := map[uint64]bool{}
	for i, r := range records {
		for enter := range open {
			if enter < r.Settled && (r.Enter == nil || *r.Enter != enter) {
				return fmt.Sprintf("record %d says %d is settled, but %d is open", i, r.Settled, enter)
			}
		}
		switch {
		case r.Phase == record.Enter:
			open[uint64(i)] = true
		case r.Enter != nil:
			delete(open, *r.Enter)
		}
	}
	return ""
}

// at is the index of an entry's record, which must have been written.
func at(t *testing.T, e *Entry) uint64 {
	t.Helper()
	index, written := e.Record()
	if !written {
		t.Error("the entry has no record")
	}
	return index
}

func TestDurableEntryWaits(t *testing.T) {
	g, log := newGuard(t, nil)
	e, err := g.Enter(t.Context(), caller, "model.infer", model)
	if err != nil {
		t.Fatal(err)
	}
	e.Durable()
	e.Exit(nil)
	if log.hows[0] != ledger.Durable {
		t.Error("the record of a durable route was not waited for")
	}
}
