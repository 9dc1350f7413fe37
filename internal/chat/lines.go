package chat

import (
	"bytes"
	"io"
	"sync"
)

// lines reads lines, as bufio.Reader does, in a buffer that it has only while there is
// something in it: thousands of streams wait for their next event at the same time.
type lines struct {
	from io.Reader
	room *[roomSize]byte // nil: there is nothing
	r, w int             // what is there is room[r:w]
	few  [32]byte        // where it waits for more
}

const roomSize = 4 << 10

var linesRooms = sync.Pool{New: func() any { return new([roomSize]byte) }}

// next returns the next line with its end, or as much of it as there is room for, which has
// none. With an error comes what was there before it. It holds until the next call.
func (l *lines) next() ([]byte, error) {
	for known := 0; ; {
		if l.room != nil {
			if i := bytes.IndexByte(l.room[l.r+known:l.w], '\n'); i >= 0 {
				return l.take(known + i + 1), nil
			}
			if known = l.w - l.r; known == roomSize {
				return l.take(known), nil
			}
		}
		if err := l.fill(); err != nil {
			return l.take(l.w - l.r), err
		}
	}
}

// take takes the next n bytes.
func (l *lines) take(n int) []byte {
	if n == 0 {
		return nil
	}
	l.r += n
	return l.room[l.r-n : l.r]
}

// fill reads more, at least a byte.
func (l *lines) fill() error {
	if l.r == l.w {
		l.free()
	}
	for range maxNothing {
		var n int
		var err error
		if l.room == nil {
			if n, err = l.from.Read(l.few[:]); n > 0 {
				l.room = linesRooms.Get().(*[roomSize]byte)
				copy(l.room[:], l.few[:n])
			}
		} else {
			if l.r > 0 {
				copy(l.room[:], l.room[l.r:l.w])
				l.r, l.w = 0, l.w-l.r
			}
			n, err = l.from.Read(l.room[l.w:])
		}
		if l.w += n; n > 0 {
			return nil // an error comes again
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// maxNothing is how often a reader may give nothing and no error.
const maxNothing = 100

// free gives the buffer back. What was in it is gone.
func (l *lines) free() {
	if l.room != nil {
		linesRooms.Put(l.room)
		l.room, l.r, l.w = nil, 0, 0
	}
}
