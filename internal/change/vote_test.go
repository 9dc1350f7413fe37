package change

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/record"
)

// TestAnotherPersonsApprovalRunsIt follows the usual road: proposed, approved by
// somebody else, run once, as the proposer and as the change.
func TestAnotherPersonsApprovalRunsIt(t *testing.T) {
	for _, verb := range []string{"lamp.set", "bell.ring"} {
		t.Run(verb, func(t *testing.T) {
			w := newWorld(t)
			ch := w.propose(t, alice, verb)
			w.expect(t, ch, Open, 0)
			done := w.approve(t, bob, ch)
			if have, need := done.Approvals(); have != 1 || need != 1 || done.State != Done {
				t.Errorf("%d of %d approvals, %s", have, need, done.State)
			}
			w.expect(t, ch, Done, 1)
			acts := w.records(t, verb, record.Exit)
			if len(acts) != 1 || acts[0].Who.Change != ch.Name || acts[0].Who.Name() != alice.Name() {
				t.Errorf("the act's records: %+v", acts)
			}
			if w.UnderWay(ch.Name, verb, lamp) {
				t.Error("it is under way still")
			}
			_, err := w.Approve(t.Context(), carol, ch.Name, ch.Digest, "")
			wantKind(t, err, pavise.Conflict)
			wantKind(t, w.shine(t.Context(), "lamp.set", Act{Who: alice, On: lamp, Mark: mark(ch.Name)}), pavise.Denied)
		})
	}
}

// TestTheRecordsSayWhatWasApproved finds in the log the request, the digest, the rule
// and each vote, durable before the act.
func TestTheRecordsSayWhatWasApproved(t *testing.T) {
	w := newWorld(t)
	ch := w.propose(t, alice, "lamp.set")
	w.approve(t, bob, ch)
	var p proposed
	said := w.records(t, "change.propose", record.Exit)
	if err := json.Unmarshal(said[0].Detail, &p); err != nil {
		t.Fatal(err)
	}
	if p.Digest != ch.Digest || string(p.Request) != string(red) || p.Rule.Need != 1 || p.Reason != "it is dark" || p.Digests["wiring"] != "w1" {
		t.Errorf("the proposal's record says %+v", p)
	}
	var d decided
	if err := json.Unmarshal(w.records(t, "change.approve", record.Exit)[0].Detail, &d); err != nil {
		t.Fatal(err)
	}
	if !d.Yes || d.Digest != ch.Digest {
		t.Errorf("the vote's record says %+v", d)
	}
}

// TestItTakesAsManyPeopleAsTheRuleSays asks for three of four, and counts people, not
// votes.
func TestItTakesAsManyPeopleAsTheRuleSays(t *testing.T) {
	w := newWorld(t)
	w.rule(t, "lamp.set", Rule{Need: 3, Days: 3})
	ch := w.propose(t, alice, "lamp.set")
	for i, who := range []pavise.Principal{bob, carol} {
		if now := w.approve(t, who, ch); now.State != Open {
			t.Fatalf("after %d votes it is %s", i+1, now.State)
		}
	}
	w.expect(t, ch, Open, 0)
	w.approve(t, dave, ch)
	w.expect(t, ch, Done, 1)
}

