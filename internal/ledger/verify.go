package ledger

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pavise/pavise"
)

// VerifyOptions say what the verifier knows from elsewhere. What the directory
// says of itself is never trusted.
type VerifyOptions struct {
	Key        string       // verifier key, or its fingerprint; empty: not known
	Checkpoint []byte       // a signed checkpoint kept from earlier; empty: none
	Progress   func(uint64) // called now and then with the records read so far; may be nil
}

// A Report is what verifying a log showed.
type Report struct {
	Origin     string    `json:"origin"`
	Records    uint64    `json:"records"`            // records read
	Signed     uint64    `json:"signed"`             // records under the checkpoint
	Trailing   int64     `json:"trailing,omitempty"` // bytes behind the last record that are none
	Root       string    `json:"root"`               // base64 root of the signed records
	Key        string    `json:"key"`                // verifier key found in the directory
	Known      bool      `json:"known"`              // the key was known to the verifier
	Since      uint64    `json:"since"`              // size of the checkpoint known from earlier, if any
	First      time.Time `json:"first,omitzero"`     // time of the first and the last signed record
	Last       time.Time `json:"last,omitzero"`
	Open       []uint64  `json:"open,omitempty"` // signed control acts entered and not ended
	Conclusion string    `json:"conclusion"`
}

// The conclusions of a Report. Anything worse is an error.
const (
	// Verified: the key or an earlier checkpoint was known, and the signed
	// records are all there is.
	Verified = "verified: no record was changed, removed or reordered"
	// Partly: the same of the signed records, and others lie behind them, as
	// while the log is being written, which prove nothing.
	Partly = "verified up to the checkpoint: no signed record was changed, removed or reordered"
	// Consistent: the directory agrees with itself, and that is all.
	Consistent = "consistent; authorship and completeness unverified"
)

// Verify reads a log directory offline and proves that its records are those
// that its checkpoint signs, in that order, with none missing. It needs no
// server and no secret. The error is of kind Unverified when a proof fails, and
// says which record or file is at fault.
func Verify(dir string, opts VerifyOptions) (Report, error) {
	return verifyOn(dirDisk{dir, os.O_RDONLY}, opts)
}

func verifyOn(d disk, opts VerifyOptions) (Report, error) {
	v := &verification{disk: d, opts: opts, tree: &tree{}, open: map[uint64]bool{}}
	defer v.close()
	if err := v.readCheckpoint(); err != nil {
		return v.report, err
	}
	if err := v.readEntries(); err != nil {
		return v.report, err
	}
	if err := v.compareHead(); err != nil {
		return v.report, err
	}
	if err := v.compareKnown(); err != nil {
		return v.report, err
	}
	v.conclude()
	return v.report, nil
}

// A verification is one run of Verify.
type verification struct {
	disk   disk
	opts   VerifyOptions
	report Report
	signed Checkpoint
	known  Checkpoint
	tree   *tree
	root   tlog.Hash // of the first signed.Size records
	kept   tlog.Hash // of the first known.Size records
	open   map[uint64]bool

	files   []*bufio.Reader // the hash files, read along
	closers []io.Closer
	differs *difference // where they first disagree; nil: nowhere
}

func (v *verification) close() {
	for _, c := range v.closers {
		c.Close()
	}
}

// readCheckpoint opens the directory's checkpoint with the directory's key, and
// compares that key with what the verifier knows.
func (v *verification) readCheckpoint() error {
	origin, err := readFile(v.disk, "origin", maxCheckpoint)
	if err != nil {
		return noLog(err)
	}
	v.report.Key = string(bytes.TrimSpace(origin))
	if strings.ContainsFunc(v.report.Key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("the log's key %.200q has characters that no log's name has", v.report.Key), Hint: "somebody made this directory to deceive"}
	}
	if v.report.Known, err = knownKey(v.opts.Key, v.report.Key); err != nil {
		return err
	}
	signed, err := readFile(v.disk, "checkpoint", maxCheckpoint)
	if errors.Is(err, os.ErrNotExist) {
		return &pavise.Error{
			Kind: pavise.Unverified,
			Msg:  "the log has no checkpoint: somebody removed it, or the copy is not whole",
			Hint: "copy the whole directory; a log that lost its checkpoint proves nothing",
			Err:  err,
		}
	}
	if err != nil {
		return noLog(err)
	}
	if v.signed, err = openCheckpoint(signed, v.report.Key); err != nil {
		return err
	}
	if len(v.opts.Checkpoint) > 0 {
		if v.known, err = openCheckpoint(v.opts.Checkpoint, v.report.Key); err != nil {
			return fmt.Errorf("the checkpoint kept from earlier: %w", err)
		}
	}
	v.report.Origin, v.report.Signed, v.report.Since = v.signed.Origin, v.signed.Size, v.known.Size
	v.report.Root = v.signed.Root.String()
	return nil
}

