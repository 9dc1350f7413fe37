package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise/internal/config"
)

// TestKeyThatOthersCanRead refuses to begin with such a key, and goes on with what it has
// when one turns up meanwhile.
func TestKeyThatOthersCanRead(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	files := config.TLS{Certificate: filepath.Join(t.TempDir(), "tls.crt"), Key: filepath.Join(t.TempDir(), "tls.key")}
	for path, block := range map[string]*pem.Block{files.Certificate: {Type: "CERTIFICATE", Bytes: cert}, files.Key: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	f := &certificateFiles{files: files}
	if _, err := f.get(nil); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(files.Key, 0o644); err != nil {
		t.Fatal(err)
	}
	f.looked, f.stamp = time.Time{}, ""
	if _, err := f.get(nil); err != nil {
		t.Errorf("while it runs: %v", err)
	}
	if _, err := CertificateOf(&files, nil); err == nil || !strings.Contains(err.Error(), "chmod o=") {
		t.Errorf("at the start: %v", err)
	}
}
