package http1

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// phase is how far an answer's head is.
type phase int

const (
	unbegun phase = iota
	begun         // status and fields are in the buffer; how the body ends is not
	waiting       // a gap is in the buffer for that, and the body behind it
	counted       // Content-Length is sent, or will not be: the body is as long as it says
	inChunks
	bodyless
)

// An answer is the http.ResponseWriter of a request.
type answer struct {
	mu   sync.Mutex // held while writing, and guards what follows
	x    *exchange
	conn *conn // nil once the handler has returned

	header  http.Header
	status  int
	phase   phase
	gap     int   // where it is in the buffer
	length  int64 // as the handler declared it; -1: it did not
	written int64 // bytes of the body
	head    bool  // the request is a HEAD
	closing bool  // the connection ends with this answer
	typed   bool  // the handler has set Content-Type, or there is nothing to guess
}

// gapSize is room for the longest of what closes a head, and a chunk's line.
const gapSize = len("Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n") + 10

// Header returns the fields that WriteHeader will send.
func (a *answer) Header() http.Header {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.header == nil {
		a.header = make(http.Header, 8)
	}
	return a.header
}

// WriteHeader sends the status with the fields as they are now. Interim ones, 1xx, go out
// at once.
func (a *answer) WriteHeader(status int) {
	if status < 100 || status > 999 {
		panic("http1: WriteHeader with status " + strconv.Itoa(status))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.conn == nil || a.phase != unbegun:
		return
	case status < 200 && status != http.StatusSwitchingProtocols:
		a.conn.room()
		a.conn.out = append(a.fields(appendStatus(a.conn.out, status)), "\r\n"...)
		a.conn.flush()
	default:
		a.begin(status)
	}
}

// begin puts status and fields into the buffer.
func (a *answer) begin(status int) {
	a.status, a.length, a.phase = status, -1, begun
	if v := a.header["Content-Length"]; len(v) > 0 {
		if n, err := strconv.ParseInt(v[0], 10, 64); err == nil && n >= 0 {
			a.length = n
		}
	}
	v := a.header["Connection"]
	a.closing = a.closing || len(v) > 0 && strings.EqualFold(v[0], "close") || a.conn.server.closing.Load()
	_, typed := a.header["Content-Type"]
	a.typed = typed || len(a.header["Content-Encoding"]) > 0
	c := a.conn
	c.room()
	c.out = a.fields(appendStatus(c.out, status))
	if _, dated := a.header["Date"]; !dated {
		c.out = append(append(append(c.out, "Date: "...), date(a.x.began)...), "\r\n"...)
	}
}

// fields appends the handler's fields, but for those that say how the body ends. A value
// cannot become another field.
func (a *answer) fields(out []byte) []byte {
	for name, values := range a.header {
		switch name {
		case "Content-Length", "Transfer-Encoding", "Connection", "Trailer":
			continue
		}
		if name == "" || !allOf(name, isToken) { // http.TrailerPrefix has a colon
			continue
		}
		for _, value := range values {
			out = append(append(out, name...), ": "...)
			if allOf(value, isValue) {
				out = append(out, value...)
			} else {
				out = appendPlain(out, value)
			}
			out = append(out, "\r\n"...)
		}
	}
	return out
}

// appendPlain appends a value with spaces for what no value has.
func appendPlain(out []byte, value string) []byte {
	for i := range len(value) {
		b := value[i]
		if class[b]&isValue == 0 {
			b = ' '
		}
		out = append(out, b)
	}
	return out
}

// Reply sends a whole answer, and spares a handler the map of fields, which the profile
// showed to take as long as reading the request. lines are fields, each ended by CRLF but
// the last: that one ends behind its name with ": ", and number is its value. Whoever calls
// vouches for them: nothing that a caller said has a place there. It reports false, and has
// done nothing, where WriteHeader and Write are called for: fields were set or the answer
// has begun, or has no body.
func (a *answer) Reply(status int, lines string, number uint64, body []byte) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.conn == nil || a.phase != unbegun || a.head || len(a.header) > 0 || !hasBody(status) {
		return false
	}
	c := a.conn
	a.status, a.length, a.phase, a.typed = status, int64(len(body)), counted, true
	a.written, a.closing = a.length, a.closing || c.server.closing.Load()
	c.room()
	c.out = append(appendStatus(c.out, status), lines...)
	c.out = append(strconv.AppendUint(c.out, number, 10), "\r\nDate: "...)
	c.out = append(append(c.out, date(a.x.began)...), "\r\n"...)
	c.out = a.closeHead(c.out, a.length)
	push(c, body)
	return true
}

