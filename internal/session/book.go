package session

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pavise/pavise"
)

// Bounds of what a book remembers.
const (
	codeLife    = 10 * time.Minute
	sessionLife = time.Hour
	maxCodes    = 16
	maxSessions = 32
)

const cookieName = "pavise_session"

// ErrOver is what a session is refused with whose token has ended already.
var ErrOver = &pavise.Error{Kind: pavise.Unverified, Msg: "the token that the session was to call with has ended already"}

// A Token gives the API token of one session, when its link is opened. What lives
// longer than an hour is used for an hour.
type Token func(context.Context) (token string, expires time.Time, err error)

// A code opens one session, once.
type code struct {
	value   string
	expires time.Time
	token   Token
}

// A key is the SHA-256 of a session's id, so that a look-up's timing tells nothing about
// ids.
type key [sha256.Size]byte

// A Book is the links and sessions of one console. It is safe for concurrent use.
type Book struct {
	now func() time.Time

	mu       sync.Mutex // guards what follows
	codes    []code
	sessions map[key]*Session
}

// NewBook returns an empty book, by a clock.
func NewBook(now func() time.Time) *Book {
	return &Book{now: now, sessions: map[key]*Session{}}
}

// random returns 32 random bytes as text that fits a URL and a cookie.
func random() string {
	var b [32]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// Code returns a fresh code that opens one session, once, within ten minutes. The session
// is whose the token is, and ends with it. The newest 16 codes work.
func (b *Book) Code(token Token) string {
	fresh := code{random(), b.now().Add(codeLife), token}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.codes = append(b.codes, fresh)
	b.codes = b.codes[max(0, len(b.codes)-maxCodes):]
	return fresh.value
}

// Redeem returns the token behind a code that still opens, and uses the code up. It
// is nil for all others.
func (b *Book) Redeem(value string) Token {
	now := b.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.codes = slices.DeleteFunc(b.codes, func(k code) bool { return !now.Before(k.expires) })
	found := -1
	for i, k := range b.codes {
		if subtle.ConstantTimeCompare([]byte(k.value), []byte(value)) == 1 {
			found = i
		}
	}
	if found < 0 {
		return nil
	}
	token := b.codes[found].token
	b.codes = slices.Delete(b.codes, found, found+1)
	return token
}

// Begin opens a session with a token that ends at expires, and gives the browser its
// cookie. The error is ErrOver.
func (b *Book) Begin(w http.ResponseWriter, token string, expires time.Time) error {
	now := b.now()
	if most := now.Add(sessionLife); expires.After(most) {
		expires = most
	}
	if !now.Before(expires) {
		return ErrOver
	}
	id := random()
	b.remember(id, &Session{Token: token, Expires: expires, Holder: holder(token), gone: make(chan struct{})})
	http.SetCookie(w, cookie(id, int(expires.Sub(now)/time.Second)))
	return nil
}

// cookie is the session's cookie; an age below 0 deletes it. It is not marked
// Secure: the console is served on a loopback address, where there is no TLS.
func cookie(id string, age int) *http.Cookie {
	return &http.Cookie{Name: cookieName, Value: id, Path: "/", MaxAge: age, HttpOnly: true, SameSite: http.SameSiteStrictMode}
}

// remember adds a session, in the place of the one that ends next when there
// are too many.
func (b *Book) remember(id string, s *Session) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forgetEnded()
	for len(b.sessions) >= maxSessions {
		var next key
		var ends time.Time
		for k, old := range b.sessions {
			if ends.IsZero() || old.Expires.Before(ends) {
				next, ends = k, old.Expires
			}
		}
		b.drop(next)
	}
	b.sessions[sha256.Sum256([]byte(id))] = s
}

// forgetEnded drops sessions whose time is up. The caller holds mu.
func (b *Book) forgetEnded() {
	now := b.now()
	for k, s := range b.sessions {
		if !now.Before(s.Expires) {
			b.drop(k)
		}
	}
}

// drop removes a session and ends its live feeds. The caller holds mu.
func (b *Book) drop(k key) {
	close(b.sessions[k].gone)
	delete(b.sessions, k)
}

// Of returns the request's session, or nil.
func (b *Book) Of(r *http.Request) *Session {
	k, err := r.Cookie(cookieName)
	if err != nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forgetEnded()
	return b.sessions[sha256.Sum256([]byte(k.Value))]
}

// End ends a session; nil is none.
func (b *Book) End(s *Session) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for k, known := range b.sessions {
		if known == s {
			b.drop(k)
		}
	}
}

// Leave ends the request's session, and takes the browser's cookie.
func (b *Book) Leave(w http.ResponseWriter, r *http.Request) {
	b.End(b.Of(r))
	http.SetCookie(w, cookie("", -1))
}

// Foreign reports whether another origin made the browser send the request. A
// GET changes nothing, so another site may lead to one as a top-level page; a
// POST has to come from our own. Another port of the same host is another
// origin, although a browser calls it the same site.
//
// A form on a page without referrer is sent with the Origin null, so null counts
// as our own where the browser says so by fetch metadata, which no page can set.
func Foreign(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	if r.Method == http.MethodPost {
		text := r.Header.Get("Origin")
		origin, err := url.Parse(text)
		ours := err == nil && strings.EqualFold(origin.Host, r.Host)
		return !ours && (site != "same-origin" || text != "null") || site != "" && site != "same-origin"
	}
	page := r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
	return site != "" && site != "none" && site != "same-origin" && !page
}
