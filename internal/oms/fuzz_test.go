package oms

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/pavise/pavise"
)

// FuzzPEM reads keys and certificates, which come in files of anybody's. A private key that is
// taken is the other half of what ParsePublicKey reads of its public half's one spelling; what
// is refused is refused as Invalid, in words that hold no line of the file.
func FuzzPEM(f *testing.F) {
	block := func(kind string, der []byte, err error) []byte {
		if err != nil {
			f.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	for _, curve := range []elliptic.Curve{elliptic.P224(), elliptic.P256(), elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			f.Fatal(err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		whole := block("PRIVATE KEY", der, err)
		f.Add(whole)
		der, err = x509.MarshalECPrivateKey(key)
		f.Add(append([]byte("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"), block("EC PRIVATE KEY", der, err)...))
		f.Add(block("EC PRIVATE KEY", der[:len(der)-1], nil))
		der, err = x509.MarshalPKIXPublicKey(&key.PublicKey)
		f.Add(block("PUBLIC KEY", der, err))
		f.Add(append(block("PUBLIC KEY", der, err), whole...))
	}
	f.Add([]byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"))
	f.Add([]byte("-----BEGIN EC PRIVATE KEY-----\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END EC PRIVATE KEY-----\n"))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"))
	f.Add([]byte("-----BEGIN EC PARAMETERS-----\n-----END EC PARAMETERS-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		refused := func(err error) {
			if pavise.KindOf(err) != pavise.Invalid {
				t.Fatalf("%q: %v", text, err)
			}
			for line := range strings.Lines(string(text)) {
				if line = strings.TrimSpace(line); len(line) >= 24 && !strings.HasPrefix(line, "-----") && strings.Contains(err.Error(), line) {
					t.Fatalf("%q is told: %v", line, err)
				}
			}
		}
		if key, err := ParsePrivateKey(text); err != nil {
			refused(err)
		} else if public, err := spelled(&key.PublicKey); err != nil {
			t.Fatal(err)
		} else if again, err := ParsePublicKey(public); err != nil || !again.Equal(&key.PublicKey) {
			t.Fatalf("%q has a public half that is %v, %v", text, again, err)
		}
		if key, err := ParsePublicKey(text); err != nil {
			refused(err)
		} else if public, err := spelled(key); err != nil {
			t.Fatal(err)
		} else if again, err := ParsePublicKey(public); err != nil || !again.Equal(key) {
			t.Fatalf("%q is spelled %q, which is %v, %v", text, public, again, err)
		}
		if list, err := certificates(text); err != nil {
			refused(err)
		} else if len(list) == 0 || bytes.Count(text, []byte("-----BEGIN")) < len(list) {
			t.Fatalf("%q has %d certificates", text, len(list))
		}
	})
}
