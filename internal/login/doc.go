// Package login gets a person's token from their organisation's OpenID provider, for a
// program that has no secret: with a browser on the same machine (authorization code
// with PKCE and a loopback redirect; RFC 7636, RFC 8252) or with one anywhere else
// (device authorization; RFC 8628).
//
// It owns the directory in which a person's tokens lie, one file per server, below the
// user's own configuration. Whether a token is any good says the server that it is for,
// not this package; it only sees to it that the answer belongs to the question.
//
// An answer is hostile until it was read: it is bounded, it is a JSON object, what it asks
// a person to open is an https URL, and how often and how long to ask is kept within
// bounds.
package login

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/identity"
)

// Config says where to log in and as which program.
type Config struct {
	Issuer   string        // the provider, as its tokens name it
	ClientID string        // this program's, as registered there: public, without a secret
	Scopes   []string      // besides openid
	Resource string        // whom the access token is for (RFC 8707); "" leaves it to the provider
	HTTP     *http.Client  // nil means a plain one; it follows no redirects
	Ask      func(Request) // shows the person what to do; required
	// Wait waits between two questions to the provider; nil is the real time.
	Wait func(context.Context, time.Duration) error
}

// A Request is what a person is to do.
type Request struct {
	URL     string    // to open in a browser
	Code    string    // to type there, where the device flow shows one; else ""
	Expires time.Time // until when; zero: not said
}

// A Grant is what the provider gave. It prints as nothing of it.
type Grant struct {
	Access  string    // the access token
	ID      string    // the ID token; "" if there is none
	Expires time.Time // of the access token, as the provider says; zero: not said
}

// String returns nothing of the tokens.
func (Grant) String() string { return "a grant" }

// GoString is String: %#v tells nothing either.
func (Grant) GoString() string { return "a grant" }

// Token returns the token to speak to a server with: the access token, unless it is
// none that a server could verify by itself, or id wants the other.
func (g Grant) Token(id bool) (string, error) {
	if !id && strings.Count(g.Access, ".") == 2 {
		return g.Access, nil
	}
	if g.ID == "" {
		return "", &pavise.Error{
			Kind: pavise.Unverified, Msg: "the provider gave no token that a server can verify by itself",
			Hint: "have it issue JWT access tokens for Pavise (name them with --resource), or ID tokens",
		}
	}
	return g.ID, nil
}

// A session is one login under way.
type session struct {
	Config
	client   *http.Client
	provider identity.Metadata
	nonce    string // in the ID token, so that it is the answer to our question
}

func begin(ctx context.Context, cfg Config) (*session, error) {
	if cfg.ClientID == "" {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "no client id", Hint: "register this program with the provider as a public client, and name the id that it gives"}
	}
	s := &session{Config: cfg, client: &http.Client{Timeout: answerTime}, nonce: rand.Text()}
	if cfg.HTTP != nil {
		*s.client = *cfg.HTTP
	}
	s.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if s.Wait == nil {
		s.Wait = wait
	}
	var err error
	s.provider, err = identity.Discover(ctx, s.client, cfg.Issuer)
	if err == nil && s.provider.Token == "" {
		err = s.fault("has no token endpoint")
	}
	return s, err
}

const (
	answerTime = 15 * time.Second
	maxAnswer  = 256 << 10 // bytes
	maxToken   = 64 << 10  // bytes
)

// wait waits in real time.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *session) fault(what string) error {
	return &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("the provider %.200q %s", s.Issuer, what), Hint: "is it an OpenID provider, and does it know this program as a public client?"}
}

// scope is what is asked for.
func (s *session) scope() string {
	scopes := append([]string{"openid"}, s.Scopes...)
	slices.Sort(scopes)
	return strings.Join(slices.Compact(scopes), " ")
}

// A refusal is the error of OAuth that a provider answered with (RFC 6749, section
// 5.2).
type refusal struct{ name string }

func (r *refusal) Error() string { return "refused: " + r.name }

