package ledger

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pavise/pavise"
)

const (
	// maxPending is how many bytes of entries may wait for the writer before
	// Append refuses: back-pressure, not memory, is what gives way.
	maxPending = 2 << 20
	// syncWithin bounds how long a Written entry waits for its fdatasync.
	syncWithin = 50 * time.Millisecond
	// maxUnpublished is how far the checkpoint file may fall behind, in records,
	// before ordinary ones are refused: what lies between only memory vouches for.
	maxUnpublished = 1 << 16
	// publishEvery is the least time between two checkpoint files. Readers of
	// the directory see records this much later; appenders wait for none of it.
	publishEvery = 100 * time.Millisecond
)

// Options say which log to open.
type Options struct {
	Dir    string             // the directory; created if it is not there
	Origin string             // the log's name, as in its checkpoints: no spaces, no plus
	Key    ed25519.PrivateKey // signs checkpoints and nothing else
	Tenant string             // whose the log's own notes are
	Now    func() time.Time   // for the log's own notes; nil means time.Now

	segmentSize int64 // for tests; 0 means segmentSize
}

// A Log is an open evidence log. Its methods may be called from any goroutine.
type Log struct {
	disk   disk
	lock   *os.File // nil on a test disk
	signer *signer
	mac    hash.Hash // makes entry tags; owned by the writer
	last   []byte    // tag of the newest entry; owned by the writer
	// signedRoot is the root of the records under the checkpoint that Open
	// found; used while opening.
	signedRoot tlog.Hash
	tenant     string
	now        func() time.Time
	rollAt     int64 // length at which a segment is long enough
	stream     *stream
	tree       *tree

	syncing sync.Mutex // held over a sync of a segment and the stop that its failure brings

	mu        sync.Mutex // guards what follows
	pending   *batch     // entries waiting for the writer
	grew      chan struct{}
	head      Checkpoint // newest signed tree head
	full      bool       // the disk cannot grow the reserve: safe records only
	closed    bool
	stopped   error    // why the log takes no more, if it stopped
	published struct { // how the checkpoint file fares
		size uint64
		err  error // of the last attempt
	}

	toWrite   chan struct{} // capacity 1: the writer has work
	toSync    chan *batch   // written batches, in order
	idle      chan struct{} // capacity 1: the syncer has nothing more to do
	toPublish chan struct{} // capacity 1: there is a newer head
	closing   chan struct{} // closed by Close
	done      sync.WaitGroup
}

// A batch is the entries that one write and one sync carry.
type batch struct {
	entries [][]byte
	bytes   int
	durable bool // somebody waits for the sync
	urgent  bool // somebody waits for the write alone
	at      time.Time

	first     uint64        // index of entries[0]; set before written closes
	hashes    []tlog.Hash   // leaf hashes; set before hashed closes
	size      uint64        // tree size that covers the batch; set before synced closes
	unwritten error         // why write(2) failed; set before written closes
	unsynced  error         // why the batch is not durable; set before synced closes
	written   chan struct{} // closed when write(2) returned, or failed
	hashed    chan struct{} // closed when hashes are there
	synced    chan struct{} // closed when the batch is under a signed head, or failed
}

func newBatch() *batch {
	return &batch{written: make(chan struct{}), hashed: make(chan struct{}), synced: make(chan struct{})}
}

// A Receipt says where a record stands.
type Receipt struct {
	Index uint64 // the record's place in the log, from 0
	Size  uint64 // size of a signed tree that covers it; 0 for a Written append
}

// Append adds a record and returns when it is as safe as asked for. It fails
// with kind Invalid when the record cannot be an entry, and with Unavailable
// when the log is full, stopped or closed; the record is then not in the log.
// The context is looked at before the record is queued, never after: an append
// that may have happened is waited for.
func (l *Log) Append(ctx context.Context, r *Record, how Durability) (Receipt, error) {
	entry, err := r.encode()
	if err != nil {
		return Receipt{}, err
	}
	if err := ctx.Err(); err != nil {
		return Receipt{}, &pavise.Error{Kind: pavise.Unavailable, Msg: "the caller gave up before the record was written", Err: err}
	}
	b, at, err := l.enqueue(entry, how, r.Safe)
	if err != nil {
		return Receipt{}, err
	}
	<-b.written
	if b.unwritten != nil {
		return Receipt{}, b.unwritten
	}
	receipt := Receipt{Index: b.first + uint64(at)}
	if how == Durable {
		<-b.synced
		if b.unsynced != nil {
			return Receipt{}, b.unsynced
		}
		receipt.Size = b.size
	}
	return receipt, nil
}

