package ledger

import (
	"context"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/disk/disktest"
)

// TestAlone: an appender who finds nobody else writes by itself; beside others, the writer
// does it for all of them.
func TestAlone(t *testing.T) {
	d := disktest.New()
	l, err := Open(Options{Disk: d, Origin: testOrigin, Key: testKey})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * aloneAfter) // what Open wrote is past
	var alone, writes atomic.Int64
	d.Slow(func(op, name string) {
		if _, segment := disk.ParseSegmentName(name); segment && op == "write" {
			writes.Add(1)
			stack := make([]byte, 16<<10)
			if strings.Contains(string(stack[:runtime.Stack(stack, false)]), "writeAlone") {
				alone.Add(1)
			}
		}
	})
	appendN(t, l, 1, Written)
	if alone.Load() != 1 || writes.Load() != 1 {
		t.Fatalf("of %d writes %d were by an appender who is alone, want its one", writes.Load(), alone.Load())
	}
	l.pen <- struct{}{} // somebody writes
	time.Sleep(2 * aloneAfter)
	var c crew
	for i := range 50 {
		c.append(l, testRecord(i), Written)
	}
	for l.Waiting() < 50 {
		time.Sleep(time.Millisecond)
	}
	<-l.pen
	c.Wait()
	if alone.Load() != 1 || writes.Load() != 2 {
		t.Errorf("of %d writes %d were by an appender who is alone: fifty others were to share one", writes.Load(), alone.Load())
	}
	checkLog(t, l, d, 51)
}

// TestClosedAlone closes a log while appenders come who find nobody else: each is told
// where its record is, or that there is none.
func TestClosedAlone(t *testing.T) {
	for seed := range uint64(20) {
		d := disktest.New()
		l, err := Open(Options{Disk: d, Origin: testOrigin, Key: testKey})
		if err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(seed, 0))
		var c crew
		for i := range 4 {
			pause := time.Duration(rng.IntN(400)) * time.Microsecond
			c.Go(func() {
				for range 10 {
					time.Sleep(aloneAfter + pause)
					receipt, err := l.Append(context.Background(), testRecord(i), Written)
					c.mu.Lock()
					if err != nil {
						c.refused = append(c.refused, err)
					} else if c.places == nil {
						c.places = map[uint64]bool{receipt.Index: true}
					} else {
						c.places[receipt.Index] = true
					}
					c.mu.Unlock()
				}
			})
		}
		time.Sleep(time.Duration(rng.IntN(3000)) * time.Microsecond)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		c.Wait()
		if len(c.places)+len(c.refused) != 40 {
			t.Fatalf("seed %d: %d are in the log and %d were refused, of 40", seed, len(c.places), len(c.refused))
		}
		again, err := Open(Options{Disk: d, Origin: testOrigin, Key: testKey})
		if err != nil {
			t.Fatal(err)
		}
		if got := again.Size(); got != uint64(len(c.places)) {
			t.Fatalf("seed %d: %d records, of which %d were acknowledged", seed, got, len(c.places))
		}
		again.Close()
	}
}
