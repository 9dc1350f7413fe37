package ledger

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/audit"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/disk/disktest"
	"github.com/pavise/pavise/internal/record"
)

// sized is a record with so much detail.
func sized(i, bytes int) *record.Record {
	r := testRecord(i)
	r.Detail = []byte(`"` + strings.Repeat("x", bytes) + `"`)
	return r
}

// held returns a log on a disk whose next write of a record stands still until the
// function that it returns is called. The first record is in that write.
func held(t *testing.T) (l *Log, d *disktest.Disk, goOn func()) {
	t.Helper()
	d = disktest.New()
	l, err := Open(Options{Disk: d, Origin: testOrigin, Key: testKey})
	if err != nil {
		t.Fatal(err)
	}
	stands, moves := make(chan struct{}), make(chan struct{})
	var once sync.Once
	d.Slow(func(op, name string) {
		if _, segment := disk.ParseSegmentName(name); segment && op == "write" {
			once.Do(func() { close(stands) })
			<-moves
		}
	})
	go l.Append(context.Background(), testRecord(0), Written)
	<-stands
	return l, d, func() { close(moves) }
}

// A crew appends at once, and keeps what became of it.
type crew struct {
	sync.WaitGroup
	mu      sync.Mutex // guards what follows
	places  map[uint64]bool
	refused []error
}

// append starts an appender.
func (c *crew) append(l *Log, r *record.Record, how Durability) {
	c.Go(func() {
		receipt, err := l.Append(context.Background(), r, how)
		c.mu.Lock()
		defer c.mu.Unlock()
		if err != nil {
			c.refused = append(c.refused, err)
			return
		}
		if c.places == nil {
			c.places = map[uint64]bool{}
		}
		c.places[receipt.Index] = true
	})
}

// denied is how many were refused so far.
func (c *crew) denied() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.refused)
}

// checkLog closes a log and has it verified.
func checkLog(t *testing.T, l *Log, d *disktest.Disk, records uint64) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	report, err := audit.VerifyOn(d, audit.Options{Key: l.signer.Key().String()})
	if err != nil || report.Records != records || report.Conclusion != audit.Verified {
		t.Fatalf("%+v, %v, want %d records", report, err, records)
	}
}

// TestStorm has ten thousand records come while the disk stands still. Each is in the log
// once it moves, in a place of its own.
func TestStorm(t *testing.T) {
	l, d, goOn := held(t)
	var all crew
	for i := range crowd {
		all.append(l, sized(i, 1000), Durability(i%2))
	}
	for l.Waiting() < crowd {
		time.Sleep(time.Millisecond)
	}
	goOn()
	all.Wait()
	if len(all.places) != crowd || len(all.refused) > 0 || l.Unwritten() != 0 {
		t.Errorf("%d have a place of their own, %d were refused, %d are counted", len(all.places), len(all.refused), l.Unwritten())
	}
	checkLog(t, l, d, crowd+1)
}

// TestStormOnASlowDisk is one whose every write and sync takes its time.
func TestStormOnASlowDisk(t *testing.T) {
	d := disktest.New()
	l, err := Open(Options{Disk: d, Origin: testOrigin, Key: testKey})
	if err != nil {
		t.Fatal(err)
	}
	rng, mu := rand.New(rand.NewPCG(1, 2)), sync.Mutex{}
	d.Slow(func(op, _ string) {
		longest := map[string]time.Duration{"write": 5 * time.Millisecond, "sync": 100 * time.Millisecond}[op]
		mu.Lock()
		took := time.Duration(rng.Int64N(int64(longest)))
		mu.Unlock()
		time.Sleep(took)
	})
	var all crew
	for i := range crowd {
		all.append(l, sized(i, 1000), Durability(i%2))
	}
	all.Wait()
	if len(all.places) != crowd || len(all.refused) > 0 {
		t.Errorf("%d have a place of their own, %d were refused", len(all.places), len(all.refused))
	}
	d.Slow(nil)
	checkLog(t, l, d, crowd)
}

// TestLine has twice as much come as memory may be taken. What there is no room for waits,
// holds none, and has its record if the disk moves in time; a record of a safe-direction
// verb waits for none of it.
func TestLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, d, goOn := held(t)
		var all, safe crew
		const n = 2 * maxWaiting / (60 << 10)
		for i := range n {
			all.append(l, sized(i, 60<<10), Written)
		}
		synctest.Wait()
		l.mu.Lock()
		memory, line := l.ordinary.memory, len(l.ordinary.line)
		l.mu.Unlock()
		if memory > maxWaiting || memory < maxWaiting/2 || line == 0 || l.Waiting() != n {
			t.Fatalf("%d bytes are in memory, %d wait for some, %d of %d wait", memory, line, l.Waiting(), n)
		}
		if s := l.Status(); !strings.Contains(s.Problem, "does not keep up") {
			t.Errorf("the problem is said to be %q", s.Problem)
		}
		r := testRecord(7)
		r.Safe = true
		safe.append(l, r, Durable)
		time.Sleep(patience - time.Millisecond)
		goOn()
		all.Wait()
		safe.Wait()
		if len(all.places) != n || len(all.refused) > 0 || !safe.places[1] {
			t.Errorf("%d of %d have a place of their own, %v; the safe one is at %v, not 1", len(all.places), n, all.refused, safe.places)
		}
		if l.mu.Lock(); l.ordinary.memory != 0 || l.safe.memory != 0 {
			t.Errorf("%d and %d bytes are never given back", l.ordinary.memory, l.safe.memory)
		}
		l.mu.Unlock()
		checkLog(t, l, d, n+2)
	})
}

