package ledger

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"sync"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/disk"
)

// segmentSize is where a segment ends: at the first bundle boundary beyond it.
const segmentSize = 64 << 20

// The reserve: how much room the active segment keeps allocated beyond its end.
// It is renewed when less than reserveLow is left. When it cannot be, and less
// than reserveFull is left, ordinary records are refused, those that wait in memory
// too: a batch that was written just before leaves a mebibyte for the records of
// safe-direction verbs.
const (
	reserveStep = 16 << 20
	reserveLow  = 8 << 20
	reserveFull = 1<<20 + maxBatch
)

// frameHead is how many bytes say how long an entry is.
const frameHead = 2

// A segment is one file of the entry stream. Whoever has the log's pen grows the
// last one, the active segment.
type segment struct {
	disk.Segment           // its Size is guarded by the stream's mu, in the active segment
	file         disk.File // of the active segment, for its writer; whoever reads opens one of their own
	room         int64     // allocated up to here; owned by whoever has the pen
	// index is guarded by the stream's mu. In all but the active segment it changes
	// only when a file takes the place of memory.
	index *disk.Index
}

// end returns the index behind its last entry.
func (s *segment) end() uint64 { return s.First + s.index.Count() }

// A stream is all segments: where each entry's bytes are.
//
// Whoever has the log's pen grows it; anybody may read.
type stream struct {
	disk disk.Directory

	mu       sync.RWMutex // guards what follows
	segments []*segment
	count    uint64 // entries
	recent   recent
}

// recent remembers where the last entries that this process wrote begin in their
// segments. Entry i is at i modulo maxRecent.
type recent struct {
	places [maxRecent]int64
	known  uint64 // how many of the last entries those are
}

// maxRecent bounds what is remembered: 64 KiB. It is the new records that are proved
// most, and to find one within its bundle the 127 before it were read, on average:
// profiled, half of what a proof cost.
const maxRecent = 8 << 10

// active returns the segment that grows. The caller holds mu or has the pen.
func (s *stream) active() *segment { return s.segments[len(s.segments)-1] }

// first returns the index of the first entry that is here: those before it were
// pruned. The caller holds mu.
func (s *stream) first() uint64 {
	if len(s.segments) == 0 {
		return 0
	}
	return s.segments[0].First
}

