package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/record"
)

// Size returns the number of records written.
func (l *Log) Size() uint64 {
	l.stream.mu.RLock()
	defer l.stream.mu.RUnlock()
	return l.stream.count
}

// Head returns the newest signed tree head. It may cover fewer records than
// Size counts, by those not yet synced.
func (l *Log) Head() proof.Checkpoint {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head
}

// Read returns one record, checked against the tree where the tree covers it.
// It fails with NotFound beyond Size and with Unverified when the bytes on disk
// are not those that were appended.
func (l *Log) Read(index uint64) (record.Record, error) {
	entry, err := l.Entry(index)
	if err != nil {
		return record.Record{}, err
	}
	return record.Decode(entry)
}

// Entry returns the bytes of one entry, checked as Read does.
func (l *Log) Entry(index uint64) ([]byte, error) {
	entry, err := l.stream.entry(index)
	if err != nil {
		return nil, err
	}
	return entry, l.check(index, entry)
}

// damaged is the error of a record whose bytes are not those of an entry.
func damaged(index uint64) error {
	return &pavise.Error{
		Kind: pavise.Unverified,
		Msg:  fmt.Sprintf("record %d is not what was appended: its bytes do not match the Merkle tree", index),
		Hint: "run pavise ledger verify, and compare with a backup",
	}
}

// check holds an entry against the tree, where the tree covers it.
func (l *Log) check(index uint64, entry []byte) error {
	want, covered, err := l.tree.leaf(index)
	if err != nil {
		return err
	}
	if covered && tlog.RecordHash(entry) != want {
		return damaged(index)
	}
	return nil
}

// Last returns the newest record, and false if there is none.
func (l *Log) Last() (record.Record, bool) {
	size := l.Size()
	if size == 0 {
		return record.Record{}, false
	}
	r, err := l.Read(size - 1)
	return r, err == nil
}

// Records yields the records from index from up to but without to, or up to
// the end of the log, each checked as Read does. It stops early at a record
// that cannot be read.
func (l *Log) Records(from, to uint64) iter.Seq2[uint64, record.Record] {
	return func(yield func(uint64, record.Record) bool) {
		for from < min(to, l.Size()) {
			b, err := l.stream.bundle(from)
			if err != nil {
				return
			}
			text, err := l.stream.bytes(b)
			if err != nil {
				return
			}
			for i := b.first; i < min(to, b.end); i++ {
				entry, rest, ok := disk.NextFrame(text)
				if text = rest; !ok {
					return
				}
				if i < from {
					continue
				}
				r, err := l.decode(i, entry)
				if err != nil || !yield(i, r) {
					return
				}
			}
			from = b.end
		}
	}
}

// decode reads the record of an entry, once it is what was appended.
func (l *Log) decode(index uint64, entry []byte) (record.Record, error) {
	if err := l.check(index, entry); err != nil {
		return record.Record{}, err
	}
	return record.Decode(entry)
}

