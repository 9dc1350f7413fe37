package change

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/record"
)

// TestVotesCountUntilTheDay takes a vote a moment before the deadline and none at it,
// whether somebody has swept or not.
func TestVotesCountUntilTheDay(t *testing.T) {
	w := newWorld(t)
	early, late := w.propose(t, alice, "lamp.set"), w.propose(t, alice, "lamp.set")
	w.house.pass(3*24*time.Hour - 1)
	if err := w.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.approve(t, bob, early)
	w.expect(t, early, Done, 1)
	w.house.pass(1)
	_, err := w.Approve(t.Context(), bob, late.Name, late.Digest, "")
	wantKind(t, err, pavise.Conflict)
	w.expect(t, late, Open, 0)
	w.rounds(t, 2*confirm)
	w.expect(t, late, Expired, 0)
	if n := len(w.records(t, "change.expired", record.Note)); n != 1 {
		t.Errorf("%d notes", n)
	}
	_, err = w.Approve(t.Context(), bob, late.Name, late.Digest, "")
	wantKind(t, err, pavise.Conflict)
}

// TestVotesThatCameInTimeRunNothingTooLate starts again after the deadline of a change
// whose last vote was recorded and that was not run: it expires.
func TestVotesThatCameInTimeRunNothingTooLate(t *testing.T) {
	w := newWorld(t)
	ch := w.propose(t, alice, "lamp.set")
	if err := w.vote(t.Context(), bob, "change.approve", ch.Name, decided{Digest: ch.Digest, Yes: true}); err != nil {
		t.Fatal(err)
	}
	w.end()
	w.house.pass(4 * 24 * time.Hour)
	w = w.house.begin(t)
	w.rounds(t, confirm)
	w.expect(t, ch, Expired, 0)
}

// TestWhatCouldNotBeRunInTimeIsNotRun has all the approvals that it takes, and a world
// in which it cannot be run until long after the time that people agreed to.
func TestWhatCouldNotBeRunInTimeIsNotRun(t *testing.T) {
	for _, verb := range []string{"lamp.set", "bell.ring"} {
		t.Run(verb, func(t *testing.T) {
			w := newWorld(t)
			ch := w.propose(t, alice, verb)
			w.planned(verb, func(int) error { return &pavise.Error{Kind: pavise.Unavailable, Msg: "the lamp does not answer"} })
			if err := w.vote(t.Context(), bob, "change.approve", ch.Name, decided{Digest: ch.Digest, Yes: true}); pavise.KindOf(err) != pavise.Unavailable {
				t.Fatal(err)
			}
			w.planned(verb, func(n int) error {
				if n == 1 { // the vote's; the run's fails
					return nil
				}
				return &pavise.Error{Kind: pavise.Unavailable, Msg: "the lamp does not answer"}
			})
			_, err := w.Approve(t.Context(), bob, ch.Name, ch.Digest, "")
			wantKind(t, err, pavise.Unavailable)
			w.expect(t, ch, Approved, 0)
			w.end()
			w.house.pass(60 * 24 * time.Hour)
			w = w.house.begin(t)
			w.expect(t, ch, Approved, 0)
			w.rounds(t, confirm+1)
			w.expect(t, ch, Expired, 0)
			w.found(t, "change.expired", 1)
		})
	}
}

// planned lets a verb's plan fail as fail says of the n-th time that it is asked.
func (w *world) planned(verb string, fail func(n int) error) {
	r := w.Changes.runners[verb]
	n := 0
	r.Plan = func(ctx context.Context, on pavise.Name, request json.RawMessage) (Plan, error) {
		n++
		if err := fail(n); err != nil {
			return Plan{}, err
		}
		return w.plan(ctx, on, request)
	}
	w.Changes.runners[verb] = r
}

// TestWhatIsBeingProposedIsLeftAlone lets the sweep, and somebody's vote, come between
// the moment in which a proposal is in the table and that in which the log has it.
func TestWhatIsBeingProposedIsLeftAlone(t *testing.T) {
	for verb, want := range map[string]State{"lamp.set": Open, "lamp.off": Ran} {
		t.Run(verb, func(t *testing.T) {
			w := newWorld(t)
			w.house.hear = func(r *record.Record) {
				if r.Phase != record.Exit || r.Kind != verbPropose && r.Kind != verbEmergency {
					return
				}
				if err := w.Resume(t.Context()); err != nil {
					t.Error(err)
				}
				if _, err := w.settle(t.Context(), r.On); err != nil {
					t.Error(err)
				}
			}
			ch := w.propose(t, alice, verb)
			w.house.hear = nil
			w.expect(t, ch, want, map[State]int{Open: 0, Ran: 1}[want])
			if n := len(w.records(t, "change.unproven", record.Note)); n != 0 {
				t.Errorf("%d alarms", n)
			}
		})
	}
}

