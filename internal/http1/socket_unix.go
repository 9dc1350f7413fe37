//go:build unix

package http1

import (
	"errors"
	"syscall"
)

// readsSockets says that readSocket works here.
const readsSockets = true

// errNotReady is what a socket says that has nothing yet.
var errNotReady = errors.New("nothing to read yet")

// readSocket reads without waiting: errNotReady says that there is nothing yet.
func readSocket(fd uintptr, p []byte) (int, error) {
	for {
		n, err := syscall.Read(int(fd), p)
		switch err {
		case nil:
			return n, nil
		case syscall.EAGAIN:
			return 0, errNotReady
		case syscall.EINTR:
			continue
		}
		return 0, err
	}
}
