package oms

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/dsse"
	"github.com/pavise/pavise/internal/sigstore"
)

// The ways to sign.
const (
	ByKey         = "key"
	ByCertificate = "certificate"
	BySigstore    = "sigstore"
)

// A Trust says by what a signature must hold. Exactly one of its parts is used.
type Trust struct {
	Key  *ecdsa.PublicKey
	CA   *Authorities
	Root *sigstore.TrustedRoot
	By   sigstore.Identity // with Root
	Now  time.Time         // with CA
}

// Signed is who signed a model, and how that is known.
type Signed struct {
	Mode   string     `json:"mode"`             // key, certificate or sigstore
	By     string     `json:"by"`               // the id of the key, the certificate's subject and digest, or the identity
	Issuer string     `json:"issuer,omitempty"` // who vouched for the identity
	At     *time.Time `json:"at,omitempty"`     // when a log took the signature
	Index  *int64     `json:"log_index,omitempty"`
}

// Open verifies a signature, and reads what it says of the model. Errors are of kind
// Unverified, and say what does not hold.
func Open(text []byte, trust Trust) (*Manifest, Signed, error) {
	b, err := sigstore.ParseBundle(text)
	if err != nil {
		return nil, Signed{}, err
	}
	if b.PayloadType != dsse.InToto {
		return nil, Signed{}, sigstore.Unverified("it is a signature of something else than a model", "the payload is of type %.80q, and not %s", b.PayloadType, dsse.InToto)
	}
	signed, old, err := trust.check(b)
	if err != nil {
		return nil, signed, err
	}
	m, err := ParseStatement(b.Payload)
	if err != nil {
		return nil, signed, err
	}
	m.Legacy = m.Legacy || old
	return m, signed, nil
}

// check verifies a bundle's signature. It reports whether it is of the form before 1.0.
func (t *Trust) check(b *sigstore.Bundle) (s Signed, old bool, err error) {
	otherMode := func(asked string) error {
		made, flag := "by a key", "--key"
		if b.Chain != nil {
			made, flag = "by a certificate", "--certificate-chain"
		} else if b.Certificate != nil {
			made, flag = "with Sigstore", "--trusted-root"
		}
		return sigstore.Unverified("if you trust such a signature, verify it with "+flag, "the model is signed %s, and not %s", made, asked)
	}
	switch {
	case t.Key != nil:
		if b.Key == nil {
			return s, false, otherMode("by a key")
		}
		if err := isOf(b.Key, t.Key); err != nil {
			return s, false, err
		}
		id, err := KeyID(t.Key)
		if err == nil {
			old, err = signs(t.Key, b)
		}
		return Signed{Mode: ByKey, By: id}, old || b.Key.Hint == "", err
	case t.CA != nil:
		if b.Chain == nil {
			return s, false, otherMode("by a certificate")
		}
		return t.CA.check(b, t.Now)
	default:
		if b.Certificate == nil {
			return s, false, otherMode("with Sigstore")
		}
		logged, err := t.Root.Verify(b, t.By)
		return Signed{Mode: BySigstore, By: t.By.Subject, Issuer: t.By.Issuer, At: &logged.At, Index: &logged.Index}, false, err
	}
}

// signs verifies the signature itself. It reports whether it is by the rule before 1.0.
func signs(key *ecdsa.PublicKey, b *sigstore.Bundle) (old bool, err error) {
	if sigstore.Signed(key, dsse.PAE(b.PayloadType, b.Payload), b.Signature) {
		return false, nil
	}
	was := legacyPAE(b.PayloadType, b.Payload)
	if sum := sha256.Sum256(was); ecdsa.VerifyASN1(key, sum[:], b.Signature) || sigstore.Signed(key, was, b.Signature) {
		return true, nil // its first release hashed with SHA-256 whatever the key
	}
	return false, sigstore.Unverified("the statement was changed, or signed by somebody else", "the signature is not by this key over this statement")
}

// legacyHead is the head of what version 0.2 signed, before the literal.
func legacyHead(payloadType string, size int, literal string) []byte {
	return fmt.Appendf(nil, "DSSEV1 %d %s %d %s", len(payloadType), payloadType, size, literal)
}

// A Signer signs models.
type Signer struct {
	key   *ecdsa.PrivateKey
	chain []*x509.Certificate // nil: by the key alone
}

// NewSigner is a signer by a key, or by the certificates in chain (PEM), the key's first and
// each given by the one behind it. They must be good now, and for signing. Errors are of kind
// Invalid.
func NewSigner(key *ecdsa.PrivateKey, chain []byte, now time.Time) (*Signer, error) {
	s := &Signer{key: key}
	if chain == nil {
		return s, nil
	}
	list, err := certificates(chain)
	if err != nil {
		return nil, err
	}
	if !key.PublicKey.Equal(list[0].PublicKey) {
		return nil, chainFault("its first certificate is not the one of the key", nil)
	}
	if !forSigning(list[0]) {
		return nil, chainFault("its first certificate is none to sign with: it has neither the key usage digitalSignature nor the extended one codeSigning", nil)
	}
	for i, c := range list {
		if now.Before(c.NotBefore) || now.After(c.NotAfter) {
			return nil, chainFault("certificate "+fmt.Sprint(i+1)+" is good from "+day(c.NotBefore)+" to "+day(c.NotAfter), nil)
		}
		if i > 0 {
			if err := list[i-1].CheckSignatureFrom(c); err != nil {
				return nil, chainFault(fmt.Sprintf("certificate %d did not give certificate %d", i+1, i), err)
			}
		}
	}
	s.chain = list
	return s, nil
}

