package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/pavise/pavise"
)

// A holder has a key that tokens are bound to, and signs proofs with the standard
// library alone.
type holder struct {
	key *ecdsa.PrivateKey
	jwk members
	jkt string
}

func newHolder() *holder {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	point, err := key.PublicKey.Bytes() // 4, x, y
	if err != nil {
		panic(err)
	}
	x, y := encode(point[1:33]), encode(point[33:])
	// RFC 7638: the required members in order, without spaces.
	sum := sha256.Sum256([]byte(`{"crv":"P-256","kty":"EC","x":"` + x + `","y":"` + y + `"}`))
	return &holder{key: key, jwk: members{"kty": "EC", "crv": "P-256", "x": x, "y": y}, jkt: encode(sum[:])}
}

func (h *holder) sign(input []byte) []byte {
	sum := sha256.Sum256(input)
	r, s, err := ecdsa.Sign(rand.Reader, h.key, sum[:])
	if err != nil {
		panic(err)
	}
	return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
}

const origin = "https://pavise.example"

// proof makes a proof for a POST to /v1/x with the token.
func (h *holder) proof(token string, head, claims members) string {
	sum := sha256.Sum256([]byte(token))
	return theWorld().sign(
		merge(members{"typ": "dpop+jwt", "alg": "ES256", "jwk": h.jwk}, head),
		merge(members{"jti": rand.Text(), "htm": "POST", "htu": origin + "/v1/x", "iat": noon.Unix(), "ath": encode(sum[:])}, claims),
		h.sign)
}

func (h *holder) token(with members) string {
	w := theWorld()
	return w.sign(header(nil), body(merge(members{"cnf": members{"jkt": h.jkt}}, with)), w.byEd)
}

// bound is a verifier that is reached as origin.
func bound(t testing.TB, edit ...func(*Config)) (*Verifier, *clock) {
	t.Helper()
	c := newClock()
	cfg := Config{Now: c.now, Issuers: []Issuer{theWorld().issuers["ed"]}, Origins: []string{"https://Pavise.example:443/"}}
	for _, e := range edit {
		e(&cfg)
	}
	v, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return v, c
}

// post are the credentials of a POST to /v1/x.
func post(scheme, token string, proofs ...string) Credentials {
	return Credentials{Authorization: []string{scheme + " " + token}, DPoP: proofs, Method: "POST", URL: "/v1/x"}
}

func TestDPoP(t *testing.T) {
	h := newHolder()
	token := h.token(nil)
	for name, tt := range map[string]struct {
		head, claims members
		edit         func(*Credentials)
	}{
		"plain":                          {},
		"scheme in another case":         {edit: func(c *Credentials) { c.Authorization[0] = "dpop " + token }},
		"a query in both":                {claims: members{"htu": origin + "/v1/x?a=b#c"}, edit: func(c *Credentials) { c.URL = "/v1/x?z=1" }},
		"host in capitals, default port": {claims: members{"htu": "HTTPS://PAVISE.EXAMPLE:443/v1/x"}},
		"path escaped without need":      {claims: members{"htu": origin + "/v1/%78"}},
		"path escaped in small letters":  {claims: members{"htu": origin + "/v1/a%2fb"}, edit: func(c *Credentials) { c.URL = "/v1/a%2Fb" }},
		"a minute old":                   {claims: members{"iat": noon.Add(-90 * time.Second).Unix()}},
		"of a clock that is ahead":       {claims: members{"iat": noon.Add(90 * time.Second).Unix()}},
		"a key id besides":               {head: members{"kid": "x"}},
		"claims of others":               {claims: members{"nonce": "n", "exp": 1}},
	} {
		v, _ := bound(t)
		c := post("DPoP", token, h.proof(token, tt.head, tt.claims))
		if tt.edit != nil {
			tt.edit(&c)
		}
		who, err := v.Verify(t.Context(), c)
		if err != nil || who.ID != "alice@acme" || who.Proof != "dpop" {
			t.Errorf("%s: %+v, %v", name, who, err)
		}
	}
}