// enqueue puts an entry into the gathering batch and says at which place.
func (l *Log) enqueue(entry []byte, how Durability, safe bool) (*batch, int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.refusal(safe); err != nil {
		return nil, 0, err
	}
	b := l.pending
	if b.bytes+len(entry) > maxPending {
		return nil, 0, &pavise.Error{Kind: pavise.Unavailable, Msg: "the evidence log cannot keep up with the load", Hint: "retry after a second"}
	}
	b.entries = append(b.entries, entry)
	b.bytes += len(entry)
	b.durable = b.durable || how == Durable
	b.urgent = b.urgent || how == Written
	if b.urgent || len(b.entries) == 1 {
		wake(l.toWrite)
	}
	return b, len(b.entries) - 1, nil
}

// refusal says why the log takes no record now. The caller holds mu.
func (l *Log) refusal(safe bool) error {
	switch {
	case l.stopped != nil:
		return l.stopped
	case l.closed:
		return &pavise.Error{Kind: pavise.Unavailable, Msg: "the evidence log is closed"}
	case !safe && l.published.err != nil && l.head.Size-l.published.size > maxUnpublished:
		return &pavise.Error{
			Kind: pavise.Unavailable,
			Msg:  fmt.Sprintf("the evidence log cannot publish its checkpoint, for %d records by now: %v", l.head.Size-l.published.size, l.published.err),
			Hint: "look at the disk of the evidence log: it goes on by itself",
			Err:  l.published.err,
		}
	case l.full && !safe:
		wake(l.toWrite) // the writer looks again whether there is room
		return &pavise.Error{
			Kind: pavise.Unavailable,
			Msg:  "the disk of the evidence log is full; only rollback, quarantine, revoke and prune are admitted",
			Hint: "free space on the disk: the log goes on by itself",
		}
	}
	return nil
}

// write is the writer goroutine: it turns what has gathered into bytes in the
// segment. It ends when the log is closed and nothing is left.
func (l *Log) write() {
	defer l.done.Done()
	defer close(l.toSync)
	for range l.toWrite {
		l.gatherDurable()
		b, closed := l.take()
		l.renewReserve()
		if len(b.entries) > 0 {
			l.writeBatch(b)
		}
		if closed {
			return
		}
	}
}

// gatherDurable lets entries that wait for a sync anyway gather until the syncer
// is idle, so that one write serves one sync. Profiled with 256 producers, a
// writer that went ahead wrote some thirty small batches during each sync, and
// all of them took turns with it.
func (l *Log) gatherDurable() {
	for l.mayGather() {
		select {
		case <-l.idle:
			l.settle()
			return
		case <-l.toWrite: // something urgent, or Close
		}
	}
}

// settle gives the processor to those whom the last sync has released, as long
// as they keep coming back with more. It is no timer: alone, a producer waits
// for three empty turns of the scheduler.
func (l *Log) settle() {
	for before, quiet := 0, 0; quiet < 3 && before < maxPending/4; quiet++ {
		runtime.Gosched()
		l.mu.Lock()
		now := l.pending.bytes
		l.mu.Unlock()
		if now != before {
			before, quiet = now, 0
		}
	}
}

func (l *Log) mayGather() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.closed && !l.pending.urgent && len(l.pending.entries) > 0
}

// take swaps the gathering batch for an empty one.
func (l *Log) take() (b *batch, closed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, l.pending = l.pending, newBatch()
	return b, l.closed
}

// renewReserve keeps room allocated beyond the segment's end, and notes whether
// the disk is full.
func (l *Log) renewReserve() {
	seg := l.stream.active()
	full := false
	if seg.room-seg.size < reserveLow {
		if err := seg.file.Reserve(seg.size + reserveStep); err == nil {
			seg.room = seg.size + reserveStep
		} else {
			full = seg.room-seg.size < reserveFull
		}
	}
	l.mu.Lock()
	l.full = full
	l.mu.Unlock()
}

