package ledger

import (
	"context"
	"fmt"
	"iter"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pavise/pavise"
)

// Size returns the number of records written.
func (l *Log) Size() uint64 {
	l.stream.mu.RLock()
	defer l.stream.mu.RUnlock()
	return l.stream.count
}

// Head returns the newest signed tree head. It may cover fewer records than
// Size counts, by those not yet synced.
func (l *Log) Head() Checkpoint {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head
}

// Read returns one record, checked against the tree where the tree covers it.
// It fails with NotFound beyond Size and with Unverified when the bytes on disk
// are not those that were appended.
func (l *Log) Read(index uint64) (Record, error) {
	entry, err := l.Entry(index)
	if err != nil {
		return Record{}, err
	}
	return Decode(entry)
}

// Entry returns the bytes of one entry, checked as Read does.
func (l *Log) Entry(index uint64) ([]byte, error) {
	entry, err := l.stream.entry(index)
	if err != nil {
		return nil, err
	}
	return entry, l.check(index, entry)
}

// check holds an entry against the tree, where the tree covers it.
func (l *Log) check(index uint64, entry []byte) error {
	want, covered, err := l.tree.leaf(index)
	if err != nil {
		return err
	}
	if covered && tlog.RecordHash(entry) != want {
		return &pavise.Error{
			Kind: pavise.Unverified,
			Msg:  fmt.Sprintf("record %d is not what was appended: its bytes do not match the Merkle tree", index),
			Hint: "run pavise ledger verify, and compare with a backup",
		}
	}
	return nil
}

// Last returns the newest record, and false if there is none.
func (l *Log) Last() (Record, bool) {
	size := l.Size()
	if size == 0 {
		return Record{}, false
	}
	r, err := l.Read(size - 1)
	return r, err == nil
}

// Records yields the records from index from up to but without to, or up to
// the end of the log, each checked as Read does. It stops early at a record
// that cannot be read.
func (l *Log) Records(from, to uint64) iter.Seq2[uint64, Record] {
	return func(yield func(uint64, Record) bool) {
		for from < min(to, l.Size()) {
			r, index, end, err := l.stream.bundle(from)
			for ; err == nil && index < min(to, end); index++ {
				var entry []byte
				var record Record
				if entry, err = r.next(); err != nil || index < from {
					continue
				}
				if err = l.check(index, entry); err == nil {
					record, err = Decode(entry)
				}
				if err != nil || !yield(index, record) {
					return
				}
			}
			if err != nil {
				return
			}
			from = end
		}
	}
}

// Wait returns once the log holds more than size records, or with the context's
// error, or when the log closes.
func (l *Log) Wait(ctx context.Context, size uint64) error {
	for {
		l.mu.Lock()
		grew, closed := l.grew, l.closed
		l.mu.Unlock()
		if l.Size() > size {
			return nil
		}
		if closed {
			return &pavise.Error{Kind: pavise.Unavailable, Msg: "the evidence log is closed"}
		}
		select {
		case <-grew:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// A Proof shows that a record is in the log that a checkpoint signs.
type Proof struct {
	Index      uint64
	Leaf       tlog.Hash        // hash of the entry
	Path       tlog.RecordProof // RFC 6962 audit path
	Checkpoint Checkpoint
}

// Prove returns the inclusion proof of one record under the newest signed head,
// checked before it is returned. A record too new to be covered is Unavailable.
func (l *Log) Prove(index uint64) (Proof, error) {
	head := l.Head()
	if index >= head.Size {
		return Proof{}, &pavise.Error{
			Kind: pavise.Unavailable,
			Msg:  fmt.Sprintf("record %d is not covered by a signed checkpoint yet; the newest covers %d", index, head.Size),
			Hint: "ask again in a second",
		}
	}
	path, err := l.tree.prove(index, head.Size)
	if err != nil {
		return Proof{}, fmt.Errorf("prove record %d: %w", index, err)
	}
	leaf, _, err := l.tree.leaf(index)
	if err != nil {
		return Proof{}, err
	}
	if err := tlog.CheckRecord(path, int64(head.Size), head.Root, int64(index), leaf); err != nil {
		return Proof{}, &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("record %d does not prove under the log's own head", index), Err: err}
	}
	return Proof{Index: index, Leaf: leaf, Path: path, Checkpoint: head}, nil
}

// A Status is what an operator wants to see of a log.
type Status struct {
	Origin      string
	Key         string // verifier key
	Fingerprint string // hex SHA-256 of Key
	Size        uint64 // records written
	Signed      uint64 // records under the newest signed head
	Published   uint64 // records under the checkpoint file
	Segments    int
	Bytes       int64 // length of all segments
	Full        bool  // the disk is full: safe records only
	Problem     string
}

// Status returns the log's state now.
func (l *Log) Status() Status {
	s := Status{Origin: l.signer.name, Key: l.signer.verifierKey()}
	s.Fingerprint = Fingerprint(s.Key)
	l.stream.mu.RLock()
	s.Size, s.Segments = l.stream.count, len(l.stream.segments)
	for _, seg := range l.stream.segments {
		s.Bytes += seg.size
	}
	l.stream.mu.RUnlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	s.Signed, s.Published, s.Full = l.head.Size, l.published.size, l.full
	switch {
	case l.stopped != nil:
		s.Problem = l.stopped.Error()
	case l.full:
		s.Problem = l.refusal(false).Error()
	case l.published.err != nil:
		s.Problem = l.published.err.Error()
	}
	return s
}
