package disk

import (
	"fmt"
	"io"
	"os"
	"syscall"
)

// ReadPlain reads the first bytes of a plain file, and nothing else: no link, and no
// pipe, which would let it wait forever.
func ReadPlain(path string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no plain file", path)
	}
	return io.ReadAll(io.LimitReader(f, limit))
}
