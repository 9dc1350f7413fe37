package table

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
)

// unpacked sees through gzip.
func (f *File) unpacked(in *bufio.Reader) (*bufio.Reader, error) {
	if head, err := in.Peek(2); err == nil && bytes.Equal(head, []byte{0x1f, 0x8b}) {
		packed, err := newUnpacker(f, in)
		if err != nil {
			return nil, err
		}
		return bufio.NewReaderSize(packed, 1<<16), nil
	}
	return in, nil
}

// Bounds on what gzip may grow to. Deflate gains at most 1:1032; tables of mostly zeros
// gain up to some hundreds.
const (
	maxUnpacked = 64 << 30 // bytes
	freeRatio   = 64 << 20 // bytes before the ratio counts
	maxRatio    = 400
)

// An unpacker reads gzip, within bounds.
type unpacker struct {
	f    *File
	in   *bytesRead
	gzip *gzip.Reader
	out  int64
}

// bytesRead counts what was read.
type bytesRead struct {
	*bufio.Reader
	n int64
}

// Read implements io.Reader.
func (b *bytesRead) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.n += int64(n)
	return n, err
}

// ReadByte implements io.ByteReader, without which gzip would buffer, and read ahead.
func (b *bytesRead) ReadByte() (byte, error) {
	c, err := b.Reader.ReadByte()
	if err == nil {
		b.n++
	}
	return c, err
}

func newUnpacker(f *File, in *bufio.Reader) (*unpacker, error) {
	u := &unpacker{f: f, in: &bytesRead{Reader: in}}
	var err error
	if u.gzip, err = gzip.NewReader(u.in); err != nil {
		return nil, u.fault(err)
	}
	return u, nil
}

// Read implements io.Reader.
func (u *unpacker) Read(p []byte) (int, error) {
	n, err := u.gzip.Read(p)
	u.out += int64(n)
	switch {
	case u.out > maxUnpacked:
		return 0, u.f.fault("unpack it yourself, if you trust it", "unpacked it is larger than %d GiB", maxUnpacked>>30)
	case u.out > freeRatio && u.out/maxRatio > u.in.n:
		return 0, u.f.fault("unpack it yourself, if you trust it", "it unpacks to more than %d times its size, as a bomb does", maxRatio)
	case err != nil && err != io.EOF:
		return n, u.fault(err)
	}
	return n, err
}

func (u *unpacker) fault(err error) error {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), err == io.EOF:
		return u.f.fault("copy it again", "the compressed file is cut off")
	case errors.Is(err, gzip.ErrHeader) && u.out > 0:
		return u.f.fault("copy it again", "something follows the end of the compressed file")
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum):
		return u.f.fault("copy it again", "the compressed file is damaged")
	}
	if strings.HasPrefix(err.Error(), "flate:") {
		return u.f.fault("copy it again", "the compressed file is damaged")
	}
	return u.f.readFault(err)
}
