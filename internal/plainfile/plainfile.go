// Package plainfile reads what commands are given by name: whole, and no longer than it may
// be. It owns no state.
package plainfile

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/progress"
	"github.com/pavise/pavise/internal/rowseal"
)

// Read reads a file of at most so many bytes. A pipe that nobody writes to keeps nobody
// waiting: only plain files are read. What says what it is to be, as in "the key"; errors are
// for people, of kind NotFound, Denied, Invalid or Unavailable.
func Read(what, name string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, rowseal.FileFault(name, err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: rowseal.Shown(name) + " is no file", Hint: "name the file of the " + what, Err: err}
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

// Stream reads a file of at most so many bytes, or, where its name is -, the standard input.
// It may be a pipe, and waits for whoever writes to it. Errors are of kind NotFound and
// Invalid.
func Stream(what, name string, limit int) ([]byte, error) {
	from := io.Reader(os.Stdin)
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("read the %s: %v", what, err), Hint: "name a file that is there and that you may read", Err: err}
		}
		defer f.Close()
		from = f
	}
	body, err := io.ReadAll(io.LimitReader(from, int64(limit)+1))
	if err == nil && len(body) > limit {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s has more than %d bytes", name, limit), Hint: "send it in parts"}
	}
	if err != nil {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("read the %s: %v", what, err), Hint: "name a file", Err: err}
	}
	return body, nil
}

// Shared reports whether others than its owner can reach a file, which a private key should
// not be.
func Shared(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().Perm()&0o077 != 0
}
