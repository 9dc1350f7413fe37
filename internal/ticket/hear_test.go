package ticket

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/hook"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/store"
)

var gus = pavise.Name{Tenant: "local", Kind: pavise.Human, ID: "gus"}

// TestVoteFromOutside: what a known person says in a tool is a vote of theirs, once, and its
// record says where it was read.
func TestVoteFromOutside(t *testing.T) {
	each(t, heardFrom, func(t *testing.T, w *world, e *emulator, c *clerk) {
		w.maps(t, "work", "42", gus, "operator")
		ch := w.propose(t, ben, "lamp.set", `{}`)
		turn(t, c)
		id := e.say(ballot(c.Kind, "42", ch.Digest, true))
		turn(t, c)
		done := w.look(t, ch.Name)
		if done.State != change.Done || w.lamps != 1 || len(done.Votes) != 1 {
			t.Fatalf("%+v; %q", done, e.texts())
		}
		v := done.Votes[0]
		if o := v.Origin; v.By != gus || o == nil || o.Tool != "work" || !strings.HasPrefix(o.Word, id) || o.Account != "42" || !strings.HasPrefix(o.At, e.URL) || o.Said.Before(epoch) {
			t.Errorf("%+v, %+v", v, v.Origin)
		}
		for range 2 {
			turn(t, w.clerk(t, "work"))
		}
		if texts := strings.Join(e.texts(), "\n"); !e.newest().closed || !strings.Contains(texts, "local/human/gus approves it, on "+v.Origin.Ticket) {
			t.Errorf("closed %t: %s", e.newest().closed, texts)
		}
		found := 0
		for r, err := range w.log.Select(t.Context(), ledger.Filter{Tenant: "local", Kinds: []string{"change.approve"}, On: ch.Name.String(), Phase: record.Exit}, 0, w.log.Size()) {
			var d struct {
				Digest string
				Origin change.Origin
			}
			if err != nil || json.Unmarshal(r.Detail, &d) != nil || d.Origin != *v.Origin || d.Digest != ch.Digest || r.Who.Proof != change.ProofTicket || r.Who.Root() != gus || r.Who.By != gus {
				t.Errorf("%v: %+v, %s", err, r.Who, r.Detail)
			}
			found++
		}
		if found != 1 {
			t.Errorf("%d records", found)
		}
	})
}

// TestDenialFromOutside ends a change.
func TestDenialFromOutside(t *testing.T) {
	each(t, heardFrom, func(t *testing.T, w *world, e *emulator, c *clerk) {
		w.maps(t, "work", "42", gus, "operator")
		ch := w.propose(t, ben, "lamp.set", `{}`)
		turn(t, c)
		e.say(ballot(c.Kind, "42", ch.Digest, false))
		turn(t, c)
		if done := w.look(t, ch.Name); done.State != change.Denied || w.lamps != 0 {
			t.Errorf("%+v", done)
		}
	})
}

