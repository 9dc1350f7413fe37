// Package identity says who is calling: it turns a proof into a
// pavise.Principal. A proof is a token of an issuer that has a record, alone or
// bound to a key that the caller shows to have, or a workload certificate of a
// trust domain that has one. It verifies and gives nothing out; package issuer
// mints.
//
// It owns the rules of what a proof must be, the records of who may vouch for
// someone, the key sets fetched for them, and three memories: of tokens that
// were verified, of proofs that were used, and of what was revoked
// ([Epochs]). docs/identity.md shows records for well-known issuers.
//
// # What is checked of a token, in this order
//
//  1. The token is at most 8 KiB, and is three parts of canonical base64url: a
//     JWS in compact form (RFC 7515). JSON forms and encryption are refused.
//  2. Header and claims are JSON objects in which no two members have the same
//     name, not even in another case.
//  3. The header names an algorithm and a key id, and nothing that could bring
//     a key along or change how the signature is made.
//  4. The issuer has a record; the algorithm is in it; the key is the record's,
//     pinned or fetched from where the record says, and is of the algorithm's own
//     type. A token never says where keys are.
//  5. The signature is good.
//  6. The audience is ours; the token has begun, has not ended and does not live
//     longer than its issuer's tokens may.
//  7. The record's condition holds, and what the record makes of the claims can
//     be a caller: a name, a kind, roles that this issuer may assert.
//  8. It was not issued before what was revoked.
//  9. The caller has the key that the token is bound to, and the record is
//     content with a token that is bound to none.
//
// A token that passed 1 to 7 is remembered until it ends, its issuer's keys
// change, or newer tokens push it out; 8 and 9 are checked each time.
//
// The tenant comes from the record, never from the token.
//
// A refusal says which of these failed, as a short class ([Reason]), and never
// any part of the token: not in its message, not in its cause.
package identity

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/pavise/pavise"
)

// MaxToken is the size of the longest token that is looked at, in bytes.
const MaxToken = 8 << 10

// Config is what a verifier knows.
type Config struct {
	Now     func() time.Time // the clock; required
	Issuers []Issuer         // of tokens
	Domains []TrustDomain    // of workload certificates
	// Origins are how callers reach us: scheme://host, with a port unless it is the
	// scheme's own. A proof of possession (DPoP) is good for these alone, so without
	// one there is none: the Host header is the caller's own word.
	Origins []string
	Epochs  *Epochs // what was revoked; nil: nothing ever is
	// Replays is how many proofs of possession are remembered at a time; 0 means
	// DefaultReplays. When they are used up, further ones are refused.
	Replays int
	// HTTP fetches what issuers publish; nil means a client with none but the
	// system's roots. It follows no redirects in any case.
	HTTP *http.Client
}

// A Verifier knows who may vouch for callers, and checks proofs. It is safe for
// concurrent use.
type Verifier struct {
	now     func() time.Time
	records map[string]*record // by issuer URL
	domains map[string]*domain // by trust domain
	origins []string           // normalised
	epochs  *Epochs            // never nil
	memory  memory             // of what was verified
	proofs  *replays           // of possession, that were used
}

// NewVerifier returns a verifier for the tokens of these issuers. now is the
// clock. The error is of kind Invalid and names the issuer and the field.
func NewVerifier(now func() time.Time, issuers ...Issuer) (*Verifier, error) {
	return New(Config{Now: now, Issuers: issuers})
}

