package identity

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/pavise/pavise"
)

// A world is three issuers with a key each, and a clock that stands still.
// Tokens are signed with the standard library alone, so that a mistake of the
// JOSE library cannot hide itself.
type world struct {
	verifier *Verifier
	issuers  map[string]Issuer
	ed       ed25519.PrivateKey
	ec       *ecdsa.PrivateKey
	rsa      *rsa.PrivateKey
}

type members = map[string]any

var (
	noon  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	begin = noon.Add(-time.Minute).Unix()
	end   = noon.Add(14 * time.Minute).Unix()
)

var theWorld = sync.OnceValue(func() *world {
	w := &world{}
	_, w.ed, _ = ed25519.GenerateKey(rand.Reader)
	w.ec, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.rsa, _ = rsa.GenerateKey(rand.Reader, 2048)
	issuer := func(url, kid string, key any, a ...Algorithm) Issuer {
		return Issuer{
			URL: url, Audience: "pavise:test", Algorithms: a, Tenant: "acme", MaxTTL: time.Hour, Roles: []string{"caller", "analyst"},
			Keys: KeySet{Keys: []jose.JSONWebKey{{Key: key, KeyID: kid}}},
		}
	}
	w.issuers = map[string]Issuer{
		"ed":  issuer("https://ed.example", "ed-1", w.ed.Public(), jose.EdDSA),
		"ec":  issuer("https://ec.example", "ec-1", w.ec.Public(), jose.ES256),
		"rsa": issuer("https://rsa.example", "rsa-1", w.rsa.Public(), jose.RS256),
	}
	var err error
	w.verifier, err = NewVerifier(func() time.Time { return noon }, w.issuers["ed"], w.issuers["ec"], w.issuers["rsa"])
	if err != nil {
		panic(err)
	}
	return w
})

func header(with members) members {
	return merge(members{"alg": "EdDSA", "kid": "ed-1", "typ": "JWT"}, with)
}

func body(with members) members {
	return merge(members{
		"iss": "https://ed.example", "aud": "pavise:test", "sub": "alice@acme", "iat": begin, "exp": end,
		"jti": "j1", "pavise_roles": []string{"caller"}, "pavise_kind": "human",
	}, with)
}

