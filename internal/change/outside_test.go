package change

import (
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
)

// outsider is a person by the word of a tool.
func outsider(id string) pavise.Principal {
	who := person(id, "operator")
	who.Proof, who.By, who.Issuer = ProofTicket, who.Name(), "https://tool.example.org"
	return who
}

// comment is a vote as a tool has it.
func comment(ch *Change, yes bool) Word {
	return Word{Digest: ch.Digest[:12], Yes: yes, Reason: "seen", Origin: Origin{Tool: "work", At: "https://tool.example.org", Ticket: "OPS-1", Word: "7", Account: "42", Said: epoch}}
}

// TestAWordFromOutsideIsAVote counts, once for one person, wherever they vote; and one that
// says no ends a change.
func TestAWordFromOutsideIsAVote(t *testing.T) {
	w := newWorld(t)
	ch := w.propose(t, alice, "bell.ring")
	if _, err := w.Outside(t.Context(), outsider("bob"), ch.Name, comment(ch, true)); err != nil {
		t.Fatal(err)
	}
	w.expect(t, ch, Done, 1)
	if v := w.look(t, ch).Votes; len(v) != 1 || v[0].Origin == nil || v[0].Origin.Account != "42" || v[0].By != bob.Name() {
		t.Errorf("%+v", v)
	}
	ch = w.propose(t, alice, "bell.ring")
	if _, err := w.Outside(t.Context(), outsider("bob"), ch.Name, comment(ch, false)); err != nil {
		t.Fatal(err)
	}
	w.expect(t, ch, Denied, 0)
	_, err := w.Outside(t.Context(), outsider("carol"), ch.Name, comment(ch, true))
	wantKind(t, err, pavise.Conflict)
	first, second := w.propose(t, alice, "lamp.off"), w.propose(t, alice, "bell.ring")
	_, err = w.Outside(t.Context(), outsider("bob"), second.Name, comment(first, true))
	wantKind(t, err, pavise.Conflict) // a word on one change is none on another
}

// TestOutsideIsRefused: the proposer, whoever has no such role, a proof that is another, a
// word that does not say where it is from; and a verb, a plan or a rule that is not decided
// on from outside.
func TestOutsideIsRefused(t *testing.T) {
	w := newWorld(t)
	ch := w.propose(t, alice, "bell.ring")
	_, err := w.Outside(t.Context(), outsider("alice"), ch.Name, comment(ch, true))
	wantKind(t, err, pavise.Denied)
	nobody := outsider("bob")
	nobody.Roles = nil
	_, err = w.Outside(t.Context(), nobody, ch.Name, comment(ch, true))
	wantKind(t, err, pavise.Denied)
	_, err = w.Outside(t.Context(), bob, ch.Name, comment(ch, true))
	wantKind(t, err, pavise.Internal)
	_, err = w.Approve(t.Context(), outsider("bob"), ch.Name, ch.Digest, "")
	wantKind(t, err, pavise.Denied)
	hidden := comment(ch, true)
	hidden.Origin.Ticket = ""
	_, err = w.Outside(t.Context(), outsider("bob"), ch.Name, hidden)
	wantKind(t, err, pavise.Invalid)

	verb := w.propose(t, alice, "lamp.set") // its runner says nothing of it
	_, err = w.Outside(t.Context(), outsider("bob"), verb.Name, comment(verb, true))
	wantKind(t, err, pavise.Denied)
	w.house.mu.Lock()
	w.house.risk = RiskHigh
	w.house.mu.Unlock()
	risky := w.propose(t, alice, "bell.ring")
	_, err = w.Outside(t.Context(), outsider("bob"), risky.Name, comment(risky, true))
	wantKind(t, err, pavise.Denied)
	w.house.mu.Lock()
	w.house.risk = ""
	w.house.mu.Unlock()
	w.rule(t, "bell.ring", Rule{Need: 2, Days: 3})
	two := w.propose(t, alice, "bell.ring")
	_, err = w.Outside(t.Context(), outsider("bob"), two.Name, comment(two, true))
	wantKind(t, err, pavise.Denied)
	for one, hears := range map[*Change]bool{ch: true, verb: false, risky: false, two: false} {
		w.expect(t, one, Open, 0)
		if why := w.Hears(w.look(t, one)); (why == "") != hears {
			t.Errorf("%s: %q", one.Verb, why)
		}
	}
}

