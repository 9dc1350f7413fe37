package identity

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/pavise/pavise"
)

// A clock stands still until it is moved.
type clock struct {
	mu sync.Mutex // guards at
	at time.Time
}

func newClock() *clock { return &clock{at: noon} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// A provider is an OpenID provider on this machine that can be made to misbehave.
type provider struct {
	*httptest.Server
	fetches atomic.Int64 // of the key set

	mu        sync.Mutex // guards what follows
	keys      map[string]ed25519.PrivateKey
	discovery http.HandlerFunc // instead of its own, if any
	jwks      http.HandlerFunc // instead of its own, if any
}

func newProvider(t *testing.T, start func(http.Handler) *httptest.Server) *provider {
	t.Helper()
	p := &provider{keys: map[string]ed25519.PrivateKey{}}
	p.rotate("k1")
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", p.choose(&p.discovery, func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(members{"issuer": p.URL, "jwks_uri": p.URL + "/jwks", "response_types_supported": []string{"code"}})
	}))
	mux.HandleFunc("/jwks", p.choose(&p.jwks, p.serveKeys))
	p.Server = start(mux)
	t.Cleanup(p.Close)
	return p
}

// choose serves with what stands in for own, if something does.
func (p *provider) choose(instead *http.HandlerFunc, own http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		serve := *instead
		p.mu.Unlock()
		if serve == nil {
			serve = own
		}
		serve(w, r)
	}
}

func (p *provider) serveKeys(w http.ResponseWriter, _ *http.Request) {
	p.fetches.Add(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	var set KeySet
	for kid, key := range p.keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: key.Public(), KeyID: kid, Use: "sig"})
	}
	json.NewEncoder(w).Encode(set)
}

// rotate replaces the keys by a new one.
func (p *provider) rotate(kid string) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.keys)
	p.keys[kid] = key
}

func (p *provider) set(discovery, jwks http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.discovery, p.jwks = discovery, jwks
}

// token signs with the key of the id, at the time.
func (p *provider) token(kid string, now time.Time, with members) string {
	p.mu.Lock()
	key := p.keys[kid]
	p.mu.Unlock()
	claims := body(merge(members{"iss": p.URL, "iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix()}, with))
	return theWorld().sign(header(members{"kid": kid}), claims, func(in []byte) []byte { return ed25519.Sign(key, in) })
}

func (p *provider) record() Issuer {
	i := theWorld().issuers["ed"]
	i.URL, i.Keys, i.Discover = p.URL, KeySet{}, true
	return i
}

func newDiscovering(t *testing.T, p *provider, edit ...func(*Issuer)) (*Verifier, *clock) {
	t.Helper()
	i, c := p.record(), newClock()
	for _, e := range edit {
		e(&i)
	}
	v, err := New(Config{Now: c.now, Issuers: []Issuer{i}})
	if err != nil {
		t.Fatal(err)
	}
	return v, c
}

func wantGood(t *testing.T, v *Verifier, token string) pavise.Principal {
	t.Helper()
	p, err := bearer(v, token)
	if err != nil {
		t.Fatalf("refused: %v", err)
	}
	return p
}

func wantBad(t *testing.T, v *Verifier, token string, why Reason) {
	t.Helper()
	_, err := bearer(v, token)
	wantReason(t, err, why)
}

// wantReason wants a refusal of the kind that its reason has.
func wantReason(t *testing.T, err error, why Reason) {
	t.Helper()
	if kind, ok := kinds[why]; ok {
		if pavise.KindOf(err) != kind || err.Error() == "" || !strings.Contains(err.Error(), string(why)) {
			t.Errorf("error = %v, want %s of kind %v", err, why, kind)
		}
		return
	}
	wantRefusal(t, err, why)
}

func TestDiscoveredKeys(t *testing.T) {
	p := newProvider(t, httptest.NewServer)
	v, c := newDiscovering(t, p)
	who := wantGood(t, v, p.token("k1", c.now(), nil))
	if who.Issuer != p.URL || who.Name().String() != "acme/human/alice@acme" {
		t.Errorf("the token proves %+v", who)
	}
	wantGood(t, v, p.token("k1", c.now(), members{"jti": "j2"}))
	if n := p.fetches.Load(); n != 1 {
		t.Errorf("two tokens took %d fetches", n)
	}
}

func TestDiscoveryOverTLS(t *testing.T) {
	p := newProvider(t, httptest.NewTLSServer)
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw}))
	v, c := newDiscovering(t, p, func(i *Issuer) { i.CA = ca })
	wantGood(t, v, p.token("k1", c.now(), nil))
	stranger, c := newDiscovering(t, p)
	wantBad(t, stranger, p.token("k1", c.now(), nil), KeysAway)
}

