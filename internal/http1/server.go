package http1

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A Server serves an http.Handler over HTTP/1.1, as net/http's does, at a fraction of its
// cost. It serves requests of a narrow form itself; good requests of any other form, HTTP/2
// over TLS and HTTP/2 without it go to servers of net/http behind it. One that is malformed,
// or that two readers could understand differently, is refused with 400 and its connection
// closed.
//
// What differs from net/http for a handler: there is no Hijack but for requests that were
// handed over (those with Upgrade are); trailers are neither taken nor sent; a request may
// be written to and read from at once; its context ends when the handler returns, when the
// server is closed, and within about two seconds of the client's departure once the handler
// has run for a second and somebody waits on the context (on Linux, over TCP).
//
// The fields are set before Serve and not changed after it.
type Server struct {
	Handler   http.Handler
	TLSConfig *tls.Config // nil: without TLS

	ReadHeaderTimeout time.Duration // for a handshake, and from a head's first byte to its last; default 5 s
	ReadTimeout       time.Duration // for reading a body, from the head's end; 0: none
	WriteTimeout      time.Duration // for the answer, from the head's end; 0: none
	IdleTimeout       time.Duration // between requests; default 2 minutes
	MaxHeaderBytes    int           // of a head with its first line; default 32 KiB
	MaxConns          int           // open at once, handed over ones included; further ones get 503; 0: any number

	// Lend says that no handler keeps the *http.Request, its URL or a header beyond its
	// return. They are then used again for the next request of the connection, which saves
	// three quarters of the memory that a request takes. Context, body and ResponseWriter
	// may be kept in any case: they are dead from then on.
	Lend bool

	HTTP2 *http.HTTP2Config // for HTTP/2; nil: net/http's defaults

	// Refused is told of each request that is refused before a handler sees it. It must
	// return quickly; remote is an address with a port. nil: nobody is.
	Refused  func(remote string, status int, why string)
	ErrorLog *log.Logger // of handlers that panic; nil: the standard one

	lastCall time.Duration // see defaultLastCall

	once    sync.Once // prepares what follows
	http1   *elsewhere
	http2   *elsewhere
	tls     *tls.Config
	closing atomic.Bool
	open    atomic.Int64  // connections, handed over ones included
	turned  atomic.Int64  // connections that are being told that there are too many
	over    chan struct{} // closed when nothing is served any more

	mu        sync.Mutex // guards what follows
	listeners map[net.Listener]bool
	conns     map[*conn]bool // served here
}

// errTLSTwice is what Serve says of a listener that does TLS: the certificate of the caller
// would be lost on the way to the handler.
var errTLSTwice = errors.New("http1: the listener does TLS itself: give Serve the one below it, and the configuration to Server.TLSConfig")

// Serve takes connections from l, which are without TLS yet, until Shutdown or Close, and
// then returns http.ErrServerClosed.
func (s *Server) Serve(l net.Listener) error {
	s.once.Do(s.prepare)
	if !s.listen(l) {
		l.Close()
		return http.ErrServerClosed
	}
	defer s.unlisten(l)
	wait := time.Duration(0)
	for {
		nc, err := l.Accept()
		switch {
		case err == nil:
			if _, done := nc.(*tls.Conn); done {
				nc.Close()
				return errTLSTwice
			}
			wait = 0
			s.accept(nc)
		case s.closing.Load():
			return http.ErrServerClosed
		case passing(err):
			wait = min(max(2*wait, 5*time.Millisecond), time.Second)
			time.Sleep(wait)
		default:
			return err
		}
	}
}

