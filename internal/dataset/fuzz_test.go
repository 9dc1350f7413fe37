package dataset

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pavise/pavise"
)

// FuzzKeyFiles reads the keys that statements are signed and verified with, as files hold
// them. A private key that is taken signs under the name of its public half; what is refused
// is told in words that hold no line of the file.
func FuzzKeyFiles(f *testing.F) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		f.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		f.Fatal(err)
	}
	block := func(kind string, der []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	f.Add(block("PRIVATE KEY", private))
	f.Add(block("PUBLIC KEY", public))
	f.Add(block("PRIVATE KEY", public))
	f.Add(block("PUBLIC KEY", private))
	f.Add(block("PRIVATE KEY", private[:len(private)-1]))
	f.Add(block("ENCRYPTED PRIVATE KEY", private))
	f.Add(append(block("CERTIFICATE", nil), block("PRIVATE KEY", private)...))
	f.Add(append(block("PUBLIC KEY", public), "and more"...))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"))
	f.Add([]byte{})
	name := filepath.Join(f.TempDir(), "key")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
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
		if s, err := readSigner(name); err != nil {
			refused(err)
		} else if id, err := keyID(s.key.Public().(ed25519.PublicKey)); err != nil || id != s.id {
			t.Fatalf("%q signs as %s, and its public half is %s, %v", text, s.id, id, err)
		}
		if key, err := readVerifier(name); err != nil {
			refused(err)
		} else if len(key) != ed25519.PublicKeySize {
			t.Fatalf("%q is a key of %d bytes", text, len(key))
		}
	})
}
