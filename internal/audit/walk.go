package audit

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/record"
)

// readEntries walks all segments and rebuilds the tree. One goroutine reads and
// parts the bytes into bundles, others hash them, and this one joins the bundles'
// roots, in order: hashing is nearly all of the work.
func (v *verification) readEntries() error {
	segments, err := disk.Segments(v.disk)
	if err != nil {
		return err
	}
	v.openFiles()
	if err := v.skipPruned(segments); err != nil {
		return err
	}
	for _, seg := range segments {
		size := v.tree.Size()
		if seg.First != size && size >= v.signed.Size {
			v.report.Trailing += seg.Size // behind the head nothing need fit, and this does not
			continue
		}
		if seg.First != size {
			return v.fault(size, "%s begins at record %d: records are missing before it", seg.Name(), seg.First)
		}
		if err := v.readSegment(seg); err != nil {
			return err
		}
	}
	v.report.Records = v.tree.Size()
	return nil
}

// openFiles opens the hash files.
func (v *verification) openFiles() {
	for level := 0; v.signed.Size>>(proof.TileHeight*level) > 0; level++ {
		f, err := v.disk.Open(disk.LevelName(level), false)
		if err != nil {
			f = nil // its absence is a difference
		}
		v.files = append(v.files, f)
	}
}

// skipPruned begins the tree of a log whose first records were pruned: their
// hashes are all that is left of them, and the checkpoint's root proves those.
func (v *verification) skipPruned(segments []disk.Segment) error {
	if len(segments) == 0 || segments[0].First == 0 {
		return nil
	}
	first := segments[0].First
	if first > v.signed.Size || len(v.files) == 0 || v.files[0] == nil {
		return v.fault(0, "records 0 to %d are missing", first-1)
	}
	leaves := uint64(0)
	err := disk.Hashes(v.files[0], first, func(leaf tlog.Hash) {
		v.join(0, leaves, leaf)
		leaves++
		v.reached(leaves)
	})
	if err != nil {
		return v.fault(leaves, "records 0 to %d are missing, and so are their hashes: %v", first-1, err)
	}
	v.report.First = first
	return nil
}

// A stretch is up to 256 entries in a row on their way through the walk.
type stretch struct {
	first  uint64 // index of its first entry
	at     int64  // where it lies in its segment
	bytes  []byte // framed entries, whole ones
	starts []int  // where each frame begins
	torn   bool   // what follows it is no whole frame
	err    error  // of reading

	// What the hashing found, once done is closed.
	leaves []tlog.Hash
	root   tlog.Hash // of a full one
	wrong  int       // the first leaf that the hash file has otherwise, or -1
	other  []int     // entries that are no plain act
	bad    int       // the first entry that is none, or -1
	done   chan struct{}
}

// stretches are used again: profiled, making new ones and collecting them took a
// quarter of a walk, and most of the rest was SHA-256.
var stretches = sync.Pool{New: func() any { return &stretch{} }}

// newStretch returns an empty stretch.
func newStretch(first uint64, at int64) *stretch {
	s := stretches.Get().(*stretch)
	*s = stretch{
		first: first, at: at, done: make(chan struct{}),
		bytes: s.bytes[:0], starts: s.starts[:0], leaves: s.leaves[:0], other: s.other[:0],
	}
	return s
}

// readSegment walks one segment.
func (v *verification) readSegment(seg disk.Segment) error {
	f, err := v.disk.Open(seg.Name(), false)
	if err != nil {
		return disk.Fault("open "+seg.Name(), err)
	}
	defer f.Close()
	work := make(chan *stretch)
	ordered := make(chan *stretch, 4*runtime.GOMAXPROCS(0))
	stop := make(chan struct{})
	go v.cutStretches(f, seg, work, ordered, stop)
	workers := runtime.GOMAXPROCS(0)
	if v.opts.Rate > 0 {
		workers = 1
	}
	for range workers {
		go func() {
			for s := range work {
				s.hash(v.files)
				close(s.done)
			}
		}()
	}
	for s := range ordered {
		<-s.done
		if err == nil {
			if err = v.take(seg, s); err != nil {
				close(stop)
			}
		}
		stretches.Put(s)
	}
	if errors.Is(err, errBehind) {
		return nil
	}
	return err
}

// errBehind ends a segment early: what follows lies behind the signed head and is
// no record.
var errBehind = errors.New("no record")

