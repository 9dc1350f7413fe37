package ledger

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/record"
)

// Open opens the log in a directory, or begins one, and brings it to the state
// the last process acknowledged: a torn tail is cut off and said so in a record,
// derived files are rebuilt. It refuses, with kind Unverified, a log that is
// shorter than or different from what its own checkpoint signs, and with kind
// Conflict one that another process has open or that belongs to another key.
//
// It reads the last segment and of the others what their indexes say: the tree's
// own hashes lead from there to the checkpoint's root. Whether the records before
// are still those is for [Log.Check] to say, and for every Read.
func Open(opts Options) (*Log, error) {
	if opts.Disk != nil {
		return openOn(opts.Disk, opts)
	}
	if err := os.MkdirAll(opts.Dir, 0o700); err != nil {
		return nil, disk.Fault("make the directory of the evidence log", err)
	}
	lock, err := disk.Lock(opts.Dir)
	if err != nil {
		return nil, err
	}
	l, err := openOn(disk.Dir{Path: opts.Dir}, opts)
	if err != nil {
		lock.Close()
		return nil, err
	}
	l.lock = lock
	return l, nil
}

// openOn is Open on a disk that nobody else has open.
func openOn(d disk.Directory, opts Options) (*Log, error) {
	l, err := newLog(d, opts)
	if err != nil {
		return nil, err
	}
	if err := l.recover(); err != nil {
		l.release()
		return nil, err
	}
	l.tree.folded.forget()
	l.done.Add(3)
	go l.write()
	go l.sync()
	go l.publish()
	if err := l.noteCut(); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// newLog makes a log of its options, with nothing read yet.
func newLog(d disk.Directory, opts Options) (*Log, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	signer, err := proof.NewLogSigner(opts.Origin, opts.Key)
	if err != nil {
		return nil, err
	}
	l := &Log{
		disk:      d,
		signer:    signer,
		tags:      newTagger(opts.Key),
		tenant:    opts.Tenant,
		now:       opts.Now,
		synced:    opts.Synced,
		rollAt:    cmp.Or(opts.SegmentSize, segmentSize),
		ordinary:  lane{limit: maxWaiting},
		safe:      lane{safe: true, limit: maxSafe},
		grew:      make(chan struct{}),
		toWrite:   make(chan struct{}, 1),
		pen:       make(chan struct{}, 1),
		behind:    newBacklog(),
		idle:      make(chan struct{}, 1),
		toPublish: make(chan struct{}, 1),
		closing:   make(chan struct{}),
	}
	if opts.MLDSA != nil {
		also, err := proof.NewMLDSACosigner(opts.Origin, opts.MLDSA)
		if err != nil {
			return nil, err
		}
		l.also = append(l.also, also)
	}
	return l, nil
}

// recover brings disk and memory to the last acknowledged state. Nothing on the
// disk is changed before the records have been held against the checkpoint.
func (l *Log) recover() error {
	if err := l.checkOrigin(); err != nil {
		return err
	}
	signed, fresh, err := l.lastCheckpoint()
	if err != nil {
		return err
	}
	if l.stream, err = openStream(l.disk); err != nil {
		return err
	}
	if fresh && len(l.stream.segments) > 0 {
		return &pavise.Error{
			Kind: pavise.Unverified,
			Msg:  "the evidence log has records and no checkpoint: a log publishes one before its first record, so it was removed",
			Hint: "restore the evidence log from a backup",
		}
	}
	if err := l.recoverRecords(signed); err != nil {
		return err
	}
	if l.head, err = proof.Sign(l.Origin(), l.tree.size(), l.tree.root(), l.now(), l.signer); err != nil {
		return err
	}
	if err := l.checkWitnessed(); err != nil {
		return err
	}
	pruned, err := l.checkPruned()
	if err != nil {
		return err
	}
	l.renewReserve()
	l.publishHead()
	if err := l.published.err; err != nil {
		if fresh || !disk.Full(err) {
			return disk.Fault("publish the checkpoint", err)
		}
		return nil
	}
	return l.removeBelow(pruned)
}

// recoverRecords walks the records, holds them against the checkpoint, and makes
// durable those behind it that this log's writer made.
func (l *Log) recoverRecords(signed proof.Checkpoint) error {
	behind, err := l.scanTail(signed)
	if pavise.KindOf(err) == pavise.Unverified {
		// Derived files may be at fault. From the beginning they are not needed.
		l.tree.close()
		behind, err = l.scanFrom(0, signed)
	}
	if err != nil {
		return err
	}
	if len(l.stream.segments) == 0 {
		if err := l.stream.roll(); err != nil {
			return disk.Fault("begin the evidence log", err)
		}
	}
	seg := l.stream.active()
	if seg.file == nil {
		if seg.file, err = l.disk.Open(seg.Name(), false); err != nil {
			return disk.Fault("open "+seg.Name(), err)
		}
	}
	if err := l.cutTail(seg, behind.end); err != nil {
		return err
	}
	if err := l.disk.Remove(disk.IndexName(seg.First)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return disk.Fault("remove the index of a segment that grows again", err)
	}
	if err := rewrite(seg, behind.from); err != nil {
		return disk.Fault("write "+seg.Name()+" again", err)
	}
	return l.syncSegment(seg)
}

// checkOrigin makes sure that the directory belongs to this log's keys, and
// claims a new one. A key that came to the log later is added.
func (l *Log) checkOrigin() error {
	var want []byte
	for _, k := range l.Keys() {
		want = append(append(want, k.String()...), '\n')
	}
	have, err := disk.Read(l.disk, "origin", proof.MaxNote)
	if errors.Is(err, os.ErrNotExist) || err == nil && len(have) < len(want) && bytes.HasPrefix(want, have) && bytes.HasSuffix(have, []byte("\n")) {
		if err := disk.Replace(l.disk, "origin", want); err != nil {
			return disk.Fault("claim the directory of the evidence log", err)
		}
		return nil
	}
	if err != nil {
		return disk.Fault("read origin", err)
	}
	if !bytes.Equal(have, want) {
		return &pavise.Error{
			Kind: pavise.Conflict,
			Msg:  fmt.Sprintf("the evidence log belongs to the key %.100q, not to %.100q", bytes.TrimSpace(have), bytes.TrimSpace(want)),
			Hint: "restore the log's own keys, or begin a new log in another directory",
		}
	}
	return nil
}

// lastCheckpoint returns the checkpoint file; fresh is true if the log has none.
func (l *Log) lastCheckpoint() (cp proof.Checkpoint, fresh bool, err error) {
	b, err := disk.Read(l.disk, "checkpoint", proof.MaxNote)
	if errors.Is(err, os.ErrNotExist) {
		return proof.Checkpoint{}, true, nil
	}
	if err != nil {
		return proof.Checkpoint{}, false, disk.Fault("read checkpoint", err)
	}
	cp, err = proof.OpenSigned(b, l.signer.Key())
	return cp, false, err
}

// openStream finds the segments. What is in them is not known yet.
func openStream(d disk.Directory) (*stream, error) {
	found, err := disk.Segments(d)
	if err != nil {
		return nil, err
	}
	s := &stream{disk: d}
	for _, seg := range found {
		s.segments = append(s.segments, &segment{Segment: seg, index: disk.NewIndex()})
	}
	return s, nil
}

// A span is the bytes of the last segment behind the checkpoint: from where the
// first such entry begins to where the last whole one ends.
type span struct{ from, end int64 }

// scanTail reads the segments from the one on in which the checkpoint ends. The
// tree before them comes from the hash files, and is right if it leads to the
// checkpoint's root.
func (l *Log) scanTail(signed proof.Checkpoint) (behind span, err error) {
	i := max(len(l.stream.segments)-1, 0)
	for i > 0 && l.stream.segments[i].First > signed.Size {
		i--
	}
	return l.scanFrom(i, signed)
}

// scanFrom counts the entries from the i-th segment on and grows the tree from
// them. Entries that the checkpoint signs must be whole; behind it, the first that
// this log's writer did not make at that place ends the log.
func (l *Log) scanFrom(i int, signed proof.Checkpoint) (behind span, err error) {
	l.tree, l.signedRoot = &tree{disk: l.disk}, tlog.Hash{}
	if l.stream.count, err = l.before(i, signed); err != nil {
		return behind, err
	}
	for ; i < len(l.stream.segments); i++ {
		seg := l.stream.segments[i]
		if seg.First != l.stream.count {
			return behind, l.missing(seg.First)
		}
		if behind, err = l.scan(seg, signed.Size); err != nil {
			return behind, err
		}
		if behind.end < seg.Size && i < len(l.stream.segments)-1 {
			return behind, &pavise.Error{
				Kind: pavise.Unverified,
				Msg:  fmt.Sprintf("%s is damaged at byte %d and is not the last segment", seg.Name(), behind.end),
				Hint: "restore the evidence log from a backup",
			}
		}
	}
	l.tree.adopt()
	return behind, l.checkSigned(signed)
}

// before makes the tree of all records before the i-th segment from the hash
// files, and returns how many there are. The segments before need their indexes,
// which are made anew where they are wanting.
func (l *Log) before(i int, signed proof.Checkpoint) (count uint64, err error) {
	if len(l.stream.segments) == 0 {
		return 0, nil
	}
	for n, seg := range l.stream.segments[:i] {
		end := l.stream.segments[n+1].First
		if seg.index, err = disk.OpenIndex(l.disk, seg.Segment, end); err == nil {
			continue
		}
		if seg.index, err = disk.MakeIndex(l.disk, seg.Segment); err != nil {
			return 0, err
		}
		if seg.end() != end {
			l.stream.count = seg.end()
			return 0, l.missing(end)
		}
	}
	count = l.stream.segments[i].First
	if count == 0 {
		return 0, nil
	}
	if err := l.tree.begin(count); err != nil {
		return 0, &pavise.Error{
			Kind: pavise.Unverified, Msg: "the hash files of the evidence log do not reach back far enough: " + err.Error(),
			Hint: "restore the evidence log from a backup", Err: err,
		}
	}
	if count == signed.Size {
		l.signedRoot = l.tree.root()
	}
	if i == 0 {
		return count, nil // of a pruned log the checkpoint always covers the first record that is left
	}
	l.stream.count = count // for Entry
	entry, err := l.Entry(count - 1)
	if err != nil {
		return 0, err
	}
	copy(l.last[:], entry[max(0, len(entry)-record.TagSize):]) // to which the next is chained
	return count, nil
}

// scan walks one segment.
func (l *Log) scan(seg *segment, signed uint64) (behind span, err error) {
	f, err := l.disk.Open(seg.Name(), false)
	if err != nil {
		return behind, disk.Fault("open "+seg.Name(), err)
	}
	defer f.Close()
	seg.index = disk.NewIndex()
	r := disk.NewFrames(io.NewSectionReader(f, 0, seg.Size))
	for {
		at := r.Offset
		if l.stream.count <= signed {
			behind.from = at
		}
		behind.end = at
		entry, err := r.Next()
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return behind, nil
		}
		if err != nil {
			return behind, disk.Fault("read "+seg.Name(), err)
		}
		if l.stream.count >= signed && !l.ownTag(l.stream.count, entry) {
			return behind, nil
		}
		l.count(seg, entry, at, signed)
	}
}

