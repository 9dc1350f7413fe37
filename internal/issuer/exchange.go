package issuer

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/identity"
	"github.com/pavise/pavise/internal/policy"
)

// How long exchanged tokens live.
const (
	MinExchangeTTL     = 5 * time.Minute
	DefaultExchangeTTL = 10 * time.Minute
	MaxExchangeTTL     = 15 * time.Minute
)

// maxChain is how many may act for each other in one token; package identity reads no
// more.
const maxChain = 4

// ExchangeConfig is what a token service is made of.
type ExchangeConfig struct {
	Guard     *guard.Guard
	Key       []byte           // of ECDSA on P-256: the scalar, 32 bytes; see NewExchangeKey
	URL       string           // the iss claim: where callers and clouds reach us, without a path
	Tenant    string           // whose callers it serves
	Audiences []string         // whom its tokens may be for, besides this installation itself
	TTL       time.Duration    // how long they live; 0 means DefaultExchangeTTL
	Bearer    bool             // the tenant accepts tokens that are bound to no key
	Now       func() time.Time // the clock
}

// An Exchange is the token service (RFC 8693): it gives a short-lived token of its own
// for a proof that this installation accepts, so that whoever trusts Pavise need trust
// nobody else. It is immutable and safe for concurrent use.
//
// What it gives never says more than the proof: the same name, no role more, no longer
// life, the same environment. It is bound to the key that the caller showed to have.
type Exchange struct {
	cfg    ExchangeConfig
	on     pavise.Name // tenant/issuer/exchange, the thing its verb is about
	signer jose.Signer
	public jose.JSONWebKey
}

// NewExchangeKey makes the key of a token service.
func NewExchangeKey() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the exchange key: %w", err)
	}
	return key.Bytes()
}

// NewExchange returns the token service of an installation. The error is of kind
// Invalid.
func NewExchange(cfg ExchangeConfig) (*Exchange, error) {
	on := pavise.Name{Tenant: cfg.Tenant, Kind: "issuer", ID: "exchange"}
	if err := on.Validate(); err != nil {
		return nil, err
	}
	if cfg.TTL == 0 {
		cfg.TTL = DefaultExchangeTTL
	}
	if cfg.TTL < MinExchangeTTL || cfg.TTL > MaxExchangeTTL {
		return nil, invalid(fmt.Sprintf("exchanged tokens cannot live %v", cfg.TTL), fmt.Sprintf("take from %v to %v", MinExchangeTTL, MaxExchangeTTL))
	}
	if u, err := url.Parse(cfg.URL); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || strings.TrimPrefix(cfg.URL, u.Scheme+"://"+u.Host) != "" {
		return nil, invalid(fmt.Sprintf("%.200q is not the URL of a token service", cfg.URL), "write scheme and host as others reach it, for example https://pavise.example")
	}
	if slices.Contains(cfg.Audiences, "") {
		return nil, invalid("an audience of exchanged tokens is empty", "leave it out")
	}
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), cfg.Key)
	if err != nil {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "the exchange key is not one of ECDSA on P-256", Hint: "make one with NewExchangeKey"}
	}
	e := &Exchange{cfg: cfg, on: on, public: jose.JSONWebKey{Key: private.Public(), Algorithm: string(jose.ES256), Use: "sig"}}
	thumb, err := e.public.Thumbprint(crypto.SHA256) // RFC 7638
	if err != nil {
		return nil, fmt.Errorf("name the exchange key: %w", err)
	}
	e.public.KeyID = base64.RawURLEncoding.EncodeToString(thumb)
	key := jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: private, KeyID: e.public.KeyID}}
	if e.signer, err = jose.NewSigner(key, (&jose.SignerOptions{}).WithType("JWT")); err != nil {
		return nil, fmt.Errorf("make the exchange signer: %w", err)
	}
	return e, nil
}

// URL is the issuer that its tokens name.
func (e *Exchange) URL() string { return e.cfg.URL }

// Record returns the record by which package identity knows this service: it may
// assert the roles that its subjects' own issuers may.
func (e *Exchange) Record(roles []string) identity.Issuer {
	return identity.Issuer{
		URL: e.cfg.URL, Audience: e.cfg.URL, Keys: e.Keys(), Algorithms: []identity.Algorithm{jose.ES256},
		Tenant: e.cfg.Tenant, MaxTTL: MaxExchangeTTL, Roles: slices.Clone(roles), Ours: true, WholeNames: true, Bound: !e.cfg.Bearer,
	}
}

// Keys are the public keys, as /.well-known/jwks.json shows them.
func (e *Exchange) Keys() identity.KeySet { return identity.KeySet{Keys: []jose.JSONWebKey{e.public}} }

