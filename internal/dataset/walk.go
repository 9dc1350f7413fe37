package dataset

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/rowseal"
)

// A place is a dataset on a disk. What it opens lies below it, whatever links say.
type place struct {
	root  *os.Root
	dir   string   // what root is, without links
	one   string   // the name of the one file; empty: the dataset is a directory
	apart []string // paths that are no part of the dataset: the seal's own files

	// What could not be sealed is noted and not refused: one file that was put in is not to keep
	// all others from being looked at.
	lenient bool
	odd     []oddity // of the last look; at most 1,000
}

// An oddity is what stands in a dataset and could not be sealed.
type oddity struct{ path, why string }

// openPlace opens a dataset. Where within names a directory, the dataset has to lie in it,
// whatever links say. The caller closes it.
func openPlace(name, within string) (*place, error) {
	real, err := filepath.EvalSymlinks(name)
	if err == nil {
		real, err = filepath.Abs(real)
	}
	if err != nil {
		return nil, rowseal.FileFault(name, err)
	}
	info, err := os.Stat(real)
	if err != nil {
		return nil, rowseal.FileFault(name, err)
	}
	p := &place{dir: real}
	if !info.IsDir() {
		p.dir, p.one = filepath.Dir(real), filepath.Base(real)
		if !info.Mode().IsRegular() {
			return nil, special(name, info.Mode())
		}
	}
	if within == "" {
		p.root, err = os.OpenRoot(p.dir)
	} else {
		p.root, err = openWithin(p.dir, within)
	}
	if _, said := errors.AsType[*pavise.Error](err); said {
		return nil, err
	}
	if err != nil {
		return nil, rowseal.FileFault(name, err)
	}
	return p, nil
}

// openWithin opens a directory that has to be within another. A link that is put on the way
// meanwhile leads to nothing outside of it.
func openWithin(dir, within string) (*os.Root, error) {
	real, err := filepath.EvalSymlinks(within)
	if err != nil {
		return nil, err
	}
	below, err := filepath.Rel(real, dir)
	if err != nil || !filepath.IsLocal(below) {
		return nil, &pavise.Error{Kind: pavise.Denied, Msg: rowseal.Shown(dir) + " is not below " + rowseal.Shown(within), Hint: "put the files themselves there; links that lead out are not followed"}
	}
	outer, err := os.OpenRoot(real)
	if err != nil {
		return nil, err
	}
	defer outer.Close()
	return outer.OpenRoot(below)
}

func (p *place) close() error { return p.root.Close() }

// leaveOut takes files that Pavise itself writes out of the dataset.
func (p *place) leaveOut(names ...string) {
	for _, name := range names {
		dir, err := filepath.EvalSymlinks(filepath.Dir(name))
		if err == nil {
			dir, err = filepath.Abs(dir)
		}
		if err != nil {
			continue // a file that is nowhere is no part of it
		}
		if below, err := filepath.Rel(p.dir, filepath.Join(dir, filepath.Base(name))); err == nil && filepath.IsLocal(below) {
			p.apart = append(p.apart, filepath.ToSlash(below))
		}
	}
}

// An entry is a file of the dataset as it was found.
type entry struct {
	path string // as in a seal
	name string // below the root
	link bool
	info fs.FileInfo
	hint rowseal.Hint
}

// entries lists the files of the dataset by path. What cannot be sealed is refused by name.
func (p *place) entries(ctx context.Context) ([]entry, error) {
	if p.one != "" {
		info, err := p.root.Lstat(p.one)
		if err != nil {
			return nil, rowseal.FileFault(p.one, err)
		}
		return []entry{{".", p.one, false, info, rowseal.HintOf(info)}}, nil
	}
	var found []entry
	p.odd = nil
	err := fs.WalkDir(p.root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return rowseal.FileFault(name, err)
		case ctx.Err() != nil:
			return ctx.Err()
		case d.IsDir() || slices.Contains(p.apart, name):
			return nil
		case !rowseal.ValidPath(name):
			return p.refuse(name, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%q cannot stand in a seal: its name is not UTF-8, or longer than %d bytes", name, rowseal.MaxPath), Hint: "rename it"})
		case len(found) == rowseal.MaxFiles:
			return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("there are more than %d files", rowseal.MaxFiles), Hint: "seal parts of it, or pack small files"}
		}
		info, err := d.Info()
		if err != nil {
			return rowseal.FileFault(name, err)
		}
		e := entry{name, name, info.Mode()&fs.ModeSymlink != 0, info, rowseal.HintOf(info)}
		if e.link {
			err = p.linked(name)
		} else if !info.Mode().IsRegular() {
			err = special(name, info.Mode())
		}
		if err != nil {
			return p.refuse(name, err)
		}
		found = append(found, e)
		return nil
	})
	slices.SortFunc(found, func(a, b entry) int { return strings.Compare(a.path, b.path) })
	return found, err
}

