package identity

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/pavise/pavise"
)

// Algorithm and KeySet are go-jose's types by names that a package may use
// which does not import it.
type (
	Algorithm = jose.SignatureAlgorithm
	KeySet    = jose.JSONWebKeySet
)

// The leeway for clocks that disagree.
const (
	DefaultLeeway = 30 * time.Second
	MaxLeeway     = 2 * time.Minute
)

// An Issuer is the record of one that may vouch for callers: what its tokens
// must be, and what they may say. Everything about it is pinned.
type Issuer struct {
	URL        string        // the exact iss claim
	Audience   string        // the exact aud, or one of the aud array, of its tokens for us
	Keys       KeySet        // public keys, each with its own kid; see ParseJWKS
	Algorithms []Algorithm   // of EdDSA, ES256, ES384, ES512, RS and PS 256, 384, 512
	Tenant     string        // whose callers it vouches for
	MaxTTL     time.Duration // the longest exp − iat
	Roles      []string      // the roles it may assert; a token with another is refused
	Leeway     time.Duration // at most MaxLeeway; 0 means DefaultLeeway
	Demo       bool          // for demonstration: see Verifier.Demo
}

// A record is a checked Issuer that shares no memory with its caller.
type record struct {
	Issuer
	keys map[string]jose.JSONWebKey // by kid
}

func newRecord(i Issuer) (*record, error) {
	if i.Leeway == 0 {
		i.Leeway = DefaultLeeway
	}
	i.Algorithms, i.Roles = slices.Clone(i.Algorithms), slices.Clone(i.Roles)
	if err := i.check(); err != nil {
		return nil, err
	}
	r := &record{Issuer: i, keys: map[string]jose.JSONWebKey{}}
	for n, key := range i.Keys.Keys {
		if why, hint := keyFault(key); why != "" {
			return nil, i.fault(fmt.Sprintf("key %d", n), why, hint)
		}
		if !slices.ContainsFunc(i.Algorithms, func(a Algorithm) bool { return fits(key.Key, a) }) {
			return nil, i.fault(fmt.Sprintf("key %d", n), "is of no type that its algorithms use", "leave the key out, or add its algorithm")
		}
		if _, dup := r.keys[key.KeyID]; dup {
			return nil, i.fault(fmt.Sprintf("key %d", n), "has the kid of another", "give each key its own kid")
		}
		r.keys[key.KeyID] = key
	}
	return r, nil
}

func (i Issuer) check() error {
	switch {
	case i.URL == "":
		return i.fault("URL", "is empty", "write the iss claim of its tokens")
	case i.Audience == "":
		return i.fault("Audience", "is empty", "name the audience this installation has with the issuer: without one, a token made for anybody would do")
	case i.MaxTTL <= 0:
		return i.fault("MaxTTL", "is not set", "say how long its tokens may live, for example 1h")
	case i.Leeway < 0 || i.Leeway > MaxLeeway:
		return i.fault("Leeway", fmt.Sprintf("is %v", i.Leeway), fmt.Sprintf("take 0 to %v", MaxLeeway))
	case len(i.Keys.Keys) == 0:
		return i.fault("Keys", "is empty", "pin the public keys the issuer publishes at its jwks_uri")
	case len(i.Algorithms) == 0:
		return i.fault("Algorithms", "is empty", "name what the issuer signs with, for example RS256")
	case slices.Contains(i.Roles, ""):
		return i.fault("Roles", "has an empty role", "leave it out")
	}
	if err := (pavise.Name{Tenant: i.Tenant, Kind: pavise.Workload, ID: "x"}).Validate(); err != nil {
		return i.fault("Tenant", fmt.Sprintf("%.80q cannot be part of a name", i.Tenant), "use letters, digits and . _ @ : + -")
	}
	for _, a := range i.Algorithms {
		if strings.HasPrefix(string(a), "HS") {
			return i.fault("Algorithms", fmt.Sprintf("has %s, which needs a shared secret", a), "let the issuer sign with a private key")
		}
		if !slices.Contains(asymmetric, a) {
			return i.fault("Algorithms", fmt.Sprintf("has %.20q, which is no signature algorithm of ours", a), fmt.Sprintf("take one of %v", asymmetric))
		}
	}
	return nil
}

// asymmetric are the algorithms a record may name (RFC 7518, RFC 8037).
var asymmetric = []Algorithm{
	jose.EdDSA, jose.ES256, jose.ES384, jose.ES512,
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
}

// curves are those of the ECDSA algorithms.
var curves = map[Algorithm]elliptic.Curve{jose.ES256: elliptic.P256(), jose.ES384: elliptic.P384(), jose.ES512: elliptic.P521()}

// fits reports whether a key is of the type, and an elliptic one on the curve,
// that the algorithm signs with.
func fits(key any, a Algorithm) bool {
	switch key := key.(type) {
	case ed25519.PublicKey:
		return a == jose.EdDSA
	case *ecdsa.PublicKey:
		return curves[a] == key.Curve
	case *rsa.PublicKey:
		return strings.HasPrefix(string(a), "RS") || strings.HasPrefix(string(a), "PS")
	}
	return false
}
