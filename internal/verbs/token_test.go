package verbs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise/internal/identity"
	"github.com/pavise/pavise/internal/issuer"
)

// A keeper has a key that tokens are bound to.
type keeper struct {
	key  *ecdsa.PrivateKey
	x, y string
}

func newKeeper(t *testing.T) *keeper {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return &keeper{key, encode(point[1:33]), encode(point[33:])}
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// proof is a DPoP proof for a POST to an URL, with a token if there is one.
func (k *keeper) proof(t *testing.T, at, token string) string {
	t.Helper()
	head := map[string]any{"typ": "dpop+jwt", "alg": "ES256", "jwk": map[string]string{"kty": "EC", "crv": "P-256", "x": k.x, "y": k.y}}
	claims := map[string]any{"jti": rand.Text(), "htm": "POST", "htu": at, "iat": time.Now().Unix()}
	if token != "" {
		sum := sha256.Sum256([]byte(token))
		claims["ath"] = encode(sum[:])
	}
	h, err := json.Marshal(head)
	if err != nil {
		t.Fatal(err)
	}
	c, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	input := encode(h) + "." + encode(c)
	sum := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, k.key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + encode(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}

// exchange sends a token request, with a proof if there is a keeper.
func (w *world) exchange(t *testing.T, k *keeper, form url.Values) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequest("POST", w.base+"/v1/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if k != nil {
		req.Header.Set("DPoP", k.proof(t, w.base+"/v1/token", ""))
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var body map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		t.Fatalf("%d: %v", resp.StatusCode, err)
	}
	if resp.Header.Get("Cache-Control") != "no-store" {
		t.Error("the answer may be kept")
	}
	return resp.StatusCode, body
}

func asking(token string, more ...string) url.Values {
	form := url.Values{"grant_type": {grantExchange}, "subject_token": {token}, "subject_token_type": {typeJWT}}
	for i := 0; i+1 < len(more); i += 2 {
		form[more[i]] = append(form[more[i]], more[i+1])
	}
	return form
}

// TestTokenExchange exchanges a bearer token for one that only the caller's key can
// use, and uses it.
func TestTokenExchange(t *testing.T) {
	w, k, thief := newWorld(t), newKeeper(t), newKeeper(t)
	bearer := w.person(t, "olga", "operator").Token
	status, got := w.exchange(t, k, asking(bearer, "scope", "operator"))
	if status != 200 || got["token_type"] != "DPoP" || got["issued_token_type"] != typeAccessToken || got["scope"] != "operator" {
		t.Fatalf("%d %v", status, got)
	}
	token := got["access_token"].(string)
	call := func(scheme string, proofs ...string) int {
		t.Helper()
		req, err := http.NewRequest("POST", w.base+"/v1/policy.list", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", scheme+" "+token)
		for _, p := range proofs {
			req.Header.Add("DPoP", p)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if challenge := resp.Header.Get("WWW-Authenticate"); resp.StatusCode == 401 && !strings.HasPrefix(challenge, "DPoP ") {
			t.Errorf("challenged with %q", challenge)
		}
		return resp.StatusCode
	}
	at := w.base + "/v1/policy.list"
	once := k.proof(t, at, token)
	for name, tt := range map[string]struct{ got, want int }{
		"the holder":                 {call("DPoP", once), 200},
		"the holder again":           {call("DPoP", k.proof(t, at, token)), 200},
		"the same proof":             {call("DPoP", once), 401},
		"a thief, as bearer":         {call("Bearer"), 401},
		"a thief with another key":   {call("DPoP", thief.proof(t, at, token)), 401},
		"a proof for another path":   {call("DPoP", k.proof(t, w.base+"/v1/route.list", token)), 401},
		"a proof for another server": {call("DPoP", k.proof(t, "https://evil.example/v1/policy.list", token)), 401},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %d, want %d", name, tt.got, tt.want)
		}
	}
	// No session of the console for a token that is bound to a key.
	req, _ := http.NewRequest("POST", w.base+"/v1/console.link", strings.NewReader("{}"))
	req.Header = http.Header{"Content-Type": {"application/json"}, "Authorization": {"DPoP " + token}, "Dpop": {k.proof(t, w.base+"/v1/console.link", token)}}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 403 {
		t.Errorf("console.link: %d", resp.StatusCode)
	}
}

// TestTokenForAnAgent exchanges a person's token and an agent's for one of the agent
// who acts for the person.
func TestTokenForAnAgent(t *testing.T) {
	w, k := newWorld(t), newKeeper(t)
	agent, err := w.Issuer.Bootstrap(issuer.MintRequest{Subject: "agent"})
	if err != nil {
		t.Fatal(err)
	}
	status, got := w.exchange(t, k, asking(w.person(t, "olga", "operator").Token,
		"actor_token", agent.Value, "actor_token_type", typeAccessToken, "audience", "sts.cloud.example", "requested_token_type", typeJWT))
	if status != 200 || got["issued_token_type"] != typeJWT {
		t.Fatalf("%d %v", status, got)
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(got["access_token"].(string), ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"sub":"local/human/olga"`, `"act":{"sub":"local/workload/agent","iss":"urn:pavise:local:test"}`, `"aud":"sts.cloud.example"`, `"pavise_origin":"urn:pavise:local:test"`} {
		if !strings.Contains(string(payload), want) {
			t.Errorf("the token says %s, without %s", payload, want)
		}
	}
}

func TestTokenRequestsRefused(t *testing.T) {
	w, k := newWorld(t), newKeeper(t)
	good := w.person(t, "olga", "operator").Token
	without := func(name string) url.Values { f := asking(good); f.Del(name); return f }
	for _, tt := range []struct {
		name   string
		keeper *keeper
		form   url.Values
		want   string
	}{
		{"another grant", k, url.Values{"grant_type": {"client_credentials"}}, "unsupported_grant_type"},
		{"no grant", k, without("grant_type"), "unsupported_grant_type"},
		{"no token", k, without("subject_token"), "invalid_request"},
		{"no type", k, without("subject_token_type"), "invalid_request"},
		{"a SAML assertion", k, url.Values{"grant_type": {grantExchange}, "subject_token": {good}, "subject_token_type": {"urn:ietf:params:oauth:token-type:saml2"}}, "invalid_request"},
		{"two tokens", k, asking(good, "subject_token", good), "invalid_request"},
		{"an actor without a token", k, asking(good, "actor_token_type", typeJWT), "invalid_request"},
		{"a resource", k, asking(good, "resource", "https://x"), "invalid_target"},
		{"another audience", k, asking(good, "audience", "evil.example"), "invalid_target"},
		{"another role", k, asking(good, "scope", "operator admin"), "invalid_scope"},
		{"a refresh token", k, asking(good, "requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token"), "invalid_request"},
		{"no key", nil, asking(good), "invalid_request"},
		{"rubbish", k, asking("a.b.c"), "invalid_request"},
		{"the connection's certificate, where there is none", k, url.Values{"grant_type": {grantExchange}, "subject_token": {givenCertificate}, "subject_token_type": {typeCertificate}}, "invalid_request"},
	} {
		status, got := w.exchange(t, tt.keeper, tt.form)
		if status != 400 || got["error"] != tt.want || got["access_token"] != nil {
			t.Errorf("%s: %d %v, want %s", tt.name, status, got, tt.want)
		}
		if text, _ := got["error_description"].(string); text == "" || strings.Contains(text, good[:20]) {
			t.Errorf("%s: described as %q", tt.name, text)
		}
	}
	for name, send := range map[string]func() (*http.Response, error){
		"JSON": func() (*http.Response, error) {
			return http.Post(w.base+"/v1/token", "application/json", strings.NewReader("{}"))
		},
		"a token in the URL": func() (*http.Response, error) {
			return http.Post(w.base+"/v1/token?"+asking(good).Encode(), "application/x-www-form-urlencoded", strings.NewReader(asking(good).Encode()))
		},
		"a broken form": func() (*http.Response, error) {
			return http.Post(w.base+"/v1/token", "application/x-www-form-urlencoded", strings.NewReader("%zz"))
		},
		"a huge form": func() (*http.Response, error) {
			return http.Post(w.base+"/v1/token", "application/x-www-form-urlencoded", strings.NewReader(strings.Repeat("a", (64<<10)+1)))
		},
	} {
		resp, err := send()
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 400 {
			t.Errorf("%s: %d", name, resp.StatusCode)
		}
	}
	req, _ := http.NewRequest("POST", w.base+"/v1/token", strings.NewReader(asking(good).Encode()))
	req.Header = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Dpop": {k.proof(t, "https://evil.example/v1/token", "")}}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var body map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil || body["error"] != "invalid_dpop_proof" {
		t.Errorf("a proof for elsewhere: %v, %v", body, err)
	}
}

// TestTrustedByDiscovery is another installation, which trusts this one's token service
// by what it publishes.
func TestTrustedByDiscovery(t *testing.T) {
	w, k := newWorld(t), newKeeper(t)
	status, got := w.exchange(t, k, asking(w.person(t, "olga", "operator").Token, "audience", "sts.cloud.example"))
	if status != 200 {
		t.Fatal(got)
	}
	v, err := identity.New(identity.Config{Now: time.Now, Origins: []string{"https://cloud.example"}, Issuers: []identity.Issuer{{
		URL: w.base, Audience: "sts.cloud.example", Discover: true, Algorithms: []identity.Algorithm{"ES256"}, Tenant: "cloud", MaxTTL: time.Hour,
		Claims: identity.ClaimMap{ID: `escape(claims.sub)`, Kind: `"workload"`, Roles: `[]`, Require: `claims.sub == "local/human/olga"`},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	token := got["access_token"].(string)
	who, err := v.Verify(t.Context(), identity.Credentials{
		Authorization: []string{"DPoP " + token}, DPoP: []string{k.proof(t, "https://cloud.example/x", token)}, Method: "POST", URL: "/x",
	})
	if err != nil || who.Name().String() != "cloud/workload/local+2Fhuman+2Folga" {
		t.Errorf("it is known as %v, %v", who.Name(), err)
	}
}

// The words of RFC 8693, as a client spells them.
const (
	grantExchange    = "urn:ietf:params:oauth:grant-type:token-exchange"
	typeAccessToken  = "urn:ietf:params:oauth:token-type:access_token"
	typeIDToken      = "urn:ietf:params:oauth:token-type:id_token"
	typeJWT          = "urn:ietf:params:oauth:token-type:jwt"
	typeCertificate  = "urn:pavise:token-type:certificate"
	givenCertificate = "connection"
)
