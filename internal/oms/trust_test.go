package oms

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/sigstore"
)

var now = time.Unix(1_700_000_000, 0)

// A given is a certificate with its key.
type given struct {
	*x509.Certificate
	key *ecdsa.PrivateKey
}

func give(t testing.TB, name string, by *given, change func(*x509.Certificate)) *given {
	t.Helper()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(1, 0, 0), BasicConstraintsValid: true,
	}
	change(c)
	g := &given{key: newKey(t, elliptic.P256())}
	parent := c
	if by == nil {
		by = g
	} else {
		parent = by.Certificate
	}
	der, err := x509.CreateCertificate(crand.Reader, c, parent, &g.key.PublicKey, by.key)
	if err != nil {
		t.Fatal(err)
	}
	if g.Certificate, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return g
}

func authority(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign }

func signing(c *x509.Certificate) {
	c.KeyUsage, c.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
}

func pems(list ...*given) (text []byte) {
	for _, g := range list {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: g.Raw})...)
	}
	return text
}

func authorities(t testing.TB, list ...*given) *Authorities {
	t.Helper()
	a, err := ParseAuthorities(pems(list...))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestCertificates(t *testing.T) {
	root := give(t, "root", nil, authority)
	between := give(t, "between", root, authority)
	leaf := give(t, "leaf", between, signing)
	s, err := NewSigner(leaf.key, pems(leaf, between), now)
	if err != nil {
		t.Fatal(err)
	}
	text, err := s.Sign(sample())
	if err != nil {
		t.Fatal(err)
	}
	m, by, err := Open(text, Trust{CA: authorities(t, root), Now: now})
	if err != nil || by.Mode != ByCertificate || !strings.HasPrefix(by.By, "CN=leaf (SHA-256 ") || len(m.Files) != 3 {
		t.Errorf("%+v, %v", by, err)
	}
	if _, _, err := Open(text, Trust{CA: authorities(t, between, root), Now: now}); err != nil {
		t.Error(err)
	}
	alone, err := NewSigner(leaf.key, pems(leaf), now)
	if err != nil {
		t.Fatal(err)
	}
	if text, err = alone.Sign(sample()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(text, Trust{CA: authorities(t, between, root), Now: now}); err != nil {
		t.Error(err)
	}
	_, _, err = Open(text, Trust{CA: authorities(t, root), Now: now})
	refused(t, err, "does not hold as of 2023-11-14")
	_, _, err = Open(text, Trust{Key: &leaf.key.PublicKey})
	refused(t, err, "signed by a certificate, and not by a key")
}

func TestCertificatesThatDoNotHold(t *testing.T) {
	root := give(t, "root", nil, authority)
	trust := Trust{CA: authorities(t, root), Now: now}
	usage := func(u x509.KeyUsage, e ...x509.ExtKeyUsage) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.KeyUsage, c.ExtKeyUsage = u, e }
	}
	tls := give(t, "for TLS", root, func(c *x509.Certificate) {
		authority(c)
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
	for name, of := range map[string]struct {
		chain []*given
		words string
	}{
		"no usage":          {[]*given{give(t, "leaf", root, usage(0))}, "none to sign with"},
		"for keys":          {[]*given{give(t, "leaf", root, usage(x509.KeyUsageKeyEncipherment))}, "none to sign with"},
		"for TLS":           {[]*given{give(t, "leaf", root, usage(x509.KeyUsageDigitalSignature, x509.ExtKeyUsageServerAuth))}, "none to sign with"},
		"by one for TLS":    {[]*given{give(t, "leaf", tls, signing), tls}, "incompatible key usage"},
		"expired":           {[]*given{give(t, "leaf", root, func(c *x509.Certificate) { signing(c); c.NotAfter = now.Add(-time.Hour) })}, "expired"},
		"not yet good":      {[]*given{give(t, "leaf", root, func(c *x509.Certificate) { signing(c); c.NotBefore = now.Add(time.Hour) })}, "not yet valid"},
		"by itself":         {[]*given{give(t, "root", nil, signing)}, "unknown authority"},
		"by another":        {[]*given{give(t, "leaf", give(t, "root", nil, authority), signing)}, "unknown authority"},
		"by who gives none": {[]*given{give(t, "leaf", give(t, "x", root, signing), signing), give(t, "x", root, signing)}, "unknown authority"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &Signer{key: of.chain[0].key}
			for _, g := range of.chain {
				s.chain = append(s.chain, g.Certificate)
			}
			text, err := s.Sign(sample())
			if err != nil {
				t.Fatal(err)
			}
			_, _, err = Open(text, trust)
			refused(t, err, of.words)
		})
	}
	// The certificate of another, beside a signature of one's own.
	leaf := give(t, "leaf", root, signing)
	text, err := (&Signer{key: newKey(t, elliptic.P256()), chain: []*x509.Certificate{leaf.Certificate}}).Sign(sample())
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = Open(text, trust)
	refused(t, err, "not by this key")
	for _, good := range []func(*x509.Certificate){usage(x509.KeyUsageDigitalSignature), usage(0, x509.ExtKeyUsageCodeSigning)} {
		leaf := give(t, "leaf", root, good)
		text, err := (&Signer{key: leaf.key, chain: []*x509.Certificate{leaf.Certificate}}).Sign(sample())
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := Open(text, trust); err != nil {
			t.Error(err)
		}
	}
}

func TestChainsThatSignNothing(t *testing.T) {
	root := give(t, "root", nil, authority)
	between, leaf := give(t, "between", root, authority), (*given)(nil)
	leaf = give(t, "leaf", between, signing)
	old := give(t, "leaf", root, func(c *x509.Certificate) { signing(c); c.NotAfter = now.Add(-time.Hour) })
	for name, of := range map[string]struct {
		key   *ecdsa.PrivateKey
		chain []byte
		words string
	}{
		"nothing":     {leaf.key, []byte{}, "no certificate in it"},
		"another key": {root.key, pems(leaf), "not the one of the key"},
		"a gap":       {leaf.key, pems(leaf, root), "certificate 2 did not give certificate 1"},
		"no signer's": {root.key, pems(root), "none to sign with"},
		"expired":     {old.key, pems(old), "is good from"},
		"torn":        {leaf.key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), "cannot be read"},
		"too many":    {leaf.key, bytes.Repeat(pems(leaf), 1025), "more than 1024"},
	} {
		if _, err := NewSigner(of.key, of.chain, now); pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), of.words) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ParseAuthorities(pems(between)); pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), "none to believe") {
		t.Error(err)
	}
}