// TestWhoseVoteCannotCount tries everybody whose approval must not count, in their own
// name and in disguises. None of it may bring a change of two approvals further than
// one.
func TestWhoseVoteCannotCount(t *testing.T) {
	second := bob
	second.Issuer, second.Proof, second.Roles = "another", "mtls", []string{"operator", "reader"}
	bot := alice
	bot.Kind, bot.ID = pavise.Workload, "bot"
	node := bot
	node.Kind = pavise.Node
	machine := bob
	machine.Kind, machine.ID = pavise.Workload, "bob"
	stranger := dave
	stranger.Tenant = "other"
	minted := carol
	minted.By = alice.Name()
	bobs := carol
	bobs.By = bob.Name()
	for _, test := range []struct {
		what string
		who  pavise.Principal
		kind pavise.Kind
	}{
		{"the proposer", alice, pavise.Denied},
		{"the proposer with other roles", person("alice", "operator", "reader"), pavise.Denied},
		{"the same person again", bob, pavise.Conflict},
		{"the same person with another token", second, pavise.Conflict},
		{"somebody whom the proposer had made", minted, pavise.Denied},
		{"somebody whom the first to approve had made", bobs, pavise.Conflict},
		{"a program", bot, pavise.Denied},
		{"a program named as a person", machine, pavise.Denied},
		{"a machine", node, pavise.Denied},
		{"somebody whom the rule does not name", dave, pavise.Denied},
		{"somebody who may not do it", person("carol", "clerk"), pavise.Denied},
		{"somebody without a role", person("carol"), pavise.Denied},
		{"somebody of another tenant", stranger, pavise.Denied},
		{"somebody whom a change made", pavise.Principal{Tenant: "acme", Kind: pavise.Human, ID: "carol", Change: lamp}, pavise.Denied},
	} {
		t.Run(test.what, func(t *testing.T) {
			w := newWorld(t)
			w.rule(t, "lamp.set", Rule{Need: 2, Days: 3, Of: []string{"alice", "bob", "carol", "bot"}})
			ch := w.propose(t, alice, "lamp.set")
			w.approve(t, bob, ch)
			_, err := w.Approve(t.Context(), test.who, ch.Name, ch.Digest, "")
			wantKind(t, err, test.kind)
			told, err := w.told(t.Context(), w.look(t, ch))
			if err != nil || len(told.people) != 1 || !told.people[bob.Name()] {
				t.Errorf("the log proves the approvals of %v, %v", told.people, err)
			}
			w.expect(t, ch, Open, 0)
			w.approve(t, carol, ch)
			w.expect(t, ch, Done, 1)
		})
	}
}

// TestWhoCannotProposeCannotHaveItDone refuses proposals of whoever could not do the
// act, and those that make no sense, and writes none of them down as changes.
func TestWhoCannotProposeCannotHaveItDone(t *testing.T) {
	elsewhere := lamp
	elsewhere.Tenant = "other"
	ok := Proposal{Verb: "lamp.set", On: lamp, Request: red}
	for _, test := range []struct {
		what string
		who  pavise.Principal
		edit func(*Proposal)
		kind pavise.Kind
	}{
		{"a clerk", person("eve", "clerk"), nil, pavise.Denied},
		{"nobody", person("eve"), nil, pavise.Denied},
		{"a thing of another tenant", alice, func(p *Proposal) { p.On = elsewhere }, pavise.Denied},
		{"a thing of another kind", alice, func(p *Proposal) { p.On.Kind = "change" }, pavise.Denied},
		{"a name that is none", alice, func(p *Proposal) { p.On.ID = "../hall" }, pavise.Denied},
		{"a verb without a runner", alice, func(p *Proposal) { p.Verb = "policy.put" }, pavise.Invalid},
		{"no verb", alice, func(p *Proposal) { p.Verb = "" }, pavise.Invalid},
		{"a request that is none", alice, func(p *Proposal) { p.Request = json.RawMessage(`{`) }, pavise.Invalid},
		{"no request", alice, func(p *Proposal) { p.Request = nil }, pavise.Invalid},
		{"a reason that is too long", alice, func(p *Proposal) { p.Reason = strings.Repeat("x", maxReason+1) }, pavise.Invalid},
		{"a request that is too long", alice, func(p *Proposal) { p.Request = make(json.RawMessage, maxRequest+1) }, pavise.Invalid},
	} {
		t.Run(test.what, func(t *testing.T) {
			w := newWorld(t)
			p := ok
			if test.edit != nil {
				test.edit(&p)
			}
			ch, err := w.Propose(t.Context(), test.who, p)
			wantKind(t, err, test.kind)
			if all, err := w.List(t.Context(), alice, "acme", false); err != nil || len(all) != 0 || ch != nil {
				t.Errorf("there are %d changes, %v", len(all), err)
			}
		})
	}
}

