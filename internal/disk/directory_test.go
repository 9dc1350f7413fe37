package disk_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/disk/disktest"
)

// version is the n-th content of a file that is replaced again and again: of its own
// length, and of its own bytes throughout.
func version(n int) []byte {
	return []byte(strings.Repeat(fmt.Sprintf("version %d,", n), 1+n*7%5))
}

// TestReplaceIsAllOrNothing replaces a file over and over on a disk that loses power,
// 1,000 seeds: afterwards it holds one version whole, and none before the last that
// was acknowledged. What the last life left lying about does no harm to the next.
func TestReplaceIsAllOrNothing(t *testing.T) {
	for seed := range uint64(1000) {
		rng := rand.New(rand.NewPCG(seed, 1))
		d, acked, tried := disktest.New(), 0, 0
		for life := range 4 {
			next := d.LosePowerAfter(1+rng.IntN(20), rng)
			for {
				tried++
				if err := disk.Replace(d, "file", version(tried)); err != nil {
					if !errors.Is(err, disktest.ErrPowerGone) {
						t.Fatalf("seed %d, life %d: %v", seed, life, err)
					}
					break
				}
				acked = tried
			}
			d = next()
			have, ok := d.Bytes("file")
			whole := !ok && acked == 0
			for n := acked; n > 0 && n <= tried; n++ {
				whole = whole || bytes.Equal(have, version(n))
			}
			for n := 1; acked == 0 && n <= tried; n++ {
				whole = whole || bytes.Equal(have, version(n))
			}
			if !whole {
				t.Fatalf("seed %d, life %d: versions %d to %d may be there, and the file holds %q", seed, life, acked, tried, have)
			}
		}
	}
}

// TestReplaceThatFailsLeavesTheOld: whichever operation fails, the error is told and
// the file is the old one, or already the new one, whole.
func TestReplaceThatFailsLeavesTheOld(t *testing.T) {
	for _, broken := range []string{"open", "truncate", "write", "sync", "rename", "syncdir"} {
		d := disktest.New()
		d.Put("file", version(1))
		d.Put("file.new", version(9)) // of a life before
		d.Fail(func(op, _ string) error {
			if op == broken {
				return syscall.EIO
			}
			return nil
		})
		if err := disk.Replace(d, "file", version(2)); err != syscall.EIO {
			t.Errorf("%s fails: %v", broken, err)
		}
		d.Fail(nil)
		want := version(1)
		if broken == "syncdir" {
			want = version(2)
		}
		if have, _ := d.Bytes("file"); !bytes.Equal(have, want) {
			t.Errorf("%s fails: the file holds %q", broken, have)
		}
		if err := disk.Replace(d, "file", version(3)); err != nil {
			t.Errorf("after %s failed: %v", broken, err)
		}
		if have, _ := d.Bytes("file"); !bytes.Equal(have, version(3)) {
			t.Errorf("after %s failed: the file holds %q", broken, have)
		}
	}
	d := disktest.New()
	d.Put("file", version(1))
	d.Free(3)
	if err := disk.Replace(d, "file", version(2)); !disk.Full(err) {
		t.Errorf("on a full disk: %v", err)
	}
	if have, _ := d.Bytes("file"); !bytes.Equal(have, version(1)) {
		t.Errorf("on a full disk: the file holds %q", have)
	}
}

// TestDirOpensRegularFilesOnly: a link, a fifo, a socket's place or a directory in a
// log's directory is refused, and nobody waits for it.
func TestDirOpensRegularFilesOnly(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "nowhere"), filepath.Join(dir, "dangling")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "directory"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"link", "dangling", "directory", "fifo"} {
		for _, readOnly := range []bool{false, true} {
			d := disk.Dir{Path: dir, ReadOnly: readOnly}
			if f, err := d.Open(name, false); err == nil {
				f.Close()
				t.Errorf("%s was opened", name)
			}
			if _, err := disk.Read(d, name, 100); err == nil {
				t.Errorf("%s was read", name)
			}
		}
		if f, err := (disk.Dir{Path: dir}).Open(name, true); err == nil {
			f.Close()
			t.Errorf("%s was made", name)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "nowhere")); err == nil {
		t.Error("a file was made behind a link")
	}
}

// TestReadOnlyDirWritesNothing: who only verifies cannot change what they look at.
func TestReadOnlyDirWritesNothing(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a"), []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := (disk.Dir{Path: dir, ReadOnly: true}).Open("a", false)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("x"), 0); err == nil {
		t.Error("it was written to")
	}
	if err := f.Truncate(0); err == nil {
		t.Error("it was truncated")
	}
	if b, err := os.ReadFile(filepath.Join(dir, "a")); err != nil || string(b) != "content" {
		t.Errorf("it holds %q, %v", b, err)
	}
}

// TestReserveKeepsTheSize: room is made beyond the end of a file, whose length and
// content stay.
func TestReserveKeepsTheSize(t *testing.T) {
	d := disk.Dir{Path: t.TempDir()}
	f, err := d.Open("a", true)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("content"), 0); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int64{1 << 20, 3, 0} {
		if err := f.Reserve(size); err != nil {
			t.Fatal(err)
		}
		if n, err := f.Size(); err != nil || n != 7 {
			t.Errorf("after a reserve of %d the file is %d bytes, %v", size, n, err)
		}
	}
	if err := errors.Join(f.Sync(), d.Sync()); err != nil {
		t.Error(err)
	}
}

// TestReadIsBounded: a file is read whole, but no more of it than is wanted.
func TestReadIsBounded(t *testing.T) {
	d := disktest.New()
	d.Put("a", []byte("content"))
	for limit, want := range map[int64]string{0: "", 3: "con", 7: "content", 1 << 40: "content"} {
		if b, err := disk.Read(d, "a", limit); err != nil || string(b) != want {
			t.Errorf("at most %d bytes: %q, %v", limit, b, err)
		}
	}
	if _, err := disk.Read(d, "b", 3); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of no file: %v", err)
	}
	if n, err := disk.Size(d, "a"); err != nil || n != 7 {
		t.Errorf("size %d, %v", n, err)
	}
	if _, err := disk.Size(d, "b"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("size of no file: %v", err)
	}
}

// TestFaultTellsPeopleWhatToDo: the errors of a disk are Unavailable, keep their
// cause, and say what to do where somebody can.
func TestFaultTellsPeopleWhatToDo(t *testing.T) {
	for cause, hint := range map[error]string{
		syscall.ENOSPC: "free space", syscall.EDQUOT: "free space", syscall.EROFS: "read-only", os.ErrPermission: "owner",
		&os.PathError{Op: "open", Path: "x", Err: syscall.EACCES}: "owner", syscall.EIO: "", io.EOF: "",
	} {
		err := disk.Fault("write it", cause)
		e, ok := errors.AsType[*pavise.Error](err)
		if !ok || e.Kind != pavise.Unavailable || !errors.Is(err, cause) || !strings.HasPrefix(e.Msg, "write it: ") {
			t.Errorf("%v became %v", cause, err)
		}
		if hint == "" && e.Hint != "" || !strings.Contains(e.Hint, hint) {
			t.Errorf("the hint for %v is %q", cause, e.Hint)
		}
	}
}
