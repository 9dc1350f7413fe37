// Package parquetpage looks at the pages of Parquet before a library reads them: what their
// headers say, and whether they unpack to no more than that. It owns the walk through Thrift's
// compact protocol that believes nothing, and no state beside its decoders.
package parquetpage

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/format"
)

// A Header is what the header of a page says.
type Header struct {
	Size             int64 // bytes of the header itself; 0: it is none
	Packed, Unpacked int64 // bytes of what follows; -1: it does not say
	Kind             int64 // a format.PageType
	Most             int64 // values by any of the headers within

	v1, v2 int64 // values by those of data pages
	levels int64 // bytes of levels before what is packed, in a page of version 2
	plain  bool  // a page of version 2 that says that it is not packed
}

// Values returns how many values the page has, by the header that goes with its kind.
func (h *Header) Values() int64 {
	switch h.Kind {
	case int64(format.DataPage):
		return h.v1
	case int64(format.DataPageV2):
		return h.v2
	}
	return 0
}

// maxHeader is how long a header may be, in bytes.
const maxHeader = 1 << 20

// ReadAt reads the header of the page at an offset of a file, in which the chunk of its column
// ends at end: a little of it, and more where that is not enough. The Size of one that is
// damaged, or too long, is 0; errors are those of reading.
func ReadAt(r io.ReaderAt, at, end int64) (Header, error) {
	for size := int64(512); ; size *= 16 {
		size = min(size, maxHeader, end-at)
		room := make([]byte, size)
		n, err := r.ReadAt(room, at)
		if err != nil && err != io.EOF {
			return Header{}, err
		}
		if h, err := Read(room[:n]); err == nil {
			return h, nil
		}
		if size == maxHeader || size == end-at {
			return Header{}, nil
		}
	}
}

// Read reads the header that b begins with.
func Read(b []byte) (Header, error) {
	h := Header{Packed: -1, Unpacked: -1, Kind: -1}
	n, err := Walk(b, func(path []int16, begins bool, value int64) {
		switch {
		case begins:
		case slices.Equal(path, []int16{1}):
			h.Kind = value
		case slices.Equal(path, []int16{2}):
			h.Unpacked = value
		case slices.Equal(path, []int16{3}):
			h.Packed = value
		case len(path) == 2 && path[1] == 1 && (path[0] == 5 || path[0] == 7 || path[0] == 8):
			switch path[0] { // of a data page, a dictionary, a data page of version 2
			case 5:
				h.v1 = value
			case 8:
				h.v2 = value
			}
			if h.Most = max(h.Most, value); value < 0 {
				h.Most = math.MaxInt64
			}
		case slices.Equal(path, []int16{8, 5}), slices.Equal(path, []int16{8, 6}):
			h.levels += max(value, 0)
		case slices.Equal(path, []int16{8, 7}):
			h.plain = value == 0
		}
	})
	h.Size = int64(n)
	return h, err
}

// A Check unpacks pages to see that they hold no more than they say: libraries unpack a page to
// its end, however long it is. What is unpacked is thrown away as it comes. It is for one
// goroutine, and is closed at the end.
type Check struct {
	in     *bufio.Reader
	room   []byte
	gzip   *gzip.Reader
	brotli *brotli.Reader
	zstd   *zstd.Decoder
}

// maxWindow bounds what Zstandard remembers of a page.
const maxWindow = 1 << 27

// Page looks at a page that is packed in one way, whose bytes behind the header r has. Errors say
// what is wrong with it, for people.
func (c *Check) Page(codec format.CompressionCodec, h *Header, r io.Reader) error {
	if codec == format.Uncompressed {
		return nil
	}
	if h.Kind == int64(format.DataPageV2) {
		if h.levels > h.Packed {
			return errors.New("its levels are longer than it is")
		}
		if h.plain {
			return nil
		}
		if _, err := io.CopyN(io.Discard, r, h.levels); err != nil {
			return err
		}
		if h.Packed == h.levels {
			return nil // of nothing but levels
		}
	}
	if c.in == nil {
		c.in, c.room = bufio.NewReaderSize(nil, 1<<16), make([]byte, 1<<16)
	}
	c.in.Reset(r)
	if codec == format.Snappy { // which says how much it is, and is held to that
		n, err := binary.ReadUvarint(c.in)
		if err != nil {
			return errors.New("it is damaged")
		}
		if n > uint64(h.Unpacked) {
			return c.more()
		}
		return nil
	}
	from, err := c.unpacker(codec)
	if err != nil {
		return err
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, io.LimitReader(from, h.Unpacked+1), c.room)
	if n > h.Unpacked {
		return c.more()
	}
	if err != nil {
		return fmt.Errorf("it is damaged: %w", err)
	}
	return nil
}

func (c *Check) more() error { return errors.New("it unpacks to more than it says") }

// unpacker returns what unpacks a page from its beginning. LZ4 has none: the library (parquet-go
// 0.32.0) makes its room twice as large, without end, for a page that is damaged, and loses the
// values of one that unpacks to less than three times its size.
func (c *Check) unpacker(codec format.CompressionCodec) (from io.Reader, err error) {
	switch codec {
	case format.Gzip:
		if c.gzip == nil {
			c.gzip = new(gzip.Reader)
		}
		from, err = c.gzip, c.gzip.Reset(c.in)
	case format.Brotli:
		if c.brotli == nil {
			c.brotli = brotli.NewReader(nil)
		}
		from, err = c.brotli, c.brotli.Reset(c.in)
	case format.Zstd:
		if c.zstd == nil {
			if c.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow)); err != nil {
				return nil, err
			}
		}
		from, err = c.zstd, c.zstd.Reset(c.in)
	default:
		return nil, fmt.Errorf("it is packed with %s, which is not read: write the file with Snappy, Zstandard, gzip or Brotli", codec)
	}
	if err != nil {
		return nil, fmt.Errorf("it is damaged: %w", err)
	}
	return from, nil
}

// Close gives back what the decoders hold.
func (c *Check) Close() {
	if c.zstd != nil {
		c.zstd.Close()
	}
}
