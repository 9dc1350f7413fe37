package session

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/pavise/pavise"
)

var began = time.Date(2026, 3, 4, 9, 30, 0, 0, time.UTC)

func tokenOf(claims string) string {
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".sig"
}

// begin opens a session, and returns a request with its cookie.
func begin(t *testing.T, b *Book, token string, expires time.Time) *http.Request {
	t.Helper()
	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)
	if err := b.Begin(w, token, expires); err != nil {
		t.Fatal(err)
	}
	r.AddCookie(w.Result().Cookies()[0])
	return r
}

func ofSomebody(context.Context) (string, time.Time, error) {
	return "t", began.Add(time.Minute), nil
}

// A code opens one session, for ten minutes, and the newest sixteen are enough.
func TestCodes(t *testing.T) {
	now := began
	b := NewBook(func() time.Time { return now })
	first := b.Code(ofSomebody)
	if b.Redeem("guessed") != nil || b.Redeem("") != nil {
		t.Error("a guessed code opens")
	}
	if b.Redeem(first) == nil || b.Redeem(first) != nil {
		t.Error("a code opens twice, or never")
	}
	old := b.Code(ofSomebody)
	for range maxCodes {
		b.Code(ofSomebody)
	}
	if b.Redeem(old) != nil {
		t.Error("a seventeenth code opens")
	}
	late := b.Code(ofSomebody)
	now = now.Add(codeLife)
	if b.Redeem(late) != nil {
		t.Error("a code opens after ten minutes")
	}
}

// A session is found by its cookie until its token ends, an hour at most, and until it is
// ended.
func TestSession(t *testing.T) {
	now := began
	b := NewBook(func() time.Time { return now })
	short, long := begin(t, b, "short", began.Add(time.Minute)), begin(t, b, "long", began.Add(48*time.Hour))
	s := b.Of(short)
	if s == nil || s.Token != "short" || b.Of(long).Token != "long" || !b.Of(long).Expires.Equal(began.Add(time.Hour)) {
		t.Fatalf("found %+v and %+v", s, b.Of(long))
	}
	if b.Of(httptest.NewRequest(http.MethodGet, "/", nil)) != nil {
		t.Error("nobody's request has a session")
	}
	now = began.Add(time.Minute)
	if b.Of(short) != nil || b.Of(long) == nil {
		t.Error("a session outlives its token, or ends with another's")
	}
	select {
	case <-s.Gone():
	default:
		t.Error("who holds the session is not told that it ended")
	}
	b.Leave(httptest.NewRecorder(), long)
	if b.Of(long) != nil {
		t.Error("a session outlives its end")
	}
	if err := b.Begin(httptest.NewRecorder(), "t", now); !errors.Is(err, ErrOver) {
		t.Errorf("a session of a token that ended: %v", err)
	}
}

// The session that ends next makes room for another.
func TestSessionsAreFew(t *testing.T) {
	b := NewBook(func() time.Time { return began })
	var all []*http.Request
	for i := range maxSessions + 5 {
		all = append(all, begin(t, b, "t", began.Add(time.Duration(i+1)*time.Second)))
	}
	for i, r := range all {
		if known := b.Of(r) != nil; known != (i >= 5) {
			t.Errorf("session %d is known: %v", i, known)
		}
	}
}

func TestStreamsAreFew(t *testing.T) {
	var s Session
	for range maxStreams {
		if !s.OpenStream() {
			t.Fatal("a stream is refused too early")
		}
	}
	if s.OpenStream() {
		t.Error("a browser has more streams than it opens")
	}
	if s.CloseStream(); !s.OpenStream() {
		t.Error("a stream that ended still counts")
	}
}

// What a token says of its holder is read as far as it can be, and a program of the
// same id is not the person.
func TestHolder(t *testing.T) {
	for token, want := range map[string]pavise.Name{
		tokenOf(`{"sub":"ana","pavise_kind":"human"}`): {Kind: "human", ID: "ana"},
		tokenOf(`{"sub":"ana"}`):                       {ID: "ana"},
		tokenOf(`{"pavise_kind":"human"}`):             {},
		tokenOf(`{"sub":["ana"]}`):                     {},
		tokenOf(`"ana"`):                               {},
		"e30.%%%.sig":                                  {}, "e30": {}, "": {}, "..": {}, "t": {},
	} {
		if got := holder(token); got != want {
			t.Errorf("holder(%q) = %+v, want %+v", token, got, want)
		}
	}
	s := &Session{Holder: holder(tokenOf(`{"sub":"bob","pavise_kind":"workload"}`))}
	if s.Is(pavise.Name{Tenant: "t", Kind: "human", ID: "bob"}) || !s.Is(pavise.Name{Tenant: "t", Kind: "workload", ID: "bob"}) {
		t.Error("a program of the same id is taken for the person")
	}
	if (&Session{}).Is(pavise.Name{}) {
		t.Error("somebody unknown is taken for nobody")
	}
}

// A POST counts from our own pages alone; another site may lead to a page, and no further.
func TestForeign(t *testing.T) {
	for _, c := range []struct {
		method, origin, site, mode, dest string
		want                             bool
	}{
		{"GET", "", "", "", "", false},
		{"GET", "", "none", "navigate", "document", false},
		{"GET", "", "cross-site", "navigate", "document", false},
		{"GET", "", "cross-site", "navigate", "iframe", true},
		{"GET", "", "cross-site", "no-cors", "image", true},
		{"POST", "http://example.com", "", "", "", false},
		{"POST", "http://example.com", "same-origin", "", "", false},
		{"POST", "http://example.com:81", "same-site", "", "", true},
		{"POST", "null", "same-origin", "", "", false},
		{"POST", "null", "", "", "", true},
		{"POST", "", "", "", "", true},
	} {
		r := httptest.NewRequest(c.method, "http://example.com/", nil)
		for key, value := range map[string]string{"Origin": c.origin, "Sec-Fetch-Site": c.site, "Sec-Fetch-Mode": c.mode, "Sec-Fetch-Dest": c.dest} {
			if value != "" {
				r.Header.Set(key, value)
			}
		}
		if got := Foreign(r); got != c.want {
			t.Errorf("%+v is foreign: %v", c, got)
		}
	}
}
