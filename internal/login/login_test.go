package login

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
)

// A provider is an OpenID provider that can be made to misbehave. It is asked by one
// login at a time.
type provider struct {
	*httptest.Server
	metadata map[string]any
	device   func() map[string]any // the answer of its device endpoint
	polls    []answer              // of its token endpoint, the last one again and again
	polled   int
	redeem   func(url.Values) answer // of its token endpoint, for a code
	asked    url.Values              // the last authorization request
	back     func(query url.Values)  // changes what the browser comes back with
}

// An answer is one of a token endpoint.
type answer struct {
	status int
	body   any
}

func refusing(name string) answer { return answer{400, map[string]string{"error": name}} }

func newProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{back: func(url.Values) {}}
	mux := http.NewServeMux()
	reply := func(w http.ResponseWriter, a answer) {
		w.WriteHeader(a.status)
		if text, ok := a.body.(string); ok {
			io.WriteString(w, text)
			return
		}
		json.NewEncoder(w).Encode(a.body)
	}
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) { reply(w, answer{200, p.metadata}) })
	mux.HandleFunc("POST /device", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("client_id") != "pavise-cli" || r.FormValue("scope") != "groups openid" {
			t.Errorf("the device asks with %v", r.Form)
		}
		reply(w, answer{200, p.device()})
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("grant_type") == "authorization_code" {
			reply(w, p.redeem(r.PostForm))
			return
		}
		p.polled++
		reply(w, p.polls[min(p.polled, len(p.polls))-1])
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	p.metadata = map[string]any{
		"issuer": p.URL, "jwks_uri": p.URL + "/jwks", "token_endpoint": p.URL + "/token",
		"device_authorization_endpoint": p.URL + "/device", "authorization_endpoint": p.URL + "/auth?tenant=acme",
	}
	p.device = func() map[string]any {
		return map[string]any{"device_code": "d", "user_code": "WXYZ-1234", "verification_uri": p.URL + "/activate", "expires_in": 60, "interval": 2}
	}
	p.redeem = func(form url.Values) answer {
		if form.Get("code") != "c" || challenge(form.Get("code_verifier")) != p.asked.Get("code_challenge") || form.Get("redirect_uri") != p.asked.Get("redirect_uri") {
			return refusing("invalid_grant")
		}
		return answer{200, map[string]any{"access_token": "a.b.c", "token_type": "Bearer", "id_token": p.idToken(p.URL, "pavise-cli", p.asked.Get("nonce"))}}
	}
	return p
}

func (p *provider) idToken(issuer string, audience any, nonce string) string {
	claims, _ := json.Marshal(map[string]any{"iss": issuer, "aud": audience, "nonce": nonce})
	return "e30." + base64.RawURLEncoding.EncodeToString(claims) + ".x"
}

// config asks the provider; waits take no time and are noted.
func (p *provider) config(waits *[]time.Duration, ask func(Request)) Config {
	if ask == nil {
		ask = func(Request) {}
	}
	return Config{
		Issuer: p.URL, ClientID: "pavise-cli", Scopes: []string{"groups", "openid"}, Ask: ask,
		Wait: func(ctx context.Context, d time.Duration) error {
			*waits = append(*waits, d)
			return ctx.Err()
		},
	}
}

func given() answer {
	return answer{200, map[string]any{"access_token": "a.b.c", "token_type": "bearer", "expires_in": 600}}
}

func TestDevice(t *testing.T) {
	p := newProvider(t)
	p.polls = []answer{refusing("authorization_pending"), refusing("slow_down"), refusing("authorization_pending"), given()}
	var waits []time.Duration
	var shown Request
	g, err := Device(t.Context(), p.config(&waits, func(r Request) { shown = r }))
	if err != nil {
		t.Fatal(err)
	}
	if token, err := g.Token(false); err != nil || token != "a.b.c" || time.Until(g.Expires) < 9*time.Minute {
		t.Errorf("the grant has %q, %v, until %v", token, err, g.Expires)
	}
	if shown.URL != p.URL+"/activate" || shown.Code != "WXYZ-1234" {
		t.Errorf("the person is asked %+v", shown)
	}
	if got := fmt.Sprint(waits); got != "[2s 2s 7s 7s]" {
		t.Errorf("it waits %s", got)
	}
	if s := fmt.Sprintf("%v %+v %#v", g, g, g); strings.Contains(s, "a.b.c") {
		t.Errorf("a grant prints as %s", s)
	}
}