// all is more bytes than there are.
const all = math.MaxInt

// exhaustive is for those with time: keys on P-384 are slow to verify by.
var exhaustive = flag.Bool("exhaustive", false, "change every byte of the real signatures, and not one in some")

// mutate changes every byte of what of a bundle is decoded, or as many as most, and holds that
// none of it is verified any more.
func mutate(t *testing.T, text []byte, trust Trust, most int, masks ...byte) {
	t.Helper()
	b, err := sigstore.ParseBundle(text)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := trust.check(b); err != nil {
		t.Fatal(err)
	}
	parts := map[string][]byte{"payload": b.Payload, "signature": b.Signature}
	for i, der := range b.Chain {
		parts[fmt.Sprint("certificate ", i+1)] = der
	}
	hint := []byte(nil)
	if b.Key != nil {
		hint = []byte(b.Key.Hint)
		parts["hint"], parts["key"] = hint, b.Key.Raw
	}
	for name, part := range parts {
		step := max(1, len(part)/most)
		for i := rand.IntN(step); i < len(part); i += step {
			for _, mask := range masks {
				part[i] ^= mask
				if b.Key != nil {
					b.Key.Hint = string(hint)
				}
				if _, _, err := trust.check(b); err == nil && !sameKey(name, b, trust) {
					t.Errorf("byte %d of the %s was changed by %#x, and all is verified", i, name, mask)
				}
				part[i] ^= mask
			}
		}
	}
}

// sameKey reports whether what was changed is the text around a key in PEM, and the key is the
// same: a line end that is another kind of space, say.
func sameKey(part string, b *sigstore.Bundle, trust Trust) bool {
	if part != "key" {
		return false
	}
	key, err := ParsePublicKey(b.Key.Raw)
	return err == nil && key.Equal(trust.Key)
}

func TestNoByteCanBeChanged(t *testing.T) {
	key := newKey(t, elliptic.P256())
	small := &Manifest{Name: "m", Hash: "sha256", Files: []File{{"a", []Part{{Digest: sum("1")}}}}}
	mutate(t, signed(t, key, small), Trust{Key: &key.PublicKey}, all, 0x01)
	root := give(t, "root", nil, authority)
	between := give(t, "between", root, authority)
	leaf := give(t, "leaf", between, signing)
	text, err := (&Signer{key: leaf.key, chain: []*x509.Certificate{leaf.Certificate, between.Certificate}}).Sign(small)
	if err != nil {
		t.Fatal(err)
	}
	mutate(t, text, Trust{CA: authorities(t, root), Now: now}, all, 0x01)
}

