package identity

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/pavise/pavise"
)

func TestNewVerifierRefuses(t *testing.T) {
	w := theWorld()
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	keys := func(k ...jose.JSONWebKey) KeySet { return KeySet{Keys: k} }
	edKey := jose.JSONWebKey{Key: w.ed.Public(), KeyID: "ed-1"}
	for _, tt := range []struct {
		name string
		edit func(*Issuer)
		msg  string
	}{
		{"no URL", func(i *Issuer) { i.URL = "" }, "URL is empty"},
		{"no audience", func(i *Issuer) { i.Audience = "" }, "Audience is empty"},
		{"no tenant", func(i *Issuer) { i.Tenant = "" }, "Tenant"},
		{"tenant with a slash", func(i *Issuer) { i.Tenant = "a/b" }, "Tenant"},
		{"no lifetime", func(i *Issuer) { i.MaxTTL = 0 }, "MaxTTL"},
		{"negative leeway", func(i *Issuer) { i.Leeway = -1 }, "Leeway"},
		{"long leeway", func(i *Issuer) { i.Leeway = time.Hour }, "Leeway"},
		{"no keys", func(i *Issuer) { i.Keys = KeySet{} }, "Keys is empty"},
		{"no algorithms", func(i *Issuer) { i.Algorithms = nil }, "Algorithms is empty"},
		{"none", func(i *Issuer) { i.Algorithms = []Algorithm{"none"} }, `"none"`},
		{"none beside a good one", func(i *Issuer) { i.Algorithms = []Algorithm{jose.EdDSA, "none"} }, `"none"`},
		{"shared secret", func(i *Issuer) { i.Algorithms = []Algorithm{jose.EdDSA, jose.HS256} }, "HS256, which needs a shared secret"},
		{"unknown algorithm", func(i *Issuer) { i.Algorithms = []Algorithm{"XX1"} }, `"XX1"`},
		{"empty role", func(i *Issuer) { i.Roles = []string{""} }, "empty role"},
		{"private key", func(i *Issuer) { i.Keys = keys(jose.JSONWebKey{Key: w.ed, KeyID: "a"}) }, "key 0 is not a public key"},
		{"symmetric key", func(i *Issuer) { i.Keys = keys(jose.JSONWebKey{Key: []byte("secret"), KeyID: "a"}) }, "key 0 is not a public key"},
		{"no key in the key", func(i *Issuer) { i.Keys = keys(jose.JSONWebKey{KeyID: "a"}) }, "key 0 is not a public key"},
		{"no kid", func(i *Issuer) { i.Keys = keys(jose.JSONWebKey{Key: w.ed.Public()}) }, "key 0 has no kid"},
		{"same kid", func(i *Issuer) { i.Keys = keys(edKey, edKey) }, "key 1 has the kid of another"},
		{"encryption key", func(i *Issuer) { i.Keys = keys(jose.JSONWebKey{Key: w.ed.Public(), KeyID: "a", Use: "enc"}) }, "key 0 is for the use"},
		{"key no algorithm uses", func(i *Issuer) { i.Keys = keys(edKey, jose.JSONWebKey{Key: w.ec.Public(), KeyID: "b"}) }, "key 1 is of no type"},
		{"short RSA key", func(i *Issuer) {
			i.Algorithms, i.Keys = []Algorithm{jose.RS256}, keys(jose.JSONWebKey{Key: small.Public(), KeyID: "a"})
		}, "RSA key of 1024 bits"},
		{"long RSA key", func(i *Issuer) {
			n := new(big.Int).Lsh(big.NewInt(1), 8192)
			i.Algorithms, i.Keys = []Algorithm{jose.RS256}, keys(jose.JSONWebKey{Key: &rsa.PublicKey{N: n, E: 65537}, KeyID: "a"})
		}, "RSA key of 8193 bits"},
		{"RSA key whose signatures are the messages", func(i *Issuer) {
			i.Algorithms, i.Keys = []Algorithm{jose.RS256}, keys(jose.JSONWebKey{Key: &rsa.PublicKey{N: w.rsa.N, E: 1}, KeyID: "a"})
		}, "exponent 1"},
		{"two records of one issuer", func(i *Issuer) { i.URL = "https://ec.example" }, "is in two records"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			i := w.issuers["ed"]
			tt.edit(&i)
			_, err := NewVerifier(time.Now, w.issuers["ec"], i)
			wantInvalid(t, err, tt.msg)
		})
	}
}

