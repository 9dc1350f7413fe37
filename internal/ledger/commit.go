package ledger

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"runtime"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/record"
)

// write is the writer goroutine: it turns what has gathered into bytes in the
// segment. It ends when the log is closed and nothing is left.
func (l *Log) write() {
	defer l.done.Done()
	defer l.behind.end()
	for range l.toWrite {
		l.gatherDurable()
		runtime.Gosched() // whoever is about to append does, and shares the write: on one core, each would have its own
		l.pen <- struct{}{}
		b, last := l.take()
		l.commit(b)
		<-l.pen
		if last {
			return
		}
	}
}

// writeAlone does the writer's work on the goroutine of an appender who found nobody
// else: to hand one record over would take two switches between goroutines and wake a
// thread, which is more than the write. Where somebody has the pen, the writer does it.
func (l *Log) writeAlone() {
	select {
	case l.pen <- struct{}{}:
	default:
		wake(l.toWrite)
		return
	}
	defer fatal()
	if b, _ := l.take(); b != nil { // the writer may have been quicker, and ended since
		l.commit(b)
	}
	<-l.pen
}

// fatal has a panic end the process, as one of the writer does. A server that recovers those of
// its handlers would go on with a log that is in nobody's hands, and answer nobody any more.
func fatal() {
	if p := recover(); p != nil {
		go panic(p)
		select {}
	}
}

// commit writes a batch, or none, as far as the disk has room. The caller has the pen.
func (l *Log) commit(b *batch) {
	switch full := l.renewReserve(); {
	case b == nil:
	case full != nil && !b.lane.safe:
		l.failBatch(b, full)
	default:
		l.writeBatch(b)
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
	for before, quiet := 0, 0; quiet < 3 && before < maxBatch/4; quiet++ {
		runtime.Gosched()
		l.mu.Lock()
		now := l.safe.memory + l.ordinary.memory
		l.mu.Unlock()
		if now != before {
			before, quiet = now, 0
		}
	}
}

func (l *Log) mayGather() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.closed && !l.safe.urgent() && !l.ordinary.urgent() && l.gathers()
}

// gathers reports whether anything waits for the writer. The caller holds mu.
func (l *Log) gathers() bool { return len(l.safe.batches)+len(l.ordinary.batches) > 0 }

// take takes the next batch, or nil if there is none. It is the last when the log is
// closed and no other waits.
func (l *Log) take() (b *batch, last bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b = l.safe.take(); b == nil {
		b = l.ordinary.take()
	}
	if l.gathers() {
		wake(l.toWrite)
		return b, false
	}
	return b, l.closed
}