// TestRotation rotates the keys while tokens of the old one are about: the new one works
// at once, and what the old one signed ends with it, remembered or not.
func TestRotation(t *testing.T) {
	p := newProvider(t, httptest.NewServer)
	v, c := newDiscovering(t, p)
	old := p.token("k1", c.now(), nil)
	wantGood(t, v, old)
	p.rotate("k2")
	wantGood(t, v, old)
	c.move(fetchPause)
	wantGood(t, v, p.token("k2", c.now(), nil))
	wantBad(t, v, old, UnknownKey)
	c.move(fetchPause)
	wantBad(t, v, old, UnknownKey)
}

// TestSameKeysKeepTheMemory renews a key set that has not changed.
func TestSameKeysKeepTheMemory(t *testing.T) {
	p := newProvider(t, httptest.NewServer)
	v, c := newDiscovering(t, p)
	wantGood(t, v, p.token("k1", c.now(), nil))
	before := v.records[p.URL].ring.Load()
	c.move(renewAfter + time.Second)
	v.records[p.URL].source.renew(t.Context())
	after := v.records[p.URL].ring.Load()
	if before == after || before.revision != after.revision || p.fetches.Load() != 2 {
		t.Errorf("renewed from %+v to %+v with %d fetches", before, after, p.fetches.Load())
	}
}

// TestInventedKeyIDs sends tokens with key ids that nobody has: they must not make us
// fetch again and again.
func TestInventedKeyIDs(t *testing.T) {
	p := newProvider(t, httptest.NewServer)
	v, c := newDiscovering(t, p)
	wantGood(t, v, p.token("k1", c.now(), nil))
	c.move(fetchPause)
	w := theWorld()
	var group sync.WaitGroup
	for n := range 100 {
		group.Go(func() {
			kid := []string{"../../etc/passwd", "x' OR 1=1", "a\x00b", strings.Repeat("k", 300), fmt.Sprint(n)}[n%5]
			if _, err := bearer(v, w.sign(header(members{"kid": kid}), body(members{"iss": p.URL}), w.byEd)); err == nil {
				t.Error("a token of no key was good")
			}
		})
	}
	group.Wait()
	if n := p.fetches.Load(); n != 2 {
		t.Errorf("a hundred invented key ids took %d fetches, want 2", n)
	}
}

// TestOneFetchForAll has many callers come before there are any keys.
func TestOneFetchForAll(t *testing.T) {
	p := newProvider(t, httptest.NewServer)
	release := make(chan struct{})
	p.set(nil, func(w http.ResponseWriter, r *http.Request) {
		<-release
		p.serveKeys(w, r)
	})
	v, c := newDiscovering(t, p)
	var group sync.WaitGroup
	for n := range 50 {
		token := p.token("k1", c.now(), members{"jti": fmt.Sprint(n)})
		group.Go(func() {
			if _, err := bearer(v, token); err != nil {
				t.Errorf("refused: %v", err)
			}
		})
	}
	close(release)
	group.Wait()
	if n := p.fetches.Load(); n != 1 {
		t.Errorf("fifty callers took %d fetches", n)
	}
}

