package notary

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/oms"
)

// TestHouseModelSigning has the Python package model-signing verify what the house signs: the
// files as they are, and no others; of one file and of many. PAVISE_MODEL_SIGNING is a Python that
// has it.
func TestHouseModelSigning(t *testing.T) {
	python := os.Getenv("PAVISE_MODEL_SIGNING")
	if python == "" {
		t.Skip("PAVISE_MODEL_SIGNING names no Python with the package model-signing")
	}
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n := open(t, dir)
	for name, c := range map[string]struct {
		files map[string]string // by path
		claim []oms.File
	}{
		"many": {map[string]string{"MLmodel": "a", "data/model.bin": "b"}, []oms.File{File("MLmodel", sum("a")), File("data/model.bin", sum("b"))}},
		"one":  {map[string]string{"": "a"}, []oms.File{File(".", sum("a"))}},
	} {
		for path, text := range c.files {
			write(filepath.Join(name, path), text)
		}
		bundle, key, err := n.Sign(Claim{Version: pavise.Name{Tenant: "acme", Kind: "model", ID: "fraud@1"}, Digest: "sha256:1", Risk: "low", Found: "clean", Files: c.claim})
		if err != nil {
			t.Fatal(err)
		}
		write(name+".sig", string(bundle))
		write("house.pub", string(key.PEM))
		verify := func(holds bool) {
			t.Helper()
			out, err := exec.Command(python, "-m", "model_signing", "verify", "key", filepath.Join(dir, name), "--signature", filepath.Join(dir, name+".sig"), "--public_key", filepath.Join(dir, "house.pub")).CombinedOutput()
			if (err == nil) != holds {
				t.Errorf("%s, holds %v: %v\n%s", name, !holds, err, out)
			}
		}
		verify(true)
		for path := range c.files {
			write(filepath.Join(name, path), "other")
		}
		verify(false)
	}
}