// An ExchangeRequest asks for a token for proofs that package identity verified.
type ExchangeRequest struct {
	Subject  identity.Proof  // whom the token is to speak for
	Actor    *identity.Proof // who is to act for the subject; nil: the subject itself
	Audience string          // whom the token is for; "" is this installation itself
	Roles    []string        // which of the subject's; nil is all of them
}

// asks is who asks: the actor, if there is one.
func (r ExchangeRequest) asks() pavise.Principal {
	if r.Actor != nil {
		return r.Actor.Principal
	}
	return r.Subject.Principal
}

// An ExchangedToken is a token just signed. It prints as its id.
type ExchangedToken struct {
	Token
	Scheme string   // Bearer or DPoP: how it is sent
	Roles  []string // that it carries
}

// Why an exchange is refused, besides the guard's reasons. Each is the error of OAuth
// that the endpoint answers with (RFC 6749, section 5.2; RFC 8693, section 2.2.2).
const (
	InvalidRequest = "invalid_request"
	InvalidScope   = "invalid_scope"
	InvalidTarget  = "invalid_target"
)

// An ExchangeFault is the cause of a refusal that OAuth has a name for.
type ExchangeFault struct{ Name string }

// Error returns the name.
func (f *ExchangeFault) Error() string { return f.Name }

func faulty(name, msg, hint string) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: msg, Hint: hint, Err: &ExchangeFault{name}}
}

// exchanged is the payload of an exchanged token (RFC 7519, RFC 8693, RFC 9449). Its
// subject is a whole name: a cloud that looks at the subject alone cannot take a person
// for a program, or one tenant's for another's.
type exchanged struct {
	claims
	Actor       *actor            `json:"act,omitempty"`
	Keys        map[string]string `json:"cnf,omitempty"`
	Origin      string            `json:"pavise_origin"`
	Environment string            `json:"pavise_environment,omitempty"`
}

// An actor is one who acts, and for whom it does.
type actor struct {
	Subject string `json:"sub"`
	Issuer  string `json:"iss,omitempty"` // who vouches for it
	For     *actor `json:"act,omitempty"`
}

// exchangeDetail is what a record of issuer.exchange says about the token.
type exchangeDetail struct {
	Subject  string    `json:"subject"`
	Actors   []string  `json:"actors,omitempty"`
	Audience string    `json:"audience"`
	Roles    []string  `json:"roles"`
	Origin   string    `json:"origin"`
	Bound    string    `json:"bound,omitempty"` // to what sort of key
	Expires  time.Time `json:"expires"`
	ID       string    `json:"jti"`
}

// Exchange signs a token for the proofs in the request, on behalf of who acts. The
// record says everything about it and never holds it. The error is the guard's, or of
// kind Invalid with an *ExchangeFault as its cause.
func (e *Exchange) Exchange(ctx context.Context, req ExchangeRequest) (out ExchangedToken, err error) {
	entry, err := e.cfg.Guard.Enter(ctx, req.asks(), "issuer.exchange", e.on)
	if err != nil {
		return ExchangedToken{}, err
	}
	defer func() { // after Exit: a token that could not be written down is not given out
		if err != nil {
			out = ExchangedToken{}
		}
	}()
	defer entry.Exit(&err)
	c, names, err := e.claims(req)
	if err != nil {
		return ExchangedToken{}, err
	}
	d := exchangeDetail{Subject: c.Subject, Actors: names, Audience: c.Audience, Roles: c.Roles, Origin: c.Origin, Expires: time.Unix(c.Expires, 0).UTC(), ID: c.ID}
	out = ExchangedToken{Scheme: "Bearer", Roles: c.Roles}
	switch {
	case c.Keys["jkt"] != "":
		out.Scheme, d.Bound = "DPoP", "dpop"
	case c.Keys["x5t#S256"] != "":
		d.Bound = "mtls"
	}
	entry.Detail(d)
	value, err := signJWT(e.signer, c)
	out.Token = Token{Value: value, ID: c.ID, Expires: d.Expires}
	return out, err
}