// writeBatch writes a batch, hands it to the syncer and wakes who waits for the
// write. After an error that could not be undone, the log stops.
func (l *Log) writeBatch(b *batch) {
	if err := l.stoppedErr(); err != nil {
		l.failBatch(b, err)
		return
	}
	l.maybeRoll()
	b.first, b.at = l.stream.count, time.Now()
	before := l.last
	buf, starts := l.frame(b)
	if err := l.stream.write(buf, starts); err != nil {
		l.last = before
		err = diskError("write the evidence log", err)
		if !outOfSpace(err) {
			l.stop(err)
		}
		l.failBatch(b, err)
		return
	}
	l.toSync <- b
	close(b.written)
	b.hash(buf, starts) // while the syncer waits for the disk
	l.announce()
}

// hash computes the leaf hashes of a framed batch.
func (b *batch) hash(buf []byte, starts []int) {
	b.hashes = make([]tlog.Hash, len(starts))
	for i, start := range starts {
		end := len(buf)
		if i+1 < len(starts) {
			end = starts[i+1]
		}
		b.hashes[i] = tlog.RecordHash(buf[start+2 : end])
	}
	close(b.hashed)
}

// frame tags and frames the entries of a batch.
func (l *Log) frame(b *batch) (buf []byte, starts []int) {
	buf = make([]byte, 0, b.bytes+len(b.entries)*(2+tagSize))
	starts = make([]int, len(b.entries))
	for i, entry := range b.entries {
		starts[i] = len(buf)
		buf = binary.BigEndian.AppendUint16(buf, uint16(len(entry)+tagSize))
		buf = append(buf, entry...)
		buf = appendTag(buf, l.mac, b.first+uint64(i), l.last, entry)
		l.last = buf[len(buf)-tagSize:]
	}
	return buf, starts
}

// appendTag appends the writer's MAC over the index, the tag of the entry before
// (zeros for the first) and the entry.
func appendTag(dst []byte, mac hash.Hash, index uint64, before, entry []byte) []byte {
	var head [8 + tagSize]byte
	binary.BigEndian.PutUint64(head[:], index)
	copy(head[8:], before)
	mac.Reset()
	mac.Write(head[:])
	mac.Write(entry)
	var sum [sha256.Size]byte
	return append(dst, mac.Sum(sum[:0])[:tagSize]...)
}

// newTagger returns the MAC that makes entry tags, keyed from the log's key.
func newTagger(key ed25519.PrivateKey) hash.Hash {
	derive := hmac.New(sha256.New, key.Seed())
	derive.Write([]byte("pavise ledger entry tag v1"))
	return hmac.New(sha256.New, derive.Sum(nil))
}

// maybeRoll starts a new segment at a bundle boundary once the active one is
// long enough. On a full disk the old one simply grows on.
func (l *Log) maybeRoll() {
	seg := l.stream.active()
	if seg.size < l.rollAt || l.stream.count%tileWidth != 0 || l.syncSegment(seg) != nil {
		return
	}
	if err := l.stream.roll(); err != nil {
		return
	}
	seg.file.Truncate(seg.size) // gives the unused reserve back, now that the new one is there
}

// sync is the syncer goroutine: it makes written batches durable and signs.
func (l *Log) sync() {
	defer l.done.Done()
	defer close(l.toPublish)
	wake(l.idle)
	for b := range l.toSync {
		batches, open := l.gather([]*batch{b})
		l.syncBatches(batches)
		wake(l.idle)
		if !open {
			return
		}
	}
}

// gather collects what has been written meanwhile. It waits, up to syncWithin,
// only while nobody waits for it.
func (l *Log) gather(batches []*batch) (all []*batch, open bool) {
	wait := batches[0].durable
	timer := time.NewTimer(time.Until(batches[0].at.Add(syncWithin)))
	defer timer.Stop()
	for {
		if wait {
			select {
			case b, ok := <-l.toSync:
				if !ok {
					return batches, false
				}
				batches = append(batches, b)
			default:
				return batches, true
			}
			continue
		}
		select {
		case b, ok := <-l.toSync:
			if !ok {
				return batches, false
			}
			batches = append(batches, b)
			wait = b.durable
		case <-timer.C:
			wait = true
		}
	}
}

