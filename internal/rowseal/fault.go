package rowseal

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/quote"
)

// Shown is a path as it may be printed.
func Shown(path string) string {
	if _, odd := quote.Unprintable([]byte(path)); odd {
		return fmt.Sprintf("%q", path)
	}
	return path
}

// FileFault turns an error of the file system into one for people.
func FileFault(name string, err error) error {
	e := &pavise.Error{Kind: pavise.Unavailable, Msg: Shown(name) + " cannot be read", Err: err}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.Kind, e.Msg = pavise.NotFound, "there is no "+Shown(name)
	case errors.Is(err, fs.ErrPermission):
		e.Kind, e.Msg, e.Hint = pavise.Denied, Shown(name)+" may not be read", "run as who may read all of the dataset"
	case errors.Is(err, syscall.ELOOP):
		e.Kind, e.Msg, e.Hint = pavise.Conflict, Shown(name)+" is a link, or leads through one in a circle", "put the file itself there"
	default:
		if p, ok := errors.AsType[*fs.PathError](err); ok {
			e.Msg += ": " + p.Err.Error()
		}
	}
	return e
}