// claims is what the token says, and the names of who acts, the asking one first.
func (e *Exchange) claims(req ExchangeRequest) (exchanged, []string, error) {
	now := e.cfg.Now()
	subject, ends := req.Subject, now.Add(e.cfg.TTL)
	held := subject.Held
	roles, err := narrowed(subject.Principal.Roles, req.Roles)
	if err != nil {
		return exchanged{}, nil, err
	}
	actors, vouchers := subject.Actors, subject.Vouchers
	environment := subject.Principal.Environment
	if a := req.Actor; a != nil {
		if err := e.mayAct(a, subject.Principal); err != nil {
			return exchanged{}, nil, err
		}
		actors, vouchers = append([]pavise.Name{a.Principal.Name()}, actors...), append([]string{a.Origin}, vouchers...)
		held, environment, ends = a.Held, a.Principal.Environment, earlier(ends, a.Principal.Expires)
	}
	ends = earlier(ends, subject.Principal.Expires)
	audience := req.Audience
	if audience == "" {
		audience = e.cfg.URL
	}
	switch {
	case subject.Principal.Tenant != e.cfg.Tenant:
		return exchanged{}, nil, faulty(InvalidRequest, "the subject_token is of another tenant", "ask that tenant's token service")
	case audience != e.cfg.URL && !slices.Contains(e.cfg.Audiences, audience):
		return exchanged{}, nil, faulty(InvalidTarget, fmt.Sprintf("tokens for %.200q are not given out here", audience), "the operator lists whom tokens may be for")
	case len(actors) > maxChain:
		return exchanged{}, nil, faulty(InvalidRequest, fmt.Sprintf("more than %d act for each other", maxChain), "let one of them ask")
	case ends.Unix() <= now.Unix():
		return exchanged{}, nil, faulty(InvalidRequest, "the token has just ended", "get a new one from its issuer")
	case held == (identity.Keys{}) && !e.cfg.Bearer:
		return exchanged{}, nil, faulty(InvalidRequest, "tokens that are bound to no key are not given out here", "send a DPoP proof (RFC 9449) with the request, or ask over a client certificate")
	}
	c := exchanged{
		claims: claims{
			Issuer: e.cfg.URL, Subject: subject.Subject.String(), Audience: audience, Issued: now.Unix(), Expires: ends.Unix(),
			ID: rand.Text(), Roles: roles, Kind: subject.Subject.Kind,
		},
		Keys: confirmation(held), Origin: subject.Origin, Environment: environment,
	}
	if by := subject.Principal.By; by != (pavise.Name{}) {
		c.By = by.Kind + "/" + by.ID
	}
	var names []string
	for i, name := range slices.Backward(actors) {
		c.Actor = &actor{Subject: name.String(), For: c.Actor}
		if i < len(vouchers) { // else it is not known
			c.Actor.Issuer = vouchers[i]
		}
	}
	for _, name := range actors {
		names = append(names, name.String())
	}
	return c, names, nil
}

// mayAct refuses an actor whose word would count for another's. A person acts for
// themself alone, and what somebody had made acts for nobody else: acting for another,
// either would answer to two people as one.
func (e *Exchange) mayAct(a *identity.Proof, subject pavise.Principal) error {
	who := a.Principal
	switch {
	case who.Tenant != e.cfg.Tenant || who.Name() == subject.Name() || len(a.Actors) > 0:
		return faulty(InvalidRequest, "the actor_token is not of somebody else of this tenant who acts for themself", "leave it out to exchange your own token")
	case who.Kind == pavise.Human:
		return faulty(InvalidRequest, "a person acts for nobody else", "let a program act, with its own token")
	case who.Root() != who.Name() && who.Root() != subject.Root():
		return faulty(InvalidRequest, "somebody else had the actor's identity made, and answers for it", "let a program act that its issuer knows by itself, or that the subject had made")
	}
	return nil
}

// narrowed returns the roles that are wanted of those there are. Of two that check each
// other none is left out: who has both would be one person today and the other tomorrow.
func narrowed(have, want []string) ([]string, error) {
	if want == nil {
		return append([]string{}, have...), nil
	}
	for _, role := range want {
		if !slices.Contains(have, role) {
			return nil, faulty(InvalidScope, fmt.Sprintf("the subject does not have the role %.80q", role), "ask for roles that the subject_token carries, or leave scope out for all of them")
		}
	}
	if pair, both := policy.Conflicting(have); both && !(slices.Contains(want, pair[0]) && slices.Contains(want, pair[1])) {
		return nil, faulty(InvalidScope, fmt.Sprintf("the subject has the roles %s and %s, which check each other, and cannot leave one out", pair[0], pair[1]), "have the issuer take one of them back")
	}
	return append([]string{}, want...), nil
}

// confirmation is the cnf claim for the keys that the caller showed to have.
func confirmation(held identity.Keys) map[string]string {
	switch {
	case held.JKT != "":
		return map[string]string{"jkt": held.JKT}
	case held.X5T != "":
		return map[string]string{"x5t#S256": held.X5T}
	}
	return nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// signJWT signs claims in compact form.
func signJWT(signer jose.Signer, claims any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("encode the claims: %w", err)
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("sign the token: %w", err)
	}
	value, err := jws.CompactSerialize()
	if err != nil {
		return "", fmt.Errorf("write the token: %w", err)
	}
	return value, nil
}
