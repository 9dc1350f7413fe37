package console

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
)

// Bounds of what the console remembers.
const (
	codeLife    = 10 * time.Minute
	sessionLife = time.Hour
	maxCodes    = 16
	maxSessions = 32
	maxStreams  = 6 // of one session: a browser opens no more to one host
)

const cookieName = "pavise_session"

// A code opens one session, once.
type code struct {
	value   string
	expires time.Time
	token   Token
}

// A Token gives the API token of one session, when its link is opened. What lives
// longer than an hour is used for an hour.
type Token func(context.Context) (token string, expires time.Time, err error)

// A session is a signed-in browser. The maps know it by the SHA-256 of its id,
// so that a look-up's timing tells nothing about ids.
type session struct {
	client  *api.Client // with the session's own token
	expires time.Time
	gone    chan struct{} // closed when the console forgets the session
	holder  pavise.Name   // whom the token is for, without the tenant; zero: not known
	streams int           // live feeds open; guarded by Console.mu, as is what follows
	waiting int           // changes that waited for votes
	asked   time.Time     // when they were counted
}

type sessionKey [sha256.Size]byte

// random returns 32 random bytes as text that fits a URL and a cookie.
func random() string {
	var b [32]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// Link returns a path with a fresh code that signs one browser in, once, within
// ten minutes. The session is whose the token is, and ends with it. The newest 16
// links work.
func (c *Console) Link(token Token) string {
	fresh := code{random(), c.cfg.Now().Add(codeLife), token}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.codes = append(c.codes, fresh)
	c.codes = c.codes[max(0, len(c.codes)-maxCodes):]
	return "/login?code=" + url.QueryEscape(fresh.value)
}

// redeem returns the token behind a code that still opens, and uses the code up. It
// is nil for all others.
func (c *Console) redeem(value string) Token {
	now := c.cfg.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.codes = slices.DeleteFunc(c.codes, func(k code) bool { return !now.Before(k.expires) })
	found := -1
	for i, k := range c.codes {
		if subtle.ConstantTimeCompare([]byte(k.value), []byte(value)) == 1 {
			found = i
		}
	}
	if found < 0 {
		return nil
	}
	token := c.codes[found].token
	c.codes = slices.Delete(c.codes, found, found+1)
	return token
}

// login exchanges a code for a session. It answers with a page and not with a
// redirect: after a link in another site's page, browsers do not send a Strict
// cookie along the redirect, and do so once our own page leads on.
func (c *Console) login(w http.ResponseWriter, r *http.Request) {
	if strings.Contains(r.Header.Get("Sec-Purpose"), "prefetch") {
		c.fail(w, nil, http.StatusServiceUnavailable, "Not ahead of time", "A link that works once is not to be fetched in advance.", "open it")
		return
	}
	tokenOf := c.redeem(r.URL.Query().Get("code"))
	if tokenOf == nil {
		c.fail(w, nil, http.StatusUnauthorized, "This link does not work", "A link works once, and for ten minutes. This one was used, is too old, or was never made.", newLink)
		return
	}
	token, expires, err := tokenOf(r.Context())
	if err != nil {
		c.refuse(w, nil, err)
		return
	}
	now := c.cfg.Now()
	if most := now.Add(sessionLife); expires.After(most) {
		expires = most
	}
	if !now.Before(expires) {
		c.fail(w, nil, http.StatusUnauthorized, "The session is over before it began", "The token that it was to call with has ended already.", "check the machine's clock, then "+newLink)
		return
	}
	id := random()
	c.remember(id, &session{
		client:  &api.Client{Base: c.cfg.API, Token: token, HTTP: c.cfg.HTTP},
		expires: expires,
		gone:    make(chan struct{}),
		holder:  holder(token),
	})
	http.SetCookie(w, cookie(id, int(expires.Sub(now)/time.Second)))
	c.show(w, nil, http.StatusOK, "welcome", page{Title: "Signed in", Refresh: "0; url=/"})
}

// holder reads whom a token says it is for. That proves nothing, and nothing is
// allowed by it: it is for offering people what they may do.
func holder(token string) pavise.Name {
	_, rest, _ := strings.Cut(token, ".")
	payload, _, _ := strings.Cut(rest, ".")
	var claims struct {
		Subject string `json:"sub"`
		Kind    string `json:"pavise_kind"`
	}
	text, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil || json.Unmarshal(text, &claims) != nil || claims.Subject == "" {
		return pavise.Name{}
	}
	return pavise.Name{Kind: claims.Kind, ID: claims.Subject}
}

// is reports whether the session is somebody's. All that it is shown is of its own
// tenant.
func (s *session) is(who pavise.Name) bool {
	return s.holder.ID != "" && s.holder.ID == who.ID && s.holder.Kind == who.Kind
}

// cookie is the session's cookie; an age below 0 deletes it. It is not marked
// Secure: the console is served on a loopback address, where there is no TLS.
func cookie(id string, age int) *http.Cookie {
	return &http.Cookie{Name: cookieName, Value: id, Path: "/", MaxAge: age, HttpOnly: true, SameSite: http.SameSiteStrictMode}
}

// remember adds a session, in the place of the one that ends next when there
// are too many.
func (c *Console) remember(id string, s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forgetEnded()
	for len(c.sessions) >= maxSessions {
		var next sessionKey
		var ends time.Time
		for key, old := range c.sessions {
			if ends.IsZero() || old.expires.Before(ends) {
				next, ends = key, old.expires
			}
		}
		c.drop(next)
	}
	c.sessions[sha256.Sum256([]byte(id))] = s
}

// forgetEnded drops sessions whose time is up. The caller holds mu.
func (c *Console) forgetEnded() {
	now := c.cfg.Now()
	for key, s := range c.sessions {
		if !now.Before(s.expires) {
			c.drop(key)
		}
	}
}

// drop removes a session and ends its live feeds. The caller holds mu.
func (c *Console) drop(key sessionKey) {
	close(c.sessions[key].gone)
	delete(c.sessions, key)
}

// find returns the request's session, or nil.
func (c *Console) find(r *http.Request) *session {
	k, err := r.Cookie(cookieName)
	if err != nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forgetEnded()
	return c.sessions[sha256.Sum256([]byte(k.Value))]
}

// forget ends a session.
func (c *Console) forget(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, known := range c.sessions {
		if known == s {
			c.drop(key)
		}
	}
}

// logout ends the session.
func (c *Console) logout(w http.ResponseWriter, r *http.Request) {
	if s := c.find(r); s != nil {
		c.forget(s)
	}
	http.SetCookie(w, cookie("", -1))
	c.show(w, nil, http.StatusOK, "problem", page{Title: "Signed out", Body: problem{Text: "This browser's session has ended.", Hint: newLink}})
}

// signedIn lets only sessions through.
func (c *Console) signedIn(next func(http.ResponseWriter, *http.Request, *session)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := c.find(r)
		if s == nil {
			c.fail(w, nil, http.StatusUnauthorized, "You are not signed in", "A session lasts an hour at most, and begins with a link from the terminal where Pavise runs.", newLink)
			return
		}
		next(w, r, s)
	})
}
