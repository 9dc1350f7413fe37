package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/url"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/pavise/pavise/bench/result"
	"github.com/pavise/pavise/internal/identity"
)

const (
	origin   = "https://pavise.example"
	audience = "pavise:bench"
	once     = 2000 // proofs that are good once, in a round
)

// A proof is one way of showing who one is.
type proof struct {
	name string
	goal time.Duration // that one check may take; 0: none is set
	// fresh makes a verifier that has seen nothing, and the credentials to show it.
	fresh func() (*identity.Verifier, []identity.Credentials, error)
	// again: the credentials are shown once before, and then again and again.
	again bool
}

// measure checks credentials, and returns what one check costs.
func (p proof) measure(ctx context.Context, window time.Duration) (result.Cost, error) {
	verifier, shown, err := p.fresh()
	if err != nil {
		return result.Cost{}, err
	}
	batch := func() (int, error) {
		for i := range shown {
			if _, err := verifier.Verify(ctx, shown[i]); err != nil {
				return 0, err
			}
		}
		return len(shown), nil
	}
	if !p.again {
		return result.Measure(0, batch)
	}
	if _, err := batch(); err != nil {
		return result.Cost{}, err
	}
	return result.Measure(window, func() (int, error) {
		for range 1000 {
			if _, err := batch(); err != nil {
				return 0, err
			}
		}
		return 1000 * len(shown), nil
	})
}

// A signer makes tokens of one algorithm.
type signer struct {
	key crypto.Signer
	jws jose.Signer
	alg jose.SignatureAlgorithm
}

func newSigner(alg jose.SignatureAlgorithm, key crypto.Signer, options *jose.SignerOptions) (*signer, error) {
	jws, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, options)
	return &signer{key, jws, alg}, err
}

func (s *signer) sign(claims map[string]any) (string, error) {
	text, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	signed, err := s.jws.Sign(text)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// newProofs makes keys, and what can be shown with them.
func newProofs() ([]proof, error) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	var all []proof
	add := func(alg jose.SignatureAlgorithm, key crypto.Signer) *signer {
		var s *signer
		if err == nil {
			s, err = newSigner(alg, key, (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", "k1"))
		}
		return s
	}
	byEd, byEC, byRSA := add(jose.EdDSA, ed), add(jose.ES256, ec), add(jose.RS256, rs)
	if err != nil {
		return nil, err
	}
	all = append(all,
		proof{name: "bearer token, seen before", goal: time.Microsecond, again: true, fresh: func() (*identity.Verifier, []identity.Credentials, error) { return byEd.bearers(1) }},
		proof{name: "workload certificate, seen before", goal: time.Microsecond, again: true, fresh: func() (*identity.Verifier, []identity.Credentials, error) { return certificate(ec) }},
		proof{name: "DPoP: token seen before, new proof (ES256)", fresh: func() (*identity.Verifier, []identity.Credentials, error) { return byEd.possessions(ec) }},
	)
	for _, s := range []*signer{byEd, byEC, byRSA} {
		all = append(all, proof{
			name: fmt.Sprintf("bearer token, never seen (%s)", s.alg), fresh: func() (*identity.Verifier, []identity.Credentials, error) { return s.bearers(once) },
		})
	}
	return all, nil
}

// verifier is one that has seen nothing, and knows the signer.
func (s *signer) verifier() (*identity.Verifier, error) {
	return identity.New(identity.Config{
		Now: time.Now, Origins: []string{origin}, Replays: 10 * once,
		Issuers: []identity.Issuer{{
			URL: "https://id.example", Audience: audience, Algorithms: []identity.Algorithm{s.alg}, Tenant: "bench", MaxTTL: time.Hour, Roles: []string{"caller"},
			Keys: identity.KeySet{Keys: []jose.JSONWebKey{{Key: s.key.Public(), KeyID: "k1"}}},
		}},
	})
}

// claims are those of a token that is good now.
func claims(n int) map[string]any {
	now := time.Now()
	return map[string]any{
		"iss": "https://id.example", "aud": audience, "sub": "trainer", "iat": now.Unix(), "exp": now.Add(30 * time.Minute).Unix(),
		"jti": fmt.Sprint("t", n), "pavise_roles": []string{"caller"}, "pavise_kind": "workload",
	}
}

// bearers are n tokens, and a verifier for them.
func (s *signer) bearers(n int) (*identity.Verifier, []identity.Credentials, error) {
	var all []identity.Credentials
	for i := range n {
		token, err := s.sign(claims(i))
		if err != nil {
			return nil, nil, err
		}
		all = append(all, identity.Credentials{Authorization: []string{"Bearer " + token}, Method: "POST", URL: "/v1/x"})
	}
	v, err := s.verifier()
	return v, all, err
}

// possessions are one token, which the verifier has seen, with a proof of the key that it
// is bound to for each request (RFC 9449).
func (s *signer) possessions(holder *ecdsa.PrivateKey) (*identity.Verifier, []identity.Credentials, error) {
	jwk := jose.JSONWebKey{Key: holder.Public()}
	thumb, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, nil, err
	}
	bound := claims(0)
	bound["cnf"] = map[string]any{"jkt": base64.RawURLEncoding.EncodeToString(thumb)}
	token, err := s.sign(bound)
	if err != nil {
		return nil, nil, err
	}
	by, err := newSigner(jose.ES256, holder, (&jose.SignerOptions{EmbedJWK: true}).WithType("dpop+jwt"))
	if err != nil {
		return nil, nil, err
	}
	sum := sha256.Sum256([]byte(token))
	var all []identity.Credentials
	for range once + 1 {
		p, err := by.sign(map[string]any{
			"jti": rand.Text(), "htm": "POST", "htu": origin + "/v1/x", "iat": time.Now().Unix(), "ath": base64.RawURLEncoding.EncodeToString(sum[:]),
		})
		if err != nil {
			return nil, nil, err
		}
		all = append(all, identity.Credentials{Authorization: []string{"DPoP " + token}, DPoP: []string{p}, Method: "POST", URL: "/v1/x"})
	}
	v, err := s.verifier()
	if err == nil {
		_, err = v.Verify(context.Background(), all[once])
	}
	return v, all[:once], err
}

// certificate is a workload certificate (X.509-SVID) as a TLS connection has it.
func certificate(key *ecdsa.PrivateKey) (*identity.Verifier, []identity.Credentials, error) {
	now := time.Now()
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, root, root, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	if root, err = x509.ParseCertificate(der); err != nil {
		return nil, nil, err
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: now.Add(-time.Minute), NotAfter: now.Add(30 * time.Minute), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		URIs: []*url.URL{{Scheme: "spiffe", Host: "bench.example", Path: "/workload/trainer"}},
	}
	if der, err = x509.CreateCertificate(rand.Reader, leaf, root, key.Public(), key); err != nil {
		return nil, nil, err
	}
	if leaf, err = x509.ParseCertificate(der); err != nil {
		return nil, nil, err
	}
	v, err := identity.New(identity.Config{Now: time.Now, Domains: []identity.TrustDomain{{Name: "bench.example", Roots: []*x509.Certificate{root}, Tenant: "bench"}}})
	return v, []identity.Credentials{{Method: "POST", URL: "/v1/x", TLS: &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}}}, err
}
