package change

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/store"
)

var errBroken = errors.New("the bulb is broken")

// TestRunnersThatGoWrong has runners fail and panic before and after their effect. What
// counts is whether the effect is there; nothing is tried a second time, and the room
// goes on working.
func TestRunnersThatGoWrong(t *testing.T) {
	fail := func() error { return errBroken }
	refuse := func() error { return &pavise.Error{Kind: pavise.Conflict, Msg: "somebody was quicker", Err: errBroken} }
	breaks := func() error { panic("the bulb bursts") }
	for _, test := range []struct {
		what  string
		verb  string
		hooks hooks
		state State
		kind  pavise.Kind
		says  string
	}{
		{"an error before", "lamp.set", hooks{before: fail}, Failed, pavise.Internal, "bulb is broken"},
		{"a refusal before", "lamp.set", hooks{before: refuse}, Failed, pavise.Conflict, "somebody was quicker"},
		{"a panic before", "lamp.set", hooks{before: breaks}, Failed, pavise.Internal, "the bulb bursts"},
		{"an error after", "lamp.set", hooks{after: fail}, Done, pavise.Internal, "run as approved"},
		{"a panic after", "lamp.set", hooks{after: breaks}, Done, pavise.Internal, "run as approved"},
		{"an error before, outside", "bell.ring", hooks{before: fail}, Failed, pavise.Internal, "bulb is broken"},
		{"an error after, outside", "bell.ring", hooks{after: fail}, Done, pavise.Internal, "run as approved"},
		{"a panic after, outside", "bell.ring", hooks{after: breaks}, Done, pavise.Internal, "run as approved"},
		{"an error before, run first", "lamp.off", hooks{before: fail}, Failed, pavise.Internal, "bulb is broken"},
		{"a panic after, run first", "lamp.off", hooks{after: breaks}, Ran, pavise.Internal, "run first"},
	} {
		t.Run(test.what, func(t *testing.T) {
			w := newWorld(t)
			w.house.hook(test.hooks)
			ch, err := w.Propose(t.Context(), alice, Proposal{Verb: test.verb, On: lamp, Request: red})
			if test.verb != "lamp.off" {
				ch, err = w.Approve(t.Context(), bob, ch.Name, ch.Digest, "")
			}
			wantKind(t, err, test.kind)
			effects := 1
			if test.state == Failed {
				effects = 0
			}
			if ch == nil || ch.State != test.state || !strings.Contains(ch.Outcome, test.says) {
				t.Fatalf("%+v", ch)
			}
			w.expect(t, ch, test.state, effects)
			w.house.hook(hooks{})
			if err := w.Resume(t.Context()); err != nil {
				t.Error(err)
			}
			w.expect(t, ch, test.state, effects)
			if w.UnderWay(ch.Name, test.verb, lamp) {
				t.Error("it is under way still")
			}
			next := w.propose(t, alice, "lamp.set")
			w.approve(t, bob, next)
			w.expect(t, next, Done, 1)
		})
	}
}

// TestARunnerIsHeldToItsMark has a runner that marks its effect twice, one that forgets
// to, and one whose transaction fails after the mark: no effect is there twice, and
// none that nothing marks counts as done.
func TestARunnerIsHeldToItsMark(t *testing.T) {
	w := newWorld(t)
	times, fails := 1, false
	w.runAs(t, func(ctx context.Context, act Act) error {
		return w.db.Update(ctx, func(tx *store.Tx) error {
			for range times {
				if err := act.Mark(tx); err != nil {
					return err
				}
			}
			if fails {
				return errBroken
			}
			_, err := tx.Exec(`INSERT INTO lamp_effects (change) VALUES (?)`, act.Who.Change.ID)
			return err
		})
	})
	for _, test := range []struct {
		times   int
		fails   bool
		state   State
		effects int
	}{{1, false, Done, 1}, {2, false, Failed, 0}, {1, true, Failed, 0}, {0, false, Failed, 1}} {
		times, fails = test.times, test.fails
		ch := w.propose(t, alice, "lamp.set")
		w.Approve(t.Context(), bob, ch.Name, ch.Digest, "")
		w.expect(t, ch, test.state, test.effects)
	}
}

// runAs gives lamp.set another way to be run.
func (w *world) runAs(t testing.TB, run func(context.Context, Act) error) {
	t.Helper()
	r := w.Changes.runners["lamp.set"]
	r.Run = run
	w.Changes.runners["lamp.set"] = r
}

