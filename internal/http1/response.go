package http1

import (
	"errors"
	"fmt"
	"io"

	"github.com/pavise/pavise"
)

// ErrNoAnswer is in the error of Next when the connection ended before a byte of the answer
// came. On a connection that was kept this may mean only that the other side had closed it.
var ErrNoAnswer = errors.New("the connection ended before the answer began")

// Limits bound what is read of one answer. A zero takes the default.
type Limits struct {
	Head    int   // bytes of a head, its interim ones apart; default 16 KiB
	Fields  int   // in a head; default 100
	Body    int64 // bytes of a body; default 64 MiB; negative: any number, for streams
	Interim int   // 1xx answers before the real one; default 8; negative: none
}

// bodyRoom is kept in the buffer behind a head: for lines of chunks, and small bodies.
const bodyRoom = 4 << 10

// withDefaults fills in what is zero.
func (l Limits) withDefaults() Limits {
	for _, d := range []struct {
		of    *int
		value int
	}{{&l.Head, 16 << 10}, {&l.Fields, 100}, {&l.Interim, 8}} {
		if *d.of == 0 {
			*d.of = d.value
		}
	}
	if l.Body == 0 {
		l.Body = 64 << 20
	}
	return l
}

// Responses reads the answers that come over one connection, one after another. It keeps
// its buffer and makes nothing anew, so that an answer costs no allocation. One goroutine
// uses it at a time.
//
// Call Next for a head, then Read until io.EOF for the body, which may come in pieces over
// a long time; then ask Reusable. After any error, Next and Read only repeat it.
type Responses struct {
	// CloseDelimited permits bodies that end with the connection and not by a length
	// (RFC 9112, 6.3, 8). Nobody can tell such a body that was cut from a whole one.
	CloseDelimited bool

	src    io.Reader
	limits Limits
	win    window
	fields []Field // of the current answer
	err    error   // what went wrong, for good

	status int
	keep   bool // the head lets the connection be used again
	body   bodyKind
	left   int64 // of a body by length
	length int64 // as Length returns it
	read   int64 // bytes of the body so far
	chunks chunks
}

// bodyKind is how a body's end is found.
type bodyKind int

const (
	bodyNone bodyKind = iota // there is none, or it was read
	bodyLength
	bodyChunked
	bodyClose
)

// NewResponses returns a reader of the answers that come from src.
func NewResponses(src io.Reader, limits Limits) *Responses {
	limits = limits.withDefaults()
	r := &Responses{src: src, limits: limits}
	if limits.Head+bodyRoom == bufferSize {
		r.win.buf = borrow()
	} else {
		r.win.buf = make([]byte, limits.Head+bodyRoom)
	}
	return r
}

// Reset takes another source, for a reader whose connection is done with.
func (r *Responses) Reset(src io.Reader) {
	*r = Responses{CloseDelimited: r.CloseDelimited, src: src, limits: r.limits, win: window{buf: r.win.buf}, fields: r.fields[:0]}
}

// Patiently has the rest of the body read without a buffer while nothing is there: what a
// stream of events does most of its time. The fields of the head are gone then.
func (r *Responses) Patiently(w Waiter) {
	r.fields = nil
	r.win.base, r.win.patient = 0, w
}

// Next reads the head of the answer to a request of the given method. Interim answers are
// read and dropped. The body of the answer before must have been read to its end. The
// error is of kind Unavailable; the connection is of no use after one.
func (r *Responses) Next(method string) error {
	if r.err == nil && r.body != bodyNone {
		r.err = &pavise.Error{Kind: pavise.Internal, Msg: "an answer was asked for before the body of the one before was read"}
	}
	if r.err == nil {
		r.err = r.next(method)
	}
	return r.err
}

func (r *Responses) next(method string) error {
	r.win.patient = nil
	for interim := 0; ; interim++ {
		if err := r.head(interim > 0); err != nil {
			return err
		}
		switch {
		case r.status >= 200:
			return r.frame(method)
		case r.status == 101:
			return r.refuse("it changes the protocol, which nobody asked for", nil)
		case interim >= r.limits.Interim:
			return r.refuse("it begins with too many interim answers", nil)
		}
	}
}

// head reads status line and fields. begun says that an interim answer came before.
func (r *Responses) head(begun bool) error {
	r.win.base, r.length, r.read, r.status = 0, -1, 0, 0
	block, err := r.block(begun)
	if err != nil {
		return err
	}
	line, lines := cutLine(block)
	if err := r.statusLine(line); err != nil {
		return err
	}
	if r.fields, err = readFields(lines, r.fields[:0], r.limits.Fields); err != nil {
		return r.refuse(err.Error(), nil)
	}
	return nil
}

// block reads up to the end of a head. What it returns is pinned in the buffer.
func (r *Responses) block(begun bool) ([]byte, error) {
	for from := 0; ; {
		end, again, err := headEnd(r.win.unread(), from)
		if err != nil {
			return nil, r.refuse(err.Error(), nil)
		}
		if end > r.limits.Head || end < 0 && r.win.w-r.win.r >= r.limits.Head {
			return nil, r.refuse(fmt.Sprintf("its head is longer than %d bytes", r.limits.Head), nil)
		}
		if end >= 0 {
			block := r.win.unread()[:end]
			r.win.r += end
			r.win.base = r.win.r
			return block, nil
		}
		from = again
		if err := r.win.fill(r.src); err != nil {
			return nil, r.brokeOff(begun, err)
		}
	}
}

