package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/record"
)

// A Finding is one thing that a doctor found in a log's directory.
type Finding struct {
	Severity string `json:"severity"` // info, warning or critical
	What     string `json:"what"`
	Do       string `json:"do,omitempty"` // what to do about it
	// Repairable says that Repair mends it: only derived files are touched.
	Repairable bool `json:"repairable,omitempty"`
}

// A Diagnosis is all that a doctor found.
type Diagnosis struct {
	Report   Report    `json:"report"` // of verifying, as far as it came
	Findings []Finding `json:"findings"`
	Repaired bool      `json:"repaired"` // derived files were made anew
}

// Healthy reports whether nothing worse than information was found.
func (d *Diagnosis) Healthy() bool {
	for _, f := range d.Findings {
		if f.Severity != pavise.Info {
			return false
		}
	}
	return true
}

func (d *Diagnosis) note(severity, do, format string, args ...any) {
	d.Findings = append(d.Findings, Finding{Severity: severity, What: fmt.Sprintf(format, args...), Do: do})
}

// Examine verifies the log in a directory and looks further: at every record, every
// index, and what else lies there. It changes nothing. The error says that it could
// not look, not that it found something.
func Examine(d disk.Directory, opts Options) (Diagnosis, error) {
	var found Diagnosis
	report, err := VerifyOn(d, opts)
	found.Report = report
	switch kind := pavise.KindOf(err); {
	case err == nil:
		found.note(pavise.Info, "", "%s (%d records)", report.Conclusion, report.Signed)
	case kind == pavise.NotFound || kind == pavise.Invalid:
		return found, err
	case errors.Is(err, errDerived):
		found.note(pavise.Warning, "run this again with --repair", "%s", pavise.MsgOf(err))
		found.Findings[0].Repairable = true
	default:
		found.note(pavise.Critical, hint(err), "%s", pavise.MsgOf(err))
	}
	proved := uint64(0)
	if err == nil || errors.Is(err, errDerived) {
		found.behind(report)
		proved = report.Signed
	}
	if err := found.readRecords(d, proved); err != nil {
		return found, err
	}
	return found, found.lookAround(d)
}

// behind says what lies behind the signed end, where nothing is proved.
func (d *Diagnosis) behind(r Report) {
	if newer := r.Records - r.Signed; newer > 0 {
		d.note(pavise.Info, "start pavise: it signs them", "%d records lie behind the signed end: they prove nothing", newer)
	}
	if r.Trailing > 0 {
		d.note(pavise.Info, "start pavise: it cuts them off and records it", "%d bytes behind the last record are no record", r.Trailing)
	}
}

func hint(err error) string {
	if e, ok := errors.AsType[*pavise.Error](err); ok {
		return e.Hint
	}
	return ""
}

// maxNamed is how many records of one fault are named.
const maxNamed = 5

// readRecords decodes every record, of which the first so many are proved, and compares
// every index with its segment.
func (d *Diagnosis) readRecords(dir disk.Directory, proved uint64) error {
	segments, err := disk.Segments(dir)
	if err != nil {
		return err
	}
	s := scan{proved: proved}
	f, err := dir.Open(disk.LevelName(0), false)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return disk.Fault("open "+disk.LevelName(0), err)
	}
	if err == nil {
		defer f.Close()
		s.leaves = f
	}
	for i, seg := range segments {
		if err := s.read(dir, seg); err != nil {
			return err
		}
		if i == len(segments)-1 {
			break
		}
		switch why, err := staleIndex(dir, seg, segments[i+1].First); {
		case err != nil:
			return err
		case why == missing:
			d.note(pavise.Info, "start pavise: it makes it", "the index of %s %s", seg.Name(), why)
		case why != "":
			d.note(pavise.Warning, "run this again with --repair", "the index of %s %s", seg.Name(), why)
			d.Findings[len(d.Findings)-1].Repairable = true
		}
	}
	if s.unreadable > 0 {
		d.note(pavise.Critical, "a newer pavise may have written them", "%d entries cannot be read as records: %s", s.unreadable, strings.Join(s.named, ", "))
	}
	if s.back > 0 {
		d.note(pavise.Warning, "look at the clock of the machine", "%d times a record is more than two seconds older than one before it, and no accepted clock explains it; the first is record %d", s.back, s.firstBack)
	}
	return nil
}