// ask posts a form and reads the answer. What the provider refuses is a *refusal.
func (s *session) ask(ctx context.Context, at string, form url.Values) (map[string]json.RawMessage, error) {
	form.Set("client_id", s.ClientID)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, s.fault("names an endpoint that is no URL")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	answer, err := s.client.Do(req)
	if err != nil {
		return nil, &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("no answer from the provider %.200q", s.Issuer), Hint: "is it reachable from here?", Err: err}
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err != nil || len(body) > maxAnswer {
		return nil, s.fault("answers too much, or breaks off")
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(body, &m); err != nil {
		return nil, s.fault(fmt.Sprintf("answers with status %d and no JSON object", answer.StatusCode))
	}
	if answer.StatusCode == http.StatusOK {
		return m, nil
	}
	name := member(m, "error")
	if answer.StatusCode/100 != 4 || !plain(name) {
		return nil, s.fault(fmt.Sprintf("answers with status %d", answer.StatusCode))
	}
	return nil, &refusal{name}
}

// said turns a refusal into words for people.
func (s *session) said(err error) error {
	if r, ok := errors.AsType[*refusal](err); ok {
		return &pavise.Error{Kind: pavise.Denied, Msg: fmt.Sprintf("the provider %.200q says %s", s.Issuer, r.name), Hint: "log in again; if it says so again, ask whoever runs the provider", Err: err}
	}
	return err
}

// plain reports whether s is a short word that can be shown.
func plain(s string) bool {
	return s != "" && len(s) <= 200 && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

// member is a text of an answer, or "".
func member(m map[string]json.RawMessage, name string) string {
	var s string
	if json.Unmarshal(m[name], &s) != nil {
		return ""
	}
	return s
}

// seconds is a number of seconds in an answer: def if it is not there, and between the
// bounds in any case.
func seconds(m map[string]json.RawMessage, name string, def, least, most time.Duration) time.Duration {
	var n float64
	if json.Unmarshal(m[name], &n) != nil || n <= 0 {
		return def
	}
	if n > most.Seconds() {
		return most
	}
	return max(least, time.Duration(n*float64(time.Second)))
}

// grant reads the answer of a token endpoint.
func (s *session) grant(m map[string]json.RawMessage, nonce string) (Grant, error) {
	g := Grant{Access: member(m, "access_token"), ID: member(m, "id_token")}
	if g.Access == "" && g.ID == "" || len(g.Access) > maxToken || len(g.ID) > maxToken || !strings.EqualFold(member(m, "token_type"), "Bearer") {
		return Grant{}, s.fault("gives no bearer token")
	}
	if g.ID != "" {
		if err := s.checkID(g.ID, nonce); err != nil {
			return Grant{}, err
		}
	}
	if life := seconds(m, "expires_in", 0, time.Second, 365*24*time.Hour); life > 0 {
		g.Expires = time.Now().Add(life)
	}
	return g, nil
}

// checkID sees that an ID token is the answer to our question (OpenID Connect Core,
// section 3.1.3.7): of this issuer, for this program, with our nonce. It came over the
// provider's own connection, so its signature is left to the server that it is for.
func (s *session) checkID(token, nonce string) error {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return s.fault("gives an ID token that is none")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Issuer   string          `json:"iss"`
		Audience json.RawMessage `json:"aud"`
		Nonce    string          `json:"nonce"`
	}
	if err != nil || json.Unmarshal(payload, &claims) != nil {
		return s.fault("gives an ID token that is none")
	}
	var one string
	var many []string
	if json.Unmarshal(claims.Audience, &one) == nil {
		many = []string{one}
	} else if json.Unmarshal(claims.Audience, &many) != nil {
		return s.fault("gives an ID token for nobody")
	}
	if claims.Issuer != s.Issuer || !slices.Contains(many, s.ClientID) || subtle.ConstantTimeCompare([]byte(claims.Nonce), []byte(nonce)) != 1 {
		return s.fault("gives an ID token that is for somebody or something else")
	}
	return nil
}

// challenge is the S256 challenge of a PKCE verifier (RFC 7636, section 4.2).
func challenge(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// toOpen reports whether a person can be asked to open an URL: it is https, or http on
// this machine, and has nothing in it that a terminal would not show.
func toOpen(s string) bool {
	u, err := url.Parse(s)
	if err != nil || len(s) > 4096 || strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) >= 0 || u.User != nil {
		return false
	}
	return u.Scheme == "https" && u.Host != "" || u.Scheme == "http" && slices.Contains([]string{"127.0.0.1", "::1", "localhost"}, u.Hostname())
}
