package change

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/record"
)

// TestNobodyNeedsToApproveWhatTakesNone runs a verb of Need 0 at once, recorded like
// every other.
func TestNobodyNeedsToApproveWhatTakesNone(t *testing.T) {
	w := newWorld(t)
	for _, verb := range []string{"lamp.set", "lamp.off"} {
		w.rule(t, verb, Rule{Need: 0, Days: 1})
		ch := w.propose(t, alice, verb)
		w.expect(t, ch, Done, 1)
		if acts := w.records(t, verb, record.Exit); len(acts) != 1 || acts[0].Who.Change != ch.Name {
			t.Errorf("the records of %s: %+v", verb, acts)
		}
	}
}

// TestTheRuleOfRulesTakesSomebodyElse refuses a rule that would let one person change
// rules, proposed as well as written into the database.
func TestTheRuleOfRulesTakesSomebodyElse(t *testing.T) {
	w := newWorld(t)
	on := pavise.Name{Tenant: "acme", Kind: "change", ID: verbRule}
	_, err := w.Propose(t.Context(), alice, Proposal{Verb: verbRule, On: on, Request: json.RawMessage(`{"verb":"change.rule","need":0,"days":3}`)})
	wantKind(t, err, pavise.Invalid)
	w.rule(t, verbRule, Rule{Need: 1, Days: 90})
	w.exec(t, `UPDATE change_rules SET rule = '{"need":0,"days":3}'`)
	ch, err := w.Propose(t.Context(), alice, Proposal{Verb: verbRule, On: on, Request: json.RawMessage(`{"verb":"change.rule","need":1,"days":1}`)})
	if err != nil || ch.State != Open || ch.Rule.Need != 1 {
		t.Errorf("%+v, %v", ch, err)
	}
}

// TestAChangeIsDecidedByTheRuleOfItsDay changes a verb's rule while one of its changes
// is open: that one keeps its own.
func TestAChangeIsDecidedByTheRuleOfItsDay(t *testing.T) {
	w := newWorld(t)
	w.rule(t, "lamp.set", Rule{Need: 2, Days: 3})
	ch := w.propose(t, alice, "lamp.set")
	w.rule(t, "lamp.set", Rule{Need: 0, Days: 3})
	w.approve(t, bob, ch)
	w.expect(t, ch, Open, 0)
	w.approve(t, carol, ch)
	w.expect(t, ch, Done, 1)
}

// TestFewerPeopleCannotLowerARule: what takes two takes two to be made to take one, and
// the same two where the rule names them.
func TestFewerPeopleCannotLowerARule(t *testing.T) {
	w := newWorld(t)
	w.rule(t, "lamp.set", Rule{Need: 2, Days: 3, Of: []string{"bob", "carol"}})
	ch, err := w.Propose(t.Context(), alice, Proposal{
		Verb: verbRule, On: pavise.Name{Tenant: "acme", Kind: "change", ID: "lamp.set"}, Request: json.RawMessage(`{"verb":"lamp.set","need":0,"days":3}`),
	})
	if err != nil || ch.Rule.Need != 2 {
		t.Fatalf("%+v, %v", ch, err)
	}
	_, err = w.Approve(t.Context(), dave, ch.Name, ch.Digest, "")
	wantKind(t, err, pavise.Denied)
	if now := w.approve(t, bob, ch); now.State != Open {
		t.Fatalf("one approval made it %s", now.State)
	}
	if now := w.approve(t, carol, ch); now.State != Done {
		t.Fatalf("it is %s", now.State)
	}
}

// TestWhoMakesPeopleTakesTheMost: a verb that lets somebody new decide takes as many
// approvals as the verb that takes most.
func TestWhoMakesPeopleTakesTheMost(t *testing.T) {
	w := newWorld(t)
	ring := w.Changes.runners["bell.ring"]
	ring.Widens = true
	w.Changes.runners["bell.ring"] = ring
	w.rule(t, "lamp.set", Rule{Need: 3, Days: 3})
	if ch := w.propose(t, alice, "bell.ring"); ch.Rule.Need != 3 {
		t.Errorf("it takes %d", ch.Rule.Need)
	}
	if ch := w.propose(t, alice, "lamp.off"); ch.Rule.Need != 1 {
		t.Errorf("another takes %d", ch.Rule.Need)
	}
}

