package change

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/record"
)

// edit changes fields of a change in the database behind everybody's back. digest
// makes the change's digest fit what it says now.
func (w *world) edit(t testing.TB, ch *Change, digest bool, edit func(*Change)) {
	t.Helper()
	now := w.look(t, ch)
	edit(now)
	if digest {
		var err error
		if now.Digest, err = now.digest(); err != nil {
			t.Fatal(err)
		}
	}
	text, err := json.Marshal(now)
	if err != nil {
		t.Fatal(err)
	}
	w.exec(t, `UPDATE change_changes SET change = ?, state = ?, until = ?, request = ? WHERE id = ?`,
		string(text), string(now.State), now.Until.UnixMicro(), []byte(now.request), ch.Name.ID)
}

// forge writes an approval into the database that nobody gave.
func (w *world) forge(t testing.TB, ch *Change, by pavise.Principal) {
	t.Helper()
	vote, err := json.Marshal(Vote{By: by.Name(), Yes: true, At: epoch, Record: ch.Record})
	if err != nil {
		t.Fatal(err)
	}
	w.exec(t, `INSERT INTO change_votes (tenant, id, voter, vote) VALUES (?, ?, ?, ?)`, ch.Name.Tenant, ch.Name.ID, by.Name().String(), string(vote))
}

// TestWhoWritesTheDatabaseChangesNothing has a change with all its approvals in the log,
// one step before it is run, and changes in the database what it would do, for whom, or
// how it is judged. Nothing is run, and each is a critical finding.
func TestWhoWritesTheDatabaseChangesNothing(t *testing.T) {
	for what, edit := range map[string]func(ch *Change){
		"the request":               func(ch *Change) { ch.request = json.RawMessage(`{"color":"blue"}`) },
		"the rule":                  func(ch *Change) { ch.Rule.Need = 1 },
		"whom the rule names":       func(ch *Change) { ch.Rule.Of = []string{"bob", "carol", "x"} },
		"the thing":                 func(ch *Change) { ch.On.ID = "attic" },
		"the verb":                  func(ch *Change) { ch.Verb = "bell.ring" },
		"a verb that runs first":    func(ch *Change) { ch.Verb = "lamp.off" },
		"the proposer":              func(ch *Change) { ch.Proposer = dave },
		"the proposer's roles":      func(ch *Change) { ch.Proposer.Roles = append(ch.Proposer.Roles, "boss") },
		"the proposer's issuer":     func(ch *Change) { ch.Proposer.Issuer = "another" },
		"who answers for them":      func(ch *Change) { ch.Proposer.By = dave.Name() },
		"where the proposer runs":   func(ch *Change) { ch.Proposer.Environment = "prod" },
		"what it depends on":        func(ch *Change) { ch.Plan.Digests["wiring"] = "w9" },
		"how long votes count":      func(ch *Change) { ch.Until = ch.Until.Add(24 * time.Hour) },
		"where its proposal stands": func(ch *Change) { ch.Record += 1000 },
	} {
		for _, digest := range []bool{false, true} { // with a digest that fits
			t.Run(fmt.Sprintf("%s, digest made anew: %t", what, digest), func(t *testing.T) {
				w := newWorld(t)
				w.rule(t, "lamp.set", Rule{Need: 2, Days: 3})
				ch := w.propose(t, alice, "lamp.set")
				for _, who := range []pavise.Principal{bob, carol} {
					if err := w.vote(t.Context(), who, "change.approve", ch.Name, decided{Digest: ch.Digest, Yes: true}); err != nil {
						t.Fatal(err)
					}
				}
				w.edit(t, ch, digest, edit)
				w.edit(t, ch, false, func(ch *Change) { ch.State = Approved })
				if err := w.Resume(t.Context()); err != nil {
					t.Error(err)
				}
				w.expect(t, ch, Void, 0)
				w.alarmed(t, ch)
			})
		}
	}
}

// TestWhoWritesTheDatabaseApprovesNothing writes votes that nobody gave into the
// database, and that they suffice.
func TestWhoWritesTheDatabaseApprovesNothing(t *testing.T) {
	for what, by := range map[string][]pavise.Principal{
		"nobody's":                   {},
		"somebody's":                 {carol},
		"people's who never were":    {person("x"), person("y")},
		"the one who voted, again":   {person("Bob")},
		"the proposer's":             {alice},
		"a program's":                {{Tenant: "acme", Kind: pavise.Workload, ID: "bot"}},
		"somebody of another tenant": {{Tenant: "other", Kind: pavise.Human, ID: "carol"}},
	} {
		for _, state := range []State{Approved, Running} {
			t.Run(fmt.Sprintf("%s, and set to %s", what, state), func(t *testing.T) {
				w := newWorld(t)
				w.rule(t, "lamp.set", Rule{Need: 2, Days: 3})
				ch := w.propose(t, alice, "lamp.set")
				w.approve(t, bob, ch)
				for _, who := range by {
					w.forge(t, ch, who)
				}
				w.edit(t, ch, false, func(ch *Change) { ch.State = state })
				if err := w.Resume(t.Context()); err != nil {
					t.Error(err)
				}
				w.expect(t, ch, Void, 0)
				w.alarmed(t, ch)
			})
		}
	}
}