// TestPeopleVoteOnWhatTheyLookedAt takes a digest's first digits, eight at least, in
// either case, and no others.
func TestPeopleVoteOnWhatTheyLookedAt(t *testing.T) {
	w := newWorld(t)
	w.rule(t, "lamp.set", Rule{Need: 16, Days: 3})
	ch, other := w.propose(t, alice, "lamp.set"), w.propose(t, alice, "lamp.set")
	for i, test := range []struct {
		digest string
		ok     bool
	}{
		{"", false},
		{ch.Digest[:7], false},
		{other.Digest, false},
		{ch.Digest + "0", false},
		{ch.Digest[1:], false},
		{" " + ch.Digest[:8], false},
		{ch.Digest[:7] + "x", false},
		{ch.Digest[:8], true},
		{strings.ToUpper(ch.Digest[:12]), true},
		{ch.Digest, true},
	} {
		who := person(fmt.Sprintf("voter%d", i), "operator")
		_, err := w.Approve(t.Context(), who, ch.Name, test.digest, "")
		if (err == nil) != test.ok {
			t.Errorf("%q: %v", test.digest, err)
		}
		if err != nil {
			wantKind(t, err, pavise.Conflict)
		}
	}
	if have, _ := w.look(t, ch).Approvals(); have != 3 {
		t.Errorf("%d approvals, want 3", have)
	}
}

// TestOneDenialEndsIt takes a denial with a reason only, from whoever could have
// approved it or proposed it, and lets nothing of it be run afterwards.
func TestOneDenialEndsIt(t *testing.T) {
	for _, who := range []pavise.Principal{bob, alice} {
		w := newWorld(t)
		ch := w.propose(t, alice, "lamp.set")
		for _, reason := range []string{"", strings.Repeat("x", maxReason+1)} {
			_, err := w.Deny(t.Context(), who, ch.Name, ch.Digest, reason)
			wantKind(t, err, pavise.Invalid)
		}
		_, err := w.Deny(t.Context(), person("eve", "clerk"), ch.Name, ch.Digest, "I do not like it")
		wantKind(t, err, pavise.Denied)
		denied, err := w.Deny(t.Context(), who, ch.Name, ch.Digest, "too bright")
		if err != nil || denied.State != Denied || !strings.Contains(denied.Outcome, "too bright") || denied.Ended.IsZero() {
			t.Fatalf("%+v, %v", denied, err)
		}
		_, err = w.Approve(t.Context(), carol, ch.Name, ch.Digest, "")
		wantKind(t, err, pavise.Conflict)
		w.expect(t, ch, Denied, 0)
	}
}

// TestOnlyWhoProposedItTakesItBack withdraws an open change once, and nothing else.
func TestOnlyWhoProposedItTakesItBack(t *testing.T) {
	w := newWorld(t)
	ch := w.propose(t, alice, "lamp.set")
	_, err := w.Withdraw(t.Context(), bob, ch.Name)
	wantKind(t, err, pavise.Denied)
	if ch, err = w.Withdraw(t.Context(), alice, ch.Name); err != nil || ch.State != Withdrawn {
		t.Fatalf("%+v, %v", ch, err)
	}
	_, err = w.Withdraw(t.Context(), alice, ch.Name)
	wantKind(t, err, pavise.Conflict)
	_, err = w.Approve(t.Context(), bob, ch.Name, ch.Digest, "")
	wantKind(t, err, pavise.Conflict)
	w.expect(t, ch, Withdrawn, 0)
	done := w.propose(t, alice, "lamp.set")
	w.approve(t, bob, done)
	_, err = w.Withdraw(t.Context(), alice, done.Name)
	wantKind(t, err, pavise.Conflict)
}

