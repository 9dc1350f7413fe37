package model

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/rowseal"
)

// maxKeys bounds files of keys and certificates: a system's list of authorities is shorter.
const maxKeys = 4 << 20

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