// refuse refuses what cannot be sealed, or notes it.
func (p *place) refuse(name string, why error) error {
	if !p.lenient {
		return why
	}
	if len(p.odd) < maxNamed {
		p.odd = append(p.odd, oddity{strings.ToValidUTF8(name, "\ufffd"), message(why)})
	}
	return nil
}

// linked refuses a link that leads out of the dataset, to nothing, or round in a circle:
// what is behind it would be read by whoever trains, and sealed by nobody.
func (p *place) linked(name string) error {
	refuse := func(what string) error {
		return &pavise.Error{Kind: pavise.Invalid, Msg: rowseal.Shown(name) + " is a link " + what, Hint: "put the file itself there, or take the link out"}
	}
	target, err := filepath.EvalSymlinks(filepath.Join(p.dir, filepath.FromSlash(name)))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return refuse("to nothing")
	case err != nil: // EvalSymlinks has no name for its error
		return refuse("that leads round in a circle")
	}
	below, err := filepath.Rel(p.dir, target)
	if err != nil || !filepath.IsLocal(below) {
		return refuse("that leads out of the dataset")
	}
	below = filepath.ToSlash(below)
	if below == "." || name == below || strings.HasPrefix(name, below+"/") {
		return refuse("that leads round in a circle")
	}
	if _, err := p.root.Stat(name); err != nil { // which goes by every link on the way, and stays within
		return refuse("that leads out of the dataset on its way, or by an absolute path")
	}
	if slices.Contains(p.apart, below) {
		return refuse("to the seal itself")
	}
	return nil
}

// open opens an entry, which must still be what was found. It neither follows a link that was
// put there meanwhile nor waits at a pipe.
func (p *place) open(e *entry) (*os.File, error) {
	f, err := p.root.OpenFile(e.name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
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
	return f, nil
}

// still reports whether the entry is the file that info is of, and nobody wrote to it.
func (e *entry) still(info fs.FileInfo) bool {
	return os.SameFile(e.info, info) && e.info.Mode() == info.Mode() && e.hint == rowseal.HintOf(info)
}

func (e *entry) shown() string { return rowseal.Shown(e.name) }

// changed says that a file was written to while it was read.
func (e *entry) changed() error {
	return &pavise.Error{Kind: pavise.Conflict, Msg: e.shown() + " changed while it was read, and was not sealed", Hint: "seal it when nobody writes to it, or a snapshot of it"}
}

// unchanged looks whether the dataset is as it was found: a seal is of one moment.
func (p *place) unchanged(ctx context.Context, found []entry) error {
	now, err := p.entries(ctx)
	if err != nil {
		return err
	}
	for i := range min(len(now), len(found)) {
		if a, b := &found[i], &now[i]; a.path < b.path {
			return a.changed()
		} else if a.path > b.path || !a.still(b.info) {
			return b.changed()
		}
	}
	if len(now) > len(found) {
		return now[len(found)].changed()
	}
	if len(now) < len(found) {
		return found[len(now)].changed()
	}
	return nil
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

// formatOf is how a file is sealed, by its name.
func formatOf(name string) rowseal.Format {
	switch strings.ToLower(path.Ext(name)) {
	case ".csv", ".tsv":
		return rowseal.CSV
	case ".jsonl", ".ndjson":
		return rowseal.JSONL
	case ".parquet":
		return rowseal.Parquet
	}
	return rowseal.Blocks
}