// TestApprovalsDieWithWhatTheyDependOn changes what the outcome depends on at every
// moment: before the first vote, between votes, and while the last is being weighed.
// The change is void, and says why.
func TestApprovalsDieWithWhatTheyDependOn(t *testing.T) {
	for votes := range 2 {
		t.Run(fmt.Sprintf("after %d votes", votes), func(t *testing.T) {
			w := newWorld(t)
			w.rule(t, "lamp.set", Rule{Need: 2, Days: 3})
			ch := w.propose(t, alice, "lamp.set")
			if votes > 0 {
				w.approve(t, bob, ch)
			}
			w.house.rewire("wiring", "w2")
			_, err := w.Approve(t.Context(), carol, ch.Name, ch.Digest, "")
			wantKind(t, err, pavise.Conflict)
			if now := w.look(t, ch); !strings.Contains(now.Outcome, "wiring changed") {
				t.Errorf("it says %q", now.Outcome)
			}
			w.house.rewire("wiring", "w1") // what is dead stays dead
			_, err = w.Approve(t.Context(), dave, ch.Name, ch.Digest, "")
			wantKind(t, err, pavise.Conflict)
			w.expect(t, ch, Void, 0)
			if n := len(w.records(t, "change.void", record.Note)); n != 1 {
				t.Errorf("%d notes say that it is void", n)
			}
		})
	}
}

// TestWhatChangesBetweenTheLastVoteAndTheRunIsSeen changes what a change depends on
// once its last approval is in the log: nothing is run.
func TestWhatChangesBetweenTheLastVoteAndTheRunIsSeen(t *testing.T) {
	for what, spoil := range map[string]func(w *world){
		"a digest":        func(w *world) { w.house.rewire("wiring", "w2") },
		"one digest more": func(w *world) { w.house.rewire("fuse", "f1") },
		"one digest less": func(w *world) { w.house.mu.Lock(); delete(w.house.digests, "wiring"); w.house.mu.Unlock() },
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			ch := w.propose(t, alice, "lamp.set")
			if err := w.vote(t.Context(), bob, "change.approve", ch.Name, decided{Digest: ch.Digest, Yes: true}); err != nil {
				t.Fatal(err)
			}
			spoil(w)
			_, err := w.settle(t.Context(), ch.Name)
			wantKind(t, err, pavise.Conflict)
			w.expect(t, ch, Void, 0)
		})
	}
}

// TestWhoMayNoLongerDoItNoLongerCounts takes somebody's right away after they voted:
// another vote is needed.
func TestWhoMayNoLongerDoItNoLongerCounts(t *testing.T) {
	w := newWorld(t)
	w.rule(t, "lamp.set", Rule{Need: 2, Days: 3})
	boss := person("boss", "boss")
	more := map[string]string{"usual": usual, "boss": `permit (principal in Role::"boss", action, resource);`}
	if err := w.guard.Load("acme", more); err != nil {
		t.Fatal(err)
	}
	ch := w.propose(t, alice, "lamp.set")
	w.approve(t, boss, ch)
	if err := w.guard.Load("acme", map[string]string{"usual": usual}); err != nil {
		t.Fatal(err)
	}
	w.approve(t, bob, ch)
	w.expect(t, ch, Open, 0)
	w.approve(t, carol, ch)
	w.expect(t, ch, Done, 1)
}

// TestAProposerWhoMayNoLongerIsRefusedByTheGuard runs no act for somebody who could
// no longer do it, whoever approved it.
func TestAProposerWhoMayNoLongerIsRefusedByTheGuard(t *testing.T) {
	w := newWorld(t)
	ch := w.propose(t, alice, "lamp.set")
	forbid := `forbid (principal == Human::"alice", action in Action::"lamp", resource);`
	if err := w.guard.Load("acme", map[string]string{"usual": usual, "alice": forbid}); err != nil {
		t.Fatal(err)
	}
	_, err := w.Approve(t.Context(), bob, ch.Name, ch.Digest, "")
	wantKind(t, err, pavise.Denied)
	w.expect(t, ch, Failed, 0)
}

// TestFiftyAtOnceRunItOnce has fifty people approve at once, while others deny nothing
// and the same people try again: the act is done once.
func TestFiftyAtOnceRunItOnce(t *testing.T) {
	for _, verb := range []string{"lamp.set", "bell.ring"} {
		w := newWorld(t)
		w.rule(t, verb, Rule{Need: 5, Days: 3})
		ch := w.propose(t, alice, verb)
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				who := person(fmt.Sprintf("p%d", i/2), "operator") // each of them twice
				_, err := w.Approve(t.Context(), who, ch.Name, ch.Digest, "")
				if err != nil && pavise.KindOf(err) != pavise.Conflict {
					t.Errorf("%s: %v", who.ID, err)
				}
			})
		}
		wg.Wait()
		w.expect(t, ch, Done, 1)
		if n := len(w.records(t, verb, record.Enter)); n != 1 {
			t.Errorf("%s was entered %d times", verb, n)
		}
	}
}