// AwaitSigned returns once a signed tree head covers more than size records, or
// with the context's error, or when the log stops or closes.
func (l *Log) AwaitSigned(ctx context.Context, size uint64) error {
	for {
		l.mu.Lock()
		grew, signed, closed, stopped := l.grew, l.head.Size, l.closed, l.stopped
		l.mu.Unlock()
		switch {
		case signed > size:
			return nil
		case stopped != nil:
			return stopped
		case closed:
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
	Checkpoint proof.Checkpoint
}

// Prove returns the inclusion proof of one record under the newest signed head,
// checked before it is returned. A record too new to be covered is Unavailable.
func (l *Log) Prove(index uint64) (Proof, error) {
	head := l.Head()
	if index >= head.Size {
		return Proof{}, uncovered(index, head.Size)
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

// ProofFile returns a file that proves one record to who knows the log's key, and
// has no server: the entry, its inclusion proof, and a checkpoint with all the
// signatures that there are, those of a quorum of witnesses if they have seen the
// record. A record too new to be covered is Unavailable.
func (l *Log) ProofFile(index uint64) ([]byte, error) {
	entry, err := l.stream.entry(index)
	if err != nil {
		return nil, err
	}
	cp, keys := l.covering(index)
	if cp.Size <= index {
		return nil, uncovered(index, cp.Size)
	}
	path, err := l.tree.prove(index, cp.Size)
	if err != nil {
		return nil, fmt.Errorf("prove record %d: %w", index, err)
	}
	held := proof.Record{Entry: entry}
	for _, k := range keys {
		held.Keys = append(held.Keys, k.String())
	}
	f := proof.File{Extra: held.Marshal(), Index: index, Path: path, Checkpoint: cp.Note}
	if err := f.Prove(proof.Leaf(entry), cp); err != nil {
		return nil, cmp.Or(l.check(index, entry), err)
	}
	return f.Marshal(), nil
}

// covering returns the best checkpoint that covers a record, or the newest of all,
// and the keys that sign it: the one that witnesses have seen, the published one, or
// the head, which only the first key signs.
func (l *Log) covering(index uint64) (proof.Checkpoint, []*proof.Key) {
	for _, cp := range []proof.Checkpoint{l.Witnessed(), l.Published()} {
		if cp.Size > index {
			return cp, l.Keys()
		}
	}
	return l.Head(), l.Keys()[:1]
}

// uncovered is the error of a record that no checkpoint of this size covers.
func uncovered(index, size uint64) error {
	return &pavise.Error{
		Kind: pavise.Unavailable,
		Msg:  fmt.Sprintf("record %d is not covered by a signed checkpoint yet; the newest covers %d", index, size),
		Hint: "ask again in a second",
	}
}

// Tile returns a tile of hashes (C2SP tlog-tiles), back to back. The error is of
// kind NotFound when the tree does not hold it yet.
func (l *Log) Tile(t proof.Tile) ([]byte, error) {
	b, err := l.tree.tile(t)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("the log has no %s yet", t)}
	}
	return b, err
}

// Bundle returns an entry bundle (C2SP tlog-tiles): each entry behind its length.
// Every entry is checked as Read does, and seen by look before, which may refuse
// the bundle. The error is of kind NotFound when the log does not hold all of it.
func (l *Log) Bundle(t proof.Tile, look func(record.Glimpse) error) ([]byte, error) {
	first := t.N * tileWidth
	b, err := l.stream.bundle(first)
	if err != nil {
		return nil, err
	}
	text, err := l.stream.bytes(b)
	if err != nil {
		return nil, err
	}
	rest := text
	for i := range uint64(t.Width) {
		entry, behind, ok := disk.NextFrame(rest)
		if !ok || first+i >= l.Head().Size {
			return nil, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("the log has no %s yet", t)}
		}
		if err := l.check(first+i, entry); err != nil {
			return nil, err
		}
		g, err := record.Glance(entry)
		if err == nil {
			err = look(g)
		}
		if err != nil {
			return nil, err
		}
		rest = behind
	}
	return text[:len(text)-len(rest)], nil
}

// Consistency returns the proof that the tree of the first size records continues
// that of the first old (RFC 6962, section 2.1.2).
func (l *Log) Consistency(old, size uint64) (tlog.TreeProof, error) {
	if old > size || size > l.Head().Size {
		return nil, uncovered(size, l.Head().Size)
	}
	return l.tree.proveTree(old, size)
}

// RootAt returns the root of the tree of the first size records. It is held against
// the head: the hash files alone are not believed. The error is of kind Unverified when
// they lead elsewhere.
func (l *Log) RootAt(size uint64) (tlog.Hash, error) {
	head := l.Head()
	if size > head.Size {
		return tlog.Hash{}, uncovered(size, head.Size)
	}
	root, err := l.tree.rootAt(size)
	if err != nil || size == 0 {
		return root, err
	}
	path, err := l.tree.proveTree(size, head.Size)
	if err != nil {
		return root, fmt.Errorf("hold the tree of %d records against the head: %w", size, err)
	}
	return root, proof.Consistent(proof.Checkpoint{Size: size, Root: root}, head, path)
}

// CheckpointAt returns a checkpoint of the first size records, signed now, which
// does not claim to be the newest: for who keeps a part of the log elsewhere.
func (l *Log) CheckpointAt(size uint64) (proof.Checkpoint, error) {
	root, err := l.RootAt(size)
	if err != nil {
		return proof.Checkpoint{}, err
	}
	return proof.Sign(l.Origin(), size, root, time.Time{}, append([]*proof.Signer{l.signer}, l.also...)...)
}

// A Sealed is a segment that grows no more and that the published checkpoint
// covers.
type Sealed struct {
	disk.Segment
	Count uint64 // records
}

// Sealed returns those segments, oldest first.
func (l *Log) Sealed() []Sealed {
	published := l.Published().Size
	l.stream.mu.RLock()
	defer l.stream.mu.RUnlock()
	var sealed []Sealed
	for _, seg := range l.stream.segments[:max(len(l.stream.segments)-1, 0)] {
		if seg.end() <= published {
			sealed = append(sealed, Sealed{seg.Segment, seg.index.Count()})
		}
	}
	return sealed
}

// OpenSegment opens the bytes of a segment that grows no more.
func (l *Log) OpenSegment(s disk.Segment) (io.ReadCloser, error) {
	f, err := l.disk.Open(s.Name(), false)
	if err != nil {
		return nil, disk.Fault("open "+s.Name(), err)
	}
	return struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(f, 0, s.Size), f}, nil
}