// passing reports whether a listener may take connections again later: a connection was
// gone before it was taken, or there are too many files or buffers just now.
func passing(err error) bool {
	for _, errno := range []syscall.Errno{syscall.ECONNABORTED, syscall.ECONNRESET, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// prepare fills in defaults and starts what stands behind.
func (s *Server) prepare() {
	defaultTo(&s.ReadHeaderTimeout, 5*time.Second)
	defaultTo(&s.IdleTimeout, 2*time.Minute)
	defaultTo(&s.MaxHeaderBytes, 32<<10)
	defaultTo(&s.lastCall, defaultLastCall)
	if s.ErrorLog == nil {
		s.ErrorLog = log.Default()
	}
	s.listeners, s.conns, s.over = map[net.Listener]bool{}, map[*conn]bool{}, make(chan struct{})
	s.tls = tlsConfig(s.TLSConfig)
	s.http1, s.http2 = s.newElsewhere(false), s.newElsewhere(true)
	go s.lookForDepartures()
}

func defaultTo[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// listen notes a listener, unless the server is closing.
func (s *Server) listen(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Load() {
		return false
	}
	s.listeners[l] = true
	return true
}

// unlisten closes a listener from which nothing comes any more.
func (s *Server) unlisten(l net.Listener) {
	l.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
}

// accept begins to serve a connection, or turns it away.
func (s *Server) accept(nc net.Conn) {
	counted := &countedConn{Conn: nc, open: &s.open}
	if n := s.open.Add(1); s.MaxConns > 0 && n > int64(s.MaxConns) {
		s.turnAway(counted)
		return
	}
	if c := newConn(s, counted, nc); s.remember(c) {
		go c.serve()
	} else {
		counted.Close()
	}
}

// remember lists a connection, unless everything is over. One that comes while the server
// is closing is still served: its caller cannot know.
func (s *Server) remember(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isOver() {
		return false
	}
	s.conns[c] = true
	return true
}

// isOver reports whether Close was called. mu is held.
func (s *Server) isOver() bool {
	select {
	case <-s.over:
		return true
	default:
		return false
	}
}

// forget takes a connection from the list of those served here.
func (s *Server) forget(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
}

// A countedConn is counted as open until it is closed.
type countedConn struct {
	net.Conn
	open *atomic.Int64
	once sync.Once
}

// Close closes the connection.
func (c *countedConn) Close() error {
	c.uncount()
	return c.Conn.Close()
}

func (c *countedConn) uncount() { c.once.Do(func() { c.open.Add(-1) }) }

// turnedAtOnce is how many connections too many get an answer at a time.
const turnedAtOnce = 64

// turnAway says that there are too many connections, if the caller would understand it and
// not too many are told already.
func (s *Server) turnAway(c *countedConn) {
	c.uncount()
	if s.Refused != nil {
		s.Refused(c.RemoteAddr().String(), http.StatusServiceUnavailable, "there are too many connections")
	}
	if s.tls != nil || s.turned.Add(1) > turnedAtOnce {
		if s.tls == nil {
			s.turned.Add(-1)
		}
		c.Close()
		return
	}
	go func() {
		defer s.turned.Add(-1)
		defer c.Close()
		c.SetDeadline(time.Now().Add(lingerTime))
		c.Write(appendRefusal(nil, http.StatusServiceUnavailable, "there are too many connections; try again"))
		linger(c, c.Conn)
	}()
}

// How long, and for how many bytes, a connection that we close is read on, so that the
// caller gets to read our answer before a reset.
const (
	lingerTime  = 500 * time.Millisecond
	lingerBytes = 256 << 10
)

// linger ends our side of a connection and drops what still comes.
func linger(c, nc net.Conn) {
	if half, ok := nc.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		c.SetReadDeadline(time.Now().Add(lingerTime))
		io.CopyN(io.Discard, nc, lingerBytes)
	}
}

// defaultLastCall is how long an idle connection stays open once the server is closing: a
// request that is on its way is still answered, and its answer says that it was the last.
const defaultLastCall = 200 * time.Millisecond

// Shutdown stops taking connections, lets requests under way end, and closes what is idle.
// When ctx ends before that, it returns its error, and Close is called for.
func (s *Server) Shutdown(ctx context.Context) error {
	s.once.Do(s.prepare)
	for _, c := range s.stopListening(acceptFor) {
		if c.now.Load() == nil {
			c.nc.SetReadDeadline(time.Now().Add(s.lastCall))
		}
	}
	h2 := make(chan error, 1)
	go func() { h2 <- s.http2.server.Shutdown(ctx) }()
	for s.serving() { // and hands over, perhaps
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
	if err := errors.Join(s.http1.server.Shutdown(ctx), <-h2); err != nil {
		return err
	}
	return s.Close()
}

// serving reports whether any connection is served here, or may still come.
func (s *Server) serving() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)+len(s.listeners) > 0
}

// acceptFor is how long connections that wait to be accepted still are, once the server is
// closing: closing a listener resets them.
const acceptFor = 20 * time.Millisecond

// stopListening ends the listeners, with time for who waits there already, and returns the
// connections that are served here.
func (s *Server) stopListening(wait time.Duration) (conns []*conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing.Store(true)
	for l := range s.listeners {
		if d, ok := l.(interface{ SetDeadline(time.Time) error }); !ok || wait == 0 || d.SetDeadline(time.Now().Add(wait)) != nil {
			l.Close()
		}
	}
	for c := range s.conns {
		conns = append(conns, c)
	}
	return conns
}

// Close closes every connection at once and ends the contexts of requests under way.
func (s *Server) Close() error {
	s.once.Do(s.prepare)
	conns := s.stopListening(0)
	s.mu.Lock()
	first := !s.isOver()
	if first {
		close(s.over)
	}
	s.mu.Unlock()
	for _, c := range conns {
		c.nc.Close()
		if x := c.now.Load(); x != nil {
			x.scope.end()
		}
	}
	if !first {
		return nil
	}
	return errors.Join(s.http1.close(), s.http2.close())
}

// How often departures are looked for, and in requests of what age.
const lookEvery = time.Second

// lookForDepartures ends the contexts of requests whose callers are gone. net/http reads
// ahead in a goroutine of its own for each request; asking the kernel, and only about long
// requests that somebody would like to see ended, costs the others nothing.
func (s *Server) lookForDepartures() {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.over:
			return
		case now := <-tick.C:
			for _, x := range s.longRequests(now) {
				if gone(x.conn.raw) {
					x.scope.end()
				}
			}
		}
	}
}

func (s *Server) longRequests(now time.Time) (long []*exchange) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if x := c.now.Load(); x != nil && c.raw != nil && now.Sub(x.began) > lookEvery && x.scope.awaited() {
			long = append(long, x)
		}
	}
	return long
}