// TestNoVotes: words that are not a known person's, or not of this change as it is now, are
// no votes; the ticket and the log say why, once.
func TestNoVotes(t *testing.T) {
	one := []string{gitHub} // what follows is asked of no tool
	for name, c := range map[string]struct {
		why   string
		kinds []string
		spoil func(t *testing.T, w *world, s *saying, ch *change.Change)
	}{
		"a stranger":      {"nobody here is known", heardFrom, func(_ *testing.T, _ *world, s *saying, _ *change.Change) { s.account, s.by = "99", "user99" }},
		"edited":          {"edited", []string{jira, gitHub, gitLab}, func(_ *testing.T, _ *world, s *saying, _ *change.Change) { s.edited = true }},
		"set by an admin": {"somebody else than the approver", []string{serviceNow}, func(_ *testing.T, _ *world, s *saying, _ *change.Change) { s.by = "admin" }},
		"a program":       {"a program", []string{gitHub}, func(_ *testing.T, _ *world, s *saying, _ *change.Change) { s.program = true }},
		"another digest": {"not that of the change", []string{jira, gitHub, gitLab}, func(_ *testing.T, _ *world, s *saying, ch *change.Change) {
			s.text = "pavise approve " + strings.Repeat("0", 12)
		}},
		"before the ticket": {"before the ticket", one, func(_ *testing.T, _ *world, s *saying, _ *change.Change) { s.at = epoch.Add(-time.Hour) }},
		"revoked": {"revoked", one, func(_ *testing.T, w *world, _ *saying, _ *change.Change) {
			w.mu.Lock()
			w.revoked = true
			w.mu.Unlock()
		}},
		"its time is over": {"known until", one, func(_ *testing.T, w *world, _ *saying, _ *change.Change) { w.expire(t, "42") }},
		"the proposer": {"nobody approves their own", one, func(t *testing.T, w *world, _ *saying, _ *change.Change) {
			w.maps(t, "work", "42", ben.Name(), "operator")
		}},
		"no such role": {"may not do change.approve", one, func(t *testing.T, w *world, _ *saying, _ *change.Change) { w.maps(t, "work", "42", gus, "caller") }},
		"voted here":   {"has voted", one, func(t *testing.T, w *world, _ *saying, ch *change.Change) { w.voted(t, ch, "gus") }},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, c.kinds, func(t *testing.T, w *world, e *emulator, k *clerk) {
				w.maps(t, "work", "42", gus, "operator")
				if name == "voted here" {
					w.mu.Lock()
					w.wiring = "w2"
					w.mu.Unlock()
				}
				ch := w.propose(t, ben, "lamp.set", `{}`)
				turn(t, k)
				s := ballot(k.Kind, "42", ch.Digest, true)
				c.spoil(t, w, &s, ch)
				id := e.say(s)
				if k.Kind == serviceNow {
					id += "@" + e.newest().said[len(e.newest().said)-1].at.Format(serviceNowTime)
				}
				for range 3 {
					turn(t, k)
				}
				now := w.look(t, ch.Name)
				if name == "voted here" {
					return // it ended with that vote: what counts is that nothing is run twice
				}
				if now.State != change.Open || len(now.Votes) != 0 || w.lamps != 0 {
					t.Fatalf("%+v", now)
				}
				if got := w.cameTo(t, "work", ch.Name, id); !strings.Contains(got, c.why) {
					t.Errorf("it came to %q", got)
				}
				if got := w.notes(t, KindRefused); len(got) != 1 || !strings.Contains(got[0], c.why) {
					t.Errorf("notes %q", got)
				}
				if n := strings.Count(strings.Join(e.texts(), "\n"), "does not count"); n != 1 {
					t.Errorf("answered %d times: %q", n, e.texts())
				}
			})
		})
	}
}