// roll starts a new segment, with its reserve. What the old one holds must be
// synced already. A roll that fails leaves at most an empty file, which nobody
// minds.
func (s *stream) roll() error {
	name := disk.SegmentName(s.count)
	f, err := s.disk.Open(name, true)
	if err != nil {
		return err
	}
	room := int64(reserveStep)
	if err = f.Reserve(room); err != nil && len(s.segments) == 0 {
		room, err = 0, nil // the first segment is needed even on a full disk
	}
	if err == nil {
		err = s.disk.Sync()
	}
	if err != nil {
		f.Close()
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.segments = append(s.segments, &segment{Segment: disk.Segment{First: s.count}, file: f, room: room, index: disk.NewIndex()})
	return nil
}

// write appends framed entries, which begin at the given offsets in buf, to the
// active segment. On error the segment is as it was before.
func (s *stream) write(buf []byte, starts []int, entries []*entry) error {
	seg := s.active()
	if _, err := seg.file.WriteAt(buf, seg.Size); err != nil {
		seg.room = seg.Size // truncating gives the reserve back
		return errors.Join(err, seg.file.Truncate(seg.Size))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, start := range starts {
		seg.index.Add(seg.Size+int64(start), &entries[i].marks)
		s.recent.places[(s.count+uint64(i))%maxRecent] = seg.Size + int64(start)
	}
	s.recent.known = min(s.recent.known+uint64(len(starts)), maxRecent)
	s.count += uint64(len(starts))
	seg.Size += int64(len(buf))
	return nil
}

// A bundle is up to 256 entries in a row, as they lie in a segment.
type bundle struct {
	name  string // of the segment's file
	first uint64 // index of its first entry
	end   uint64 // index behind its last entry
	from  int64  // where it lies in the segment
	to    int64
}

// bundle finds the entry bundle that holds entry index.
func (s *stream) bundle(index uint64) (bundle, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if index >= s.count {
		return bundle{}, &pavise.Error{
			Kind: pavise.NotFound,
			Msg:  fmt.Sprintf("the log has no record %d; it holds %d", index, s.count),
		}
	}
	if first := s.first(); index < first {
		return bundle{}, &pavise.Error{
			Kind: pavise.NotFound,
			Msg:  fmt.Sprintf("record %d was pruned: this machine keeps the records from %d on", index, first),
			Hint: "it lies in the archive: pavise archive list says where",
		}
	}
	seg := s.segmentOf(index)
	n := int(index-seg.First) / tileWidth
	b := bundle{name: seg.Name(), first: seg.First + uint64(n)*tileWidth}
	b.end = min(seg.end(), b.first+tileWidth)
	b.from, b.to = seg.index.Bundle(n, seg.Size)
	return b, nil
}

// place finds as little of a bundle as is known to hold entry index.
func (s *stream) place(index uint64) (bundle, error) {
	b, err := s.bundle(index)
	if err != nil {
		return b, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.count-index > s.recent.known {
		return b, nil
	}
	b.first, b.from = index, s.recent.places[index%maxRecent]
	if index+1 < b.end {
		b.to = s.recent.places[(index+1)%maxRecent]
	}
	return b, nil
}

// bytes reads a bundle.
func (s *stream) bytes(b bundle) ([]byte, error) {
	f, err := s.disk.Open(b.name, false)
	if err != nil {
		return nil, disk.Fault("open "+b.name, err)
	}
	defer f.Close()
	text := make([]byte, b.to-b.from)
	n, err := f.ReadAt(text, b.from)
	if err != nil && err != io.EOF { // a file cut short holds some records still
		return nil, disk.Fault("read "+b.name, err)
	}
	return text[:n], nil
}

// windows are what single entries are read through, one after another: a bundle whole
// costs five times as much.
var windows = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 32<<10) }}

// entry reads one entry, which nobody has checked yet, past those before it in what
// place found.
func (s *stream) entry(index uint64) ([]byte, error) {
	b, err := s.place(index)
	if err != nil {
		return nil, err
	}
	f, err := s.disk.Open(b.name, false)
	if err != nil {
		return nil, disk.Fault("open "+b.name, err)
	}
	defer f.Close()
	window := windows.Get().(*bufio.Reader)
	defer windows.Put(window)
	window.Reset(io.NewSectionReader(f, b.from, b.to-b.from))
	entry, err := nth(window, index-b.first)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil, damaged(index)
	}
	if err != nil {
		return nil, disk.Fault("read "+b.name, err)
	}
	return entry, nil
}

// nth reads the entry behind n others.
func nth(window *bufio.Reader, n uint64) ([]byte, error) {
	for {
		head, err := window.Peek(2)
		if err != nil {
			return nil, err
		}
		size := int(binary.BigEndian.Uint16(head))
		if n == 0 {
			entry := make([]byte, 2+size)
			_, err := io.ReadFull(window, entry)
			return entry[2:], err
		}
		if _, err := window.Discard(2 + size); err != nil {
			return nil, err
		}
		n--
	}
}

// segmentOf returns the segment that holds entry index. The caller holds mu.
func (s *stream) segmentOf(index uint64) *segment {
	i := sort.Search(len(s.segments), func(i int) bool { return s.segments[i].First > index })
	return s.segments[i-1]
}

// snapshot returns the segments as they are now.
func (s *stream) snapshot() []*segment {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.segments)
}

func (s *stream) close() {
	for _, seg := range s.segments {
		if seg.file != nil {
			seg.file.Close()
		}
	}
}
