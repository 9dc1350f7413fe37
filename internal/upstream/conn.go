package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/pavise/pavise/internal/http1"
)

// A conn is one HTTP/1.1 connection. Who took it from its endpoint owns it alone; no
// goroutine watches it.
type conn struct {
	e      *endpoint
	nc     net.Conn        // what is read and written: TCP, or TLS over it
	tcp    net.Conn        // what is closed
	raw    syscall.RawConn // of tcp; nil when there is none
	look   func(fd uintptr)
	turn   func(fd uintptr) bool // see takeTurn
	quiet  bool                  // what look saw: open, and nothing to read
	asked  bool                  // peek has asked the system already
	one    [1]byte               // where it looks
	born   time.Time             // when it was made
	since  time.Time             // unused since then
	reused bool
	waited bool // to get it took time

	answers *http1.Responses // what is read from the connection, through Read
	out     []byte           // head of the request, with a small body

	// The call under way.
	ctx   context.Context
	stop  func() bool   // ends the watch on ctx; nil: there is none yet
	last  time.Time     // when the last byte came, or the call began; see came
	came  bool          // bytes came since last; the clock is read when more are waited for
	gap   time.Duration // how long the next byte may take
	end   time.Time     // when the call must be over
	told  time.Time     // the deadline that the connection has, without TLS
	sent  int           // bytes of the request that the system has
	whole bool          // they are all of it
	ended bool          // it turned out not to be usable, before anything was sent

	// What takeTurn works on.
	unsent []byte // the request, until it is sent
	into   []byte // where the answer goes
	got    int    // bytes of it
	err    error
}

const (
	// outSize is up to where a body is copied behind its head, to be one write.
	outSize = 8 << 10
	// patience is how long a call waits before it asks to be told that its caller
	// went away. Most answers are there before, and the watch costs as much as half a
	// call.
	patience = 20 * time.Millisecond
)

// connect makes a connection. It gives its leave back when it cannot.
//
// It is made on another stack: to dial takes 3 KB of one, and more with TLS. A stack that had
// to grow for that stays twice as large for as long as a stream waits on it.
func (e *endpoint) connect(ctx context.Context, until time.Time) (*conn, *Fault) {
	type made struct {
		cn  *conn
		err error
	}
	dialing, cancel := context.WithDeadline(context.Background(), earlier(until, time.Now().Add(e.c.o.Timeouts.Connect)))
	defer cancel()
	ready := make(chan made, 1)
	go func() {
		cn, err := e.dial(dialing)
		ready <- made{cn, err}
	}()
	var m made
	select { // a context made of ctx would leave a map in it
	case m = <-ready:
	case <-ctx.Done():
		cancel()
		m = <-ready
	}
	cn, err := m.cn, m.err
	if err == nil {
		e.mu.Lock()
		e.conns[cn] = true
		e.mu.Unlock()
		if e.c.life.Err() != nil { // nobody would end it any more
			cn.close()
		}
		return cn, nil
	}
	e.forgo()
	if ctx.Err() != nil {
		return nil, &Fault{Reason: Gone, Err: err}
	}
	return nil, &Fault{Reason: Unreachable, Err: err}
}

func (e *endpoint) dial(ctx context.Context) (*conn, error) {
	nc, err := e.c.dialer.DialContext(ctx, "tcp", e.at)
	if err != nil {
		return nil, err
	}
	cn := &conn{e: e, nc: nc, tcp: nc, born: e.c.clock(time.Time{}), waited: true}
	cn.answers = http1.NewResponses(cn, http1.Limits{Head: maxHead, Body: -1})
	cn.answers.CloseDelimited = e.c.o.CloseDelimited
	if e.secure {
		secure := tls.Client(nc, e.tls)
		if err := secure.HandshakeContext(ctx); err != nil {
			nc.Close()
			return nil, err
		}
		cn.nc = secure
	}
	if s, ok := nc.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			cn.raw, cn.look, cn.turn = raw, cn.lookOnce, cn.takeTurn
		}
	}
	return cn, nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// usable reports whether an idle connection may take a call: it is not too old, the
// server did not close it, and sent nothing that nobody asked for. Without TLS, whether
// it is quiet is seen when the request is sent: see send.
func (cn *conn) usable(now time.Time) bool {
	switch {
	case cn.e.c.stale(cn, now) || cn.answers.Unread() > 0:
		return false
	case cn.nc != cn.tcp:
		return cn.isQuiet() && cn.silent()
	}
	return true
}

// isQuiet reports whether the connection is open and has nothing to read.
func (cn *conn) isQuiet() bool {
	if cn.raw == nil {
		return true
	}
	cn.quiet = false
	return cn.raw.Control(cn.look) == nil && cn.quiet
}