// TestTwoRulesAtOnce approves two proposals of one rule: the second was made for a
// rule that is no more, and is void.
func TestTwoRulesAtOnce(t *testing.T) {
	w := newWorld(t)
	on := pavise.Name{Tenant: "acme", Kind: "change", ID: "lamp.set"}
	var both []*Change
	for need := range 2 {
		request := fmt.Appendf(nil, `{"verb":"lamp.set","need":%d,"days":3}`, need+2)
		ch, err := w.Propose(t.Context(), alice, Proposal{Verb: verbRule, On: on, Request: request})
		if err != nil {
			t.Fatal(err)
		}
		both = append(both, ch)
	}
	if now := w.approve(t, bob, both[0]); now.State != Done {
		t.Errorf("the first is %s", now.State)
	}
	_, err := w.Approve(t.Context(), bob, both[1].Name, both[1].Digest, "")
	wantKind(t, err, pavise.Conflict)
	rules, err := w.Rules(t.Context(), alice, "acme")
	i := slices.IndexFunc(rules, func(r VerbRule) bool { return r.Verb == "lamp.set" })
	if err != nil || rules[i].Need != 2 {
		t.Errorf("%+v, %v", rules, err)
	}
}

// TestRulesThatMeanNothing refuses rules out of bounds, for no verb, for another verb
// than they are proposed for, and ones that nobody could read twice the same way.
func TestRulesThatMeanNothing(t *testing.T) {
	w := newWorld(t)
	many, err := json.Marshal(VerbRule{Verb: "lamp.set", Rule: Rule{Need: 1, Days: 3, Of: manyPeople(maxOf + 1)}})
	if err != nil {
		t.Fatal(err)
	}
	for _, request := range []string{
		``, `null`, `[]`, `{`, `{"verb":"lamp.set"}`, `{"verb":"lamp.set","need":1}`, `{"verb":"lamp.set","need":-1,"days":3}`,
		`{"verb":"lamp.set","need":17,"days":3}`, `{"verb":"lamp.set","need":1,"days":0}`, `{"verb":"lamp.set","need":1,"days":91}`,
		`{"verb":"lamp.set","need":1.5,"days":3}`, `{"verb":"lamp.set","need":1e99,"days":3}`, `{"verb":"lamp.off","need":1,"days":3}`,
		`{"verb":"lamp.burn","need":1,"days":3}`, `{"need":1,"days":3}`, `{"verb":"lamp.set","need":2,"days":3,"of":["bob"]}`,
		`{"verb":"lamp.set","need":1,"days":3,"of":["bob","bob"]}`, `{"verb":"lamp.set","need":1,"days":3,"of":["../bob"]}`,
		`{"verb":"lamp.set","need":1,"days":3,"of":[""]}`, string(many),
	} {
		on := pavise.Name{Tenant: "acme", Kind: "change", ID: "lamp.set"}
		_, err := w.Propose(t.Context(), alice, Proposal{Verb: verbRule, On: on, Request: json.RawMessage(request)})
		if pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%.80s: %v", request, err)
		}
	}
}

func manyPeople(n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprintf("%0128d", i))
	}
	return ids
}

// TestTheLongestProposalFitsItsRecord proposes with the longest names, reason and kept
// request that there may be: the record holds all of it.
func TestTheLongestProposalFitsItsRecord(t *testing.T) {
	w := newWorld(t)
	w.rule(t, "lamp.set", Rule{Need: 1, Days: 3, Of: manyPeople(maxOf)})
	request := slices.Concat([]byte(`{"color":"`), bytes.Repeat([]byte("<"), maxKept-12), []byte(`"}`))
	ch, err := w.Propose(t.Context(), alice, Proposal{Verb: "lamp.set", On: lamp, Request: request, Reason: string(bytes.Repeat([]byte{1}, maxReason))})
	if err != nil || len(request) != maxKept {
		t.Fatalf("a request of %d bytes: %v", len(request), err)
	}
	said := w.records(t, "change.propose", record.Exit)
	var p proposed
	if err := json.Unmarshal(said[len(said)-1].Detail, &p); err != nil || p.Digest != ch.Digest || len(p.Request) < maxKept {
		t.Errorf("the record keeps %d bytes of the request: %v", len(p.Request), err)
	}
}