// brokeOff is the error of a head that did not come.
func (r *Responses) brokeOff(begun bool, err error) error {
	if !begun && r.win.r == r.win.w {
		return &pavise.Error{Kind: pavise.Unavailable, Msg: "the model server did not answer", Hint: hint, Err: fmt.Errorf("%w: %w", ErrNoAnswer, err)}
	}
	return r.refuse("its head broke off", err)
}

// statusLine reads "HTTP/1.1 200 OK": a version, three digits, and a reason, of which the
// space before it may be missing.
func (r *Responses) statusLine(line []byte) error {
	const prefix = len("HTTP/1.1 ")
	if len(line) < prefix+3 || string(line[:7]) != "HTTP/1." || line[7] != '0' && line[7] != '1' || line[8] != ' ' {
		return r.refuse("its first line is not that of HTTP/1.1", nil)
	}
	digits, reason := line[prefix:prefix+3], line[prefix+3:]
	if !all(digits, isDigit) || digits[0] == '0' || len(reason) > 0 && reason[0] != ' ' || !all(reason, isValue) {
		return r.refuse("its first line has no status of three digits, or something else behind it", nil)
	}
	r.status = int(digits[0]-'0')*100 + int(digits[1]-'0')*10 + int(digits[2]-'0')
	r.keep = line[7] == '1'
	return nil
}

// frame finds how the body ends (RFC 9112, 6.3).
func (r *Responses) frame(method string) error {
	f, err := readFraming(r.fields)
	if err != nil {
		return r.refuse(err.Error(), nil)
	}
	old := !r.keep
	for _, field := range r.fields {
		if is(field.Name, "connection") {
			eachToken(field.Value, func(t []byte) { r.keep = r.keep && !is(t, "close") })
		}
	}
	r.length = f.length
	empty := method == "HEAD" || r.status == 304
	switch {
	case f.chunked && old:
		return r.refuse("it is of HTTP/1.0 and chunked", nil)
	case r.status == 204 && (f.chunked || f.length > 0):
		return r.refuse("it has status 204 and a body", nil)
	case empty || r.status == 204:
		r.body = bodyNone
	case r.limits.Body >= 0 && f.length > r.limits.Body:
		return r.refuse(fmt.Sprintf("its body is longer than %d bytes", r.limits.Body), nil)
	case f.chunked:
		r.body, r.chunks = bodyChunked, chunks{}
	case f.length >= 0:
		r.left = f.length
		if r.body = bodyLength; f.length == 0 {
			r.body = bodyNone
		}
	case r.CloseDelimited:
		r.body, r.keep = bodyClose, false
	default:
		return r.refuse("it does not say how long its body is", nil)
	}
	return nil
}

// Read reads from the body of the answer. It returns what is there, so that a stream of
// events comes through as it is sent. The error is io.EOF at the body's end, and of kind
// Unavailable when the body breaks off, is malformed, or is longer than the limit.
func (r *Responses) Read(p []byte) (n int, err error) {
	switch {
	case r.err != nil:
		return 0, r.err
	case r.body == bodyNone:
		return 0, io.EOF
	case len(p) == 0:
		return 0, nil
	}
	switch r.body {
	case bodyLength:
		n, err = r.win.take(r.src, p, r.left)
		r.left -= int64(n)
		if err = early(err); r.left == 0 {
			err = io.EOF
		}
	case bodyChunked:
		n, err = r.chunks.read(&r.win, r.src, p)
	case bodyClose:
		n, err = r.win.take(r.src, p, mostChunk)
	}
	r.read += int64(n)
	return n, r.ended(err)
}

// ended keeps in mind how reading a body went on.
func (r *Responses) ended(err error) error {
	switch {
	case r.limits.Body >= 0 && r.read > r.limits.Body:
		r.err = r.refuse(fmt.Sprintf("its body is longer than %d bytes", r.limits.Body), nil)
	case err == io.EOF:
		r.body = bodyNone
		return io.EOF
	case err != nil && r.body == bodyLength:
		r.err = r.refuse(fmt.Sprintf("its body broke off after %d of %d bytes", r.read, r.length), err)
	case err != nil:
		r.err = r.refuse(fmt.Sprintf("its body broke off after %d bytes: %v", r.read, err), err)
	}
	return r.err
}

// Status is the status of the answer, 200 to 999.
func (r *Responses) Status() int { return r.status }

// Fields are the fields of the answer's head, in their order. They hold until Next.
func (r *Responses) Fields() []Field { return r.fields }

// Field returns the value of the first field of that name, given in lower case, and how
// many there are of it.
func (r *Responses) Field(name string) (value []byte, count int) {
	for _, f := range r.fields {
		if is(f.Name, name) {
			if count++; count == 1 {
				value = f.Value
			}
		}
	}
	return value, count
}

// Length is what the answer's Content-Length says, or -1. The answer to a HEAD may have one
// and no body.
func (r *Responses) Length() int64 { return r.length }

// Reusable reports whether another request may be sent on the connection: the answer was
// read to its end, lets the connection be kept, and nothing came behind it. What comes later
// and before the next request is as bad: see Unread.
func (r *Responses) Reusable() bool {
	return r.err == nil && r.status >= 200 && r.body == bodyNone && r.keep && r.Unread() == 0
}

// Unread is the number of bytes that were read and belong to nothing that was asked for yet.
// Before a request is written it must be 0, and nothing may wait in the socket: an answer
// that is there before its question answers another one.
func (r *Responses) Unread() int { return r.win.w - r.win.r }

const hint = "retry; if it stays so, the operator should look at the server behind the route"

// refuse is the error of an answer that is not taken.
func (r *Responses) refuse(what string, err error) error {
	return &pavise.Error{Kind: pavise.Unavailable, Msg: "the model server's answer is not taken: " + what, Hint: hint, Err: err}
}