// count takes an entry at an offset of its segment into memory's picture.
func (l *Log) count(seg *segment, entry []byte, at int64, signed uint64) {
	seg.index.AddEntry(at, entry)
	l.stream.count++
	copy(l.last[:], entry[max(0, len(entry)-record.TagSize):])
	l.tree.add(tlog.RecordHash(entry))
	if l.tree.size() == signed {
		l.signedRoot = l.tree.root()
	}
	if l.tree.size()%(16*tileWidth) == 0 {
		l.tree.adopt()
	}
}

// ownTag reports whether this log's writer made the entry for this index.
func (l *Log) ownTag(index uint64, entry []byte) bool {
	if len(entry) < 1+record.TagSize {
		return false
	}
	body, tag := entry[:len(entry)-record.TagSize], entry[len(entry)-record.TagSize:]
	return hmac.Equal(tag, l.tags.append(nil, index, l.last[:], body))
}

// checkSigned holds the records against the checkpoint.
func (l *Log) checkSigned(signed proof.Checkpoint) error {
	if l.stream.count < signed.Size {
		return l.missing(signed.Size)
	}
	if l.signedRoot == signed.Root || signed.Size == 0 {
		return nil
	}
	return &pavise.Error{
		Kind: pavise.Unverified,
		Msg:  fmt.Sprintf("the first %d records are not those that the log's checkpoint signs: the log was changed", signed.Size),
		Hint: "run pavise ledger verify to see where, and restore the log from a backup",
	}
}

