package bundle

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pavise/pavise"
)

// A directory is where one side keeps its files, each 0600 and replaced whole.
type directory struct {
	path string
	make func(path string) (file, error) // a new file; os.OpenFile but for tests
}

// A file is what a directory needs of a new one.
type file interface {
	io.WriteCloser
	Sync() error
}

// tempSuffix ends the names of files that are not whole yet.
const tempSuffix = ".tmp"

// openDirectory makes the directory when there is none, and removes what was not
// finished there.
func openDirectory(path string) (*directory, error) {
	d := &directory{path: path, make: func(path string) (file, error) {
		return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	}}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, diskFault(path, err)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, diskFault(path, err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), tempSuffix) {
			if err := os.Remove(d.file(e.Name())); err != nil {
				return nil, diskFault(d.file(e.Name()), err)
			}
		}
	}
	return d, nil
}

func (d *directory) file(name string) string { return filepath.Join(d.path, name) }

// read returns the content of a file of at most limit bytes that nobody but its owner
// can reach. The error wraps fs.ErrNotExist when there is none.
func (d *directory) read(name string, limit int64) ([]byte, error) {
	path := d.file(name)
	before, err := os.Lstat(path)
	if err != nil {
		return nil, diskFault(path, err)
	}
	if !before.Mode().IsRegular() {
		return nil, badFile(path, "is not a regular file", "put the file itself there, not a link to it")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, diskFault(path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, diskFault(path, err)
	case !os.SameFile(before, info):
		return nil, badFile(path, "was replaced while it was being opened", "find out who writes in its directory, then start again")
	case info.Mode().Perm()&0o077 != 0:
		return nil, badFile(path, fmt.Sprintf("has mode %#o: others can reach it", info.Mode().Perm()), "chmod 600 "+path)
	case info.Size() > limit:
		return nil, badFile(path, fmt.Sprintf("is %d bytes long, more than %d", info.Size(), limit), "it is not what it should be: find out who wrote it")
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, diskFault(path, err)
	}
	return b, nil
}

// replace puts a file in place, whole and on disk, or leaves what was there.
func (d *directory) replace(name string, content []byte) error {
	temp, err := d.write(name, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
	if err != nil {
		return err
	}
	return d.rename(temp, name)
}

// write makes a file that is on disk, under a name that is not final yet, and returns
// that name. After an error there is none.
func (d *directory) write(name string, fill func(io.Writer) error) (temp string, err error) {
	temp = name + "." + rand.Text() + tempSuffix
	f, err := d.make(d.file(temp))
	if err != nil {
		return "", diskFault(d.file(name), err)
	}
	if err = fill(f); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(d.file(temp)) // what is left is removed at the next open
		return "", diskFault(d.file(name), err)
	}
	return temp, nil
}

// rename puts one file in the place of another, and the names on disk.
func (d *directory) rename(from, to string) error {
	if err := os.Rename(d.file(from), d.file(to)); err != nil {
		return diskFault(d.file(to), err)
	}
	dir, err := os.Open(d.path)
	if err != nil {
		return diskFault(d.path, err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return diskFault(d.path, err)
	}
	return nil
}

func badFile(path, what, hint string) error {
	return &pavise.Error{Kind: pavise.Unverified, Msg: path + " " + what, Hint: hint, Err: ErrMalformed}
}

// diskFault turns an error of the file system into one for people. What was explained
// already stays as it is.
func diskFault(path string, err error) error {
	if _, told := errors.AsType[*pavise.Error](err); told {
		return err
	}
	return &pavise.Error{
		Kind: pavise.Unavailable, Msg: path + " can be neither read nor written",
		Hint: "check that its directory belongs to this user, is writable, and lies on a disk that is not full", Err: err,
	}
}

// isMissing reports whether an error says that a file is not there.
func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
