package sigstore

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/dsse"
	"github.com/pavise/pavise/internal/plainjson"
)

// MaxTrustedRoot bounds a trusted root, in bytes.
const MaxTrustedRoot = 4 << 20

// A TrustedRoot is whom of Sigstore is believed: certificate authorities, the logs of their
// certificates, and the logs of signatures, each for its time.
type TrustedRoot struct {
	authorities  []authority
	transparency []logKey // of certificates
	logs         []logKey // of signatures
}

// An authority gives certificates.
type authority struct {
	root          *x509.Certificate
	intermediates []*x509.Certificate
	valid         period
}

// A logKey is the key of a log.
type logKey struct {
	id    [sha256.Size]byte // of the key's SubjectPublicKeyInfo
	key   crypto.PublicKey
	valid period
}

// A period is when something is good, ends included. Nil is open.
type period struct {
	Start *time.Time `json:"start"`
	End   *time.Time `json:"end"`
}

func (p period) has(at time.Time) bool {
	return (p.Start == nil || !at.Before(*p.Start)) && (p.End == nil || !at.After(*p.End))
}

// logJSON is a log in a trusted root.
type logJSON struct {
	PublicKey struct {
		Raw   dsse.Bytes `json:"rawBytes"`
		Valid period     `json:"validFor"`
	} `json:"publicKey"`
}

func noRoot(why string, err error) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: "this is no trusted root of Sigstore: " + why, Hint: "name the trusted_root.json of the instance that signed", Err: err}
}

// ParseTrustedRoot reads a trusted root (trusted_root.json). Logs whose keys are of a kind
// that is not known are left out. Errors are of kind Invalid.
func ParseTrustedRoot(text []byte) (*TrustedRoot, error) {
	var file struct {
		MediaType   string    `json:"mediaType"`
		Logs        []logJSON `json:"tlogs"`
		Authorities []struct {
			Chain chainJSON `json:"certChain"`
			Valid period    `json:"validFor"`
		} `json:"certificateAuthorities"`
		Transparency []logJSON `json:"ctlogs"`
	}
	if err := plainjson.Read(text, &file); err != nil {
		return nil, noRoot(err.Error(), err)
	}
	if !strings.HasPrefix(file.MediaType, "application/vnd.dev.sigstore.trustedroot") {
		return nil, noRoot("its media type is another", nil)
	}
	r := &TrustedRoot{logs: keysOf(file.Logs), transparency: keysOf(file.Transparency)}
	for _, a := range file.Authorities {
		var chain []*x509.Certificate
		for _, der := range a.Chain.der() {
			c, err := x509.ParseCertificate(der)
			if err != nil {
				return nil, noRoot("a certificate cannot be read: "+err.Error(), err)
			}
			chain = append(chain, c)
		}
		if n := len(chain) - 1; n >= 0 {
			r.authorities = append(r.authorities, authority{chain[n], chain[:n], a.Valid})
		}
	}
	if len(r.authorities) == 0 || len(r.logs) == 0 || len(r.transparency) == 0 {
		return nil, noRoot("it has no certificate authority, no log of certificates, or no log of signatures", nil)
	}
	return r, nil
}

func keysOf(list []logJSON) (keys []logKey) {
	for _, l := range list {
		if key, err := x509.ParsePKIXPublicKey(l.PublicKey.Raw); err == nil {
			keys = append(keys, logKey{sha256.Sum256(l.PublicKey.Raw), key, l.PublicKey.Valid})
		}
	}
	return keys
}

// HashOf is the hash that goes with a curve, as Sigstore's registry of algorithms pairs them;
// 0 for a curve that it does not have.
func HashOf(curve elliptic.Curve) crypto.Hash {
	switch curve {
	case elliptic.P256():
		return crypto.SHA256
	case elliptic.P384():
		return crypto.SHA384
	case elliptic.P521():
		return crypto.SHA512
	}
	return 0
}

// Digest hashes a message; nil for a hash that goes with no curve.
func Digest(hash crypto.Hash, message []byte) []byte {
	switch hash {
	case crypto.SHA256:
		sum := sha256.Sum256(message)
		return sum[:]
	case crypto.SHA384:
		sum := sha512.Sum384(message)
		return sum[:]
	case crypto.SHA512:
		sum := sha512.Sum512(message)
		return sum[:]
	}
	return nil
}

// Signed reports whether a key signed a message: ECDSA in DER with the hash of the curve,
// Ed25519, or RSA (PKCS #1 v1.5, SHA-256), which logs of certificates may have.
func Signed(key crypto.PublicKey, message, sig []byte) bool {
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		hash := HashOf(key.Curve)
		return hash != 0 && ecdsa.VerifyASN1(key, Digest(hash, message), sig)
	case ed25519.PublicKey:
		return ed25519.Verify(key, message, sig)
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, Digest(crypto.SHA256, message), sig) == nil
	}
	return false
}
