package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/pavise/pavise"
)

// A Directory is where a log lives. The log's promises rest on exactly
// these calls, so the tests put a disk underneath that drops, tears and reorders
// whatever was not synced.
type Directory interface {
	// Open opens the named file for reading and writing; create makes it first.
	// A created file is certain to exist after a crash only once Sync returned.
	Open(name string, create bool) (File, error)
	// Rename moves a file over another, atomically, durable once Sync returned.
	Rename(from, to string) error
	// Remove takes a file away, durably once Sync returned. Who has it open can
	// go on reading it.
	Remove(name string) error
	// List returns the names in the directory.
	List() ([]string, error)
	// Sync makes creations and renames durable.
	Sync() error
}

// A File is one open file.
type File interface {
	Content
	Extent
	io.Closer
}

// Content is what a file holds. Nothing written is certain to be there after a crash
// until Sync returned.
type Content interface {
	io.ReaderAt
	io.WriterAt // beyond the end, it grows the file
	Sync() error
}

// Extent is how long a file is, in bytes.
type Extent interface {
	Size() (int64, error)
	Truncate(size int64) error
	// Reserve makes sure that the file can grow to size without the disk
	// running full. It does not change the file's size.
	Reserve(size int64) error
}

// A Dir is a directory of the operating system. It opens regular files only, and
// none through a link: whoever verifies a directory may have it from anyone.
type Dir struct {
	Path     string
	ReadOnly bool // for who only verifies
}

// Open is Directory's.
func (d Dir) Open(name string, create bool) (File, error) {
	flags := os.O_RDWR
	if d.ReadOnly {
		flags = os.O_RDONLY
	}
	if create {
		flags |= os.O_CREATE
	}
	f, err := os.OpenFile(filepath.Join(d.Path, name), flags|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("open %s: not a regular file", name)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return osFile{f}, nil
}

// Rename is Directory's.
func (d Dir) Rename(from, to string) error {
	return os.Rename(filepath.Join(d.Path, from), filepath.Join(d.Path, to))
}

// Remove is Directory's.
func (d Dir) Remove(name string) error { return os.Remove(filepath.Join(d.Path, name)) }

// List is Directory's.
func (d Dir) List() ([]string, error) {
	entries, err := os.ReadDir(d.Path)
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

// Sync is Directory's.
func (d Dir) Sync() error {
	f, err := os.Open(d.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// osFile is an os.File whose Sync spares what only a full fsync needs.
type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f osFile) Sync() error              { return syncData(f.File) }
func (f osFile) Reserve(size int64) error { return reserve(f.File, size) }

// Read returns the whole content of a file, at most limit bytes.
func Read(d Directory, name string, limit int64) ([]byte, error) {
	f, err := d.Open(name, false)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, min(size, limit))
	_, err = io.ReadFull(io.NewSectionReader(f, 0, size), b)
	return b, err
}

// Size returns the length of a file.
func Size(d Directory, name string) (int64, error) {
	f, err := d.Open(name, false)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return f.Size()
}

// Replace writes a file whole or not at all, and returns once it is durable.
func Replace(d Directory, name string, content []byte) error {
	tmp := name + ".new"
	f, err := d.Open(tmp, true)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(0); err != nil {
		return err
	}
	if _, err := f.WriteAt(content, 0); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := d.Rename(tmp, name); err != nil {
		return err
	}
	return d.Sync()
}

// Fault dresses an error of the disk for people.
func Fault(doing string, err error) error {
	e := &pavise.Error{Kind: pavise.Unavailable, Msg: doing + ": " + err.Error(), Err: err}
	switch {
	case Full(err):
		e.Hint = "the disk is full: free space and try again"
	case errors.Is(err, os.ErrPermission), errors.Is(err, syscall.EROFS):
		e.Hint = "pavise needs to write there: check the owner and mode of the directory, and that it is not mounted read-only"
	}
	return e
}

// Full reports whether an error is that of a full disk.
func Full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