// Published returns the newest checkpoint that is in the directory, with the
// signatures of all the log's keys.
func (l *Log) Published() proof.Checkpoint {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.published.Checkpoint
}

// Origin returns the log's name.
func (l *Log) Origin() string { return l.signer.Key().Name() }

// Keys returns the public keys that sign the log's checkpoints. The first is the
// log's identity.
func (l *Log) Keys() []*proof.Key {
	keys := []*proof.Key{l.signer.Key()}
	for _, s := range l.also {
		keys = append(keys, s.Key())
	}
	return keys
}

// First returns the index of the first record that is here: those before it were
// pruned.
func (l *Log) First() uint64 {
	l.stream.mu.RLock()
	defer l.stream.mu.RUnlock()
	return l.stream.first()
}

// A Status is what an operator wants to see of a log.
type Status struct {
	Origin    string
	Keys      []*proof.Key // that sign checkpoints; the first is the log's identity
	First     uint64       // the first record that is here; those before it were pruned
	Size      uint64       // records written
	Signed    uint64       // records under the newest signed head
	Published uint64       // records under the checkpoint file
	Segments  int
	Bytes     int64  // length of all segments
	Full      bool   // the disk is full: safe records only
	Witnessed uint64 // records under the newest checkpoint that a quorum of witnesses has cosigned
	Problem   string
}

// Status returns the log's state now.
func (l *Log) Status() Status {
	s := Status{Origin: l.Origin(), Keys: l.Keys()}
	l.stream.mu.RLock()
	s.First, s.Size, s.Segments = l.stream.first(), l.stream.count, len(l.stream.segments)
	for _, seg := range l.stream.segments {
		s.Bytes += seg.Size
	}
	l.stream.mu.RUnlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	s.Signed, s.Published, s.Witnessed, s.Full = l.head.Size, l.published.Size, l.witnessed.Size, l.full
	switch {
	case l.stopped != nil:
		s.Problem = l.stopped.Error()
	case l.full:
		s.Problem = l.refusal(false).Error()
	case l.published.err != nil:
		s.Problem = l.published.err.Error()
	case len(l.ordinary.line) > 0:
		s.Problem = fmt.Sprintf("the disk does not keep up: %d records wait for room in memory", len(l.ordinary.line))
	}
	return s
}
