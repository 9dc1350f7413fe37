package console

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/story"
)

// A message is one server-sent event as a browser takes it apart.
type message struct{ id, event, data string }

// A listener reads a feed.
type listener struct {
	*testing.T
	resp  *http.Response
	lines *bufio.Scanner
}

func (s *stand) listen(path string, headers ...string) *listener {
	s.Helper()
	resp, err := http.DefaultTransport.RoundTrip(s.request(http.MethodGet, path, headers...))
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { resp.Body.Close() })
	return &listener{s.T, resp, bufio.NewScanner(resp.Body)}
}

// next returns the next message that has data, or false at the end.
func (l *listener) next() (message, bool) {
	l.Helper()
	var m message
	for l.lines.Scan() {
		field, value, _ := strings.Cut(l.lines.Text(), ": ")
		switch field {
		case "id":
			m.id = value
		case "event":
			m.event = value
		case "data":
			m.data += value
		case "":
			if m.data != "" {
				return m, true
			}
		}
	}
	return m, false
}

// row returns the next message's row.
func (l *listener) row() (message, story.Row) {
	l.Helper()
	m, ok := l.next()
	var r story.Row
	if !ok || json.Unmarshal([]byte(m.data), &r) != nil {
		l.Fatalf("message %+v is not a row", m)
	}
	return m, r
}

func TestEvents(t *testing.T) {
	s := newStand(t).signIn()
	s.api.add(infer(began, "old", 1, nil), infer(began, "new", 2, nil))
	l := s.listen("/events?show=decisions&after=1")
	if got := l.resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("content type %q", got)
	}
	checkHeaders(t, "/events", l.resp, "")
	if m, r := l.row(); m.id != "1" || r.Who != "new" || r.Index != 1 {
		t.Errorf("first message %+v", m)
	}
	s.api.add(infer(began, "reader", 0, func(r *record.Record) { r.Kind = "ledger.list" }), infer(began, "live", 3, nil))
	if m, r := l.row(); m.id != "3" || r.Who != "live" || r.Reason != "3 rows, rounded to 4 digits" {
		t.Errorf("live message %+v", m)
	}
}

func TestEventsResume(t *testing.T) {
	s := newStand(t).signIn()
	for i := range 5 {
		s.api.add(infer(began, fmt.Sprint("caller-", i), 1, nil))
	}
	for _, c := range []struct {
		last string
		want string
	}{{"2", "3"}, {"", "1"}, {"x", "1"}, {"-1", "1"}, {"18446744073709551615", "1"}} {
		l := s.listen("/events?after=1", "Last-Event-ID", c.last)
		if m, _ := l.row(); m.id != c.want {
			t.Errorf("after %q the feed goes on at %s, want %s", c.last, m.id, c.want)
		}
		l.resp.Body.Close()
	}
}

func TestEventsHostile(t *testing.T) {
	s := newStand(t).signIn()
	s.api.add(hostiles()...)
	l := s.listen("/events?show=all&after=0")
	for i := range hostiles() {
		m, r := l.row()
		if m.id != fmt.Sprint(i) || m.event != "" {
			t.Errorf("message %d is %+v", i, m)
		}
		if strings.ContainsAny(m.data, "<>\u202e\x00\x1b") {
			t.Errorf("message %d holds raw characters: %s", i, m.data)
		}
		if story.Words[r.State] == "" {
			t.Errorf("message %d has state %q", i, r.State)
		}
	}
}

func TestEventsEnd(t *testing.T) {
	t.Run("logout", func(t *testing.T) {
		s := newStand(t).signIn()
		s.api.add(infer(began, "ci", 1, nil))
		l := s.listen("/events")
		l.row()
		s.do(http.MethodPost, "/logout", "Origin", s.server.URL)
		if m, _ := l.next(); m.event != "over" {
			t.Errorf("message %+v, want over", m)
		}
		if m, ok := l.next(); ok {
			t.Errorf("the feed goes on: %+v", m)
		}
	})
	t.Run("API away", func(t *testing.T) {
		s := newStand(t).signIn()
		s.api.add(infer(began, "ci", 1, nil))
		l := s.listen("/events")
		l.row()
		s.backend.CloseClientConnections()
		if m, _ := l.next(); m.event != "away" {
			t.Errorf("message %+v, want away", m)
		}
	})
	t.Run("token refused", func(t *testing.T) {
		s := newStand(t).signIn()
		s.api.problems["ledger.follow"] = api.Problem{Status: 401, Title: "unverified", Detail: "the token has ended"}
		if m, _ := s.listen("/events").next(); m.event != "over" {
			t.Errorf("message %+v, want over", m)
		}
		if resp, _ := s.get("/"); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("the session outlived its token: status %d", resp.StatusCode)
		}
	})
	t.Run("denied", func(t *testing.T) {
		s := newStand(t).signIn()
		s.api.problems["ledger.follow"] = api.Problem{Status: 403, Title: "denied", Detail: "no policy permits it"}
		if m, _ := s.listen("/events").next(); m.event != "over" || m.data != "You may not follow the log." {
			t.Errorf("message %+v", m)
		}
	})
}

func TestEventsAreFew(t *testing.T) {
	s := newStand(t).signIn()
	s.api.add(infer(began, "ci", 1, nil))
	var open []*listener
	for range 6 {
		l := s.listen("/events")
		l.row()
		open = append(open, l)
	}
	if resp, _ := s.get("/events"); resp.StatusCode != http.StatusTooManyRequests {
		t.Errorf("one too many: status %d", resp.StatusCode)
	}
	s.do(http.MethodPost, "/logout", "Origin", s.server.URL)
	for _, l := range open {
		if m, _ := l.next(); m.event != "over" {
			t.Errorf("message %+v, want over", m)
		}
	}
}

// TestScriptWritesText fails when the script could turn a record into HTML.
func TestScriptWritesText(t *testing.T) {
	script, err := os.ReadFile("asset/console.js")
	if err != nil {
		t.Fatal(err)
	}
	banned := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|\beval\b|new Function|setHTML|srcdoc|\.style\b`)
	if found := banned.Find(script); found != nil {
		t.Errorf("the script uses %s", found)
	}
	for _, m := range regexp.MustCompile(`setAttribute\("([a-z-]+)"`).FindAllSubmatch(script, -1) {
		switch name := string(m[1]); name {
		case "href", "aria-label", "aria-pressed", "datetime", "y", "height":
		default:
			t.Errorf("the script sets the attribute %s", name)
		}
	}
}
