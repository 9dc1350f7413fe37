package issuer

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/identity"
)

// The demo roles: all that a token of the local issuer may carry.
const (
	RoleCaller   = "caller"   // asks models
	RoleAnalyst  = "analyst"  // reads records
	RoleOperator = "operator" // changes routes and policies, mints tokens
)

var demoRoles = []string{RoleAnalyst, RoleCaller, RoleOperator}

// How long the local issuer's tokens live.
const (
	DefaultTTL = 15 * time.Minute
	MaxTTL     = time.Hour
)

// LocalURL returns the iss claim of an installation's local issuer. It is known
// before there is a guard, which wants it.
func LocalURL(install string) string { return "urn:pavise:local:" + install }

// Config is what a local issuer is made of. All of it is required.
type Config struct {
	Guard   *guard.Guard
	Seed    []byte           // of the Ed25519 signing key, 32 bytes (RFC 8032)
	Install string           // the installation's id; fit to be part of a name
	Tenant  string           // whose callers it vouches for
	Now     func() time.Time // the clock
}

// A Local is the local token issuer. It is immutable and safe for concurrent
// use.
type Local struct {
	guard  *guard.Guard
	on     pavise.Name // tenant/issuer/local, the thing its verbs are about
	url    string
	now    func() time.Time
	signer jose.Signer
	public jose.JSONWebKey
}

// New returns the local issuer of an installation. The error is of kind Invalid.
func New(cfg Config) (*Local, error) {
	on := pavise.Name{Tenant: cfg.Tenant, Kind: "issuer", ID: "local"}
	if err := on.Validate(); err != nil {
		return nil, err
	}
	if err := (pavise.Name{Tenant: cfg.Tenant, Kind: "install", ID: cfg.Install}).Validate(); err != nil {
		return nil, err
	}
	if len(cfg.Seed) != ed25519.SeedSize {
		return nil, &pavise.Error{
			Kind: pavise.Invalid,
			Msg:  fmt.Sprintf("the token key is %d bytes long, not %d", len(cfg.Seed), ed25519.SeedSize),
			Hint: "hand in the seed of an Ed25519 key",
		}
	}
	private := ed25519.NewKeyFromSeed(cfg.Seed)
	public := jose.JSONWebKey{Key: private.Public(), Algorithm: string(jose.EdDSA), Use: "sig"}
	thumb, err := public.Thumbprint(crypto.SHA256) // RFC 7638
	if err != nil {
		return nil, fmt.Errorf("name the token key: %w", err)
	}
	public.KeyID = base64.RawURLEncoding.EncodeToString(thumb)
	key := jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: private, KeyID: public.KeyID}}
	signer, err := jose.NewSigner(key, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return nil, fmt.Errorf("make the token signer: %w", err)
	}
	return &Local{guard: cfg.Guard, on: on, url: LocalURL(cfg.Install), now: cfg.Now, signer: signer, public: public}, nil
}

// Record returns the record by which package identity knows this issuer.
func (l *Local) Record() identity.Issuer {
	return identity.Issuer{
		URL:        l.url,
		Audience:   l.audience(),
		Keys:       identity.KeySet{Keys: []jose.JSONWebKey{l.public}},
		Algorithms: []identity.Algorithm{jose.EdDSA},
		Tenant:     l.on.Tenant,
		MaxTTL:     MaxTTL,
		Roles:      slices.Clone(demoRoles),
		Demo:       true,
		Ours:       true,
	}
}

// audience is this installation's own: a token for it is for nobody else.
func (l *Local) audience() string { return l.url + ":api" }

// A MintRequest says whom a token should be for.
type MintRequest struct {
	Subject string        // the caller's id, fit to be part of a name
	Kind    string        // pavise.Human or pavise.Workload; "" means Workload
	Roles   []string      // demo roles only; may be empty
	TTL     time.Duration // up to MaxTTL, in whole seconds; 0 means DefaultTTL
}

// A Token is a bearer token just signed. It prints as its id.
type Token struct {
	Value   string    `json:"token"` // the token itself: whoever has it is the caller
	ID      string    `json:"id"`    // its jti, by which records know it
	Expires time.Time `json:"expires"`
}

// String returns the token's id, so that a token in a log line opens nothing.
func (t Token) String() string { return "token " + t.ID }

// GoString is String: %#v opens nothing either.
func (t Token) GoString() string { return t.String() }