// TestALongRequestIsKeptByItsDigest proposes more than a record holds: its digest is
// there, and what is run is the whole of it.
func TestALongRequestIsKeptByItsDigest(t *testing.T) {
	w := newWorld(t)
	request := slices.Concat([]byte(`{"color":"`), bytes.Repeat([]byte("r"), 1<<20), []byte(`"}`))
	ch, err := w.Propose(t.Context(), alice, Proposal{Verb: "lamp.set", On: lamp, Request: request})
	if err != nil {
		t.Fatal(err)
	}
	var p proposed
	if err := json.Unmarshal(w.records(t, "change.propose", record.Exit)[0].Detail, &p); err != nil || p.Request != nil || len(p.SHA256) != 64 {
		t.Errorf("the record says %+v, %v", p, err)
	}
	w.approve(t, bob, ch)
	w.expect(t, ch, Done, 1)
}

// FuzzRule reads foreign bytes as a rule: what it takes is within bounds, and says the
// same when it is written and read again.
func FuzzRule(f *testing.F) {
	f.Add([]byte(`{"verb":"lamp.set","need":2,"days":3,"of":["bob","carol"]}`))
	f.Add([]byte(`{"verb":"change.rule","need":0,"days":3}`))
	f.Add([]byte(`{"verb":"lamp.off","NEED":1,"days":3,"safe":true,"of":[]}`))
	f.Add([]byte(`{"verb":"lamp.set","need":1,"need":0,"days":3}`))
	c := &Changes{runners: map[string]Runner{"lamp.set": {}, "lamp.off": {}, verbRule: {}}}
	f.Fuzz(func(t *testing.T, request []byte) {
		for verb := range c.runners {
			on := pavise.Name{Tenant: "acme", Kind: "change", ID: verb}
			r, err := c.parseRule(on, request)
			if err != nil {
				continue
			}
			if r.Verb != verb || r.Need < 0 || r.Need > maxNeed || r.Days < 1 || r.Days > maxDays || len(r.Of) > maxOf || verb == verbRule && r.Need == 0 {
				t.Errorf("%q was taken as %+v", request, r)
			}
			text, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			again, err := c.parseRule(on, text)
			if err != nil || again.Need != r.Need || again.Days != r.Days || !slices.Equal(again.Of, r.Of) {
				t.Errorf("%q became %+v, %v", text, again, err)
			}
		}
	})
}

// TestARuleThatIsInForce proposes it again, with its people in another order, and is
// told that it would change nothing.
func TestARuleThatIsInForce(t *testing.T) {
	w := newWorld(t)
	on := pavise.Name{Tenant: "acme", Kind: "change", ID: "lamp.set"}
	again := func(request string) error {
		_, err := w.Propose(t.Context(), alice, Proposal{Verb: verbRule, On: on, Request: json.RawMessage(request)})
		return err
	}
	wantKind(t, again(`{"verb":"lamp.set","need":1,"days":3}`), pavise.Conflict)
	w.rule(t, "lamp.set", Rule{Need: 2, Of: []string{"bob", "carol"}, Days: 3})
	wantKind(t, again(`{"verb":"lamp.set","need":2,"of":["carol","bob"],"days":3}`), pavise.Conflict)
	if err := again(`{"verb":"lamp.set","need":1,"days":3}`); err != nil {
		t.Error(err)
	}
}

// TestARuleNamesItsPeople says in words who counts, and of many only some.
func TestARuleNamesItsPeople(t *testing.T) {
	for want, rule := range map[string]Rule{
		"1 other person within 3 days":                         {Need: 1, Days: 3},
		"2 of bob, carol within 3 days":                        {Need: 2, Days: 3, Of: []string{"bob", "carol"}},
		"1 of bob, carol, dave, erin and 2 more within 9 days": {Need: 1, Days: 9, Of: []string{"bob", "carol", "dave", "erin", "frank", "grace"}},
	} {
		if got := rule.words(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestARuleNamesPeopleAndNotIdentities: whoever mints an identity under the name of
// somebody whom a rule names is not that one.
func TestARuleNamesPeopleAndNotIdentities(t *testing.T) {
	w := newWorld(t)
	w.rule(t, "lamp.set", Rule{Need: 1, Of: []string{"bob"}, Days: 3})
	ch := w.propose(t, alice, "lamp.set")
	mask := bob
	mask.By = carol.Name()
	if _, err := w.Approve(t.Context(), mask, ch.Name, ch.Digest, ""); pavise.KindOf(err) != pavise.Denied {
		t.Fatalf("what carol had made under bob's name approves: %v", err)
	}
	mask = person("bobs-laptop", "operator")
	mask.By = bob.Name()
	if _, err := w.Approve(t.Context(), mask, ch.Name, ch.Digest, ""); err != nil {
		t.Fatalf("what bob had made does not approve: %v", err)
	}
	w.expect(t, ch, Done, 1)
}
