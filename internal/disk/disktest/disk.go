// Package disktest is a disk that loses power.
//
// It is for the tests of what keeps its promises on a disk: [Disk] is a
// disk.Directory that drops, tears and reorders whatever was not synced, and that
// fails when it is told to.
package disktest

import (
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"syscall"

	"github.com/pavise/pavise/internal/disk"
)

// A Disk is a directory in memory that keeps apart what was synced and what was
// not. Crash decides, from a seed, which un-synced writes reached the platter: each
// may be kept, dropped or torn, in any order; and each un-synced creation, rename and
// removal may have happened or not. It is safe for concurrent use.
type Disk struct {
	mu      sync.Mutex        // guards all
	files   map[string]*inode // names as the process sees them
	durable map[string]*inode // names after the last directory sync
	removed map[string]bool   // names taken away since then
	fail    func(op, name string) error
	slow    func(op, name string)
	free    int64 // bytes that may still be written; negative: no limit
}

type inode struct {
	now     []byte
	synced  []byte
	pending []write // since the last sync
}

// A write is one un-synced write, or a truncation when data is nil.
type write struct {
	off  int64
	data []byte
}

// New returns an empty disk on which all goes well.
func New() *Disk {
	return &Disk{files: map[string]*inode{}, durable: map[string]*inode{}, removed: map[string]bool{}, free: -1}
}

// Fail has every operation ask fail first, and fail with its error. The operations
// are open, rename, remove, syncdir, write, truncate, sync and reserve; a write that
// fails writes half. nil: all goes well again.
func (d *Disk) Fail(fail func(op, name string) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail = fail
}

// Slow has every write and sync of a file call slow first, which may take its time: what
// else is done on the disk goes on meanwhile. nil: nothing is held up any more.
func (d *Disk) Slow(slow func(op, name string)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.slow = slow
}

// hold is called before the lock is taken.
func (d *Disk) hold(op, name string) {
	d.mu.Lock()
	slow := d.slow
	d.mu.Unlock()
	if slow != nil {
		slow(op, name)
	}
}

// Free sets how many bytes may still be written; negative: as many as one likes.
func (d *Disk) Free(bytes int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.free = bytes
}

// Bytes returns what a file holds, synced or not, and false if there is none.
func (d *Disk) Bytes(name string) ([]byte, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, ok := d.files[name]
	if !ok {
		return nil, false
	}
	return slices.Clone(f.now), true
}

// Put makes a file hold just this, synced.
func (d *Disk) Put(name string, content []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := &inode{now: slices.Clone(content), synced: slices.Clone(content)}
	d.files[name], d.durable[name] = f, f
}

func (d *Disk) failure(op, name string) error {
	if d.fail == nil {
		return nil
	}
	return d.fail(op, name)
}

// Open is disk.Directory's.
func (d *Disk) Open(name string, create bool) (disk.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.failure("open", name); err != nil {
		return nil, err
	}
	f, ok := d.files[name]
	if !ok && !create {
		return nil, &os.PathError{Op: "open", Path: name, Err: os.ErrNotExist}
	}
	if !ok {
		f = &inode{}
		d.files[name] = f
	}
	return &file{d, name, f}, nil
}

// Rename is disk.Directory's.
func (d *Disk) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.failure("rename", from); err != nil {
		return err
	}
	f, ok := d.files[from]
	if !ok {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: os.ErrNotExist}
	}
	delete(d.files, from)
	d.files[to] = f
	return nil
}

// Remove is disk.Directory's.
func (d *Disk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.failure("remove", name); err != nil {
		return err
	}
	if _, ok := d.files[name]; !ok {
		return &os.PathError{Op: "remove", Path: name, Err: os.ErrNotExist}
	}
	delete(d.files, name)
	d.removed[name] = true
	return nil
}

// List is disk.Directory's.
func (d *Disk) List() ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Keys(d.files)), nil
}

// Sync is disk.Directory's.
func (d *Disk) Sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.failure("syncdir", ""); err != nil {
		return err
	}
	d.durable = maps.Clone(d.files)
	clear(d.removed)
	return nil
}

// Crash loses power: it returns the disk as the next boot finds it.
func (d *Disk) Crash(rng *rand.Rand) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	next := New()
	names := maps.Clone(d.durable)
	maps.Copy(names, d.files)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		f, was := d.durable[name]
		now, is := d.files[name]
		switch {
		case is && (!was || rng.IntN(2) == 0):
			if !was && rng.IntN(2) == 0 {
				continue // the creation was not durable and is lost
			}
			f = now
		case !is && d.removed[name] && rng.IntN(2) == 0:
			continue // the removal was not durable and happened all the same
		}
		content := f.afterCrash(rng)
		next.files[name] = &inode{now: content, synced: slices.Clone(content)}
	}
	next.durable = maps.Clone(next.files)
	return next
}

