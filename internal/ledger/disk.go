package ledger

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// A disk is the directory a log lives in. The log's promises rest on exactly
// these calls, so the tests put a disk underneath that drops, tears and reorders
// whatever was not synced.
type disk interface {
	// Open opens the named file for reading and writing; create makes it first.
	// A created file is certain to exist after a crash only once Sync returned.
	Open(name string, create bool) (diskFile, error)
	// Rename moves a file over another, atomically, durable once Sync returned.
	Rename(from, to string) error
	// List returns the names in the directory.
	List() ([]string, error)
	// Sync makes creations and renames durable.
	Sync() error
}

// A diskFile is one open file.
type diskFile interface {
	content
	extent
	io.Closer
}

// The content of a file. Nothing written is certain to be there after a crash
// until Sync returned.
type content interface {
	io.ReaderAt
	io.WriterAt // beyond the end, it grows the file
	Sync() error
}

// The extent of a file, in bytes.
type extent interface {
	Size() (int64, error)
	Truncate(size int64) error
	// Reserve makes sure that the file can grow to size without the disk
	// running full. It does not change the file's size.
	Reserve(size int64) error
}

// dirDisk is a directory of the operating system. It opens regular files only,
// and none through a link: whoever verifies a directory may have it from anyone.
type dirDisk struct {
	dir   string
	flags int // os.O_RDWR, or os.O_RDONLY for who only verifies
}

func (d dirDisk) Open(name string, create bool) (diskFile, error) {
	flags := d.flags
	if create {
		flags |= os.O_CREATE
	}
	f, err := os.OpenFile(filepath.Join(d.dir, name), flags|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
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

func (d dirDisk) Rename(from, to string) error {
	return os.Rename(filepath.Join(d.dir, from), filepath.Join(d.dir, to))
}

func (d dirDisk) List() ([]string, error) {
	entries, err := os.ReadDir(d.dir)
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

func (d dirDisk) Sync() error {
	f, err := os.Open(d.dir)
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

// readFile returns the whole content of a file, at most limit bytes.
func readFile(d disk, name string, limit int64) ([]byte, error) {
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

// replaceFile writes a file whole or not at all, and returns once it is durable.
func replaceFile(d disk, name string, content []byte) error {
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
