package model

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/progress"
	"github.com/pavise/pavise/internal/rowseal"
)

// maxKeys bounds files of keys and certificates: a system's list of authorities is shorter.
const maxKeys = 4 << 20

// readPlain reads a file that is not longer than limit. Secret is one that nobody but its
// owner may reach.
func readPlain(what, name string, limit int64, secret bool) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, rowseal.FileFault(name, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: rowseal.Shown(name) + " is no file", Hint: "name the file of the " + what, Err: err}
	}
	if secret && info.Mode().Perm()&0o077 != 0 {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "the file of the " + what + ", " + rowseal.Shown(name) + ", can be reached by others than its owner", Hint: "chmod 600 " + rowseal.Shown(name)}
	}
	var b bytes.Buffer
	n, err := b.ReadFrom(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, rowseal.FileFault(name, err)
	}
	if n > limit {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s is longer than %s", rowseal.Shown(name), progress.Size(limit)), Hint: "it is no " + what}
	}
	return b.Bytes(), nil
}

// writeNew writes a file where none is, whole or not at all.
func writeNew(name string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".pavise-*")
	if err != nil {
		return writeFault(name, err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Link(f.Name(), name) // which, unlike a rename, replaces nothing
	}
	if errors.Is(err, fs.ErrExist) {
		return thereAlready(name)
	}
	if err != nil {
		return writeFault(name, err)
	}
	return nil
}

func thereAlready(name string) error {
	return &pavise.Error{Kind: pavise.Conflict, Msg: rowseal.Shown(name) + " is there already", Hint: "name a file that is not with -o; nothing is written over"}
}

func writeFault(name string, err error) error {
	e := &pavise.Error{Kind: pavise.Unavailable, Msg: "write " + rowseal.Shown(name), Hint: "name a place with -o that you may write to", Err: err}
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		e.Msg += ": " + p.Err.Error()
	}
	return e
}

// counted is a number of things in words: 1 file, 2 files.
func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}

// fact prints a line of what was found.
func fact(w io.Writer, name, format string, args ...any) {
	fmt.Fprintf(w, "%-10s %s\n", name, fmt.Sprintf(format, args...))
}

func unrecorded(w io.Writer) { fact(w, "recorded", "false (this command leaves no record)") }