// TestRecordIsACopy changes the caller's slices afterwards: a record is pinned.
func TestRecordIsACopy(t *testing.T) {
	w := theWorld()
	i := w.issuers["ed"]
	i.Roles, i.Algorithms = []string{"caller"}, []Algorithm{jose.EdDSA}
	i.Keys = KeySet{Keys: []jose.JSONWebKey{{Key: w.ed.Public(), KeyID: "ed-1"}}}
	v, err := NewVerifier(func() time.Time { return noon }, i)
	if err != nil {
		t.Fatal(err)
	}
	i.Roles[0], i.Algorithms[0], i.Keys.Keys[0] = "x", jose.HS256, jose.JSONWebKey{}
	if _, err := bearer(v, w.sign(header(nil), body(nil), w.byEd)); err != nil {
		t.Errorf("the record changed: %v", err)
	}
}

// TestKeyAlgorithm pins a key to one algorithm of several that its type allows.
func TestKeyAlgorithm(t *testing.T) {
	w := theWorld()
	i := w.issuers["rsa"]
	i.Algorithms = []Algorithm{jose.PS256, jose.RS256}
	i.Keys = KeySet{Keys: []jose.JSONWebKey{{Key: w.rsa.Public(), KeyID: "rsa-1", Algorithm: "PS256"}}}
	v, err := NewVerifier(func() time.Time { return noon }, i)
	if err != nil {
		t.Fatal(err)
	}
	_, err = bearer(v, w.sign(members{"alg": "RS256", "kid": "rsa-1"}, body(members{"iss": i.URL}), w.byRSA))
	wantRefusal(t, err, WrongAlgorithm)
}

func TestDemo(t *testing.T) {
	w := theWorld()
	i := w.issuers["ed"]
	i.Demo = true
	v, err := NewVerifier(time.Now, i, w.issuers["ec"])
	if err != nil || !v.Demo() || w.verifier.Demo() {
		t.Errorf("Demo = %v and %v, want true and false; %v", v.Demo(), w.verifier.Demo(), err)
	}
}

func TestNoIssuers(t *testing.T) {
	v, err := NewVerifier(time.Now)
	if err != nil {
		t.Fatal(err)
	}
	w := theWorld()
	_, err = bearer(v, w.sign(header(nil), body(nil), w.byEd))
	wantRefusal(t, err, WrongIssuer)
}

func TestParseJWKS(t *testing.T) {
	w := theWorld()
	set := jwks(t, jose.JSONWebKey{Key: w.ed.Public(), KeyID: "a"}, jose.JSONWebKey{Key: w.ec.Public(), KeyID: "b", Use: "sig"},
		jose.JSONWebKey{Key: w.rsa.Public(), KeyID: "c", Algorithm: "RS256"}, jose.JSONWebKey{Key: w.rsa.Public(), KeyID: "c", Use: "enc"})
	keys, err := ParseJWKS(set)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, k := range keys.Keys {
		got = append(got, fmt.Sprintf("%s %T", k.KeyID, k.Key))
	}
	if want := "a ed25519.PublicKey,b *ecdsa.PublicKey,c *rsa.PublicKey"; strings.Join(got, ",") != want {
		t.Errorf("keys = %v, want %s", got, want)
	}
}

