package device

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/model"
)

// TestSigned has a machine that wants versions signed by a key: it runs what is, and neither
// what nobody signed nor what another key did, nor other files than were signed.
func TestSigned(t *testing.T) {
	t.Parallel()
	dir := inMemory(t)
	key := func(name string) (private, public string) {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		secret, err := x509.MarshalPKCS8PrivateKey(k)
		if err != nil {
			t.Fatal(err)
		}
		open, err := x509.MarshalPKIXPublicKey(&k.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		private, public = filepath.Join(dir, name), filepath.Join(dir, name+".pub")
		for file, b := range map[string]*pem.Block{private: {Type: "PRIVATE KEY", Bytes: secret}, public: {Type: "PUBLIC KEY", Bytes: open}} {
			if err := os.WriteFile(file, pem.EncodeToMemory(b), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return private, public
	}
	ours, public := key("ours")
	theirs, _ := key("theirs")
	sign := func(private, text string) []byte {
		at, err := os.MkdirTemp(dir, "model")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(at, "model.onnx"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := (&model.Sign{Path: at, Key: private, Out: at + ".sig", Hash: "sha256"}).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		signature, err := os.ReadFile(at + ".sig")
		if err != nil {
			t.Fatal(err)
		}
		return signature
	}
	w := newWorld(t)
	w.cfg.Key = public
	d, err := Open(w.cfg)
	if err != nil {
		t.Fatal(err)
	}
	obey := func(revision uint64, text string, signature []byte) error {
		v := w.shelf.version(int(revision), "model.onnx", text)
		v.Signature = signature
		o, err := ordersOf(w, revision, v)
		if err != nil {
			t.Fatal(err)
		}
		return d.obey(t.Context(), o, func(digest string) ([]byte, error) { return w.shelf[digest], nil })
	}
	if err := obey(1, "good", sign(ours, "good")); err != nil || w.reads(t, "model.onnx") != "good" {
		t.Fatalf("%v", err)
	}
	for what, signature := range map[string][]byte{"nobody's": nil, "another's": sign(theirs, "evil"), "of other files": sign(ours, "good"), "none": []byte("{}")} {
		if err := obey(2, "evil", signature); pavise.KindOf(err) != pavise.Unverified || w.reads(t, "model.onnx") != "good" {
			t.Errorf("%s: %v", what, err)
		}
	}
	if list, err := os.ReadDir(filepath.Join(w.cfg.Dir, dirVersions)); err != nil || len(list) != 1 {
		t.Errorf("what was refused lies there: %v %v", list, err)
	}
}