func TestDeviceRefused(t *testing.T) {
	with := func(name string, v any) func(*provider) {
		return func(p *provider) {
			answer := p.device()
			answer[name] = v
			p.device = func() map[string]any { return answer }
		}
	}
	polling := func(a ...answer) func(*provider) { return func(p *provider) { p.polls = a } }
	for _, tt := range []struct {
		name string
		edit func(*provider)
		kind pavise.Kind
	}{
		{"the person says no", polling(refusing("access_denied")), pavise.Denied},
		{"too late", polling(refusing("expired_token")), pavise.Unavailable},
		{"nobody comes", polling(refusing("authorization_pending")), pavise.Unavailable},
		{"the provider is slow for ever", polling(refusing("slow_down")), pavise.Unavailable},
		{"an error with a bell", polling(refusing("\a\x1b[2J")), pavise.Unverified},
		{"an answer that is a page", polling(answer{200, "<html>"}), pavise.Unverified},
		{"an answer of something else", polling(answer{500, "{}"}), pavise.Unverified},
		{"no token", polling(answer{200, map[string]any{"token_type": "Bearer"}}), pavise.Unverified},
		{"another type of token", polling(answer{200, map[string]any{"token_type": "mac", "access_token": "a.b.c"}}), pavise.Unverified},
		{"a huge token", polling(answer{200, map[string]any{"token_type": "Bearer", "access_token": strings.Repeat("a", maxToken+1)}}), pavise.Unverified},
		{"a huge answer", polling(answer{200, strings.Repeat("a", maxAnswer+1)}), pavise.Unverified},
		{"an ID token of another issuer", func(p *provider) {
			p.polls = []answer{{200, map[string]any{"token_type": "Bearer", "id_token": p.idToken("https://evil.example", "pavise-cli", "")}}}
		}, pavise.Unverified},
		{"an ID token for another program", func(p *provider) {
			p.polls = []answer{{200, map[string]any{"token_type": "Bearer", "id_token": p.idToken(p.URL, []string{"x"}, "")}}}
		}, pavise.Unverified},
		{"a script to open", with("verification_uri", "javascript:alert(1)"), pavise.Unverified},
		{"plain http to open", with("verification_uri", "http://evil.example"), pavise.Unverified},
		{"a user in what is to be opened", with("verification_uri", "https://accounts.example@evil.example"), pavise.Unverified},
		{"an escape sequence to open", with("verification_uri", "https://x.example/\x1b[2J"), pavise.Unverified},
		{"an escape sequence to type", with("user_code", "\x1b[2J"), pavise.Unverified},
		{"no code", with("device_code", ""), pavise.Unverified},
		{"no device endpoint", func(p *provider) { delete(p.metadata, "device_authorization_endpoint") }, pavise.Unverified},
		{"no token endpoint", func(p *provider) { delete(p.metadata, "token_endpoint") }, pavise.Unverified},
		{"another issuer", func(p *provider) { p.metadata["issuer"] = "https://evil.example" }, pavise.Unverified},
		{"endpoints elsewhere without https", func(p *provider) { p.metadata["token_endpoint"] = "http://evil.example/token" }, pavise.Unverified},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newProvider(t)
			p.polls = []answer{given()}
			tt.edit(p)
			var waits []time.Duration
			g, err := Device(t.Context(), p.config(&waits, nil))
			if pavise.KindOf(err) != tt.kind || g.Access != "" {
				t.Errorf("it gives %v, %v (%v), want %v", g, err, pavise.KindOf(err), tt.kind)
			}
			if len(waits) > 100 {
				t.Errorf("it asked %d times", len(waits))
			}
		})
	}
	var waits []time.Duration
	p := newProvider(t)
	cfg := p.config(&waits, nil)
	cfg.ClientID = ""
	if _, err := Device(t.Context(), cfg); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("without a client id: %v", err)
	}
}

// TestDeviceBounds keeps what a provider asks for within bounds.
func TestDeviceBounds(t *testing.T) {
	for _, tt := range []struct {
		interval, life any
		want           string
	}{
		{0.001, 3, "[1s 1s 1s]"}, {-1, 9, "[5s 5s]"}, {"x", 9, "[5s 5s]"}, {1e300, 70, "[1m0s 1m0s]"}, {nil, nil, ""},
	} {
		p := newProvider(t)
		p.polls = []answer{refusing("authorization_pending")}
		answer := p.device()
		answer["interval"], answer["expires_in"] = tt.interval, tt.life
		p.device = func() map[string]any { return answer }
		var waits []time.Duration
		if _, err := Device(t.Context(), p.config(&waits, nil)); pavise.KindOf(err) != pavise.Unavailable {
			t.Errorf("%+v: %v", tt, err)
		}
		if got := fmt.Sprint(waits); tt.want != "" && got != tt.want || len(waits) > 1800 {
			t.Errorf("%+v: it waits %s", tt, got)
		}
	}
}

func TestDeviceBrokenOff(t *testing.T) {
	p := newProvider(t)
	p.polls = []answer{refusing("authorization_pending")}
	ctx, cancel := context.WithCancel(t.Context())
	var waits []time.Duration
	if _, err := Device(ctx, p.config(&waits, func(Request) { cancel() })); pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("broken off: %v", err)
	}
}

