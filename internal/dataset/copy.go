package dataset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/progress"
	"github.com/pavise/pavise/internal/rowseal"
)

// Copy takes a dataset to where nobody else writes, to look at it there more than once.
type Copy struct {
	Path   string // a file, a directory, or the address of a bucket
	Within string // the directory in which it has to lie; empty: it may lie anywhere
	Into   string // a directory, which is empty
	Most   int64  // bytes
	Files  int    // at most; 0: as many as a seal has
}

// Run copies, and returns the name of the copy: a file or a directory. Whether the copy is what
// somebody means says its seal, and not where it came from. Errors are of kind Invalid for what
// is too large or cannot be sealed, Conflict for what changed meanwhile, NotFound and Denied for
// files, and Unavailable for the disk.
//
// Unguarded: whoever runs it asks their own caller, and names the place.
func (c *Copy) Run(ctx context.Context) (string, error) {
	p, err := openPlace(ctx, c.Path, c.Within)
	if err != nil {
		return "", err
	}
	defer p.close()
	entries, err := p.entries(ctx)
	if err != nil {
		return "", err
	}
	if err := c.fits(entries); err != nil {
		return "", err
	}
	into, err := os.OpenRoot(c.Into)
	if err != nil {
		return "", uncopied(err)
	}
	defer into.Close()
	for i := range entries {
		name := entries[i].path
		if p.one != "" {
			name = p.one
		}
		if err := p.copyTo(ctx, into, &entries[i], filepath.FromSlash(name)); err != nil {
			return "", err
		}
	}
	return filepath.Join(c.Into, p.one), nil
}

// fits refuses what is too large. A file with holes may be as long as any number says, and the sum
// of two such is none.
func (c *Copy) fits(entries []entry) error {
	const hint = "look at a part of it: put the parts into datasets of their own"
	if c.Files > 0 && len(entries) > c.Files {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("there are %d files, and %d are copied at most", len(entries), c.Files), Hint: hint}
	}
	left := c.Most
	for i := range entries {
		if entries[i].link {
			continue
		}
		if n := entries[i].size(); n < 0 || n > left {
			return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("there are more than %s, and no more are copied", progress.Size(c.Most)), Hint: hint}
		}
		left -= entries[i].size()
	}
	return nil
}

// copyTo copies a file.
func (p *place) copyTo(ctx context.Context, into *os.Root, e *entry, name string) error {
	if dir := path.Dir(name); dir != "." {
		if err := into.MkdirAll(dir, 0o700); err != nil {
			return uncopied(err)
		}
	}
	if e.link {
		if err := into.Symlink(e.target, name); err != nil {
			return uncopied(err)
		}
		return nil
	}
	from, err := p.open(ctx, e)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := into.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return uncopied(err)
	}
	n, err := io.CopyBuffer(written{to}, &stopping{ctx, io.NewSectionReader(from, 0, e.size())}, make([]byte, 1<<20))
	if err == nil {
		err = from.still(n)
	} else {
		err = readFault(e, err)
	}
	if fault := to.Close(); err == nil && fault != nil {
		err = uncopied(fault)
	}
	return err
}

// written tells faults of writing from those of reading.
type written struct{ to io.Writer }

// Write implements io.Writer.
func (w written) Write(b []byte) (int, error) {
	n, err := w.to.Write(b)
	if err != nil {
		err = uncopied(err)
	}
	return n, err
}

// uncopied is an error of writing a copy. Where two names are one on this disk, or one is below
// the other, it is the dataset that cannot be copied.
func uncopied(err error) error {
	e := &pavise.Error{Kind: pavise.Unavailable, Msg: "a copy cannot be written: " + err.Error(), Hint: "make room on the disk of the data directory", Err: err}
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		e.Msg = fmt.Sprintf("a copy of %s cannot be written: %v", rowseal.Shown(at.Path), at.Err)
	}
	if errors.Is(err, fs.ErrExist) {
		e.Kind, e.Hint = pavise.Invalid, "give its files names that differ by more than case, none of which is a directory of others"
	}
	return e
}
