package login

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/pavise/pavise"
)

// confirmTime is how long a person may take in the browser.
const confirmTime = 10 * time.Minute

// callbackPath is where the provider sends the browser back to.
const callbackPath = "/callback"

// Browser logs a person in with a browser on this machine: it listens on a loopback
// address for the browser to come back with a code (RFC 8252), which is worth nothing to
// whoever else sees it (PKCE, RFC 7636). The error is of kind Denied when they, or the
// provider, refuse, and Unavailable when they take too long.
func Browser(ctx context.Context, cfg Config) (Grant, error) {
	s, err := begin(ctx, cfg)
	if err != nil {
		return Grant{}, err
	}
	if s.provider.Authorization == "" || !toOpen(s.provider.Authorization) {
		return Grant{}, s.fault("has no login in a browser")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return Grant{}, &pavise.Error{Kind: pavise.Unavailable, Msg: "the browser cannot come back: no port to listen on", Hint: "try --device", Err: err}
	}
	state, verifier := rand.Text(), rand.Text()+rand.Text() // 52 characters of base32
	back := "http://" + listener.Addr().String() + callbackPath
	arrived := make(chan outcome, 1)
	server := &http.Server{Handler: s.callback(state, arrived), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second, MaxHeaderBytes: 16 << 10}
	go server.Serve(listener)
	defer func() {
		soon, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		server.Shutdown(soon) // lets the last page out
	}()
	ends := time.Now().Add(confirmTime)
	s.Ask(Request{URL: s.authorization(state, verifier, back), Expires: ends})
	ctx, cancel := context.WithDeadline(ctx, ends)
	defer cancel()
	select {
	case got := <-arrived:
		if got.err != nil {
			return Grant{}, got.err
		}
		return s.redeem(ctx, got.code, verifier, back)
	case <-ctx.Done():
		return Grant{}, &pavise.Error{Kind: pavise.Unavailable, Msg: "nobody confirmed the login in time", Hint: "begin again; where there is no browser, with --device", Err: ctx.Err()}
	}
}

// authorization is the URL that the person opens.
func (s *session) authorization(state, verifier, back string) string {
	u, _ := url.Parse(s.provider.Authorization) // toOpen has
	query := u.Query()
	for name, value := range map[string]string{
		"response_type": "code", "client_id": s.ClientID, "redirect_uri": back, "scope": s.scope(), "state": state, "nonce": s.nonce,
		"code_challenge": challenge(verifier), "code_challenge_method": "S256",
	} {
		query.Set(name, value)
	}
	if s.Resource != "" {
		query.Set("resource", s.Resource)
	}
	u.RawQuery = query.Encode()
	return u.String()
}

// An outcome is what the browser came back with.
type outcome struct {
	code string
	err  error
}

// callback takes the browser back, once. Whoever does not know the state is no answer to
// our question: another page may send a browser here, too.
func (s *session) callback(state string, arrived chan<- outcome) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'")
		w.Header().Set("Referrer-Policy", "no-referrer")
		w.Header().Set("Cache-Control", "no-store")
		query := r.URL.Query()
		if r.Method != http.MethodGet || r.URL.Path != callbackPath || subtle.ConstantTimeCompare([]byte(query.Get("state")), []byte(state)) != 1 {
			http.Error(w, "This is not the page that the login waits for.", http.StatusNotFound)
			return
		}
		got := s.read(query)
		select {
		case arrived <- got:
		default:
			http.Error(w, "The login has been answered already.", http.StatusConflict)
			return
		}
		page := "You are logged in. You may close this page."
		if got.err != nil {
			page = "The login did not succeed. The program says why; you may close this page."
		}
		fmt.Fprintf(w, "<!doctype html><title>Pavise</title><p>%s</p>\n", page)
	})
}

// read reads what the provider says by way of the browser.
func (s *session) read(query url.Values) outcome {
	switch issuer := query.Get("iss"); { // RFC 9207: an answer of another provider
	case issuer != "" && issuer != s.Issuer:
		return outcome{err: s.fault("is not the one that answered")}
	case query.Get("error") != "":
		name := query.Get("error")
		if !plain(name) {
			name = "no"
		}
		return outcome{err: s.said(&refusal{name})}
	case query.Get("code") == "" || len(query.Get("code")) > maxToken || strings.ContainsAny(query.Get("code"), "\r\n"):
		return outcome{err: s.fault("sends no code")}
	}
	return outcome{code: query.Get("code")}
}

// redeem exchanges the code for tokens.
func (s *session) redeem(ctx context.Context, code, verifier, back string) (Grant, error) {
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {back}, "code_verifier": {verifier}}
	if s.Resource != "" {
		form.Set("resource", s.Resource)
	}
	answer, err := s.ask(ctx, s.provider.Token, form)
	if err != nil {
		return Grant{}, s.said(err)
	}
	return s.grant(answer, s.nonce)
}