// browse is a person with a browser: it opens what it is asked to, and comes back.
func (p *provider) browse(t *testing.T, r Request) {
	u, err := url.Parse(r.URL)
	if err != nil {
		t.Error(err)
		return
	}
	p.asked = u.Query()
	back := url.Values{"state": {p.asked.Get("state")}, "code": {"c"}}
	p.back(back)
	go func() {
		resp, err := http.Get(p.asked.Get("redirect_uri") + "?" + back.Encode())
		if err == nil {
			resp.Body.Close()
		}
	}()
}

func TestBrowser(t *testing.T) {
	p := newProvider(t)
	cfg := p.config(new([]time.Duration), nil)
	cfg.Ask = func(r Request) {
		if !strings.HasPrefix(r.URL, p.URL+"/auth?") {
			t.Errorf("the person is asked to open %s", r.URL)
		}
		p.browse(t, r)
	}
	cfg.Resource = "https://pavise.example"
	g, err := Browser(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"response_type": "code", "code_challenge_method": "S256", "tenant": "acme", "scope": "groups openid", "resource": "https://pavise.example", "client_id": "pavise-cli",
	} {
		if got := p.asked.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if token, err := g.Token(true); err != nil || token != g.ID || token == "" {
		t.Errorf("the ID token is %q, %v", token, err)
	}
}

func TestBrowserRefused(t *testing.T) {
	redeeming := func(edit func(p *provider, body map[string]any)) func(*provider) {
		return func(p *provider) {
			p.redeem = func(url.Values) answer {
				body := map[string]any{"access_token": "a.b.c", "token_type": "Bearer", "id_token": p.idToken(p.URL, "pavise-cli", p.asked.Get("nonce"))}
				edit(p, body)
				return answer{200, body}
			}
		}
	}
	for _, tt := range []struct {
		name string
		edit func(*provider)
		kind pavise.Kind
	}{
		{"the person says no", func(p *provider) { p.back = func(q url.Values) { q.Del("code"); q.Set("error", "access_denied") } }, pavise.Denied},
		{"no code", func(p *provider) { p.back = func(q url.Values) { q.Del("code") } }, pavise.Unverified},
		{"another provider answers", func(p *provider) { p.back = func(q url.Values) { q.Set("iss", "https://evil.example") } }, pavise.Unverified},
		{"another's code", func(p *provider) { p.back = func(q url.Values) { q.Set("code", "x") } }, pavise.Denied},
		{"another nonce", redeeming(func(p *provider, b map[string]any) { b["id_token"] = p.idToken(p.URL, "pavise-cli", "x") }), pavise.Unverified},
		{"no nonce", redeeming(func(p *provider, b map[string]any) { b["id_token"] = p.idToken(p.URL, "pavise-cli", "") }), pavise.Unverified},
		{"an ID token that is none", redeeming(func(_ *provider, b map[string]any) { b["id_token"] = "x" }), pavise.Unverified},
		{"no browser login", func(p *provider) { delete(p.metadata, "authorization_endpoint") }, pavise.Unverified},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newProvider(t)
			tt.edit(p)
			g, err := Browser(t.Context(), p.config(new([]time.Duration), func(r Request) { p.browse(t, r) }))
			if pavise.KindOf(err) != tt.kind || g.Access != "" {
				t.Errorf("it gives %v, %v (%v), want %v", g, err, pavise.KindOf(err), tt.kind)
			}
		})
	}
}

// TestCallbackOfOthers: what does not know the state neither ends the login nor answers
// it, and a second answer comes too late.
func TestCallbackOfOthers(t *testing.T) {
	p := newProvider(t)
	get := func(at string) int {
		resp, err := http.Get(at)
		if err != nil {
			t.Error(err)
			return 0
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	_, err := Browser(t.Context(), p.config(new([]time.Duration), func(r Request) {
		u, _ := url.Parse(r.URL)
		p.asked = u.Query()
		back := p.asked.Get("redirect_uri")
		for _, q := range []string{"?code=c", "?state=x&code=c", "?state=&error=access_denied"} {
			if got := get(back + q); got != 404 {
				t.Errorf("%s: %d", q, got)
			}
		}
		if got := get(strings.TrimSuffix(back, callbackPath) + "/?state=" + p.asked.Get("state") + "&code=c"); got != 404 {
			t.Errorf("another path: %d", got)
		}
		good := back + "?state=" + p.asked.Get("state") + "&code=c"
		if got := get(good); got != 200 {
			t.Errorf("the right one: %d", got)
		}
		if got := get(good); got != 409 {
			t.Errorf("the right one again: %d", got)
		}
	}))
	if err != nil {
		t.Error(err)
	}
}

func TestOpaqueAccessToken(t *testing.T) {
	if token, err := (Grant{Access: "opaque", ID: "a.b.c"}).Token(false); err != nil || token != "a.b.c" {
		t.Errorf("%q, %v", token, err)
	}
	if _, err := (Grant{Access: "opaque"}).Token(false); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("no token for a server: %v", err)
	}
}
