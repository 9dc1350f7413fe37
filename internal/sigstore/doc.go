// Package sigstore verifies Sigstore bundles (media type
// application/vnd.dev.sigstore.bundle.v0.3+json) offline: that the bundle's signature was
// made with the key of a certificate which a certificate authority (Fulcio) of a trusted root
// gave to this identity, that a certificate transparency log promised to have the
// certificate, and that a transparency log (Rekor) has the signature, and took it while the
// certificate was valid. docs/models.md says what of it is asked for, and in what order.
//
// It is written for strictness and little weight: crypto/x509 for the chain, the tlog and
// note packages of golang.org/x/mod for the log, encoding/asn1 for what is inside a
// certificate. It verifies alone, and signs nothing.
//
// It owns no state. All it reads may be a stranger's, but the trusted root.
package sigstore
