package seal

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pavise/pavise"
)

func TestFileKEKIsMadeOnce(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "kek")
	first, err := OpenFileKEK(path)
	if err != nil {
		t.Fatal(err)
	}
	second, err := OpenFileKEK(path)
	if err != nil {
		t.Fatal(err)
	}
	if first.ID() != second.ID() {
		t.Error("opening again made another key")
	}
	if first.Protection() != "software" {
		t.Errorf("Protection = %q", first.Protection())
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() != KeySize || info.Mode() != 0o600 {
		t.Errorf("key file: %v, %v", info, err)
	}
	wantOnly(t, dir, "kek")
	if first.Tenant("a").ID() == first.Tenant("b").ID() || first.Tenant("a").ID() != second.Tenant("a").ID() {
		t.Error("tenant keys are not one per tenant")
	}
}

func TestFileKEKConcurrentCreation(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "kek")
	ids := make([]KeyID, 16)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			kek, err := OpenFileKEK(path)
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = kek.ID()
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatalf("two keys: %s and %s", ids[0], id)
		}
	}
	wantOnly(t, dir, "kek")
}

func TestFileKEKRefuses(t *testing.T) {
	for _, tt := range []struct {
		name    string
		prepare func(t *testing.T, path string)
		kind    pavise.Kind
		msg     string
	}{
		{"empty", write(0o600, 0), pavise.Invalid, "is empty"},
		{"short", write(0o600, 31), pavise.Invalid, "31 bytes"},
		{"long", write(0o600, 33), pavise.Invalid, "33 bytes"},
		{"group can read", write(0o640, 32), pavise.Invalid, "mode 0640"},
		{"world can read", write(0o604, 32), pavise.Invalid, "mode 0604"},
		{"world can write", write(0o602, 32), pavise.Invalid, "mode 0602"},
		{"symbolic link", link, pavise.Invalid, "not a regular file"},
		{"dangling link", dangle, pavise.Invalid, "not a regular file"},
		{"directory", mkdir, pavise.Invalid, "not a regular file"},
		{"no such directory", func(*testing.T, string) {}, pavise.Unavailable, "neither read nor made"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "kek")
			if tt.kind == pavise.Unavailable {
				path = filepath.Join(path, "missing", "kek")
			}
			tt.prepare(t, path)
			_, err := OpenFileKEK(path)
			wantError(t, err, tt.kind, tt.msg)
		})
	}
}

