package pipeline

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/pavise/pavise"
)

// FuzzReadKey reads the private key of an app, as a person pastes it. What is taken is a key
// of RSA that can be written and read again; what is refused is told in words that hold
// nothing of it.
func FuzzReadKey(f *testing.F) {
	block := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		f.Fatal(err)
	}
	elliptical, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	whole, err := x509.MarshalPKCS8PrivateKey(rsaKey)
	if err != nil {
		f.Fatal(err)
	}
	other, err := x509.MarshalPKCS8PrivateKey(elliptical)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey)))
	f.Add(block("PRIVATE KEY", whole))
	f.Add(block("PRIVATE KEY", whole[:len(whole)-1]))
	f.Add(block("PRIVATE KEY", other))
	f.Add(block("RSA PRIVATE KEY", nil))
	f.Add(strings.ReplaceAll(block("PRIVATE KEY", whole), "\n", "\r\n"))
	f.Add(strings.ReplaceAll(block("PRIVATE KEY", whole), "\n", `\n`))
	f.Add("-----BEGIN RSA PRIVATE KEY-----\nMAA=\n-----END RSA PRIVATE KEY-----\n")
	f.Fuzz(func(t *testing.T, text string) {
		key, err := readKey(text)
		if err != nil {
			if pavise.KindOf(err) != pavise.Invalid || key != nil {
				t.Fatalf("%q: %v, %v", text, key, err)
			}
			for line := range strings.Lines(text) {
				if line = strings.TrimSpace(line); len(line) >= 24 && !strings.HasPrefix(line, "-----") && strings.Contains(err.Error(), line) {
					t.Fatalf("%q is told: %v", line, err)
				}
			}
			return
		}
		if err := key.Validate(); err != nil {
			t.Fatalf("%q is a key that is none: %v", text, err)
		}
		if again, err := readKey(block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key))); err != nil || !again.Equal(key) {
			t.Fatalf("%q is another key when it is written again, %v", text, err)
		}
	})
}
