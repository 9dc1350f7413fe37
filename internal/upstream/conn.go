package upstream

import (
	"context"
	"crypto/tls"
	"errors"
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
	quiet  bool      // what look saw: open, and nothing to read
	asked  bool      // peek has asked the system already
	one    [1]byte   // where it looks
	born   time.Time // when it was made
	since  time.Time // unused since then
	reused bool

	answers *http1.Responses // what is read from the connection, through Read
	out     []byte           // head of the request, with a small body

	// The call under way.
	ctx  context.Context
	stop func() bool   // ends the watch on ctx; nil: there is none yet
	last time.Time     // when the last byte came, or the call began
	gap  time.Duration // how long the next byte may take
	end  time.Time     // when the call must be over
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
func (e *endpoint) connect(ctx context.Context, until time.Time) (*conn, *Fault) {
	cn, err := e.dial(ctx, until)
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

func (e *endpoint) dial(ctx context.Context, until time.Time) (*conn, error) {
	ctx, cancel := context.WithDeadline(ctx, earlier(until, time.Now().Add(e.c.o.Timeouts.Connect)))
	defer cancel()
	nc, err := e.c.dialer.DialContext(ctx, "tcp", e.at)
	if err != nil {
		return nil, err
	}
	cn := &conn{e: e, nc: nc, tcp: nc, born: e.c.now()}
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
			cn.raw, cn.look = raw, cn.lookOnce
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
// server did not close it, and sent nothing that nobody asked for.
func (cn *conn) usable(now time.Time) bool {
	if cn.e.c.stale(cn, now) || cn.answers.Unread() > 0 {
		return false
	}
	if cn.quiet = cn.raw == nil; !cn.quiet && cn.raw.Control(cn.look) != nil || !cn.quiet {
		return false
	}
	return cn.nc == cn.tcp || cn.silent()
}

// lookOnce reads without waiting. Any byte is one too many, so it may be lost. This
// takes a third of a microsecond, where a goroutine that watches the connection
// takes a switch to it and back at each answer.
func (cn *conn) lookOnce(fd uintptr) {
	_, err := syscall.Read(int(fd), cn.one[:])
	cn.quiet = err == syscall.EAGAIN
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
func (cn *conn) begin(ctx context.Context, first time.Duration, end time.Time) time.Duration {
	now := time.Now()
	cn.ctx, cn.last, cn.gap, cn.end, cn.stop, cn.since = ctx, now, first, end, nil, time.Time{}
	soon := earlier(now.Add(patience), cn.limit())
	if cn.nc == cn.tcp {
		cn.nc.SetDeadline(soon)
	} else { // a write over TLS that was cut short cannot be gone on with
		cn.nc.SetWriteDeadline(end)
		cn.nc.SetReadDeadline(soon)
	}
	return end.Sub(now)
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
// patience, and has the caller watched from there on.
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
	return cn.tcp.SetDeadline(limit)
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

// Read reads what came.
func (cn *conn) Read(p []byte) (int, error) {
	for {
		n, err := cn.nc.Read(p)
		if n > 0 {
			cn.last = time.Now()
			return n, nil
		}
		if err != nil {
			if err = cn.again(err); err != nil {
				return 0, err
			}
		}
	}
}

// Ready waits until something came, without a buffer to read it into.
func (cn *conn) Ready() error {
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

// send writes the request. It returns how many bytes of it the system has, and whether
// that is all.
func (cn *conn) send(head, body []byte) (sent int, whole bool, err error) {
	size := len(head) + len(body)
	if size <= outSize {
		head, body = append(head, body...), nil
		cn.out = head[:0]
	}
	if sent, err = cn.Write(head); err == nil && len(body) > 0 {
		var n int
		n, err = cn.Write(body)
		sent += n
	}
	return sent, sent == size, err
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
