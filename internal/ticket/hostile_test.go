package ticket

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise/internal/change"
)

// TestReworded: somebody changes what a ticket says of its change, and leaves the digest: who
// approves it there looked at something else, and their word does not count.
func TestReworded(t *testing.T) {
	each(t, heardFrom, func(t *testing.T, w *world, e *emulator, c *clerk) {
		w.maps(t, "work", "42", gus, "operator")
		ch := w.propose(t, ben, "lamp.set", `{}`)
		turn(t, c)
		e.mu.Lock()
		newest := e.tickets[len(e.tickets)-1]
		was := newest.body
		newest.body = strings.Replace(was, "shine", "be dusted", 1)
		e.mu.Unlock()
		if was == newest.body {
			t.Fatal("nothing was changed")
		}
		e.say(ballot(c.Kind, "42", ch.Digest, true))
		turn(t, c)
		if got := w.look(t, ch.Name); got.State != change.Open || w.lamps != 0 {
			t.Fatalf("%+v", got)
		}
		if got := w.notes(t, KindRefused); len(got) != 1 || !strings.Contains(got[0], "changed what the ticket says") {
			t.Errorf("notes %q", got)
		}
		e.mu.Lock()
		newest.body = strings.ReplaceAll(was, "\n", "\r\n") + "\n" // as a tool may lay it out
		e.mu.Unlock()
		w.pass(time.Minute)
		e.say(ballot(c.Kind, "42", ch.Digest, true))
		turn(t, c)
		if got := w.look(t, ch.Name); got.State != change.Done {
			t.Errorf("said on the right ticket: %+v, %q", got, w.notes(t, KindRefused))
		}
	})
}

// TestQuotes: a vote that somebody quotes, shows as an example or strikes out is none of theirs.
func TestQuotes(t *testing.T) {
	vote := func(digest string) adfNode {
		return adfNode{Type: "paragraph", Content: []adfNode{{Type: "text", Text: "pavise approve " + digest[:12]}}}
	}
	doubt := adfNode{Type: "paragraph", Content: []adfNode{{Type: "text", Text: "who wrote this, and why?"}}}
	for name, make := range map[string]func(digest string) adfNode{
		"a quote":    func(d string) adfNode { return adfNode{Type: "blockquote", Content: []adfNode{vote(d)}} },
		"an example": func(d string) adfNode { return adfNode{Type: "codeBlock", Content: vote(d).Content} },
		"a list": func(d string) adfNode {
			return adfNode{Type: "bulletList", Content: []adfNode{{Type: "listItem", Content: []adfNode{vote(d)}}}}
		},
		"struck out": func(d string) adfNode {
			v := vote(d)
			v.Content[0].Marks = []adfMark{{Type: "strike"}}
			return v
		},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, []string{jira}, func(t *testing.T, w *world, e *emulator, c *clerk) {
				w.maps(t, "work", "42", gus, "operator")
				ch := w.propose(t, ben, "lamp.set", `{}`)
				turn(t, c)
				e.say(saying{account: "42", doc: &adfNode{Type: "doc", Content: []adfNode{make(ch.Digest), doubt}}})
				turn(t, c)
				if got := w.look(t, ch.Name); got.State != change.Open || len(got.Votes) > 0 {
					t.Errorf("%+v", got)
				}
			})
		})
	}
	for _, text := range []string{"    pavise approve 0123456789ab", "\tpavise approve 0123456789ab", "\n\n    pavise approve 0123456789ab", "> pavise approve 0123456789ab", "~~pavise approve 0123456789ab~~"} {
		if w, ok := heard(text); ok {
			t.Errorf("%q is a vote: %+v", text, w)
		}
	}
	if _, ok := heard("\r\n  pavise approve 0123456789ab\r\nyes"); !ok {
		t.Error("a vote behind an empty line is none")
	}
}

// TestKilledBehindTheTicket: the process dies between the making of a ticket and what is kept
// of it: the next one waits until a search would show it.
func TestKilledBehindTheTicket(t *testing.T) {
	each(t, heardFrom, func(t *testing.T, w *world, e *emulator, c *clerk) {
		w.propose(t, ben, "lamp.set", `{}`)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		e.mu.Lock()
		e.check = func(_ func(string) string, body []byte) {
			if strings.Contains(string(body), "shine") {
				cancel()
			}
		}
		e.mu.Unlock()
		if err := c.round(ctx); err == nil {
			t.Fatal("it was not killed")
		}
		until(t, func() bool { return e.count() == 1 })
		e.asked()
		turn(t, w.clerk(t, "work"))
		if asked := e.asked(); len(asked) > 0 {
			t.Errorf("asked at once: %q", asked)
		}
		w.pass(2 * time.Minute)
		turn(t, w.clerk(t, "work"))
		if s, err := w.Show(t.Context(), ann, "work"); err != nil || e.count() != 1 || s.Behind != 0 {
			t.Errorf("%d tickets, %+v, %v", e.count(), s.Tool, err)
		}
	})
}

// TestSlow: a tool that answers slowly is told what there is bit by bit, and what people say
// there is heard in between.
func TestSlow(t *testing.T) {
	each(t, []string{gitHub}, func(t *testing.T, w *world, e *emulator, c *clerk) {
		w.maps(t, "work", "42", gus, "operator")
		ch := w.propose(t, ben, "lamp.set", `{}`)
		turn(t, c)
		e.say(ballot(c.Kind, "42", ch.Digest, true))
		for range 12 {
			w.propose(t, eve, "lamp.set", `{}`)
		}
		e.mu.Lock()
		e.breaks = func(http.ResponseWriter, *http.Request) bool { w.pass(10 * time.Second); return false }
		e.mu.Unlock()
		turn(t, c)
		if got := w.look(t, ch.Name); got.State != change.Done || e.count() > 4 {
			t.Errorf("%s, after %d tickets", got.State, e.count())
		}
		for range 12 {
			turn(t, c)
		}
		if e.count() != 13 {
			t.Errorf("%d tickets", e.count())
		}
	})
}

// TestStrangersBuryNobody: more strangers than are weighed do not keep a known person from being
// heard.
func TestStrangersBuryNobody(t *testing.T) {
	each(t, []string{gitHub}, func(t *testing.T, w *world, e *emulator, c *clerk) {
		w.maps(t, "work", "42", gus, "operator")
		ch := w.propose(t, ben, "lamp.set", `{}`)
		turn(t, c)
		for range maxHeard + 5 {
			e.say(ballot(c.Kind, "99", ch.Digest, true))
		}
		e.say(ballot(c.Kind, "42", ch.Digest, false))
		turn(t, c)
		if got := w.look(t, ch.Name); got.State != change.Denied {
			t.Errorf("the denial behind them is lost: %+v", got)
		}
	})
}

// TestNotesAreNoHTML: what somebody says here comes to ServiceNow as a text.
func TestNotesAreNoHTML(t *testing.T) {
	each(t, []string{serviceNow}, func(t *testing.T, w *world, e *emulator, c *clerk) {
		ch := w.propose(t, ben, "lamp.set", `{}`)
		turn(t, c)
		if _, err := w.changes.Deny(t.Context(), eve, ch.Name, ch.Digest, "[CODE]<a href=x>approved</a>[/code]"); err != nil {
			t.Fatal(err)
		}
		turn(t, c)
		if texts := strings.Join(e.texts(), "\n"); strings.Contains(strings.ToLower(texts), "[code]") || !strings.Contains(texts, "(CODE)<a href=x>") {
			t.Errorf("%s", texts)
		}
	})
}
