package identity

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// A parsed token is one whose form is right. Nothing in it is proved.
type parsed struct {
	raw       string
	algorithm jose.SignatureAlgorithm
	keyID     string
	payload   []byte
	claims    claims
}

// claims are those members of the payload that are ours (RFC 7519). A time that
// is not there is zero.
type claims struct {
	issuer, subject            string
	audience, roles            []string
	kind                       string
	expires, issued, notBefore time.Time
	bound                      Keys     // cnf: the keys it is bound to (RFC 7800)
	by, origin, environment    string   // pavise_by, pavise_origin, pavise_environment
	actors                     []string // act: the subjects of the chain (RFC 8693), who acts first
	vouchers                   []string // the issuers of each, as the chain says; "": it does not
}

// maxActors is how long a chain of those who act for each other may be.
const maxActors = 4

// maxKeyID bounds a key id, in bytes.
const maxKeyID = 256

func parse(token string) (*parsed, error) {
	if token == "" {
		return nil, refuse(Missing)
	}
	if len(token) > MaxToken {
		return nil, refuse(Oversized)
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, refuse(Malformed)
	}
	var decoded [3][]byte
	for i, part := range parts {
		var ok bool
		if decoded[i], ok = decode(part); !ok {
			return nil, refuse(Malformed)
		}
	}
	t := &parsed{raw: token, payload: decoded[1]}
	if err := t.parseHeader(decoded[0]); err != nil {
		return nil, err
	}
	if !t.claims.parse(t.payload) {
		return nil, refuse(Malformed)
	}
	return t, nil
}

// decode reads canonical base64url without padding. The decoder of the standard
// library skips line breaks, which would give one token many spellings.
func decode(s string) ([]byte, bool) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return b, err == nil
}

// parseHeader takes alg and kid, which must be there, and typ. It passes over
// the thumbprint of a certificate, which some issuers add; any other member
// would bring a key along, or change what is signed.
func (t *parsed) parseHeader(b []byte) error {
	header, ok := object(b)
	if !ok {
		return refuse(Malformed)
	}
	for name := range header {
		if !slices.Contains([]string{"alg", "kid", "typ", "x5t", "x5t#S256"}, name) {
			return refuse(BadHeader)
		}
	}
	var typ, alg string
	if !text(header["typ"], &typ) || !text(header["alg"], &alg) || !text(header["kid"], &t.keyID) {
		return refuse(Malformed)
	}
	if !slices.Contains([]string{"", "jwt", "at+jwt", "application/at+jwt"}, strings.ToLower(typ)) {
		return refuse(BadHeader)
	}
	if alg == "" || strings.EqualFold(alg, "none") {
		return refuse(WrongAlgorithm)
	}
	if t.keyID == "" || len(t.keyID) > maxKeyID {
		return refuse(UnknownKey)
	}
	t.algorithm = jose.SignatureAlgorithm(alg)
	return nil
}

// parse reads the claims, and reports whether each that is there has its type.
func (c *claims) parse(b []byte) bool {
	m, ok := object(b)
	if !ok {
		return false
	}
	var id string
	ok = text(m["iss"], &c.issuer) && text(m["sub"], &c.subject) && text(m["jti"], &id) &&
		date(m["exp"], &c.expires) && date(m["iat"], &c.issued) && date(m["nbf"], &c.notBefore) &&
		texts(m["pavise_roles"], &c.roles) && text(m["pavise_kind"], &c.kind) &&
		text(m["pavise_by"], &c.by) && text(m["pavise_origin"], &c.origin) && text(m["pavise_environment"], &c.environment)
	if !ok {
		return false
	}
	if !c.parseKeys(m["cnf"]) || !c.parseActors(m["act"]) {
		return false
	}
	var one string
	if text(m["aud"], &one) {
		c.audience = []string{one}
		return true
	}
	return texts(m["aud"], &c.audience)
}

// parseKeys reads the keys that a token is bound to. A way of binding that is not
// known is refused: without it the token would be good for anybody.
func (c *claims) parseKeys(raw json.RawMessage) bool {
	if raw == nil {
		return true
	}
	m, ok := object(raw)
	if !ok || len(m) == 0 {
		return false
	}
	for name, value := range m {
		var to *string
		switch name {
		case "jkt":
			to = &c.bound.JKT
		case "x5t#S256":
			to = &c.bound.X5T
		default:
			return false
		}
		if !text(value, to) || !thumbprint(*to) {
			return false
		}
	}
	return true
}

// thumbprint reports whether s is the base64url of a SHA-256.
func thumbprint(s string) bool {
	b, ok := decode(s)
	return ok && len(b) == sha256.Size
}

// parseActors reads the chain of those who act for the subject.
func (c *claims) parseActors(raw json.RawMessage) bool {
	for raw != nil {
		m, ok := object(raw)
		var actor, voucher string
		if !ok || !text(m["sub"], &actor) || !text(m["iss"], &voucher) || actor == "" || len(c.actors) == maxActors {
			return false
		}
		c.actors, c.vouchers = append(c.actors, actor), append(c.vouchers, voucher)
		raw = m["act"]
	}
	return true
}

// text reads a JSON string into s and reports whether it is one. A member that
// is not there leaves s empty.
func text(raw json.RawMessage, s *string) bool {
	return raw == nil || raw[0] == '"' && json.Unmarshal(raw, s) == nil
}

// texts reads a JSON array of strings.
func texts(raw json.RawMessage, list *[]string) bool {
	if raw == nil {
		return true
	}
	var items []json.RawMessage
	if raw[0] != '[' || json.Unmarshal(raw, &items) != nil {
		return false
	}
	for _, item := range items {
		var s string
		if !text(item, &s) {
			return false
		}
		*list = append(*list, s)
	}
	return true
}

// date reads a NumericDate in whole seconds, from 1 to the end of the year 9999.
func date(raw json.RawMessage, t *time.Time) bool {
	if raw == nil {
		return true
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil || n < 1 || n > 253402300799 {
		return false
	}
	*t = time.Unix(n, 0).UTC()
	return true
}
