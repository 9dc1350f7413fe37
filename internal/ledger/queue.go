package ledger

import (
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/record"
)

// What may wait for the writer. What one write takes is bounded apart from what waits in
// memory: the first is what the disk must have room for at any time, the second is what
// a storm of requests brings at once.
const (
	// maxBatch is how many bytes of frames one write takes.
	maxBatch = 2 << 20
	// maxWaiting and maxSafe are how many bytes of memory the entries of a lane may take.
	maxWaiting = 32 << 20
	maxSafe    = 1 << 20
	// patience is how long an appender waits for some of it: a disk that has moved
	// nothing by then stands still.
	patience = 5 * time.Second
	// turnRoom is what is kept for an appender whose turn has come.
	turnRoom = record.MaxEntry
	// aloneAfter is how long nothing was written before an appender writes by itself.
	// Under load there is no such time, and many records share a write.
	aloneAfter = 150 * time.Microsecond
)

// An entry is a record that waits for the writer.
type entry struct {
	body  []byte       // without its tag
	marks disk.Marking // for the index
}

// mostKept is up to what size a buffer is kept for another entry.
const mostKept = 8 << 10

// entries are those that wait for nothing: from Append, which writes one over, each goes
// to the writer, which copies it into the segment's bytes and lets it go.
var entries = sync.Pool{New: func() any { return new(entry) }}

func (e *entry) letGo() {
	if cap(e.body) <= mostKept {
		entries.Put(e)
	}
}

// newEntry encodes a record.
func newEntry(r *record.Record) (*entry, error) {
	e := entries.Get().(*entry)
	body, err := r.EncodeIn(e.body)
	if err != nil {
		return nil, err
	}
	e.body, e.marks = body, disk.MarkingOf(r)
	return e, nil
}

// framed is how many bytes the entry takes in a segment.
func (e *entry) framed() int { return frameHead + len(e.body) + record.TagSize }

// A batch is the entries that one write and one sync carry.
type batch struct {
	lane    *lane
	entries []*entry // until they are written
	bytes   int      // of frames
	memory  int      // bytes
	durable bool     // somebody waits for the sync
	urgent  bool     // somebody waits for the write alone
	alone   bool     // whoever put the first entry in writes it; that one's to read
	at      time.Time

	first     uint64         // index of entries[0]; set before written closes
	hashes    []tlog.Hash    // leaf hashes; set before hashed is done
	size      uint64         // tree size that covers the batch; set before synced closes
	unwritten error          // why write(2) failed; set before written closes
	unsynced  error          // why the batch is not durable; set before synced closes
	written   chan struct{}  // closed when write(2) returned, or failed
	hashed    sync.WaitGroup // done when hashes are there
	synced    chan struct{}  // closed when the batch is under a signed head, or failed; nil unless durable
}

// newBatch returns a batch whose entries lie in a room that no other has.
func newBatch(n *lane, room []*entry) *batch {
	return &batch{lane: n, entries: room, written: make(chan struct{})}
}

// A lane is what waits for the writer: the entries, and behind them the appenders for
// whose entries there is no memory yet. All of it is guarded by the log's mu.
type lane struct {
	safe    bool     // its entries may use the disk's last room
	limit   int      // bytes of memory
	memory  int      // bytes that its entries take, the batch that is being written included, or that turns keep
	batches []*batch // the last one gathers
	line    []*turn  // first come, first served
}

// A turn is an appender's place in the line.
type turn struct {
	come chan struct{} // closed when there is room, or nothing to wait for
	err  error         // why there is nothing to wait for; set before come closes
}

// room reports whether an entry may be put in now. Nobody overtakes who is in the line.
func (n *lane) room(e *entry) bool { return len(n.line) == 0 && n.memory+cap(e.body) <= n.limit }

// put puts an entry in and returns its batch. room is for a batch that begins, or nil.
func (n *lane) put(e *entry, room []*entry) (b *batch, began bool) {
	if last := len(n.batches) - 1; last >= 0 && n.batches[last].bytes+e.framed() <= maxBatch {
		b = n.batches[last]
	} else {
		b, began = newBatch(n, room), true
		n.batches = append(n.batches, b)
	}
	b.entries = append(b.entries, e)
	b.bytes += e.framed()
	b.memory += cap(e.body)
	n.memory += cap(e.body)
	return b, began
}

// take takes the first batch, or returns nil.
func (n *lane) take() *batch {
	if len(n.batches) == 0 {
		return nil
	}
	b := n.batches[0]
	n.batches = slices.Delete(n.batches, 0, 1)
	return b
}

// urgent reports whether the writer must not wait for more.
func (n *lane) urgent() bool { return len(n.batches) > 1 || len(n.batches) == 1 && n.batches[0].urgent }

