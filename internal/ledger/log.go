package ledger

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/record"
)

const (
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
	MLDSA  []byte             // seed of an ML-DSA-44 key that signs published checkpoints besides; nil: none
	Tenant string             // whose the log's own notes are
	Now    func() time.Time   // for notes and signatures; nil means time.Now
	// SegmentSize is how many bytes make a segment: it ends at the first bundle
	// boundary beyond. 0 means 64 MiB.
	SegmentSize int64
	// Synced is told how long each sync of a segment took; it must not wait. nil: nobody.
	Synced func(time.Duration)
	// Disk is opened instead of Dir, by whoever knows that nobody else has it open.
	Disk disk.Directory
}

// A Log is an open evidence log. Its methods may be called from any goroutine.
type Log struct {
	disk   disk.Directory
	lock   *os.File             // nil on a test disk
	signer *proof.Signer        // signs every tree head
	also   []*proof.Signer      // sign published ones besides
	pen    chan struct{}        // capacity 1: full while somebody writes, the writer or an appender who is alone
	tags   *tagger              // owned by whoever has the pen
	last   [record.TagSize]byte // tag of the newest entry; owned by whoever has the pen
	buf    []byte               // a framed batch; owned by whoever has the pen
	starts []int                // where its entries begin; owned by whoever has the pen
	// signedRoot is the root of the records under the checkpoint that Open
	// found; used while opening.
	signedRoot tlog.Hash
	tenant     string
	now        func() time.Time
	synced     func(time.Duration)
	rollAt     int64 // length at which a segment is long enough
	stream     *stream
	tree       *tree

	unwritten atomic.Uint64 // records that were not taken

	syncing sync.Mutex // held over a sync of a segment and the stop that its failure brings

	mu        sync.Mutex // guards what follows
	ordinary  lane       // what waits for the writer
	safe      lane       // the same, of safe-direction verbs: goes first
	room      []*entry   // for the entries of a batch to come; nil: somebody has it
	wrote     time.Time  // when a batch was written last
	grew      chan struct{}
	head      proof.Checkpoint // newest signed tree head
	full      bool             // the disk cannot grow the reserve: safe records only
	closed    bool
	stopped   error    // why the log takes no more, if it stopped
	published struct { // how the checkpoint file fares
		proof.Checkpoint
		err error // of the last attempt
	}
	witnessed proof.Checkpoint // the newest that a quorum of witnesses has cosigned

	toWrite   chan struct{} // capacity 1: the writer has work
	behind    *backlog      // written batches, for the syncer
	idle      chan struct{} // capacity 1: the syncer has nothing more to do
	toPublish chan struct{} // capacity 1: there is a newer head
	closing   chan struct{} // closed by Close
	done      sync.WaitGroup
}

// A Receipt says where a record stands.
type Receipt struct {
	Index uint64 // the record's place in the log, from 0
	Size  uint64 // size of a signed tree that covers it; 0 for a Written append
}

// Append adds a record and returns when it is as safe as asked for. It fails
// with kind Invalid when the record cannot be an entry, and with Unavailable
// when the disk is full, when it has moved nothing for seconds and no memory is left for
// what waits, or when the log has stopped or is closed; the record is then not in the
// log. The context is looked at until the record is queued, never after: an append that
// may have happened is waited for.
func (l *Log) Append(ctx context.Context, r *record.Record, how Durability) (Receipt, error) {
	receipt, err := l.append(ctx, r, how)
	if pavise.KindOf(err) == pavise.Unavailable {
		l.unwritten.Add(1)
	}
	return receipt, err
}

func (l *Log) append(ctx context.Context, r *record.Record, how Durability) (Receipt, error) {
	b, at, err := l.enqueue(ctx, r, how)
	if err != nil {
		return Receipt{}, err
	}
	if at == 0 && b.alone {
		l.writeAlone()
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

// refusal says why the log takes no record now. The caller holds mu.
func (l *Log) refusal(safe bool) error {
	switch {
	case l.stopped != nil:
		return l.stopped
	case l.closed:
		return &pavise.Error{Kind: pavise.Unavailable, Msg: "the evidence log is closed"}
	case !safe && l.published.err != nil && l.head.Size-l.published.Size > maxUnpublished:
		return &pavise.Error{
			Kind: pavise.Unavailable,
			Msg:  fmt.Sprintf("the evidence log cannot publish its checkpoint, for %d records by now: %v", l.head.Size-l.published.Size, l.published.err),
			Hint: "look at the disk of the evidence log: it goes on by itself",
			Err:  l.published.err,
		}
	case l.full && !safe:
		wake(l.toWrite) // the writer looks again whether there is room
		return diskFull()
	}
	return nil
}

// diskFull refuses what may not use the reserve.
func diskFull() error {
	return &pavise.Error{
		Kind: pavise.Unavailable,
		Msg:  "the disk of the evidence log is full; only rollback, quarantine, revoke and prune are admitted",
		Hint: "free space on the disk: the log goes on by itself",
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
	l.dismiss(l.refusal(true))
	l.mu.Unlock()
	close(l.closing)
	wake(l.toWrite)
	l.done.Wait()
	l.announce()
	err := errors.Join(l.Stopped(), l.published.err)
	if seg := l.stream.active(); !l.full { // on a full disk the reserve is kept for the next process
		err = errors.Join(err, seg.file.Truncate(seg.Size))
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
	if l.stopped != nil {
		return
	}
	stopped := &pavise.Error{
		Kind: pavise.Unavailable,
		Msg:  "the evidence log has stopped: " + err.Error(),
		Hint: "look at the disk, then restart pavise; nothing acknowledged is lost",
		Err:  err,
	}
	if why, ok := errors.AsType[*pavise.Error](err); ok && why.Hint != "" {
		stopped.Hint = why.Hint
	}
	l.stopped = stopped
	l.dismiss(stopped)
	close(l.grew) // whoever waits for more waits in vain
	l.grew = make(chan struct{})
}

// Stopped returns why the log takes nothing any more, or nil.
func (l *Log) Stopped() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stopped
}

// dismiss tells all who wait for room that there will be none. The caller holds mu.
func (l *Log) dismiss(why error) {
	l.safe.dismiss(why)
	l.ordinary.dismiss(why)
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
