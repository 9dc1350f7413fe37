package blob

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pavise/pavise"
)

// A dir is a directory of the file system. Nothing in it leads out of it: a link that
// does is not followed.
type dir struct{ path string }

// reach makes the directory.
func (d dir) reach(context.Context) error {
	err := os.MkdirAll(d.path, 0o700)
	if err == nil {
		err = syncDir(os.Open, filepath.Dir(d.path))
	}
	if err == nil {
		err = d.sweep()
	}
	if err != nil {
		return away("make", d.path, err)
	}
	return nil
}

// sweep removes what writers who were killed left. What is younger than abandoned another
// process may still be writing.
func (d dir) sweep() error {
	root, err := os.OpenRoot(d.path)
	if err != nil {
		return err
	}
	defer root.Close()
	left, err := fs.ReadDir(root.FS(), unfinished)
	if err != nil {
		return nil // nobody has put anything yet, or List and Put will say why not
	}
	for _, e := range left {
		info, err := e.Info()
		if err != nil || time.Since(info.ModTime()) < abandoned {
			continue
		}
		if err := root.Remove(path.Join(unfinished, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// there makes sure that the directory is there.
func (d dir) there(context.Context) error {
	info, err := os.Stat(d.path)
	if err == nil && !info.IsDir() {
		err = syscall.ENOTDIR
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return &pavise.Error{Kind: pavise.NotFound, Msg: "there is no directory " + d.path, Hint: "name one that holds what was kept, or s3://BUCKET/PREFIX", Err: err}
	}
	if err != nil {
		return away("look at", d.path, err)
	}
	return nil
}

func away(doing, what string, err error) error {
	return &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("%s %s: %v", doing, what, err), Hint: "check the owner, the mode and the disk of the directory", Err: err}
}

// Place is Bucket's.
func (d dir) Place() Place { return Place{URL: "file://" + d.path, Lock: "none"} }

// Put is Bucket's. The content lands in a temporary file, is synced, and takes its
// name in one step. The file lies in a directory of its own: what a writer who was killed
// leaves must not lie among the objects, where whoever reads the directory takes it for one.
func (d dir) Put(ctx context.Context, o Object, content io.Reader) error {
	if err := checkName(o.Name); err != nil {
		return err
	}
	root, err := os.OpenRoot(d.path)
	if err == nil {
		defer root.Close()
		err = write(root, o.Name, &exact{ctx, content, o.Size})
	}
	if err != nil {
		return away("write", o.Name, err)
	}
	return nil
}

func write(root *os.Root, name string, content io.Reader) error {
	parent := path.Dir(name)
	if err := root.MkdirAll(parent, 0o700); err != nil {
		return err
	}
	if err := root.MkdirAll(unfinished, 0o700); err != nil {
		return err
	}
	part := path.Join(unfinished, rand.Text())
	f, err := root.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer root.Remove(part) // no longer there once it has its name
	defer f.Close()
	if _, err := io.Copy(f, content); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := root.Rename(part, name); err != nil {
		return err
	}
	for ; parent != "."; parent = path.Dir(parent) { // each may be new
		if err := syncDir(root.Open, parent); err != nil {
			return err
		}
	}
	return syncDir(root.Open, ".")
}

func syncDir(open func(string) (*os.File, error), name string) error {
	f, err := open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// Get is Bucket's.
func (d dir) Get(_ context.Context, name string) (io.ReadCloser, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	f, err := d.open(name)
	_, gone := os.Lstat(d.path)
	if gone == nil && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)) {
		return nil, noObject(name, d.Place(), err)
	}
	if err != nil {
		return nil, away("read", name, err)
	}
	return f, nil
}

// Remove is Remover's. Directories stay: somebody may be putting another object there.
func (d dir) Remove(_ context.Context, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	root, err := os.OpenRoot(d.path)
	if err != nil {
		return away("remove", name, err)
	}
	defer root.Close()
	err = root.Remove(name)
	if err == nil {
		err = syncDir(root.Open, path.Dir(name))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
		return away("remove", name, err)
	}
	return nil
}

// open opens a regular file: a pipe would make us wait for whoever put it there.
func (d dir) open(name string) (*os.File, error) {
	root, err := os.OpenRoot(d.path)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file: %w", name, fs.ErrNotExist)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// List is Bucket's.
func (d dir) List(ctx context.Context, prefix string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		var found []Object
		err := fs.WalkDir(os.DirFS(d.path), ".", func(name string, e fs.DirEntry, err error) error {
			if err != nil || ctx.Err() != nil {
				return errors.Join(err, ctx.Err())
			}
			if !e.Type().IsRegular() || !strings.HasPrefix(name, prefix) || checkName(name) != nil {
				return nil
			}
			info, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				return nil // gone since
			}
			if err == nil {
				found = append(found, Object{Name: name, Size: info.Size()})
			}
			return err
		})
		if err != nil {
			yield(Object{}, away("list", d.path, err))
			return
		}
		slices.SortFunc(found, func(a, b Object) int { return strings.Compare(a.Name, b.Name) })
		for _, o := range found {
			if !yield(o, nil) {
				return
			}
		}
	}
}
