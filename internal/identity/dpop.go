package identity

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	// maxProof is the size of the longest proof of possession that is looked at, in
	// bytes.
	maxProof = 8 << 10
	// maxProofID bounds its jti, in bytes.
	maxProofID = 256
	// proofTime is how far the time of a proof may be from now, besides the leeway.
	proofTime = time.Minute
)

// held refuses a token whose caller has not shown to have the key that it is bound to.
// That a token is bound is part of what its issuer signed, so a thief cannot leave it
// out.
func (v *Verifier) held(k *verified, scheme, token string, c *Credentials) error {
	if k.Bound.X5T != "" && subtle.ConstantTimeCompare([]byte(k.Bound.X5T), []byte(c.certificateThumbprint())) != 1 {
		return refuse(NotHolder)
	}
	switch {
	case k.Bound.JKT != "" && scheme != schemeDPoP:
		return refuse(NotHolder) // RFC 9449, section 7.2: not even with a proof beside it
	case k.Bound.JKT == "" && scheme == schemeDPoP:
		return refuse(Unbound) // section 7.1
	case k.Bound.JKT == "":
		return nil
	case len(c.DPoP) == 0:
		return refuse(NotHolder)
	}
	sum := digestOf(token)
	return v.possession(k, c, thumb(sum[:]), k.Bound.JKT)
}

// possession checks the proof in a request whose token was verified: it is of the
// key, for this request and this token, made just now, and not used before. An empty
// ath wants none, as at a token endpoint.
func (v *Verifier) possession(k *verified, c *Credentials, ath, jkt string) error {
	p, err := parseProof(c.DPoP)
	if err != nil {
		return err
	}
	switch {
	case subtle.ConstantTimeCompare([]byte(p.thumbprint), []byte(jkt)) != 1:
		return refuse(NotHolder)
	case !p.verifies():
		return refuse(BadProof)
	case p.method != c.Method || !v.reached(p.url, c.URL):
		return refuse(WrongTarget)
	case subtle.ConstantTimeCompare([]byte(p.token), []byte(ath)) != 1:
		return refuse(WrongToken)
	}
	window := proofTime + k.voucher.leeway
	now := v.now()
	if age := now.Sub(p.issued); age > window || age < -window {
		return refuse(StaleProof)
	}
	return v.proofs.use(now, p.issued.Add(window), use{
		proof: p.thumbprint + "\x00" + p.id, key: p.thumbprint, caller: k.Principal.Name(), issuer: k.Principal.Issuer,
	})
}

// reached reports whether a proof's htu is the URL that the caller reached us by: one
// of our origins, and the path of the request.
func (v *Verifier) reached(htu, target string) bool {
	origin, path, ok := splitURL(htu)
	target, _, _ = strings.Cut(target, "?")
	return ok && slices.Contains(v.origins, origin) && path == normalPath(target)
}

// A proof of possession is a JWT that a caller signs for one request (RFC 9449, section
// 4.2). Parsed, nothing in it is proved.
type possession struct {
	raw                    string
	algorithm              jose.SignatureAlgorithm
	key                    jose.JSONWebKey
	thumbprint             string // of key
	id, method, url, token string // jti, htm, htu, ath
	issued                 time.Time
	payload                []byte
}

// parseProof reads the values of a request's DPoP header: exactly one.
func parseProof(values []string) (*possession, error) {
	if len(values) != 1 || len(values[0]) > maxProof {
		return nil, refuse(BadProof)
	}
	parts := strings.Split(values[0], ".")
	if len(parts) != 3 {
		return nil, refuse(BadProof)
	}
	var decoded [3][]byte
	for i, part := range parts {
		var ok bool
		if decoded[i], ok = decode(part); !ok {
			return nil, refuse(BadProof)
		}
	}
	p := &possession{raw: values[0], payload: decoded[1]}
	if !p.parseHeader(decoded[0]) || !p.parseClaims(decoded[1]) {
		return nil, refuse(BadProof)
	}
	return p, nil
}

