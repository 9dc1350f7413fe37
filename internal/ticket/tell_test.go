package ticket

import (
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/outbound"
)

var updates = flag.Bool("update", false, "write the golden exchanges anew")

// puts are the tools of the tests, at an emulator.
func puts(kind, url string) Put {
	p := Put{Name: "work", Kind: kind, URL: url, Secret: "secret-token"}
	switch kind {
	case jira:
		p.Project, p.User = "OPS", "bot@example.org"
	case serviceNow:
		p.User = "bot"
	case gitHub:
		p.Project = "org/repo"
	case gitLab:
		p.Project = "group/sub/repo"
	case gitHubDeployments:
		p.Project, p.User, p.Secret = "org/repo", "Iv1.app", appKey()
	case gitLabDeployments:
		p.Project = "group/sub/repo"
	case cdEvents, webhooks:
		p.Secret = ""
	}
	return p
}

// heardFrom are the kinds of tool in which people vote.
var heardFrom = []string{jira, serviceNow, gitHub, gitLab}

// each runs a test for some kinds of tool, each with a world of its own.
func each(t *testing.T, kinds []string, test func(t *testing.T, w *world, e *emulator, c *clerk)) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t)
			e := newEmulator(t, kind, w.clock)
			w.put(t, puts(kind, e.URL))
			test(t, w, e, w.clerk(t, "work"))
		})
	}
}

// ballot is a vote as people cast it in a tool.
func ballot(kind, account, digest string, yes bool) saying {
	if kind == serviceNow {
		return saying{account: account, state: map[bool]string{true: "approved", false: "rejected"}[yes], by: "user" + account, text: "fine"}
	}
	if yes {
		return saying{account: account, text: "pavise approve " + digest[:12] + "\nlooks good"}
	}
	return saying{account: account, text: "pavise deny " + digest[:12] + " not tonight"}
}

