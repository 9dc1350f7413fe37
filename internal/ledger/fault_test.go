package ledger

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/audit"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/disk/disktest"
)

func openFault(d *disktest.Disk) (*Log, error) {
	return Open(Options{Disk: d, Origin: testOrigin, Key: testKey, SegmentSize: 1})
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
	d := disktest.New()
	acked := map[uint64]string{} // index → the id of what was acknowledged there
	for life := range 4 {
		crashed := d.LosePowerAfter(rng.IntN(4*records), rand.New(rand.NewPCG(seed, uint64(life)+2)))
		if l, err := openFault(d); err == nil {
			if err := live(l, life, records, acked); err != nil {
				return fmt.Errorf("life %d: %w", life, err)
			}
		} else if !errors.Is(err, disktest.ErrPowerGone) {
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
	if err := checkAcked(l, acked); err != nil && !errors.Is(err, disktest.ErrPowerGone) {
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
	d := disktest.New()
	l, err := openFault(d)
	if err != nil {
		t.Fatal(err)
	}
	appendN(t, l, 3, Durable)
	failed := false
	d.Fail(func(op, name string) error {
		if _, seg := disk.ParseSegmentName(name); op == "sync" && seg && !failed {
			failed = true
			return syscall.EIO
		}
		return nil
	})
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
	d := disktest.New()
	l, err := openFault(d)
	if err != nil {
		t.Fatal(err)
	}
	appendN(t, l, 3, Durable)
	d.Fail(func(op, name string) error {
		if _, seg := disk.ParseSegmentName(name); op == "sync" && seg {
			return syscall.EIO
		}
		return nil
	})
	l.Append(context.Background(), testRecord(3), Durable)
	l.Close()
	d.Fail(nil)
	if l, err = openFault(d); err != nil {
		t.Fatal(err)
	}
	signed := l.Head().Size
	l.Close()
	if l, err = openFault(d.Crash(rand.New(rand.NewPCG(1, 1)))); err != nil {
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
	d := disktest.New()
	l, err := openFault(d)
	if err != nil {
		t.Fatal(err)
	}
	failures, second := 1, false
	d.Fail(func(op, name string) error {
		second = second || op == "open" && name == disk.SegmentName(256)
		if op == "syncdir" && failures > 0 && second {
			failures--
			return syscall.EMFILE
		}
		return nil
	})
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
	d := disktest.New()
	l, err := openFault(d)
	if err != nil {
		t.Fatal(err)
	}
	appendN(t, l, 3, Durable)
	l.Close()
	f, _ := d.Open(disk.SegmentName(0), false)
	size, _ := f.Size()
	f.WriteAt([]byte("planted"), size)
	d.Fail(func(op, name string) error {
		if op == "rename" && name == "checkpoint.new" {
			return syscall.EIO // after the cut, before the note
		}
		return nil
	})
	if _, err := openFault(d); err == nil {
		t.Fatal("opened on a broken disk")
	}
	d.Fail(nil)
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
	l, err := openFault(disktest.New())
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
	d := disktest.New()
	l, err := openFault(d)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	appendN(t, l, 3, Durable)
	var full atomic.Bool
	full.Store(true)
	d.Fail(func(op, name string) error {
		if full.Load() && op == "reserve" {
			return syscall.ENOSPC
		}
		return nil
	})
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
	full.Store(false)
	for ordinary() != nil {
	}
	if r, err := l.Read(receipt.Index); err != nil || !r.Safe {
		t.Errorf("safe record: %+v, %v", r, err)
	}
}

// TestReadOnlyDisk refuses to open on a disk that takes no writes, says why and
// what to do, and opens when it takes them again.
func TestReadOnlyDisk(t *testing.T) {
	d := disktest.New()
	d.Fail(func(op, _ string) error {
		if op == "write" || op == "truncate" {
			return syscall.EROFS
		}
		return nil
	})
	_, err := openFault(d)
	if e, ok := errors.AsType[*pavise.Error](err); !ok || e.Kind != pavise.Unavailable || e.Hint == "" {
		t.Fatalf("open on a read-only disk: %v", err)
	}
	d.Fail(nil)
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
	d := disktest.New()
	l, err := openFault(d)
	if err != nil {
		t.Fatal(err)
	}
	appendN(t, l, 2, Durable)
	d.Free(10)
	if _, err := l.Append(context.Background(), testRecord(0), Durable); pavise.KindOf(err) != pavise.Unavailable {
		t.Fatalf("append: %v", err)
	}
	d.Free(-1)
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
