package login

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/pavise/pavise/internal/identity"
)

// A peer is an OpenID provider that is none of our code: the npm package oidc-provider,
// in the directory that PAVISE_OIDC_PROVIDER names.
type peer struct {
	issuer string
	in     io.Writer
	out    *bufio.Reader
}

func startPeer(t *testing.T) *peer {
	t.Helper()
	dir := os.Getenv("PAVISE_OIDC_PROVIDER")
	if dir == "" {
		t.Skip("PAVISE_OIDC_PROVIDER does not name a directory with the npm package oidc-provider")
	}
	command := exec.CommandContext(t.Context(), "node", "testdata/oidc-provider/provider.mjs", dir)
	var errs bytes.Buffer
	command.Stderr = &errs
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	p := &peer{in: in, out: bufio.NewReader(out)}
	t.Cleanup(func() {
		in.Close()
		command.Wait()
		if t.Failed() {
			t.Log(errs.String())
		}
	})
	p.issuer = p.says(t).Issuer
	return p
}

// says is what the provider says next, besides what it notes for people.
func (p *peer) says(t *testing.T) (said struct {
	Issuer     string
	Generation int
}) {
	t.Helper()
	for {
		line, err := p.out.ReadBytes('\n')
		if err != nil {
			t.Fatal(err)
		}
		if line[0] != '{' {
			continue
		}
		if err := json.Unmarshal(line, &said); err != nil {
			t.Fatalf("the provider says %q", line)
		}
		return said
	}
}

// rotate has the provider sign with other keys from now on.
func (p *peer) rotate(t *testing.T) {
	t.Helper()
	io.WriteString(p.in, "rotate\n")
	if said := p.says(t); said.Generation < 2 {
		t.Fatalf("the provider says %+v", said)
	}
}

// machine gets a token for a program, bound to the signer's key if there is one.
func (p *peer) machine(t *testing.T, key *ecdsa.PrivateKey) string {
	t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}}
	req, err := http.NewRequest("POST", p.issuer+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("machine", strings.Repeat("x", 32))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if key != nil {
		req.Header.Set("DPoP", possession(t, key, p.issuer+"/token", ""))
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var body map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%d %v, %v", resp.StatusCode, body, err)
	}
	return body["access_token"].(string)
}

// possession is a DPoP proof as the JOSE library makes one.
func possession(t *testing.T, key *ecdsa.PrivateKey, at, token string) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{EmbedJWK: true}).WithType("dpop+jwt"))
	if err != nil {
		t.Fatal(err)
	}
	claims := map[string]any{"jti": rand.Text(), "htm": "POST", "htu": at, "iat": time.Now().Unix()}
	if token != "" {
		sum := sha256.Sum256([]byte(token))
		claims["ath"] = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	proof, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return proof
}