func TestParseJWKSRefuses(t *testing.T) {
	w := theWorld()
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	ed := string(jwks(t, jose.JSONWebKey{Key: w.ed.Public(), KeyID: "a"}))
	one := strings.TrimSuffix(strings.TrimPrefix(ed, `{"keys":[`), `]}`)
	n := encode(w.rsa.N.Bytes())
	for _, tt := range []struct{ name, set, msg string }{
		{"nothing", "", "is not a JSON object"},
		{"an array", "[" + one + "]", "is not a JSON object"},
		{"a single key", one, `has no array "keys"`},
		{"no keys", `{"keys":[]}`, `has no array "keys"`},
		{"keys is null", `{"keys":null}`, `has no array "keys"`},
		{"keys twice", `{"keys":[` + one + `],"keys":[]}`, "has a member twice"},
		{"keys in two cases", `{"keys":[` + one + `],"Keys":[]}`, "has a member twice"},
		{"too many keys", `{"keys":[` + strings.Repeat(one+",", 64) + one + `]}`, "of 1 to 64 keys"},
		{"too long", ed + strings.Repeat(" ", maxKeySet), "more than"},
		{"text", `{"keys":["a"]}`, "key 0 is not an object"},
		{"private Ed25519", string(jwks(t, jose.JSONWebKey{Key: w.ed, KeyID: "a"})), `key 0 has the member "d"`},
		{"private EC", string(jwks(t, jose.JSONWebKey{Key: w.ec, KeyID: "a"})), `key 0 has the member "d"`},
		{"private RSA", string(jwks(t, jose.JSONWebKey{Key: w.rsa, KeyID: "a"})), `key 0 has the member "d"`},
		{"an RSA prime alone", `{"keys":[{"kty":"RSA","kid":"a","e":"AQAB","p":"AQ","n":"` + n + `"}]}`, `key 0 has the member "p"`},
		{"symmetric", `{"keys":[` + one + `,{"kty":"oct","kid":"b","k":"c2VjcmV0"}]}`, `key 1 has the member "k"`},
		{"no kid", string(jwks(t, jose.JSONWebKey{Key: w.ed.Public()})), "key 0 has no kid"},
		{"same kid", `{"keys":[` + one + `,` + one + `]}`, "key 1 has the kid of another"},
		{"member twice", `{"keys":[{"kid":"a",` + one[1:] + `]}`, "has a member twice"},
		{"short RSA", string(jwks(t, jose.JSONWebKey{Key: small.Public(), KeyID: "a"})), "key 0 is an RSA key of 1024 bits"},
		{"long RSA", `{"keys":[{"kty":"RSA","kid":"a","e":"AQAB","n":"` + encode(bytes.Repeat([]byte{0xff}, 1025)) + `"}]}`, "key 0 cannot be read"},
		{"RSA exponent 1", `{"keys":[{"kty":"RSA","kid":"a","e":"AQ","n":"` + n + `"}]}`, "key 0 cannot be read"},
		{"RSA exponent 4", `{"keys":[{"kty":"RSA","kid":"a","e":"BA","n":"` + n + `"}]}`, "with the exponent 4"},
		{"unknown type", `{"keys":[{"kty":"XYZ","kid":"a"}]}`, "key 0 is of a type"},
		{"X25519", `{"keys":[{"kty":"OKP","crv":"X25519","kid":"a","x":"` + encode(make([]byte, 32)) + `"}]}`, "key 0 is of a type"},
		{"no type", `{"keys":[{"kid":"a"}]}`, "key 0 cannot be read"},
		{"P-224", strings.Replace(string(jwks(t, jose.JSONWebKey{Key: w.ec.Public(), KeyID: "a"})), "P-256", "P-224", 1), "key 0 cannot be read"},
		{"point off the curve", `{"keys":[{"kty":"EC","crv":"P-256","kid":"a","x":"` + encode(bytes.Repeat([]byte{1}, 32)) + `","y":"` + encode(bytes.Repeat([]byte{1}, 32)) + `"}]}`, "key 0 cannot be read"},
		{"short Ed25519", `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"AQ"}]}`, "key 0 "},
		{"only for encryption", strings.Replace(ed, `"kty"`, `"use":"enc","kty"`, 1), "has no key that signs"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseJWKS([]byte(tt.set))
			wantInvalid(t, err, tt.msg)
		})
	}
}

func FuzzParseJWKS(f *testing.F) {
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	set, err := json.Marshal(KeySet{Keys: []jose.JSONWebKey{{Key: public, KeyID: "a"}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(set)
	f.Add([]byte(`{"keys":[{"kty":"RSA","kid":"a","n":"AQAB","e":"AQAB"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","kid":"a","x":"","y":""}]}`))
	f.Add([]byte(`{"keys":[{"kty":"oct","k":""}]}`))
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x5c":["AA=="]}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		keys, err := ParseJWKS(b)
		if err != nil {
			if pavise.KindOf(err) != pavise.Invalid {
				t.Fatalf("error %v is not invalid", err)
			}
			return
		}
		seen := map[string]bool{}
		for _, k := range keys.Keys {
			if !k.IsPublic() || k.KeyID == "" || seen[k.KeyID] {
				t.Fatalf("%q yields the key %+v", b, k)
			}
			seen[k.KeyID] = true
		}
		if len(keys.Keys) == 0 {
			t.Fatalf("%q yields no key", b)
		}
	})
}

func jwks(t *testing.T, keys ...jose.JSONWebKey) []byte {
	t.Helper()
	b, err := json.Marshal(KeySet{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func wantInvalid(t *testing.T, err error, msg string) {
	t.Helper()
	e, ok := errors.AsType[*pavise.Error](err)
	if !ok {
		t.Fatalf("error = %v, want a *pavise.Error", err)
	}
	if e.Kind != pavise.Invalid || !strings.Contains(e.Msg, msg) || e.Hint == "" {
		t.Errorf("error = %v %q, hint %q; want invalid and %q and a hint", e.Kind, e.Msg, e.Hint, msg)
	}
}
