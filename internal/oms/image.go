package oms

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"unicode/utf8"

	"github.com/pavise/pavise/internal/dsse"
	"github.com/pavise/pavise/internal/plainjson"
	"github.com/pavise/pavise/internal/sigstore"
)

// predicateImage is what cosign says of a manifest in an OCI registry when it signs one: nothing,
// but that it signed it.
const predicateImage = "https://sigstore.dev/cosign/sign/v1"

// statementBefore is the type of in-toto statements before version 1, which differ in nothing
// that is read here.
const statementBefore = "https://in-toto.io/Statement/v0.1"

// IsOfImage reports whether a bundle says that it is a signature over a manifest in an OCI
// registry, and not over files. Nothing of it is verified.
func IsOfImage(text []byte) bool {
	b, err := sigstore.ParseBundle(text)
	if err != nil || b.PayloadType != dsse.InToto {
		return false
	}
	var s statement
	return utf8.Valid(b.Payload) && plainjson.Read(b.Payload, &s) == nil && s.PredicateType == predicateImage
}

// OpenImage verifies a signature over a manifest in an OCI registry, as cosign makes it: a
// Sigstore bundle of version 0.3 with a statement about its SHA-256 alone. Errors are of kind
// Unverified, and say what does not hold.
func OpenImage(text []byte, trust Trust, manifest [sha256.Size]byte) (Signed, error) {
	b, err := sigstore.ParseBundle(text)
	if err != nil {
		return Signed{}, err
	}
	if b.PayloadType != dsse.InToto {
		return Signed{}, sigstore.Unverified("sign the manifest with cosign, in the form of bundles", "the payload is of type %.80q, and not %s", b.PayloadType, dsse.InToto)
	}
	if trust.Key != nil && b.Key != nil && b.Key.Hint == hintOf(trust.Key) {
		if b.Key.Hint, err = KeyID(trust.Key); err != nil { // the same key, by the name that models have for it
			return Signed{}, err
		}
	}
	signed, old, err := trust.check(b)
	switch {
	case err != nil:
		return signed, err
	case old:
		return signed, sigstore.Unverified("sign it anew", "it is signed by a rule that signatures of models had before 1.0, and manifests never had")
	case !utf8.Valid(b.Payload):
		return signed, bad("it is not UTF-8")
	}
	var s statement
	if err := plainjson.Read(b.Payload, &s); err != nil {
		return signed, bad("%v", err)
	}
	if s.Type != statementType && s.Type != statementBefore {
		return signed, bad("it is of type %.120q", s.Type)
	}
	if s.PredicateType != predicateImage {
		return signed, bad("its predicate is of type %.120q", s.PredicateType)
	}
	if len(s.Subject) != 1 || len(s.Subject[0].Digest) != 1 {
		return signed, bad("it is about %d things, or has several digests of one", len(s.Subject))
	}
	if is := s.Subject[0].Digest["sha256"]; is != hex.EncodeToString(manifest[:]) {
		return signed, sigstore.Unverified("sign the manifest as it was pushed", "it is a signature over another manifest: %.80q", is)
	}
	return signed, nil
}

// hintOf is what Sigstore's own tools call a key: the SHA-256 of its public half in DER, in
// base64.
func hintOf(key *ecdsa.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(der)
	return base64.StdEncoding.EncodeToString(sum[:])
}
