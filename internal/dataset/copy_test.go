package dataset

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/rowseal"
)

// TestCopyIsWhatItWas: the seal of a copy is the seal of what was copied, links and all; and
// what is too large, is elsewhere, or changes meanwhile is not copied.
func TestCopyIsWhatItWas(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"a.csv": "x,y\n1,2\n", "sub/b.jsonl": "{\"x\":1}\n", "sub/c.bin": strings.Repeat("z", 100_000)} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("sub/b.jsonl", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	root := func(path string) string {
		t.Helper()
		made, err := (&Seal{Path: path, Out: filepath.Join(t.TempDir(), "a.seal")}).Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return made.Root.String()
	}
	for _, path := range []string{dir, filepath.Join(dir, "a.csv")} {
		copied, err := (&Copy{Path: path, Within: dir, Into: t.TempDir(), Most: 1 << 20}).Run(t.Context())
		if err != nil || root(copied) != root(path) {
			t.Errorf("the copy of %s is %q: %v", path, copied, err)
		}
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	for name, c := range map[string]struct {
		ctx  context.Context
		edit func(*Copy)
		kind pavise.Kind
	}{
		"too large":  {t.Context(), func(c *Copy) { c.Most = 100_000 }, pavise.Invalid},
		"too many":   {t.Context(), func(c *Copy) { c.Files = 3 }, pavise.Invalid},
		"elsewhere":  {t.Context(), func(c *Copy) { c.Within = filepath.Join(dir, "sub") }, pavise.Denied},
		"not there":  {t.Context(), func(c *Copy) { c.Path += "/absent" }, pavise.NotFound},
		"no room":    {t.Context(), func(c *Copy) { c.Into += "/absent" }, pavise.Unavailable},
		"is stopped": {stopped, func(*Copy) {}, 0},
	} {
		one := &Copy{Path: dir, Within: dir, Into: t.TempDir(), Most: 1 << 20}
		c.edit(one)
		if _, err := one.Run(c.ctx); err == nil || c.kind != 0 && pavise.KindOf(err) != c.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestCopyFits: sizes whose sum is more than a number holds are too large.
func TestCopyFits(t *testing.T) {
	c := &Copy{Most: 100}
	for name, sizes := range map[string][]int64{"": {40, 60, 0}, "one more": {40, 61}, "a sum that is none": {1 << 62, 1 << 62, 1 << 62, 1 << 62}, "less than none": {60, -30, 60}} {
		entries := make([]entry, len(sizes))
		for i, n := range sizes {
			entries[i].hint.Size = n
		}
		if err := c.fits(entries); (err == nil) != (name == "") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := c.fits([]entry{{link: true, hint: rowseal.Hint{Size: 101}}}); err != nil {
		t.Errorf("a link has no bytes: %v", err)
	}
}
