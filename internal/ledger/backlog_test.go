package ledger

import (
	"testing"
	"testing/synctest"
	"time"
)

// written is a batch that has just been written.
func written(durable bool) *batch { return &batch{at: time.Now(), durable: durable} }

// took fails unless the backlog yields so many batches now, or once they are old enough.
func took(t *testing.T, q *backlog, want int, open bool, after time.Duration) {
	t.Helper()
	began := time.Now()
	batches, more := q.gather()
	if len(batches) != want || more != open || time.Since(began) != after {
		t.Errorf("%d batches after %v, open %v, want %d after %v, open %v", len(batches), time.Since(began), more, want, after, open)
	}
}

// TestBacklog: batches that nobody waits for gather until the first is syncWithin old; one
// that somebody waits for takes those before it along at once, and so does the end.
func TestBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newBacklog()
		q.put(written(false))
		time.Sleep(syncWithin / 2)
		q.put(written(false))
		took(t, q, 2, true, syncWithin/2)

		q.put(written(false))
		q.put(written(true))
		took(t, q, 2, true, 0)

		go func() {
			time.Sleep(time.Minute)
			q.put(written(true))
		}()
		took(t, q, 1, true, time.Minute)

		q.put(written(false))
		q.end()
		took(t, q, 1, false, 0)
		took(t, q, 0, false, 0)
	})
}

// TestBacklogIsBounded: while the disk syncs, the writer may be so many batches ahead and
// no more. It goes on when the syncer comes back.
func TestBacklogIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, ahead := newBacklog(), 0
		q.put(written(true))
		took(t, q, 1, true, 0) // and now it syncs them
		go func() {
			for range 2 * maxBehind {
				q.put(written(false))
				ahead++
			}
		}()
		synctest.Wait()
		if ahead != maxBehind {
			t.Fatalf("the writer is %d batches ahead of a sync, want %d", ahead, maxBehind)
		}
		took(t, q, 2*maxBehind, true, syncWithin)
	})
}