// TestTheSafeDirectionWaitsForNoPlan has an emergency while a vote on an ordinary change
// waits for a plan that hangs.
func TestTheSafeDirectionWaitsForNoPlan(t *testing.T) {
	w := newWorld(t)
	ch := w.propose(t, alice, "lamp.set")
	asked, answer := make(chan struct{}), make(chan struct{})
	w.planned("lamp.set", func(n int) error {
		if n == 1 {
			close(asked)
			<-answer
		}
		return nil
	})
	voted := make(chan error)
	go func() {
		_, err := w.Approve(context.WithoutCancel(t.Context()), bob, ch.Name, ch.Digest, "")
		voted <- err
	}()
	<-asked
	emergency := w.propose(t, carol, "lamp.off")
	w.expect(t, emergency, Ran, 1)
	if err := w.sweep(t.Context()); err != nil {
		t.Error(err)
	}
	close(answer)
	if err := <-voted; err != nil {
		t.Error(err)
	}
	w.expect(t, ch, Done, 1)
}

// TestTheSafeDirectionRunsFirst runs an act before anybody approved it, once, and takes
// approval afterwards, of somebody else.
func TestTheSafeDirectionRunsFirst(t *testing.T) {
	w := newWorld(t)
	w.rule(t, "lamp.off", Rule{Need: 2, Days: 3})
	ch := w.propose(t, alice, "lamp.off")
	w.expect(t, ch, Ran, 1)
	_, err := w.Withdraw(t.Context(), alice, ch.Name)
	wantKind(t, err, pavise.Conflict)
	_, err = w.Approve(t.Context(), alice, ch.Name, ch.Digest, "")
	wantKind(t, err, pavise.Denied)
	w.house.rewire("wiring", "w2") // as the act itself does
	w.approve(t, bob, ch)
	w.expect(t, ch, Ran, 1)
	w.approve(t, carol, ch)
	w.expect(t, ch, Done, 1)
}

// TestARunFirstActThatIsDeniedIsAFinding leaves a warning in the log, and the act done.
func TestARunFirstActThatIsDeniedIsAFinding(t *testing.T) {
	w := newWorld(t)
	ch := w.propose(t, alice, "lamp.off")
	now, err := w.Deny(t.Context(), bob, ch.Name, ch.Digest, "we were reading")
	if err != nil || now.State != Contested || !strings.Contains(now.Outcome, "we were reading") {
		t.Fatalf("%+v, %v", now, err)
	}
	w.expect(t, ch, Contested, 1)
	w.found(t, "change.contested", 1)
	_, err = w.Approve(t.Context(), carol, ch.Name, ch.Digest, "")
	wantKind(t, err, pavise.Conflict)
}

// found wants so many warnings of a kind.
func (w *world) found(t testing.TB, kind string, want int) {
	t.Helper()
	notes := w.records(t, kind, record.Note)
	if len(notes) != want {
		t.Fatalf("%d notes %s, want %d", len(notes), kind, want)
	}
	for _, n := range notes {
		var detail struct{ Finding pavise.Finding }
		if err := json.Unmarshal(n.Detail, &detail); err != nil || detail.Finding.Severity != pavise.Warning || detail.Finding.Who != alice.Name() {
			t.Errorf("%s: %+v, %v", kind, detail.Finding, err)
		}
	}
}

// TestARunFirstActThatNobodyLookedAtIsAFinding becomes one once its time is up, also
// when the note can only be written the second time.
func TestARunFirstActThatNobodyLookedAtIsAFinding(t *testing.T) {
	w := newWorld(t)
	ch := w.propose(t, alice, "lamp.off")
	w.house.pass(3 * 24 * time.Hour)
	w.rounds(t, confirm-1)
	w.failNext(1)
	wantKind(t, w.sweep(t.Context()), pavise.Unavailable)
	w.expect(t, ch, Ran, 1)
	w.house.disk.Fail(nil)
	w.rounds(t, 2)
	w.expect(t, ch, Contested, 1)
	w.found(t, "change.overdue", 1)
}

// TestAnAlarmIsNotLost finds a database that was changed while the log takes no notes:
// the change waits, not run, until the alarm can be raised.
func TestAnAlarmIsNotLost(t *testing.T) {
	w := newWorld(t)
	ch := w.propose(t, alice, "lamp.set")
	w.edit(t, ch, false, func(ch *Change) { ch.State = Approved })
	w.failNext(1)
	if err := w.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.expect(t, ch, Approved, 0)
	w.house.disk.Fail(nil)
	if err := w.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.expect(t, ch, Void, 0)
	w.alarmed(t, ch)
}