// Mint signs a token for req, on behalf of who, who answers for it: the token says so
// unless it is for the same one. The record holds whom the token
// is for, its roles, its end and its id, and never the token. The error is the
// guard's, of kind Invalid for a request that asks too much, or of kind Denied
// when a program asks for a person's token: it would pass for somebody who was
// never there, and policies that want a person would be met by none. It is of kind
// Denied, too, when somebody to whom the role operator was granted for a time would
// hand it on: what they had made could make its own successors, for ever.
func (l *Local) Mint(ctx context.Context, who pavise.Principal, req MintRequest) (tok Token, err error) {
	entry, err := l.guard.Enter(ctx, who, "issuer.mint", l.on)
	if err != nil {
		return Token{}, err
	}
	defer func() { // after Exit: a token that could not be written down is not given out
		if err != nil {
			tok = Token{}
		}
	}()
	defer entry.Exit(&err)
	c, err := l.claims(req)
	if err != nil {
		return Token{}, err
	}
	if c.Kind == pavise.Human && who.Kind != pavise.Human {
		return Token{}, &pavise.Error{
			Kind: pavise.Denied,
			Msg:  fmt.Sprintf("a %s cannot be given a token for a human", who.Kind),
			Hint: "let a person mint it, or ask for the kind workload",
		}
	}
	if slices.Contains(c.Roles, RoleOperator) && !who.HasRole(RoleOperator) {
		return Token{}, &pavise.Error{
			Kind: pavise.Denied,
			Msg:  fmt.Sprintf("%s is no operator by their own proof, and makes none", who.Name()),
			Hint: "a role that was granted for a time is not handed on; let an operator mint it, or leave out the role operator",
		}
	}
	c.By = madeBy(who, pavise.Name{Tenant: l.on.Tenant, Kind: c.Kind, ID: c.Subject})
	entry.Detail(detail{Subject: c.Subject, Kind: c.Kind, Roles: c.Roles, Expires: time.Unix(c.Expires, 0).UTC(), ID: c.ID, By: c.By})
	return l.sign(c)
}

// Bootstrap signs the first token, as Mint does.
//
// Unguarded: nobody holds a token yet who could be asked about. Only `up` calls
// it, once, for the person who started it, and records that it did.
func (l *Local) Bootstrap(req MintRequest) (Token, error) {
	c, err := l.claims(req)
	if err != nil {
		return Token{}, err
	}
	return l.sign(c)
}

// detail is what a record of issuer.mint says about the token.
type detail struct {
	Subject string    `json:"subject"`
	Kind    string    `json:"kind"`
	Roles   []string  `json:"roles"`
	Expires time.Time `json:"expires"`
	ID      string    `json:"jti"`
	By      string    `json:"by,omitempty"` // kind/id of who answers for it, if that is somebody else
}

// claims is the payload of a token (RFC 7519). Times are seconds since 1970.
type claims struct {
	Issuer   string   `json:"iss"`
	Subject  string   `json:"sub"`
	Audience string   `json:"aud"`
	Issued   int64    `json:"iat"`
	Expires  int64    `json:"exp"`
	ID       string   `json:"jti"`
	Roles    []string `json:"pavise_roles"`
	Kind     string   `json:"pavise_kind"`
	By       string   `json:"pavise_by,omitempty"` // kind/id of who had it made
}

// madeBy is who answers for a token that who has made, as the token says it; "" if
// somebody whom the issuer itself knows makes one for themself. Without it one person
// with two tokens would pass for two people, and what a person had made would make
// itself that person, with all that they were granted.
func madeBy(who pavise.Principal, subject pavise.Name) string {
	root := who.Root()
	if root == subject && who.By == (pavise.Name{}) {
		return ""
	}
	return root.Kind + "/" + root.ID
}

// claims checks the request and returns what the token will say.
func (l *Local) claims(req MintRequest) (claims, error) {
	if req.Kind == "" {
		req.Kind = pavise.Workload
	}
	if req.TTL == 0 {
		req.TTL = DefaultTTL
	}
	if err := l.check(req); err != nil {
		return claims{}, err
	}
	now := l.now().Unix()
	return claims{
		Issuer: l.url, Subject: req.Subject, Audience: l.audience(),
		Issued: now, Expires: now + int64(req.TTL/time.Second),
		ID: rand.Text(), Roles: append([]string{}, req.Roles...), Kind: req.Kind,
	}, nil
}

func (l *Local) check(req MintRequest) error {
	if err := (pavise.Name{Tenant: l.on.Tenant, Kind: pavise.Human, ID: req.Subject}).Validate(); err != nil {
		return err
	}
	if req.Kind != pavise.Human && req.Kind != pavise.Workload {
		return invalid(fmt.Sprintf("kind %.20q is not one a token can be for", req.Kind), "take human or workload")
	}
	if req.TTL < time.Second || req.TTL > MaxTTL {
		return invalid(fmt.Sprintf("a token cannot live %v", req.TTL), fmt.Sprintf("take from 1s to %v", MaxTTL))
	}
	for _, role := range req.Roles {
		if !slices.Contains(demoRoles, role) {
			return invalid(fmt.Sprintf("the local issuer cannot give the role %.80q", role),
				fmt.Sprintf("take from %v; other roles come from an issuer of your organisation", demoRoles))
		}
	}
	return nil
}

func (l *Local) sign(c claims) (Token, error) {
	value, err := signJWT(l.signer, c)
	return Token{Value: value, ID: c.ID, Expires: time.Unix(c.Expires, 0).UTC()}, err
}

func invalid(msg, hint string) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: msg, Hint: hint}
}