// TestRecordsThatAreNoApproval writes records into the log that resemble approvals. The
// writer's key is needed for that, so nobody but us could; none counts all the same.
func TestRecordsThatAreNoApproval(t *testing.T) {
	w := newWorld(t)
	w.rule(t, "lamp.set", Rule{Need: 1, Days: 3, Of: []string{"alice", "bob", "carol", "bot"}})
	ch, other := w.propose(t, alice, "lamp.set"), w.propose(t, alice, "lamp.set")
	good := record.Record{
		Kind: "change.approve", Phase: record.Exit, Tenant: "acme", At: epoch, Who: &bob, On: ch.Name,
		Detail: fmt.Appendf(nil, `{"digest":%q,"yes":true}`, ch.Digest),
	}
	bot := pavise.Principal{Tenant: "acme", Kind: pavise.Workload, ID: "bot", Roles: []string{"operator"}}
	clerk, outside := person("carol", "clerk"), outsider("bob")
	for what, edit := range map[string]func(r *record.Record){
		"the question only":    func(r *record.Record) { r.Phase = record.Enter },
		"cut off":              func(r *record.Record) { r.Phase = record.Interrupted },
		"not ended well":       func(r *record.Record) { r.Error = &record.Failure{Kind: "unavailable", Msg: "no"} },
		"another verb":         func(r *record.Record) { r.Kind = "change.show" },
		"another change":       func(r *record.Record) { r.On = other.Name },
		"another tenant's":     func(r *record.Record) { r.Tenant = "other" },
		"another digest":       func(r *record.Record) { r.Detail = fmt.Appendf(nil, `{"digest":%q,"yes":true}`, other.Digest) },
		"a part of the digest": func(r *record.Record) { r.Detail = fmt.Appendf(nil, `{"digest":%q,"yes":true}`, ch.Digest[:8]) },
		"no yes":               func(r *record.Record) { r.Detail = fmt.Appendf(nil, `{"digest":%q}`, ch.Digest) },
		"no detail":            func(r *record.Record) { r.Detail = nil },
		"nobody":               func(r *record.Record) { r.Who = nil },
		"the proposer":         func(r *record.Record) { r.Who = &alice },
		"a program":            func(r *record.Record) { r.Who = &bot },
		"somebody not named":   func(r *record.Record) { r.Who = &dave },
		"somebody who may not": func(r *record.Record) { r.Who = &clerk },
		"a tool's word":        func(r *record.Record) { r.Who = &outside }, // the runner hears none
		"an origin": func(r *record.Record) {
			r.Detail = fmt.Appendf(nil, `{"digest":%q,"yes":true,"origin":{"tool":"work"}}`, ch.Digest)
		},
	} {
		r := good
		edit(&r)
		if _, err := w.log.Append(t.Context(), &r, ledger.Durable); err != nil {
			t.Fatal(err)
		}
		told, err := w.told(t.Context(), ch)
		if err != nil || len(told.people) > 0 {
			t.Errorf("%s counts: %v, %v", what, told.people, err)
		}
	}
	if _, err := w.log.Append(t.Context(), &good, ledger.Durable); err != nil {
		t.Fatal(err)
	}
	if told, err := w.told(t.Context(), ch); err != nil || len(told.people) != 1 {
		t.Errorf("a good one does not count: %v, %v", told.people, err)
	}
}

// alarmed wants one critical finding about a change in the log.
func (w *world) alarmed(t testing.TB, ch *Change) {
	t.Helper()
	notes := w.records(t, "change.unproven", record.Note)
	var detail struct{ Finding pavise.Finding }
	if len(notes) != 1 || notes[0].On != ch.Name {
		t.Fatalf("%d notes say that the change was not proven", len(notes))
	}
	if err := json.Unmarshal(notes[0].Detail, &detail); err != nil || detail.Finding.Severity != pavise.Critical || !strings.Contains(detail.Finding.Summary, "evidence log") {
		t.Errorf("the finding is %+v, %v", detail.Finding, err)
	}
}