// A tornTail is what recovery cut off: bytes behind the last whole entry that
// this log's writer made.
type tornTail struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
	After  uint64 `json:"after"` // records before it
}

// cutTail truncates the last segment behind its last whole entry. What was cut is
// kept in the file "cut" until a record says so.
func (l *Log) cutTail(seg *segment, end int64) error {
	if end == seg.Size {
		return nil
	}
	cut := tornTail{Bytes: seg.Size - end, After: l.stream.count}
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(seg.file, end, cut.Bytes)); err != nil {
		return disk.Fault("read the torn end of "+seg.Name(), err)
	}
	cut.SHA256 = fmt.Sprintf("%x", sum.Sum(nil))
	note, err := json.Marshal(cut)
	if err != nil {
		return err
	}
	if err := disk.Replace(l.disk, "cut", note); err != nil {
		return disk.Fault("note the torn end of "+seg.Name(), err)
	}
	if err := seg.file.Truncate(end); err != nil {
		return disk.Fault("cut the torn end of "+seg.Name(), err)
	}
	seg.Size = end
	return nil
}

// rewrite writes the end of a segment onto itself. After a sync that failed in an
// earlier process the kernel takes these pages for clean, and a sync alone would
// promise what the disk never saw.
func rewrite(seg *segment, from int64) error {
	buf := make([]byte, 1<<20)
	for from < seg.Size {
		n := min(int64(len(buf)), seg.Size-from)
		if _, err := seg.file.ReadAt(buf[:n], from); err != nil {
			return err
		}
		if _, err := seg.file.WriteAt(buf[:n], from); err != nil {
			return err
		}
		from += n
	}
	return nil
}

