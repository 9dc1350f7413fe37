package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/audit"
	"github.com/pavise/pavise/internal/disk"
)

// A faultDisk is a directory in memory that keeps apart what was synced and
// what was not. crash decides, from a seed, which un-synced writes reached the
// platter: each may be kept, dropped or torn, in any order, and so may each
// un-synced creation and rename.
type faultDisk struct {
	mu      sync.Mutex
	files   map[string]*faultInode // names as the process sees them
	durable map[string]*faultInode // names after the last directory sync
	fail    func(op, name string) error
	free    int64 // bytes that may still be written; negative: no limit
}

type faultInode struct {
	now     []byte
	synced  []byte
	pending []faultWrite // since the last sync
}

// A faultWrite is one un-synced write, or a truncation when data is nil.
type faultWrite struct {
	off  int64
	data []byte // never nil for a write, not even of nothing
}

func newFaultDisk() *faultDisk {
	return &faultDisk{files: map[string]*faultInode{}, durable: map[string]*faultInode{}, free: -1}
}

func (d *faultDisk) failure(op, name string) error {
	if d.fail == nil {
		return nil
	}
	return d.fail(op, name)
}

func (d *faultDisk) Open(name string, create bool) (disk.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.failure("open", name); err != nil {
		return nil, err
	}
	inode, ok := d.files[name]
	if !ok && !create {
		return nil, &os.PathError{Op: "open", Path: name, Err: os.ErrNotExist}
	}
	if !ok {
		inode = &faultInode{}
		d.files[name] = inode
	}
	return &faultFile{d, name, inode}, nil
}

func (d *faultDisk) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.failure("rename", from); err != nil {
		return err
	}
	d.files[to] = d.files[from]
	delete(d.files, from)
	return nil
}

func (d *faultDisk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.failure("remove", name); err != nil {
		return err
	}
	if _, ok := d.files[name]; !ok {
		return &os.PathError{Op: "remove", Path: name, Err: os.ErrNotExist}
	}
	delete(d.files, name)
	return nil
}

func (d *faultDisk) List() ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Keys(d.files)), nil
}

func (d *faultDisk) Sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.failure("syncdir", ""); err != nil {
		return err
	}
	d.durable = maps.Clone(d.files)
	return nil
}

// crash loses power: it returns the disk as the next boot finds it.
func (d *faultDisk) crash(rng *rand.Rand) *faultDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	next := newFaultDisk()
	names := slices.Sorted(maps.Keys(d.files))
	for name := range d.durable {
		if _, ok := d.files[name]; !ok {
			names = append(names, name)
		}
	}
	for _, name := range names {
		inode, was := d.durable[name]
		if now, ok := d.files[name]; ok && (!was || rng.IntN(2) == 0) {
			if !was && rng.IntN(2) == 0 {
				continue // the creation was not durable and is lost
			}
			inode = now
		}
		if inode != nil {
			content := inode.afterCrash(rng)
			next.files[name] = &faultInode{now: content, synced: slices.Clone(content)}
		}
	}
	next.durable = maps.Clone(next.files)
	return next
}

