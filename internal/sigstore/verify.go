package sigstore

import (
	"crypto/ecdsa"
	"crypto/x509"
	"time"

	"github.com/pavise/pavise/internal/dsse"
)

// An Identity is who must have signed: a name as their certificate has it (an address, a URI
// or a user's name), and the address of who vouched for them (OpenID Connect). Both are
// compared byte by byte.
type Identity struct{ Subject, Issuer string }

// Logged is when and where a log took a signature.
type Logged struct {
	At    time.Time
	Index int64 // among all entries of the log
}

// Verify holds a bundle to an identity, offline. The error is of kind Unverified and says what
// does not hold.
func (r *TrustedRoot) Verify(b *Bundle, want Identity) (Logged, error) {
	if b.Certificate == nil {
		return Logged{}, Unverified("name the key or the certificate authority that it was signed under: --key, --certificate-chain", "the model was not signed with Sigstore")
	}
	if len(b.Entries) != 1 {
		return Logged{}, noBundle("it has %d log entries, and one is asked for", len(b.Entries))
	}
	c, err := x509.ParseCertificate(b.Certificate)
	if err != nil {
		return Logged{}, noBundle("its certificate cannot be read: %v", err)
	}
	at, err := r.logged(b, &b.Entries[0])
	if err != nil {
		return Logged{}, err
	}
	issuer, err := r.chain(c, at)
	if err != nil {
		return Logged{}, err
	}
	if err := r.promised(c, issuer); err != nil {
		return Logged{}, err
	}
	key, ok := c.PublicKey.(*ecdsa.PublicKey)
	if !ok || !Signed(key, dsse.PAE(b.PayloadType, b.Payload), b.Signature) {
		return Logged{}, Unverified("the statement was changed, or signed by somebody else", "the signature is not by the certificate's key over this statement")
	}
	return Logged{at, int64(b.Entries[0].LogIndex)}, identify(c, want)
}
