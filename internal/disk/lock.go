package disk

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/pavise/pavise"
)

// Lock takes the directory for this process until the returned file closes,
// which the kernel does even after kill -9. It is the directory itself that is
// locked: a lock file could be removed and made again under a running log.
func Lock(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, Fault("lock "+dir, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, &pavise.Error{
			Kind: pavise.Conflict,
			Msg:  "the evidence log in " + dir + " is open in another process",
			Hint: "stop the other pavise, or give this one its own --data directory",
			Err:  err,
		}
	}
	return f, nil
}

// Locked reports whether a process has the log in dir open.
func Locked(dir string) bool {
	f, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil
}
