package ledger

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/pavise/pavise"
)

// lockDir takes the directory for this process until the returned file closes,
// which the kernel does even after kill -9.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, diskError("lock "+dir, err)
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