// A scan reads the records of a log one by one.
type scan struct {
	proved     uint64    // records below this index are what was appended
	leaves     disk.File // the hashes of what was appended; nil: they cannot be read
	unreadable int
	named      []string // the first of those
	newest     time.Time
	back       int // how often time stepped back
	firstBack  uint64
}

func (s *scan) read(dir disk.Directory, seg disk.Segment) error {
	f, err := dir.Open(seg.Name(), false)
	if err != nil {
		return disk.Fault("open "+seg.Name(), err)
	}
	defer f.Close()
	frames := disk.NewFrames(reader(f, seg.Size))
	for index := seg.First; ; index++ {
		entry, err := frames.Next()
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil // whether it should be the end is Verify's
		}
		if err != nil {
			return disk.Fault("read "+seg.Name(), err)
		}
		r, err := record.Decode(entry)
		if err != nil {
			if !s.appended(index, entry) {
				continue // it was changed since, which is Verify's to say
			}
			if s.unreadable++; len(s.named) < maxNamed {
				s.named = append(s.named, fmt.Sprint(index))
			}
			continue
		}
		s.time(index, &r)
	}
}

// appended reports whether an entry is what was appended: the log is proved so far, or
// its hash of then says so.
func (s *scan) appended(index uint64, entry []byte) bool {
	var have tlog.Hash
	if index < s.proved || s.leaves == nil {
		return index < s.proved
	}
	_, err := s.leaves.ReadAt(have[:], int64(index)*tlog.HashSize)
	return err == nil && have == proof.Leaf(entry)
}

// time follows the clock. An act carries when it began, so it may lie before what
// was written meanwhile, by as long as it took.
func (s *scan) time(index uint64, r *record.Record) {
	at := r.At.Add(r.Took)
	if r.Kind == "guard.clock" {
		s.newest = at
	}
	if at.Before(s.newest.Add(-2*time.Second)) && r.Phase != record.Act {
		if s.back++; s.back == 1 {
			s.firstBack = index
		}
	}
	if at.After(s.newest) {
		s.newest = at
	}
}

// missing is what is wrong with an index that is not there, which harms nobody: the
// log's next start makes it.
const missing = "is missing"

// staleIndex says what is wrong with the index of a segment, or "". The error says
// that it could not look.
func staleIndex(dir disk.Directory, seg disk.Segment, end uint64) (why string, err error) {
	have, err := disk.Read(dir, disk.IndexName(seg.First), 1<<30)
	if errors.Is(err, os.ErrNotExist) {
		return missing, nil
	}
	if err != nil {
		return "cannot be read: " + err.Error(), nil
	}
	made, err := disk.MakeIndex(dir, seg)
	if err != nil {
		return "", err
	}
	if seg.First+made.Count() != end || !bytes.Equal(have, made.Encode(seg)) {
		return "does not say what its records do: searches may miss some", nil
	}
	return "", nil
}

// lookAround says what else lies in the directory.
func (d *Diagnosis) lookAround(dir disk.Directory) error {
	names, err := dir.List()
	if err != nil {
		return disk.Fault("list the evidence log", err)
	}
	for _, name := range names {
		_, segment := disk.ParseSegmentName(name)
		known := segment || strings.HasPrefix(name, "hash.") || strings.HasPrefix(name, "index-")
		switch name {
		case "origin", "checkpoint", "witnessed", "cut.noted":
			known = true
		case "cut":
			d.note(pavise.Warning, "start pavise: it records it", "a torn end was cut off, and no record says so yet")
			known = true
		}
		if !known {
			d.note(pavise.Info, "remove it if you know that nothing needs it", "%.80q is no part of a log", name)
		}
	}
	if open := len(d.Report.Open); open > 0 {
		d.note(pavise.Info, "start pavise: it closes them", "%d acts were entered and have no ending: the log was not closed", open)
	}
	return nil
}

