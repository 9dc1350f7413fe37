//go:build !unix

package http1

import "errors"

// readsSockets says that readSocket does not work here: a connection waits with a read of
// one byte instead.
const readsSockets = false

var errNotReady = errors.New("nothing to read yet")

func readSocket(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }
