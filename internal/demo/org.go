package demo

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"time"
)

// What the organisation is known by.
const (
	// OrgURL is the iss claim of its tokens.
	OrgURL = "https://people.demo.invalid"
	// OrgAudience is their aud claim.
	OrgAudience = "pavise-demo"
	// OrgTTL is the longest that a token of it lives.
	OrgTTL = time.Hour
)

// An Organisation is one that knows people and programs of its own: it signs tokens as
// an identity provider does. Its key is nowhere but in this process.
type Organisation struct {
	key ed25519.PrivateKey
}

func newOrganisation() *Organisation {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic("demo: " + err.Error()) // rand.Reader does not fail
	}
	return &Organisation{key}
}

// OrgRoles are the roles that it may give.
func OrgRoles() []string { return []string{"caller", "operator"} }

// JWKS returns the organisation's public key as a JWK set (RFC 7517, RFC 8037).
func (o *Organisation) JWKS() []byte {
	key := jwkOf(o.key)
	key["kid"], key["use"], key["alg"] = "demo", "sig", "EdDSA"
	return encode(map[string]any{"keys": []any{key}})
}

// token signs a token for somebody, who has the roles until it ends. A holder's key, if
// there is one, binds it (RFC 9449, section 6.1).
func (o *Organisation) token(subject, kind string, roles []string, issued, ends time.Time, holder ed25519.PrivateKey) string {
	claims := map[string]any{
		"iss": OrgURL, "aud": OrgAudience, "sub": subject, "iat": issued.Unix(), "exp": ends.Unix(), "jti": rand.Text(),
		"pavise_kind": kind, "pavise_roles": roles,
	}
	if holder != nil {
		claims["cnf"] = map[string]any{"jkt": thumbprint(holder)}
	}
	return sign(o.key, map[string]any{"alg": "EdDSA", "kid": "demo", "typ": "JWT"}, claims)
}

// possession is a proof that its sender has a key, for one request with one token (RFC
// 9449, section 4.2).
func possession(key ed25519.PrivateKey, method, url, token string, now time.Time) string {
	sum := sha256.Sum256([]byte(token))
	return sign(key, map[string]any{"typ": "dpop+jwt", "alg": "EdDSA", "jwk": jwkOf(key)}, map[string]any{
		"jti": rand.Text(), "htm": method, "htu": url, "iat": now.Unix(), "ath": base64.RawURLEncoding.EncodeToString(sum[:]),
	})
}

// jwkOf is the public half of a key (RFC 8037).
func jwkOf(key ed25519.PrivateKey) map[string]any {
	return map[string]any{"kty": "OKP", "crv": "Ed25519", "x": base64.RawURLEncoding.EncodeToString(key.Public().(ed25519.PublicKey))}
}

// thumbprint names a key (RFC 7638): its members in alphabetical order, as encoding/json
// writes a map.
func thumbprint(key ed25519.PrivateKey) string {
	sum := sha256.Sum256(encode(jwkOf(key)))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// sign writes a JWS in its compact form (RFC 7515).
func sign(key ed25519.PrivateKey, header, claims map[string]any) string {
	text := base64.RawURLEncoding.EncodeToString(encode(header)) + "." + base64.RawURLEncoding.EncodeToString(encode(claims))
	return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(text)))
}

// encode writes what is made of strings, numbers and lists, which cannot fail.
func encode(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic("demo: " + err.Error())
	}
	return text
}