// knownKey reports whether the directory's key is the one the verifier knows.
func knownKey(known, found string) (bool, error) {
	switch {
	case known == "":
		return false, nil
	case known == found, strings.EqualFold(known, Fingerprint(found)):
		return true, nil
	}
	if _, err := hex.DecodeString(known); !strings.Contains(known, "+") && (err != nil || len(known) != 64) {
		return false, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.100q is neither a fingerprint (64 hex digits) nor a verifier key (origin+hash+base64)", known)}
	}
	return false, &pavise.Error{
		Kind: pavise.Unverified,
		Msg:  fmt.Sprintf("the log is signed by the key %s (fingerprint %s), not by the one you know", found, Fingerprint(found)),
		Hint: "this is another log, or somebody made the log anew",
	}
}

// readEntries walks all segments and rebuilds the tree.
func (v *verification) readEntries() error {
	s, err := openStream(v.disk)
	if err != nil {
		return err
	}
	defer s.close()
	for _, seg := range s.segments {
		if seg.first != v.tree.size && v.tree.size >= v.signed.Size {
			break // behind the head nothing need fit
		}
		if seg.first != v.tree.size {
			return v.fault(v.tree.size, "%s begins at record %d: records are missing before it", seg.name, seg.first)
		}
		if err := v.readSegment(seg); err != nil {
			return err
		}
	}
	v.report.Records = v.tree.size
	return nil
}

func (v *verification) readSegment(seg *segment) error {
	r := newFrames(io.NewSectionReader(seg.file, 0, seg.size))
	for {
		at := r.offset
		entry, err := r.next()
		if err == io.EOF {
			return nil
		}
		behindHead := v.tree.size >= v.signed.Size
		if err == io.ErrUnexpectedEOF && behindHead {
			v.report.Trailing += seg.size - at // a write cut short; nothing signed is missing
			return nil
		}
		if err != nil {
			return v.fault(v.tree.size, "%s ends in the middle of an entry, at byte %d", seg.name, at)
		}
		if err := v.take(entry); err != nil {
			if behindHead {
				v.report.Trailing += seg.size - at // whatever it is, it proves nothing and hides nothing
				return nil
			}
			return v.fault(v.tree.size, "%s, byte %d: %w", seg.name, at, err)
		}
	}
}

// take adds one entry to the tree and follows what its record says.
func (v *verification) take(entry []byte) error {
	r, err := Decode(entry)
	if err != nil {
		return err
	}
	index := v.tree.size
	v.tree.add(tlog.RecordHash(entry))
	v.compareHashes()
	if index < v.signed.Size {
		v.note(index, r)
	}
	if v.tree.size == v.signed.Size {
		v.root = v.tree.root()
	}
	if v.tree.size == v.known.Size {
		v.kept = v.tree.root()
	}
	if v.opts.Progress != nil && v.tree.size%65536 == 0 {
		v.opts.Progress(v.tree.size)
	}
	return nil
}

// note follows which control acts have ended.
func (v *verification) note(index uint64, r Record) {
	if index == 0 {
		v.report.First = r.At
	}
	v.report.Last = r.At
	switch {
	case r.Phase == Enter:
		v.open[index] = true
	case r.Enter != nil:
		delete(v.open, *r.Enter)
	}
}

// compareHashes holds the hashes that the newest entry completed against the
// hash files, and forgets them: the frontier is all that the tree needs.
func (v *verification) compareHashes() {
	for i, l := range v.tree.levels {
		for _, h := range l.tail {
			if l.count++; l.count <= v.signed.Size>>(tileHeight*i) && !v.fileHolds(i, h) && v.differs == nil {
				v.differs = &difference{file: levelName(i), record: (l.count - 1) << (tileHeight * i)}
			}
		}
		l.tail = l.tail[:0]
	}
}

