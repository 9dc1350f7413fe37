package model

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
	"unicode/utf8"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/oms"
	"github.com/pavise/pavise/internal/rowseal"
)

// A place is a model on a disk.
type place struct {
	root   *os.Root
	dir    string // what root is, without links
	one    string // the name of the one file; empty: the model is a directory
	follow bool   // links, wherever they lead

	ignored map[string]bool // paths that are no part of the model, with all that is below
	listed  map[string]bool // files that are, whatever is ignored, and the directories above them
}

// openPlace opens a model. The caller closes it.
func openPlace(name string) (*place, error) {
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
	p := &place{dir: real, ignored: map[string]bool{}, listed: map[string]bool{}}
	if !info.IsDir() {
		p.dir, p.one = filepath.Dir(real), filepath.Base(real)
		if !info.Mode().IsRegular() {
			return nil, &pavise.Error{Kind: pavise.Invalid, Msg: rowseal.Shown(name) + " is " + special(info.Mode()), Hint: "name a file or a directory"}
		}
	}
	if p.root, err = os.OpenRoot(p.dir); err != nil {
		return nil, rowseal.FileFault(name, err)
	}
	return p, nil
}

func (p *place) close() error { return p.root.Close() }

// name is what a signature calls the model.
func (p *place) name() string {
	if p.one != "" {
		return p.one
	}
	return filepath.Base(p.dir)
}

// below is the path in the model of a file that somebody named, if it is in it.
func (p *place) below(name string) (string, bool) {
	dir, err := filepath.EvalSymlinks(filepath.Dir(name))
	if err == nil {
		dir, err = filepath.Abs(dir)
	}
	if err != nil {
		return "", false // a file that is nowhere is no part of it
	}
	rel, err := filepath.Rel(p.dir, filepath.Join(dir, filepath.Base(name)))
	return filepath.ToSlash(rel), err == nil && filepath.IsLocal(rel) && rel != "."
}

// ignore takes paths out of the model. Those that are not below its top have no meaning in it.
func (p *place) ignore(paths ...string) {
	for _, name := range paths {
		if name = path.Clean(name); oms.ValidPath(name) {
			p.ignored[name] = true
		}
	}
}

// list names a file that is part of the model, whatever is ignored.
func (p *place) list(name string) {
	for ; name != "." && name != "/" && !p.listed[name]; name = path.Dir(name) {
		p.listed[name] = true
	}
}

// skips reports whether a path is no part of the model.
func (p *place) skips(name string) bool {
	if p.listed[name] {
		return false
	}
	for ; name != "."; name = path.Dir(name) {
		if p.ignored[name] {
			return true
		}
	}
	return false
}

// An entry is a file of the model as it was found.
type entry struct {
	path string // as in a signature
	name string // below the top
	info fs.FileInfo
	hint rowseal.Hint
}

// An oddity is what stands in a model and can be no part of it.
type oddity struct{ path, why string }

// maxOdd is how many oddities are named.
const maxOdd = 1000

// A look is what was found in a model.
type look struct {
	files   []entry
	odd     []oddity
	touched int // files and directories
}

// entries lists the files of the model by path.
func (p *place) entries(ctx context.Context) (*look, error) {
	l := &look{}
	if p.one != "" {
		info, err := p.root.Lstat(p.one)
		if err != nil {
			return nil, rowseal.FileFault(p.one, err)
		}
		l.files = []entry{{".", p.one, info, rowseal.HintOf(info)}}
		return l, nil
	}
	top, err := p.root.Stat(".")
	if err == nil {
		err = p.visit(ctx, l, ".", []fs.FileInfo{top})
	}
	if err != nil {
		return nil, err
	}
	slices.SortFunc(l.files, func(a, b entry) int { return strings.Compare(a.path, b.path) })
	return l, nil
}

