package receiver

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
)

// A file is one that is read while others write to it.
type file interface {
	io.ReaderAt
	io.Closer
	Stat() (fs.FileInfo, error)
}

// A folder opens files below a root, and nothing outside of it whatever links say.
type folder interface {
	open(root, name string) (file, error)
	// beside yields the files whose names begin with that of a file and which lie in the
	// same directory, without itself.
	beside(root, name string) ([]string, error)
}

// disks are the machine's own.
type disks struct{}

// open is folder's. A pipe would make us wait for whoever put it there.
func (disks) open(root, name string) (file, error) {
	top, err := os.OpenRoot(root)
	if err != nil {
		return nil, err
	}
	defer top.Close()
	f, err := top.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file", name)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// maxBeside bounds how many files beside one are looked at.
const maxBeside = 1000

// beside is folder's.
func (disks) beside(root, name string) (names []string, err error) {
	top, err := os.OpenRoot(root)
	if err != nil {
		return nil, err
	}
	defer top.Close()
	dir, err := top.Open(path.Dir(name))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	for len(names) < maxBeside {
		some, err := dir.Readdirnames(256)
		for _, base := range some {
			if strings.HasPrefix(base, path.Base(name)) && base != path.Base(name) {
				names = append(names, path.Join(path.Dir(name), base))
			}
		}
		if err == io.EOF {
			return names, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return names, nil
}

// An identity is which file of a machine a file is, while it is there.
type identity struct{ Dev, Inode uint64 }

// who returns which file it is, and whose.
func who(info fs.FileInfo) (identity, string) {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return identity{uint64(s.Dev), s.Ino}, fmt.Sprintf("uid:%d", s.Uid)
	}
	return identity{}, ""
}
