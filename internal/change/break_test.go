package change

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/record"
)

// TestBreakingTheGlass lets who proposed a change run it at once: somebody is paged
// before it is done, and it waits for another person's word afterwards.
func TestBreakingTheGlass(t *testing.T) {
	for _, approved := range []bool{true, false} {
		w := newWorld(t)
		ch := w.propose(t, alice, "lamp.set")
		var paged, done []string
		w.house.hear = func(r *record.Record) {
			switch {
			case r.Kind == KindBroken:
				paged = append(paged, string(r.Detail))
			case r.Kind == "lamp.set" && r.Phase == record.Exit:
				done = append(done, r.Kind)
				if len(paged) == 0 {
					t.Error("it was done before somebody was paged")
				}
			}
		}
		got, err := w.Break(t.Context(), alice, ch.Name, ch.Digest[:8], "INC-7", "the hall is dark")
		if err != nil || got.State != Ran || got.Glass == nil || got.Glass.Ticket != "INC-7" {
			t.Fatalf("%+v, %v", got, err)
		}
		w.expect(t, ch, Ran, 1)
		if len(done) != 1 || len(paged) != 1 || !strings.Contains(paged[0], "INC-7") || !strings.Contains(paged[0], pavise.Critical) {
			t.Errorf("done %v, paged %v", done, paged)
		}
		_, err = w.Approve(t.Context(), alice, ch.Name, ch.Digest, "")
		wantKind(t, err, pavise.Denied)
		if approved {
			w.approve(t, bob, ch)
			w.expect(t, ch, Done, 1)
			continue
		}
		w.house.pass(4 * 24 * time.Hour)
		w.rounds(t, confirm)
		w.expect(t, ch, Contested, 1)
	}
}

// TestGlassThatStaysWhole tries everybody and everything that must not break it.
func TestGlassThatStaysWhole(t *testing.T) {
	minted := alice
	minted.By = bob.Name()
	bot := alice
	bot.Kind = pavise.Workload
	w := newWorld(t)
	ch := w.propose(t, alice, "lamp.set")
	for what, try := range map[string]struct {
		who            pavise.Principal
		ticket, reason string
		kind           pavise.Kind
	}{
		"somebody else":                 {bob, "INC-1", "dark", pavise.Denied},
		"an identity somebody had made": {minted, "INC-1", "dark", pavise.Denied},
		"a program":                     {bot, "INC-1", "dark", pavise.Denied},
		"without the right to the verb": {person("alice", "clerk"), "INC-1", "dark", pavise.Denied},
		"without a ticket":              {alice, "", "dark", pavise.Invalid},
		"without a reason":              {alice, "INC-1", "", pavise.Invalid},
		"a ticket without end":          {alice, strings.Repeat("I", 129), "dark", pavise.Invalid},
	} {
		_, err := w.Break(t.Context(), try.who, ch.Name, ch.Digest, try.ticket, try.reason)
		if pavise.KindOf(err) != try.kind {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err := w.Break(t.Context(), alice, ch.Name, strings.Repeat("0", 64), "INC-1", "dark")
	wantKind(t, err, pavise.Conflict)
	w.expect(t, ch, Open, 0)

	bell := w.propose(t, alice, "bell.ring") // nothing says that it may be
	_, err = w.Break(t.Context(), alice, bell.Name, bell.Digest, "INC-1", "dark")
	wantKind(t, err, pavise.Denied)
	white, err := w.Propose(t.Context(), alice, Proposal{Verb: "lamp.set", On: lamp, Request: json.RawMessage(`{"color":"white"}`)})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Break(t.Context(), alice, white.Name, white.Digest, "INC-1", "dark")
	wantKind(t, err, pavise.Denied)
	if n := len(w.records(t, KindBroken, record.Note)); n != 0 {
		t.Errorf("somebody was paged %d times for nothing", n)
	}
}

// TestForgedGlass: a table that says the glass was broken, where the log does not, runs
// nothing.
func TestForgedGlass(t *testing.T) {
	w := newWorld(t)
	ch := w.propose(t, alice, "lamp.set")
	forged := w.look(t, ch)
	forged.Glass, forged.State = &Glass{Ticket: "INC-1"}, Approved
	if err := w.save(t.Context(), forged, Open); err != nil {
		t.Fatal(err)
	}
	_ = w.Resume(t.Context())
	w.expect(t, ch, Void, 0)
	if n := len(w.records(t, "change.unproven", record.Note)); n != 1 {
		t.Errorf("%d alarms", n)
	}
}

// TestWhoGainsDoesNotApprove: the holder of a grant is no more somebody else than its
// proposer, nor is an identity that the holder had made.
func TestWhoGainsDoesNotApprove(t *testing.T) {
	w := newWorld(t)
	w.house.parties = []pavise.Name{bob.Name()}
	ch := w.propose(t, alice, "lamp.set")
	minted := carol
	minted.By = bob.Name()
	for _, who := range []pavise.Principal{bob, minted} {
		_, err := w.Approve(t.Context(), who, ch.Name, ch.Digest, "")
		wantKind(t, err, pavise.Denied)
	}
	w.expect(t, ch, Open, 0)
	w.approve(t, dave, ch)
	w.expect(t, ch, Done, 1)
}
