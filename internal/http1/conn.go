package http1

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// bufferSize is that of the buffers that connections borrow.
const bufferSize = 8 << 10

// buffers are those that no connection uses. A connection that waits for a request has none.
var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

func borrow() []byte { return buffers.Get().(*[bufferSize]byte)[:] }

// giveBack takes a buffer back. A larger one, made for a large head, is left to the collector.
func giveBack(b []byte) {
	if cap(b) == bufferSize {
		buffers.Put((*[bufferSize]byte)(b[:bufferSize]))
	}
}

// A conn is a connection that is served here. Its goroutine owns it; while a handler runs,
// the request's body owns win, and its answer owns out and what is about writing.
type conn struct {
	server *Server
	rwc    net.Conn // nc, counted, with TLS over it if there is any
	nc     net.Conn // as it was accepted
	raw    syscall.RawConn
	state  *tls.ConnectionState
	addr   string // of the peer
	now    atomic.Pointer[exchange]
	given  bool   // handed over
	sheet  *sheet // of the request under way; with Server.Lend, of the next one too

	win     window // buf is nil when it is empty
	readBy  timer
	ready   func(fd uintptr) bool // reads into win once there is something
	readErr error                 // of ready

	one [1]byte

	out     []byte // not yet written; nil when there is nothing
	writeBy timer
	broken  error // of writing, for good
	pair    [2][]byte
	vector  net.Buffers // over pair
}

func newConn(s *Server, rwc, nc net.Conn) *conn {
	c := &conn{server: s, rwc: rwc, nc: nc}
	if sc, ok := nc.(syscall.Conn); ok && readsSockets {
		c.raw, _ = sc.SyscallConn()
	}
	c.ready = c.readReady
	return c
}

// serve answers requests until the connection ends.
func (c *conn) serve() {
	defer c.end()
	if c.server.tls != nil && !c.handshake() {
		return
	}
	c.readBy.tell, c.readBy.lazy, c.writeBy.tell = c.rwc.SetReadDeadline, true, c.rwc.SetWriteDeadline
	c.addr = c.rwc.RemoteAddr().String()
	for first := true; ; first = false {
		head, err := c.readHead(first)
		if err != nil {
			c.refuse(err)
			return
		}
		if !c.serveHead(head) {
			return
		}
	}
}

// end closes the connection, unless it was handed over. A panic here is ours; it costs its
// own connection and no other.
func (c *conn) end() {
	if p := recover(); p != nil {
		c.server.ErrorLog.Printf("http1: panic serving %s: %v\n%s", c.nc.RemoteAddr(), p, debug.Stack())
	}
	if c.given {
		return
	}
	c.rwc.Close()
	c.server.forget(c) // only now is it gone: Shutdown returns when none is left
	if x := c.now.Load(); x != nil {
		x.scope.end()
	}
}

// handshake does that of TLS. It reports whether HTTP/1.1 comes next, and hands HTTP/2 over.
func (c *conn) handshake() bool {
	t := tls.Server(c.rwc, c.server.tls)
	c.rwc.SetDeadline(time.Now().Add(c.server.ReadHeaderTimeout))
	if c.server.closing.Load() { // after the time was set: Shutdown sets it after closing
		c.rwc.SetReadDeadline(time.Now().Add(c.server.lastCall))
	}
	if err := t.Handshake(); err != nil {
		if record, ok := errors.AsType[tls.RecordHeaderError](err); ok && record.Conn != nil && class[record.RecordHeader[0]]&isToken != 0 {
			c.rwc.Write(appendRefusal(nil, http.StatusBadRequest, "this port speaks HTTPS"))
		}
		return false
	}
	c.rwc.SetDeadline(time.Time{})
	state := t.ConnectionState()
	c.rwc, c.state = t, &state
	if state.NegotiatedProtocol == "h2" {
		c.give(c.server.http2, t)
		return false
	}
	return true
}

// give hands the connection over.
func (c *conn) give(to *elsewhere, nc net.Conn) {
	c.given = true
	c.server.forget(c) // before it is closed there
	to.hand(nc)
}

// replay hands the connection over with what was read of it.
func (c *conn) replay(to *elsewhere) {
	r := replayed{Conn: c.rwc, state: c.state, head: bytes.Clone(c.win.unread())}
	c.win.r = c.win.w
	c.free()
	c.rwc.SetDeadline(time.Time{})
	if c.state != nil {
		c.give(to, &replayedTLS{r})
		return
	}
	c.give(to, &r)
}

