package dataset

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/rowseal"
)

// A disk has a dataset in its files. What it opens lies below its root, whatever links say.
type disk struct {
	root *os.Root
	dir  string // what root is, without links
	one  string // the one file; empty: all below root

	apart []string // paths that are no part of the dataset
}

func (d *disk) close() error { return d.root.Close() }

// each is store's.
func (d *disk) each(ctx context.Context, found func(entry) error, refuse func(name string, why error) error) error {
	if d.one != "" {
		info, err := d.root.Lstat(d.one)
		if err != nil {
			return rowseal.FileFault(d.one, err)
		}
		return found(entry{path: ".", name: d.one, info: info, hint: rowseal.HintOf(info)})
	}
	return fs.WalkDir(d.root.FS(), ".", func(name string, at fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return unlisted(name, at, err, refuse)
		case ctx.Err() != nil:
			return ctx.Err()
		case at.IsDir() || slices.Contains(d.apart, name):
			return nil
		case !rowseal.ValidPath(name):
			return found(entry{path: name}) // which is refused
		}
		info, err := at.Info()
		if err != nil {
			return unlisted(name, at, err, refuse)
		}
		e := entry{path: name, name: name, link: info.Mode()&fs.ModeSymlink != 0, info: info, hint: rowseal.HintOf(info)}
		if e.link {
			e.target, err = d.linked(name)
		} else if !info.Mode().IsRegular() {
			err = special(name, info.Mode())
		}
		if err != nil {
			return refuse(name, err)
		}
		return found(e)
	})
}

// unlisted refuses a directory that may not be listed or has a name that no file in it could have in
// a seal, or a file in one that may not be gone through; any other error ends the walk.
func unlisted(name string, at fs.DirEntry, err error, refuse func(name string, why error) error) error {
	err = rowseal.FileFault(name, err)
	if !rowseal.ValidPath(name) {
		err = unnamed(name)
	} else if name == "." || pavise.KindOf(err) != pavise.Denied {
		return err
	}
	if err = refuse(name, err); err == nil && at.IsDir() {
		return fs.SkipDir
	}
	return err
}

// leaveOut takes files out of the dataset.
func (d *disk) leaveOut(names ...string) {
	for _, name := range names {
		dir, err := filepath.EvalSymlinks(filepath.Dir(name))
		if err == nil {
			dir, err = filepath.Abs(dir)
		}
		if err != nil {
			continue // a file that is nowhere is no part of it
		}
		if below, err := filepath.Rel(d.dir, filepath.Join(dir, filepath.Base(name))); err == nil && filepath.IsLocal(below) {
			d.apart = append(d.apart, filepath.ToSlash(below))
		}
	}
}

// linked refuses a link that leads out of the dataset, to nothing, or round in a circle:
// what is behind it would be read by whoever trains, and sealed by nobody. It returns where the
// link says that it leads.
func (d *disk) linked(name string) (target string, err error) {
	refuse := func(what string) (string, error) {
		return "", &pavise.Error{Kind: pavise.Invalid, Msg: rowseal.Shown(name) + " is a link " + what, Hint: "put the file itself there, or take the link out"}
	}
	real, err := filepath.EvalSymlinks(filepath.Join(d.dir, filepath.FromSlash(name)))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return refuse("to nothing")
	case err != nil: // EvalSymlinks has no name for its error
		return refuse("that leads round in a circle")
	}
	below, err := filepath.Rel(d.dir, real)
	if err != nil || !filepath.IsLocal(below) {
		return refuse("that leads out of the dataset")
	}
	below = filepath.ToSlash(below)
	if below == "." || name == below || strings.HasPrefix(name, below+"/") {
		return refuse("that leads round in a circle")
	}
	_, err = d.root.Stat(name) // which goes by every link on the way, and stays within
	if errors.Is(err, syscall.ELOOP) {
		return refuse("over more others than systems follow")
	}
	if err != nil {
		return refuse("that leads out of the dataset on its way, or by an absolute path")
	}
	if slices.Contains(d.apart, below) {
		return refuse("to the seal itself")
	}
	if target, err = d.root.Readlink(name); err != nil {
		return "", rowseal.FileFault(name, err)
	}
	return target, nil
}

// open is store's. It neither follows a link that was
// put there meanwhile nor waits at a pipe.
func (d *disk) open(_ context.Context, e *entry) (content, error) {
	f, err := d.root.OpenFile(e.name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, e.changed() // it was there when it was found
	}
	if err != nil {
		return nil, rowseal.FileFault(e.shown(), err)
	}
	info, err := f.Stat()
	if err == nil && !e.still(info) {
		err = e.changed()
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &file{f, e}, nil
}

// A file is the content of one on a disk.
type file struct {
	*os.File
	entry *entry
}

// ReadAt implements io.ReaderAt, no further than the file was long when it was found: one that
// grows as fast as it is read would never be read to its end.
func (f *file) ReadAt(p []byte, at int64) (int, error) {
	n, err := f.File.ReadAt(p, at)
	if at+int64(n) > f.entry.info.Size() {
		return 0, f.entry.changed()
	}
	return n, err
}

// still is content's.
func (f *file) still(size int64) error {
	info, err := f.Stat()
	if err != nil {
		return rowseal.FileFault(f.entry.shown(), err)
	}
	if !f.entry.still(info) || size != info.Size() {
		return f.entry.changed()
	}
	return nil
}

// still reports whether the entry is the file that info is of, and nobody wrote to it.
func (e *entry) still(info fs.FileInfo) bool {
	return os.SameFile(e.info, info) && e.info.Mode() == info.Mode() && e.hint == rowseal.HintOf(info)
}

// special refuses what is no file and no directory.
func special(name string, mode fs.FileMode) error {
	what := "neither a file nor a directory"
	switch {
	case mode&fs.ModeNamedPipe != 0:
		what = "a named pipe"
	case mode&fs.ModeSocket != 0:
		what = "a socket"
	case mode&fs.ModeDevice != 0:
		what = "a device"
	}
	return &pavise.Error{Kind: pavise.Invalid, Msg: rowseal.Shown(name) + " is " + what + ", which has no content to seal", Hint: "take it out of the dataset"}
}
