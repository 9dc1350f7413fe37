package fleet

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/pavise/pavise"
)

// Replace puts a file, mode 0600, in the place of another, or of none: whole and on
// disk, or not at all.
func Replace(dir, name string, text []byte) error {
	path := filepath.Join(dir, name)
	fault := func(err error) error { return fmt.Errorf("write %s: %w", path, err) }
	if err := os.Remove(path + ".new"); err != nil && !errors.Is(err, os.ErrNotExist) { // a killed process's, or no file at all
		return fault(err)
	}
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fault(err)
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fault(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fault(err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return fault(err)
	}
	return errors.Join(d.Sync(), d.Close())
}

// CheckOwn refuses a directory where somebody else may put files in the place of ours.
// what and flag are what people call it.
func CheckOwn(dir, what, flag string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("look at the %s: %w", what, err)
	}
	owner, known := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.IsDir():
		return &pavise.Error{Kind: pavise.Invalid, Msg: dir + " is no directory", Hint: "name another with " + flag}
	case known && int(owner.Uid) != os.Geteuid():
		return &pavise.Error{
			Kind: pavise.Denied, Msg: fmt.Sprintf("the %s %s belongs to another user", what, dir),
			Hint: fmt.Sprintf("name another with %s, or go on as the user whose it is", flag),
		}
	case info.Mode().Perm()&0o022 != 0:
		return &pavise.Error{
			Kind: pavise.Denied, Msg: fmt.Sprintf("other users may write in the %s %s", what, dir),
			Hint: fmt.Sprintf("make it yours alone: chmod go-w %s", Quote(dir)),
		}
	}
	return nil
}

// Quote makes a path one word of a shell.
func Quote(path string) string {
	plain := func(r rune) bool {
		return r == '/' || r == '.' || r == '_' || r == '-' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
	}
	if strings.IndexFunc(path, func(r rune) bool { return !plain(r) }) < 0 {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