// wait adds a place to the line.
func (n *lane) wait() *turn {
	t := &turn{come: make(chan struct{})}
	n.line = append(n.line, t)
	return t
}

// free gives memory back, and with it turns to those who wait for it.
func (n *lane) free(bytes int) {
	n.memory -= bytes
	for len(n.line) > 0 && n.memory+turnRoom <= n.limit {
		n.memory += turnRoom
		close(n.line[0].come)
		n.line = n.line[1:]
	}
}

// leave takes a place out of the line and reports whether it was there: the turn of one
// that was not has come.
func (n *lane) leave(t *turn) bool {
	i := slices.Index(n.line, t)
	if i >= 0 {
		n.line = slices.Delete(n.line, i, i+1)
	}
	return i >= 0
}

// dismiss tells the whole line that there is nothing to wait for.
func (n *lane) dismiss(why error) {
	for _, t := range n.line {
		t.err = why
		close(t.come)
	}
	n.line = nil
}

// enqueue puts a record's entry into the batch that gathers, and says at which place. It
// waits for memory, and holds none of its own meanwhile.
func (l *Log) enqueue(ctx context.Context, r *record.Record, how Durability) (*batch, int, error) {
	e, err := newEntry(r)
	if err != nil {
		return nil, 0, err
	}
	if ctx.Err() != nil {
		return nil, 0, gaveUp(ctx)
	}
	n := &l.ordinary
	if r.Safe {
		n = &l.safe
	}
	b, at, t, err := l.admit(n, e, how)
	if t == nil {
		return b, at, err
	}
	e.letGo()
	if err := l.await(ctx, n, t); err != nil {
		return nil, 0, err
	}
	e, err = newEntry(r)
	l.mu.Lock()
	defer l.mu.Unlock()
	defer n.free(turnRoom)
	if err == nil {
		err = l.refusal(r.Safe)
	}
	if err != nil {
		return nil, 0, err
	}
	b, at = l.put(n, e, how)
	return b, at, nil
}

// admit puts an entry in, or returns a turn to wait for.
func (l *Log) admit(n *lane, e *entry, how Durability) (b *batch, at int, t *turn, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.refusal(n.safe); err != nil {
		return nil, 0, nil, err
	}
	if !n.room(e) {
		return nil, 0, n.wait(), nil
	}
	b, at = l.put(n, e, how)
	return b, at, nil, nil
}

// put puts an entry in and wakes the writer if it must be: not where the appender is alone,
// who is to write it. The caller holds mu.
func (l *Log) put(n *lane, e *entry, how Durability) (*batch, int) {
	alone := how == Written && !l.gathers() && time.Since(l.wrote) > aloneAfter
	b, began := n.put(e, l.room)
	if began {
		l.room, b.alone = nil, alone
	}
	if how == Durable && !b.durable {
		b.durable, b.synced = true, make(chan struct{})
	}
	b.urgent = b.urgent || how == Written
	if !alone && (b.urgent || began) {
		wake(l.toWrite)
	}
	return b, len(b.entries) - 1
}

// await waits for a turn.
func (l *Log) await(ctx context.Context, n *lane, t *turn) (err error) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-t.come:
		return t.err
	case <-timer.C:
		err = &pavise.Error{
			Kind: pavise.Unavailable,
			Msg:  "the evidence log cannot keep up with the load",
			Hint: "retry after a second; look at the disk of the evidence log if it stays so",
		}
	case <-ctx.Done():
		err = gaveUp(ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if n.leave(t) {
		return err
	}
	return t.err // its turn came at the same moment
}

// gaveUp says that the caller went before its record was in the queue.
func gaveUp(ctx context.Context) error {
	return &pavise.Error{Kind: pavise.Unavailable, Msg: "the caller gave up before the record was written", Err: ctx.Err()}
}

// vacate lets the entries of a batch go, with the memory that they took, and keeps their
// room for another.
func (l *Log) vacate(b *batch) {
	for _, e := range b.entries {
		e.letGo()
	}
	clear(b.entries)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.room, b.entries = b.entries[:0], nil
	l.wrote = b.at
	b.lane.free(b.memory)
}

// Waiting is how many records wait for the writer.
func (l *Log) Waiting() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, lane := range []*lane{&l.safe, &l.ordinary} {
		n += len(lane.line)
		for _, b := range lane.batches {
			n += len(b.entries)
		}
	}
	return n
}

// Unwritten is how many records were not taken since the log was opened: there was no
// room for them in memory or on the disk, the log had stopped, or whoever brought them
// gave up.
func (l *Log) Unwritten() uint64 { return l.unwritten.Load() }