// visit lists a directory. Above are those that led to it, itself the last.
func (p *place) visit(ctx context.Context, l *look, dir string, above []fs.FileInfo) error {
	inside, err := p.readDir(dir)
	if err != nil {
		return rowseal.FileFault(dir, err)
	}
	for _, d := range inside {
		name := path.Join(dir, d.Name())
		if l.touched++; l.touched > oms.MaxFiles {
			return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("there are more than %d files and directories in the model", oms.MaxFiles), Hint: "sign parts of it, or pack small files"}
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case p.skips(name):
			continue
		case !utf8.ValidString(name) || len(name) > oms.MaxPath:
			l.add(strings.ToValidUTF8(name, "\ufffd"), fmt.Sprintf("its name is not UTF-8, or longer than %d bytes", oms.MaxPath))
			continue
		}
		info, why, err := p.stat(name)
		switch {
		case err != nil:
			return rowseal.FileFault(name, err)
		case why != "":
			l.add(name, why)
		case info.Mode().IsRegular():
			l.files = append(l.files, entry{name, name, info, rowseal.HintOf(info)})
		case !info.IsDir():
			l.add(name, "it is "+special(info.Mode()))
		case slices.ContainsFunc(above, func(a fs.FileInfo) bool { return os.SameFile(a, info) }):
			l.add(name, "it is a link that leads round in a circle")
		default:
			if err := p.visit(ctx, l, name, append(above[:len(above):len(above)], info)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *look) add(name, why string) {
	if len(l.odd) < maxOdd {
		l.odd = append(l.odd, oddity{name, why})
	}
}

func (p *place) readDir(dir string) ([]fs.DirEntry, error) {
	if p.follow {
		return os.ReadDir(filepath.Join(p.dir, filepath.FromSlash(dir)))
	}
	return fs.ReadDir(p.root.FS(), dir)
}

// stat looks at what has a name, through a link where links are followed. Why says why it can
// be no part of the model.
func (p *place) stat(name string) (info fs.FileInfo, why string, err error) {
	if !p.follow {
		info, err = p.root.Lstat(name)
		if err == nil && info.Mode()&fs.ModeSymlink != 0 {
			return info, "it is a link, and links were not followed when the model was signed", nil
		}
		return info, "", err
	}
	full := filepath.Join(p.dir, filepath.FromSlash(name))
	info, err = os.Stat(full)
	if err == nil {
		return info, "", nil
	}
	there, errThere := os.Lstat(full)
	if errThere != nil || there.Mode()&fs.ModeSymlink == 0 {
		return nil, "", err
	}
	if errors.Is(err, syscall.ELOOP) {
		return nil, "it is a link that leads round in a circle", nil
	}
	return nil, "it is a link to nothing that can be read", nil
}

// open opens an entry, which must still be what was found. It does not wait at a pipe that was
// put there meanwhile, and does not follow a link where none are followed.
func (p *place) open(e *entry) (f *os.File, err error) {
	if p.follow {
		f, err = os.OpenFile(filepath.Join(p.dir, filepath.FromSlash(e.name)), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	} else {
		f, err = p.root.OpenFile(e.name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	}
	if err != nil {
		return nil, rowseal.FileFault(e.name, err)
	}
	if err := e.unchanged(f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// unchanged reports an error when an open file is not the entry any more, or was written to.
func (e *entry) unchanged(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return rowseal.FileFault(e.name, err)
	}
	if !e.still(info) {
		return e.changed()
	}
	return nil
}

func (e *entry) still(info fs.FileInfo) bool {
	return os.SameFile(e.info, info) && e.info.Mode() == info.Mode() && e.hint == rowseal.HintOf(info)
}

// changed says that a file was written to while it was read.
func (e *entry) changed() error {
	return &pavise.Error{Kind: pavise.Conflict, Msg: rowseal.Shown(e.name) + " changed while the model was read", Hint: "try again when nobody writes to it, or with a snapshot of it"}
}

// settled looks whether the model is as it was found: what is said of it is of one moment.
func (p *place) settled(ctx context.Context, found *look) error {
	now, err := p.entries(ctx)
	if err != nil {
		return err
	}
	for i := range min(len(now.files), len(found.files)) {
		if a, b := &found.files[i], &now.files[i]; a.path < b.path {
			return a.changed()
		} else if a.path > b.path || !a.still(b.info) {
			return b.changed()
		}
	}
	if len(now.files) > len(found.files) {
		return now.files[len(found.files)].changed()
	}
	if len(now.files) < len(found.files) {
		return found.files[len(now.files)].changed()
	}
	return nil
}

// special says what a file is that has no content to hash.
func special(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeDevice != 0:
		return "a device"
	}
	return "neither a file nor a directory"
}
