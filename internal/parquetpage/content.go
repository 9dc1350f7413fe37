package parquetpage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/parquet-go/parquet-go/format"
)

// A Column is what the schema says of the column of a page.
type Column struct {
	Repetition, Definition int // the highest levels
	Boolean                bool
}

// Bounds on what a page holds, beyond what its header says.
const (
	maxContent = 256 << 20 // bytes of its values
	slack      = 1 << 16   // values by which its last run may be filled up
	maxBlock   = 1 << 16   // values of a block of deltas
)

// plainDictionary is the older name, which is still written, of what a dictionary and its indexes are.
const plainDictionary = format.Encoding(2)

var (
	errDamaged = errors.New("it is damaged")
	errValues  = errors.New("it holds more values than it says")
)

// content looks at what a page unpacks to: that its runs, its differences and its beginnings of
// texts in common make no more of it than its header says. A run of billions is a few bytes long,
// and libraries make room for it before they look how many values there ought to be. It returns how
// many bytes the values take beyond those of the page.
func (h *Header) content(b []byte, c Column) (more int64, err error) {
	encoding := h.encoding
	switch h.Kind {
	case int64(format.DictionaryPage):
		if encoding != int64(format.Plain) && encoding != int64(plainDictionary) {
			return 0, fmt.Errorf("its dictionary is encoded in a way (%d) that there is none", encoding)
		}
		return 0, nil
	case int64(format.DataPage):
		for _, level := range []struct {
			most     int
			encoding int64
		}{{c.Repetition, h.repetition}, {c.Definition, h.definition}} {
			if level.most == 0 {
				continue
			}
			runs, rest, err := prefixed(b)
			if err == nil && level.encoding == int64(format.RLE) { // the other way takes a bit for each at least
				err = h.runs(runs, bits.Len(uint(level.most)))
			}
			if b = rest; err != nil {
				return 0, err
			}
		}
	case int64(format.DataPageV2):
		if h.nulls < 0 || h.nulls > h.v2 || h.levels > int64(len(b)) {
			return 0, errDamaged
		}
		repetition, definition := b[:h.before], b[h.before:h.levels]
		if c.Repetition > 0 {
			err = h.runs(repetition, bits.Len(uint(c.Repetition)))
		}
		if c.Definition > 0 && err == nil {
			err = h.runs(definition, bits.Len(uint(c.Definition)))
		}
		if b = b[h.levels:]; err != nil {
			return 0, err
		}
	default:
		return 0, nil // which nobody reads
	}
	return h.values(b, c)
}

// values looks at the values of a data page.
func (h *Header) values(b []byte, c Column) (more int64, err error) {
	switch format.Encoding(h.encoding) {
	case plainDictionary, format.RLEDictionary:
		if len(b) == 0 {
			return 0, nil
		}
		if b[0] > 32 {
			return 0, errDamaged
		}
		return 0, h.runs(b[1:], int(b[0]))
	case format.RLE:
		if !c.Boolean {
			return 0, errors.New("its values are runs, as those of truth alone may be")
		}
		runs, _, err := prefixed(b)
		if err != nil {
			return 0, err
		}
		return 0, h.runs(runs, 1)
	case format.DeltaBinaryPacked, format.DeltaLengthByteArray:
		_, _, err = h.deltas(b, false)
		return 0, err
	case format.DeltaByteArray:
		rest, shared, err := h.deltas(b, true)
		if err == nil {
			_, _, err = h.deltas(rest, false)
		}
		if err == nil && shared > maxContent {
			err = fmt.Errorf("its texts begin alike, and unpack to more than %d MiB", maxContent>>20)
		}
		return shared, err
	}
	return 0, nil // as long as what they are written in
}

// prefixed parts what has its length in front from what follows.
func prefixed(b []byte) (part, rest []byte, err error) {
	if len(b) < 4 || int64(binary.LittleEndian.Uint32(b)) > int64(len(b)-4) {
		return nil, nil, errDamaged
	}
	n := binary.LittleEndian.Uint32(b)
	return b[4:][:n], b[4:][n:], nil
}

// runs goes through runs and groups of numbers of a width in bits, and counts them.
func (h *Header) runs(b []byte, width int) error {
	for total := uint64(0); len(b) > 0; {
		head, n := binary.Uvarint(b)
		if n <= 0 {
			return errDamaged
		}
		b = b[n:]
		count, size := head>>1, uint64(width+7)/8
		if head&1 != 0 {
			if count > maxContent {
				return errValues
			}
			count, size = 8*count, count*uint64(width)
		}
		if count == 0 {
			continue
		}
		if count > uint64(h.Most)+slack || size > uint64(len(b)) {
			return errValues
		}
		if total += count; total > uint64(h.Most)+slack {
			return errValues
		}
		b = b[size:]
	}
	return nil
}

// deltas goes through numbers that are packed as differences (DELTA_BINARY_PACKED), and returns
// what follows them; and their sum where that is asked for, of which none may be below 0.
func (h *Header) deltas(b []byte, add bool) (rest []byte, sum int64, err error) {
	var head [3]uint64 // the size of a block, how many parts it has, how many numbers there are
	for i := range head {
		n := 0
		if head[i], n = binary.Uvarint(b); n <= 0 {
			return nil, 0, errDamaged
		}
		b = b[n:]
	}
	first, n := binary.Varint(b)
	if n <= 0 || head[0] == 0 || head[0] > maxBlock || head[1] == 0 || head[1] > head[0] {
		return nil, 0, errDamaged
	}
	if b = b[n:]; head[2] > uint64(h.Most) {
		return nil, 0, errValues
	}
	last, left, each, parts := int32(first), int(head[2]), int(head[0]/head[1]), int(head[1])
	if left == 0 {
		return b, 0, nil
	}
	if left--; add {
		sum = int64(last)
	}
	for left > 0 {
		least, n := binary.Varint(b)
		if n <= 0 || len(b)-n < parts {
			return nil, 0, errDamaged
		}
		widths := b[n:][:parts]
		b = b[n+parts:]
		for _, width := range widths {
			if left == 0 {
				break
			}
			size := min(each*int(width)/8, len(b))
			if width > 64 || add && width > 32 {
				return nil, 0, errDamaged
			}
			count := min(each, left)
			for i := 0; add && i < count; i++ {
				last += int32(least) + int32(packed(b[:size], i*int(width), int(width)))
				if sum += int64(last); last < 0 {
					return nil, 0, errDamaged
				}
			}
			b, left = b[size:], left-count
		}
	}
	return b, sum, nil
}

// packed returns the number of a width in bits, 32 at most, that begins at a bit, the lowest first.
func packed(b []byte, at, width int) uint32 {
	var eight [8]byte
	if i := at / 8; i < len(b) {
		copy(eight[:], b[i:])
	}
	return uint32(binary.LittleEndian.Uint64(eight[:]) >> (at % 8) & (1<<width - 1))
}