// New returns a verifier. It fetches nothing yet: an issuer that is away keeps
// nobody else's callers out. The error is of kind Invalid and names the record and
// the field.
func New(cfg Config) (*Verifier, error) {
	v := &Verifier{now: cfg.Now, records: map[string]*record{}, domains: map[string]*domain{}, epochs: cfg.Epochs}
	if v.epochs == nil {
		v.epochs = NewEpochs()
	}
	v.proofs = newReplays(cfg.Replays)
	v.memory.start()
	for _, i := range cfg.Issuers {
		r, err := newRecord(i, cfg)
		if err != nil {
			return nil, err
		}
		if v.records[i.URL] != nil {
			return nil, i.fault("URL", "is in two records", "give each issuer one record")
		}
		v.records[i.URL] = r
	}
	for _, d := range cfg.Domains {
		known, err := newDomain(d)
		if err != nil {
			return nil, err
		}
		if v.domains[d.Name] != nil {
			return nil, d.fault("Name", "is in two records", "give each trust domain one record")
		}
		v.domains[d.Name] = known
	}
	for _, o := range cfg.Origins {
		origin, ok := normalOrigin(o)
		if !ok {
			return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("origin %.200q is not scheme://host", o), Hint: "write it as callers do, for example https://pavise.example or http://127.0.0.1:8470"}
		}
		v.origins = append(v.origins, origin)
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

// Run fetches issuers' keys before they are old, until ctx is done. Without it they
// are fetched when a caller needs them, who then waits.
func (v *Verifier) Run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		for _, r := range v.records {
			if r.source != nil {
				r.source.renew(ctx)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// A Proof is all that verified credentials say.
type Proof struct {
	Principal pavise.Principal // who calls
	// Subject is whom the proof speaks for: the caller, or whom the caller acts for.
	Subject pavise.Name
	Actors  []pavise.Name // who acts for the subject, the caller first; empty: nobody does
	// Vouchers are the issuers by whose proofs the Actors were known, one for each; "" is
	// not known.
	Vouchers []string
	Issued   time.Time // when the proof was given out
	Origin   string    // who gave the first proof out, where this one was exchanged for it
	Bound    Keys      // the keys that the proof is bound to
	Held     Keys      // the keys that the caller was just seen to have
}

// Keys are thumbprints of a caller's own keys, as base64url of SHA-256; "" is none.
type Keys struct {
	JKT string // of a DPoP key (RFC 9449, RFC 7638)
	X5T string // of a client certificate (RFC 8705)
}

// Verify returns the caller whom the credentials prove. The principal's Roles must
// not be changed. The error wraps a *Refusal and is of kind Unverified; it is of kind
// Unavailable when the issuer's keys cannot be had or too many proofs are in use, and
// Throttled when the caller's own share of those is.
func (v *Verifier) Verify(ctx context.Context, c Credentials) (pavise.Principal, error) {
	known, err := v.known(ctx, &c)
	if err != nil {
		return pavise.Principal{}, err
	}
	return known.Principal, nil
}

// known verifies credentials: what is remembered of them, and each time whether they
// were revoked and the caller has the key.
func (v *Verifier) known(ctx context.Context, c *Credentials) (*verified, error) {
	scheme, token, err := c.token()
	if err != nil {
		return nil, err
	}
	if token == "" {
		return v.certificate(c)
	}
	known, err := v.token(ctx, token)
	if err != nil {
		return nil, err
	}
	return known, v.held(known, scheme, token, c)
}

// token verifies a token, or remembers that it was.
func (v *Verifier) token(ctx context.Context, token string) (*verified, error) {
	now := v.now()
	known, hash := v.memory.recall(token)
	if known != nil && known.good(now) {
		return known, v.epochs.admit(known)
	}
	sum := digestOf(token)
	if known := v.memory.get(sum); known != nil && known.good(now) {
		v.memory.note(token, hash, known, now)
		return known, v.epochs.admit(known)
	}
	known, err := v.judge(ctx, token, now)
	if err != nil {
		return nil, err
	}
	v.memory.put(sum, known)
	return known, v.epochs.admit(known)
}

// judge verifies a token from the ground up.
func (v *Verifier) judge(ctx context.Context, token string, now time.Time) (*verified, error) {
	t, err := parse(token)
	if err != nil {
		return nil, err
	}
	r := v.records[t.claims.issuer]
	if r == nil {
		return nil, refuse(WrongIssuer)
	}
	ring, err := r.checkSignature(ctx, t)
	if err != nil {
		return nil, err
	}
	if err := r.checkClaims(&t.claims, now); err != nil {
		return nil, err
	}
	known := &verified{voucher: &r.voucher, revision: ring.revision, begins: r.begins(&t.claims), ends: t.claims.expires.Add(r.Leeway).UnixNano()}
	known.Proof, err = r.proof(t)
	return known, err
}

// checkSignature verifies the token under the one key of the record that its
// header names, and returns the ring that the key is on. The causes go-jose gives
// quote the token, so they end here.
func (r *record) checkSignature(ctx context.Context, t *parsed) (*ring, error) {
	if !slices.Contains(r.Algorithms, t.algorithm) {
		return nil, refuse(WrongAlgorithm)
	}
	ring, key, err := r.key(ctx, t.keyID)
	if err != nil {
		return nil, err
	}
	if key.Algorithm != "" && key.Algorithm != string(t.algorithm) || !fits(key.Key, t.algorithm) {
		return nil, refuse(WrongAlgorithm)
	}
	payload, ok := signed(t.raw, t.algorithm, key.Key)
	if !ok || !bytes.Equal(payload, t.payload) {
		return nil, refuse(BadSignature)
	}
	return ring, nil
}

// signed returns the payload of a JWS that the key signed.
func signed(raw string, algorithm Algorithm, key any) ([]byte, bool) {
	jws, err := jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{algorithm})
	if err != nil {
		return nil, false
	}
	payload, err := jws.Verify(key)
	return payload, err == nil
}

// key returns the key with the id, and its ring.
func (r *record) key(ctx context.Context, id string) (*ring, jose.JSONWebKey, error) {
	ring := r.ring.Load()
	if r.source != nil {
		var err error
		if ring, err = r.source.ringWith(ctx, id); err != nil {
			return nil, jose.JSONWebKey{}, err
		}
	}
	key, ok := ring.keys[id]
	if !ok {
		return nil, key, refuse(UnknownKey)
	}
	return ring, key, nil
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
	case now.UnixNano() < r.begins(c):
		return refuse(NotYetValid)
	}
	return nil
}

// begins is when a token is good from, in nanoseconds since 1970.
func (r *record) begins(c *claims) int64 {
	from := c.issued
	if c.notBefore.After(from) {
		from = c.notBefore
	}
	return from.Add(-r.Leeway).UnixNano()
}

// proof is what the record makes of a token whose signature and times are good.
func (r *record) proof(t *parsed) (Proof, error) {
	c := &t.claims
	says, err := r.claims.read(t)
	if err != nil {
		return Proof{}, err
	}
	subject, err := r.subject(says)
	if err != nil {
		return Proof{}, err
	}
	slices.Sort(says.roles)
	says.roles = slices.Compact(says.roles)
	for _, role := range says.roles {
		if !slices.Contains(r.Roles, role) {
			return Proof{}, refuse(ForbiddenRole)
		}
	}
	p := Proof{Subject: subject, Issued: c.issued, Bound: c.bound, Origin: r.URL}
	p.Principal = pavise.Principal{
		Tenant: r.Tenant, Kind: subject.Kind, ID: subject.ID, Issuer: r.URL, Roles: says.roles,
		Proof: c.bound.how(), Expires: c.expires, Environment: says.environment, Organisation: says.organisation,
	}
	if r.Bound && c.bound == (Keys{}) {
		return Proof{}, refuse(Unbound)
	}
	return p, r.delegation(&p, c)
}

// subject is the name of whom a token speaks for.
func (r *record) subject(says saying) (pavise.Name, error) {
	name := pavise.Name{Tenant: r.Tenant, Kind: says.kind, ID: says.id}
	if r.WholeNames {
		var err error
		if name, err = pavise.ParseName(says.id); err != nil || name.Tenant != r.Tenant || name.Kind != says.kind {
			return pavise.Name{}, refuse(BadSubject)
		}
	}
	if name.Validate() != nil {
		return pavise.Name{}, refuse(BadSubject)
	}
	return name, nil
}

// delegation reads who had the identity made, where it runs, and who acts for the
// subject (RFC 8693, section 4.1). Only our own issuers may say so.
func (r *record) delegation(p *Proof, c *claims) error {
	if !r.Ours {
		if c.by != "" || len(c.actors) > 0 {
			return refuse(ForbiddenClaim) // without them the caller would pass for somebody else
		}
		return nil // where it runs and where it is from is what our record says
	}
	if c.origin != "" {
		p.Origin = c.origin
	}
	if c.environment != "" {
		if !plainWord(c.environment) {
			return refuse(BadClaims)
		}
		p.Principal.Environment = c.environment
	}
	if c.by != "" {
		kind, id, _ := strings.Cut(c.by, "/")
		p.Principal.By = pavise.Name{Tenant: r.Tenant, Kind: kind, ID: id}
		if p.Principal.By.Validate() != nil {
			return refuse(BadSubject)
		}
	}
	for _, actor := range c.actors {
		name, err := pavise.ParseName(actor)
		if err != nil || name.Tenant != r.Tenant || !isKind(name.Kind) {
			return refuse(BadSubject)
		}
		p.Actors = append(p.Actors, name)
	}
	p.Vouchers = c.vouchers
	if len(p.Actors) > 0 {
		// Who acts is the caller: a program that a person sent is a program.
		p.Principal.Kind, p.Principal.ID = p.Actors[0].Kind, p.Actors[0].ID
		if p.Principal.By == (pavise.Name{}) {
			p.Principal.By = p.Subject
		}
	}
	return nil
}

func isKind(kind string) bool {
	return kind == pavise.Human || kind == pavise.Workload || kind == pavise.Node
}

// how names the way in which a token that is bound to these keys proves its caller.
func (k Keys) how() string {
	switch {
	case k.JKT != "":
		return "dpop"
	case k.X5T != "":
		return "bearer+mtls"
	}
	return "bearer"
}

func (i Issuer) fault(field, what, hint string) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("issuer %.200q: %s %s", i.URL, field, what), Hint: hint}
}
