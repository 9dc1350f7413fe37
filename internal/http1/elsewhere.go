package http1

import (
	"crypto/tls"
	"net"
	"net/http"
	"sync"
)

// An elsewhere is a server of net/http that gets connections handed over: one serves a
// single request of HTTP/1 on each, the other HTTP/2.
type elsewhere struct {
	server *http.Server
	conns  chan net.Conn
	done   chan struct{} // closed with the listener
	once   sync.Once
}

// newElsewhere starts one.
func (s *Server) newElsewhere(h2 bool) *elsewhere {
	e := &elsewhere{conns: make(chan net.Conn), done: make(chan struct{})}
	e.server = &http.Server{
		Handler:           s.Handler,
		ReadHeaderTimeout: s.ReadHeaderTimeout,
		ReadTimeout:       s.ReadTimeout,
		WriteTimeout:      s.WriteTimeout,
		IdleTimeout:       s.IdleTimeout,
		MaxHeaderBytes:    s.MaxHeaderBytes,
		ErrorLog:          s.ErrorLog,
		Protocols:         new(http.Protocols),

		DisableGeneralOptionsHandler: true, // nothing is answered that the handler did not see
	}
	if h2 {
		e.server.Handler = http.HandlerFunc(s.oneLength)
		e.server.HTTP2 = s.HTTP2
		e.server.TLSConfig = &tls.Config{NextProtos: []string{"h2"}}
		e.server.Protocols.SetHTTP2(true)
		e.server.Protocols.SetUnencryptedHTTP2(true)
	} else {
		e.server.Protocols.SetHTTP1(true)
		// net/http takes bare LF for line ends, among other things. What it would read
		// behind the request that we have looked at is nobody's to guess.
		e.server.SetKeepAlivesEnabled(false)
		e.server.Handler = lastOfItsConnection{s.Handler}
	}
	go e.server.Serve(e)
	return e
}

// lastOfItsConnection is a handler whose answers do not promise that a connection is kept:
// to HTTP/1.0 net/http would, and then close it.
type lastOfItsConnection struct{ http.Handler }

// ServeHTTP serves a request.
func (h lastOfItsConnection) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMinor == 0 {
		w.Header().Set("Connection", "close")
	}
	h.Handler.ServeHTTP(w, r)
}

// oneLength serves a request of HTTP/2 that says its length once, if it does. net/http holds
// the body to the first of several, and RFC 9113 (8.1.1) has a length that is not the body's
// for malformed.
func (s *Server) oneLength(w http.ResponseWriter, r *http.Request) {
	if len(r.Header["Content-Length"]) < 2 {
		s.Handler.ServeHTTP(w, r)
		return
	}
	const why = "it has two fields Content-Length"
	if s.Refused != nil {
		s.Refused(r.RemoteAddr, http.StatusBadRequest, why)
	}
	http.Error(w, why, http.StatusBadRequest)
}

// hand gives a connection over.
func (e *elsewhere) hand(c net.Conn) {
	select {
	case e.conns <- c:
	case <-e.done:
		c.Close()
	}
}

// Accept returns the next connection that is handed over.
func (e *elsewhere) Accept() (net.Conn, error) {
	select {
	case c := <-e.conns:
		return c, nil
	case <-e.done:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (e *elsewhere) Close() error {
	e.once.Do(func() { close(e.done) })
	return nil
}

// Addr is of no use: every connection has its own.
func (e *elsewhere) Addr() net.Addr { return &net.TCPAddr{} }

// close closes the server with all its connections.
func (e *elsewhere) close() error {
	e.Close()
	return e.server.Close()
}

// A replayed connection begins with bytes that were read before.
type replayed struct {
	net.Conn
	state *tls.ConnectionState
	head  []byte // not yet read again
}

// Read reads what was read before, and then on.
func (r *replayed) Read(p []byte) (int, error) {
	if len(r.head) > 0 {
		n := copy(p, r.head)
		r.head = r.head[n:]
		return n, nil
	}
	return r.Conn.Read(p)
}

// A replayedTLS is a replayed connection over TLS. net/http asks it for the state, and with
// that handlers get the caller's certificate.
type replayedTLS struct{ replayed }

// ConnectionState is that of the handshake.
func (r *replayedTLS) ConnectionState() tls.ConnectionState { return *r.state }

// tlsConfig is a configuration that offers HTTP/2 and HTTP/1.1, unless it says what to offer.
func tlsConfig(c *tls.Config) *tls.Config {
	if c == nil || len(c.NextProtos) > 0 {
		return c
	}
	c = c.Clone()
	c.NextProtos = []string{"h2", "http/1.1"}
	return c
}
