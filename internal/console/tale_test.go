package console

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pavise/pavise/internal/story"
)

// demoStand is a stand whose demo has these steps, of which so many were played.
func demoStand(t *testing.T, steps []Step, played *atomic.Int64) *stand {
	t.Helper()
	s := newStand(t)
	s.console.cfg.Tale = func(ctx context.Context, from int) ([]Step, bool) {
		n := int(played.Load())
		if from >= n && n < len(steps) {
			<-ctx.Done()
			n = int(played.Load())
		}
		return steps[min(from, n):n], n == len(steps)
	}
	return s
}

var tales = []Step{
	{Number: 0, Scene: "One", Actor: "edge", Did: "asks", Decision: "allow", Why: "It may.", Record: new(uint64(7)), Prove: "pavise ledger prove 7"},
	{Number: 1, Scene: "One", Actor: "<script>alert(1)</script>", Did: "\u202etries", Decision: "deny", Why: "</p><img src=x>"},
	{Number: 2, Scene: "Two", Actor: "auditor", Did: "verifies", Decision: "note", Why: "Well."},
	{Number: 3, Scene: "Two", Actor: "auditor", Did: "wonders", Decision: "allow", Why: "Hm.", Odd: true},
}

// TestDemoPage shows the tale as far as it has come, with strangers' texts as texts.
func TestDemoPage(t *testing.T) {
	played := &atomic.Int64{}
	played.Store(2)
	s := demoStand(t, tales, played).signIn()
	_, text := s.get("/demo")
	for _, want := range []string{`data-follow="/demo/events?after=2"`, `href="/trail/7">record 7</a>`, "pavise ledger prove 7", "&lt;script&gt;", `<li class="step deny">`, `aria-current="page">Demo</a>`} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not in the page", want)
		}
	}
	if strings.Contains(text, "<script>alert") || strings.Contains(text, "<img src=x") || strings.Contains(text, "\u202e") || strings.Count(text, `<h2>One</h2>`) != 1 {
		t.Error(text)
	}
	played.Store(4)
	if _, text = s.get("/demo"); !strings.Contains(text, `data-over="yes"`) || !strings.Contains(text, "Went wrong") || strings.Count(text, "<h2>Two</h2>") != 1 {
		t.Error(text)
	}
}

// TestDemoEvents sends the rest of the tale, and its end.
func TestDemoEvents(t *testing.T) {
	played := &atomic.Int64{}
	played.Store(4)
	s := demoStand(t, tales, played).signIn()
	l := s.listen("/demo/events?after=1")
	var got []told
	for {
		m, ok := l.next()
		if !ok {
			t.Fatal("it ends without a word")
		}
		if m.event == "over" {
			break
		}
		var step told
		if err := json.Unmarshal([]byte(m.data), &step); err != nil {
			t.Fatal(err)
		}
		got = append(got, step)
	}
	if len(got) != 3 || got[0].Opens || !got[1].Opens || got[2].Opens || got[2].State != story.Failed || got[0].Record != nil || strings.Contains(got[0].Did, "\u202e") {
		t.Errorf("%+v", got)
	}
	again := s.listen("/demo/events", "Last-Event-ID", "2")
	if m, ok := again.next(); !ok || m.id != "3" {
		t.Errorf("it resumes with %+v", m)
	}
}

// TestNoDemo has no page, no feed and no link where none is played, and none for who is
// not signed in.
func TestNoDemo(t *testing.T) {
	s := newStand(t).signIn()
	for _, path := range []string{"/demo", "/demo/events"} {
		if resp, _ := s.get(path); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
	if _, text := s.get("/"); strings.Contains(text, "/demo") {
		t.Error("there is a link")
	}
	played := &atomic.Int64{}
	out := demoStand(t, tales, played)
	for _, path := range []string{"/demo", "/demo/events"} {
		if resp, _ := out.get(path); resp.StatusCode == http.StatusOK {
			t.Errorf("%s without a session: %d", path, resp.StatusCode)
		}
	}
}
