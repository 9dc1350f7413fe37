// Package packed reads what may be compressed with gzip, within bounds: a small file that
// grows without end is refused, and one that is cut off or damaged is told from one that ends.
// It owns no state beside its readers.
package packed

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/pavise/pavise"
)

// Bounds say how far a file may grow. Deflate grows at most to 1032 times its size; text of
// few different lines reaches some hundreds.
type Bounds struct {
	Bytes int64 // unpacked, compressed or not
	Ratio int64 // of what is unpacked to what was read, once Free bytes are; 0: any
	Free  int64 // bytes before the ratio counts
}

// others are compressions that people use for logs, by what they begin with.
var others = []struct{ magic, what string }{
	{"\x28\xb5\x2f\xfd", "Zstandard"}, {"BZh", "bzip2"}, {"\xfd7zXZ\x00", "xz"}, {"PK\x03\x04", "ZIP"},
}

// A Reader reads one file. It is for one goroutine.
type Reader struct {
	name   string
	bounds Bounds
	in     *counted
	text   io.Reader
	gzip   bool
	out    int64
	failed error
}

// NewReader returns a reader of r, which is gzip if it begins like it. The name is for errors,
// which are of kind Invalid where the file is at fault.
func NewReader(r io.Reader, name string, b Bounds) (*Reader, error) {
	u := &Reader{name: name, bounds: b, in: &counted{Reader: bufio.NewReaderSize(r, 1<<16)}}
	head, err := u.in.Peek(6)
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	for _, o := range others {
		if bytes.HasPrefix(head, []byte(o.magic)) {
			return nil, u.refuse("unpack it, or use gzip", "it is compressed with %s", o.what)
		}
	}
	u.text = u.in
	if bytes.HasPrefix(head, []byte{0x1f, 0x8b}) {
		u.gzip = true
		if u.text, err = gzip.NewReader(u.in); err != nil {
			return nil, u.fault(err)
		}
	}
	return u, nil
}

// Compressed says whether the file is.
func (u *Reader) Compressed() bool { return u.gzip }

// Taken returns how many bytes of the file were read, as it lies there.
func (u *Reader) Taken() int64 { return u.in.n }

// Read implements io.Reader. It ends with io.EOF where the file ends as it should, and with an
// error of kind Invalid where it does not, or goes beyond its bounds.
func (u *Reader) Read(p []byte) (int, error) {
	if u.failed != nil {
		return 0, u.failed
	}
	n, err := u.text.Read(p)
	u.out += int64(n)
	switch {
	case u.out > u.bounds.Bytes:
		u.failed = u.refuse("split it, or take a part of it", "it has more than %d bytes", u.bounds.Bytes)
		return 0, u.failed
	case u.gzip && u.bounds.Ratio > 0 && u.out > u.bounds.Free && u.out/u.bounds.Ratio > u.in.n:
		u.failed = u.refuse("unpack it yourself, if you trust it", "it unpacks to more than %d times its size, as a bomb does", u.bounds.Ratio)
		return 0, u.failed
	case err == io.EOF:
		u.failed = err
	case err != nil:
		u.failed = u.fault(err)
	}
	return n, u.failed
}

// fault says what an error of unpacking means.
func (u *Reader) fault(err error) error {
	switch {
	case !u.gzip:
		return fmt.Errorf("read %s: %w", u.name, err)
	case errors.Is(err, io.ErrUnexpectedEOF), err == io.EOF:
		return u.refuse("copy it again", "the compressed file is cut off")
	case errors.Is(err, gzip.ErrHeader) && u.out > 0:
		return u.refuse("copy it again", "something follows the end of the compressed file")
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum), strings.HasPrefix(err.Error(), "flate:"):
		return u.refuse("copy it again", "the compressed file is damaged")
	}
	return fmt.Errorf("read %s: %w", u.name, err)
}

func (u *Reader) refuse(hint, format string, args ...any) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: u.name + ": " + fmt.Sprintf(format, args...), Hint: hint}
}

// counted counts what was read.
type counted struct {
	*bufio.Reader
	n int64
}

// Read implements io.Reader.
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}

// ReadByte implements io.ByteReader, without which gzip would buffer, and read ahead.
func (c *counted) ReadByte() (byte, error) {
	b, err := c.Reader.ReadByte()
	if err == nil {
		c.n++
	}
	return b, err
}