// merge overlays with on base; nil removes a member.
func merge(base, with members) members {
	maps.Copy(base, with)
	maps.DeleteFunc(base, func(_ string, v any) bool { return v == nil })
	return base
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func marshal(v any) string {
	if raw, ok := v.(string); ok {
		return raw // written by hand
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// sign makes a token of a header and claims, each an object or text.
func (w *world) sign(header, claims any, signer func(input []byte) []byte) string {
	input := encode([]byte(marshal(header))) + "." + encode([]byte(marshal(claims)))
	return input + "." + encode(signer([]byte(input)))
}

func (w *world) byEd(input []byte) []byte { return ed25519.Sign(w.ed, input) }

func (w *world) byEC(input []byte) []byte {
	sum := sha256.Sum256(input)
	r, s, err := ecdsa.Sign(rand.Reader, w.ec, sum[:])
	if err != nil {
		panic(err)
	}
	return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
}

func (w *world) byRSA(input []byte) []byte {
	sum := sha256.Sum256(input)
	sig, err := rsa.SignPKCS1v15(nil, w.rsa, crypto.SHA256, sum[:])
	if err != nil {
		panic(err)
	}
	return sig
}

func byHMAC(key []byte) func([]byte) []byte {
	return func(input []byte) []byte {
		mac := hmac.New(sha256.New, key)
		mac.Write(input)
		return mac.Sum(nil)
	}
}

func unsigned([]byte) []byte { return nil }

func TestVerify(t *testing.T) {
	w := theWorld()
	ecHeader, rsaHeader := members{"alg": "ES256", "kid": "ec-1"}, members{"alg": "RS256", "kid": "rsa-1"}
	for _, tt := range []struct {
		name  string
		token string
		want  pavise.Principal
	}{
		{"EdDSA", w.sign(header(nil), body(nil), w.byEd), alice("https://ed.example", pavise.Human, "caller")},
		{"ES256", w.sign(ecHeader, body(members{"iss": "https://ec.example"}), w.byEC), alice("https://ec.example", pavise.Human, "caller")},
		{"RS256", w.sign(rsaHeader, body(members{"iss": "https://rsa.example"}), w.byRSA), alice("https://rsa.example", pavise.Human, "caller")},
		{"no kind is a workload", w.sign(header(nil), body(members{"pavise_kind": nil}), w.byEd), alice("https://ed.example", pavise.Workload, "caller")},
		{"no roles", w.sign(header(nil), body(members{"pavise_roles": nil}), w.byEd), alice("https://ed.example", pavise.Human)},
		{"roles sorted, once each", w.sign(header(nil), body(members{"pavise_roles": []string{"caller", "analyst", "caller"}}), w.byEd), alice("https://ed.example", pavise.Human, "analyst", "caller")},
		{"one of several audiences", w.sign(header(nil), body(members{"aud": []string{"other", "pavise:test"}}), w.byEd), alice("https://ed.example", pavise.Human, "caller")},
		{"claims of others are passed over", w.sign(header(nil), body(members{"tenant": "evil", "email": "a@b", "roles": []string{"root"}}), w.byEd), alice("https://ed.example", pavise.Human, "caller")},
		{"access token type", w.sign(header(members{"typ": "at+JWT"}), body(nil), w.byEd), alice("https://ed.example", pavise.Human, "caller")},
		{"no type, a thumbprint", w.sign(header(members{"typ": nil, "x5t": "abc"}), body(nil), w.byEd), alice("https://ed.example", pavise.Human, "caller")},
		{"expired within the leeway", w.sign(header(nil), body(members{"iat": begin - 900, "exp": noon.Unix() - 29}), w.byEd), at(alice("https://ed.example", pavise.Human, "caller"), noon.Unix()-29)},
		{"begins within the leeway", w.sign(header(nil), body(members{"iat": noon.Unix() + 30, "nbf": noon.Unix() + 30}), w.byEd), alice("https://ed.example", pavise.Human, "caller")},
		{"as long as it may live", w.sign(header(nil), body(members{"iat": begin, "exp": begin + 3600}), w.byEd), at(alice("https://ed.example", pavise.Human, "caller"), begin+3600)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := bearer(w.verifier, tt.token)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("Verify = %+v, want %+v", got, tt.want)
			}
		})
	}
}

func alice(issuer, kind string, roles ...string) pavise.Principal {
	return pavise.Principal{Tenant: "acme", Kind: kind, ID: "alice@acme", Issuer: issuer, Roles: roles, Proof: "bearer", Expires: time.Unix(end, 0).UTC()}
}

func at(p pavise.Principal, end int64) pavise.Principal {
	p.Expires = time.Unix(end, 0).UTC()
	return p
}

// bearer verifies a token as a request brings it.
func bearer(v *Verifier, token string) (pavise.Principal, error) {
	return v.Verify(context.Background(), Credentials{Authorization: []string{"Bearer " + token}})
}

// TestAttacks is the table of tokens that must be refused, and why.
func TestAttacks(t *testing.T) {
	w := theWorld()
	good := w.sign(header(nil), body(nil), w.byEd)
	parts := strings.Split(good, ".")
	with := func(c members) string { return w.sign(header(nil), body(c), w.byEd) }
	under := func(h members) string { return w.sign(header(h), body(nil), w.byEd) }
	claims := marshal(body(nil))
	rest := strings.TrimPrefix(claims, "{")
	_, stranger, _ := ed25519.GenerateKey(rand.Reader)
	strangers := func(in []byte) []byte { return ed25519.Sign(stranger, in) }
	strangerJWK := members{"kty": "OKP", "crv": "Ed25519", "x": encode(stranger.Public().(ed25519.PublicKey)), "kid": "ed-1"}
	rsaDER, _ := x509.MarshalPKIXPublicKey(w.rsa.Public())
	rsaPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: rsaDER})
	edPublic := w.ed.Public().(ed25519.PublicKey)

	for _, tt := range []struct {
		name, token string
		want        Reason
	}{
		// Its form.
		{"no token", "", Missing},
		{"one part", "abc", Malformed},
		{"two parts", parts[0] + "." + parts[1], Malformed},
		{"four parts", good + "." + parts[2], Malformed},
		{"encrypted: five parts", good + ".a.b", Malformed},
		{"JSON serialisation", marshal(members{"protected": parts[0], "payload": parts[1], "signature": parts[2]}), Malformed},
		{"longer than 8 KiB", with(members{"pad": strings.Repeat("x", MaxToken)}), Oversized},
		{"space before", " " + good, Malformed},
		{"line end after", good + "\n", Malformed},
		{"line end inside", good[:10] + "\r\n" + good[10:], Malformed},
		{"padding", parts[0] + "." + parts[1] + "." + parts[2] + "==", Malformed},
		{"standard alphabet", parts[0] + "." + encode([]byte("???>>>")) + "+/." + parts[2], Malformed},
		{"stray bits in the last character", stray(good), Malformed},
		{"percent-encoded", strings.ReplaceAll(good, ".", "%2E"), Malformed},
		{"bytes beyond ASCII", parts[0] + ".é." + parts[2], Malformed},

		// Its JSON.
		{"claims are an array", w.sign(header(nil), "["+claims+"]", w.byEd), Malformed},
		{"claims are not JSON", w.sign(header(nil), "iss=x", w.byEd), Malformed},
		{"claims are empty", w.sign(header(nil), "", w.byEd), Malformed},
		{"claims, then more", w.sign(header(nil), claims+"{}", w.byEd), Malformed},
		{"subject twice", w.sign(header(nil), `{"sub":"root",`+rest, w.byEd), Malformed},
		{"subject twice, escaped", w.sign(header(nil), `{"s\u0075b":"root",`+rest, w.byEd), Malformed},
		{"subject twice, in another case", w.sign(header(nil), `{"Sub":"root",`+rest, w.byEd), Malformed},
		{"duplicate deep inside", w.sign(header(nil), `{"x":[{"a":1,"a":2}],`+rest, w.byEd), Malformed},
		{"nested too deep", w.sign(header(nil), `{"x":`+strings.Repeat("[", 40)+strings.Repeat("]", 40)+`,`+rest, w.byEd), Malformed},
		{"invalid UTF-8", w.sign(header(nil), "{\"x\":\"\xff\","+rest, w.byEd), Malformed},
		{"comment", w.sign(header(nil), "{/**/"+rest, w.byEd), Malformed},
		{"algorithm twice in the header", w.sign(`{"alg":"none","alg":"EdDSA","kid":"ed-1"}`, body(nil), w.byEd), Malformed},
		{"subject is a number", with(members{"sub": 7}), Malformed},
		{"subject is null", w.sign(header(nil), strings.Replace(claims, `"alice@acme"`, "null", 1), w.byEd), Malformed},
		{"end is text", with(members{"exp": fmt.Sprint(end)}), Malformed},
		{"end is a fraction", with(members{"exp": 1e9 + 0.5}), Malformed},
		{"end is beyond any calendar", w.sign(header(nil), strings.Replace(claims, fmt.Sprint(end), "9223372036854775807", 1), w.byEd), Malformed},
		{"end is negative", with(members{"exp": -1}), Malformed},
		{"roles are text", with(members{"pavise_roles": "caller"}), Malformed},
		{"roles hold an object", with(members{"pavise_roles": []any{"caller", members{}}}), Malformed},
		{"audience is an object", with(members{"aud": members{"pavise:test": true}}), Malformed},
		{"kind is node", with(members{"pavise_kind": "node"}), BadKind},
		{"kid is a number", under(members{"kid": 1}), Malformed},

		// Its header.
		{"jwk brings a key", w.sign(header(members{"jwk": strangerJWK}), body(nil), strangers), BadHeader},
		{"jku names a key", w.sign(header(members{"jku": "https://evil.example/jwks"}), body(nil), strangers), BadHeader},
		{"x5u names a certificate", under(members{"x5u": "https://evil.example/c"}), BadHeader},
		{"x5c brings a certificate", under(members{"x5c": []string{"MIIB"}}), BadHeader},
		{"critical extension", under(members{"crit": []string{"exp"}, "exp": end}), BadHeader},
		{"b64 is false", under(members{"b64": false, "crit": []string{"b64"}}), BadHeader},
		{"b64 is false, not critical", under(members{"b64": false}), BadHeader},
		{"compressed", under(members{"zip": "DEF"}), BadHeader},
		{"content type", under(members{"cty": "JWT"}), BadHeader},
		{"alg in another case beside it", w.sign(`{"ALG":"EdDSA","kid":"ed-1"}`, body(nil), w.byEd), BadHeader},
		{"type is a DPoP proof", under(members{"typ": "dpop+jwt"}), BadHeader},
		{"type is a logout token", under(members{"typ": "logout+jwt"}), BadHeader},

		// Its algorithm.
		{"none", w.sign(header(members{"alg": "none"}), body(nil), unsigned), WrongAlgorithm},
		{"none without kid", w.sign(header(members{"alg": "none", "kid": nil}), body(nil), unsigned), WrongAlgorithm},
		{"nOnE", w.sign(header(members{"alg": "nOnE"}), body(nil), unsigned), WrongAlgorithm},
		{"none, signed all the same", under(members{"alg": "none"}), WrongAlgorithm},
		{"no algorithm", under(members{"alg": nil}), WrongAlgorithm},
		{"HS256 with the RSA key's PEM", w.sign(members{"alg": "HS256", "kid": "rsa-1"}, body(members{"iss": "https://rsa.example"}), byHMAC(rsaPEM)), WrongAlgorithm},
		{"HS256 with the RSA key's DER", w.sign(members{"alg": "HS256", "kid": "rsa-1"}, body(members{"iss": "https://rsa.example"}), byHMAC(rsaDER)), WrongAlgorithm},
		{"HS256 with the Ed25519 key's bytes", w.sign(header(members{"alg": "HS256"}), body(nil), byHMAC(edPublic)), WrongAlgorithm},
		{"HS256 with no key", w.sign(header(members{"alg": "HS256"}), body(nil), byHMAC(nil)), WrongAlgorithm},
		{"RS256 over an ES256 issuer", w.sign(members{"alg": "RS256", "kid": "ec-1"}, body(members{"iss": "https://ec.example"}), w.byRSA), WrongAlgorithm},
		{"PS256 where only RS256 is recorded", w.sign(members{"alg": "PS256", "kid": "rsa-1"}, body(members{"iss": "https://rsa.example"}), w.byRSA), WrongAlgorithm},
		{"ES256K", w.sign(members{"alg": "ES256K", "kid": "ec-1"}, body(members{"iss": "https://ec.example"}), w.byEC), WrongAlgorithm},
		{"eddsa in lower case", under(members{"alg": "eddsa"}), WrongAlgorithm},

		// Its key and signature.
		{"no kid", under(members{"kid": nil}), UnknownKey},
		{"empty kid", under(members{"kid": ""}), UnknownKey},
		{"unknown kid", under(members{"kid": "ed-2"}), UnknownKey},
		{"kid with a path", under(members{"kid": "../../dev/null"}), UnknownKey},
		{"kid with SQL", under(members{"kid": "x' OR '1'='1"}), UnknownKey},
		{"kid of another issuer", w.sign(members{"alg": "EdDSA", "kid": "ed-1"}, body(members{"iss": "https://ec.example"}), w.byEd), WrongAlgorithm},
		{"kid of another issuer, its algorithm", w.sign(members{"alg": "ES256", "kid": "ed-1"}, body(members{"iss": "https://ec.example"}), w.byEC), UnknownKey},
		{"a stranger's signature", w.sign(header(nil), body(nil), strangers), BadSignature},
		{"no signature", parts[0] + "." + parts[1] + ".", BadSignature},
		{"short signature", parts[0] + "." + parts[1] + "." + encode([]byte("short")), BadSignature},
		{"signature of other claims", splice(good, with(members{"sub": "bob"})), BadSignature},
		{"Ed25519 with S beyond the order", parts[0] + "." + parts[1] + "." + encode(addOrder(t, parts[2])), BadSignature},
		{"Ed25519 all zero", parts[0] + "." + parts[1] + "." + encode(make([]byte, 64)), BadSignature},
		{"ES256 all zero", w.sign(members{"alg": "ES256", "kid": "ec-1"}, body(members{"iss": "https://ec.example"}), func([]byte) []byte { return make([]byte, 64) }), BadSignature},
		{"ES256 as ASN.1", w.sign(members{"alg": "ES256", "kid": "ec-1"}, body(members{"iss": "https://ec.example"}), w.byECASN1), BadSignature},

		// Its claims.
		{"unknown issuer", with(members{"iss": "https://evil.example"}), WrongIssuer},
		{"no issuer", with(members{"iss": nil}), WrongIssuer},
		{"issuer with a slash more", with(members{"iss": "https://ed.example/"}), WrongIssuer},
		{"issuer in another case", with(members{"iss": "https://ED.example"}), WrongIssuer},
		{"for someone else", with(members{"aud": "other"}), WrongAudience},
		{"for several others", with(members{"aud": []string{"a", "b"}}), WrongAudience},
		{"for ours and more in one string", with(members{"aud": "pavise:test other"}), WrongAudience},
		{"for nobody", with(members{"aud": nil}), WrongAudience},
		{"for an empty list", with(members{"aud": []string{}}), WrongAudience},
		{"no end", with(members{"exp": nil}), BadLifetime},
		{"END", with(members{"exp": nil, "EXP": end}), BadLifetime},
		{"no beginning", with(members{"iat": nil}), BadLifetime},
		{"a second too long", with(members{"iat": begin, "exp": begin + 3601}), BadLifetime},
		{"ends before it begins", with(members{"iat": end, "exp": begin}), BadLifetime},
		{"expired", with(members{"iat": begin - 3000, "exp": noon.Unix() - 30}), Expired},
		{"from the future", with(members{"iat": noon.Unix() + 31, "exp": noon.Unix() + 600}), NotYetValid},
		{"not before later", with(members{"nbf": noon.Unix() + 31}), NotYetValid},
		{"no subject", with(members{"sub": nil}), BadSubject},
		{"empty subject", with(members{"sub": ""}), BadSubject},
		{"subject with slashes", with(members{"sub": "other/human/root"}), BadSubject},
		{"subject with a line end", with(members{"sub": "a\nroot"}), BadSubject},
		{"subject too long", with(members{"sub": strings.Repeat("a", 129)}), BadSubject},
		{"a role it may not give", with(members{"pavise_roles": []string{"caller", "operator"}}), ForbiddenRole},
		{"an empty role", with(members{"pavise_roles": []string{""}}), ForbiddenRole},
		{"a role in another case", with(members{"pavise_roles": []string{"Caller"}}), ForbiddenRole},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := bearer(w.verifier, tt.token)
			wantRefusal(t, err, tt.want)
			if !reflect.DeepEqual(got, pavise.Principal{}) {
				t.Errorf("a refused token made %+v", got)
			}
			for part := range strings.SplitSeq(tt.token, ".") {
				if len(part) > 8 && strings.Contains(err.Error(), part[:8]) {
					t.Errorf("the error %q quotes the token", err)
				}
			}
			for _, secret := range []string{"alice", "evil", "ed-1", "root", "EdDSA"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error %q quotes the token's %s", err, secret)
				}
			}
		})
	}
}

