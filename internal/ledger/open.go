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
	"unicode"

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
		strings.ContainsFunc(opts.Origin, func(r rune) bool { return r == '+' || unicode.IsSpace(r) }) {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("a log needs an Ed25519 key and an origin without spaces or plus, not %q", opts.Origin)}
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
	cut, err := l.recover()
	if err != nil {
		l.release()
		return nil, err
	}
	l.done.Add(3)
	go l.write()
	go l.sync()
	go l.publish()
	if cut.Bytes > 0 {
		if err := l.noteCut(cut); err != nil {
			return nil, errors.Join(err, l.Close())
		}
	}
	return l, nil
}

// A tornTail is what recovery cut off: bytes behind the last whole entry that
// this log's writer made.
type tornTail struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
	After  uint64 `json:"after"` // records before it
}

// recover brings disk and memory to the last acknowledged state.
func (l *Log) recover() (cut tornTail, err error) {
	if err := l.checkOrigin(); err != nil {
		return cut, err
	}
	signed, err := l.lastCheckpoint()
	if err != nil {
		return cut, err
	}
	if l.stream, err = openStream(l.disk); err != nil {
		return cut, err
	}
	if cut, err = l.recoverTree(signed); err != nil {
		return cut, err
	}
	if len(l.stream.segments) == 0 {
		if err := l.stream.roll(); err != nil {
			return cut, diskError("begin the evidence log", err)
		}
	}
	if err := l.syncSegment(); err != nil {
		return cut, err
	}
	if l.head, err = l.signer.sign(l.tree.size, l.tree.root()); err != nil {
		return cut, err
	}
	l.renewReserve()
	l.publishHead()
	if err := l.published.err; err != nil && !outOfSpace(err) {
		return cut, diskError("publish the checkpoint", err)
	}
	return cut, nil
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

// lastCheckpoint returns the checkpoint file, or a zero Checkpoint if the log
// has none yet.
func (l *Log) lastCheckpoint() (Checkpoint, error) {
	b, err := readFile(l.disk, "checkpoint", maxCheckpoint)
	if errors.Is(err, os.ErrNotExist) {
		return Checkpoint{}, nil
	}
	if err != nil {
		return Checkpoint{}, diskError("read checkpoint", err)
	}
	return openCheckpoint(b, l.signer.verifierKey())
}

// openStream opens the segments. Their entries are not counted yet.
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
		s.segments = append(s.segments, &segment{name: name, file: f, first: first, size: size})
	}
	return s, nil
}

// recoverTree walks the entries. Those that the checkpoint signs must be there
// and hash to its root; those behind it are taken while their tags are right.
func (l *Log) recoverTree(signed Checkpoint) (cut tornTail, err error) {
	if t, err := openTree(l.disk, signed.Size); err == nil && (signed.Size == 0 || t.root() == signed.Root) {
		l.tree = t
	} else {
		l.tree = &tree{disk: l.disk} // rebuilt from the entries below
	}
	trusted := l.tree.size
	for i, seg := range l.stream.segments {
		if seg.first != l.stream.count {
			return cut, l.missing(seg.first)
		}
		last := i == len(l.stream.segments)-1
		n, err := l.scan(seg, trusted, signed.Size)
		if err != nil {
			return cut, err
		}
		if n == seg.size {
			continue
		}
		if !last {
			return cut, &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("%s is damaged at byte %d and is not the last segment", seg.name, n), Hint: "restore the evidence log from a backup"}
		}
		if cut, err = l.cutTail(seg, n); err != nil {
			return cut, err
		}
	}
	if l.stream.count < signed.Size {
		return cut, l.missing(signed.Size)
	}
	if trusted == signed.Size {
		return cut, nil
	}
	return cut, l.checkRebuilt(signed)
}

// scan counts a segment's whole entries, grows the tree by those it does not
// hold, and returns where the last whole entry ends.
func (l *Log) scan(seg *segment, trusted, signed uint64) (end int64, err error) {
	r := newFrames(io.NewSectionReader(seg.file, 0, seg.size))
	for {
		start := r.offset
		entry, err := r.next()
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return start, nil
		}
		if err != nil {
			return 0, diskError("read "+seg.name, err)
		}
		index := l.stream.count
		if index >= signed && !l.ownTag(index, entry) {
			return start, nil
		}
		if index >= trusted {
			l.tree.add(tlog.RecordHash(entry))
		}
		if index%tileWidth == 0 {
			l.stream.bundles = append(l.stream.bundles, start)
		}
		l.stream.count++
	}
}

// ownTag reports whether this log's writer made the entry for this index.
func (l *Log) ownTag(index uint64, entry []byte) bool {
	if len(entry) < 1+tagSize {
		return false
	}
	body, tag := entry[:len(entry)-tagSize], entry[len(entry)-tagSize:]
	return hmac.Equal(tag, appendTag(nil, l.mac, index, body))
}

// cutTail truncates the last segment behind its last whole entry.
func (l *Log) cutTail(seg *segment, end int64) (tornTail, error) {
	cut := tornTail{Bytes: seg.size - end, After: l.stream.count}
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(seg.file, end, cut.Bytes)); err != nil {
		return cut, diskError("read the torn end of "+seg.name, err)
	}
	cut.SHA256 = fmt.Sprintf("%x", sum.Sum(nil))
	if err := seg.file.Truncate(end); err != nil {
		return cut, diskError("cut the torn end of "+seg.name, err)
	}
	seg.size = end
	return cut, nil
}

// checkRebuilt compares a rebuilt tree with the checkpoint.
func (l *Log) checkRebuilt(signed Checkpoint) error {
	root, err := l.tree.rootAt(signed.Size)
	if err != nil {
		return err
	}
	if root != signed.Root {
		return &pavise.Error{
			Kind: pavise.Unverified,
			Msg:  fmt.Sprintf("the first %d records are not those that the log's checkpoint signs: the log was changed", signed.Size),
			Hint: "run pavise ledger verify to see where, and restore the log from a backup",
		}
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

// noteCut records what recovery cut off.
func (l *Log) noteCut(cut tornTail) error {
	detail, err := json.Marshal(struct {
		tornTail
		Finding pavise.Finding `json:"finding"`
	}{cut, pavise.Finding{
		Kind: "ledger.recovered", Severity: pavise.Warning,
		Summary: fmt.Sprintf("%d bytes behind record %d were torn or foreign and have been cut off", cut.Bytes, int64(cut.After)-1),
		At:      l.now().UTC(),
	}})
	if err != nil {
		return err
	}
	r := &Record{Kind: "ledger.recovered", Phase: Note, Tenant: l.tenant, At: l.now().UTC(), Safe: true, Detail: detail}
	if last, ok := l.Last(); ok {
		r.Settled = last.Settled
		if r.At.Before(last.At) {
			r.At = last.At
		}
	}
	_, err = l.Append(context.Background(), r, Durable)
	return err
}