// TestGolden holds what each tool is asked, from a change's proposal over a vote here to its
// end, to what its API takes.
func TestGolden(t *testing.T) {
	all := append([]string{pagerDuty, cdEvents, webhooks}, heardFrom...)
	each(t, all, func(t *testing.T, w *world, e *emulator, c *clerk) {
		ch := w.propose(t, ben, "lamp.off", `{}`)
		turn(t, c)
		w.pass(time.Minute)
		if _, err := w.changes.Approve(t.Context(), eve, ch.Name, ch.Digest, "seen"); err != nil {
			t.Fatal(err)
		}
		turn(t, c)
		got := strings.Join(e.asked(), "\n\n")
		for what, name := range map[string]string{`c-[a-z0-9]{7}`: "c-CHANGE", `[0-9a-f]{64}`: "DIGEST", `c-CHANGE-[0-9a-f]{12}`: "c-CHANGE-MARK", `pavise:[0-9a-f]{20}`: "pavise:SIGN"} {
			if name == "c-CHANGE-MARK" {
				continue
			}
			got = regexp.MustCompile(what).ReplaceAllString(got, name)
		}
		got = regexp.MustCompile(`c-CHANGE-[0-9a-f]{12}`).ReplaceAllString(got, "c-CHANGE-MARK")
		got = regexp.MustCompile(`(approve|deny) [0-9a-f]{12}`).ReplaceAllString(got, "$1 DIGEST12")
		got = regexp.MustCompile(`(Webhook-Id: |"id":")[0-9a-f]{20}`).ReplaceAllString(got, "${1}ID")
		file := filepath.Join("testdata", c.Kind+".golden")
		if *updates {
			if err := os.WriteFile(file, []byte(got+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil || string(want) != got+"\n" {
			t.Errorf("%v: it is asked\n%s", err, got)
		}
		if s, err := w.Show(t.Context(), ann, "work"); err != nil || s.Behind != 0 || s.Open != 0 || !s.Tickets[0].Ended {
			t.Errorf("%+v, %v", s, err)
		}
	})
}

// TestTold has a ticket made, kept up to date and closed, once, however often is looked.
func TestTold(t *testing.T) {
	each(t, heardFrom, func(t *testing.T, w *world, e *emulator, c *clerk) {
		ch := w.propose(t, ben, "lamp.set", `{}`)
		for range 3 {
			turn(t, c)
		}
		got := e.newest()
		if e.count() != 1 || got.closed || !strings.Contains(got.body, ch.Digest) || !strings.Contains(got.title, ch.Name.ID) || strings.Contains(got.title, "\n") {
			t.Fatalf("%d tickets, %+v", e.count(), got)
		}
		if c.Kind == gitHub || c.Kind == gitLab { // what others wrote stands in a block of code
			for line := range strings.SplitSeq(got.body, "\n") {
				if strings.Contains(line, "@all") && !strings.HasPrefix(line, "    ") {
					t.Errorf("somebody is named by %q", line)
				}
			}
		}
		if _, err := w.changes.Deny(t.Context(), eve, ch.Name, ch.Digest, "too bright"); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			turn(t, c)
		}
		texts := e.texts()
		if !e.newest().closed || len(texts) != 2 || !strings.Contains(texts[0], "eve denies it: too bright") || !strings.Contains(texts[1], "it is denied") {
			t.Errorf("closed %t, %q", e.newest().closed, texts)
		}
		if c = w.clerk(t, "work"); true { // the next process
			turn(t, c)
		}
		if e.count() != 1 || len(e.texts()) != 2 {
			t.Errorf("told again: %d tickets, %q", e.count(), e.texts())
		}
	})
}

// TestKilled: the process dies, or the answer is lost, behind every effect in the tool: each
// is there once in the end.
func TestKilled(t *testing.T) {
	each(t, heardFrom, func(t *testing.T, w *world, e *emulator, c *clerk) {
		ch := w.propose(t, ben, "lamp.set", `{}`)
		e.mu.Lock()
		e.drops = 1
		e.mu.Unlock()
		turn(t, c) // the ticket is made, and nobody says so
		if s, err := w.Show(t.Context(), ann, "work"); err != nil || e.count() != 1 || s.Behind != 1 || s.State != "failing" {
			t.Fatalf("%d tickets, %+v, %v", e.count(), s, err)
		}
		turn(t, w.clerk(t, "work")) // too soon: a search may not show it yet
		if n := len(e.asked()); n > 3 {
			t.Errorf("asked again at once: %d requests", n)
		}
		w.pass(2 * time.Minute)
		turn(t, w.clerk(t, "work"))
		if _, err := w.changes.Approve(t.Context(), eve, ch.Name, ch.Digest, ""); err != nil {
			t.Fatal(err)
		}
		e.mu.Lock()
		e.drops = 1
		e.mu.Unlock()
		for range 4 {
			w.pass(time.Hour)
			turn(t, w.clerk(t, "work"))
		}
		if e.count() != 1 || len(e.texts()) != 2 || !e.newest().closed {
			t.Errorf("%d tickets, closed %t, %q", e.count(), e.newest().closed, e.texts())
		}
	})
}

// TestAway: a tool that is away, slow to ask again, broken or lying keeps no change from
// anything, and is told everything in order once it is back. One that takes nothing for long
// is one finding.
func TestAway(t *testing.T) {
	long := strings.Repeat("x", outbound.MaxAnswer+1)
	for name, breaks := range map[string]func(w http.ResponseWriter, r *http.Request) bool{
		"500": func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(500); return true },
		"401": func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(401); return true },
		"429": func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(429)
			return true
		},
		"cut off": func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) },
		"elsewhere": func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
			return true
		},
		"no JSON":  func(w http.ResponseWriter, _ *http.Request) bool { w.Write([]byte(`[{"number":`)); return true },
		"too long": func(w http.ResponseWriter, _ *http.Request) bool { w.Write([]byte(`["` + long + `"]`)); return true },
		"lies": func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPost {
				w.Write([]byte(`{"number":-1,"html_url":"javascript:alert(1)"}`))
				return true
			}
			w.Write([]byte(`[{"number":7,"labels":[{"name":"pavise-of-another"}]}]`))
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			e := newEmulator(t, gitHub, w.clock)
			w.put(t, puts(gitHub, e.URL))
			c := w.clerk(t, "work")
			ch := w.propose(t, ben, "lamp.set", `{}`)
			e.mu.Lock()
			e.breaks = breaks
			e.mu.Unlock()
			turn(t, c)
			w.pass(maxSilence + time.Hour)
			turn(t, c)
			w.pass(2 * time.Hour)
			turn(t, c)
			if done, err := w.changes.Approve(t.Context(), eve, ch.Name, ch.Digest, ""); err != nil || done.State != change.Done {
				t.Fatalf("%+v, %v", done, err)
			}
			if got := w.notes(t, KindUnreachable); len(got) != 1 || e.count() != 0 {
				t.Errorf("%d tickets, findings %q", e.count(), got)
			}
			if s, err := w.Show(t.Context(), ann, "work"); err != nil || s.State != "failing" || s.Problem == "" || strings.Contains(s.Problem, "http") {
				t.Errorf("%+v, %v", s.Tool, err)
			}
			e.mu.Lock()
			e.breaks = nil
			e.mu.Unlock()
			w.pass(2 * time.Hour)
			turn(t, c)
			if e.count() != 1 || !e.newest().closed || len(e.texts()) != 2 {
				t.Errorf("%d tickets, %q", e.count(), e.texts())
			}
		})
	}
}

