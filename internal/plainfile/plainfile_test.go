package plainfile

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/pavise/pavise"
)

// TestRead reads a file to its bound, and nothing that is none.
func TestRead(t *testing.T) {
	dir := t.TempDir()
	file, pipe := filepath.Join(dir, "key.pem"), filepath.Join(dir, "pipe")
	if err := os.WriteFile(file, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		limit int64
		read  bool
		wrong pavise.Kind
	}{{file, 5, true, 0}, {file, 4, false, pavise.Invalid}, {pipe, 5, false, pavise.Invalid}, {dir, 5, false, pavise.Invalid}, {filepath.Join(dir, "none"), 5, false, pavise.NotFound}} {
		text, err := Read("key", c.name, c.limit)
		if c.read && (err != nil || string(text) != "12345") || !c.read && pavise.KindOf(err) != c.wrong {
			t.Errorf("%s, %d bytes: %q, %v", c.name, c.limit, text, err)
		}
	}
}

// TestShared tells a file that others can read from one that they cannot.
func TestShared(t *testing.T) {
	name := filepath.Join(t.TempDir(), "key.pem")
	for mode, shared := range map[os.FileMode]bool{0o600: false, 0o400: false, 0o640: true, 0o604: true, 0o644: true} {
		os.Remove(name)
		if err := os.WriteFile(name, nil, mode); err != nil || os.Chmod(name, mode) != nil {
			t.Fatal(err)
		}
		if Shared(name) != shared {
			t.Errorf("%o: %t", mode, !shared)
		}
	}
}