// afterCrash applies a random part of the un-synced writes to what was synced.
func (f *faultInode) afterCrash(rng *rand.Rand) []byte {
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

type faultFile struct {
	disk  *faultDisk
	name  string
	inode *faultInode
}

func (f *faultFile) ReadAt(p []byte, off int64) (int, error) {
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

func (f *faultFile) WriteAt(p []byte, off int64) (int, error) {
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

func (f *faultInode) write(off int64, p []byte) {
	f.now = splice(f.now, off, p)
	f.pending = append(f.pending, faultWrite{off, append([]byte{}, p...)})
}

func (f *faultFile) Truncate(size int64) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.failure("truncate", f.name); err != nil {
		return err
	}
	f.inode.now = resize(f.inode.now, size)
	f.inode.pending = append(f.inode.pending, faultWrite{off: size})
	return nil
}

func (f *faultFile) Sync() error {
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

func (f *faultFile) Size() (int64, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return int64(len(f.inode.now)), nil
}

func (f *faultFile) Reserve(int64) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return f.disk.failure("reserve", f.name)
}

func (f *faultFile) Close() error { return nil }

func openFault(d *faultDisk) (*Log, error) {
	return openOn(d, Options{Origin: testOrigin, Key: testKey, segmentSize: 1})
}

// TestPowerLoss runs one life after another of a log on a disk that loses power
// at a random moment, 1,000 seeds: every Durable append that was acknowledged
// is there afterwards, in its place, and the log opens and verifies. One seed in
// ten writes enough to roll segments.
func TestPowerLoss(t *testing.T) {
	seeds := 1000
	if testing.Short() {
		seeds = 100
	}
	for seed := range seeds {
		records := 20
		if seed%10 == 0 {
			records = 150
		}
		if err := powerLoss(uint64(seed), records); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

func powerLoss(seed uint64, records int) error {
	rng := rand.New(rand.NewPCG(seed, 1))
	d := newFaultDisk()
	acked := map[uint64]string{} // index → the id of what was acknowledged there
	for life := range 4 {
		crashed := d.losePowerAfter(rng.IntN(4*records), rand.New(rand.NewPCG(seed, uint64(life)+2)))
		if l, err := openFault(d); err == nil {
			if err := live(l, life, records, acked); err != nil {
				return fmt.Errorf("life %d: %w", life, err)
			}
		} else if !errors.Is(err, errPowerGone) {
			return fmt.Errorf("life %d: open: %w", life, err)
		}
		d = crashed()
	}
	l, err := openFault(d)
	if err != nil {
		return fmt.Errorf("last open: %w", err)
	}
	if err := checkAcked(l, acked); err != nil {
		return err
	}
	if err := l.Close(); err != nil {
		return fmt.Errorf("last close: %w", err)
	}
	report, err := audit.VerifyOn(d, audit.Options{Key: l.signer.Key().String()})
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	if report.Conclusion != audit.Verified || report.Signed != report.Records {
		return fmt.Errorf("verify: %+v", report)
	}
	return nil
}

// live checks what earlier lives acknowledged, then appends until the power goes.
func live(l *Log, life, records int, acked map[uint64]string) error {
	defer l.Close()
	if err := checkAcked(l, acked); err != nil && !errors.Is(err, errPowerGone) {
		return err
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for w := range 3 {
		wg.Go(func() {
			for i := range records {
				r := testRecord(life*1000 + w*200 + i)
				how := Durability(i % 2)
				receipt, err := l.Append(context.Background(), r, how)
				if err != nil {
					return
				}
				if how == Durable {
					mu.Lock()
					acked[receipt.Index] = r.On.ID
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return nil
}

// losePowerAfter makes the power go at the n-th operation from now, or, one time
// in three, kills only the process, so that what was written is still there and
// still not synced. The function it returns gives the disk as the next life
// finds it.
func (d *faultDisk) losePowerAfter(n int, rng *rand.Rand) func() *faultDisk {
	var next *faultDisk
	end := func() *faultDisk { return d.frozen().crash(rng) }
	if rng.IntN(3) == 0 {
		end = d.frozen
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail = func(op, name string) error {
		if n--; n == 0 {
			next = end()
		}
		if n <= 0 {
			return errPowerGone
		}
		return nil
	}
	return func() *faultDisk {
		d.mu.Lock()
		defer d.mu.Unlock()
		if next == nil {
			next = end() // the power held until the end
		}
		return next
	}
}

var errPowerGone = errors.New("the power is gone")

// frozen returns a copy of the disk. The caller holds mu.
func (d *faultDisk) frozen() *faultDisk {
	c := newFaultDisk()
	seen := map[*faultInode]*faultInode{}
	clone := func(f *faultInode) *faultInode {
		if seen[f] == nil {
			seen[f] = &faultInode{slices.Clone(f.now), slices.Clone(f.synced), slices.Clone(f.pending)}
		}
		return seen[f]
	}
	for name, f := range d.files {
		c.files[name] = clone(f)
	}
	for name, f := range d.durable {
		c.durable[name] = clone(f)
	}
	return c
}

func checkAcked(l *Log, acked map[uint64]string) error {
	for index, id := range acked {
		r, err := l.Read(index)
		if err != nil {
			return fmt.Errorf("acknowledged record %d: %w", index, err)
		}
		if r.On.ID != id {
			return fmt.Errorf("record %d is %s, acknowledged was %s", index, r.On.ID, id)
		}
	}
	return nil
}

// TestFsyncErrorStops makes one sync fail and expects the log to take nothing
// more, although every later sync would succeed.
func TestFsyncErrorStops(t *testing.T) {
	d := newFaultDisk()
	l, err := openFault(d)
	if err != nil {
		t.Fatal(err)
	}
	appendN(t, l, 3, Durable)
	failed := false
	d.mu.Lock()
	d.fail = func(op, name string) error {
		if _, seg := disk.ParseSegmentName(name); op == "sync" && seg && !failed {
			failed = true
			return syscall.EIO
		}
		return nil
	}
	d.mu.Unlock()
	for range 2 {
		if _, err := l.Append(context.Background(), testRecord(0), Durable); pavise.KindOf(err) != pavise.Unavailable {
			t.Fatalf("append after a failed sync: %v", err)
		}
	}
	if s := l.Status(); s.Problem == "" {
		t.Error("status names no problem")
	}
	if l.Close() == nil {
		t.Error("close says all is well")
	}
	if l, err = openFault(d); err != nil {
		t.Fatalf("reopen: %v", err)
	}
	appendN(t, l, 1, Durable)
	l.Close()
}

// TestFailedSyncIsNotForgotten restarts a process after a failed sync. What it
// finds in the page cache was never on the disk, although a sync now succeeds;
// after power loss the log must hold what it signed.
func TestFailedSyncIsNotForgotten(t *testing.T) {
	d := newFaultDisk()
	l, err := openFault(d)
	if err != nil {
		t.Fatal(err)
	}
	appendN(t, l, 3, Durable)
	d.fail = func(op, name string) error {
		if _, seg := disk.ParseSegmentName(name); op == "sync" && seg {
			return syscall.EIO
		}
		return nil
	}
	l.Append(context.Background(), testRecord(3), Durable)
	l.Close()
	d.fail = nil
	if l, err = openFault(d); err != nil {
		t.Fatal(err)
	}
	signed := l.Head().Size
	l.Close()
	if l, err = openFault(d.crash(rand.New(rand.NewPCG(1, 1)))); err != nil {
		t.Fatalf("after power loss: %v", err)
	}
	defer l.Close()
	if l.Size() < signed {
		t.Errorf("signed %d records, and %d are there", signed, l.Size())
	}
}

// TestRollThatFails leaves the log able to open: a directory sync fails once,
// as when the process has no file descriptor left.
func TestRollThatFails(t *testing.T) {
	d := newFaultDisk()
	l, err := openFault(d)
	if err != nil {
		t.Fatal(err)
	}
	failures := 1
	d.mu.Lock()
	d.fail = func(op, _ string) error {
		if op == "syncdir" && failures > 0 && len(d.files) > 0 && d.files[disk.SegmentName(256)] != nil {
			failures--
			return syscall.EMFILE
		}
		return nil
	}
	d.mu.Unlock()
	appendN(t, l, 600, Durable)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if failures != 0 {
		t.Fatal("no roll failed")
	}
	if l, err = openFault(d); err != nil {
		t.Fatalf("reopen: %v", err)
	}
	l.Close()
	if _, err := audit.VerifyOn(d, audit.Options{}); err != nil {
		t.Error(err)
	}
}

// TestCutIsRecordedLater has the process die between cutting a torn tail and
// recording it.
func TestCutIsRecordedLater(t *testing.T) {
	d := newFaultDisk()
	l, err := openFault(d)
	if err != nil {
		t.Fatal(err)
	}
	appendN(t, l, 3, Durable)
	l.Close()
	f, _ := d.Open(disk.SegmentName(0), false)
	size, _ := f.Size()
	f.WriteAt([]byte("planted"), size)
	d.fail = func(op, name string) error {
		if op == "rename" && name == "checkpoint.new" {
			return syscall.EIO // after the cut, before the note
		}
		return nil
	}
	if _, err := openFault(d); err == nil {
		t.Fatal("opened on a broken disk")
	}
	d.fail = nil
	if l, err = openFault(d); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if r, ok := l.Last(); !ok || r.Kind != "ledger.recovered" {
		t.Errorf("the last record is %s, not of the cut", r.Kind)
	}
}

// TestUnpublishedIsBounded refuses ordinary records once the checkpoint file is
// too far behind, and admits safe ones.
func TestUnpublishedIsBounded(t *testing.T) {
	l, err := openFault(newFaultDisk())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.mu.Lock()
	l.head.Size, l.published.err = maxUnpublished+1, syscall.EIO
	refused, safe := l.refusal(false), l.refusal(true)
	l.head.Size, l.published.err = 0, nil
	l.mu.Unlock()
	if pavise.KindOf(refused) != pavise.Unavailable || safe != nil {
		t.Errorf("ordinary: %v, safe: %v", refused, safe)
	}
}

// TestDiskFull refuses ordinary records, still admits safe ones, and goes on by
// itself when there is room again.
func TestDiskFull(t *testing.T) {
	d := newFaultDisk()
	l, err := openFault(d)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	appendN(t, l, 3, Durable)
	full := true
	d.mu.Lock()
	d.fail = func(op, name string) error {
		if full && op == "reserve" {
			return syscall.ENOSPC
		}
		return nil
	}
	d.mu.Unlock()
	l.stream.active().room = l.stream.active().Size + reserveFull - 1 // nearly used up
	ordinary := func() error {
		_, err := l.Append(context.Background(), testRecord(0), Durable)
		return err
	}
	ordinary() // the writer notices
	if err := ordinary(); pavise.KindOf(err) != pavise.Unavailable || !l.Status().Full {
		t.Fatalf("append on a full disk: %v", err)
	}
	safe := testRecord(7)
	safe.Safe = true
	receipt, err := l.Append(context.Background(), safe, Durable)
	if err != nil {
		t.Fatalf("safe append on a full disk: %v", err)
	}
	d.mu.Lock()
	full = false
	d.mu.Unlock()
	for ordinary() != nil {
	}
	if r, err := l.Read(receipt.Index); err != nil || !r.Safe {
		t.Errorf("safe record: %+v, %v", r, err)
	}
}

// TestReadOnlyDisk refuses to open on a disk that takes no writes, says why and
// what to do, and opens when it takes them again.
func TestReadOnlyDisk(t *testing.T) {
	d := newFaultDisk()
	d.fail = func(op, _ string) error {
		if op == "write" || op == "truncate" {
			return syscall.EROFS
		}
		return nil
	}
	_, err := openFault(d)
	if e, ok := errors.AsType[*pavise.Error](err); !ok || e.Kind != pavise.Unavailable || e.Hint == "" {
		t.Fatalf("open on a read-only disk: %v", err)
	}
	d.fail = nil
	l, err := openFault(d)
	if err != nil {
		t.Fatal(err)
	}
	appendN(t, l, 1, Durable)
	l.Close()
}

// TestWriteErrorIsUndone makes a write run out of space half-way: the append
// fails, the log goes on, and nothing of the failed entry is left.
func TestWriteErrorIsUndone(t *testing.T) {
	d := newFaultDisk()
	l, err := openFault(d)
	if err != nil {
		t.Fatal(err)
	}
	appendN(t, l, 2, Durable)
	d.mu.Lock()
	d.free = 10
	d.mu.Unlock()
	if _, err := l.Append(context.Background(), testRecord(0), Durable); pavise.KindOf(err) != pavise.Unavailable {
		t.Fatalf("append: %v", err)
	}
	d.mu.Lock()
	d.free = -1
	d.mu.Unlock()
	appendN(t, l, 2, Durable)
	if got := l.Size(); got != 4 {
		t.Errorf("size %d, want 4", got)
	}
	if seg := l.stream.active(); seg.room > seg.Size+reserveStep {
		t.Errorf("the log believes in %d bytes of room behind %d", seg.room, seg.Size)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := audit.VerifyOn(d, audit.Options{}); err != nil {
		t.Error(err)
	}
}
