package dataset

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/rowseal"
)

// signedSeal seals lines, signed, and returns the signature with the seal.
func signedSeal(t testing.TB, n int) ([]byte, *rowseal.Manifest) {
	t.Helper()
	dir := write(t, map[string]string{"a.jsonl": joined(lines(n))})
	private, _ := keys(t)
	out := filepath.Join(t.TempDir(), "s.seal")
	made, err := (&Seal{Path: dir, Out: out, Key: private}).Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(made.Signature)
	if err != nil {
		t.Fatal(err)
	}
	m, err := ReadManifest(out)
	if err != nil {
		t.Fatal(err)
	}
	return text, m
}

// A signature that is handed over with a seal is one, and of that seal.
func TestSignedAs(t *testing.T) {
	text, m := signedSeal(t, 40)
	ids, err := SignedAs(text, m)
	if err != nil || len(ids) != 1 || len(ids[0]) != 64 {
		t.Fatalf("%v, %v", ids, err)
	}
	_, other := signedSeal(t, 41)
	for name, c := range map[string]struct {
		text string
		of   *rowseal.Manifest
		kind pavise.Kind
	}{
		"another seal's":    {string(text), other, pavise.Unverified},
		"no signature":      {`{"payloadType":"application/vnd.in-toto+json","payload":"","signatures":[]}`, m, pavise.Invalid},
		"a key's id in two": {strings.Replace(string(text), ids[0], ids[0][:32], 1), m, pavise.Invalid},
		"an endless one":    {string(text) + strings.Repeat(" ", 1<<16), m, pavise.Invalid},
		"another type":      {strings.Replace(string(text), "in-toto", "in-toro", 1), m, pavise.Invalid},
		"nothing":           {"", m, pavise.Invalid},
	} {
		if _, err := SignedAs([]byte(c.text), c.of); pavise.KindOf(err) != c.kind {
			t.Errorf("%s: %v, want %v", name, err, c.kind)
		}
	}
}

// FuzzSignedAs: what is taken for a signature of a seal names its root.
func FuzzSignedAs(f *testing.F) {
	text, m := signedSeal(f, 5)
	f.Add(text)
	f.Add([]byte(`{"payload":{}}`))
	f.Add(bytes.ReplaceAll(text, []byte("keyid"), []byte("keyId")))
	f.Fuzz(func(t *testing.T, text []byte) {
		ids, err := SignedAs(text, m)
		if err == nil && (len(ids) == 0 || len(ids[0]) != 64) {
			t.Errorf("%q is signed by %q", text, ids)
		}
	})
}

// What has to lie within a directory is not sealed, and not held to a seal, elsewhere.
func TestWithin(t *testing.T) {
	dir := write(t, map[string]string{"in/a.csv": "a\n1\n", "out/b.csv": "b\n2\n"})
	in := filepath.Join(dir, "in")
	if err := os.Symlink("../out/b.csv", filepath.Join(in, "b.csv")); err != nil {
		t.Fatal(err)
	}
	seal := filepath.Join(t.TempDir(), "s")
	if _, err := (&Seal{Path: filepath.Join(in, "a.csv"), Within: in, Out: seal}).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"in/b.csv", "out/b.csv", "in/../out", "."} {
		path := filepath.Join(dir, name)
		_, sealed := (&Seal{Path: path, Within: in, Out: filepath.Join(t.TempDir(), "s")}).Run(t.Context())
		_, held := (&Verify{Path: path, Within: in, Seal: seal}).Run(t.Context())
		if pavise.KindOf(sealed) != pavise.Denied || pavise.KindOf(held) != pavise.Denied {
			t.Errorf("%s: sealed %v, held %v", name, sealed, held)
		}
	}
}
