package archive

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/disk"
)

// A target is the directory that a copy goes to. It keeps in mind what it was made to
// hold: that goes again if the copy fails, and nothing that others put there.
type target struct {
	disk.Dir
	made  []string // directories, the innermost first
	wrote []string // names of files
}

// emptyDirectory makes a directory for a log, or takes an empty one.
func emptyDirectory(dir string) (*target, error) {
	t := &target{Dir: disk.Dir{Path: dir}}
	for path := filepath.Clean(dir); ; path = filepath.Dir(path) {
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			break
		}
		t.made = append(t.made, path)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, disk.Fault("make "+dir, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, disk.Fault("look into "+dir, err)
	}
	if len(entries) > 0 {
		return nil, &pavise.Error{Kind: pavise.Conflict, Msg: dir + " is not empty, and nothing is written over", Hint: "name a new directory, or empty this one if it holds what a copy left that was cut off"}
	}
	return t, nil
}

// Open is Directory's.
func (t *target) Open(name string, create bool) (disk.File, error) {
	f, err := t.Dir.Open(name, create)
	if err == nil && create {
		t.note(name)
	}
	return f, err
}

// Rename is Directory's.
func (t *target) Rename(from, to string) error {
	err := t.Dir.Rename(from, to)
	if err == nil {
		t.note(to)
	}
	return err
}

func (t *target) note(name string) {
	if !slices.Contains(t.wrote, name) {
		t.wrote = append(t.wrote, name)
	}
}

// settle ends a copy: one that failed is taken away again, so that the next try finds
// the directory as this one did. It returns the copy's error.
func (t *target) settle(failed error) error {
	if failed == nil {
		return nil
	}
	var left error
	for _, name := range t.wrote {
		if err := t.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			left = errors.Join(left, err)
		}
	}
	if left != nil {
		return &pavise.Error{
			Kind: pavise.KindOf(failed), Msg: fmt.Sprintf("%s; and what was copied to %s cannot be taken away again", words(failed), t.Path),
			Hint: "remove what lies there: it is no log", Err: errors.Join(failed, left),
		}
	}
	for _, dir := range t.made {
		if os.Remove(dir) != nil {
			break // somebody put something there
		}
	}
	return failed
}

// words is what an error says to people.
func words(err error) string {
	if e, ok := errors.AsType[*pavise.Error](err); ok {
		return e.Msg
	}
	return err.Error()
}
