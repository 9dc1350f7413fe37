// Package parquetpage looks at the pages of Parquet before a library reads them: what their
// headers say, and whether they unpack to no more than that. It owns the walk through Thrift's
// compact protocol that believes nothing, and no state beside its decoders.
package parquetpage

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/format"
)

// A Header is what the header of a page says.
type Header struct {
	Size             int64 // bytes of the header itself; 0: it is none
	Packed, Unpacked int64 // bytes of what follows; -1: it does not say
	Kind             int64 // a format.PageType
	Most             int64 // values by any of the headers within

	v1, v2         int64 // values by those of data pages
	before, levels int64 // bytes of levels of repetition, and of all levels, before what is packed, in a page of version 2
	nulls          int64 // of a page of version 2
	plain          bool  // a page of version 2 that says that it is not packed
	encoding       int64 // a format.Encoding, by the header that goes with its kind

	encodings              [9]int64 // by the number of the header within
	repetition, definition int64    // how levels are encoded, in a page of version 1
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

// Read reads the header that b begins with. One that says a thing twice is damaged.
func Read(b []byte) (Header, error) {
	h := Header{Packed: -1, Unpacked: -1, Kind: -1}
	var said [4]uint64
	twice := false
	n, err := Walk(b, func(path []int16, begins bool, value int64) {
		if len(path) == 0 || len(path) > 2 || path[0] < 0 || path[0] > 15 {
			return
		}
		field := int16(0)
		if len(path) == 2 {
			if field = path[1]; field < 0 || field > 15 {
				return
			}
		}
		bit := uint64(1) << (path[0]%4*16 + field)
		twice = twice || said[path[0]/4]&bit != 0
		said[path[0]/4] |= bit
		switch {
		case begins:
		case len(path) == 1:
			h.field(path[0], value)
		case path[0] == 5 || path[0] == 7 || path[0] == 8:
			h.within(path[0], field, value)
		}
	})
	if err == nil && twice {
		err = errThrift
	}
	h.levels += h.before
	switch h.Kind {
	case int64(format.DataPage):
		h.encoding = h.encodings[5]
	case int64(format.DictionaryPage):
		h.encoding = h.encodings[7]
	case int64(format.DataPageV2):
		h.encoding = h.encodings[8]
	}
	h.Size = int64(n)
	return h, err
}

// field takes what the header says of any page.
func (h *Header) field(number int16, value int64) {
	switch number {
	case 1:
		h.Kind = value
	case 2:
		h.Unpacked = value
	case 3:
		h.Packed = value
	}
}

// within takes what the header within says: of a data page (5), a dictionary (7) or a data page of
// version 2 (8).
func (h *Header) within(header, number int16, value int64) {
	switch {
	case number == 1:
		switch header {
		case 5:
			h.v1 = value
		case 8:
			h.v2 = value
		}
		if h.Most = max(h.Most, value); value < 0 {
			h.Most = math.MaxInt64
		}
	case number == 2 && header != 8 || number == 4 && header == 8:
		h.encodings[header] = value
	case header == 5 && number == 3:
		h.definition = value
	case header == 5 && number == 4:
		h.repetition = value
	case header == 8 && number == 2:
		h.nulls = value
	case header == 8 && number == 5:
		h.levels = max(value, 0)
	case header == 8 && number == 6:
		h.before = max(value, 0)
	case header == 8 && number == 7:
		h.plain = value == 0
	}
}

// A Check unpacks pages to see that they hold no more than they say: libraries unpack a page to
// its end, however long it is, and so its runs. It is for one goroutine, and is closed at the end.
type Check struct {
	in     *bufio.Reader
	page   bytes.Buffer // unpacked
	room   []byte
	gzip   *gzip.Reader
	brotli *brotli.Reader
	zstd   *zstd.Decoder
}

// maxWindow bounds what Zstandard remembers of a page.
const maxWindow = 1 << 27

// Page looks at a page of a column that is packed in one way, whose bytes behind the header r has,
// and returns how many bytes its values take beyond those that it unpacks to. Errors say what is
// wrong with it, for people.
func (c *Check) Page(codec format.CompressionCodec, h *Header, of Column, r io.Reader) (more int64, err error) {
	c.page.Reset()
	plain := int64(0)
	switch {
	case codec == format.Uncompressed:
		plain = h.Packed
	case h.Kind == int64(format.DataPageV2):
		if plain = h.levels; h.plain {
			plain = h.Packed
		}
		if h.levels > h.Packed {
			return 0, errors.New("its levels are longer than it is")
		}
	}
	if _, err := io.CopyN(&c.page, r, plain); err != nil {
		return 0, err
	}
	if plain < h.Packed {
		if err := c.unpack(codec, h, r); err != nil {
			return 0, err
		}
	}
	return h.content(c.page.Bytes(), of)
}

// unpack puts what a page unpacks to behind what is not packed of it.
func (c *Check) unpack(codec format.CompressionCodec, h *Header, r io.Reader) error {
	more := errors.New("it unpacks to more than it says")
	if codec == format.Snappy { // which says how much it is, and is held to that
		in, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		n, err := snappy.DecodedLen(in)
		switch {
		case err != nil:
			return errDamaged
		case int64(n) > h.Unpacked:
			return more
		}
		if c.room, err = snappy.Decode(c.room[:cap(c.room)], in); err != nil {
			return errDamaged
		}
		c.page.Write(c.room)
		return nil
	}
	if c.in == nil {
		c.in = bufio.NewReaderSize(nil, 1<<16)
	}
	c.in.Reset(r)
	from, err := c.unpacker(codec)
	if err != nil {
		return err
	}
	n, err := c.page.ReadFrom(io.LimitReader(from, h.Unpacked+1))
	if n > h.Unpacked {
		return more
	}
	if err != nil {
		return fmt.Errorf("it is damaged: %w", err)
	}
	return nil
}

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
