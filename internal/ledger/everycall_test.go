package ledger

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/audit"
	"github.com/pavise/pavise/internal/disk/disktest"
	"github.com/pavise/pavise/internal/record"
)

// TestEveryCallFails makes each operation of a log's life fail in turn, once or from
// then on, with a full disk or with a broken one: opening, appending over the end of
// segments, keeping a witnessed checkpoint, pruning, closing. Whatever was acknowledged
// is there on a disk that is well again, also after power loss, and verifies.
func TestEveryCallFails(t *testing.T) {
	// How many operations a life has depends on how appends come together.
	const operations = 90
	for _, fault := range []error{syscall.EIO, syscall.ENOSPC} {
		for _, forever := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v, forever %t", fault, forever), func(t *testing.T) {
				var lives sync.WaitGroup // each waits most of its time for a checkpoint
				for n := 1; n <= operations; n++ {
					if testing.Short() && n%5 > 0 {
						continue
					}
					lives.Go(func() {
						if err := oneCallFails(n, fault, forever); err != nil {
							t.Errorf("operation %d: %v", n, err)
						}
					})
				}
				lives.Wait()
			})
		}
	}
}

// oneCallFails is one life in which the n-th operation fails, if there are so many.
func oneCallFails(n int, fault error, forever bool) error {
	d := disktest.New()
	ops := 0
	d.Fail(func(string, string) error {
		if ops++; ops == n || forever && ops > n {
			return fault
		}
		return nil
	})
	acked, below := lifeOn(d)
	d.Fail(nil)
	for name, d := range map[string]*disktest.Disk{"the process ends": d.Frozen(), "the power goes": d.Crash(rand.New(rand.NewPCG(uint64(n), 1)))} {
		if err := holds(d, acked, below); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// holds finds what was acknowledged, but for what was pruned, in a log that verifies.
func holds(d *disktest.Disk, acked map[uint64]string, below uint64) error {
	l, err := openFault(d)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	for index, id := range acked {
		r, err := l.Read(index)
		if index < below && pavise.KindOf(err) == pavise.NotFound {
			continue
		}
		if err != nil || r.On.ID != id {
			return fmt.Errorf("acknowledged record %d is %s, %w", index, r.On.ID, err)
		}
	}
	if err := l.Close(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	_, err = audit.VerifyOn(d, audit.Options{Key: l.Keys()[0].String()})
	return err
}

// lifeOn does what a log does, and returns what was acknowledged, and below which
// record pruning was asked for. Errors are not its business.
func lifeOn(d *disktest.Disk) (acked map[uint64]string, below uint64) {
	acked = map[uint64]string{}
	l, err := openFault(d)
	if err != nil {
		return acked, 0
	}
	defer l.Close()
	var mu sync.Mutex
	for wave := range 3 {
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				r := testRecord(100*wave + i)
				receipt, err := l.Append(context.Background(), r, Durable)
				if err != nil {
					return
				}
				mu.Lock()
				acked[receipt.Index] = r.On.ID
				mu.Unlock()
			})
		}
		wg.Wait()
	}
	if len(acked) > 0 && l.AwaitPublished(context.Background(), 0) == nil {
		_ = l.KeepWitnessed(l.Published())
	}
	err = l.Prune(context.Background(), record.Pruning{Below: 256}, nil)
	if err == nil || pavise.KindOf(err) != pavise.Invalid && !errors.Is(err, context.Canceled) {
		below = 256
	}
	return acked, below
}