// lookOnce reads without waiting. Any byte is one too many, so it may be lost. This
// takes a third of a microsecond, where a goroutine that watches the connection
// takes a switch to it and back at each answer.
func (cn *conn) lookOnce(fd uintptr) {
	_, err := syscall.Read(int(fd), cn.one[:])
	cn.quiet = err == syscall.EAGAIN
}

// takeTurn sends a request that is one write, waits, and reads what came of the answer: all
// in one callback of a RawConn's Read. The profile showed a fifth of our own time in the
// locks of the poller, which Write and Read take each, and a read for nothing between them.
//
// It looks first, as lookOnce does: a connection that is not quiet is not usable, and the
// request is not sent. The look is also why no wake-up is lost: the poller forgot what it
// knew before the first call, the socket had nothing after that, and whatever comes from
// then on wakes us. So after the write there is nothing to read for before the wait.
func (cn *conn) takeTurn(fd uintptr) bool {
	if cn.unsent != nil {
		cn.lookOnce(fd)
		if !cn.quiet {
			cn.unsent, cn.ended = nil, true
			return true
		}
		n, err := writeOnce(fd, cn.unsent)
		cn.sent, cn.unsent = n, cn.unsent[n:]
		if len(cn.unsent) == 0 {
			cn.unsent, cn.whole = nil, true
			return false
		}
		if err == nil || err == syscall.EAGAIN { // there was no room: Write waits for it
			return true
		}
		cn.unsent = nil // it broke off; the server may have said why
	}
	for {
		n, err := syscall.Read(int(fd), cn.into)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			return false
		case err != nil:
			cn.err = os.NewSyscallError("read", err)
		case n == 0:
			cn.err = io.EOF
		}
		cn.got = max(n, 0)
		return true
	}
}

