package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/pavise/pavise"
)

// A dir is a directory of the file system.
type dir struct{ path string }

func openDir(path string) (Bucket, error) {
	abs, err := filepath.Abs(path)
	if err == nil {
		err = os.MkdirAll(abs, 0o700)
	}
	if err != nil {
		return nil, away("make", path, err)
	}
	return dir{abs}, nil
}

func away(doing, what string, err error) error {
	return &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("%s %s: %v", doing, what, err), Hint: "check the owner, the mode and the disk of the directory", Err: err}
}

// Place is Bucket's.
func (d dir) Place() Place { return Place{URL: "file://" + d.path, Lock: "none"} }

// Put is Bucket's. The content lands in a temporary file, is synced, and takes its
// name in one step.
func (d dir) Put(ctx context.Context, o Object, content io.Reader) error {
	if err := checkName(o.Name); err != nil {
		return err
	}
	path := filepath.Join(d.path, filepath.FromSlash(o.Name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return away("make the directory of", o.Name, err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".part-*")
	if err != nil {
		return away("write", o.Name, err)
	}
	defer os.Remove(f.Name()) // no longer there once it has its name
	defer f.Close()
	n, err := io.Copy(f, reader{ctx, content})
	if err == nil && n != o.Size {
		err = fmt.Errorf("%d bytes came, and %d were announced", n, o.Size)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return away("write", o.Name, err)
	}
	return nil
}

// A reader ends with its context.
type reader struct {
	ctx context.Context
	io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

func syncDir(path string) error {
	f, err := os.Open(path)
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
	f, err := os.Open(filepath.Join(d.path, filepath.FromSlash(name)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, noObject(name, d.Place(), err)
	}
	if err != nil {
		return nil, away("read", name, err)
	}
	return f, nil
}

// List is Bucket's.
func (d dir) List(ctx context.Context, prefix string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		err := filepath.WalkDir(d.path, func(path string, e fs.DirEntry, err error) error {
			if err != nil || ctx.Err() != nil {
				return errors.Join(err, ctx.Err())
			}
			rel, err := filepath.Rel(d.path, path)
			name := filepath.ToSlash(rel)
			if err != nil || e.IsDir() || strings.HasPrefix(e.Name(), ".") || !strings.HasPrefix(name, prefix) {
				return err
			}
			info, err := e.Info()
			if err != nil {
				return err
			}
			if !yield(Object{Name: name, Size: info.Size()}, nil) {
				return filepath.SkipAll
			}
			return nil
		})
		if err != nil {
			yield(Object{}, away("list", d.path, err))
		}
	}
}