// Write sends a part of the body.
func (a *answer) Write(p []byte) (int, error) { return write(a, p) }

// WriteString sends a part of the body.
func (a *answer) WriteString(p string) (int, error) { return write(a, p) }

func write[T []byte | string](a *answer, p T) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.conn == nil {
		return 0, errOver
	}
	if a.phase == unbegun {
		a.begin(http.StatusOK)
	}
	switch {
	case len(p) == 0:
		return 0, nil
	case !hasBody(a.status):
		return 0, http.ErrBodyNotAllowed
	case a.length >= 0 && a.written+int64(len(p)) > a.length:
		return 0, http.ErrContentLength
	}
	if a.phase == begun {
		if !a.typed {
			a.guessType([]byte(p[:min(len(p), 512)]))
		}
		a.open()
	}
	a.written += int64(len(p))
	if err := writeBody(a, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// guessType says what the body looks like, as net/http does.
func (a *answer) guessType(first []byte) {
	a.typed = true
	a.conn.out = append(append(append(a.conn.out, "Content-Type: "...), http.DetectContentType(first)...), "\r\n"...)
}

// open says what is known of the body when its first bytes are there. The head of an answer
// to HEAD stays open until it is known how long the body would be.
func (a *answer) open() {
	c := a.conn
	switch {
	case a.head:
	case a.length >= 0:
		a.phase = counted
		c.out = a.closeHead(c.out, a.length)
	default:
		a.phase, a.gap = waiting, len(c.out)
		c.out = append(c.out, make([]byte, gapSize)...)
	}
}

// closeHead appends what ends a head: with length -1 chunks follow.
func (a *answer) closeHead(out []byte, length int64) []byte {
	if a.closing {
		out = append(out, "Connection: close\r\n"...)
	}
	if length < 0 {
		return append(out, "Transfer-Encoding: chunked\r\n\r\n"...)
	}
	return append(strconv.AppendInt(append(out, "Content-Length: "...), length, 10), "\r\n\r\n"...)
}

// writeBody takes a part of the body to where the phase wants it.
func writeBody[T []byte | string](a *answer, p T) error {
	c := a.conn
	switch {
	case a.head:
		return c.broken
	case a.phase == counted:
		return push(c, p)
	case a.phase == waiting && len(c.out)+len(p) <= cap(c.out):
		c.out = append(c.out, p...)
		return c.broken
	case a.phase == waiting:
		a.fillGap(true)
	}
	c.room()
	c.out = append(strconv.AppendUint(c.out, uint64(len(p)), 16), "\r\n"...)
	push(c, p)
	c.out = append(c.out, "\r\n"...)
	return c.broken
}

// fillGap closes the head of an answer of which a part of the body is in the buffer: in
// chunks, of which that part is the first, or with its length when it is the whole body.
func (a *answer) fillGap(chunked bool) {
	c := a.conn
	var space [gapSize]byte
	size := len(c.out) - a.gap - gapSize
	var text []byte
	switch {
	case !chunked:
		a.phase, text = counted, a.closeHead(space[:0], int64(size))
	case size == 0: // a chunk of nothing would be the last one
		a.phase, text = inChunks, a.closeHead(space[:0], -1)
	default:
		a.phase, text = inChunks, append(strconv.AppendUint(a.closeHead(space[:0], -1), uint64(size), 16), "\r\n"...)
	}
	copy(c.out[a.gap:], text)
	copy(c.out[a.gap+len(text):], c.out[a.gap+gapSize:])
	c.out = c.out[:a.gap+len(text)+size]
	if chunked && size > 0 {
		c.out = append(c.out, "\r\n"...)
	}
}

// Flush sends what was written so far.
func (a *answer) Flush() { a.FlushError() }

// FlushError sends what was written so far. The connection gives back the buffers that it
// does not need then: a stream of events waits most of its time.
func (a *answer) FlushError() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.conn == nil {
		return errOver
	}
	if a.phase == unbegun {
		a.begin(http.StatusOK)
	}
	switch a.phase {
	case begun:
		a.settle(false)
	case waiting:
		a.fillGap(true)
	}
	a.conn.flush()
	a.giveBack()
	return a.conn.broken
}

// giveBack gives back what the stream does not need while it waits.
func (a *answer) giveBack() {
	c := a.conn
	giveBack(c.out)
	c.out = nil
	if a.x.body.mu.TryLock() {
		defer a.x.body.mu.Unlock()
		if c.win.r == c.win.w && c.win.buf != nil && a.x.body.unread() == 0 {
			giveBack(c.win.buf)
			c.win = window{}
		}
	}
}