// Repair makes the derived files of a log anew from its records: the hash files of
// those that are under the checkpoint, and all indexes, which the log's next start
// writes. Records and signatures are not touched. Whoever calls it holds the
// directory's lock. The error is of kind Unverified when the records are not those
// that the checkpoint signs: then nothing is changed.
func Repair(d disk.Directory, opts Options) error {
	report, err := VerifyOn(d, opts)
	if err != nil && !errors.Is(err, errDerived) {
		return err
	}
	if err := writeHashes(d, report.First, report.Signed); err != nil {
		return err
	}
	segments, err := disk.Segments(d)
	if err != nil {
		return err
	}
	for _, seg := range segments {
		if err := d.Remove(disk.IndexName(seg.First)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return disk.Fault("remove "+disk.IndexName(seg.First), err)
		}
	}
	if err := d.Sync(); err != nil {
		return disk.Fault("sync the directory", err)
	}
	return nil
}

// writeHashes writes the hash files of the first size records. Of those before first,
// which were pruned, the leaf hashes are all there is: the checkpoint's root has
// proved them.
func writeHashes(d disk.Directory, first, size uint64) error {
	w := &hashWriter{dir: d}
	if first > 0 {
		if err := w.readLeaves(first); err != nil {
			return err
		}
	}
	segments, err := disk.Segments(d)
	if err != nil {
		return err
	}
	for _, seg := range segments {
		if w.tree.Size() >= size {
			break
		}
		if err := w.read(seg, size); err != nil {
			return err
		}
	}
	if w.tree.Size() < size {
		return &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("the records changed while they were read: %d of %d are there", w.tree.Size(), size), Hint: "is a pavise running there?"}
	}
	return w.flush(true)
}

// A hashWriter grows the hash files from records.
type hashWriter struct {
	dir    disk.Directory
	tree   proof.Range
	levels [][]byte // hashes not written yet
	at     []int64  // where they belong
}

// readLeaves takes in the leaf hashes of records that were pruned, which stay as they
// are.
func (w *hashWriter) readLeaves(first uint64) error {
	name := disk.LevelName(0)
	f, err := w.dir.Open(name, false)
	if err != nil {
		return disk.Fault("open "+name, err)
	}
	defer f.Close()
	err = disk.Hashes(f, first, func(leaf tlog.Hash) {
		w.add(leaf)
		w.levels[0] = w.levels[0][:0]
	})
	if err != nil {
		return disk.Fault("read "+name, err)
	}
	w.at[0] = int64(first) * tlog.HashSize
	return nil
}

func (w *hashWriter) read(seg disk.Segment, size uint64) error {
	f, err := w.dir.Open(seg.Name(), false)
	if err != nil {
		return disk.Fault("open "+seg.Name(), err)
	}
	defer f.Close()
	frames := disk.NewFrames(reader(f, seg.Size))
	for w.tree.Size() < size {
		entry, err := frames.Next()
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil
		}
		if err != nil {
			return disk.Fault("read "+seg.Name(), err)
		}
		w.add(proof.Leaf(entry))
		if w.tree.Size()%(1<<16) == 0 {
			if err := w.flush(false); err != nil {
				return err
			}
		}
	}
	return nil
}

// add adds a leaf.
func (w *hashWriter) add(leaf tlog.Hash) {
	w.keep(0, leaf)
	w.tree.Add(0, leaf, func(k int, root tlog.Hash) {
		if k%proof.TileHeight == 0 {
			w.keep(k/proof.TileHeight, root)
		}
	})
}

func (w *hashWriter) keep(level int, h tlog.Hash) {
	if level == len(w.levels) {
		w.levels, w.at = append(w.levels, nil), append(w.at, 0)
	}
	w.levels[level] = append(w.levels[level], h[:]...)
}

// flush writes what is there; at the end it cuts off what lies behind, and syncs.
func (w *hashWriter) flush(end bool) error {
	for level, hashes := range w.levels {
		name := disk.LevelName(level)
		f, err := w.dir.Open(name, true)
		if err != nil {
			return disk.Fault("open "+name, err)
		}
		_, err = f.WriteAt(hashes, w.at[level])
		w.at[level] += int64(len(hashes))
		w.levels[level] = hashes[:0]
		if err == nil && end {
			err = errors.Join(f.Truncate(w.at[level]), f.Sync())
		}
		f.Close()
		if err != nil {
			return disk.Fault("write "+name, err)
		}
	}
	return nil
}