// TestADenialAndAnApprovalAtOnce lets one of the two win, and never both.
func TestADenialAndAnApprovalAtOnce(t *testing.T) {
	w := newWorld(t)
	for range 20 {
		ch := w.propose(t, alice, "lamp.set")
		var wg sync.WaitGroup
		wg.Go(func() { w.Approve(t.Context(), bob, ch.Name, ch.Digest, "") })
		wg.Go(func() { w.Deny(t.Context(), carol, ch.Name, ch.Digest, "no") })
		wg.Go(func() { w.Withdraw(t.Context(), alice, ch.Name) })
		wg.Wait()
		switch now := w.look(t, ch); now.State {
		case Done:
			w.expect(t, ch, Done, 1)
		case Denied, Withdrawn:
			w.expect(t, ch, now.State, 0)
		default:
			t.Errorf("it is %s: %s", now.State, now.Outcome)
		}
	}
}

// TestTenantsDoNotSeeEachOther shows a tenant's changes, rules and votes to its own
// people alone, also where the ids are the same.
func TestTenantsDoNotSeeEachOther(t *testing.T) {
	w := newWorld(t)
	ch := w.propose(t, alice, "lamp.set")
	mallory := pavise.Principal{Tenant: "other", Kind: pavise.Human, ID: "bob", Issuer: "test", Roles: []string{"operator"}}
	theirs := pavise.Name{Tenant: "other", Kind: "change", ID: ch.Name.ID}
	_, err := w.Show(t.Context(), mallory, ch.Name)
	wantKind(t, err, pavise.Denied)
	_, err = w.Show(t.Context(), mallory, theirs)
	wantKind(t, err, pavise.NotFound)
	_, err = w.List(t.Context(), mallory, "acme", false)
	wantKind(t, err, pavise.Denied)
	_, err = w.Rules(t.Context(), mallory, "acme")
	wantKind(t, err, pavise.Denied)
	_, err = w.Approve(t.Context(), mallory, ch.Name, ch.Digest, "")
	wantKind(t, err, pavise.Denied)
	_, err = w.Approve(t.Context(), mallory, theirs, ch.Digest, "")
	wantKind(t, err, pavise.NotFound)
	_, err = w.Withdraw(t.Context(), mallory, theirs)
	wantKind(t, err, pavise.NotFound)
	if all, err := w.List(t.Context(), mallory, "other", false); err != nil || len(all) != 0 {
		t.Errorf("they see %d changes, %v", len(all), err)
	}
	w.rule(t, "lamp.set", Rule{Need: 4, Days: 3})
	rules, err := w.Rules(t.Context(), mallory, "other")
	for _, r := range rules {
		if r.Need != Standard().Need {
			t.Errorf("their rule for %s is that of acme: %+v", r.Verb, r)
		}
	}
	if err != nil || len(rules) != len(w.Verbs()) {
		t.Errorf("%d rules, %v", len(rules), err)
	}
	w.expect(t, ch, Open, 0)
}

// TestAListIsNewestFirst lists changes, or only those that wait, without what is long.
func TestAListIsNewestFirst(t *testing.T) {
	w := newWorld(t)
	first := w.propose(t, alice, "lamp.set")
	w.house.pass(time.Second)
	second := w.propose(t, alice, "lamp.set")
	w.approve(t, bob, first)
	all, err := w.List(t.Context(), carol, "acme", false)
	if err != nil || len(all) != 2 || all[0].Name != second.Name || all[1].State != Done || len(all[0].request) != 0 {
		t.Errorf("%+v, %v", all, err)
	}
	if waiting, err := w.List(t.Context(), carol, "acme", true); err != nil || len(waiting) != 1 || waiting[0].Name != second.Name {
		t.Errorf("%+v, %v", waiting, err)
	}
	if shown, err := w.Show(t.Context(), carol, first.Name); err != nil || len(shown.Votes) != 1 || shown.Votes[0].By != bob.Name() || string(shown.request) != string(red) {
		t.Errorf("%+v, %v", shown, err)
	}
}

