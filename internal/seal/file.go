package seal

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pavise/pavise"
)

// readPrivate returns the content of a regular file of 1 to limit bytes that
// nobody but its owner can read or write. The error wraps fs.ErrNotExist when
// there is none.
func readPrivate(path string, limit int64) ([]byte, error) {
	before, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !before.Mode().IsRegular() {
		return nil, fault(path, "is not a regular file", "put the file itself there, not a link to it")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := private(path, before, info, limit); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	return b, nil
}

// ReadKey returns the key that a file of somebody else's making holds: 64 hexadecimal
// digits, and nobody but its owner can read or write it. The error is of kind Invalid or
// wraps fs.ErrNotExist, and shows nothing of what the file holds.
func ReadKey(path string) (*Key, error) {
	text, err := readPrivate(path, 2*KeySize+2)
	if err != nil {
		return nil, err
	}
	secret, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(secret) != KeySize {
		return nil, fault(path, "does not hold a key", fmt.Sprintf("it holds %d hexadecimal digits, such as openssl rand -hex %d writes", 2*KeySize, KeySize))
	}
	return NewKey(secret)
}

// private says what is wrong with the opened file, which was before when its
// path was looked at.
func private(path string, before, info fs.FileInfo, limit int64) error {
	switch {
	case !os.SameFile(before, info):
		return fault(path, "was replaced while it was being opened", "find out who writes in its directory, then start again")
	case info.Mode().Perm()&0o077 != 0:
		return fault(path, fmt.Sprintf("has mode %#o: others can reach it", info.Mode().Perm()), "chmod 600 "+path)
	case info.Size() == 0:
		return fault(path, "is empty", "restore it from a backup; remove it only if it was never in use")
	case info.Size() > limit:
		return fault(path, fmt.Sprintf("is %d bytes long, and the most is %d", info.Size(), limit), "it is not a key file: check the path, or restore it from a backup")
	}
	return nil
}

// createPrivate writes content to a new file at path, mode 0600. The file
// appears whole or not at all, and is on disk when createPrivate returns. The
// error wraps fs.ErrExist when the path is taken; the file there is untouched.
func createPrivate(path string, content []byte) (err error) {
	// A link, unlike a rename, never replaces a file that another process
	// made in the meantime.
	temp := fmt.Sprintf("%s.%s.tmp", path, rand.Text())
	if err := writeSynced(temp, content); err != nil {
		return errors.Join(err, removeIfThere(temp))
	}
	linked := os.Link(temp, path)
	if err := removeIfThere(temp); err != nil || linked != nil {
		return errors.Join(linked, err)
	}
	return syncDir(filepath.Dir(path))
}

func writeSynced(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// syncDir makes the names in a directory durable.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func fault(path, what, hint string) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("key file %s %s", path, what), Hint: hint}
}

// explain turns an error of the file system into one for people. What readPrivate
// said already stays as it is.
func explain(what, path string, err error) error {
	if _, ok := errors.AsType[*pavise.Error](err); ok {
		return err
	}
	e := &pavise.Error{
		Kind: pavise.Unavailable,
		Msg:  fmt.Sprintf("%s %s can be neither read nor made", what, path),
		Hint: "check that its directory exists, is writable by this user, and lies on a disk that is not full",
		Err:  err,
	}
	if errors.Is(err, fs.ErrPermission) {
		e.Hint = fmt.Sprintf("run as the user who owns %s, and check that the directory is writable", path)
	}
	return e
}
