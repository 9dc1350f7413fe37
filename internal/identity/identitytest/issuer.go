// Package identitytest has an issuer of tokens for tests, made of the standard library
// alone: nothing of the code that verifies.
package identitytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"testing"
	"time"
)

// An Issuer signs tokens with ES256, under the key id 1.
type Issuer struct{ key *ecdsa.PrivateKey }

// New returns an issuer with a key of its own.
func New(t testing.TB) Issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return Issuer{key}
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// JWKS returns the issuer's public key as a JSON Web Key Set.
func (i Issuer) JWKS(t testing.TB) string {
	t.Helper()
	point, err := i.key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`{"keys":[{"kty":"EC","crv":"P-256","kid":"1","x":"%s","y":"%s"}]}`, b64(point[1:33]), b64(point[33:]))
}

// Token signs claims over those of a good token of ten minutes, for the audience pavise.
func (i Issuer) Token(t testing.TB, edit func(map[string]any)) string {
	t.Helper()
	now := time.Now().Unix()
	claims := map[string]any{"iss": "https://issuer.example", "aud": "pavise", "sub": "app", "iat": now, "exp": now + 600, "pavise_roles": []string{"caller"}}
	if edit != nil {
		edit(claims)
	}
	body, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed := b64([]byte(`{"alg":"ES256","kid":"1","typ":"JWT"}`)) + "." + b64(body)
	digest := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, i.key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + b64(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}
