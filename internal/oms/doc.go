// Package oms reads and writes signatures of models as OpenSSF Model Signing (OMS) 1.0 has
// them: a Sigstore bundle around a signed in-toto statement, which lists the files of the
// model with their digests. It makes and verifies signatures by a key and by a certificate,
// verifies those by Sigstore, and reads the forms before 1.0 that the first tools wrote.
// docs/models.md says what of the specification, and of the tools beside it, is followed.
//
// It is pure: files are for its callers to read. It owns the meaning of a model's signature,
// and no state. The bundles that it reads may be a stranger's.
package oms