// TestTheRiskIsPartOfWhatIsApproved: whoever lowers it in the database has another digest,
// and gains no vote from outside.
func TestTheRiskIsPartOfWhatIsApproved(t *testing.T) {
	w := newWorld(t)
	w.house.risk = RiskHigh
	ch := w.propose(t, alice, "bell.ring")
	w.edit(t, ch, true, func(ch *Change) { ch.Plan.Risk = "" })
	now := w.look(t, ch)
	if now.Digest == ch.Digest {
		t.Fatal("the digest is the same")
	}
	_, err := w.Outside(t.Context(), outsider("bob"), ch.Name, comment(now, true))
	wantKind(t, err, pavise.Unverified)
	w.expect(t, ch, Void, 0)
	if len(w.records(t, "change.unproven", "note")) != 1 {
		t.Error("no alarm")
	}
}

// TestNobodyVotedInHalfOfTheTime is a finding once, of what waits and has no vote.
func TestNobodyVotedInHalfOfTheTime(t *testing.T) {
	w := newWorld(t)
	w.rule(t, "lamp.set", Rule{Need: 2, Days: 4})
	seen, unseen, run := w.propose(t, alice, "lamp.set"), w.propose(t, alice, "lamp.set"), w.propose(t, alice, "lamp.off")
	w.approve(t, bob, seen)
	remind := func(want int) {
		t.Helper()
		w.rounds(t, confirm)
		if got := w.records(t, KindUnseen, "note"); len(got) != want {
			t.Errorf("%d notes, want %d", len(got), want)
		}
	}
	w.house.pass(36*time.Hour - time.Second)
	remind(0)
	w.house.pass(time.Second) // half of three days
	remind(1)
	remind(1)
	w.house.pass(12 * time.Hour) // half of four
	remind(2)
	for ch, want := range map[*Change]bool{seen: false, unseen: true, run: true} {
		if now := w.look(t, ch); now.Unseen.IsZero() == want || now.Outcome != w.look(t, ch).Outcome || strings.Contains(now.Outcome, "half") {
			t.Errorf("%s: %+v", ch.Verb, now)
		}
	}
	w.approve(t, carol, seen)
	w.expect(t, seen, Done, 1)
}

// TestProposedSince lists names by when, so that whoever follows goes on where they were.
func TestProposedSince(t *testing.T) {
	w := newWorld(t)
	first := w.propose(t, alice, "lamp.set")
	w.house.pass(time.Minute)
	second := w.propose(t, alice, "lamp.set")
	names, last, err := w.Proposed(t.Context(), "acme", time.Time{}.AddDate(1990, 0, 0), 1)
	if err != nil || len(names) != 1 || names[0] != first.Name || !last.Equal(first.Proposed) {
		t.Errorf("%v, %v, %v", names, last, err)
	}
	names, _, err = w.Proposed(t.Context(), "acme", second.Proposed, 9)
	if err != nil || len(names) != 1 || names[0] != second.Name {
		t.Errorf("%v, %v", names, err)
	}
	if names, _, err = w.Proposed(t.Context(), "other", epoch, 9); err != nil || len(names) != 0 {
		t.Errorf("another tenant's: %v, %v", names, err)
	}
	if ch, err := w.Look(t.Context(), second.Name); err != nil || ch.Digest != second.Digest {
		t.Errorf("%+v, %v", ch, err)
	}
	_, err = w.Look(t.Context(), lamp)
	wantKind(t, err, pavise.NotFound)
}