// settle closes the head of an answer of which no body is in the buffer. At the end it is
// known that there is none.
func (a *answer) settle(atEnd bool) {
	c := a.conn
	switch {
	case !hasBody(a.status) || a.head && a.length < 0 && (a.written == 0 || !atEnd):
		a.phase = bodyless
		if a.closing {
			c.out = append(c.out, "Connection: close\r\n"...)
		}
		c.out = append(c.out, "\r\n"...)
	case a.head:
		a.phase = bodyless
		c.out = a.closeHead(c.out, max(a.length, a.written))
	case a.length >= 0:
		a.phase = counted
		c.out = a.closeHead(c.out, a.length)
	case atEnd:
		a.phase = counted
		c.out = a.closeHead(c.out, 0)
	default:
		a.phase = inChunks
		c.out = a.closeHead(c.out, -1)
	}
}

// finish ends the answer once the handler has returned. With stop, the connection ends
// with it. It reports whether the connection is good for more.
func (a *answer) finish(stop bool) bool {
	if !a.take() {
		return false
	}
	defer a.mu.Unlock()
	c := a.conn
	if a.phase == unbegun {
		a.begin(http.StatusOK)
	}
	// An answer that promised to keep the connection is not the last one: the next is.
	a.closing = a.closing || stop || a.phase < counted && c.server.closing.Load()
	switch a.phase {
	case begun:
		a.settle(true)
	case waiting:
		a.fillGap(false)
	case inChunks:
		c.room()
		c.out = append(c.out, "0\r\n\r\n"...)
	}
	a.conn, a.header = nil, nil
	c.flush()
	short := a.phase == counted && a.length > a.written // what follows must not be taken for the rest
	return !a.closing && !short && c.broken == nil
}

// take locks the answer when the handler has returned. A write that some goroutine of the
// handler's has left behind is broken off, and the connection with it: then it reports
// false, and nobody has the answer.
func (a *answer) take() bool {
	if a.mu.TryLock() {
		return true
	}
	a.x.conn.nc.Close()
	a.leave()
	return false
}

// leave ends what the handler may do with the answer.
func (a *answer) leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.conn, a.header = nil, nil
}

// goOn says that the body may be sent, unless the answer has begun.
func (a *answer) goOn() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.conn != nil && a.phase == unbegun {
		a.conn.write([]byte("HTTP/1.1 100 Continue\r\n\r\n"))
	}
}

// Began is when the request's head had been read.
func (a *answer) Began() time.Time { return a.x.began }

// SetReadDeadline sets until when the request's body may take; zero is for ever.
func (a *answer) SetReadDeadline(t time.Time) error {
	return a.x.conn.readBy.set(a.x, t)
}

// SetWriteDeadline sets until when writing may take; zero is for ever.
func (a *answer) SetWriteDeadline(t time.Time) error {
	return a.x.conn.writeBy.set(a.x, t)
}

// EnableFullDuplex does nothing: a handler may always read and write at once.
func (a *answer) EnableFullDuplex() error { return nil }

// hasBody reports whether an answer of that status has one (RFC 9110, 6.4.1).
func hasBody(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

// appendStatus appends the first line of an answer.
func appendStatus(out []byte, status int) []byte {
	if status == http.StatusOK {
		return append(out, "HTTP/1.1 200 OK\r\n"...)
	}
	out = append(strconv.AppendInt(append(out, "HTTP/1.1 "...), int64(status), 10), ' ')
	return append(append(out, http.StatusText(status)...), "\r\n"...)
}

// appendRefusal appends a whole answer that says why a request is not served.
func appendRefusal(out []byte, status int, why string) []byte {
	out = appendStatus(out, status)
	out = append(append(append(out, "Date: "...), date(time.Now())...), "\r\n"...)
	out = append(out, "Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\nContent-Length: "...)
	why += "\n"
	return append(append(strconv.AppendInt(out, int64(len(why)), 10), "\r\n\r\n"...), why...)
}

// dated is the text of a second.
type dated struct {
	second int64
	text   string
}

// lastDate is the one that was needed last.
var lastDate atomic.Pointer[dated]

// date is the value of a Date.
func date(t time.Time) string {
	d := lastDate.Load()
	if second := t.Unix(); d == nil || d.second != second {
		d = &dated{second, t.UTC().Format(http.TimeFormat)}
		lastDate.Store(d)
	}
	return d.text
}