func TestLoadOrCreate(t *testing.T) {
	dir := t.TempDir()
	kek := openKEK(t, filepath.Join(dir, "kek"))
	path := filepath.Join(dir, "log.key")
	seed := bytes.Repeat([]byte{0x5e}, 32)
	got, err := kek.LoadOrCreate(path, PurposeLog, func() ([]byte, error) { return seed, nil })
	if err != nil || !bytes.Equal(got, seed) {
		t.Fatalf("LoadOrCreate = %x, %v", got, err)
	}
	got, err = kek.LoadOrCreate(path, PurposeLog, mustNotGenerate(t))
	if err != nil || !bytes.Equal(got, seed) {
		t.Fatalf("LoadOrCreate again = %x, %v", got, err)
	}
	onDisk, err := os.ReadFile(path)
	if err != nil || bytes.Contains(onDisk, seed[:8]) {
		t.Errorf("the seed is in the file in the clear: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("key file: %v, %v", info, err)
	}
	wantOnly(t, dir, "kek", "log.key")
}

func TestLoadOrCreateRefuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		attack func(t *testing.T, dir, path string)
		kind   pavise.Kind
		msg    string
		hint   string
	}{
		{"key for another purpose", func(t *testing.T, dir, path string) {
			create(t, openKEK(t, filepath.Join(dir, "kek")), path, PurposeToken)
		}, pavise.Unverified, "does not open", "another purpose"},
		{"key of another installation", func(t *testing.T, dir, path string) {
			create(t, openKEK(t, filepath.Join(t.TempDir(), "kek")), path, PurposeLog)
		}, pavise.Unverified, "does not open", "different installations"},
		{"flipped bit", func(t *testing.T, dir, path string) {
			create(t, openKEK(t, filepath.Join(dir, "kek")), path, PurposeLog)
			edit(t, path, func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
		}, pavise.Unverified, "does not open", "altered"},
		{"truncated", func(t *testing.T, dir, path string) {
			create(t, openKEK(t, filepath.Join(dir, "kek")), path, PurposeLog)
			edit(t, path, func(b []byte) []byte { return b[:20] })
		}, pavise.Unverified, "does not open", "damaged"},
		{"not ours", func(t *testing.T, dir, path string) {
			if err := os.WriteFile(path, []byte("-----BEGIN PRIVATE KEY-----\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, pavise.Unverified, "does not open", "newer pavise"},
		{"raw record envelope as a key file", func(t *testing.T, dir, path string) {
			kek := openKEK(t, filepath.Join(dir, "kek"))
			sealed := kek.Tenant("local").Seal(PurposeLog.aad(), make([]byte, 32))
			if err := os.WriteFile(path, sealed, 0o600); err != nil {
				t.Fatal(err)
			}
		}, pavise.Unverified, "does not open", "different installations"},
		{"empty", func(t *testing.T, dir, path string) { write(0o600, 0)(t, path) }, pavise.Invalid, "is empty", "backup"},
		{"huge", func(t *testing.T, dir, path string) { write(0o600, 5000)(t, path) }, pavise.Invalid, "5000 bytes", "backup"},
		{"readable by others", func(t *testing.T, dir, path string) { write(0o644, 81)(t, path) }, pavise.Invalid, "mode 0644", "chmod 600"},
		{"symbolic link", func(t *testing.T, dir, path string) { link(t, path) }, pavise.Invalid, "not a regular file", "link"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "log.key")
			tt.attack(t, dir, path)
			_, err := openKEK(t, filepath.Join(dir, "kek")).LoadOrCreate(path, PurposeLog, mustNotGenerate(t))
			wantError(t, err, tt.kind, tt.msg)
			if e, ok := errors.AsType[*pavise.Error](err); ok && !strings.Contains(e.Hint, tt.hint) {
				t.Errorf("hint %q does not say %q", e.Hint, tt.hint)
			}
		})
	}
}

func TestLoadOrCreateLeavesNothingWhenGenerateFails(t *testing.T) {
	dir := t.TempDir()
	kek := openKEK(t, filepath.Join(dir, "kek"))
	broken := errors.New("no entropy")
	_, err := kek.LoadOrCreate(filepath.Join(dir, "log.key"), PurposeLog, func() ([]byte, error) { return nil, broken })
	if !errors.Is(err, broken) {
		t.Errorf("error = %v", err)
	}
	wantOnly(t, dir, "kek")
}

func TestCreatePrivateNeverReplaces(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "k")
	write(0o600, 3)(t, path)
	if err := createPrivate(path, []byte("new")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("error = %v, want ErrExist", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "\x00\x00\x00" {
		t.Errorf("content = %q, %v", b, err)
	}
	wantOnly(t, dir, "k")
}

func openKEK(t *testing.T, path string) *KEK {
	t.Helper()
	kek, err := OpenFileKEK(path)
	if err != nil {
		t.Fatal(err)
	}
	return kek
}

func create(t *testing.T, kek *KEK, path string, purpose Purpose) {
	t.Helper()
	if _, err := kek.LoadOrCreate(path, purpose, func() ([]byte, error) { return make([]byte, 32), nil }); err != nil {
		t.Fatal(err)
	}
}

func mustNotGenerate(t *testing.T) func() ([]byte, error) {
	return func() ([]byte, error) {
		t.Error("a new key was made")
		return make([]byte, 32), nil
	}
}

func write(mode fs.FileMode, size int) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		t.Helper()
		if err := os.WriteFile(path, make([]byte, size), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil { // past the umask
			t.Fatal(err)
		}
	}
}

func link(t *testing.T, path string) {
	t.Helper()
	target := filepath.Join(t.TempDir(), "target")
	write(0o600, KeySize)(t, target)
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

func dangle(t *testing.T, path string) {
	t.Helper()
	if err := os.Symlink(filepath.Join(t.TempDir(), "nowhere"), path); err != nil {
		t.Fatal(err)
	}
}

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
}

func edit(t *testing.T, path string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, change(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

func wantError(t *testing.T, err error, kind pavise.Kind, msg string) {
	t.Helper()
	e, ok := errors.AsType[*pavise.Error](err)
	if !ok {
		t.Fatalf("error = %v, want a *pavise.Error", err)
	}
	if e.Kind != kind || !strings.Contains(e.Msg, msg) || e.Hint == "" {
		t.Errorf("error = %v %q, hint %q; want %v and %q and a hint", e.Kind, e.Msg, e.Hint, kind, msg)
	}
}

// wantOnly checks that the directory holds these files and no temporary one.
func wantOnly(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.Contains(" "+strings.Join(names, " ")+" ", " "+e.Name()+" ") {
			t.Errorf("%s was left behind", e.Name())
		}
	}
	if len(entries) != len(names) {
		t.Errorf("%d files, want %v", len(entries), names)
	}
}