// renewReserve keeps room allocated beyond the segment's end. It notes whether the disk
// is full, and returns that as the refusal of whatever may not use the reserve.
func (l *Log) renewReserve() error {
	seg := l.stream.active()
	full := false
	if seg.room-seg.Size < reserveLow {
		for _, step := range []int64{reserveStep, reserveLow} { // on a small disk the least will do
			if seg.file.Reserve(seg.Size+step) == nil {
				seg.room = seg.Size + step
				break
			}
		}
		full = seg.room-seg.Size < reserveFull
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.full = full; !full {
		return nil
	}
	l.ordinary.dismiss(diskFull())
	return diskFull()
}

// writeBatch writes a batch, hands it to the syncer and wakes who waits for the
// write. After an error that could not be undone, the log stops.
func (l *Log) writeBatch(b *batch) {
	if err := l.Stopped(); err != nil {
		l.failBatch(b, err)
		return
	}
	b.first, b.at = l.stream.count, time.Now()
	before := l.last
	buf, starts := l.frame(b)
	if err := l.writeFrames(buf, starts, b.entries); err != nil {
		l.last = before
		err = disk.Fault("write the evidence log", err)
		if !disk.Full(err) {
			l.stop(err)
		}
		l.failBatch(b, err)
		return
	}
	l.vacate(b)
	b.hashed.Add(1)
	l.behind.put(b)
	close(b.written)
	b.hash(buf, starts) // while the syncer waits for the disk
}

// hash computes the leaf hashes of a framed batch. It overwrites the frames'
// lengths, which are in the segment by now.
func (b *batch) hash(buf []byte, starts []int) {
	b.hashes = make([]tlog.Hash, len(starts))
	for i, start := range starts {
		end := len(buf)
		if i+1 < len(starts) {
			end = starts[i+1]
		}
		b.hashes[i] = proof.LeafOf(buf[start+1 : end])
	}
	b.hashed.Done()
}

// frame tags and frames the entries of a batch.
func (l *Log) frame(b *batch) (buf []byte, starts []int) {
	buf, starts = l.buf[:0], l.starts[:0]
	for i, e := range b.entries {
		starts = append(starts, len(buf))
		buf = binary.BigEndian.AppendUint16(buf, uint16(len(e.body)+record.TagSize))
		buf = append(buf, e.body...)
		buf = l.tags.append(buf, b.first+uint64(i), l.last[:], e.body)
		copy(l.last[:], buf[len(buf)-record.TagSize:])
	}
	l.buf, l.starts = buf, starts // for the next batch
	return buf, starts
}

// A tagger makes entry tags, one at a time. What it works in is its own: each would be
// allocated anew for every entry.
type tagger struct {
	mac  hash.Hash
	head [8 + record.TagSize]byte
	sum  [sha256.Size]byte
}

// newTagger returns the tagger that is keyed from the log's key.
func newTagger(key ed25519.PrivateKey) *tagger {
	derive := hmac.New(sha256.New, key.Seed())
	derive.Write([]byte("pavise ledger entry tag v1"))
	return &tagger{mac: hmac.New(sha256.New, derive.Sum(nil))}
}

// append appends the writer's MAC over the index, the tag of the entry before (zeros
// for the first) and the entry.
func (t *tagger) append(dst []byte, index uint64, before, entry []byte) []byte {
	binary.BigEndian.PutUint64(t.head[:], index)
	copy(t.head[8:], before)
	t.mac.Reset()
	t.mac.Write(t.head[:])
	t.mac.Write(entry)
	return append(dst, t.mac.Sum(t.sum[:0])[:record.TagSize]...)
}

// writeFrames writes a framed batch. A segment that is long enough ends at the
// bundle boundary within the batch, and the rest begins the next one.
func (l *Log) writeFrames(buf []byte, starts []int, entries []*entry) error {
	n := int(-l.stream.count % tileWidth) // entries to the boundary
	if l.stream.active().Size < l.rollAt || n > len(starts) {
		return l.stream.write(buf, starts, entries)
	}
	end := len(buf)
	if n < len(starts) {
		end = starts[n]
	}
	if err := l.stream.write(buf[:end], starts[:n], entries[:n]); err != nil {
		return err
	}
	l.roll()
	if n == len(starts) {
		return nil
	}
	for i := range starts[n:] {
		starts[n+i] -= end
	}
	err := l.stream.write(buf[end:], starts[n:], entries[n:])
	for i := range starts[n:] {
		starts[n+i] += end
	}
	if err != nil { // the first part is in the log, and cannot be taken back
		l.stop(disk.Fault("write the evidence log", err))
	}
	return err
}

// roll starts a new segment. On a full disk, or when it cannot be made, the old
// one simply grows on.
func (l *Log) roll() {
	seg := l.stream.active()
	if l.syncSegment(seg) != nil || l.stream.roll() != nil {
		return
	}
	seg.file.Truncate(seg.Size) // gives the unused reserve back, now that the new one is there
	l.syncing.Lock()
	defer l.syncing.Unlock()
	seg.file.Close()
	seg.file = nil
}

// sync is the syncer goroutine: it makes written batches durable and signs.
func (l *Log) sync() {
	defer l.done.Done()
	defer close(l.toPublish)
	wake(l.idle)
	for open := true; open; {
		var batches []*batch
		if batches, open = l.behind.gather(); len(batches) > 0 {
			l.syncBatches(batches)
			wake(l.idle)
		}
	}
}

// syncBatches makes batches durable, grows the tree and signs its head.
func (l *Log) syncBatches(batches []*batch) {
	l.stream.mu.RLock()
	seg := l.stream.active()
	l.stream.mu.RUnlock()
	err := l.syncSegment(seg)
	var head proof.Checkpoint
	if err == nil {
		l.growTree(batches)
		head, err = proof.Sign(l.Origin(), l.tree.size(), l.tree.root(), l.now(), l.signer)
	}
	if err != nil {
		l.stop(err)
	} else {
		l.mu.Lock()
		l.head = head
		l.mu.Unlock()
		l.announce()
		wake(l.toPublish)
	}
	for _, b := range batches {
		b.size, b.unsynced = head.Size, err
		if b.synced != nil {
			close(b.synced)
		}
	}
}

// syncSegment makes everything written to a segment so far durable. A failure is
// final, and for everybody: the kernel reports it once, so that of two who sync
// at the same time one would be told that all is well.
func (l *Log) syncSegment(seg *segment) error {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	if err := l.Stopped(); err != nil {
		return err
	}
	if seg.file == nil {
		return nil // synced when the next one began
	}
	began := time.Now()
	err := seg.file.Sync()
	if l.synced != nil {
		l.synced(time.Since(began))
	}
	if err != nil {
		l.stop(disk.Fault("sync "+disk.SegmentName(seg.First), err)) // seg.Name would read its size, too
		return l.Stopped()
	}
	return nil
}

func (l *Log) growTree(batches []*batch) {
	l.tree.mu.Lock()
	defer l.tree.mu.Unlock()
	for _, b := range batches {
		b.hashed.Wait()
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

// publishHead writes the hash files, then the checkpoint that covers them, under
// the signatures of all the log's keys.
func (l *Log) publishHead() {
	head := l.Head()
	err := l.tree.flush()
	if err == nil && l.also != nil {
		head, err = proof.Sign(head.Origin, head.Size, head.Root, l.now(), append([]*proof.Signer{l.signer}, l.also...)...)
	}
	if err == nil {
		err = disk.Replace(l.disk, "checkpoint", head.Note)
	}
	l.keepIndexes()
	l.mu.Lock()
	if l.published.err = err; err == nil {
		l.published.Checkpoint = head
	}
	l.mu.Unlock()
	l.announce()
}

// keepIndexes writes the index of each segment that grows no more to a file, and
// lets it go. What cannot be written stays in memory until the next time.
func (l *Log) keepIndexes() {
	segments := l.stream.snapshot()
	for _, seg := range segments[:max(len(segments)-1, 0)] {
		if seg.index.Kept() {
			continue
		}
		name := disk.IndexName(seg.First)
		if disk.Replace(l.disk, name, seg.index.Encode(seg.Segment)) != nil {
			return
		}
		kept, err := disk.OpenIndex(l.disk, seg.Segment, seg.end())
		if err != nil {
			return
		}
		l.stream.mu.Lock()
		seg.index = kept
		l.stream.mu.Unlock()
	}
}

func (l *Log) failBatch(b *batch, err error) {
	wake(l.idle) // the syncer will never see it
	l.vacate(b)
	b.unwritten = err
	close(b.written)
}
