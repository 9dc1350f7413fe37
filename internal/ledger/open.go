package ledger

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pavise/pavise"
)

// maxCheckpoint bounds the checkpoint file, in bytes.
const maxCheckpoint = 64 << 10

// Open opens the log in a directory, or begins one, and brings it to the state
// the last process acknowledged: a torn tail is cut off and said so in a record,
// derived files are rebuilt. It refuses, with kind Unverified, a log that is
// shorter than or different from what its own checkpoint signs, and with kind
// Conflict one that another process has open or that belongs to another key.
func Open(opts Options) (*Log, error) {
	if err := os.MkdirAll(opts.Dir, 0o700); err != nil {
		return nil, diskError("make the directory of the evidence log", err)
	}
	lock, err := lockDir(opts.Dir)
	if err != nil {
		return nil, err
	}
	l, err := openOn(dirDisk{opts.Dir, os.O_RDWR}, opts)
	if err != nil {
		lock.Close()
		return nil, err
	}
	l.lock = lock
	return l, nil
}

// openOn is Open on any disk.
func openOn(d disk, opts Options) (*Log, error) {
	if len(opts.Key) != ed25519.PrivateKeySize || opts.Origin == "" ||
		strings.ContainsFunc(opts.Origin, func(r rune) bool { return r == '+' || r <= ' ' || r > '~' }) {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("a log needs an Ed25519 key and an origin of printable ASCII without spaces or plus, not %q", opts.Origin)}
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	l := &Log{
		disk:      d,
		signer:    &signer{name: opts.Origin, key: opts.Key},
		mac:       newTagger(opts.Key),
		tenant:    opts.Tenant,
		now:       opts.Now,
		rollAt:    cmp.Or(opts.segmentSize, segmentSize),
		pending:   newBatch(),
		grew:      make(chan struct{}),
		toWrite:   make(chan struct{}, 1),
		toSync:    make(chan *batch, 64),
		idle:      make(chan struct{}, 1),
		toPublish: make(chan struct{}, 1),
		closing:   make(chan struct{}),
	}
	if err := l.recover(); err != nil {
		l.release()
		return nil, err
	}
	l.done.Add(3)
	go l.write()
	go l.sync()
	go l.publish()
	if err := l.noteCut(); err != nil {
		return nil, errors.Join(err, l.Close())
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
	if l.head, err = l.signer.sign(l.tree.size, l.tree.root()); err != nil {
		return err
	}
	l.renewReserve()
	l.publishHead()
	if err := l.published.err; err != nil && (fresh || !outOfSpace(err)) {
		return diskError("publish the checkpoint", err)
	}
	return nil
}

// recoverRecords walks the records, holds them against the checkpoint, and makes
// durable those behind it that this log's writer made.
func (l *Log) recoverRecords(signed Checkpoint) error {
	l.tree = &tree{disk: l.disk}
	behind, err := l.scanAll(signed)
	if err != nil {
		return err
	}
	if err := l.checkSigned(signed); err != nil {
		return err
	}
	if len(l.stream.segments) == 0 {
		if err := l.stream.roll(); err != nil {
			return diskError("begin the evidence log", err)
		}
	}
	seg := l.stream.active()
	if err := l.cutTail(seg, behind.end); err != nil {
		return err
	}
	if err := rewrite(seg, behind.from); err != nil {
		return diskError("write "+seg.name+" again", err)
	}
	return l.syncSegment(seg)
}

// checkOrigin makes sure that the directory belongs to this log's key, and
// claims a new one.
func (l *Log) checkOrigin() error {
	want := []byte(l.signer.verifierKey() + "\n")
	have, err := readFile(l.disk, "origin", maxCheckpoint)
	if errors.Is(err, os.ErrNotExist) {
		if err := replaceFile(l.disk, "origin", want); err != nil {
			return diskError("claim the directory of the evidence log", err)
		}
		return nil
	}
	if err != nil {
		return diskError("read origin", err)
	}
	if !bytes.Equal(have, want) {
		return &pavise.Error{
			Kind: pavise.Conflict,
			Msg:  fmt.Sprintf("the evidence log belongs to the key %.100q, not to %q", bytes.TrimSpace(have), bytes.TrimSpace(want)),
			Hint: "restore the log's own key, or begin a new log in another directory",
		}
	}
	return nil
}

// lastCheckpoint returns the checkpoint file; fresh is true if the log has none.
func (l *Log) lastCheckpoint() (cp Checkpoint, fresh bool, err error) {
	b, err := readFile(l.disk, "checkpoint", maxCheckpoint)
	if errors.Is(err, os.ErrNotExist) {
		return Checkpoint{}, true, nil
	}
	if err != nil {
		return Checkpoint{}, false, diskError("read checkpoint", err)
	}
	cp, err = openCheckpoint(b, l.signer.verifierKey())
	return cp, false, err
}

// openStream opens the segments, but for empty ones, which a roll that failed may
// leave. Their entries are not counted yet.
func openStream(d disk) (*stream, error) {
	names, err := d.List()
	if err != nil {
		return nil, diskError("list the evidence log", err)
	}
	s := &stream{disk: d}
	slices.Sort(names)
	for _, name := range names {
		first, ok := parseSegmentName(name)
		if !ok {
			continue
		}
		f, err := d.Open(name, false)
		if err != nil {
			s.close()
			return nil, diskError("open "+name, err)
		}
		size, err := f.Size()
		if err != nil {
			s.close()
			return nil, diskError("size of "+name, err)
		}
		if size == 0 {
			f.Close()
			continue
		}
		s.segments = append(s.segments, &segment{name: name, file: f, first: first, size: size})
	}
	return s, nil
}

// A span is the bytes of the last segment behind the checkpoint: from where the
// first such entry begins to where the last whole one ends.
type span struct{ from, end int64 }

// scanAll counts all entries and grows the tree from them. Entries that the
// checkpoint signs must be whole; behind it, the first that this log's writer
// did not make at that place ends the log.
func (l *Log) scanAll(signed Checkpoint) (behind span, err error) {
	for i, seg := range l.stream.segments {
		if seg.first != l.stream.count {
			return behind, l.missing(seg.first)
		}
		if behind, err = l.scan(seg, signed.Size); err != nil {
			return behind, err
		}
		if behind.end < seg.size && i < len(l.stream.segments)-1 {
			return behind, &pavise.Error{
				Kind: pavise.Unverified,
				Msg:  fmt.Sprintf("%s is damaged at byte %d and is not the last segment", seg.name, behind.end),
				Hint: "restore the evidence log from a backup",
			}
		}
	}
	l.tree.adopt()
	return behind, nil
}

// scan walks one segment.
func (l *Log) scan(seg *segment, signed uint64) (behind span, err error) {
	r := newFrames(io.NewSectionReader(seg.file, 0, seg.size))
	for {
		at := r.offset
		if l.stream.count <= signed {
			behind.from = at
		}
		behind.end = at
		entry, err := r.next()
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return behind, nil
		}
		if err != nil {
			return behind, diskError("read "+seg.name, err)
		}
		if l.stream.count >= signed && !l.ownTag(l.stream.count, entry) {
			return behind, nil
		}
		l.count(entry, at, signed)
	}
}