// TestStolenTokens is the table of bound tokens that others than their holder send, and
// of proofs that prove nothing.
func TestStolenTokens(t *testing.T) {
	w, h, thief := theWorld(), newHolder(), newHolder()
	token := h.token(nil)
	free := w.sign(header(nil), body(nil), w.byEd)
	good := h.proof(token, nil, nil)
	parts := strings.Split(good, ".")
	_, private, _ := ed25519.GenerateKey(rand.Reader)
	under := func(head members) []string { return []string{h.proof(token, head, nil)} }
	with := func(claims members) []string { return []string{h.proof(token, nil, claims)} }
	raw := func(head, claims any, sign func([]byte) []byte) []string { return []string{w.sign(head, claims, sign)} }
	plainClaims := members{"jti": "a", "htm": "POST", "htu": origin + "/v1/x", "iat": noon.Unix(), "ath": encode(sumOf(token))}
	for _, tt := range []struct {
		name, scheme, token string
		proofs              []string
		want                Reason
	}{
		{"as a bearer token", "Bearer", token, nil, NotHolder},
		{"as a bearer token, with a good proof", "Bearer", token, []string{good}, NotHolder},
		{"without a proof", "DPoP", token, nil, NotHolder},
		{"with the thief's proof", "DPoP", token, []string{thief.proof(token, nil, nil)}, NotHolder},
		{"with the holder's key and the thief's signature", "DPoP", token, []string{thief.proof(token, members{"jwk": h.jwk}, nil)}, BadProof},
		{"unbound, as if it were bound", "DPoP", free, []string{h.proof(free, nil, nil)}, Unbound},
		{"two proofs", "DPoP", token, []string{good, good}, BadProof},
		{"an empty proof", "DPoP", token, []string{""}, BadProof},
		{"two parts", "DPoP", token, []string{parts[0] + "." + parts[1]}, BadProof},
		{"no signature", "DPoP", token, []string{parts[0] + "." + parts[1] + "."}, BadProof},
		{"a huge proof", "DPoP", token, with(members{"pad": strings.Repeat("x", maxProof)}), BadProof},
		{"the token as its own proof", "DPoP", token, []string{token}, BadProof},

		{"type JWT", "DPoP", token, under(members{"typ": "JWT"}), BadProof},
		{"no type", "DPoP", token, under(members{"typ": nil}), BadProof},
		{"type in another case", "DPoP", token, under(members{"typ": "DPOP+JWT"}), BadProof},
		{"no key", "DPoP", token, under(members{"jwk": nil}), BadProof},
		{"a private key", "DPoP", token, under(members{"jwk": merge(members{"d": encode(make([]byte, 32))}, h.jwk)}), BadProof},
		{"a symmetric key", "DPoP", token, raw(members{"typ": "dpop+jwt", "alg": "HS256", "jwk": members{"kty": "oct", "k": "c2VjcmV0"}}, plainClaims, byHMAC([]byte("secret"))), BadProof},
		{"none", "DPoP", token, raw(members{"typ": "dpop+jwt", "alg": "none", "jwk": h.jwk}, plainClaims, unsigned), BadProof},
		{"HS256 with the public key", "DPoP", token, raw(members{"typ": "dpop+jwt", "alg": "HS256", "jwk": h.jwk}, plainClaims, byHMAC([]byte(marshal(h.jwk)))), BadProof},
		{"algorithm of another key", "DPoP", token, under(members{"alg": "EdDSA"}), BadProof},
		{"another curve's algorithm", "DPoP", token, under(members{"alg": "ES384"}), BadProof},
		{"a key from elsewhere", "DPoP", token, under(members{"jku": "https://evil.example"}), BadProof},
		{"a certificate", "DPoP", token, under(members{"x5c": []string{"AA=="}}), BadProof},
		{"a critical extension", "DPoP", token, under(members{"crit": []string{"b64"}, "b64": false}), BadProof},
		{"a private key of another type", "DPoP", token, under(members{"jwk": json.RawMessage(marshal(jose.JSONWebKey{Key: private}))}), BadProof},
		{"a key twice", "DPoP", token, []string{w.sign(`{"typ":"dpop+jwt","alg":"ES256","jwk":`+marshal(thief.jwk)+`,"jwk":`+marshal(h.jwk)+`}`, plainClaims, thief.sign)}, BadProof},

		{"another method", "DPoP", token, with(members{"htm": "GET"}), WrongTarget},
		{"the method in small letters", "DPoP", token, with(members{"htm": "post"}), WrongTarget},
		{"no method", "DPoP", token, with(members{"htm": nil}), BadProof},
		{"another path", "DPoP", token, with(members{"htu": origin + "/v1/y"}), WrongTarget},
		{"a path in another case", "DPoP", token, with(members{"htu": origin + "/V1/x"}), WrongTarget},
		{"a slash more", "DPoP", token, with(members{"htu": origin + "/v1/x/"}), WrongTarget},
		{"a path that leads back", "DPoP", token, with(members{"htu": origin + "/v1/y/../x"}), WrongTarget},
		{"the path alone", "DPoP", token, with(members{"htu": "/v1/x"}), WrongTarget},
		{"another host", "DPoP", token, with(members{"htu": "https://evil.example/v1/x"}), WrongTarget},
		{"our host as a user", "DPoP", token, with(members{"htu": "https://pavise.example@evil.example/v1/x"}), WrongTarget},
		{"our host in another", "DPoP", token, with(members{"htu": "https://pavise.example.evil.example/v1/x"}), WrongTarget},
		{"another port", "DPoP", token, with(members{"htu": "https://pavise.example:8443/v1/x"}), WrongTarget},
		{"without https", "DPoP", token, with(members{"htu": "http://pavise.example/v1/x"}), WrongTarget},
		{"http on the port of https", "DPoP", token, with(members{"htu": "http://pavise.example:443/v1/x"}), WrongTarget},
		{"another scheme", "DPoP", token, with(members{"htu": "ftp://pavise.example/v1/x"}), WrongTarget},

		{"for another token", "DPoP", token, []string{h.proof(free, nil, nil)}, WrongToken},
		{"for no token", "DPoP", token, with(members{"ath": nil}), WrongToken},
		{"old", "DPoP", token, with(members{"iat": noon.Add(-91 * time.Second).Unix()}), StaleProof},
		{"five minutes behind", "DPoP", token, with(members{"iat": noon.Add(-5 * time.Minute).Unix()}), StaleProof},
		{"five minutes ahead", "DPoP", token, with(members{"iat": noon.Add(5 * time.Minute).Unix()}), StaleProof},
		{"no time", "DPoP", token, with(members{"iat": nil}), BadProof},
		{"time as text", "DPoP", token, with(members{"iat": "now"}), BadProof},
		{"no id", "DPoP", token, with(members{"jti": nil}), BadProof},
		{"an empty id", "DPoP", token, with(members{"jti": ""}), BadProof},
		{"a long id", "DPoP", token, with(members{"jti": strings.Repeat("x", maxProofID+1)}), BadProof},
		{"an id twice", "DPoP", token, []string{w.sign(members{"typ": "dpop+jwt", "alg": "ES256", "jwk": h.jwk}, `{"jti":"a","jti":"b",`+marshal(plainClaims)[1:], h.sign)}, BadProof},

		{"bound in a way nobody knows", "Bearer", w.sign(header(nil), body(members{"cnf": members{"kid": "x"}}), w.byEd), nil, Malformed},
		{"bound to nothing", "Bearer", w.sign(header(nil), body(members{"cnf": members{}}), w.byEd), nil, Malformed},
		{"bound to what is no thumbprint", "Bearer", w.sign(header(nil), body(members{"cnf": members{"jkt": "x"}}), w.byEd), nil, Malformed},
		{"bound to null", "Bearer", w.sign(header(nil), strings.TrimSuffix(marshal(body(nil)), "}")+`,"cnf":null}`, w.byEd), nil, Malformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, _ := bound(t)
			_, err := v.Verify(t.Context(), post(tt.scheme, tt.token, tt.proofs...))
			wantRefusal(t, err, tt.want)
			if strings.Contains(err.Error(), h.jkt[:8]) || strings.Contains(err.Error(), "evil") {
				t.Errorf("the error %q quotes the proof", err)
			}
		})
	}
}