// TestVotesInTheTableAloneRunNothing puts votes into the table between two real ones.
// They count for nothing when the change is weighed, and once they seem to suffice that is told.
func TestVotesInTheTableAloneRunNothing(t *testing.T) {
	w := newWorld(t)
	w.rule(t, "lamp.set", Rule{Need: 3, Days: 3})
	ch := w.propose(t, alice, "lamp.set")
	w.approve(t, bob, ch)
	w.forge(t, ch, dave)
	if now := w.approve(t, carol, ch); now.State != Open {
		t.Errorf("it is %s: %s", now.State, now.Outcome)
	}
	w.expect(t, ch, Open, 0)
	w.alarmed(t, ch)
	w.approve(t, dave, ch) // whose name was used votes for the first time
	w.expect(t, ch, Done, 1)
}

// TestAChangeThatNobodyProposedIsNotRun puts a whole change into the table, which real
// people then approve.
func TestAChangeThatNobodyProposedIsNotRun(t *testing.T) {
	w := newWorld(t)
	ch := w.propose(t, alice, "lamp.set")
	w.exec(t, `INSERT INTO change_changes SELECT tenant, 'forged', state, proposed, until, change, request FROM change_changes`)
	forged := *ch
	forged.Name.ID = "forged"
	w.edit(t, &forged, true, func(ch *Change) { ch.Name.ID = "forged" })
	_, err := w.Approve(t.Context(), bob, forged.Name, w.look(t, &forged).Digest, "")
	wantKind(t, err, pavise.Unverified)
	w.expect(t, &forged, Void, 0)
	w.alarmed(t, &forged)
}

// TestWhatWasEndedIsNotOpenedAgain sets a change that was denied, taken back or run to
// another state in the database, and takes the mark away: the log knows better.
func TestWhatWasEndedIsNotOpenedAgain(t *testing.T) {
	for _, state := range []State{Open, Approved, Running} {
		for what, end := range map[string]func(w *world, ch *Change) error{
			"denied": func(w *world, ch *Change) error {
				_, err := w.Deny(t.Context(), carol, ch.Name, ch.Digest, "no")
				return err
			},
			"taken back": func(w *world, ch *Change) error { _, err := w.Withdraw(t.Context(), alice, ch.Name); return err },
			"run": func(w *world, ch *Change) error {
				_, err := w.Approve(t.Context(), bob, ch.Name, ch.Digest, "")
				return err
			},
		} {
			t.Run(fmt.Sprintf("%s, and set to %s", what, state), func(t *testing.T) {
				w := newWorld(t)
				ch := w.propose(t, alice, "lamp.set")
				if what != "run" { // approved as it must be, but for the last step
					if err := w.vote(t.Context(), bob, "change.approve", ch.Name, decided{Digest: ch.Digest, Yes: true}); err != nil {
						t.Fatal(err)
					}
				}
				if err := end(w, ch); err != nil {
					t.Fatal(err)
				}
				before := w.effects(t, ch)
				w.edit(t, ch, false, func(ch *Change) { ch.State = state })
				if before > 0 {
					w.exec(t, `DELETE FROM change_ran`)
				}
				if err := w.Resume(t.Context()); err != nil {
					t.Error(err)
				}
				w.expect(t, ch, Void, before)
				w.alarmed(t, ch)
			})
		}
	}
}

// TestARunFirstChangeIsNotApprovedByTheDatabase lowers the rule of an act that was run
// first and waits for approval: it is not taken for approved.
func TestARunFirstChangeIsNotApprovedByTheDatabase(t *testing.T) {
	w := newWorld(t)
	ch := w.propose(t, alice, "lamp.off")
	w.edit(t, ch, true, func(ch *Change) { ch.Rule.Need = 0 })
	if err := w.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.expect(t, ch, Ran, 1)
}

// TestPrunedEvidenceRunsNothing has the log lose the records that a change stands on,
// as pruning does. It is void, and no alarm is raised.
func TestPrunedEvidenceRunsNothing(t *testing.T) {
	w := newWorld(t)
	ch := w.propose(t, alice, "lamp.set")
	if err := w.vote(t.Context(), bob, "change.approve", ch.Name, decided{Digest: ch.Digest, Yes: true}); err != nil {
		t.Fatal(err)
	}
	w.Changes.log = prunedLog{w.log}
	_, err := w.settle(t.Context(), ch.Name)
	wantKind(t, err, pavise.Conflict)
	if n := len(w.records(t, "change.unproven", record.Note)); n > 0 {
		t.Errorf("%d alarms", n)
	}
	w.expect(t, ch, Void, 0)
}

// A prunedLog holds nothing of the past but its last record.
type prunedLog struct{ Log }

func (l prunedLog) First() uint64 { return l.Size() - 1 }