// TestRetryAfter: a tool is left alone for as long as it asks.
func TestRetryAfter(t *testing.T) {
	each(t, []string{gitHub}, func(t *testing.T, w *world, e *emulator, c *clerk) {
		e.breaks = func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Retry-After", "600")
			w.WriteHeader(429)
			return true
		}
		w.propose(t, ben, "lamp.set", `{}`)
		if err := c.round(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.pass(9 * time.Minute)
		if err := c.round(t.Context()); err != nil || len(e.asked()) != 1 {
			t.Errorf("asked before, %v", err)
		}
		w.pass(2 * time.Minute)
		if err := c.round(t.Context()); err != nil || len(e.asked()) != 1 {
			t.Errorf("not asked again, %v", err)
		}
	})
}

// TestLost: what a tool will not take, it is told so often and no more, which is a finding;
// other changes go on.
func TestLost(t *testing.T) {
	each(t, []string{gitHub}, func(t *testing.T, w *world, e *emulator, c *clerk) {
		first := w.propose(t, ben, "lamp.set", `{}`)
		e.breaks = func(w http.ResponseWriter, r *http.Request) bool {
			if e.count2(first.Name.ID, r) {
				w.WriteHeader(422)
				return true
			}
			return false
		}
		turn(t, c)
		w.pass(time.Second)
		second := w.propose(t, ben, "lamp.set", `{}`)
		for range maxTries + 2 {
			turn(t, c)
			w.pass(time.Hour)
		}
		if got := w.notes(t, KindLost); len(got) != 1 || !strings.Contains(got[0], first.Name.ID) || e.count() != 1 || !strings.Contains(e.newest().title, second.Name.ID) {
			t.Errorf("findings %q, %+v", got, e.newest())
		}
	})
}

// count2 reports whether a request asks for the ticket of a change. The caller holds mu.
func (e *emulator) count2(id string, r *http.Request) bool {
	return strings.Contains(r.URL.RawQuery, "pavise-"+id)
}

// TestUnseen: half of a change's time is over, and nobody has voted: a finding, once, and
// the ticket says so; PagerDuty pages somebody, and is told when it is over.
func TestUnseen(t *testing.T) {
	each(t, []string{gitHub, pagerDuty}, func(t *testing.T, w *world, e *emulator, c *clerk) {
		ch := w.propose(t, ben, "lamp.set", `{}`)
		turn(t, c)
		e.asked()
		w.pass(37 * time.Hour)
		ctx, cancel := contextFor(t)
		go func() { w.changes.Run(ctx) }()
		until(t, func() bool { return !w.look(t, ch.Name).Unseen.IsZero() })
		cancel()
		turn(t, c)
		if got := w.notes(t, change.KindUnseen); len(got) != 1 || !strings.Contains(got[0], "nobody has voted") {
			t.Errorf("findings %q", got)
		}
		asked := strings.Join(e.asked(), "\n")
		if !strings.Contains(asked, "nobody has voted") || c.Kind == pagerDuty && !strings.Contains(asked, `"event_action":"trigger"`) {
			t.Errorf("asked %s", asked)
		}
		if _, err := w.changes.Withdraw(t.Context(), ben, ch.Name); err != nil {
			t.Fatal(err)
		}
		turn(t, c)
		if asked = strings.Join(e.asked(), "\n"); c.Kind == pagerDuty && !strings.Contains(asked, `"event_action":"resolve"`) {
			t.Errorf("asked %s", asked)
		}
	})
}