func sumOf(s string) []byte {
	sum := sha256.Sum256([]byte(s))
	return sum[:]
}

// TestReplay uses a proof again: at once, at the end of its time, and in many hands at a
// time.
func TestReplay(t *testing.T) {
	h := newHolder()
	token := h.token(nil)
	v, c := bound(t)
	proof := h.proof(token, nil, members{"iat": noon.Add(80 * time.Second).Unix()})
	if _, err := v.Verify(t.Context(), post("DPoP", token, proof)); err != nil {
		t.Fatal(err)
	}
	for _, step := range []time.Duration{0, time.Minute, 100 * time.Second, 10 * time.Second} { // to the last second
		c.move(step)
		_, err := v.Verify(t.Context(), post("DPoP", token, proof))
		wantRefusal(t, err, Replayed)
	}
	c.move(time.Second)
	_, err := v.Verify(t.Context(), post("DPoP", token, proof))
	wantRefusal(t, err, StaleProof)

	v, _ = bound(t)
	proof = h.proof(token, nil, nil)
	results := make(chan error)
	for range 20 {
		go func() {
			_, err := v.Verify(context.Background(), post("DPoP", token, proof))
			results <- err
		}()
	}
	good := 0
	for range 20 {
		if <-results == nil {
			good++
		}
	}
	if good != 1 {
		t.Errorf("one proof was good %d times", good)
	}
}

