package http1

import (
	"errors"
	"fmt"
	"io"
)

// A window is the part of a stream that was read and not yet used: buf[r:w]. What is
// before base stays where it is, for others point there.
type window struct {
	buf        []byte
	base, r, w int
	patient    Waiter // set: while the window is empty and waits, it has no buffer
}

// A Waiter is a source that can wait without anything to read into.
type Waiter interface {
	// Ready returns when there is something to read, be it the end, or why nothing comes.
	Ready() error
}

var errFull = errors.New("a line is longer than there is room for")

// emptyReads is how often a source may return nothing and no error.
const emptyReads = 100

// unread is what was read and not yet used.
func (b *window) unread() []byte { return b.buf[b.r:b.w] }

// fill reads once more, at least a byte.
func (b *window) fill(src io.Reader) error {
	if b.r == b.w {
		b.r, b.w = b.base, b.base
		if err := b.wait(); err != nil {
			return err
		}
	}
	if b.w == len(b.buf) {
		if b.r == b.base {
			return errFull
		}
		b.w = b.base + copy(b.buf[b.base:], b.buf[b.r:b.w])
		b.r = b.base
	}
	for range emptyReads {
		n, err := src.Read(b.buf[b.w:])
		b.w += n
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// wait waits for something to fill an empty window with.
func (b *window) wait() error {
	if b.patient == nil {
		return nil
	}
	giveBack(b.buf)
	b.buf = nil
	err := b.patient.Ready()
	b.buf = borrow()
	return err
}

// directly is the size from which bytes are read past the window.
const directly = 4 << 10

// take reads up to limit bytes of a body into p. With none in the window and much to read
// they go into p at once.
func (b *window) take(src io.Reader, p []byte, limit int64) (int, error) {
	if int64(len(p)) > limit {
		p = p[:limit]
	}
	if b.r == b.w && len(p) >= directly {
		return src.Read(p)
	}
	if b.r == b.w {
		if err := b.fill(src); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.buf[b.r:b.w])
	b.r += n
	return n, nil
}

// errUnexpectEnd is of a chunked body that breaks off.
var errUnexpectEnd = fmt.Errorf("it ends in the middle: %w", io.ErrUnexpectedEOF)

// A misframed is what in a chunked body is not as HTTP has it, or not taken here: the body
// did not break off.
type misframed string

const (
	errChunkSize  misframed = "a chunk's size is not plain hexadecimal digits"
	errChunkExt   misframed = "a chunk has an extension that is too long, or none is taken here"
	errChunkEnd   misframed = "a chunk does not end where its size says"
	errChunkWaste misframed = "its chunks are mostly something else than data"
	errTrailers   misframed = "its trailers are too long, or none are taken here"
)

// Error returns the text.
func (m misframed) Error() string { return string(m) }

// Misframed says what it is to those who tell callers.
func (m misframed) Misframed() string { return string(m) }

const (
	mostChunk    = 1<<62 - 1 // bytes that a chunk may say it has
	chunkLineMax = 512       // bytes of a chunk's line, extension included
	chunkWaste   = 8 << 10   // bytes of lines beyond what chunks of honest sizes need
	trailersMax  = 2 << 10   // bytes of all trailers
)

// chunks is where in a chunked body (RFC 9112, 7.1) a reader is.
type chunks struct {
	left   int64 // of the chunk's data
	inside bool  // a chunk was begun: its CRLF is due when left is 0
	done   bool
	waste  int64 // what lines took beyond an allowance, as net/http counts it
	strict bool  // no extensions, no trailers
}

// read reads a part of the body. It returns io.EOF once the empty line after the last chunk
// is read, and no byte behind it.
func (c *chunks) read(b *window, src io.Reader, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if c.left == 0 && !c.done {
		if err := c.next(b, src); err != nil {
			return 0, early(err)
		}
	}
	if c.done {
		return 0, io.EOF
	}
	n, err := b.take(src, p, c.left)
	c.left -= int64(n)
	if n > 0 {
		err = nil
	}
	return n, early(err)
}

// early says of an end that it came before the end of the body.
func early(err error) error {
	if err == io.EOF {
		return errUnexpectEnd
	}
	return err
}

// next goes to the next chunk's data, or to the end.
func (c *chunks) next(b *window, src io.Reader) error {
	if c.inside {
		line, err := readLine(b, src, 2)
		if err != nil && err != errFull && err != errBareLF {
			return err
		}
		if err != nil || len(line) > 0 {
			return errChunkEnd
		}
		c.inside = false
	}
	line, err := readLine(b, src, chunkLineMax)
	if err == errFull {
		return errChunkExt
	}
	if err != nil {
		return err
	}
	if c.left, err = c.size(line); err != nil {
		return err
	}
	c.waste = max(c.waste+int64(len(line))+2-16-2*min(c.left, chunkWaste), 0)
	if c.waste > chunkWaste {
		return errChunkWaste
	}
	if c.inside = c.left > 0; c.inside {
		return nil
	}
	return c.trailers(b, src)
}

// size reads a chunk's line: digits, and nothing before, between or behind them but an
// extension of visible characters.
func (c *chunks) size(line []byte) (n int64, err error) {
	digits := 0
	for ; digits < len(line); digits++ {
		d := unhex(line[digits])
		if d < 0 {
			break
		}
		if digits == 16 || n > mostChunk>>4 {
			return 0, errChunkSize
		}
		n = n<<4 | int64(d)
	}
	switch rest := line[digits:]; {
	case digits == 0 || len(rest) > 0 && rest[0] != ';':
		return 0, errChunkSize
	case len(rest) > 0 && (c.strict || !all(rest, isValue)):
		return 0, errChunkExt
	}
	return n, nil
}

func unhex(b byte) int {
	switch {
	case '0' <= b && b <= '9':
		return int(b - '0')
	case 'a' <= lower(b) && lower(b) <= 'f':
		return int(lower(b)-'a') + 10
	}
	return -1
}

// trailers reads what follows the last chunk. Fields there are checked and dropped: nobody
// here acts on a field that comes after the body it would be about.
func (c *chunks) trailers(b *window, src io.Reader) error {
	for total := 0; ; {
		line, err := readLine(b, src, trailersMax-total)
		if err == errFull {
			return errTrailers
		}
		if err != nil {
			return err
		}
		if len(line) == 0 {
			c.done = true
			return nil
		}
		if c.strict {
			return errTrailers
		}
		if _, err := readField(line); err != nil {
			return err
		}
		total += len(line) + 2
	}
}

// readLine returns the next line, which takes at most most bytes with its CRLF. It holds
// until the next read. errFull says that it is longer.
func readLine(b *window, src io.Reader, most int) ([]byte, error) {
	for seen := 0; ; {
		have := b.unread()
		for ; seen < len(have); seen++ {
			if seen >= most {
				return nil, errFull
			}
			if have[seen] != '\n' {
				continue
			}
			if seen == 0 || have[seen-1] != '\r' {
				return nil, errBareLF
			}
			b.r += seen + 1
			return have[:seen-1], nil
		}
		if seen >= most {
			return nil, errFull
		}
		if err := b.fill(src); err != nil {
			return nil, err
		}
	}
}