// TestIssuerAway keeps the last good keys for as long as the record says, and no longer.
func TestIssuerAway(t *testing.T) {
	p := newProvider(t, httptest.NewServer)
	v, c := newDiscovering(t, p, func(i *Issuer) { i.Stale = time.Hour })
	remembered := p.token("k1", c.now().Add(55*time.Minute), members{"iat": noon.Unix(), "exp": noon.Add(time.Hour).Unix()})
	wantGood(t, v, remembered)
	p.set(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "down", http.StatusBadGateway) }, nil)
	c.move(50 * time.Minute)
	wantGood(t, v, p.token("k1", c.now(), nil))
	wantGood(t, v, remembered)
	c.move(10*time.Minute - time.Second)
	fresh := p.token("k1", c.now(), nil)
	wantGood(t, v, fresh)
	c.move(time.Second)
	wantBad(t, v, fresh, KeysAway)
	wantBad(t, v, remembered, KeysAway)
	p.set(nil, nil)
	c.move(fetchPause)
	wantGood(t, v, fresh)
}

func TestIssuerThatMisbehaves(t *testing.T) {
	text := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(s)) }
	}
	for _, tt := range []struct {
		name            string
		discovery, jwks func(p *provider) http.HandlerFunc
	}{
		{"another issuer's configuration", func(p *provider) http.HandlerFunc {
			return text(marshal(members{"issuer": "https://ed.example", "jwks_uri": p.URL + "/jwks"}))
		}, nil},
		{"a slash more", func(p *provider) http.HandlerFunc {
			return text(marshal(members{"issuer": p.URL + "/", "jwks_uri": p.URL + "/jwks"}))
		}, nil},
		{"no key set", func(p *provider) http.HandlerFunc { return text(marshal(members{"issuer": p.URL})) }, nil},
		{"a key set in a file", func(p *provider) http.HandlerFunc {
			return text(marshal(members{"issuer": p.URL, "jwks_uri": "file:///etc/passwd"}))
		}, nil},
		{"a key set on plain http elsewhere", func(p *provider) http.HandlerFunc {
			return text(marshal(members{"issuer": p.URL, "jwks_uri": "http://keys.example/jwks"}))
		}, nil},
		{"a key set on plain http, in capitals", func(p *provider) http.HandlerFunc {
			return text(marshal(members{"issuer": p.URL, "jwks_uri": "HTTP://keys.example/jwks"}))
		}, nil},
		{"two issuers", func(p *provider) http.HandlerFunc {
			return text(`{"issuer":"` + p.URL + `","Issuer":"x","jwks_uri":"` + p.URL + `/jwks"}`)
		}, nil},
		{"a huge configuration", func(p *provider) http.HandlerFunc {
			return text(`{"issuer":"` + p.URL + `","jwks_uri":"` + p.URL + `/jwks","x":"` + strings.Repeat("x", maxDiscovery) + `"}`)
		}, nil},
		{"a redirect", func(p *provider) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/jwks", http.StatusFound) }
		}, nil},
		{"keys behind a redirect", nil, func(p *provider) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }
		}},
		{"a huge key set", nil, func(p *provider) http.HandlerFunc { return text(strings.Repeat(" ", maxKeySet+1)) }},
		{"a private key", nil, func(p *provider) http.HandlerFunc {
			return text(marshal(KeySet{Keys: []jose.JSONWebKey{{Key: p.keys["k1"], KeyID: "k1"}}}))
		}},
		{"no key of the record's algorithms", nil, func(p *provider) http.HandlerFunc {
			return text(marshal(KeySet{Keys: []jose.JSONWebKey{{Key: theWorld().ec.Public(), KeyID: "k1"}}}))
		}},
		{"a page", nil, func(p *provider) http.HandlerFunc { return text("<html>sign in</html>") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newProvider(t, httptest.NewServer)
			v, c := newDiscovering(t, p)
			var discovery, keys http.HandlerFunc
			if tt.discovery != nil {
				discovery = tt.discovery(p)
			}
			if tt.jwks != nil {
				keys = tt.jwks(p)
			}
			p.set(discovery, keys)
			wantBad(t, v, p.token("k1", c.now(), nil), KeysAway)
			p.set(nil, nil)
			wantBad(t, v, p.token("k1", c.now(), nil), KeysAway) // it is not asked again at once
			c.move(firstPause)
			wantGood(t, v, p.token("k1", c.now(), nil))
		})
	}
}

