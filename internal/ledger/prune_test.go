package ledger

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/audit"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/disk/disktest"
	"github.com/pavise/pavise/internal/record"
)

// longLog is a log of tiny segments, 256 records each.
func longLog(t *testing.T, d *disktest.Disk, n int) *Log {
	t.Helper()
	l, err := openFault(d)
	if err != nil {
		t.Fatal(err)
	}
	appendN(t, l, n-1, Written)
	appendN(t, l, 1, Durable)
	return l
}

// TestStartReadsTheLastSegment changes a record of the first: a start that read it would
// refuse, one as fast as it should be does not. Whoever reads the record is told.
func TestStartReadsTheLastSegment(t *testing.T) {
	d := disktest.New()
	longLog(t, d, 1200).Close()
	first, _ := d.Bytes(disk.SegmentName(0))
	d.Put(disk.SegmentName(0), changeRecord(5)(first))
	l, err := openFault(d)
	if err != nil {
		t.Fatal("the start reads more than it must: ", err)
	}
	defer l.Close()
	if _, err := l.Read(5); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("read a changed record: %v", err)
	}
	for _, i := range []uint64{0, 4, 6, 1023, 1024, 1199} {
		if _, err := l.Read(i); err != nil {
			t.Errorf("record %d: %v", i, err)
		}
	}
}

// TestPruneKeepsEveryProof prunes most of a log: what is left is as it was, and proved;
// what is gone says so; and the next start, and an auditor, find a log that is whole.
func TestPruneKeepsEveryProof(t *testing.T) {
	d := disktest.New()
	l := longLog(t, d, 1200)
	before := l.Head()
	if err := l.Prune(t.Context(), record.Pruning{Below: 768, Why: "test"}, nil); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if l.First() != 768 || l.Size() != 1201 {
			t.Fatalf("records %d to %d", l.First(), l.Size())
		}
		if _, err := l.Read(767); pavise.KindOf(err) != pavise.NotFound {
			t.Errorf("a pruned record: %v", err)
		}
		for _, i := range []uint64{768, 1000, 1200} {
			p, err := l.Prove(i)
			if err != nil || tlog.CheckRecord(p.Path, int64(p.Checkpoint.Size), p.Checkpoint.Root, int64(i), p.Leaf) != nil {
				t.Errorf("record %d: %v", i, err)
			}
		}
		path, err := l.Consistency(before.Size, l.Head().Size)
		if err != nil || tlog.CheckTree(path, int64(l.Head().Size), l.Head().Root, int64(before.Size), before.Root) != nil {
			t.Errorf("the log no longer continues what it was: %v", err)
		}
		if n := len(places(t, l.Select(t.Context(), Filter{Kinds: []string{"model"}}, 0, l.Size()))); n != 1200-768 {
			t.Errorf("a search finds %d records", n)
		}
		report, err := audit.VerifyOn(d, audit.Options{Key: l.Keys()[0].String()})
		if err != nil || report.First != 768 || report.Conclusion != audit.Verified {
			t.Errorf("%+v, %v", report, err)
		}
		l.Close()
		if l, err = openFault(d); err != nil {
			t.Fatal(err)
		}
	}
	l.Close()
}

// TestPruneRefuses what would leave half a segment, or nothing that is signed.
func TestPruneRefuses(t *testing.T) {
	l := longLog(t, disktest.New(), 600)
	defer l.Close()
	for _, below := range []uint64{0, 1, 255, 257, 600, 768, 1 << 60} {
		if err := l.Prune(t.Context(), record.Pruning{Below: below}, nil); pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("below %d: %v", below, err)
		}
	}
	if l.First() != 0 || l.Size() != 600 {
		t.Error("a refusal pruned, or left a record")
	}
}

// TestMissingBeginning takes segments away that no record says were pruned.
func TestMissingBeginning(t *testing.T) {
	d := disktest.New()
	l := longLog(t, d, 1200)
	if err := l.Prune(t.Context(), record.Pruning{Below: 256}, nil); err != nil {
		t.Fatal(err)
	}
	l.Close()
	d.Remove(disk.SegmentName(256))
	if _, err := openFault(d); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("a segment that nobody pruned is gone: %v", err)
	}
	if _, err := audit.VerifyOn(d, audit.Options{}); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("an auditor: %v", err)
	}
}

// TestPowerLossWhilePruning loses power at every operation of a pruning: afterwards the
// log opens, holds everything that was not to be pruned, and verifies.
func TestPowerLossWhilePruning(t *testing.T) {
	whole := disktest.New()
	longLog(t, whole, 800).Close()
	for n := 1; ; n++ {
		d := whole.Frozen()
		l, err := openFault(d)
		if err != nil {
			t.Fatal(err)
		}
		crashed := d.LosePowerAfter(n, rand.New(rand.NewPCG(uint64(n), 9)))
		err = l.Prune(t.Context(), record.Pruning{Below: 512}, nil)
		next := crashed()
		l.Close()
		if l, openErr := openFault(next); openErr != nil {
			t.Fatalf("after operation %d: %v", n, openErr)
		} else {
			if fault := stillThere(l, 512, 800); fault != nil {
				t.Errorf("after operation %d: %v", n, fault)
			}
			l.Close()
		}
		if _, fault := audit.VerifyOn(next, audit.Options{}); fault != nil {
			t.Fatalf("after operation %d: %v", n, fault)
		}
		if err == nil {
			return
		}
		if !errors.Is(err, disktest.ErrPowerGone) && pavise.KindOf(err) != pavise.Unavailable {
			t.Errorf("operation %d: %v", n, err)
		}
	}
}

// stillThere finds records.
func stillThere(l *Log, from, to uint64) error {
	for i := from; i < to; i++ {
		if _, err := l.Read(i); err != nil {
			return fmt.Errorf("record %d: %w", i, err)
		}
	}
	return nil
}