// expire ends the time of a mapping.
func (w *world) expire(t *testing.T, account string) {
	t.Helper()
	err := w.cfg.Store.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE ticket_accounts SET mapping = json_set(mapping, '$.until', '2027-01-02T00:00:00Z') WHERE account = ?`, account)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// voted has a person vote here.
func (w *world) voted(t *testing.T, ch *change.Change, id string) {
	t.Helper()
	if _, err := w.changes.Approve(t.Context(), person(id), ch.Name, ch.Digest, ""); err != nil {
		t.Fatal(err)
	}
}

// TestReplayedApproval: an approval of one change, copied to the ticket of another that is
// the same in all but its name, is none.
func TestReplayedApproval(t *testing.T) {
	each(t, heardFrom, func(t *testing.T, w *world, e *emulator, c *clerk) {
		w.maps(t, "work", "42", gus, "operator")
		first := w.propose(t, ben, "lamp.set", `{}`)
		turn(t, c)
		e.say(ballot(c.Kind, "42", first.Digest, true))
		turn(t, c)
		w.pass(time.Minute)
		second := w.propose(t, ben, "lamp.set", `{}`)
		turn(t, c)
		s := ballot(c.Kind, "42", first.Digest, true)
		if c.Kind == serviceNow { // there the request's description shows the digest: somebody puts the old one
			e.mu.Lock()
			newest := e.tickets[len(e.tickets)-1]
			newest.body = strings.Replace(newest.body, second.Digest, first.Digest, 1)
			e.mu.Unlock()
		}
		e.say(s)
		turn(t, c)
		if got := w.look(t, second.Name); got.State != change.Open || w.lamps != 1 {
			t.Errorf("%+v, and %d lamps", got, w.lamps)
		}
	})
}

// TestChangedWhatWasLookedAt: what the outcome depends on changed after somebody looked, and
// before they said so: the change is void, and nothing is run.
func TestChangedWhatWasLookedAt(t *testing.T) {
	each(t, heardFrom, func(t *testing.T, w *world, e *emulator, c *clerk) {
		w.maps(t, "work", "42", gus, "operator")
		ch := w.propose(t, ben, "lamp.set", `{}`)
		turn(t, c)
		w.mu.Lock()
		w.wiring = "w2"
		w.mu.Unlock()
		e.say(ballot(c.Kind, "42", ch.Digest, true))
		for range 2 {
			turn(t, c)
		}
		if got := w.look(t, ch.Name); got.State != change.Void || w.lamps != 0 || !e.newest().closed {
			t.Errorf("%+v", got)
		}
	})
}

// TestHighRisk: changes of high risk, those that take more people, and verbs that say nothing
// of it are not decided on from outside: no tool is even asked, and the ticket says so.
func TestHighRisk(t *testing.T) {
	each(t, heardFrom, func(t *testing.T, w *world, e *emulator, c *clerk) {
		w.maps(t, "work", "42", gus, "operator")
		for _, ch := range []*change.Change{w.propose(t, ben, "lamp.burn", `{}`), w.propose(t, ben, "lamp.set", `{"risk":"high"}`)} {
			turn(t, c)
			if body := e.newest().body; !strings.Contains(body, "not decided on from outside") || strings.Contains(body, "pavise approve "+ch.Digest[:12]) {
				t.Errorf("the ticket says %s", body)
			}
			e.say(ballot(c.Kind, "42", ch.Digest, true))
			e.asked()
			turn(t, c)
			if got := w.look(t, ch.Name); got.State != change.Open || w.lamps != 0 || len(e.asked()) != 0 {
				t.Errorf("%+v", got)
			}
			_, err := w.changes.Outside(t.Context(), c.principal(Mapping{Person: gus, Roles: []string{"operator"}, Place: "x"}), ch.Name, change.Word{
				Digest: ch.Digest, Yes: true, Origin: change.Origin{Tool: "work", At: "x", Ticket: "x", Word: "x", Account: "42"},
			})
			if pavise.KindOf(err) != pavise.Denied {
				t.Errorf("voted all the same: %v", err)
			}
			w.pass(time.Minute)
		}
	})
}

// TestKilledBehindTheVote: the process dies between the vote and what is kept of its word:
// the next one finds the vote, and says that it counted.
func TestKilledBehindTheVote(t *testing.T) {
	each(t, heardFrom, func(t *testing.T, w *world, e *emulator, c *clerk) {
		w.maps(t, "work", "42", gus, "operator")
		ch := w.propose(t, ben, "lamp.off", `{}`)
		turn(t, c)
		e.say(ballot(c.Kind, "42", ch.Digest, true))
		turn(t, c)
		err := w.cfg.Store.Update(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec(`DELETE FROM ticket_words`)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		turn(t, w.clerk(t, "work"))
		if got := w.look(t, ch.Name); got.State != change.Done || len(got.Votes) != 1 || w.lamps != 1 || len(w.notes(t, KindRefused)) != 0 {
			t.Errorf("%+v; %q", got, w.notes(t, KindRefused))
		}
	})
}

// TestManyWords: whoever floods a ticket fills neither it nor the log.
func TestManyWords(t *testing.T) {
	each(t, []string{gitHub}, func(t *testing.T, w *world, e *emulator, c *clerk) {
		w.maps(t, "work", "42", gus, "operator")
		ch := w.propose(t, ben, "lamp.set", `{}`)
		turn(t, c)
		for range 60 {
			e.say(ballot(c.Kind, "99", ch.Digest, true))
		}
		for range 3 {
			turn(t, c)
		}
		if got := w.notes(t, KindRefused); len(got) != maxReplies {
			t.Errorf("%d notes", len(got))
		}
		e.say(ballot(c.Kind, "42", ch.Digest, true))
		turn(t, c)
		if got := w.look(t, ch.Name); got.State != change.Done {
			t.Errorf("the vote behind them is lost: %+v", got)
		}
	})
}

// TestForgedMessage: what comes to the door, signed or not, is no vote: it only has the tool
// asked, and is refused unless it is signed.
func TestForgedMessage(t *testing.T) {
	each(t, []string{gitHub}, func(t *testing.T, w *world, e *emulator, _ *clerk) {
		if err := w.Remove(t.Context(), ann, "work"); err != nil {
			t.Fatal(err)
		}
		given := w.put(t, puts(gitHub, e.URL))
		w.maps(t, "work", "42", gus, "operator")
		ch := w.propose(t, ben, "lamp.set", `{}`)
		turn(t, w.clerk(t, "work"))
		forged := fmt.Sprintf(`{"action":"created","comment":{"id":5,"user":{"id":42,"type":"User"},"body":"pavise approve %s"}}`, ch.Digest[:12])
		mux := http.NewServeMux()
		mux.Handle(PathDoor, w.Door(func(rw http.ResponseWriter, err error) { rw.WriteHeader(pavise.KindOf(err).HTTPStatus()) }))
		secret := given.Secret
		post := func(tool, body string, header map[string]string) int {
			r := httptest.NewRequest(http.MethodPost, "/v1/tickets/local/"+tool, strings.NewReader(body))
			for name, value := range header {
				r.Header.Set(name, value)
			}
			rec := httptest.NewRecorder()
			mux.ServeHTTP(rec, r)
			return rec.Code
		}
		key := w.row(t, "work").Keys[0]
		stamp, signed := hook.Headers([]hook.Key{key}, "m1", w.clock(), []byte(forged))
		for name, c := range map[string]struct {
			tool   string
			header map[string]string
			want   int
		}{
			"unsigned":          {"work", nil, 401},
			"no such tool":      {"other", map[string]string{"X-Gitlab-Token": secret}, 401},
			"another signature": {"work", map[string]string{"X-Hub-Signature-256": "sha256=" + strings.Repeat("0", 64)}, 401},
			"an empty token":    {"work", map[string]string{"X-Gitlab-Token": ""}, 401},
			"GitHub's":          {"work", map[string]string{"X-Hub-Signature-256": hubSignature(secret, forged)}, 202},
			"Jira's":            {"work", map[string]string{"X-Hub-Signature": hubSignature(secret, forged)}, 202},
			"GitLab's":          {"work", map[string]string{"X-Gitlab-Token": secret}, 202},
			"the standard's":    {"work", map[string]string{"webhook-id": "m1", "webhook-timestamp": stamp, "webhook-signature": signed}, 202},
		} {
			if got := post(c.tool, forged, c.header); got != c.want {
				t.Errorf("%s: answered %d", name, got)
			}
		}
		if got := post("work", strings.Repeat("x", maxMessage+1), map[string]string{"X-Gitlab-Token": secret}); got != 400 {
			t.Errorf("one that is too long: %d", got)
		}
		for range 2 {
			turn(t, w.clerk(t, "work"))
		}
		if got := w.look(t, ch.Name); got.State != change.Open || len(got.Votes) != 0 {
			t.Errorf("%+v", got)
		}
	})
}

// row is a tool as the store has it.
func (w *world) row(t *testing.T, name string) row {
	t.Helper()
	return w.clerk(t, name).row
}