// count takes an entry at an offset of its segment into memory's picture.
func (l *Log) count(entry []byte, at int64, signed uint64) {
	if l.stream.count%tileWidth == 0 {
		l.stream.bundles = append(l.stream.bundles, at)
	}
	l.stream.count++
	copy(l.last[:], entry[max(0, len(entry)-tagSize):])
	l.tree.add(tlog.RecordHash(entry))
	if l.tree.size == signed {
		l.signedRoot = l.tree.root()
	}
	if l.tree.size%(16*tileWidth) == 0 {
		l.tree.adopt()
	}
}

// ownTag reports whether this log's writer made the entry for this index.
func (l *Log) ownTag(index uint64, entry []byte) bool {
	if len(entry) < 1+tagSize {
		return false
	}
	body, tag := entry[:len(entry)-tagSize], entry[len(entry)-tagSize:]
	return hmac.Equal(tag, appendTag(nil, l.mac, index, l.last[:], body))
}

// checkSigned holds the records against the checkpoint.
func (l *Log) checkSigned(signed Checkpoint) error {
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
	if end == seg.size {
		return nil
	}
	cut := tornTail{Bytes: seg.size - end, After: l.stream.count}
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(seg.file, end, cut.Bytes)); err != nil {
		return diskError("read the torn end of "+seg.name, err)
	}
	cut.SHA256 = fmt.Sprintf("%x", sum.Sum(nil))
	note, err := json.Marshal(cut)
	if err != nil {
		return err
	}
	if err := replaceFile(l.disk, "cut", note); err != nil {
		return diskError("note the torn end of "+seg.name, err)
	}
	if err := seg.file.Truncate(end); err != nil {
		return diskError("cut the torn end of "+seg.name, err)
	}
	seg.size = end
	return nil
}

// rewrite writes the end of a segment onto itself. After a sync that failed in an
// earlier process the kernel takes these pages for clean, and a sync alone would
// promise what the disk never saw.
func rewrite(seg *segment, from int64) error {
	buf := make([]byte, 1<<20)
	for from < seg.size {
		n := min(int64(len(buf)), seg.size-from)
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
		Msg:  fmt.Sprintf("records %d to %d are missing: the log was cut or rolled back", l.stream.count, upTo-1),
		Hint: "restore the evidence log from a backup; a log shorter than its checkpoint is not continued",
	}
}

// noteCut records what recovery cut off, in this process or in one that came no
// further.
func (l *Log) noteCut() error {
	text, err := readFile(l.disk, "cut", maxCheckpoint)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return diskError("read cut", err)
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
	note := &Record{Kind: "ledger.recovered", Phase: Note, Tenant: l.tenant, At: at, Settled: last.Settled, Safe: true, Detail: detail}
	if _, err := l.Append(context.Background(), note, Durable); err != nil {
		return err
	}
	if err := l.disk.Rename("cut", "cut.noted"); err != nil {
		return diskError("put the file cut away", err)
	}
	return l.disk.Sync()
}
