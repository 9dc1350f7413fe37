package blob

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pavise/pavise"
)

// TestNothingLeadsOutOfADirectory puts links into a directory that lead elsewhere, at the
// place of an object and of a directory above it. Nothing elsewhere is read, written or
// listed.
func TestNothingLeadsOutOfADirectory(t *testing.T) {
	outside, inside := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "key"), []byte("private"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"key": filepath.Join(outside, "key"), "up": outside, "dots": "../" + filepath.Base(outside), "loop": "loop"} {
		if err := os.Symlink(target, filepath.Join(inside, name)); err != nil {
			t.Fatal(err)
		}
	}
	b := open(t, inside)
	for _, name := range []string{"key", "up/key", "dots/key", "loop", "loop/key"} {
		if r, err := b.Get(t.Context(), name); err == nil {
			content, _ := io.ReadAll(r)
			t.Errorf("%s is %q", name, content)
		}
	}
	for _, name := range []string{"up/key", "up/new", "dots/new", "loop/new"} {
		wantKind(t, b.Put(t.Context(), Object{Name: name, Size: 4}, strings.NewReader("mine")), pavise.Unavailable)
	}
	if names := list(t, b, ""); len(names) > 0 {
		t.Errorf("there are %q", names)
	}
	put(t, b, "key", []byte("mine")) // takes the place of the link
	if got, err := os.ReadFile(filepath.Join(outside, "key")); err != nil || string(got) != "private" {
		t.Errorf("%q, %v", got, err)
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 1 {
		t.Errorf("there are %d files outside, %v", len(entries), err)
	}
}

// TestWhatIsNoFileIsNoObject neither waits for a pipe nor reads a directory.
func TestWhatIsNoFileIsNoObject(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := open(t, dir)
	put(t, b, "a/b", nil)
	for _, name := range []string{"pipe", "a"} {
		_, err := b.Get(t.Context(), name)
		wantKind(t, err, pavise.NotFound)
	}
	if names := list(t, b, ""); len(names) != 1 {
		t.Errorf("there are %q", names)
	}
	for _, name := range []string{"a", "a/b/c"} { // a directory, and below a file
		wantKind(t, b.Put(t.Context(), Object{Name: name}, bytes.NewReader(nil)), pavise.Unavailable)
	}
}

// TestWhoLooksOnSeesWholeObjectsOnly looks into the directory while an object is being
// written over, and after a writer that died; what that one left goes once it is old.
func TestWhoLooksOnSeesWholeObjectsOnly(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	put(t, b, "log/x", []byte("old"))
	dead := filepath.Join(dir, unfinished, "dead")
	if err := os.WriteFile(dead, []byte("ha"), 0o600); err != nil {
		t.Fatal(err)
	}
	look := readerFunc(func(p []byte) (int, error) {
		if got := get(t, b, "log/x"); string(got) != "old" {
			t.Errorf("while it is written over it is %q", got)
		}
		if names := list(t, b, ""); len(names) != 1 {
			t.Errorf("there are %q", names)
		}
		if entries, err := os.ReadDir(filepath.Join(dir, "log")); err != nil || len(entries) != 1 {
			t.Errorf("beside it there are %v, %v", entries, err)
		}
		return copy(p, "n"), nil
	})
	content := io.MultiReader(io.LimitReader(look, 3), strings.NewReader("ew"))
	if err := b.Put(t.Context(), Object{Name: "log/x", Size: 5}, content); err != nil {
		t.Fatal(err)
	}
	if got := get(t, b, "log/x"); string(got) != "nnnew" {
		t.Errorf("%q", got)
	}
	wantKind(t, b.Put(t.Context(), Object{Name: "log/y", Size: 5}, strings.NewReader("half")), pavise.Unavailable)
	left := func() int {
		open(t, dir)
		entries, err := os.ReadDir(filepath.Join(dir, unfinished))
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	if n := left(); n != 1 {
		t.Errorf("%d files are unfinished", n)
	}
	long := time.Now().Add(-2 * abandoned)
	if err := os.Chtimes(dead, long, long); err != nil {
		t.Fatal(err)
	}
	if n := left(); n != 0 {
		t.Errorf("%d files are unfinished", n)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestFilesAreTheirOwnersAlone makes files and directories that nobody else can read.
func TestFilesAreTheirOwnersAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "archive")
	put(t, open(t, dir), "a/b", []byte("x"))
	for path, want := range map[string]os.FileMode{"": 0o700, "a": 0o700, "a/b": 0o600} {
		info, err := os.Stat(filepath.Join(dir, path))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, %v", path, info.Mode(), err)
		}
	}
}

// TestADirectoryThatIsNotToBeHad is of kind Unavailable: one that cannot be made, that
// somebody removed, or into which nobody may write.
func TestADirectoryThatIsNotToBeHad(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), file+"/archive")
	wantKind(t, err, pavise.Unavailable)
	gone := filepath.Join(t.TempDir(), "archive")
	b := open(t, gone)
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	wantKind(t, b.Put(t.Context(), Object{Name: "x"}, bytes.NewReader(nil)), pavise.Unavailable)
	for _, err := range b.List(t.Context(), "") {
		wantKind(t, err, pavise.Unavailable)
	}
	if os.Getuid() == 0 {
		return // whom no mode keeps out
	}
	closed := t.TempDir()
	b = open(t, closed)
	if err := os.Chmod(closed, 0o500); err != nil {
		t.Fatal(err)
	}
	wantKind(t, b.Put(t.Context(), Object{Name: "x"}, bytes.NewReader(nil)), pavise.Unavailable)
}

// TestAFullDisk fills a small file system that PAVISE_TMPFS names: what does not fit is
// not there, what was there stays, and there is room again afterwards.
func TestAFullDisk(t *testing.T) {
	mount := os.Getenv("PAVISE_TMPFS")
	if mount == "" {
		t.Skip("PAVISE_TMPFS names no small file system to fill, for example a tmpfs of 24 MiB")
	}
	dir, err := os.MkdirTemp(mount, "archive")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	b := open(t, dir)
	put(t, b, "small", []byte("small"))
	const size = 1 << 30
	err = b.Put(t.Context(), Object{Name: "small", Size: size}, io.LimitReader(endless{}, size))
	wantKind(t, err, pavise.Unavailable)
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("it says %v", err)
	}
	if got := get(t, b, "small"); string(got) != "small" {
		t.Errorf("%d bytes are there", len(got))
	}
	put(t, b, "next", bytes.Repeat([]byte("x"), 1<<20))
}
