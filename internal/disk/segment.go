package disk

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/record"
)

// A Segment is one file of the entry stream.
type Segment struct {
	First uint64 // index of its first entry, a multiple of 256
	Size  int64  // bytes
}

// Name returns the name of the segment's file.
func (s Segment) Name() string { return SegmentName(s.First) }

// SegmentName returns the name of the file of the segment that begins with an
// entry.
func SegmentName(first uint64) string { return fmt.Sprintf("entries-%015d.seg", first) }

// IndexName returns the name of the index file of that segment.
func IndexName(first uint64) string { return fmt.Sprintf("index-%015d", first) }

// LevelName returns the name of the file of a level of tile hashes.
func LevelName(level int) string { return fmt.Sprintf("hash.%d", level) }

// ParseSegmentName returns the first index in a segment's name.
func ParseSegmentName(name string) (first uint64, ok bool) {
	digits, ok := strings.CutPrefix(name, "entries-")
	digits, ok2 := strings.CutSuffix(digits, ".seg")
	if !ok || !ok2 {
		return 0, false
	}
	if _, err := fmt.Sscanf(digits, "%d", &first); err != nil || SegmentName(first) != name {
		return 0, false
	}
	return first, first%proof.TileWidth == 0
}

// Segments lists the segments of a log in order, but for empty ones, which a roll
// that failed may leave. What is in them is not known yet.
func Segments(d Directory) ([]Segment, error) {
	names, err := d.List()
	if err != nil {
		return nil, Fault("list the evidence log", err)
	}
	var segments []Segment
	for _, name := range names {
		first, ok := ParseSegmentName(name)
		if !ok {
			continue
		}
		size, err := Size(d, name)
		if err != nil {
			return nil, Fault("look at "+name, err)
		}
		if size > 0 {
			segments = append(segments, Segment{First: first, Size: size})
		}
	}
	slices.SortFunc(segments, func(a, b Segment) int { return cmp.Compare(a.First, b.First) })
	return segments, nil
}

// Hashes calls take with the first n hashes of a file of them.
func Hashes(f io.ReaderAt, n uint64, take func(tlog.Hash)) error {
	r := bufio.NewReaderSize(io.NewSectionReader(f, 0, int64(n)*tlog.HashSize), 1<<16)
	var h tlog.Hash
	for range n {
		if _, err := io.ReadFull(r, h[:]); err != nil {
			return err
		}
		take(h)
	}
	return nil
}

// NextFrame takes the first entry off framed bytes; ok is false when no whole one
// is there.
func NextFrame(b []byte) (entry, rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, b, false
	}
	n := 2 + int(binary.BigEndian.Uint16(b))
	if len(b) < n {
		return nil, b, false
	}
	return b[2:n:n], b[n:], true
}

// Frames reads entries off a stream of uint16 length ‖ bytes.
type Frames struct {
	r      *bufio.Reader
	buf    []byte
	Offset int64 // bytes consumed as whole frames
}

// NewFrames reads frames from r.
func NewFrames(r io.Reader) *Frames { return &Frames{r: bufio.NewReaderSize(r, 1<<16)} }

// Next returns the next entry, valid until the following call. At the end it
// returns io.EOF; a frame cut short is io.ErrUnexpectedEOF.
func (f *Frames) Next() ([]byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(f.r, head[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(head[:]))
	if cap(f.buf) < n {
		f.buf = make([]byte, record.MaxEntry)
	}
	f.buf = f.buf[:n]
	if _, err := io.ReadFull(f.r, f.buf); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	f.Offset += int64(2 + n)
	return f.buf, nil
}
