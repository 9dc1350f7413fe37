package gate

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"testing"

	"github.com/pavise/pavise"
)

// FuzzPublicKeys reads the keys of a source's signers, as whoever declares it writes them:
// what is taken are keys of Ed25519, each of them the same when it is written anew.
func FuzzPublicKeys(f *testing.F) {
	one := func(fill byte) []byte {
		der, err := x509.MarshalPKIXPublicKey(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{fill}, 32)).Public())
		if err != nil {
			f.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	}
	f.Add(one(1))
	f.Add(append(one(1), one(2)...))
	f.Add(bytes.Repeat(one(1), maxSigners+1))
	f.Add(append(one(1), " \r\n"...))
	f.Add(append(one(1), "x"...))
	f.Add(append([]byte("before\n"), one(1)...))
	f.Add(bytes.ReplaceAll(one(1), []byte("PUBLIC"), []byte("PRIVATE")))
	f.Add([]byte{})
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := publicKeys(text)
		if err != nil {
			if pavise.KindOf(err) != pavise.Invalid || len(keys) > 0 {
				t.Fatalf("%q: %d keys, %v", text, len(keys), err)
			}
			return
		}
		if len(keys) == 0 && len(text) > 0 || len(keys) > maxSigners || bytes.Count(text, []byte("-----BEGIN")) < len(keys) {
			t.Fatalf("%q has %d keys", text, len(keys))
		}
		var anew []byte
		for _, key := range keys {
			der, err := x509.MarshalPKIXPublicKey(key)
			if err != nil || len(key) != ed25519.PublicKeySize {
				t.Fatalf("%q has the key %x, %v", text, key, err)
			}
			anew = append(anew, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})...)
		}
		again, err := publicKeys(anew)
		if err != nil || len(again) != len(keys) {
			t.Fatalf("%q is written %q, which is %d keys, %v", text, anew, len(again), err)
		}
		for i := range keys {
			if !keys[i].Equal(again[i]) {
				t.Fatalf("%q is written %q, whose key %d is another", text, anew, i)
			}
		}
	})
}