// afterCrash applies a random part of the un-synced writes to what was synced.
func (f *inode) afterCrash(rng *rand.Rand) []byte {
	content := slices.Clone(f.synced)
	order := rng.Perm(len(f.pending))
	for _, i := range order {
		w := f.pending[i]
		switch rng.IntN(3) {
		case 0: // dropped
		case 1: // torn: a part of it, the rest as it was or zero
			if len(w.data) > 0 {
				from := rng.IntN(len(w.data))
				to := from + rng.IntN(len(w.data)-from) + 1
				content = splice(content, w.off+int64(from), w.data[from:to])
			}
		case 2:
			if w.data == nil {
				content = resize(content, w.off)
			} else {
				content = splice(content, w.off, w.data)
			}
		}
	}
	return content
}

func splice(content []byte, off int64, data []byte) []byte {
	content = resize(content, max(int64(len(content)), off+int64(len(data))))
	copy(content[off:], data)
	return content
}

func resize(content []byte, size int64) []byte {
	if int64(len(content)) >= size {
		return content[:size]
	}
	return append(content, make([]byte, size-int64(len(content)))...)
}

type file struct {
	disk  *Disk
	name  string
	inode *inode
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if off >= int64(len(f.inode.now)) {
		return 0, io.EOF
	}
	n := copy(p, f.inode.now[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	f.disk.hold("write", f.name)
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.failure("write", f.name); err != nil {
		half := p[:len(p)/2] // a failed write may have written a part
		f.inode.write(off, half)
		return len(half), err
	}
	grows := max(0, off+int64(len(p))-int64(len(f.inode.now)))
	if f.disk.free >= 0 && grows > f.disk.free {
		f.inode.write(off, p[:len(p)/2])
		return len(p) / 2, syscall.ENOSPC
	}
	if f.disk.free >= 0 {
		f.disk.free -= grows
	}
	f.inode.write(off, p)
	return len(p), nil
}

func (f *inode) write(off int64, p []byte) {
	if len(p) == 0 {
		return // it does not even grow the file
	}
	f.now = splice(f.now, off, p)
	f.pending = append(f.pending, write{off, append([]byte{}, p...)})
}

func (f *file) Truncate(size int64) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.failure("truncate", f.name); err != nil {
		return err
	}
	f.inode.now = resize(f.inode.now, size)
	f.inode.pending = append(f.inode.pending, write{off: size})
	return nil
}

func (f *file) Sync() error {
	f.disk.hold("sync", f.name)
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	err := f.disk.failure("sync", f.name)
	if err == nil {
		for _, w := range f.inode.pending {
			if w.data == nil {
				f.inode.synced = resize(f.inode.synced, w.off)
			} else {
				f.inode.synced = splice(f.inode.synced, w.off, w.data)
			}
		}
	}
	f.inode.pending = nil // after an error too: the kernel takes the pages for clean
	return err
}

func (f *file) Size() (int64, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return int64(len(f.inode.now)), nil
}

func (f *file) Reserve(int64) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return f.disk.failure("reserve", f.name)
}

func (f *file) Close() error { return nil }

// LosePowerAfter makes the power go at the n-th operation from now, or, one time in
// three, kills only the process, so that what was written is still there and still
// not synced. From then on every operation fails with ErrPowerGone. also is called at
// that moment, so that a test can keep what lies elsewhere. The function it returns
// gives the disk as the next life finds it.
func (d *Disk) LosePowerAfter(n int, rng *rand.Rand, also ...func()) func() *Disk {
	var next *Disk
	end := func() {
		if next = d.frozen(); rng.IntN(3) > 0 {
			next = next.Crash(rng)
		}
		for _, f := range also {
			f()
		}
	}
	d.Fail(func(op, name string) error {
		if n--; n == 0 {
			end()
		}
		if n <= 0 {
			return ErrPowerGone
		}
		return nil
	})
	return func() *Disk {
		d.mu.Lock()
		defer d.mu.Unlock()
		if next == nil {
			end() // the power held until now
		}
		return next
	}
}

// ErrPowerGone is the error of all that is done after the power went.
var ErrPowerGone = errors.New("the power is gone")

// Frozen returns a copy of the disk as it is, with what is not synced.
func (d *Disk) Frozen() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.frozen()
}

// frozen is Frozen for who holds mu.
func (d *Disk) frozen() *Disk {
	c := New()
	seen := map[*inode]*inode{}
	clone := func(f *inode) *inode {
		if seen[f] == nil {
			seen[f] = &inode{slices.Clone(f.now), slices.Clone(f.synced), slices.Clone(f.pending)}
		}
		return seen[f]
	}
	for name, f := range d.files {
		c.files[name] = clone(f)
	}
	for name, f := range d.durable {
		c.durable[name] = clone(f)
	}
	c.removed = maps.Clone(d.removed)
	return c
}