// verifier trusts the provider by its discovery document. Its clock can be moved on.
func (p *peer) verifier(t *testing.T) (*identity.Verifier, *atomic.Int64) {
	t.Helper()
	ahead := &atomic.Int64{}
	v, err := identity.New(identity.Config{
		Now:     func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
		Origins: []string{"https://pavise.example"},
		Issuers: []identity.Issuer{{
			URL: p.issuer, Audience: "pavise", Discover: true, Algorithms: []identity.Algorithm{"ES256", "RS256"}, Tenant: "acme",
			MaxTTL: time.Hour, Roles: []string{"analyst", "caller"},
			Claims: identity.ClaimMap{
				ID: "escape(claims.sub)", Kind: "claims.client_id == 'machine' ? 'workload' : 'human'",
				Roles: "claims.groups.map(g, g == 'soc' ? 'analyst' : 'caller')",
			},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return v, ahead
}

func credentials(scheme, token string, proofs ...string) identity.Credentials {
	return identity.Credentials{Authorization: []string{scheme + " " + token}, DPoP: proofs, Method: "POST", URL: "/v1/x"}
}

// A person opens pages in a browser, fills in the one form that there is on each, and
// says yes to everything.
type person struct{ http.Client }

var (
	formTag  = regexp.MustCompile(`(?s)<form[^>]*action="([^"]+)"`)
	inputTag = regexp.MustCompile(`<input[^>]*>`)
	nameAttr = regexp.MustCompile(`name="([^"]*)"`)
	valAttr  = regexp.MustCompile(`value="([^"]*)"`)
)

// open opens a page and goes on until there is no form any more. It returns the last
// page.
func (p *person) open(t *testing.T, at string) string {
	resp, err := p.Get(at)
	for range 8 {
		if err != nil {
			t.Error(err)
			return ""
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		page := string(body)
		form := formTag.FindStringSubmatch(page)
		if form == nil {
			return page
		}
		action, err2 := resp.Request.URL.Parse(form[1])
		if err2 != nil {
			t.Error(err2)
			return page
		}
		fields := url.Values{}
		for _, input := range inputTag.FindAllString(page, -1) {
			if name := nameAttr.FindStringSubmatch(input); name != nil {
				fields.Set(name[1], append(valAttr.FindStringSubmatch(input), "", "")[1])
			}
		}
		if fields.Has("login") {
			fields.Set("login", "ann")
			fields.Set("password", "any")
		}
		if strings.Contains(page, "op.deviceConfirmForm") {
			fields.Set("confirm", "yes")
		}
		resp, err = p.PostForm(action.String(), fields)
	}
	t.Error("the pages do not end")
	return ""
}

func newPerson(t *testing.T) *person {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &person{http.Client{Jar: jar}}
}

// TestOIDCProvider takes tokens, bound and not, of a provider that is none of our code,
// through a rotation of its keys, and logs a person in there in both ways.
func TestOIDCProvider(t *testing.T) {
	p := startPeer(t)
	v, ahead := p.verifier(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	free, bound := p.machine(t, nil), p.machine(t, key)
	who, err := v.Verify(t.Context(), credentials("Bearer", free))
	if err != nil || who.Name().String() != "acme/workload/machine" || who.Proof != "bearer" || len(who.Roles) != 1 {
		t.Errorf("a token proves %+v, %v", who, err)
	}
	const at = "https://pavise.example/v1/x"
	if who, err = v.Verify(t.Context(), credentials("DPoP", bound, possession(t, key, at, bound))); err != nil || who.Proof != "dpop" {
		t.Errorf("a bound token proves %+v, %v", who, err)
	}
	if _, err = v.Verify(t.Context(), credentials("Bearer", bound)); err == nil {
		t.Error("a bound token was good for a bearer")
	}

	p.rotate(t)
	ahead.Store(int64(31 * time.Second))
	if _, err := v.Verify(t.Context(), credentials("Bearer", p.machine(t, nil))); err != nil {
		t.Errorf("after the rotation: %v", err)
	}
	if _, err = v.Verify(t.Context(), credentials("Bearer", free)); err == nil {
		t.Error("what the old key signed is still good")
	}

	cfg := Config{Issuer: p.issuer, ClientID: "cli", Resource: "https://pavise.example"}
	for name, flow := range map[string]struct {
		login func(Config) (Grant, error)
		page  string
	}{
		"browser": {func(c Config) (Grant, error) { return Browser(t.Context(), c) }, "You are logged in"},
		"device":  {func(c Config) (Grant, error) { return Device(t.Context(), c) }, "Sign-in Success"},
	} {
		pages := make(chan string, 1)
		cfg.Ask = func(r Request) { go func() { pages <- newPerson(t).open(t, r.URL) }() }
		g, err := flow.login(cfg)
		if err != nil {
			t.Errorf("%s: %v; the last page is %s", name, err, <-pages)
			continue
		}
		if page := <-pages; !strings.Contains(page, flow.page) {
			t.Errorf("%s: the last page is %s", name, page)
		}
		token, err := g.Token(false)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if who, err := v.Verify(t.Context(), credentials("Bearer", token)); err != nil || who.Name().String() != "acme/human/ann" {
			t.Errorf("%s: the token proves %+v, %v", name, who, err)
		}
	}
}
