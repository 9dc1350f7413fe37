package ledger

import (
	"sync"
	"time"
)

// maxBehind is how many batches may be written while others are being synced, before
// the writer waits for the disk.
const maxBehind = 64

// A backlog is the batches that were written and are not durable yet, in order. The
// writer puts them there and the syncer takes them away. While nobody waits for a sync
// the syncer is woken by the first of them and by its own timer alone: profiled, handing
// each batch over took as long as computing its hashes.
type backlog struct {
	work chan struct{} // capacity 1: there is something to look at
	room chan struct{} // capacity 1: a writer that waited may go on

	mu      sync.Mutex // guards what follows
	batches []*batch
	durable bool // somebody waits for one of them
	syncing bool // those before them are being synced
	ended   bool // there will be no more
}

func newBacklog() *backlog {
	return &backlog{work: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// put adds a batch, and waits while too many are behind a sync.
func (q *backlog) put(b *batch) {
	for {
		added, tell := q.add(b)
		if tell {
			wake(q.work)
		}
		if added {
			return
		}
		<-q.room
	}
}

// add adds a batch if there is room, and reports whether the syncer must know.
func (q *backlog) add(b *batch) (added, tell bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.syncing && len(q.batches) >= maxBehind {
		return false, false
	}
	q.batches, q.durable = append(q.batches, b), q.durable || b.durable
	return true, b.durable || len(q.batches) == 1
}

// end says that there will be no more.
func (q *backlog) end() {
	q.mu.Lock()
	q.ended = true
	q.mu.Unlock()
	wake(q.work)
}

// gather takes what is to be synced together. It waits, up to syncWithin from the first
// batch on, only while nobody waits for it. What it returns last, when there will be no
// more, may be empty.
func (q *backlog) gather() (batches []*batch, open bool) {
	q.mu.Lock()
	q.syncing = false
	q.mu.Unlock()
	wake(q.room)
	var due <-chan time.Time // when the first batch has waited long enough; nil: there is none
	for late := false; ; {
		batches, ready, open := q.take(late)
		if ready {
			return batches, open
		}
		if due == nil && len(batches) > 0 {
			timer := time.NewTimer(time.Until(batches[0].at.Add(syncWithin)))
			defer timer.Stop()
			due = timer.C
		}
		select {
		case <-q.work:
		case <-due:
			late = true
		}
	}
}

// take takes all batches if it is time to, and else lets them be.
func (q *backlog) take(late bool) (batches []*batch, ready, open bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	batches = q.batches
	if ready = late || q.durable || q.ended; ready {
		q.batches, q.durable, q.syncing = nil, false, true
	}
	return batches, ready, !q.ended
}