// TestRefusedProofIsNotUsed: who is refused for something else may try again.
func TestRefusedProofIsNotUsed(t *testing.T) {
	h := newHolder()
	token := h.token(nil)
	v, _ := bound(t)
	proof := h.proof(token, nil, nil)
	c := post("DPoP", token, proof)
	c.Method = "GET"
	_, err := v.Verify(t.Context(), c)
	wantRefusal(t, err, WrongTarget)
	if _, err := v.Verify(t.Context(), post("DPoP", token, proof)); err != nil {
		t.Errorf("the right request: %v", err)
	}
}

// TestNoOriginNoDPoP: the Host header is no origin.
func TestNoOriginNoDPoP(t *testing.T) {
	h := newHolder()
	token := h.token(nil)
	v, _ := bound(t, func(c *Config) { c.Origins = nil })
	_, err := v.Verify(t.Context(), post("DPoP", token, h.proof(token, nil, nil)))
	wantRefusal(t, err, WrongTarget)
	for _, o := range []string{"pavise.example", "ftp://pavise.example", "https://a@pavise.example", "https://pavise.example/path", ""} {
		if _, err := New(Config{Now: time.Now, Origins: []string{o}}); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("origin %q: %v", o, err)
		}
	}
}

// TestReplaysAreShared fills the memory of proofs: nobody can fill it for others, and
// when it is full nothing is forgotten.
func TestReplaysAreShared(t *testing.T) {
	r := newReplays(80)
	spend := func(key, caller, issuer string, n int) error {
		return r.use(noon, noon.Add(time.Minute), use{proof: fmt.Sprint(key, n), key: key, caller: pavise.Name{Tenant: "t", Kind: "workload", ID: caller}, issuer: issuer})
	}
	fill := func(key, caller, issuer string) (n int, err error) {
		for ; err == nil; n++ {
			err = spend(key, caller, issuer, n)
		}
		return n - 1, err
	}
	for _, tt := range []struct {
		key, caller, issuer string
		want                int
		kind                pavise.Kind
	}{
		{"k1", "a", "i", 10, pavise.Throttled}, // an eighth for the key
		{"k2", "a", "i", 10, pavise.Throttled},
		{"k3", "a", "i", 0, pavise.Throttled}, // a quarter for the caller
		{"k4", "b", "i", 10, pavise.Throttled},
		{"k5", "c", "i", 10, pavise.Throttled},
		{"k6", "d", "i", 0, pavise.Throttled}, // half for the issuer
		{"k7", "e", "j", 10, pavise.Throttled},
		{"k8", "f", "j", 10, pavise.Throttled},
		{"k9", "g", "j", 10, pavise.Throttled},
		{"ka", "h", "j", 10, pavise.Unavailable},
		{"kb", "l", "k", 0, pavise.Unavailable}, // all
	} {
		n, err := fill(tt.key, tt.caller, tt.issuer)
		if refusal, ok := errors.AsType[*Refusal](err); n != tt.want || pavise.KindOf(err) != tt.kind || !ok || refusal.Reason != ProofsFull {
			t.Errorf("%s of %s of %s: %d uses, then %v; want %d, then %v", tt.key, tt.caller, tt.issuer, n, err, tt.want, tt.kind)
		}
	}
	if err := spend("k1", "a", "i", 0); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("the first use was forgotten: %v", err)
	}
	later := noon.Add(time.Minute + 2*slotTime)
	if err := r.use(later, later.Add(time.Minute), use{proof: "x", key: "k1", caller: pavise.Name{ID: "a"}, issuer: "i"}); err != nil {
		t.Errorf("after their time: %v", err)
	}
	if r.used != 1 || len(r.owed) != 3 || len(r.slots) != 1 {
		t.Errorf("what is too old was kept: %d, %v", r.used, r.owed)
	}
}