// TestNobodysHeapBarsTheSafeDirection refuses a proposal more than may wait, except in
// the safe direction, and takes them again once somebody has decided.
func TestNobodysHeapBarsTheSafeDirection(t *testing.T) {
	w := newWorld(t)
	ch := w.propose(t, alice, "lamp.set")
	w.exec(t, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
		INSERT INTO change_changes SELECT tenant, 'heap' || i, state, proposed, until, change, request FROM change_changes, n`, maxWaiting-1)
	_, err := w.Propose(t.Context(), alice, Proposal{Verb: "lamp.set", On: lamp, Request: red})
	wantKind(t, err, pavise.Throttled)
	w.expect(t, w.propose(t, alice, "lamp.off"), Ran, 1)
	theirs := pavise.Principal{Tenant: "other", Kind: pavise.Human, ID: "mallory", Roles: []string{"operator"}}
	if _, err := w.Propose(t.Context(), theirs, Proposal{Verb: "lamp.set", On: pavise.Name{Tenant: "other", Kind: "lamp", ID: "hall"}, Request: red}); err != nil {
		t.Errorf("another tenant's heap bars ours: %v", err)
	}
	for range 2 {
		w.exec(t, `DELETE FROM change_changes WHERE id = (SELECT id FROM change_changes WHERE id LIKE 'heap%' LIMIT 1)`)
	}
	w.propose(t, alice, "lamp.set")
	w.approve(t, bob, ch)
	w.expect(t, ch, Done, 1)
}

// TestOthersDecide: where a runner says that those decide who may do another verb, they do, and
// whoever may do the verb itself does not; and a plan can ask for more people than the rule.
func TestOthersDecide(t *testing.T) {
	h := newHouse(t)
	h.policy = `permit (principal in Role::"operator", action in [Action::"change", Action::"lamp.set"], resource);`
	w := h.begin(t)
	r := w.Changes.runners["lamp.set"]
	r.Votes = "lamp.off"
	var agreed []pavise.Name
	run := r.Run
	r.Run = func(ctx context.Context, act Act) error { agreed = act.Approvers; return run(ctx, act) }
	r.Plan = func(ctx context.Context, on pavise.Name, request json.RawMessage) (Plan, error) {
		p, err := w.plan(ctx, on, request)
		p.Need = 2
		return p, err
	}
	w.Changes.runners["lamp.set"] = r
	if err := w.guard.Load("acme", map[string]string{
		"operators": h.policy,
		"elders":    `permit (principal in Role::"elder", action in [Action::"change", Action::"lamp.off"], resource);`,
	}); err != nil {
		t.Fatal(err)
	}
	ch := w.propose(t, alice, "lamp.set")
	if _, need := ch.Approvals(); need != 2 {
		t.Errorf("it takes %d approvals, and the plan asks for 2", need)
	}
	_, err := w.Approve(t.Context(), bob, ch.Name, ch.Digest, "")
	wantKind(t, err, pavise.Denied)
	old, young := person("olga", "elder"), person("yan", "elder")
	_, err = w.Propose(t.Context(), old, Proposal{Verb: "lamp.set", On: lamp, Request: red})
	wantKind(t, err, pavise.Denied) // who decides does not do it
	w.approve(t, old, ch)
	w.expect(t, ch, Open, 0)
	w.approve(t, young, ch)
	w.expect(t, ch, Done, 1)
	if len(agreed) != 2 || agreed[0] != old.Name() || agreed[1] != young.Name() {
		t.Errorf("the act is told that %v agreed", agreed)
	}
}

// Whom nobody's approval would help is told what keeps them from it.
func TestWhoCannotProposeIsToldWhy(t *testing.T) {
	w := newWorld(t)
	_, err := w.Propose(t.Context(), person("eve", "clerk"), Proposal{Verb: "lamp.set", On: lamp, Request: red})
	if err == nil || !strings.Contains(err.Error(), "even with everybody's approval: no policy permits it") {
		t.Errorf("%v", err)
	}
}