// Sign writes the signature of a manifest, whose Root it computes. The same is always the
// same (RFC 6979).
func (s *Signer) Sign(m *Manifest) ([]byte, error) {
	payload, err := m.Statement()
	if err != nil {
		return nil, err
	}
	digest, hash := digestOf(&s.key.PublicKey, dsse.PAE(dsse.InToto, payload))
	sig, err := s.key.Sign(nil, digest, hash)
	if err != nil {
		return nil, err
	}
	material := map[string]any{"tlogEntries": []string{}}
	if s.chain == nil {
		id, err := KeyID(&s.key.PublicKey)
		if err != nil {
			return nil, err
		}
		material["publicKey"] = map[string]string{"hint": id}
	} else {
		var list []map[string][]byte
		for _, c := range s.chain {
			list = append(list, map[string][]byte{"rawBytes": c.Raw})
		}
		material["x509CertificateChain"] = map[string]any{"certificates": list}
	}
	text, err := json.Marshal(struct {
		MediaType string         `json:"mediaType"`
		Material  map[string]any `json:"verificationMaterial"`
		Envelope  dsse.Envelope  `json:"dsseEnvelope"`
	}{sigstore.MediaType, material, dsse.Envelope{PayloadType: dsse.InToto, Payload: payload, Signatures: []dsse.Signature{{Sig: sig}}}})
	return append(text, '\n'), err
}

// Describe says who signs.
func (s *Signer) Describe() (Signed, error) {
	if s.chain != nil {
		return Signed{Mode: ByCertificate, By: describe(s.chain[0])}, nil
	}
	id, err := KeyID(&s.key.PublicKey)
	return Signed{Mode: ByKey, By: id}, err
}

// Authorities are who is believed to give certificates, with certificates between them and
// signers'.
type Authorities struct {
	roots, between *x509.CertPool
}

// ParseAuthorities reads certificates (PEM). Those that gave themselves are believed; others
// may stand between. Errors are of kind Invalid.
func ParseAuthorities(text []byte) (*Authorities, error) {
	list, err := certificates(text)
	if err != nil {
		return nil, err
	}
	a, roots := &Authorities{x509.NewCertPool(), x509.NewCertPool()}, 0
	for _, c := range list {
		if bytes.Equal(c.RawIssuer, c.RawSubject) && c.CheckSignatureFrom(c) == nil {
			a.roots.AddCert(c)
			roots++
		} else {
			a.between.AddCert(c)
		}
	}
	if roots == 0 {
		return nil, chainFault("no certificate in it gave itself, so there is none to believe", nil)
	}
	return a, nil
}

// check verifies a bundle by its certificates.
func (a *Authorities) check(b *sigstore.Bundle, now time.Time) (s Signed, old bool, err error) {
	between := a.between.Clone()
	var leaf *x509.Certificate
	for i, der := range b.Chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return s, false, sigstore.Unverified("it was changed", "certificate %d of the signature cannot be read: %v", i+1, err)
		}
		if i == 0 {
			leaf = c
		} else {
			between.AddCert(c)
		}
	}
	s = Signed{Mode: ByCertificate, By: describe(leaf)}
	key, ok := leaf.PublicKey.(*ecdsa.PublicKey)
	switch {
	case !ok || supported(key) != nil:
		return s, false, sigstore.Unverified("ask for a signature by a key on P-256, P-384 or P-521", "the certificate is of no key that signs models")
	case !forSigning(leaf):
		return s, false, sigstore.Unverified("somebody signed with a certificate that was given for something else", "the certificate is none to sign with")
	}
	usage := x509.ExtKeyUsageAny
	if slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageCodeSigning) {
		usage = x509.ExtKeyUsageCodeSigning // which those above must have been allowed to give
	}
	_, err = leaf.Verify(x509.VerifyOptions{Roots: a.roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage}})
	if err != nil {
		return s, false, sigstore.Unverified("name who gave it, if you trust them; one that has expired proves nothing, for nobody says when it signed", "the certificate does not hold as of %s: %v", day(now), err)
	}
	old, err = signs(key, b)
	return s, old, err
}

// forSigning reports whether a certificate is one to sign with, as OMS's first tool has it.
// One that has extended usages must have codeSigning, or any, among them.
func forSigning(c *x509.Certificate) bool {
	code := slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageCodeSigning)
	if len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) > 0 && !code && !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny) {
		return false
	}
	if c.KeyUsage != 0 {
		return c.KeyUsage&x509.KeyUsageDigitalSignature != 0
	}
	return code
}

func describe(c *x509.Certificate) string {
	return fmt.Sprintf("%s (SHA-256 %x)", c.Subject, sha256.Sum256(c.Raw))
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

func chainFault(why string, err error) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: "the certificate chain: " + why, Hint: "certificates stand in one file in PEM, the signer's first when a model is signed", Err: err}
}

// certificates reads certificates in PEM, of which there is one at least.
func certificates(text []byte) (list []*x509.Certificate, err error) {
	const most = 1024 // a system's list of authorities has some 150
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		if text = rest; block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, chainFault(fmt.Sprintf("certificate %d cannot be read: %s", len(list)+1, strings.TrimPrefix(err.Error(), "x509: ")), err)
		}
		if list = append(list, c); len(list) > most {
			return nil, chainFault(fmt.Sprintf("there are more than %d certificates in it", most), nil)
		}
	}
	if len(list) == 0 {
		return nil, chainFault("there is no certificate in it", nil)
	}
	return list, nil
}
