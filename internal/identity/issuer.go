package identity

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
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
// must be, and what they may say.
type Issuer struct {
	URL        string        // the exact iss claim
	Audience   string        // the exact aud, or one of the aud array, of its tokens for us
	Keys       KeySet        // public keys, each with its own kid; see ParseJWKS. Pinned: nothing is fetched
	Discover   bool          // instead of Keys: fetch them as the issuer's OpenID configuration says
	Algorithms []Algorithm   // of EdDSA, ES256, ES384, ES512, RS and PS 256, 384, 512
	Tenant     string        // whose callers it vouches for
	MaxTTL     time.Duration // the longest exp − iat
	Roles      []string      // the roles it may assert; a token with another is refused
	Leeway     time.Duration // at most MaxLeeway; 0 means DefaultLeeway
	Demo       bool          // for demonstration: see Verifier.Demo

	Claims      ClaimMap // what is made of its claims; zero: sub, pavise_kind and pavise_roles as they are
	Environment string   // where its callers run, unless Claims says: "prod", "dev" …
	Bound       bool     // refuse its tokens unless they are bound to a key of the caller
	// Ours: a Pavise issuer, whose word about who had an identity made (pavise_by) and
	// who acts for whom (act) is taken. A token of another that has those is refused.
	Ours bool
	// WholeNames: its subjects are tenant/kind/id, so that who trusts the issuer and
	// looks at the subject alone cannot take a person for a program.
	WholeNames bool

	// CA is what the issuer's own server is known by, as PEM certificates, where
	// the system does not know it. For Discover.
	CA string
	// Stale is how long fetched keys are good while the issuer is away; 0 means
	// DefaultStale, and MaxStale is the most. For Discover.
	Stale time.Duration
}

// A voucher is what a memory of verified proofs asks about the record that vouched.
type voucher struct {
	ring   atomic.Pointer[ring] // nil until keys were fetched; replaced whole, never changed
	share  share                // of the memory
	leeway time.Duration
}

// A ring is a set of keys at a time.
type ring struct {
	keys     map[string]jose.JSONWebKey // by kid
	revision uint64                     // another one has other keys
	fetched  time.Time                  // zero: pinned
	until    int64                      // when it is too old, in nanoseconds since 1970
}

// A record is a checked Issuer that shares no memory with its caller.
type record struct {
	Issuer
	voucher
	source *source // nil: the keys are pinned
	claims *claimReader
}

func newRecord(i Issuer, cfg Config) (*record, error) {
	if i.Leeway == 0 {
		i.Leeway = DefaultLeeway
	}
	i.Algorithms, i.Roles = slices.Clone(i.Algorithms), slices.Clone(i.Roles)
	if err := i.check(); err != nil {
		return nil, err
	}
	r := &record{Issuer: i, voucher: voucher{leeway: i.Leeway}}
	var err error
	if r.claims, err = newClaimReader(i); err != nil {
		return nil, err
	}
	if i.Discover {
		r.source, err = newSource(r, cfg)
		return r, err
	}
	pinned := map[string]jose.JSONWebKey{}
	for n, key := range i.Keys.Keys {
		if why, hint := keyFault(key); why != "" {
			return nil, i.fault(fmt.Sprintf("key %d", n), why, hint)
		}
		if !i.signsWith(key) {
			return nil, i.fault(fmt.Sprintf("key %d", n), "is of no type that its algorithms use", "leave the key out, or add its algorithm")
		}
		if _, dup := pinned[key.KeyID]; dup {
			return nil, i.fault(fmt.Sprintf("key %d", n), "has the kid of another", "give each key its own kid")
		}
		pinned[key.KeyID] = key
	}
	r.ring.Store(&ring{keys: pinned, until: math.MaxInt64})
	return r, nil
}

// signsWith reports whether an algorithm of the record uses such a key.
func (i Issuer) signsWith(key jose.JSONWebKey) bool {
	return slices.ContainsFunc(i.Algorithms, func(a Algorithm) bool { return fits(key.Key, a) })
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
	case i.Discover && len(i.Keys.Keys) > 0:
		return i.fault("Keys", "are pinned and to be discovered", "take one of the two")
	case !i.Discover && len(i.Keys.Keys) == 0:
		return i.fault("Keys", "is empty", "pin the public keys the issuer publishes at its jwks_uri, or have them discovered")
	case !i.Discover && (i.CA != "" || i.Stale != 0):
		return i.fault("CA and Stale", "are for keys that are fetched", "leave them out, or have the keys discovered")
	case i.Stale < 0 || i.Stale > MaxStale:
		return i.fault("Stale", fmt.Sprintf("is %v", i.Stale), fmt.Sprintf("take 0 to %v", MaxStale))
	case len(i.Algorithms) == 0:
		return i.fault("Algorithms", "is empty", "name what the issuer signs with, for example RS256")
	case slices.Contains(i.Roles, ""):
		return i.fault("Roles", "has an empty role", "leave it out")
	case !plainWord(i.Environment):
		return i.fault("Environment", fmt.Sprintf("is %.80q", i.Environment), "write a word such as prod")
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

// plainWord reports whether s can be an environment: nothing, or what can be part of
// a name.
func plainWord(s string) bool {
	return s == "" || (pavise.Name{Tenant: "x", Kind: "x", ID: s}).Validate() == nil
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