// cutStretches reads a segment and parts it into stretches.
func (v *verification) cutStretches(f disk.File, seg disk.Segment, work, ordered chan<- *stretch, stop <-chan struct{}) {
	defer close(ordered)
	defer close(work)
	r := bufio.NewReaderSize(io.NewSectionReader(f, 0, seg.Size), 1<<20)
	first, at := seg.First, int64(0)
	for done := 0; ; { // bytes of the stretch before
		s := newStretch(first, at)
		if s.err = v.pace(done); s.err == nil {
			s.err = s.read(r)
		}
		last := s.err != nil || s.torn || len(s.starts) < proof.TileWidth
		done = len(s.bytes)
		first, at = first+proof.TileWidth, at+int64(done)
		select {
		case ordered <- s:
		case <-stop:
			return
		}
		work <- s // from now on it is another's
		if last {
			return
		}
	}
}

// errStopped ends a verification that was told to.
var errStopped = errors.New("stopped")

// pace waits as long as so many bytes take at the verifier's rate, and fails once
// it is told to stop.
func (v *verification) pace(bytes int) error {
	wait := time.Duration(0)
	if v.opts.Rate > 0 {
		wait = time.Duration(int64(bytes) * int64(time.Second) / v.opts.Rate)
	}
	if wait == 0 && v.opts.Stop == nil {
		return nil
	}
	select {
	case <-v.opts.Stop:
		return errStopped
	case <-time.After(wait):
		return nil
	}
}

// read takes up to 256 frames off a segment.
func (s *stretch) read(r *bufio.Reader) error {
	s.starts = slices.Grow(s.starts, proof.TileWidth)
	for len(s.starts) < proof.TileWidth {
		head, err := r.Peek(2)
		if err == io.EOF {
			s.torn = len(head) > 0
			return nil
		}
		if err != nil {
			return err
		}
		n := 2 + int(binary.BigEndian.Uint16(head))
		at := len(s.bytes)
		if cap(s.bytes) == 0 {
			s.bytes = make([]byte, 0, proof.TileWidth*(n+n/8))
		}
		s.bytes = slices.Grow(s.bytes, n)[:at+n]
		if _, err := io.ReadFull(r, s.bytes[at:]); err != nil {
			s.bytes, s.torn = s.bytes[:at], true
			if err == io.ErrUnexpectedEOF || err == io.EOF {
				return nil
			}
			return err
		}
		s.starts = append(s.starts, at)
	}
	return nil
}

// frame returns the i-th entry behind the last byte of its length.
func (s *stretch) frame(i int) []byte {
	end := len(s.bytes)
	if i+1 < len(s.starts) {
		end = s.starts[i+1]
	}
	return s.bytes[s.starts[i]+1 : end]
}

// entry returns the i-th entry.
func (s *stretch) entry(i int) []byte { return s.frame(i)[1:] }

// hash finds out what can be known of a stretch alone.
func (s *stretch) hash(files []disk.File) {
	s.wrong, s.bad = -1, -1
	s.leaves = slices.Grow(s.leaves, proof.TileWidth)[:len(s.starts)]
	for i := range s.starts {
		s.leaves[i] = proof.LeafOf(s.frame(i))
		body, err := record.Body(s.entry(i))
		if err != nil && s.bad < 0 {
			s.bad = i
		}
		if err == nil && !plainAct(body) {
			s.other = append(s.other, i)
		}
	}
	if len(files) > 0 && len(s.leaves) > 0 {
		s.compare(files[0])
	}
	if len(s.leaves) == proof.TileWidth {
		s.root = proof.Fold(append(make([]tlog.Hash, 0, proof.TileWidth), s.leaves...))
	}
}

// compare holds the leaves against the hash file.
func (s *stretch) compare(f disk.File) {
	have := make([]byte, len(s.leaves)*tlog.HashSize)
	if f != nil {
		if n, err := f.ReadAt(have, int64(s.first)*tlog.HashSize); err != nil {
			have = have[:n]
		}
	} else {
		have = nil
	}
	for i, leaf := range s.leaves {
		if len(have) < (i+1)*tlog.HashSize || !bytes.Equal(leaf[:], have[i*tlog.HashSize:][:tlog.HashSize]) {
			s.wrong = i
			return
		}
	}
}

// plainAct reports whether a record is the one of an act that neither began nor
// ended another, as our own writer spells it. Whatever is spelled otherwise is
// looked at more closely.
func plainAct(body []byte) bool {
	rest, ok := bytes.CutPrefix(body, []byte(`{"kind":"`))
	end := bytes.IndexByte(rest, '"')
	return ok && end >= 0 && bytes.HasPrefix(rest[end:], []byte(`","phase":"act",`))
}