// real reads a file of the real signatures, if they are there.
func real(t *testing.T, name string) []byte {
	t.Helper()
	dir := os.Getenv("PAVISE_DATA")
	if dir == "" {
		dir = "../../../shared/data"
	}
	text, err := os.ReadFile(filepath.Join(dir, "oms", name))
	if err != nil {
		t.Skipf("no real signatures: %v (PAVISE_DATA names their directory)", err)
	}
	return text
}

func TestRealSignatures(t *testing.T) {
	key, err := ParsePublicKey(real(t, "keys/signing-key-pub.pem"))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := ParseAuthorities(real(t, "keys/ca-cert.pem"))
	if err != nil {
		t.Fatal(err)
	}
	most := 8
	if *exhaustive {
		most = all
	}
	byKey, byCA := Trust{Key: key}, Trust{CA: ca, Now: time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)}
	for name, trust := range map[string]Trust{
		"models/v0.2.0-certificate/model.sig": byCA, "models/v1.0.0-certificate/model.sig": byCA, "models/v1.1.0-certificate/model.sig": byCA,
		"models/v1.0.0-elliptic-key/model.sig": byKey, "models/v1.1.0-elliptic-key/model.sig": byKey,
		"spec/test-vectors/v1.0/valid/certificate.bundle.json": byCA, "spec/test-vectors/v1.0/valid/key.bundle.json": byKey,
	} {
		text := real(t, name)
		m, _, err := Open(text, trust)
		if err != nil || m.Legacy != (strings.Contains(name, "v0.2") || strings.Contains(name, "v1.0.0-elliptic")) {
			t.Errorf("%s: %v", name, err)
		}
		mutate(t, text, trust, most, 0x01)
	}
	expired := byCA
	expired.Now = time.Date(2036, 1, 1, 0, 0, 0, 0, time.UTC)
	_, _, err = Open(real(t, "models/v1.1.0-certificate/model.sig"), expired)
	refused(t, err, "expired")
	for _, name := range []string{"invalid/empty", "invalid/missing-envelope", "invalid/missing-verification-material", "invalid-payload/wrong-predicate"} {
		_, _, err := Open(real(t, "spec/test-vectors/v1.0/"+name+".bundle.json"), byKey)
		refused(t, err, "")
	}
}

func FuzzParseStatement(f *testing.F) {
	for _, m := range []*Manifest{sample(), {Hash: "sha256", ShardSize: 10, Files: []File{{"a", []Part{{0, 10, sum("1")}, {10, 12, sum("2")}}}}}} {
		text, err := m.Statement()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"_type":"` + statementType + `","predicateType":"` + predicateLegacy + `","subject":[{"name":"a","digest":{"sha256":"` + strings.Repeat("00", 32) + `"}}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := ParseStatement(text)
		if err != nil {
			if pavise.KindOf(err) != pavise.Unverified {
				t.Fatalf("%v is of kind %v", err, pavise.KindOf(err))
			}
			return
		}
		seen := map[string]bool{}
		for _, file := range m.Files {
			if seen[file.Path] || !ValidPath(file.Path) && (file.Path != "." || len(m.Files) > 1) || len(file.Parts) == 0 {
				t.Fatalf("%q was read", file.Path)
			}
			seen[file.Path] = true
		}
	})
}

// TestWhatIsNotSigned: white space, the order of keys and what nobody reads of the verification
// material are outside of what is signed, and may change.
func TestWhatIsNotSigned(t *testing.T) {
	key := newKey(t, elliptic.P256())
	text := signed(t, key, sample())
	for old, new := range map[string]string{`":`: "\" :\n\t", `,"tlogEntries":[]`: "", `"publicKey":{`: `"publicKey":{"later":1,`, `"keyid":""`: `"keyid":"anybody"`} {
		changed := bytes.ReplaceAll(text, []byte(old), []byte(new))
		if bytes.Equal(changed, text) {
			t.Fatalf("%s: nothing was changed", old)
		}
		if _, _, err := Open(changed, Trust{Key: &key.PublicKey}); err != nil {
			t.Errorf("%s: %v", new, err)
		}
	}
}
