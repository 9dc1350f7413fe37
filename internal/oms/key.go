package oms

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/sigstore"
)

const makeKey = "make one with: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out FILE"

func keyFault(what, hint string, err error) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: "the key " + what, Hint: hint, Err: err}
}

// ParsePrivateKey reads an elliptic key (PEM: PKCS #8, or SEC 1 with or without its
// parameters) on one of the curves of OMS. Errors are of kind Invalid and show nothing of it.
func ParsePrivateKey(text []byte) (*ecdsa.PrivateKey, error) {
	for {
		block, rest := pem.Decode(text)
		switch {
		case block == nil:
			return nil, keyFault("file holds no private key in PEM", makeKey, nil)
		case block.Type == "EC PARAMETERS":
			text = rest
			continue
		case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "":
			return nil, keyFault("is encrypted", "decrypt it with openssl pkey -in FILE, into a file that is yours alone", nil)
		case block.Type == "EC PRIVATE KEY":
			key, err := x509.ParseECPrivateKey(block.Bytes)
			if err != nil {
				return nil, keyFault("cannot be read", makeKey, err)
			}
			return key, supported(&key.PublicKey)
		}
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		key, ok := parsed.(*ecdsa.PrivateKey)
		if err != nil || !ok {
			return nil, keyFault("is no elliptic key", makeKey, err)
		}
		return key, supported(&key.PublicKey)
	}
}

// ParsePublicKey reads the public half of such a key (PEM).
func ParsePublicKey(text []byte) (*ecdsa.PublicKey, error) {
	const made = "write it with: openssl pkey -in PRIVATE -pubout -out FILE"
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PUBLIC KEY" {
		return nil, keyFault("file holds no public key in PEM", made, nil)
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	key, ok := parsed.(*ecdsa.PublicKey)
	if err != nil || !ok {
		return nil, keyFault("is no elliptic key", made, err)
	}
	return key, supported(key)
}

func supported(key *ecdsa.PublicKey) error {
	if sigstore.HashOf(key.Curve) == 0 {
		return keyFault("is on the curve "+key.Curve.Params().Name+", and OMS has P-256, P-384 and P-521", makeKey, nil)
	}
	return nil
}

// spelled is a public key in PEM, in its one spelling.
func spelled(key *ecdsa.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// KeyID is what a signature calls a key: the SHA-256 of its public half in PEM, in
// hexadecimal.
func KeyID(key *ecdsa.PublicKey) (string, error) {
	text, err := spelled(key)
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), err
}

// details are the names that old signatures have for curves, of Sigstore's protobuf.
var details = map[elliptic.Curve]string{
	elliptic.P256(): "PKIX_ECDSA_P256_SHA_256", elliptic.P384(): "PKIX_ECDSA_P384_SHA_384", elliptic.P521(): "PKIX_ECDSA_P521_SHA_512",
}

// isOf holds what a signature says of its key to a key.
func isOf(hint *sigstore.KeyHint, key *ecdsa.PublicKey) error {
	const look = "name the key that it was signed with, if you trust that one"
	id, err := KeyID(key)
	if err != nil {
		return err
	}
	if hint.Hint == "" && len(hint.Raw) == 0 {
		return sigstore.Unverified("it was changed", "the signature does not say which key it is of")
	}
	if hint.Hint != "" && hint.Hint != id {
		return sigstore.Unverified(look, "the signature is of the key %.80q, and not of %s", hint.Hint, id)
	}
	if len(hint.Raw) > 0 {
		if theirs, err := ParsePublicKey(hint.Raw); err != nil || !theirs.Equal(key) {
			return sigstore.Unverified(look, "the signature is of another key than %s", id)
		}
	}
	if hint.Details != "" && hint.Details != details[key.Curve] {
		return sigstore.Unverified(look, "the signature is of a key of the kind %.60q, and not of %s", hint.Details, details[key.Curve])
	}
	return nil
}

// legacyPAE is what version 0.2 of the tool signed instead of what DSSE says: the text of a
// Python literal of the payload, behind another prefix.
func legacyPAE(payloadType string, payload []byte) []byte {
	var b strings.Builder
	quote := byte('\'')
	if strings.IndexByte(string(payload), '\'') >= 0 && strings.IndexByte(string(payload), '"') < 0 {
		quote = '"'
	}
	b.WriteByte('b')
	b.WriteByte(quote)
	for _, c := range payload {
		switch {
		case c == quote || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\t':
			b.WriteString(`\t`)
		case c < ' ' || c > '~':
			b.WriteString(`\x` + hex.EncodeToString([]byte{c}))
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte(quote)
	return legacyHead(payloadType, len(payload), b.String())
}

// digestOf is the digest that a key signs of a message.
func digestOf(key *ecdsa.PublicKey, message []byte) ([]byte, crypto.Hash) {
	hash := sigstore.HashOf(key.Curve)
	return sigstore.Digest(hash, message), hash
}