// take joins a stretch to the tree.
func (v *verification) take(seg disk.Segment, s *stretch) error {
	if s.err != nil {
		return disk.Fault("read "+seg.Name(), s.err)
	}
	for _, i := range s.other {
		if index := s.first + uint64(i); index < v.signed.Size && s.bad < 0 {
			if err := v.note(index, s.entry(i)); err != nil {
				s.bad = i
			}
		}
	}
	if s.bad >= 0 && s.first+uint64(s.bad) < v.signed.Size {
		at := s.at + int64(s.starts[s.bad])
		_, err := record.Decode(s.entry(s.bad))
		return v.fault(s.first+uint64(s.bad), "%s, byte %d: %w", seg.Name(), at, err)
	}
	v.times(s)
	v.grow(s)
	end := s.at + int64(len(s.bytes))
	switch {
	case s.bad >= 0:
		v.report.Trailing += seg.Size - s.at - int64(s.starts[s.bad])
		return errBehind
	case s.torn && v.tree.Size() >= v.signed.Size:
		v.report.Trailing += seg.Size - end // a write cut short; nothing signed is missing
		return errBehind
	case s.torn:
		return v.fault(v.tree.Size(), "%s ends in the middle of an entry, at byte %d", seg.Name(), end)
	}
	return nil
}

// times notes when the first and the last signed record were written.
func (v *verification) times(s *stretch) {
	if len(s.starts) == 0 || s.first >= v.signed.Size {
		return
	}
	if v.report.From.IsZero() {
		g, _ := record.Glance(s.entry(0))
		v.report.From = g.At
	}
	if last := v.signed.Size - 1 - s.first; last < uint64(len(s.starts)) {
		g, _ := record.Glance(s.entry(int(last)))
		v.report.To = g.At
	}
}

// grow adds the leaves of a stretch to the tree: all at once, unless the root in
// the middle of it is wanted.
func (v *verification) grow(s *stretch) {
	leaves := s.leaves
	if s.bad >= 0 {
		leaves = leaves[:s.bad]
	}
	if s.wrong >= 0 && s.first+uint64(s.wrong) < v.signed.Size {
		v.differ(0, s.first+uint64(s.wrong))
	}
	if len(leaves) == proof.TileWidth && !v.wants(s.first+1, s.first+proof.TileWidth-1) {
		v.join(proof.TileHeight, s.first, s.root)
		v.reached(v.tree.Size())
	} else {
		for i, leaf := range leaves {
			v.join(0, s.first+uint64(i), leaf)
			v.reached(v.tree.Size())
		}
	}
	if v.opts.Progress != nil && v.tree.Size()>>16 > s.first>>16 {
		v.opts.Progress(v.tree.Size())
	}
}

// join adds a complete subtree of 2^k leaves that begins at leaf first, and holds
// the roots that this completes against the hash files. The leaves themselves are
// compared by who hashed them.
func (v *verification) join(k int, first uint64, root tlog.Hash) {
	end := first + 1<<k
	if k > 0 {
		v.compareNode(k, end, root)
	}
	v.tree.Add(k, root, func(k int, root tlog.Hash) { v.compareNode(k, end, root) })
}

// compareNode holds the root of the subtree of 2^k leaves that ends at leaf end
// against its level's file.
func (v *verification) compareNode(k int, end uint64, root tlog.Hash) {
	if k%proof.TileHeight != 0 || end > v.signed.Size {
		return
	}
	level, n := k/proof.TileHeight, end>>k-1
	var have tlog.Hash
	if f := v.files[level]; f != nil {
		if _, err := f.ReadAt(have[:], int64(n)*tlog.HashSize); err == nil && have == root {
			return
		}
	}
	v.differ(level, n<<k)
}

// differ notes where a hash file disagrees, unless one did before.
func (v *verification) differ(level int, record uint64) {
	if v.differs == nil {
		v.differs = &difference{file: disk.LevelName(level), record: record}
	}
}

// wants reports whether the root of a tree of from to to leaves is wanted.
func (v *verification) wants(from, to uint64) bool {
	for size := range v.roots {
		if from <= size && size <= to {
			return true
		}
	}
	return false
}

// reached notes the root of the tree of so many leaves, if it is wanted.
func (v *verification) reached(size uint64) {
	if _, wanted := v.roots[size]; wanted {
		v.roots[size] = v.tree.Root()
	}
}

// reader reads the first size bytes of a file.
func reader(f io.ReaderAt, size int64) io.Reader { return io.NewSectionReader(f, 0, size) }
