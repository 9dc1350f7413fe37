package receiver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store/blob"
)

// A shelf is where objects lie: a bucket, or a directory.
type shelf interface {
	// list yields the objects whose names begin so, by name.
	list(ctx context.Context, prefix string) iter.Seq2[seen, error]
	// read opens what was listed. The error is of kind NotFound, or Conflict, when that is not
	// there any more. A hint that is empty is not asked for.
	read(ctx context.Context, o seen) (io.ReadCloser, error)
}

// openShelf opens where a root of pavise.yaml leads, and returns what the names of all
// objects of a target begin with.
func openShelf(ctx context.Context, t target) (shelf, string, error) {
	if !strings.Contains(t.root, "://") {
		return directory(t.root), t.path, nil
	}
	from, at, err := blob.Look(ctx, t.root)
	if err != nil {
		return nil, "", err
	}
	top := ""
	if at.Key != "" {
		top = strings.TrimSuffix(at.Key, "/") + "/"
	}
	return stored{from}, top + t.path, nil
}

// stored are the objects of a bucket.
type stored struct{ blob.Source }

func (s stored) list(ctx context.Context, prefix string) iter.Seq2[seen, error] {
	return func(yield func(seen, error) bool) {
		for v, err := range blob.InOrder(ctx, s.Source, prefix) {
			if !yield(seen{name: v.Key, size: v.Size, version: v.ID, etag: v.ETag, modified: v.Modified}, err) {
				return
			}
		}
	}
}

// read is shelf's. What breaks off is gone on with.
func (s stored) read(ctx context.Context, o seen) (io.ReadCloser, error) {
	v := blob.Version{Key: o.name, Size: o.size, ID: o.version, ETag: o.etag}
	if o.size < 0 {
		return s.Read(ctx, v, 0)
	}
	c := blob.NewContent(ctx, s.Source, v)
	return struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(c, 0, o.size), c}, nil
}

// gone says what a store has of an object that is not listed any more, if it keeps that.
func gone(ctx context.Context, s shelf, name string) string {
	b, is := s.(stored)
	if !is {
		return ""
	}
	h, keeps := b.Source.(blob.Historian)
	if !keeps {
		return ""
	}
	kept, marked := 0, false
	for v, err := range h.Versions(ctx, name) {
		if err != nil || v.Key > name {
			break
		}
		switch {
		case v.Key != name:
		case v.Gone:
			marked = marked || v.Newest
		default:
			kept++
		}
	}
	switch {
	case marked:
		return fmt.Sprintf(" (deleted with a marker; %d versions are kept)", kept)
	case kept > 0:
		return fmt.Sprintf(" (%d versions are kept)", kept)
	}
	return ""
}

// A directory holds files that are written once. Nothing in it leads out of it.
type directory string

// list is shelf's. Links, pipes and hidden files, which are not whole yet by custom, are
// passed over.
func (d directory) list(ctx context.Context, prefix string) iter.Seq2[seen, error] {
	return func(yield func(seen, error) bool) {
		var all []seen
		err := d.walk(ctx, prefix, &all)
		if err != nil {
			yield(seen{}, &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("list %s: %v", string(d), err), Hint: "check the owner and the mode of the directory", Err: err})
			return
		}
		slices.SortFunc(all, func(a, b seen) int { return strings.Compare(a.name, b.name) })
		for _, o := range all {
			if !yield(o, nil) {
				return
			}
		}
	}
}

func (d directory) walk(ctx context.Context, prefix string, all *[]seen) error {
	top, err := os.OpenRoot(string(d))
	if err != nil {
		return err
	}
	defer top.Close()
	return fs.WalkDir(top.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist) && name != ".":
			return nil // gone since
		case err != nil || ctx.Err() != nil:
			return errors.Join(err, ctx.Err())
		case e.IsDir() && name != "." && !strings.HasPrefix(name+"/", prefix) && !strings.HasPrefix(prefix, name+"/"):
			return fs.SkipDir
		case !e.Type().IsRegular() || !strings.HasPrefix(name, prefix) || strings.HasPrefix(e.Name(), "."):
			return nil
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if len(*all) > maxJournal {
			return fmt.Errorf("it holds more than %d files", maxJournal)
		}
		id, _ := who(info)
		*all = append(*all, seen{name: name, size: info.Size(), version: fmt.Sprint(id.Inode), modified: info.ModTime()})
		return nil
	})
}

// read is shelf's.
func (d directory) read(_ context.Context, o seen) (io.ReadCloser, error) {
	f, err := disks{}.open(string(d), o.name)
	if err == nil {
		return struct {
			io.Reader
			io.Closer
		}{io.NewSectionReader(f, 0, maxObject+1), f}, nil
	}
	kind := pavise.Unavailable
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		kind = pavise.NotFound
	}
	return nil, &pavise.Error{Kind: kind, Msg: fmt.Sprintf("read %s/%s: %v", string(d), o.name, err), Hint: "check the owner and the mode of the file", Err: err}
}