// TestAClockThatStepsBack lets nothing be decided while the clock is behind, and keeps
// what expired in the future expired.
func TestAClockThatStepsBack(t *testing.T) {
	w := newWorld(t)
	ch, gone := w.propose(t, alice, "lamp.set"), w.propose(t, alice, "lamp.set")
	w.house.pass(-time.Hour)
	_, err := w.Approve(t.Context(), bob, ch.Name, ch.Digest, "")
	wantKind(t, err, pavise.Unavailable)
	_, err = w.Propose(t.Context(), alice, Proposal{Verb: "lamp.set", On: lamp, Request: red})
	wantKind(t, err, pavise.Unavailable)
	w.expect(t, ch, Open, 0)
	w.house.pass(time.Hour)
	w.approve(t, bob, ch)
	w.expect(t, ch, Done, 1)
	w.house.pass(365 * 24 * time.Hour)
	w.rounds(t, confirm)
	w.house.pass(-365 * 24 * time.Hour)
	if err := w.guard.AcceptClock(t.Context(), alice); err != nil {
		t.Fatal(err)
	}
	_, err = w.Approve(t.Context(), bob, gone.Name, gone.Digest, "")
	wantKind(t, err, pavise.Conflict)
	w.expect(t, gone, Expired, 0)
}

// TestAClockThatLeapsAhead is put right within minutes: nothing has expired or is contested, and
// nobody was reminded; and while it was ahead no vote counted. What is late in earnest ends.
func TestAClockThatLeapsAhead(t *testing.T) {
	w := newWorld(t)
	open, ran, stuck := w.propose(t, alice, "lamp.set"), w.propose(t, alice, "lamp.off"), w.propose(t, alice, "lamp.set")
	if err := w.vote(t.Context(), bob, "change.approve", stuck.Name, decided{Digest: stuck.Digest, Yes: true}); err != nil {
		t.Fatal(err)
	}
	const leap = 4 * 24 * time.Hour
	for range 3 {
		w.house.pass(leap)
		w.rounds(t, 4) // minutes
		w.house.pass(-leap)
		w.rounds(t, 1)
	}
	w.expect(t, stuck, Done, 1)
	w.expect(t, open, Open, 0)
	w.expect(t, ran, Ran, 1)
	for _, kind := range []string{KindUnseen, "change.expired", "change.overdue"} {
		if n := len(w.records(t, kind, record.Note)); n != 0 {
			t.Errorf("%d notes %s", n, kind)
		}
	}
	w.house.pass(leap)
	_, err := w.Approve(t.Context(), bob, open.Name, open.Digest, "")
	wantKind(t, err, pavise.Conflict)
	w.house.pass(-leap)
	_, err = w.Approve(t.Context(), bob, open.Name, open.Digest, "") // a record is of days to come: somebody has to look at the clock
	wantKind(t, err, pavise.Unavailable)
	if err := w.guard.AcceptClock(t.Context(), alice); err != nil {
		t.Fatal(err)
	}
	w.approve(t, bob, open)
	w.expect(t, open, Done, 1)
	w.house.pass(leap)
	w.rounds(t, confirm)
	w.expect(t, ran, Contested, 1)
	w.found(t, "change.overdue", 1)
}

// TestRunGoesOnAndSweeps lets minutes pass: what could not be done is done, and what is
// late is ended, without a restart.
func TestRunGoesOnAndSweeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		var ahead time.Duration
		h.tick = func() time.Time { return time.Now().Add(ahead) }
		w, err := h.open()
		if err != nil {
			t.Fatal(err)
		}
		defer w.end()
		late, stuck := w.propose(t, alice, "lamp.set"), w.propose(t, alice, "lamp.set")
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- w.Run(ctx) }()
		synctest.Wait()
		if err := w.vote(ctx, bob, "change.approve", stuck.Name, decided{Digest: stuck.Digest, Yes: true}); err != nil {
			t.Fatal(err)
		}
		w.expect(t, stuck, Open, 0)
		time.Sleep(sweepEvery)
		synctest.Wait()
		w.expect(t, stuck, Done, 1)
		w.expect(t, late, Open, 0)
		h.mu.Lock()
		ahead = 3 * 24 * time.Hour
		h.mu.Unlock()
		time.Sleep((confirm - 1) * sweepEvery)
		synctest.Wait()
		w.expect(t, late, Open, 0)
		time.Sleep(sweepEvery)
		synctest.Wait()
		w.expect(t, late, Expired, 0)
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