// fileHolds reports whether the next hash in a level's file is h.
func (v *verification) fileHolds(level int, h tlog.Hash) bool {
	if level == len(v.files) {
		var r io.Reader = bytes.NewReader(nil)
		if f, err := v.disk.Open(levelName(level), false); err == nil {
			v.closers = append(v.closers, f)
			r = io.NewSectionReader(f, 0, math.MaxInt64)
		}
		v.files = append(v.files, bufio.NewReaderSize(r, 1<<16))
	}
	var have tlog.Hash
	_, err := io.ReadFull(v.files[level], have[:])
	return err == nil && have == h
}

// A difference is where a hash file first disagrees with the entries.
type difference struct {
	file   string
	record uint64
}

// compareHead holds the rebuilt tree against the signed head. When they differ,
// the hash files say which record was changed, if they are still the signed ones.
func (v *verification) compareHead() error {
	if v.tree.size < v.signed.Size {
		return v.fault(v.tree.size, "the checkpoint signs %d records and only %d are there: the end was removed", v.signed.Size, v.tree.size)
	}
	if v.signed.Size == 0 || v.root == v.signed.Root {
		return v.compareFiles()
	}
	if v.differs == nil || v.leafFileRoot() != v.signed.Root {
		return v.fault(0, "the records are not those that the checkpoint signs, and neither are the hash files, so which record differs cannot be said")
	}
	return v.fault(v.differs.record, "record %d was changed", v.differs.record)
}

// leafFileRoot is the root of the tree over the leaf hashes in their file.
func (v *verification) leafFileRoot() tlog.Hash {
	f, err := v.disk.Open(levelName(0), false)
	if err != nil {
		return tlog.Hash{}
	}
	defer f.Close()
	t, r := &tree{}, bufio.NewReader(io.NewSectionReader(f, 0, math.MaxInt64))
	var leaf tlog.Hash
	for t.size < v.signed.Size {
		if _, err := io.ReadFull(r, leaf[:]); err != nil {
			return tlog.Hash{}
		}
		t.add(leaf)
		for _, l := range t.levels {
			l.tail = l.tail[:0]
		}
	}
	return t.root()
}

// compareFiles reports hash files that disagree with records that are right.
func (v *verification) compareFiles() error {
	if v.differs == nil {
		return nil
	}
	return &pavise.Error{
		Kind: pavise.Unverified,
		Msg:  fmt.Sprintf("all records are those that the checkpoint signs, but the derived file %s is wrong at record %d", v.differs.file, v.differs.record),
		Hint: "stop pavise, delete the hash.* files and start it: they are rebuilt from the records",
	}
}

// compareKnown holds the log against the checkpoint kept from earlier.
func (v *verification) compareKnown() error {
	switch {
	case v.known.Size == 0:
		return nil
	case v.known.Size > v.signed.Size:
		return v.fault(v.signed.Size, "you keep a checkpoint of %d records and the log now signs %d: it was rolled back", v.known.Size, v.signed.Size)
	case v.kept != v.known.Root:
		return v.fault(0, "the first %d records are not those of the checkpoint you keep: history was rewritten", v.known.Size)
	}
	return nil
}

// conclude says in words what was proved. Without a key or checkpoint known from
// elsewhere, whoever can write the directory could have made all of it.
func (v *verification) conclude() {
	v.report.Open = slices.Sorted(maps.Keys(v.open))
	known := v.report.Known || v.known.Size > 0
	switch {
	case known && v.report.Records == v.report.Signed && v.report.Trailing == 0:
		v.report.Conclusion = Verified
	case known && v.report.Signed > 0:
		v.report.Conclusion = Partly
	default:
		v.report.Conclusion = Consistent
	}
}

func (v *verification) fault(index uint64, format string, args ...any) error {
	v.report.Records = v.tree.size
	err := fmt.Errorf(format, args...)
	return &pavise.Error{
		Kind: pavise.Unverified,
		Msg:  fmt.Sprintf("the log does not verify at record %d: %v", index, err),
		Hint: "compare with a backup or with another holder of the log's checkpoints",
	}
}

func noLog(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return &pavise.Error{Kind: pavise.NotFound, Msg: "this directory holds no evidence log: it has no file \"origin\"", Hint: "name the ledger directory itself, for example pavise-data/ledger", Err: err}
	}
	return diskError("read the evidence log", err)
}
