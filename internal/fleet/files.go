package fleet

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// ReadPlain reads the first bytes of a plain file, and nothing else: no link, and no
// pipe, which would let it wait forever.
func ReadPlain(path string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no plain file", path)
	}
	return io.ReadAll(io.LimitReader(f, limit))
}

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