func wantRefusal(t *testing.T, err error, want Reason) {
	t.Helper()
	refusal, ok := errors.AsType[*Refusal](err)
	if !ok {
		t.Fatalf("error = %v, want a refusal: %s", err, want)
	}
	if refusal.Reason != want {
		t.Errorf("reason = %s, want %s", refusal.Reason, want)
	}
	e, ok := errors.AsType[*pavise.Error](err)
	if !ok || e.Kind != pavise.Unverified || e.Msg == "" || e.Hint == "" {
		t.Errorf("error = %+v, want unverified, with a message and a hint", e)
	}
}

// stray sets the bits of the last character that no byte uses.
func stray(token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, token[len(token)-1])
	return token[:len(token)-1] + alphabet[last|1:last|1+1]
}

// splice puts the first token's signature under the second's claims.
func splice(signature, claims string) string {
	return claims[:strings.LastIndexByte(claims, '.')] + signature[strings.LastIndexByte(signature, '.'):]
}

// addOrder adds the group order to S: a second spelling of the same signature
// for a verifier that does not check it.
func addOrder(t *testing.T, part string) []byte {
	sig, ok := decode(part)
	if !ok {
		t.Fatal("cannot decode the signature")
	}
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	s := make([]byte, 32)
	for i, b := range sig[32:] {
		s[31-i] = b
	}
	sum := new(big.Int).Add(new(big.Int).SetBytes(s), order).FillBytes(make([]byte, 32))
	for i, b := range sum {
		sig[63-i] = b
	}
	return sig
}