// TestBoundRecord refuses what is bound to nothing where the record wants it bound.
func TestBoundRecord(t *testing.T) {
	w, h := theWorld(), newHolder()
	i := w.issuers["ed"]
	i.Bound = true
	v, _ := bound(t, func(c *Config) { c.Issuers = []Issuer{i} })
	_, err := bearer(v, w.sign(header(nil), body(nil), w.byEd))
	wantRefusal(t, err, Unbound)
	token := h.token(nil)
	if _, err := v.Verify(t.Context(), post("DPoP", token, h.proof(token, nil, nil))); err != nil {
		t.Error(err)
	}
}

// TestCertificateBoundToken is RFC 8705: a bearer token that is good over one client
// certificate alone.
func TestCertificateBoundToken(t *testing.T) {
	w := theWorld()
	cert, other := &x509.Certificate{Raw: []byte("one")}, &x509.Certificate{Raw: []byte("other")}
	token := w.sign(header(nil), body(members{"cnf": members{"x5t#S256": encode(sumOf("one"))}}), w.byEd)
	v, _ := bound(t)
	c := post("Bearer", token)
	for name, state := range map[string]*tls.ConnectionState{
		"no encryption": nil, "no certificate": {}, "another": {PeerCertificates: []*x509.Certificate{other, cert}},
	} {
		c.TLS = state
		_, err := v.Verify(t.Context(), c)
		t.Log(name)
		wantRefusal(t, err, NotHolder)
	}
	c.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}
	who, err := v.Verify(t.Context(), c)
	if err != nil || who.Proof != "bearer+mtls" {
		t.Errorf("%+v, %v", who, err)
	}
	// Bound to both, it takes both.
	h := newHolder()
	both := h.token(members{"cnf": members{"jkt": h.jkt, "x5t#S256": encode(sumOf("one"))}})
	c = post("DPoP", both, h.proof(both, nil, nil))
	_, err = v.Verify(t.Context(), c)
	wantRefusal(t, err, NotHolder)
	c.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}
	if _, err := v.Verify(t.Context(), c); err != nil {
		t.Error(err)
	}
}

// TestPresent is a token in a form, as at a token endpoint.
func TestPresent(t *testing.T) {
	w, h, thief := theWorld(), newHolder(), newHolder()
	v, _ := bound(t)
	c := func(proofs ...string) Credentials { return Credentials{DPoP: proofs, Method: "POST", URL: "/v1/x"} }
	proofOf := func(h *holder) string { return h.proof("", nil, members{"ath": nil}) }
	token, free := h.token(nil), w.sign(header(nil), body(nil), w.byEd)

	present := func(c Credentials, tokens ...string) (Proof, error) {
		proofs, err := v.Present(t.Context(), c, tokens...)
		if err != nil {
			return Proof{}, err
		}
		return proofs[0], nil
	}
	p, err := present(c(proofOf(h)), token)
	if err != nil || p.Held.JKT != h.jkt || p.Bound.JKT != h.jkt || p.Principal.ID != "alice@acme" {
		t.Errorf("the holder: %+v, %v", p, err)
	}
	p, err = present(c(proofOf(thief)), free)
	if err != nil || p.Held.JKT != thief.jkt || p.Bound != (Keys{}) {
		t.Errorf("a free token and a key: %+v, %v", p, err)
	}
	if p, err = present(c(), free); err != nil || p.Held != (Keys{}) {
		t.Errorf("a free token alone: %+v, %v", p, err)
	}
	if p, err = present(c(proofOf(h)), free, token); err != nil || p.Principal.Proof != "bearer" || p.Held.JKT != h.jkt {
		t.Errorf("a free token of somebody and a bound one of one's own: %+v, %v", p, err)
	}
	if _, err = present(c(proofOf(thief)), token, free); err == nil {
		t.Error("a stolen bound token beside one's own was good")
	}
	for _, tt := range []struct {
		name, token string
		c           Credentials
		want        Reason
	}{
		{"bound, without proof", token, c(), NotHolder},
		{"bound, with the thief's", token, c(proofOf(thief)), NotHolder},
		{"a proof for a token", token, c(h.proof(token, nil, nil)), WrongToken},
		{"nothing", "", c(), Missing},
		{"too long", strings.Repeat("a", MaxToken+1), c(), Oversized},
	} {
		_, err := present(tt.c, tt.token)
		t.Log(tt.name)
		wantRefusal(t, err, tt.want)
	}
}