// readHead reads up to the end of a head. Only a *refusal is worth an answer.
func (c *conn) readHead(first bool) ([]byte, error) {
	if c.win.r == c.win.w {
		if err := c.await(first); err != nil {
			return nil, err
		}
	}
	if class[c.win.buf[c.win.r]]&isToken == 0 {
		return nil, &refusal{http.StatusBadRequest, "it does not begin with a method"}
	}
	most := c.server.MaxHeaderBytes
	for from, timed := 0, false; ; timed = true {
		unread := c.win.unread()
		end, again, err := headEnd(unread, from)
		switch {
		case err != nil:
			return nil, &refusal{http.StatusBadRequest, err.Error()}
		case end > most || end < 0 && len(unread) >= most:
			return nil, &refusal{http.StatusRequestHeaderFieldsTooLarge, "its head is longer than " + strconv.Itoa(most) + " bytes"}
		case end >= 0:
			return unread[:end], nil
		}
		from = again
		if !timed {
			c.readBy.within(time.Now(), c.server.ReadHeaderTimeout)
		}
		c.grow()
		if err := c.win.fill(c.rwc); err != nil {
			return nil, err
		}
	}
}

// grow makes room for more of a head that fills the buffer.
func (c *conn) grow() {
	if c.win.w-c.win.r < len(c.win.buf) {
		return
	}
	larger := make([]byte, 2*len(c.win.buf))
	c.win.w = copy(larger, c.win.unread())
	giveBack(c.win.buf)
	c.win.buf, c.win.r = larger, 0
}

// await waits for the first bytes of a request, without a buffer meanwhile.
func (c *conn) await(first bool) error {
	c.free()
	wait := c.server.IdleTimeout
	if first {
		wait = c.server.ReadHeaderTimeout
	}
	c.readBy.within(time.Now(), wait)
	if c.server.closing.Load() { // after the time was set: Shutdown sets it after closing
		c.readBy.within(time.Now(), c.server.lastCall)
	}
	if c.raw != nil && c.state == nil {
		if err := c.raw.Read(c.ready); err != nil {
			return err
		}
		return c.readErr
	}
	if _, err := io.ReadFull(c.rwc, c.one[:]); err != nil {
		return err
	}
	c.win = window{buf: borrow()}
	c.win.w = copy(c.win.buf, c.one[:])
	return nil
}

// readReady reads what is there. It reports whether that was anything, an end included:
// if not, it is called again when the socket is readable.
func (c *conn) readReady(fd uintptr) bool {
	buf := borrow()
	n, err := readSocket(fd, buf)
	if err == errNotReady {
		giveBack(buf)
		return false
	}
	if n <= 0 {
		giveBack(buf)
		if c.readErr = err; err == nil {
			c.readErr = io.EOF
		}
		return true
	}
	c.win, c.readErr = window{buf: buf, w: n}, nil
	return true
}

// free gives back the buffers that are empty.
func (c *conn) free() {
	if c.win.buf != nil && c.win.r == c.win.w {
		giveBack(c.win.buf)
		c.win = window{}
	}
	if c.out != nil && len(c.out) == 0 {
		giveBack(c.out)
		c.out = nil
	}
}

// refuse answers what was not taken, and tells whoever wants to know.
func (c *conn) refuse(err error) {
	r, ok := errors.AsType[*refusal](err)
	if !ok {
		return // the caller went away, or was too slow
	}
	if c.server.Refused != nil {
		c.server.Refused(c.addr, r.status, r.why)
	}
	c.writeBy.plan(nil, time.Now(), c.server.ReadHeaderTimeout)
	c.write(appendRefusal(nil, r.status, r.why))
	c.linger()
}

// linger closes the connection so that the caller gets to read what was written.
func (c *conn) linger() {
	if c.state != nil {
		linger(c.rwc, c.rwc)
	} else {
		linger(c.rwc, c.nc)
	}
}

// asks are those that no connection uses. Their fields point into a buffer: a connection
// that kept one while it waits would keep the buffer, too.
var asks = sync.Pool{New: func() any { return new(ask) }}

// serveHead does what a head asks for. It reports whether another request may follow.
func (c *conn) serveHead(head []byte) bool {
	a := asks.Get().(*ask)
	v, err := a.read(head)
	if v == handedH2 && c.state != nil {
		err = &refusal{http.StatusBadRequest, "over TLS, HTTP/2 is agreed on in the handshake"}
	}
	var x *exchange
	if err == nil && v == taken {
		x, err = c.newExchange(a, head)
	}
	clear(a.fields)
	*a = ask{fields: a.fields[:0]}
	asks.Put(a)
	switch {
	case err != nil:
		c.refuse(err)
	case v == handed:
		c.replay(c.server.http1)
	case v == handedH2:
		c.replay(c.server.http2)
	default:
		c.win.r += len(head)
		return c.exchange(x)
	}
	return false
}

// common is what all requests have in common.
var common = &http.Request{Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}