// TestLate: a tool that is put later is told of what waits, and of nothing that had ended;
// what takes no approval is nobody's to decide.
func TestLate(t *testing.T) {
	w := newWorld(t)
	e := newEmulator(t, gitHub, w.clock)
	old := w.propose(t, ben, "lamp.set", `{}`)
	if _, err := w.changes.Deny(t.Context(), eve, old.Name, old.Digest, "no"); err != nil {
		t.Fatal(err)
	}
	waits := w.propose(t, ben, "lamp.set", `{}`)
	w.pass(time.Second)
	w.put(t, puts(gitHub, e.URL))
	turn(t, w.clerk(t, "work"))
	if e.count() != 1 || !strings.Contains(e.newest().title, waits.Name.ID) {
		t.Errorf("%d tickets, %+v", e.count(), e.newest())
	}
}

// TestRun serves tools while changes go on, and ends with its context.
func TestRun(t *testing.T) {
	w := newWorld(t)
	e := newEmulator(t, gitHub, w.clock)
	ctx, cancel := contextFor(t)
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	until(t, func() bool { w.Desk.mu.Lock(); defer w.Desk.mu.Unlock(); return w.Desk.ctx != nil })
	w.put(t, puts(gitHub, e.URL))
	w.propose(t, ben, "lamp.set", `{}`)
	until(t, func() bool { return e.count() == 1 })
	if err := w.Remove(t.Context(), ann, "work"); err != nil {
		t.Fatal(err)
	}
	if err := w.Remove(t.Context(), ann, "work"); pavise.KindOf(err) != pavise.NotFound {
		t.Errorf("taken away twice: %v", err)
	}
	w.propose(t, ben, "lamp.set", `{}`)
	cancel()
	if err := <-done; err != nil || e.count() != 1 {
		t.Errorf("%d tickets, %v", e.count(), err)
	}
}

// TestDeadline: nobody looks at an act that was run first until its time is up. Whoever is on
// call is paged, the ticket says so and is closed, and its events are told: each once, also
// by the next process.
func TestDeadline(t *testing.T) {
	each(t, []string{gitHub, pagerDuty, cdEvents}, func(t *testing.T, w *world, e *emulator, c *clerk) {
		ch := w.propose(t, ben, "lamp.off", `{}`)
		turn(t, c)
		e.asked()
		w.pass(73 * time.Hour)
		ctx, cancel := contextFor(t)
		ended := make(chan error, 1)
		go func() { ended <- w.changes.Run(ctx) }()
		until(t, func() bool { return w.look(t, ch.Name).State == change.Contested })
		cancel()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		for range 3 {
			turn(t, c)
			c = w.clerk(t, "work")
		}
		if got := w.notes(t, "change.overdue"); len(got) != 1 {
			t.Errorf("findings %q", got)
		}
		asked := strings.Join(e.asked(), "\n")
		for text, want := range map[string]map[string]int{
			"it is contested": {gitHub: 1, pagerDuty: 1}, `"state":"closed"`: {gitHub: 1}, `"severity":"critical"`: {pagerDuty: 1}, `"event_action":"resolve"`: {pagerDuty: 0},
			`Webhook-Id: `: {cdEvents: 4}, `"type":"dev.cdevents.incident.detected.0.3.0"`: {cdEvents: 2}, `"type":"dev.cdevents.ticket.closed.0.2.0"`: {cdEvents: 2}, // the type stands in event and context
		} {
			if want, ok := want[c.Kind]; ok && strings.Count(asked, text) != want {
				t.Errorf("%s: %d times, want %d:\n%s", text, strings.Count(asked, text), want, asked)
			}
		}
	})
}
