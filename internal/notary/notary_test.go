package notary

import (
	"bytes"
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/oms"
	"github.com/pavise/pavise/internal/seal"
)

// open opens the notary of a directory.
func open(t *testing.T, dir string) *Notary {
	t.Helper()
	kek, err := seal.OpenFileKEK(filepath.Join(dir, "kek"))
	if err != nil {
		t.Fatal(err)
	}
	n, err := Open(kek, dir)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// sum is the SHA-256 of a text.
func sum(text string) []byte { s := sha256.Sum256([]byte(text)); return s[:] }

// claim is one that is whole.
func claim() Claim {
	return Claim{
		Version: pavise.Name{Tenant: "acme", Kind: "model", ID: "fraud@3"}, Digest: "sha256:12", Risk: "low", Found: "clean", Producer: "sha256:34", Change: "acme/change/c-1",
		Files: []oms.File{File("a.json", sum("a")), File("b/c.bin", sum("c"))},
	}
}

// TestClaims holds a signature to its claim, and to no other: each word of it and each file counts.
func TestClaims(t *testing.T) {
	n := open(t, t.TempDir())
	bundle, key, err := n.Sign(claim())
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Check(bundle, key.ID, claim()); err != nil {
		t.Fatal(err)
	}
	if again, _, _ := n.Sign(claim()); !bytes.Equal(again, bundle) {
		t.Error("the same claim has another signature")
	}
	public, err := oms.ParsePublicKey(key.PEM)
	if err != nil {
		t.Fatal(err)
	}
	m, by, err := oms.Open(bundle, oms.Trust{Key: public})
	if err != nil || by.By != key.ID || m.Name != claim().Says() || len(m.Files) != 2 {
		t.Errorf("%+v %+v %v", m, by, err)
	}
	for name, change := range map[string]func(*Claim){
		"another version":     func(c *Claim) { c.Version.ID = "fraud@4" },
		"another tenant":      func(c *Claim) { c.Version.Tenant = "other" },
		"another digest":      func(c *Claim) { c.Digest = "sha256:13" },
		"another risk":        func(c *Claim) { c.Risk = "high" },
		"found otherwise":     func(c *Claim) { c.Found = "suspicious" },
		"somebody's word":     func(c *Claim) { c.Said = pavise.Name{Tenant: "acme", Kind: "human", ID: "mia"} },
		"no producer":         func(c *Claim) { c.Producer = "" },
		"not published":       func(c *Claim) { c.Change = "" },
		"by another change":   func(c *Claim) { c.Change = "acme/change/c-2" },
		"words in a word":     func(c *Claim) { c.Found, c.Producer = "clean, with the signature sha256:34 of a producer", "" },
		"a file fewer":        func(c *Claim) { c.Files = c.Files[:1] },
		"a file more":         func(c *Claim) { c.Files = append(c.Files, File("d", sum("d"))) },
		"a file of that name": func(c *Claim) { c.Files[0] = File("a.json", sum("b")) },
		"a file elsewhere":    func(c *Claim) { c.Files[1] = File("b/d.bin", sum("c")) },
	} {
		c := claim()
		change(&c)
		if err := n.Check(bundle, key.ID, c); pavise.KindOf(err) != pavise.Unverified {
			t.Errorf("%s: %v", name, err)
		}
	}
	from, to := bytes.Index(bundle, []byte(`"payload":"`))+len(`"payload":"`), bytes.Index(bundle, []byte(`","signatures"`))
	if from < 20 || to < from {
		t.Fatalf("no payload: %s", bundle)
	}
	for i := from; i < to; i += 37 { // whatever is turned of what is signed
		other := bytes.Clone(bundle)
		if other[i] = 'A'; bundle[i] == 'A' {
			other[i] = 'B'
		}
		if err := n.Check(other, key.ID, claim()); pavise.KindOf(err) != pavise.Unverified {
			t.Errorf("byte %d can be another: %v", i, err)
		}
	}
}

// TestKeys keeps the key, sealed, and believes former ones: what they signed holds, and they sign
// nothing. What an unknown key signed does not hold, nor where the key is said to be another.
func TestKeys(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data [1]")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	n := open(t, dir)
	if !n.Fresh() || n.Begin() != nil || n.Fresh() {
		t.Error("a new directory is not fresh, or stays so")
	}
	first, old, err := n.Sign(claim())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, keyFile)
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	if n = open(t, dir); n.Fresh() || n.Check(first, old.ID, claim()) != nil {
		t.Error("the key is another after a start")
	}
	if err := os.Rename(file, filepath.Join(dir, "model-former-2026.key")); err != nil {
		t.Fatal(err)
	}
	n = open(t, dir)
	second, now, err := n.Sign(claim())
	if err != nil || now.ID == old.ID || n.Fresh() {
		t.Fatalf("%s %v, fresh %v", now.ID, err, n.Fresh())
	}
	if err := n.Check(first, old.ID, claim()); err != nil {
		t.Error(err)
	}
	if err := n.Check(second, now.ID, claim()); err != nil {
		t.Error(err)
	}
	if err := n.Check(first, now.ID, claim()); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("the former key's passes for the new one's: %v", err)
	}
	if k, err := n.Key(old.ID); err != nil || !bytes.Equal(k.PEM, old.PEM) {
		t.Errorf("%v %v", k, err)
	}
	if err := os.Remove(filepath.Join(dir, "model-former-2026.key")); err != nil {
		t.Fatal(err)
	}
	n = open(t, dir)
	err = n.Check(first, old.ID, claim())
	if e, is := err.(*pavise.Error); !is || e.Kind != pavise.Unverified || !strings.Contains(e.Hint, "model-former-NAME.key") {
		t.Errorf("%v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "model-former-bad.key"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	kek, err := seal.OpenFileKEK(filepath.Join(dir, "kek"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(kek, dir); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("a former key that is none: %v", err)
	}
}

// TestBegunOnce: a start that was killed before all was signed goes on with the same key.
func TestBegunOnce(t *testing.T) {
	dir := t.TempDir()
	_, key, err := open(t, dir).Sign(claim())
	if err != nil {
		t.Fatal(err)
	}
	n := open(t, dir)
	if again, _ := n.Key(""); !n.Fresh() || again.ID != key.ID {
		t.Error("it began anew with another key")
	}
}