// TestAnActMayDoNothingElse lets a runner, while its change is under way, act as that
// change on that thing alone.
func TestAnActMayDoNothingElse(t *testing.T) {
	w := newWorld(t)
	attic := lamp
	attic.ID = "attic"
	w.runAs(t, func(ctx context.Context, act Act) error {
		for _, test := range []struct {
			verb string
			on   pavise.Name
			ok   bool
		}{{"lamp.set", lamp, true}, {"lamp.set", attic, false}, {"lamp.off", lamp, false}} {
			entry, err := w.guard.Enter(ctx, act.Who, test.verb, test.on)
			if (err == nil) != test.ok {
				t.Errorf("%s on %s: %v", test.verb, test.on, err)
			}
			if err == nil {
				entry.Exit(&err)
			}
		}
		return nil
	})
	ch := w.propose(t, alice, "lamp.set")
	w.Approve(t.Context(), bob, ch.Name, ch.Digest, "")
}

// TestAPlanThatCannotBeMadeNow decides on nothing while what a change depends on cannot
// be looked at, and goes on when it can.
func TestAPlanThatCannotBeMadeNow(t *testing.T) {
	w := newWorld(t)
	ch := w.propose(t, alice, "lamp.set")
	plan := w.Changes.runners["lamp.set"]
	away := plan
	away.Plan = func(context.Context, pavise.Name, json.RawMessage) (Plan, error) {
		return Plan{}, &pavise.Error{Kind: pavise.Unavailable, Msg: "no wire leads there"}
	}
	w.Changes.runners["lamp.set"] = away
	_, err := w.Approve(t.Context(), bob, ch.Name, ch.Digest, "")
	wantKind(t, err, pavise.Unavailable)
	w.expect(t, ch, Open, 0)
	w.Changes.runners["lamp.set"] = plan
	w.approve(t, bob, ch)
	w.expect(t, ch, Done, 1)
}

// TestAVerbThatIsNoMore leaves a change alone whose verb this build does not know, and
// starts all the same.
func TestAVerbThatIsNoMore(t *testing.T) {
	w := newWorld(t)
	ch := w.propose(t, alice, "lamp.set")
	w.edit(t, ch, false, func(ch *Change) { ch.State = Approved })
	delete(w.Changes.runners, "lamp.set")
	if err := w.Resume(t.Context()); err != nil {
		t.Error(err)
	}
	_, err := w.Propose(t.Context(), alice, Proposal{Verb: "lamp.set", On: lamp, Request: red})
	wantKind(t, err, pavise.Invalid)
	w.expect(t, ch, Approved, 0)
}

// TestOnlyConsequentialVerbsHaveRunners refuses a runner for a verb that everybody may
// do without one.
func TestOnlyConsequentialVerbsHaveRunners(t *testing.T) {
	w := newWorld(t)
	_, err := New(t.Context(), Config{Guard: w.guard, Store: w.db, Log: w.log, Runners: map[string]Runner{"change.withdraw": {}}})
	if err == nil {
		t.Error("it was taken")
	}
}

// failNext has the n-th record from now on not be written, as on a full disk, and all
// others.
func (w *world) failNext(n int) {
	w.house.disk.Fail(func(op, name string) error {
		if _, segment := disk.ParseSegmentName(name); op != "write" || !segment {
			return nil
		}
		if n--; n == 0 {
			return syscall.ENOSPC
		}
		return nil
	})
}

// TestAProposalThatIsNotRecordedIsNone loses the ending of a proposal: the caller is
// told, and nobody can approve what the log does not hold.
func TestAProposalThatIsNotRecordedIsNone(t *testing.T) {
	for _, verb := range []string{"lamp.set", "lamp.off"} {
		w := newWorld(t)
		w.failNext(2)
		ch, err := w.Propose(t.Context(), alice, Proposal{Verb: verb, On: lamp, Request: red})
		wantKind(t, err, pavise.Unavailable)
		w.house.disk.Fail(nil)
		all, err := w.List(t.Context(), alice, "acme", false)
		if err != nil || ch != nil || len(all) != 1 || all[0].State != Void {
			t.Fatalf("%+v, %v", all, err)
		}
		_, err = w.Approve(t.Context(), bob, all[0].Name, all[0].Digest, "")
		wantKind(t, err, pavise.Conflict)
		w.expect(t, all[0], Void, 0)
		// The same, had the process stopped there.
		w.edit(t, all[0], false, func(ch *Change) { ch.State = Approved })
		w.end()
		w = w.house.begin(t)
		w.expect(t, all[0], Void, 0)
		if n := len(w.records(t, "change.unproven", record.Note)); n > 0 {
			t.Errorf("%d alarms of a process that stopped", n)
		}
	}
}