// newExchange makes what a handler gets. It is put together on the connection's sheet.
func (c *conn) newExchange(a *ask, head []byte) (*exchange, error) {
	x := c.blank()
	x.conn, x.began, x.scope.conn = c, time.Now(), c
	sheet := c.sheet
	sheet.req = *common.WithContext(&x.scope)
	sheet.req.RemoteAddr, sheet.req.TLS = c.addr, c.state
	if err := a.request(head, sheet); err != nil {
		return nil, err
	}
	x.answer.x, x.answer.conn, x.answer.header = x, c, sheet.given
	x.answer.head, x.answer.closing = string(a.method) == "HEAD", a.close
	sheet.req.Body = http.NoBody
	if a.chunked || a.length > 0 {
		x.body.conn, x.body.left, x.body.chunked, x.body.expect, x.body.chunks.strict = c, a.length, a.chunked, a.expect, true
		sheet.req.Body = &x.body
	}
	return x, nil
}

// blank returns a new exchange and makes c.sheet a clean one.
func (c *conn) blank() *exchange {
	if !c.server.Lend {
		both := &struct {
			exchange
			sheet
		}{}
		c.sheet = &both.sheet
		c.sheet.asked = make(http.Header, 8)
		return &both.exchange
	}
	switch {
	case c.sheet == nil:
		c.sheet = &sheet{lent: true}
	case c.sheet.heard == nil: // a connection that asks once, and then waits for a stream, needs none
		c.sheet.heard = new(heard)
	}
	c.sheet.asked, c.sheet.given, c.sheet.url = clean(c.sheet.asked), clean(c.sheet.given), url.URL{}
	return &exchange{}
}

// exchange runs the handler. It reports whether another request may follow.
func (c *conn) exchange(x *exchange) bool {
	c.readBy.plan(x, x.began, c.server.ReadTimeout)
	c.writeBy.plan(x, x.began, c.server.WriteTimeout)
	c.now.Store(x)
	again := c.handle(x) && c.finish(x)
	x.scope.end()
	c.now.Store(nil)
	if !c.server.Lend {
		c.sheet = nil
	}
	return again
}

// handle calls the handler, and reports whether it returned.
func (c *conn) handle(x *exchange) (returned bool) {
	defer func() {
		if returned {
			return
		}
		x.answer.leave()
		x.body.leave()
		if p := recover(); p != nil && p != http.ErrAbortHandler {
			c.server.ErrorLog.Printf("http1: panic serving %s: %v\n%s", c.addr, p, debug.Stack())
		}
	}()
	c.server.Handler.ServeHTTP(&x.answer, &c.sheet.req)
	return true
}

// finish sends what is left of the answer, and goes to the end of the request. It reports
// whether another request may follow.
func (c *conn) finish(x *exchange) bool {
	unread := x.body.leave()
	c.readBy.release()
	again := x.answer.finish(unread < 0)
	c.writeBy.release()
	if !again {
		if c.broken == nil && unread != 0 {
			c.linger()
		}
		return false
	}
	return unread == 0 || c.drop(unread)
}

// drop reads the rest of a body that nobody wanted.
func (c *conn) drop(n int64) bool {
	c.readBy.within(time.Now(), c.server.ReadHeaderTimeout)
	if c.win.buf == nil {
		c.win.buf = borrow()
	}
	for n > 0 {
		if c.win.r == c.win.w && c.win.fill(c.rwc) != nil {
			return false
		}
		some := min(int(n), c.win.w-c.win.r)
		c.win.r += some
		n -= int64(some)
	}
	return true
}

// write writes past the buffer.
func (c *conn) write(p []byte) error {
	if c.broken == nil {
		_, c.broken = c.rwc.Write(p)
	}
	return c.broken
}

// room makes sure that there is a buffer.
func (c *conn) room() {
	if c.out == nil {
		c.out = borrow()[:0]
	}
}

// flush writes the buffer.
func (c *conn) flush() error {
	if len(c.out) > 0 {
		c.write(c.out)
		c.out = c.out[:0]
	}
	return c.broken
}

// push writes p behind what the buffer has: into it if there is room, and else both at once.
func push[T []byte | string](c *conn, p T) error {
	c.room()
	if len(c.out)+len(p) <= cap(c.out) {
		c.out = append(c.out, p...)
		return c.broken
	}
	if c.state != nil || c.broken != nil {
		c.flush()
		return c.write([]byte(p))
	}
	c.pair = [2][]byte{c.out, []byte(p)}
	c.vector = c.pair[:]
	_, c.broken = c.vector.WriteTo(c.nc)
	c.pair, c.out = [2][]byte{}, c.out[:0]
	return c.broken
}
