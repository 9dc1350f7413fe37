package issuer

import (
	"context"
	"crypto"
)

// Enroll joins with an invitation: it reaches the control plane that the invitation
// names, believes it only by the root that the invitation pins, and asks for a
// certificate for the key. It is the other side of CA.Join.
func Enroll(ctx context.Context, invitation string, key crypto.Signer) (Issued, error) {
	panic("to come")
}

// Request returns the certificate request (PKCS #10, DER) for a key, which asks for
// nothing: names are those of the invitation.
func Request(key crypto.Signer) ([]byte, error) { panic("to come") }

// KeyFingerprint returns the fingerprint of a public key, by which an invitation can be
// bound to it: "sha256:" and the hex SHA-256 of its PKIX form.
func KeyFingerprint(public crypto.PublicKey) (string, error) { panic("to come") }