// parseHeader takes typ, alg and jwk, and passes over a key id. Anything else could
// change what is signed or with what.
func (p *possession) parseHeader(b []byte) bool {
	header, ok := object(b)
	if !ok {
		return false
	}
	for name := range header {
		if !slices.Contains([]string{"alg", "jwk", "kid", "typ"}, name) {
			return false
		}
	}
	var typ, alg string
	if !text(header["typ"], &typ) || !text(header["alg"], &alg) || typ != "dpop+jwt" {
		return false
	}
	p.algorithm = jose.SignatureAlgorithm(alg)
	if !slices.Contains(asymmetric, p.algorithm) {
		return false
	}
	var fault *complaint
	if p.key, fault = parseKeyAlone(header["jwk"]); fault != nil || !fits(p.key.Key, p.algorithm) {
		return false
	}
	sum, err := p.key.Thumbprint(crypto.SHA256)
	p.thumbprint = thumb(sum)
	return err == nil
}

func (p *possession) parseClaims(b []byte) bool {
	m, ok := object(b)
	return ok && text(m["jti"], &p.id) && p.id != "" && len(p.id) <= maxProofID &&
		text(m["htm"], &p.method) && p.method != "" && text(m["htu"], &p.url) && p.url != "" &&
		text(m["ath"], &p.token) && date(m["iat"], &p.issued) && !p.issued.IsZero()
}

func (p *possession) verifies() bool {
	payload, ok := signed(p.raw, p.algorithm, p.key.Key)
	return ok && string(payload) == string(p.payload)
}

// parseKeyAlone reads a public key that needs no id.
func parseKeyAlone(b json.RawMessage) (jose.JSONWebKey, *complaint) {
	key, fault := readKey(b)
	if fault != nil {
		return key, fault
	}
	if why, hint := materialFault(key); why != "" {
		return key, &complaint{what: why, hint: hint}
	}
	return key, nil
}

// Present verifies tokens that a request holds elsewhere than in its Authorization
// header, as those to be exchanged: RFC 8693 puts them into the form. The last one is
// the caller's own. The caller shows to have the keys that they are bound to by a proof
// without ath in the request, or by its client certificate; Held are those keys, for
// what it is given to be bound to. An empty token stands for the client certificate
// itself.
func (v *Verifier) Present(ctx context.Context, c Credentials, tokens ...string) ([]Proof, error) {
	var all []*verified
	for _, token := range tokens {
		known, err := v.presented(ctx, token, &c)
		if err != nil {
			return nil, err
		}
		all = append(all, known)
	}
	held := Keys{X5T: c.certificateThumbprint()}
	if len(c.DPoP) > 0 {
		p, err := parseProof(c.DPoP)
		if err != nil {
			return nil, err
		}
		held.JKT = p.thumbprint
	}
	var proofs []Proof
	for _, known := range all {
		if known.Bound.JKT != "" && known.Bound.JKT != held.JKT || known.Bound.X5T != "" && known.Bound.X5T != held.X5T {
			return nil, refuse(NotHolder)
		}
		proof := known.Proof
		proof.Held = held
		proofs = append(proofs, proof)
	}
	if held.JKT == "" || len(all) == 0 {
		return proofs, nil
	}
	return proofs, v.possession(all[len(all)-1], &c, "", held.JKT)
}

func (v *Verifier) presented(ctx context.Context, token string, c *Credentials) (*verified, error) {
	switch {
	case len(token) > MaxToken:
		return nil, refuse(Oversized)
	case token != "":
		return v.token(ctx, token)
	case c.TLS == nil || len(c.TLS.PeerCertificates) == 0:
		return nil, refuse(Missing)
	}
	return v.certificate(c)
}

// thumb writes a SHA-256 as thumbprints are written.
func thumb(sum []byte) string { return base64.RawURLEncoding.EncodeToString(sum) }

// certificateThumbprint is the thumbprint of the client certificate, or "". That the
// caller has its key was shown when the connection was made.
func (c *Credentials) certificateThumbprint() string {
	if c.TLS == nil || len(c.TLS.PeerCertificates) == 0 {
		return ""
	}
	sum := sha256.Sum256(c.TLS.PeerCertificates[0].Raw)
	return thumb(sum[:])
}
