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
	"slices"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/rowseal"
	"github.com/pavise/pavise/internal/store/blob"
)

// A place is a dataset where it lies, on a disk or in a bucket.
type place struct {
	store
	url string // of the dataset in a bucket; empty: it is on a disk
	dir string // on a disk: what its root is, without links
	one string // the name of the one file; empty: the dataset is a directory

	// What could not be sealed is noted and not refused: one file that was put in is not to keep
	// all others from being looked at.
	lenient bool
	odd     []oddity // of the last look; at most 1,000
	more    int      // of these, that are not listed
}

// A store has the files of a dataset.
type store interface {
	// each hands all files there are to found, in any order, and what is there and cannot be
	// sealed to refuse; it ends with the first error of theirs.
	each(ctx context.Context, found func(entry) error, refuse func(name string, why error) error) error
	// open opens an entry that is no link, which must still be what was found: the error is of
	// kind Conflict if it is not. What it reads ends with ctx.
	open(ctx context.Context, e *entry) (content, error)
	// close ends it.
	close() error
}

// A content is what one entry holds.
type content interface {
	io.ReaderAt
	io.Closer
	// still is an error of kind Conflict if the entry, of which so many bytes were read, is not
	// what was found any more, as far as can be told without listing everything again.
	still(size int64) error
}

// An oddity is what stands in a dataset and could not be sealed.
type oddity struct{ path, why string }

// openPlace opens a dataset. Where within names a directory, the dataset has to lie in it,
// whatever links say. The caller closes it.
func openPlace(ctx context.Context, name, within string) (*place, error) {
	if blob.IsAddress(name) {
		if within != "" {
			return nil, &pavise.Error{Kind: pavise.Denied, Msg: rowseal.Shown(name) + " is not below " + rowseal.Shown(within), Hint: "name a file or a directory there"}
		}
		return openBucket(ctx, name)
	}
	_, err := os.Stat(name) // whose errors say what is wrong with a link
	real := ""
	if err == nil {
		real, err = filepath.EvalSymlinks(name)
	}
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
	root, err := openRoot(p.dir, within)
	if _, said := errors.AsType[*pavise.Error](err); said {
		return nil, err
	}
	if err != nil {
		return nil, rowseal.FileFault(name, err)
	}
	p.store = &disk{root: root, dir: p.dir, one: p.one}
	return p, nil
}

// openRoot opens a directory, which has to be within another if one is named. A link that is
// put on the way meanwhile leads to nothing outside of it.
func openRoot(dir, within string) (*os.Root, error) {
	if within == "" {
		return os.OpenRoot(dir)
	}
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

// leaveOut takes files that Pavise itself writes out of the dataset, where they lie in it.
func (p *place) leaveOut(names ...string) {
	if d, ok := p.store.(*disk); ok {
		d.leaveOut(names...)
	}
}

// An entry is a file of the dataset as it was found.
type entry struct {
	path   string // as in a seal
	name   string // in its store
	link   bool
	target string // where the link leads
	hint   rowseal.Hint
	far    bool        // reading here and there in it takes long
	info   fs.FileInfo // on a disk
}

// size is how many bytes it has, as far as is known.
func (e *entry) size() int64 { return e.hint.Size }

// unnamed refuses a name.
func unnamed(name string) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.200q cannot stand in a seal: its name is not UTF-8, has an empty part, . or .., or is longer than %d bytes", name, rowseal.MaxPath), Hint: "rename it"}
}

// entries lists the files of the dataset by path. What cannot be sealed is refused by name.
func (p *place) entries(ctx context.Context) ([]entry, error) {
	var found []entry
	p.odd, p.more = nil, 0
	err := p.each(ctx, func(e entry) error {
		switch {
		case !rowseal.ValidPath(e.path):
			return p.refuse(e.path, unnamed(e.path))
		case len(found) == rowseal.MaxFiles:
			return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("there are more than %d files", rowseal.MaxFiles), Hint: "seal parts of it, or pack small files"}
		}
		found = append(found, e)
		return nil
	}, p.refuse)
	slices.SortFunc(found, func(a, b entry) int { return strings.Compare(a.path, b.path) })
	for i := 1; i < len(found); i++ {
		if err == nil && found[i].path == found[i-1].path {
			err = &pavise.Error{Kind: pavise.Unavailable, Msg: rowseal.Shown(found[i].path) + " is listed twice", Hint: "the store does not do what is known of it"}
		}
	}
	return found, err
}

// refuse refuses what cannot be sealed, or notes it.
func (p *place) refuse(name string, why error) error {
	if !p.lenient {
		return why
	}
	if len(p.odd) == maxNamed {
		p.more++
		return nil
	}
	p.odd = append(p.odd, oddity{strings.ToValidUTF8(name, "\ufffd"), message(why)})
	return nil
}

// shown is its name for people.
func (e *entry) shown() string { return rowseal.Shown(e.name) }

// changed says that a file was written to while it was read.
func (e *entry) changed() error {
	return &pavise.Error{Kind: pavise.Conflict, Msg: e.shown() + " changed while it was read, and was not sealed", Hint: "seal it when nobody writes to it, or a snapshot of it"}
}

// same reports whether an entry that was found later is the same file, to which nobody wrote.
func (e *entry) same(now *entry) bool {
	return e.hint == now.hint && e.link == now.link && e.target == now.target && (e.info == nil || os.SameFile(e.info, now.info) && e.info.Mode() == now.info.Mode())
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
		} else if a.path > b.path || !a.same(b) {
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