// TestAVoteThatIsNotRecordedIsGivenAgain loses the record of a vote: it counts for
// nothing, and the same person can give it again.
func TestAVoteThatIsNotRecordedIsGivenAgain(t *testing.T) {
	w := newWorld(t)
	ch := w.propose(t, alice, "lamp.set")
	w.failNext(2)
	_, err := w.Approve(t.Context(), bob, ch.Name, ch.Digest, "")
	wantKind(t, err, pavise.Unavailable)
	w.house.disk.Fail(nil)
	w.expect(t, ch, Open, 0)
	w.approve(t, bob, ch)
	w.expect(t, ch, Done, 1)
	if now := w.look(t, ch); len(now.Votes) != 1 {
		t.Errorf("%d votes", len(now.Votes))
	}
}

// TestAnActThatCannotBeRecordedIsNotDone loses the question of the act itself: its
// change has failed, and nothing was done.
func TestAnActThatCannotBeRecordedIsNotDone(t *testing.T) {
	w := newWorld(t)
	ch := w.propose(t, alice, "lamp.set")
	w.failNext(3)
	_, err := w.Approve(t.Context(), bob, ch.Name, ch.Digest, "")
	wantKind(t, err, pavise.Unavailable)
	w.house.disk.Fail(nil)
	w.expect(t, ch, Failed, 0)
}

// TestWhatWasCutOffGoesOn leaves changes at every place where a process can stop, as it
// would have left them, and goes on with them.
func TestWhatWasCutOffGoesOn(t *testing.T) {
	for what, cut := range map[string]func(w *world, ch *Change){
		"after the last vote": func(w *world, ch *Change) {},
		"when approved":       func(w *world, ch *Change) { w.edit(t, ch, false, func(ch *Change) { ch.State = Approved }) },
		"when running":        func(w *world, ch *Change) { w.edit(t, ch, false, func(ch *Change) { ch.State = Running }) },
		"after the effect": func(w *world, ch *Change) {
			w.edit(t, ch, false, func(ch *Change) { ch.State = Running })
			w.exec(t, `INSERT INTO change_ran VALUES ('acme', ?)`, ch.Name.ID)
			w.exec(t, `INSERT INTO lamp_effects VALUES (?)`, ch.Name.ID)
		},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			ch := w.propose(t, alice, "lamp.set")
			if err := w.vote(t.Context(), bob, "change.approve", ch.Name, decided{Digest: ch.Digest, Yes: true}); err != nil {
				t.Fatal(err)
			}
			cut(w, ch)
			w.end()
			w = w.house.begin(t)
			w.expect(t, ch, Done, 1)
			if acts := w.records(t, "lamp.set", record.Enter); len(acts) > 1 {
				t.Errorf("entered %d times", len(acts))
			}
		})
	}
}

// TestACutOffChangeWhoseWorldChangedIsVoid has what a change depends on change while
// nobody was there to run it.
func TestACutOffChangeWhoseWorldChangedIsVoid(t *testing.T) {
	for _, state := range []State{Open, Approved, Running} {
		w := newWorld(t)
		ch := w.propose(t, alice, "lamp.set")
		if err := w.vote(t.Context(), bob, "change.approve", ch.Name, decided{Digest: ch.Digest, Yes: true}); err != nil {
			t.Fatal(err)
		}
		w.edit(t, ch, false, func(ch *Change) { ch.State = state })
		w.end()
		w.house.rewire("wiring", "w2")
		w.house.begin(t).expect(t, ch, Void, 0)
	}
}

// TestAnActThatFailsAtTheStartKeepsNothingFromStarting resumes a change whose runner
// fails, among others: it has failed, and the others are done.
func TestAnActThatFailsAtTheStartKeepsNothingFromStarting(t *testing.T) {
	w := newWorld(t)
	var all []*Change
	for range 3 {
		ch := w.propose(t, alice, "lamp.set")
		if err := w.vote(t.Context(), bob, "change.approve", ch.Name, decided{Digest: ch.Digest, Yes: true}); err != nil {
			t.Fatal(err)
		}
		w.edit(t, ch, false, func(ch *Change) { ch.State = Running })
		all = append(all, ch)
		w.house.pass(time.Second)
	}
	breaks := true
	w.house.hook(hooks{before: func() error {
		defer func() { breaks = false }()
		if breaks {
			panic("the bulb bursts")
		}
		return nil
	}})
	if err := w.Resume(t.Context()); err != nil {
		t.Error(err)
	}
	w.expect(t, all[0], Failed, 0)
	w.expect(t, all[1], Done, 1)
	w.expect(t, all[2], Done, 1)
}

// TestAChangeMovesFromWhereItIs writes a state only over the one it came from, and says
// where it stayed when it cannot.
func TestAChangeMovesFromWhereItIs(t *testing.T) {
	w := newWorld(t)
	ch := w.propose(t, alice, "lamp.set")
	ch.State = Done
	wantKind(t, w.save(t.Context(), ch, Running), pavise.Conflict)
	if ch.State != Running {
		t.Errorf("it is %s", ch.State)
	}
	w.expect(t, ch, Open, 0)
}
