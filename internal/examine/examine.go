// Package examine looks at the files of a model that are kept by their digests: it lays them out
// in a directory, holds them to what was said of them, and has them scanned.
//
// It owns the directories in which they lie meanwhile, and no other state.
package examine

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/artefact"
)

// A File is one file of a model, as somebody says that it is.
type File struct {
	Path   string // from the top of the model, with slashes; . of a model that is one file
	Size   int64
	Digest [sha256.Size]byte
}

// A Place is where files are laid out.
type Place struct {
	Dir string
	// Open opens a file by its digest. What it reads need not have it.
	Open func(ctx context.Context, digest [sha256.Size]byte) (io.ReadCloser, error)
}

// Look lays files out, holds them to their digests and sizes, and looks at them. problem says
// what is wrong with them, beside what the look finds. Errors are those of Open, of the context,
// and of kind Unavailable where there is no room.
//
// Unguarded: a room of the house asks; nobody acts.
func (p Place) Look(ctx context.Context, files []File) (report *artefact.Report, problem string, err error) {
	if problem := tooOften(files); problem != "" {
		return nil, problem, nil
	}
	dir, err := os.MkdirTemp(p.Dir, laidOut)
	if err != nil {
		return nil, "", noRoom(err)
	}
	defer os.RemoveAll(dir)
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, "", noRoom(err)
	}
	defer root.Close()
	laid := map[[sha256.Size]byte]File{}
	for _, f := range files {
		if was, again := laid[f.Digest]; again {
			problem, err = linkAgain(root, was, f)
		} else {
			problem, err = p.lay(ctx, root, f)
		}
		if err != nil || problem != "" {
			return nil, problem, err
		}
		laid[f.Digest] = f
	}
	report, err = (&artefact.Scan{Path: dir}).Run(ctx)
	return report, "", err
}

// Findings are what a look found, in words, but for what is only noted: the first of them, and how
// many more there are.
func Findings(report *artefact.Report, most int) (found []string, more int) {
	more = report.Untold
	for _, f := range report.Findings {
		if f.Severity == artefact.Note {
			continue
		}
		if len(found) == most {
			more++
			continue
		}
		name := f.File
		if f.Member != "" {
			name += "!" + f.Member
		}
		found = append(found, fmt.Sprintf("%s: %s: %s", f.Severity, name, f.Why))
	}
	return found, more
}

// laidOut begins the names of the directories in which files are looked at.
const laidOut = "look-"

// Tidy makes the directory in which files are laid out, and takes away what a process left
// there that was killed while it looked.
func Tidy(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	all, err := os.ReadDir(dir)
	for _, e := range all {
		if strings.HasPrefix(e.Name(), laidOut) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return err
}

// maxRepeated is how many bytes a version may have in files that are others of it again: they
// take no room, and as long to be looked at.
const maxRepeated = 16 << 30

// tooOften says what is wrong with a version that has the same content again and again.
func tooOften(files []File) string {
	seen, again := map[[sha256.Size]byte]bool{}, int64(0)
	for _, f := range files {
		if seen[f.Digest] {
			again += f.Size // their sum was looked at
		}
		seen[f.Digest] = true
	}
	if again > maxRepeated {
		return fmt.Sprintf("files of it are the same, again and again: %d bytes of them", again)
	}
	return ""
}

// linkAgain lays a file out whose content is laid out already: it takes no room.
func linkAgain(root *os.Root, was, f File) (problem string, err error) {
	if was.Size != f.Size {
		return notSaid(f), nil
	}
	name, err := makeWay(root, f)
	if err != nil {
		return "", err
	}
	if err := root.Link(filepath.FromSlash(was.Path), name); err != nil {
		return "", noRoom(err)
	}
	return "", nil
}

// makeWay makes the directory of a file that is to be laid out, and returns its name there.
func makeWay(root *os.Root, f File) (name string, err error) {
	if f.Path == "." {
		return "model", nil
	}
	if err := root.MkdirAll(filepath.FromSlash(path.Dir(f.Path)), 0o700); err != nil {
		return "", noRoom(err)
	}
	return filepath.FromSlash(f.Path), nil
}

func notSaid(f File) string {
	return fmt.Sprintf("%.100q is not of the size or digest that was said", f.Path)
}

// lay writes one file where it is looked at.
func (p Place) lay(ctx context.Context, root *os.Root, f File) (problem string, err error) {
	name, err := makeWay(root, f)
	if err != nil {
		return "", err
	}
	from, err := p.Open(ctx, f.Digest)
	if err != nil {
		return "", err
	}
	defer from.Close()
	to, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return "", noRoom(err)
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(to, h), io.LimitReader(from, f.Size+1))
	if err := errors.Join(err, to.Close(), ctx.Err()); err != nil {
		return "", noRoom(err)
	}
	if n != f.Size || [sha256.Size]byte(h.Sum(nil)) != f.Digest {
		return notSaid(f), nil
	}
	return "", nil
}

func noRoom(err error) error {
	return &pavise.Error{Kind: pavise.Unavailable, Msg: "the files of a model cannot be laid out: " + err.Error(), Hint: "make room on the disk of the data directory: as much as the largest model takes", Err: err}
}