// TestKeysOfUnknownTypesAreLeftOut serves a set with a key of tomorrow.
func TestKeysOfUnknownTypesAreLeftOut(t *testing.T) {
	p := newProvider(t, httptest.NewServer)
	p.set(nil, func(w http.ResponseWriter, _ *http.Request) {
		one := marshal(jose.JSONWebKey{Key: p.keys["k1"].Public(), KeyID: "k1"})
		fmt.Fprintf(w, `{"keys":[{"kty":"AKP","alg":"ML-DSA-44","kid":"pq","pub":"AA"},%s]}`, one)
	})
	v, c := newDiscovering(t, p)
	wantGood(t, v, p.token("k1", c.now(), nil))
}

// TestSlowIssuerHoldsNobodyElseUp lets a caller go while the fetch that it waits for
// hangs, and leaves other issuers' callers alone.
func TestSlowIssuerHoldsNobodyElseUp(t *testing.T) {
	p := newProvider(t, httptest.NewServer)
	hang := make(chan struct{})
	reached := make(chan struct{})
	p.set(func(_ http.ResponseWriter, r *http.Request) { close(reached); <-hang }, nil)
	w, c := theWorld(), newClock()
	v, err := New(Config{Now: c.now, Issuers: []Issuer{p.record(), w.issuers["ed"]}})
	if err != nil {
		t.Fatal(err)
	}
	first := make(chan error)
	go func() {
		_, err := bearer(v, p.token("k1", noon, nil))
		first <- err
	}()
	<-reached
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = v.Verify(gone, Credentials{Authorization: []string{"Bearer " + p.token("k1", noon, nil)}})
	wantReason(t, err, KeysAway)
	wantGood(t, v, w.sign(header(nil), body(nil), w.byEd))
	close(hang)
	wantReason(t, <-first, KeysAway)
}

// TestServiceAccount takes a token as the Kubernetes TokenRequest API gives it, by the
// API server's discovery document: the header has no type, and the set says so.
func TestServiceAccount(t *testing.T) {
	p := newProvider(t, httptest.NewTLSServer)
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw}))
	v, c := newDiscovering(t, p, func(i *Issuer) {
		i.CA, i.Audience, i.Environment = ca, "pavise", "prod"
		i.Claims = ClaimMap{Kind: "'workload'", Roles: "['caller']", Require: "claims['kubernetes.io'].namespace == 'ml'"}
	})
	token := func(namespace, name string) string {
		return theWorld().sign(members{"alg": "EdDSA", "kid": "k1"}, members{
			"aud": []string{"pavise"}, "iss": p.URL, "jti": "5c1b", "iat": c.now().Unix(), "nbf": c.now().Unix(), "exp": c.now().Add(time.Hour).Unix(),
			"sub": "system:serviceaccount:" + namespace + ":" + name,
			"kubernetes.io": members{
				"namespace": namespace, "node": members{"name": "n1", "uid": "1"}, "pod": members{"name": "p-0", "uid": "2"},
				"serviceaccount": members{"name": name, "uid": "3"},
			},
		}, func(in []byte) []byte { return ed25519.Sign(p.keys["k1"], in) })
	}
	who := wantGood(t, v, token("ml", "trainer"))
	if who.Name().String() != "acme/workload/system:serviceaccount:ml:trainer" || who.Environment != "prod" || !who.HasRole("caller") {
		t.Errorf("the token proves %+v", who)
	}
	wantBad(t, v, token("default", "trainer"), Condition)
}

