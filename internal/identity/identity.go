// Package identity says who is calling: it turns a bearer token into a
// pavise.Principal. It verifies and gives nothing out; package issuer mints.
//
// It owns the rules of what a token must be, and the pinned records of the
// issuers that may vouch for someone. It fetches nothing: an issuer's keys are
// those of its record, and a token cannot name others.
//
// # What is checked, in this order
//
//  1. The token is at most 8 KiB, and is three parts of canonical base64url: a
//     JWS in compact form (RFC 7515). JSON forms and encryption are refused.
//  2. Header and claims are JSON objects in which no two members have the same
//     name, not even in another case.
//  3. The header names an algorithm and a key id, and nothing that could bring
//     a key along or change how the signature is made.
//  4. The issuer has a record; the algorithm is in it; the key is in it, and is
//     of the algorithm's own type.
//  5. The signature is good.
//  6. The audience is ours; the token has begun, has not ended and does not live
//     longer than its issuer's tokens may; the subject can be a name; each role
//     is one that this issuer may assert.
//
// The tenant comes from the issuer's record, never from the token.
//
// A refusal says which of these failed, as a short class ([Reason]), and never
// any part of the token: not in its message, not in its cause.
package identity

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/pavise/pavise"
)

// MaxToken is the size of the longest token that is looked at, in bytes.
const MaxToken = 8 << 10

// A Verifier knows the issuers and checks tokens. It is immutable and safe for
// concurrent use.
type Verifier struct {
	now     func() time.Time
	records map[string]*record // by issuer URL
}

// NewVerifier returns a verifier for the tokens of these issuers. now is the
// clock. The error is of kind Invalid and names the issuer and the field.
func NewVerifier(now func() time.Time, issuers ...Issuer) (*Verifier, error) {
	v := &Verifier{now: now, records: map[string]*record{}}
	for _, i := range issuers {
		r, err := newRecord(i)
		if err != nil {
			return nil, err
		}
		if v.records[i.URL] != nil {
			return nil, i.fault("URL", "is in two records", "give each issuer one record")
		}
		v.records[i.URL] = r
	}
	return v, nil
}

// Demo reports whether one of the issuers is for demonstration only. A role
// that serves others than its own user refuses such a verifier.
func (v *Verifier) Demo() bool {
	for _, r := range v.records {
		if r.Demo {
			return true
		}
	}
	return false
}

// Verify returns the caller whom the token proves. The error is of kind
// Unverified and wraps a *Refusal.
func (v *Verifier) Verify(token string) (pavise.Principal, error) {
	t, err := parse(token)
	if err != nil {
		return pavise.Principal{}, err
	}
	r := v.records[t.claims.issuer]
	if r == nil {
		return pavise.Principal{}, refuse(WrongIssuer)
	}
	if err := r.checkSignature(t); err != nil {
		return pavise.Principal{}, err
	}
	if err := r.checkClaims(&t.claims, v.now()); err != nil {
		return pavise.Principal{}, err
	}
	return pavise.Principal{
		Tenant:  r.Tenant,
		Kind:    t.claims.kind,
		ID:      t.claims.subject,
		Issuer:  r.URL,
		Roles:   t.claims.roles,
		Proof:   "bearer",
		Expires: t.claims.expires,
	}, nil
}

// checkSignature verifies the token under the one key of the record that its
// header names. The causes go-jose gives quote the token, so they end here.
func (r *record) checkSignature(t *parsed) error {
	if !slices.Contains(r.Algorithms, t.algorithm) {
		return refuse(WrongAlgorithm)
	}
	key, ok := r.keys[t.keyID]
	if !ok {
		return refuse(UnknownKey)
	}
	if key.Algorithm != "" && key.Algorithm != string(t.algorithm) || !fits(key.Key, t.algorithm) {
		return refuse(WrongAlgorithm)
	}
	jws, err := jose.ParseSignedCompact(t.raw, []jose.SignatureAlgorithm{t.algorithm})
	if err != nil {
		return refuse(Malformed)
	}
	payload, err := jws.Verify(key.Key)
	if err != nil || !bytes.Equal(payload, t.payload) {
		return refuse(BadSignature)
	}
	return nil
}

func (r *record) checkClaims(c *claims, now time.Time) error {
	lifetime := c.expires.Sub(c.issued)
	switch {
	case !slices.Contains(c.audience, r.Audience):
		return refuse(WrongAudience)
	case c.expires.IsZero() || c.issued.IsZero() || lifetime <= 0 || lifetime > r.MaxTTL:
		return refuse(BadLifetime)
	case !now.Before(c.expires.Add(r.Leeway)):
		return refuse(Expired)
	case now.Before(c.issued.Add(-r.Leeway)) || now.Before(c.notBefore.Add(-r.Leeway)):
		return refuse(NotYetValid)
	case (pavise.Name{Tenant: r.Tenant, Kind: c.kind, ID: c.subject}).Validate() != nil:
		return refuse(BadSubject)
	}
	for _, role := range c.roles {
		if !slices.Contains(r.Roles, role) {
			return refuse(ForbiddenRole)
		}
	}
	return nil
}

func (i Issuer) fault(field, what, hint string) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("issuer %.200q: %s %s", i.URL, field, what), Hint: hint}
}