func (l *Log) missing(upTo uint64) error {
	return &pavise.Error{
		Kind: pavise.Unverified,
		Msg:  gap(l.stream.count, upTo-1) + " missing: the log was cut or rolled back",
		Hint: "restore the evidence log from a backup; a log shorter than its checkpoint is not continued",
	}
}

// gap begins a sentence about records, both ends among them.
func gap(first, last uint64) string {
	if first == last {
		return fmt.Sprintf("record %d is", first)
	}
	return fmt.Sprintf("records %d to %d are", first, last)
}

// noteCut records what recovery cut off, in this process or in one that came no
// further.
func (l *Log) noteCut() error {
	text, err := disk.Read(l.disk, "cut", proof.MaxNote)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return disk.Fault("read cut", err)
	}
	var cut tornTail
	if err := json.Unmarshal(text, &cut); err != nil {
		return &pavise.Error{Kind: pavise.Unverified, Msg: "the file cut of the evidence log is not what recovery wrote", Hint: "look at it, then remove it", Err: err}
	}
	at := l.now().UTC()
	last, _ := l.Last()
	if at.Before(last.At) {
		at = last.At
	}
	detail, err := json.Marshal(struct {
		tornTail
		Finding pavise.Finding `json:"finding"`
	}{cut, pavise.Finding{
		Kind: "ledger.recovered", Severity: pavise.Warning, At: at,
		Summary: fmt.Sprintf("%d bytes behind the first %d records were torn or foreign and have been cut off", cut.Bytes, cut.After),
	}})
	if err != nil {
		return err
	}
	note := &record.Record{Kind: "ledger.recovered", Phase: record.Note, Tenant: l.tenant, At: at, Settled: last.Settled, Safe: true, Detail: detail}
	if _, err := l.Append(context.Background(), note, Durable); err != nil {
		return err
	}
	if err := l.disk.Rename("cut", "cut.noted"); err != nil {
		return disk.Fault("put the file cut away", err)
	}
	return l.disk.Sync()
}
