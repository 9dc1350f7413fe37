package dataset

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/pavise/pavise/internal/rowseal"
)

// TestGrow seals a directory with a large file, a small one and a link: no less is asked for than is
// written, and who refuses any part of it ends the seal.
func TestGrow(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string][]byte{"large.bin": make([]byte, smallFile+1), "rows.csv": bytes.Repeat([]byte("a,b\n"), 300)} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("rows.csv", filepath.Join(dir, "also.csv")); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "seal")
	var asked, calls int64
	if _, err := (&Seal{Path: dir, Out: out, Grow: func(n int64) error { asked += n; calls++; return nil }}).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	wrote := int64(0)
	for _, name := range []string{out, out + rowseal.IndexSuffix} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		wrote += info.Size()
	}
	if asked < wrote || asked > 2*wrote {
		t.Errorf("%d bytes were asked for, and %d were written", asked, wrote)
	}
	no := errors.New("no")
	for refused := range calls {
		at := int64(0)
		_, err := (&Seal{Path: dir, Out: filepath.Join(t.TempDir(), "seal"), Grow: func(int64) error {
			if at++; at == refused+1 {
				return no
			}
			return nil
		}}).Run(t.Context())
		if !errors.Is(err, no) {
			t.Errorf("call %d of %d was refused: %v", refused+1, calls, err)
		}
	}
}