// syncBatches makes batches durable, grows the tree and signs its head.
func (l *Log) syncBatches(batches []*batch) {
	l.stream.mu.RLock()
	seg := l.stream.active()
	l.stream.mu.RUnlock()
	err := l.syncSegment(seg)
	var head Checkpoint
	if err == nil {
		l.growTree(batches)
		head, err = l.signer.sign(l.tree.size, l.tree.root())
	}
	if err != nil {
		l.stop(err)
	} else {
		l.mu.Lock()
		l.head = head
		l.mu.Unlock()
		wake(l.toPublish)
	}
	for _, b := range batches {
		b.size, b.unsynced = head.Size, err
		close(b.synced)
	}
}

// syncSegment makes everything written to a segment so far durable. A failure is
// final, and for everybody: the kernel reports it once, so that of two who sync
// at the same time one would be told that all is well.
func (l *Log) syncSegment(seg *segment) error {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	if err := l.stoppedErr(); err != nil {
		return err
	}
	if err := seg.file.Sync(); err != nil {
		l.stop(diskError("sync "+seg.name, err))
		return l.stoppedErr()
	}
	return nil
}

func (l *Log) growTree(batches []*batch) {
	l.tree.mu.Lock()
	defer l.tree.mu.Unlock()
	for _, b := range batches {
		<-b.hashed
		for _, h := range b.hashes {
			l.tree.add(h)
		}
	}
}

// publish is the publisher goroutine: it keeps the derived files and the
// checkpoint file near the signed head. None of it holds an append up.
func (l *Log) publish() {
	defer l.done.Done()
	for range l.toPublish {
		l.publishHead()
		select {
		case <-time.After(publishEvery):
		case <-l.closing:
		}
	}
	l.publishHead()
}

// publishHead writes the hash files, then the checkpoint that covers them.
func (l *Log) publishHead() {
	head := l.Head()
	err := l.tree.flush()
	if err == nil {
		err = l.tree.sync()
	}
	if err == nil {
		err = replaceFile(l.disk, "checkpoint", head.Note)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.published.err = err; err == nil {
		l.published.size = head.Size
	}
}

// Close stops taking records, makes what was taken durable, publishes the last
// checkpoint and lets the directory go. It returns why the log had stopped, or
// why the last checkpoint could not be published.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	l.mu.Unlock()
	close(l.closing)
	wake(l.toWrite)
	l.done.Wait()
	l.announce()
	err := errors.Join(l.stoppedErr(), l.published.err)
	if seg := l.stream.active(); !l.full { // on a full disk the reserve is kept for the next process
		err = errors.Join(err, seg.file.Truncate(seg.size))
	}
	l.release()
	return err
}

// release closes the files and the lock.
func (l *Log) release() {
	if l.stream != nil {
		l.stream.close()
	}
	if l.tree != nil {
		l.tree.close()
	}
	if l.lock != nil {
		l.lock.Close()
	}
}

// stop makes the log refuse everything from now on. The first reason stays.
func (l *Log) stop(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped == nil {
		l.stopped = &pavise.Error{
			Kind: pavise.Unavailable,
			Msg:  "the evidence log has stopped: " + err.Error(),
			Hint: "look at the disk, then restart pavise; nothing acknowledged is lost",
			Err:  err,
		}
	}
}

func (l *Log) stoppedErr() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stopped
}

func (l *Log) failBatch(b *batch, err error) {
	wake(l.idle) // the syncer will never see it
	b.unwritten = err
	close(b.written)
}

// announce wakes everybody who waits for the log to grow.
func (l *Log) announce() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.grew)
	l.grew = make(chan struct{})
}

func wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// diskError dresses an error of the disk for people.
func diskError(doing string, err error) error {
	e := &pavise.Error{Kind: pavise.Unavailable, Msg: doing + ": " + err.Error(), Err: err}
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		e.Hint = "the disk is full: free space and try again"
	case errors.Is(err, os.ErrPermission), errors.Is(err, syscall.EROFS):
		e.Hint = "pavise needs to write there: check the owner and mode of the directory, and that it is not mounted read-only"
	}
	return e
}

func outOfSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
