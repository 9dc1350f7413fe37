package console

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/session"
)

// A visitor is who sits before a signed-in browser, with a client that calls as them.
type visitor struct {
	*session.Session
	client *api.Client // with the session's own token
}

// Link returns a path with a fresh code that signs one browser in, once, within
// ten minutes. The session is whose the token is, and ends with it. The newest 16
// links work.
func (c *Console) Link(token session.Token) string {
	return "/login?code=" + url.QueryEscape(c.book.Code(token))
}

// login exchanges a code for a session. It answers with a page and not with a
// redirect: after a link in another site's page, browsers do not send a Strict
// cookie along the redirect, and do so once our own page leads on.
func (c *Console) login(w http.ResponseWriter, r *http.Request) {
	if strings.Contains(r.Header.Get("Sec-Purpose"), "prefetch") {
		c.fail(w, nil, http.StatusServiceUnavailable, "Not ahead of time", "A link that works once is not to be fetched in advance.", "open it")
		return
	}
	tokenOf := c.book.Redeem(r.URL.Query().Get("code"))
	if tokenOf == nil {
		c.fail(w, nil, http.StatusUnauthorized, "This link does not work", "A link works once, and for ten minutes. This one was used, is too old, or was never made.", newLink)
		return
	}
	token, expires, err := tokenOf(r.Context())
	if err == nil {
		err = c.book.Begin(w, token, expires)
	}
	if errors.Is(err, session.ErrOver) {
		c.fail(w, nil, http.StatusUnauthorized, "The session is over before it began", "The token that it was to call with has ended already.", "check the machine's clock, then "+newLink)
		return
	}
	if err != nil {
		c.refuse(w, nil, err)
		return
	}
	c.show(w, nil, http.StatusOK, "welcome", page{Title: "Signed in", Refresh: "0; url=/"})
}

// find returns who sends the request, or nil.
func (c *Console) find(r *http.Request) *visitor {
	s := c.book.Of(r)
	if s == nil {
		return nil
	}
	return &visitor{s, &api.Client{Base: c.cfg.API, Token: s.Token, HTTP: c.cfg.HTTP}}
}

// logout ends the session.
func (c *Console) logout(w http.ResponseWriter, r *http.Request) {
	c.book.Leave(w, r)
	c.show(w, nil, http.StatusOK, "problem", page{Title: "Signed out", Body: problem{Text: "This browser's session has ended.", Hint: newLink}})
}

// signedIn lets only sessions through.
func (c *Console) signedIn(next func(http.ResponseWriter, *http.Request, *visitor)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := c.find(r)
		if s == nil {
			c.fail(w, nil, http.StatusUnauthorized, "You are not signed in", "A session lasts an hour at most, and begins with a link from the terminal where Pavise runs.", newLink)
			return
		}
		next(w, r, s)
	})
}