func (w *world) byECASN1(input []byte) []byte {
	sum := sha256.Sum256(input)
	sig, err := ecdsa.SignASN1(rand.Reader, w.ec, sum[:])
	if err != nil {
		panic(err)
	}
	return sig
}

func TestAdviceIsWhole(t *testing.T) {
	for _, r := range []Reason{Missing, Malformed, Oversized, BadHeader, WrongIssuer, WrongAlgorithm, UnknownKey, BadSignature, WrongAudience, BadLifetime, Expired, NotYetValid, BadSubject, ForbiddenRole} {
		if a := advice[r]; a.msg == "" || a.hint == "" {
			t.Errorf("no advice for %s", r)
		}
	}
}

func TestFromHeader(t *testing.T) {
	for _, tt := range []struct {
		name   string
		values []string
		want   string
		reason Reason
	}{
		{"one", []string{"Bearer abc"}, "abc", ""},
		{"scheme in another case", []string{"bEARER abc"}, "abc", ""},
		{"none", nil, "", Missing},
		{"empty", []string{""}, "", Missing},
		{"scheme only", []string{"Bearer"}, "", Missing},
		{"scheme and a space", []string{"Bearer "}, "", Missing},
		{"Basic", []string{"Basic YTpi"}, "", Missing},
		{"no scheme", []string{"abc"}, "", Missing},
		{"two headers", []string{"Bearer abc", "Bearer abc"}, "", Malformed},
		{"two tokens", []string{"Bearer abc, Bearer def"}, "", Malformed},
		{"two spaces", []string{"Bearer  abc"}, "", Malformed},
		{"space after", []string{"Bearer abc "}, "", Malformed},
		{"tab", []string{"Bearer\tabc"}, "", Missing},
		{"too long", []string{"Bearer " + strings.Repeat("a", MaxToken+1)}, "", Oversized},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := FromHeader(tt.values)
			if tt.reason != "" {
				wantRefusal(t, err, tt.reason)
			} else if err != nil || got != tt.want {
				t.Errorf("FromHeader = %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

// FuzzVerify holds Verify to its word: a refusal is of a known class and quotes
// nothing, and the only token that passes is the one the issuer made.
func FuzzVerify(f *testing.F) {
	w := theWorld()
	good := w.sign(header(nil), body(nil), w.byEd)
	f.Add(good)
	f.Add(good + ".")
	f.Add(w.sign(header(members{"alg": "none"}), body(nil), unsigned))
	f.Add(w.sign(header(nil), `{"sub":"a","sub":"b"}`, w.byEd))
	f.Add("{}")
	f.Add("e30.e30.")
	f.Fuzz(func(t *testing.T, token string) {
		p, err := bearer(w.verifier, token)
		if err == nil {
			if token != good {
				t.Fatalf("%q proves %+v", token, p)
			}
			return
		}
		refusal, ok := errors.AsType[*Refusal](err)
		if !ok || advice[refusal.Reason].msg == "" || pavise.KindOf(err) != pavise.Unverified {
			t.Fatalf("refused with %v", err)
		}
	})
}

// BenchmarkVerifyEdDSA is a token that is new each time: nothing of it is remembered.
func BenchmarkVerifyEdDSA(b *testing.B) {
	w := theWorld()
	token := w.sign(header(nil), body(nil), w.byEd)
	for b.Loop() {
		if _, err := w.verifier.judge(b.Context(), token, noon); err != nil {
			b.Fatal(err)
		}
	}
}