// writeOnce writes as much as there is room for.
func writeOnce(fd uintptr, p []byte) (int, error) {
	for {
		n, err := syscall.Write(int(fd), p)
		if err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}

// silent reports whether TLS has read nothing ahead: an answer that nobody asked for
// may have come in one piece with the last one.
func (cn *conn) silent() bool {
	cn.nc.SetReadDeadline(time.Unix(1, 0))
	n, err := cn.nc.Read(cn.one[:])
	return n == 0 && errors.Is(err, os.ErrDeadlineExceeded)
}

// stale reports whether a connection was unused, or used, for too long.
func (c *Cluster) stale(cn *conn, now time.Time) bool {
	return !cn.since.IsZero() && now.Sub(cn.since) > c.o.Pool.Idle || now.Sub(cn.born) > c.o.Pool.Age
}

// begin starts a call: its head must be there within first, and all of it at end. It
// returns how long that is.
func (cn *conn) begin(ctx context.Context, now time.Time, first time.Duration, end time.Time) time.Duration {
	cn.ctx, cn.last, cn.came, cn.gap, cn.end, cn.stop, cn.since = ctx, now, false, first, end, nil, time.Time{}
	cn.sent, cn.whole, cn.ended = 0, false, false
	soon := earlier(now.Add(patience), cn.limit())
	switch {
	case cn.nc == cn.tcp && cn.told.After(now.Add(patience/2)) && !cn.told.After(soon): // that of the call before will do
	case cn.nc == cn.tcp:
		cn.deadline(soon)
	default: // a write over TLS that was cut short cannot be gone on with
		cn.nc.SetWriteDeadline(end)
		cn.nc.SetReadDeadline(soon)
	}
	return end.Sub(now)
}

// deadline is until when reading and writing may take.
func (cn *conn) deadline(t time.Time) error {
	cn.told = t
	return cn.tcp.SetDeadline(t)
}

// finish ends the call, and reports whether the connection may be used again as far
// as the watch is concerned: it may just have closed it.
func (cn *conn) finish() bool {
	stopped := cn.stop == nil || cn.stop()
	cn.ctx, cn.stop = nil, nil
	return stopped
}

// close ends the connection at once, and what is being read or written on it.
func (cn *conn) close() { cn.tcp.Close() }

// limit is when the next byte must have come.
func (cn *conn) limit() time.Time { return earlier(cn.last.Add(cn.gap), cn.end) }

// again reports whether to go on after err: a deadline passed that was earlier than
// what the call is given. Deadlines of the connection are not moved with each byte;
// they pass, and then it is seen what they should be. The first of them is after
// patience, or half of it, and has the caller watched from there on.
func (cn *conn) again(err error) error {
	if cn.ctx.Err() != nil {
		return &Fault{Reason: Gone, Err: cn.ctx.Err()}
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	now, limit := time.Now(), cn.limit()
	switch {
	case !now.Before(cn.end):
		return &Fault{Reason: Slow, Err: errTotal}
	case !now.Before(limit):
		return &Fault{Reason: Slow, Err: errGap}
	}
	cn.watch()
	return cn.deadline(limit)
}

var (
	errTotal = errors.New("the time of the whole call is over")
	errGap   = errors.New("no byte came, or was taken, for too long")
)

// watch closes the connection when the caller goes away.
func (cn *conn) watch() {
	if cn.stop == nil && cn.ctx.Done() != nil {
		cn.stop = context.AfterFunc(cn.ctx, cn.close)
	}
}

// Read reads what came. The first read of an answer sends the request before, unless send
// has done so.
func (cn *conn) Read(p []byte) (int, error) {
	cn.goOn()
	for {
		n, err := cn.readOnce(p)
		if n > 0 {
			cn.came = true
			return n, nil
		}
		if cn.ended {
			return 0, errEnded
		}
		if err != nil {
			if err = cn.again(err); err != nil {
				return 0, err
			}
		}
	}
}

// goOn sees to it that the time of the next byte counts from the last one.
func (cn *conn) goOn() {
	if cn.came {
		cn.last, cn.came = time.Now(), false
	}
}

// errEnded is what Read says of an idle connection that had ended.
var errEnded = errors.New("the server ended the connection, or sent what nobody asked for, while it was idle")

func (cn *conn) readOnce(p []byte) (int, error) {
	if cn.unsent == nil {
		return cn.nc.Read(p)
	}
	cn.into, cn.got, cn.err = p, 0, nil
	err := cn.raw.Read(cn.turn)
	cn.into = nil
	switch {
	case err != nil: // a deadline, before the request was sent or after it
		return 0, err
	case cn.unsent == nil:
		return cn.got, cn.err
	}
	rest := cn.unsent
	cn.unsent = nil
	n, err := cn.Write(rest)
	cn.sent, cn.whole = cn.sent+n, n == len(rest)
	if FaultOf(err) != nil {
		return 0, err
	}
	return cn.nc.Read(p)
}

// Ready waits until something came, without a buffer to read it into.
func (cn *conn) Ready() error {
	cn.goOn()
	for {
		cn.asked = false
		err := cn.raw.Read(cn.peek)
		if err == nil {
			return nil
		}
		if err = cn.again(err); err != nil {
			return err
		}
	}
}

// peek reports whether there is something to read. Once it had to wait, there is: a
// socket that woke us for nothing has Read wait.
func (cn *conn) peek(fd uintptr) bool {
	if cn.asked {
		return true
	}
	cn.asked = true
	_, _, err := syscall.Recvfrom(int(fd), cn.one[:], syscall.MSG_PEEK)
	return err != syscall.EAGAIN
}

// Write writes all of p, and returns how much of it the system has.
func (cn *conn) Write(p []byte) (int, error) {
	sent := 0
	for {
		n, err := cn.nc.Write(p[sent:])
		sent += n
		if sent > outSize || n > 0 && err != nil { // it took its time
			cn.last = time.Now()
		}
		if err == nil {
			return sent, nil
		}
		if cn.nc != cn.tcp && errors.Is(err, os.ErrDeadlineExceeded) {
			return sent, &Fault{Reason: Slow, Err: errTotal}
		}
		if err = cn.again(err); err != nil {
			return sent, err
		}
	}
}

// send sends the request: sent and whole say how much of it the system has. It leaves a
// small one for Read to send, on a connection that was used before: others have nothing to
// look for before it, and their server may speak first.
func (cn *conn) send(head, body []byte) (err error) {
	plain := cn.reused && cn.raw != nil && cn.nc == cn.tcp
	size := len(head) + len(body)
	if size <= outSize {
		head, body = append(head, body...), nil
		cn.out = head[:0]
		if plain {
			cn.unsent = head
			return nil
		}
	}
	if plain && !cn.isQuiet() {
		cn.ended = true
		return nil
	}
	if cn.sent, err = cn.Write(head); err == nil && len(body) > 0 {
		var n int
		n, err = cn.Write(body)
		cn.sent += n
	}
	cn.whole = cn.sent == size
	return err
}

// head spells the head of the request.
func (cn *conn) head(r *Request) ([]byte, error) {
	length := int64(len(r.Body))
	if length == 0 && (r.Method == "GET" || r.Method == "HEAD") {
		length = -1
	}
	target := r.Path
	if cn.e.base != "" {
		target = cn.e.base + r.Path
	}
	out, err := http1.AppendHead(cn.out[:0], http1.Head{Method: r.Method, Target: target, Host: cn.e.host, Length: length})
	for _, f := range r.Fields {
		if err == nil {
			out, err = http1.AppendField(out, f.Name, f.Value)
		}
	}
	cn.out = http1.AppendEnd(out)
	return cn.out, err
}
