package ledger

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/pavise/pavise"
)

// segmentSize is where a segment ends: at the first bundle boundary beyond it.
const segmentSize = 64 << 20

// The reserve: how much room the active segment keeps allocated beyond its end.
// It is renewed when less than reserveLow is left. When it cannot be, and less
// than reserveFull is left, ordinary records are refused: at that moment one
// batch may be on its way and another gathering, framing included, and behind
// them a mebibyte stays for the records of safe-direction verbs.
const (
	reserveStep = 16 << 20
	reserveLow  = 8 << 20
	reserveFull = 1<<20 + 3*maxPending
)

// A segment is one file of the entry stream. The writer goroutine alone grows
// the last one.
type segment struct {
	name  string
	file  diskFile
	first uint64 // index of its first entry, a multiple of 256
	size  int64
	room  int64 // allocated up to here; owned by the writer
}

func segmentName(first uint64) string { return fmt.Sprintf("entries-%015d.seg", first) }

// parseSegmentName returns the first index in a segment's name.
func parseSegmentName(name string) (first uint64, ok bool) {
	digits, ok := strings.CutPrefix(name, "entries-")
	digits, ok2 := strings.CutSuffix(digits, ".seg")
	if !ok || !ok2 {
		return 0, false
	}
	if _, err := fmt.Sscanf(digits, "%d", &first); err != nil || segmentName(first) != name {
		return 0, false
	}
	return first, first%tileWidth == 0
}

// A stream is all segments: where each entry's bytes are.
//
// The writer goroutine alone grows it; anybody may read.
type stream struct {
	disk disk

	mu       sync.RWMutex // guards what follows
	segments []*segment
	bundles  []int64 // where bundle N begins in its segment, one per 256 entries
	count    uint64  // entries
}

// active returns the segment that grows.
func (s *stream) active() *segment { return s.segments[len(s.segments)-1] }

// roll starts a new segment, with its reserve. What the old one holds must be
// synced already. A roll that fails leaves at most an empty file, which nobody
// minds.
func (s *stream) roll() error {
	name := segmentName(s.count)
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
	s.segments = append(s.segments, &segment{name: name, file: f, first: s.count, room: room})
	return nil
}

// write appends framed entries, n of them, beginning at the given offsets in
// buf, to the active segment. On error the segment is as it was before.
func (s *stream) write(buf []byte, starts []int) error {
	seg := s.active()
	if _, err := seg.file.WriteAt(buf, seg.size); err != nil {
		seg.room = seg.size // truncating gives the reserve back
		return errors.Join(err, seg.file.Truncate(seg.size))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, start := range starts {
		if s.count%tileWidth == 0 {
			s.bundles = append(s.bundles, seg.size+int64(start))
		}
		s.count++
	}
	seg.size += int64(len(buf))
	return nil
}

// bundle returns a reader of the entry bundle that holds entry index, and the
// indexes of the first entry in it and of the first behind it.
func (s *stream) bundle(index uint64) (r *frames, first, end uint64, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if index >= s.count {
		return nil, 0, 0, &pavise.Error{
			Kind: pavise.NotFound,
			Msg:  fmt.Sprintf("the log has no record %d; it holds %d", index, s.count),
		}
	}
	n := index / tileWidth
	seg := s.segmentOf(index)
	from, to := s.bundles[n], seg.size
	if n+1 < uint64(len(s.bundles)) && s.segmentOf((n+1)*tileWidth) == seg {
		to = s.bundles[n+1]
	}
	return newFrames(io.NewSectionReader(seg.file, from, to-from)), n * tileWidth, min(s.count, (n+1)*tileWidth), nil
}

// entry returns the bytes of entry index, found by walking its bundle.
func (s *stream) entry(index uint64) ([]byte, error) {
	r, i, _, err := s.bundle(index)
	if err != nil {
		return nil, err
	}
	for ; ; i++ {
		entry, err := r.next()
		if err != nil {
			return nil, fmt.Errorf("read record %d: %w", index, err)
		}
		if i == index {
			return entry, nil
		}
	}
}

// segmentOf returns the segment that holds entry index. The caller holds mu.
func (s *stream) segmentOf(index uint64) *segment {
	for i := len(s.segments) - 1; ; i-- {
		if s.segments[i].first <= index {
			return s.segments[i]
		}
	}
}

func (s *stream) close() {
	for _, seg := range s.segments {
		seg.file.Close()
	}
}

// frames reads entries off a stream of uint16 length ‖ bytes.
type frames struct {
	r      *bufio.Reader
	buf    []byte
	offset int64 // bytes consumed as whole frames
}

func newFrames(r io.Reader) *frames { return &frames{r: bufio.NewReaderSize(r, 1<<16)} }

// next returns the next entry, valid until the following call. At the end it
// returns io.EOF; a frame cut short is io.ErrUnexpectedEOF.
func (f *frames) next() ([]byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(f.r, head[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(head[:]))
	if cap(f.buf) < n {
		f.buf = make([]byte, maxEntry)
	}
	f.buf = f.buf[:n]
	if _, err := io.ReadFull(f.r, f.buf); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	f.offset += int64(2 + n)
	return f.buf, nil
}