// TestDiskThatStandsStill refuses what there has been no room for, after so long and no
// sooner, and counts it. Whoever gives up earlier leaves no gap in the line.
func TestDiskThatStandsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, d, goOn := held(t)
		var all crew
		const n = 2 * maxWaiting / (60 << 10)
		for i := range n {
			all.append(l, sized(i, 60<<10), Written)
		}
		synctest.Wait()
		line := len(l.ordinary.line)
		impatient, giveUp := context.WithCancel(t.Context())
		gone := make(chan error)
		go func() {
			_, err := l.Append(impatient, testRecord(0), Written)
			gone <- err
		}()
		time.Sleep(patience - time.Millisecond)
		giveUp()
		if err := <-gone; pavise.KindOf(err) != pavise.Unavailable || !strings.Contains(err.Error(), "gave up") {
			t.Errorf("whoever gives up gets %v", err)
		}
		if early := all.denied(); early > 0 {
			t.Errorf("%d were refused early", early)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if all.denied() != line || !strings.Contains(all.refused[0].Error(), "cannot keep up") || l.Unwritten() != uint64(line)+1 {
			t.Errorf("%d of the %d that waited for room are refused, and %d counted", len(all.refused), line, l.Unwritten())
		}
		goOn()
		all.Wait()
		if len(all.places) != n-line {
			t.Errorf("%d have a place, want %d", len(all.places), n-line)
		}
		checkLog(t, l, d, uint64(n-line)+1)
	})
}

// TestDiskFullUnderAStorm has the disk run full while as much waits as may wait. None of
// it uses the reserve: whatever waits is refused at once, but for what is in the safe
// direction.
func TestDiskFullUnderAStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := disktest.New()
		l, err := Open(Options{Disk: d, Origin: testOrigin, Key: testKey})
		if err != nil {
			t.Fatal(err)
		}
		d.Fail(func(op, name string) error {
			if op == "reserve" {
				return syscall.ENOSPC
			}
			return nil
		})
		moves := make(chan struct{})
		d.Slow(func(string, string) { <-moves })
		l.stream.active().room = l.stream.active().Size + reserveFull // enough for one batch
		var first, all, safe crew
		first.append(l, testRecord(0), Written)
		synctest.Wait()
		const n = 2 * maxWaiting / (60 << 10)
		for i := range n {
			all.append(l, sized(i, 60<<10), Written)
		}
		r := testRecord(7)
		r.Safe = true
		safe.append(l, r, Durable)
		synctest.Wait()
		began := time.Now()
		close(moves)
		first.Wait()
		all.Wait()
		safe.Wait()
		if len(first.places) != 1 || len(safe.places) != 1 || len(all.places) > 0 || time.Since(began) >= patience {
			t.Errorf("the first %v, the safe one %v, %d others are in the log after %v", first.places, safe.places, len(all.places), time.Since(began))
		}
		for _, err := range all.refused {
			if pavise.KindOf(err) != pavise.Unavailable || !strings.Contains(err.Error(), "full") {
				t.Fatalf("one is refused with %v", err)
			}
		}
		if seg := l.stream.active(); seg.room-seg.Size < reserveFull-maxBatch {
			t.Errorf("%d bytes are left of the reserve", seg.room-seg.Size)
		}
		d.Fail(nil)
		l.Append(t.Context(), testRecord(1), Written) // the writer looks again
		synctest.Wait()
		if _, err := l.Append(t.Context(), testRecord(1), Written); err != nil {
			t.Errorf("once there is room: %v", err)
		}
		l.Close()
	})
}

// TestStopUnderAStorm has the log stop, or be closed, while as much waits as may wait, and
// more: nobody waits for ever, and nobody is told that a record is there that is not.
func TestStopUnderAStorm(t *testing.T) {
	for name, end := range map[string]func(*Log){
		"stopped": func(l *Log) { l.stop(syscall.EIO) },
		"closed":  func(l *Log) { go l.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, _, goOn := held(t)
				var all crew
				const n = 2 * maxWaiting / (60 << 10)
				for i := range n {
					all.append(l, sized(i, 60<<10), Written)
				}
				synctest.Wait()
				line := len(l.ordinary.line)
				end(l)
				synctest.Wait()
				if all.denied() != line {
					t.Errorf("%d of the %d that wait for room were told", len(all.refused), line)
				}
				goOn()
				all.Wait()
				if name == "closed" && len(all.places) != n-line {
					t.Errorf("%d that were taken are in the log, want %d", len(all.places), n-line)
				}
				for place := range all.places {
					if _, err := l.Read(place); err != nil {
						t.Fatalf("record %d: %v", place, err)
					}
				}
				l.Close()
			})
		})
	}
}

// TestBatches are bounded by what one write takes, whatever waits.
func TestBatches(t *testing.T) {
	n := lane{limit: maxWaiting}
	entries, bytes := 0, 0
	for i := 0; ; i++ {
		e, err := newEntry(sized(i, i%(1<<15)))
		if err != nil {
			t.Fatal(err)
		}
		if !n.room(e) {
			break
		}
		n.put(e, nil)
		entries, bytes = entries+1, bytes+e.framed()
	}
	batches := len(n.batches)
	for b := n.take(); b != nil; b = n.take() {
		if b.bytes > maxBatch || len(n.batches) > 0 && b.bytes < maxBatch-1<<16 {
			t.Errorf("a batch of %d bytes", b.bytes)
		}
		entries, bytes = entries-len(b.entries), bytes-b.bytes
		n.free(b.memory)
	}
	if batches < 10 || entries != 0 || bytes != 0 || n.memory != 0 {
		t.Errorf("of %d batches %d entries and %d bytes are missing, %d bytes of memory never given back", batches, entries, bytes, n.memory)
	}
}