// FuzzProof holds the parser of proofs to its word: the only proof that is taken is the
// one that the holder made. Keys and times are fixed, so that what one process finds
// means the same in another.
func FuzzProof(f *testing.F) {
	issuerKey, key := ed25519.NewKeyFromSeed(make([]byte, 32)), ed25519.NewKeyFromSeed([]byte("the key of one who holds tokens."))
	by := func(k ed25519.PrivateKey) func([]byte) []byte {
		return func(in []byte) []byte { return ed25519.Sign(k, in) }
	}
	w := theWorld()
	i := w.issuers["ed"]
	i.Keys = KeySet{Keys: []jose.JSONWebKey{{Key: issuerKey.Public(), KeyID: "ed-1"}}}
	x := encode(key.Public().(ed25519.PublicKey))
	jkt := encode(sumOf(`{"crv":"Ed25519","kty":"OKP","x":"` + x + `"}`))
	token := w.sign(header(nil), body(members{"cnf": members{"jkt": jkt}}), by(issuerKey))
	proof := func(head, claims members) string {
		return w.sign(merge(members{"typ": "dpop+jwt", "alg": "EdDSA", "jwk": members{"kty": "OKP", "crv": "Ed25519", "x": x}}, head),
			merge(members{"jti": "j", "htm": "POST", "htu": origin + "/v1/x", "iat": noon.Unix(), "ath": encode(sumOf(token))}, claims), by(key))
	}
	good := proof(nil, nil)
	f.Add(good)
	f.Add(proof(members{"jwk": members{"kty": "RSA", "n": "AQAB", "e": "AQAB"}}, nil))
	f.Add(proof(members{"jwk": members{"kty": "OKP", "crv": "Ed25519", "x": ""}}, nil))
	f.Add(proof(nil, members{"htu": "https://[::1]:x/%"}))
	f.Add("e30.e30.")
	f.Fuzz(func(t *testing.T, proof string) {
		v, _ := bound(t, func(c *Config) { c.Issuers = []Issuer{i} })
		_, err := v.Verify(t.Context(), post("DPoP", token, proof))
		if err == nil {
			if proof != good {
				t.Fatalf("%q proves possession", proof)
			}
			return
		}
		if refusal, ok := errors.AsType[*Refusal](err); !ok || advice[refusal.Reason].msg == "" || pavise.KindOf(err) != pavise.Unverified || proof == good {
			t.Fatalf("refused with %v", err)
		}
	})
}

// FuzzURL compares two spellings of an URL only if they lead to the same place.
func FuzzURL(f *testing.F) {
	f.Add("https://Pavise.example:443/v1/%78?a#b")
	f.Add("https://[::1]:8470/")
	f.Add("https://a@b/%zz")
	f.Fuzz(func(t *testing.T, s string) {
		o, path, ok := splitURL(s)
		if !ok {
			return
		}
		again, same, ok := splitURL(o + path)
		if !ok || again != o || same != path || !strings.HasPrefix(path, "/") {
			t.Fatalf("%q is %q and %q, and those are %q and %q", s, o, path, again, same)
		}
	})
}