func TestRunRenews(t *testing.T) {
	p := newProvider(t, httptest.NewServer)
	v, _ := newDiscovering(t, p)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- v.Run(ctx) }()
	for v.records[p.URL].ring.Load() == nil {
		time.Sleep(time.Millisecond)
	}
	stop()
	if err := <-done; err != nil || p.fetches.Load() != 1 {
		t.Errorf("Run = %v after %d fetches", err, p.fetches.Load())
	}
}

func TestDiscoveringRecordRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(*Issuer)
		msg  string
	}{
		{"plain http", func(i *Issuer) { i.URL = "http://issuer.example" }, "is not https"},
		{"a loopback name that is none", func(i *Issuer) { i.URL = "http://127.0.0.1.evil.example" }, "is not https"},
		{"a file", func(i *Issuer) { i.URL = "file:///etc/passwd" }, "is not"},
		{"a query", func(i *Issuer) { i.URL = "https://issuer.example?x=1" }, "has a query"},
		{"a user", func(i *Issuer) { i.URL = "https://a:b@issuer.example" }, "has a user"},
		{"a fragment", func(i *Issuer) { i.URL = "https://issuer.example#" }, "fragment"},
		{"no URL at all", func(i *Issuer) { i.URL = "issuer" }, "is not absolute"},
		{"pinned keys besides", func(i *Issuer) { i.Keys = theWorld().issuers["ed"].Keys }, "pinned and to be discovered"},
		{"a CA that is none", func(i *Issuer) { i.CA = "x" }, "has no certificate"},
		{"keys kept too long", func(i *Issuer) { i.Stale = MaxStale + 1 }, "Stale"},
	} {
		i := theWorld().issuers["ed"]
		i.URL, i.Keys, i.Discover = "https://issuer.example", KeySet{}, true
		tt.edit(&i)
		_, err := NewVerifier(time.Now, i)
		if err == nil {
			t.Errorf("%s: no error", tt.name)
			continue
		}
		wantInvalid(t, err, tt.msg)
	}
}

func FuzzDiscovery(f *testing.F) {
	const issuer = "https://issuer.example"
	f.Add([]byte(marshal(members{"issuer": issuer, "jwks_uri": issuer + "/jwks", "token_endpoint": issuer + "/token"})))
	f.Add([]byte(`{"issuer":"https://issuer.example","jwks_uri":"http://127.0.0.1/"}`))
	f.Add([]byte(`{"issuer":7}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseMetadata(issuer, b)
		if err != nil {
			if pavise.KindOf(err) != pavise.Unverified {
				t.Fatalf("error %v is not unverified", err)
			}
			return
		}
		for _, at := range []string{m.JWKS, m.Token, m.Device, m.Authorization} {
			if at != "" && !strings.HasPrefix(strings.ToLower(at), "https://") {
				t.Fatalf("%q leads to %q", b, at)
			}
		}
		if m.Issuer != issuer || m.JWKS == "" {
			t.Fatalf("%q is taken as %+v", b, m)
		}
	})
}

// TestNoWayDownFromHTTPS refuses a configuration that an issuer serves encrypted and
// that leads to this machine in clear text, however the scheme is spelled.
func TestNoWayDownFromHTTPS(t *testing.T) {
	for _, name := range []string{"jwks_uri", "authorization_endpoint", "token_endpoint", "device_authorization_endpoint"} {
		for _, at := range []string{"http://127.0.0.1:8080/x", "HTTP://127.0.0.1:8080/x", "hTTp://localhost/x", "Http://[::1]/x"} {
			doc := merge(members{"issuer": "https://id.example", "jwks_uri": "https://id.example/jwks"}, members{name: at})
			if m, err := parseMetadata("https://id.example", []byte(marshal(doc))); pavise.KindOf(err) != pavise.Unverified {
				t.Errorf("%s %s: %+v, %v", name, at, m, err)
			}
		}
	}
}
