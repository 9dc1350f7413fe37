package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pavise/pavise"
)

// An h2 is how an endpoint is asked over HTTP/2. The protocol is net/http's, which
// is x/net/http2 as the standard library carries it: no dependency, and its fixes come
// with Go's.
type h2 struct {
	e *endpoint
	t *http.Transport
}

func newH2(e *endpoint) *h2 {
	h := &h2{e: e}
	o := e.c.o
	protocols := new(http.Protocols)
	protocols.SetHTTP2(e.secure)
	protocols.SetUnencryptedHTTP2(!e.secure)
	h.t = &http.Transport{
		Protocols:              protocols,
		DialContext:            h.dial,
		DialTLSContext:         h.dialTLS,
		DisableCompression:     true,
		MaxConnsPerHost:        o.Pool.MaxOpen,
		IdleConnTimeout:        o.Pool.Idle,
		ResponseHeaderTimeout:  o.Timeouts.FirstByte,
		MaxResponseHeaderBytes: maxHead,
		HTTP2: &http.HTTP2Config{
			SendPingTimeout:               30 * time.Second,
			PingTimeout:                   10 * time.Second,
			WriteByteTimeout:              o.Timeouts.Gap,
			MaxReceiveBufferPerConnection: 1 << 20,
			MaxReceiveBufferPerStream:     256 << 10,
		},
	}
	return h
}

// errConnect is around what went wrong before a connection stood: nothing was asked.
var errConnect = errors.New("connect")

func (h *h2) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, h.e.c.o.Timeouts.Connect)
	defer cancel()
	nc, err := h.e.c.dialer.DialContext(ctx, network, addr)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errConnect, err)
	}
	return nc, nil
}

// dialTLS refuses a server that does not choose HTTP/2: what net/http would speak
// with it then is not what this package reads as strictly.
func (h *h2) dialTLS(ctx context.Context, network, addr string) (net.Conn, error) {
	nc, err := h.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, h.e.c.o.Timeouts.Connect)
	defer cancel()
	secure := tls.Client(nc, h.e.tls)
	err = secure.HandshakeContext(ctx)
	if err == nil && secure.ConnectionState().NegotiatedProtocol != "h2" {
		err = errors.New("the server did not choose HTTP/2")
	}
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("%w: %w", errConnect, err)
	}
	return secure, nil
}

func (h *h2) close() { h.t.CloseIdleConnections() }

// An h2Answer is an answer over HTTP/2: its body, with a bound on the gaps in it.
type h2Answer struct {
	resp   *http.Response
	caller context.Context
	cancel context.CancelFunc
	timer  *time.Timer // cancels when a gap is too long
	gap    time.Duration
	slow   atomic.Bool // it did
	unlife func() bool
	sent   lent
}

// ask2 is ask over HTTP/2.
func (l *leg) ask2(ctx context.Context, r *Request, a *Answer, end time.Time) (again, *Fault) {
	h := &h2Answer{caller: ctx}
	ctx, h.cancel = context.WithDeadline(ctx, end)
	h.gap, h.unlife = l.e.c.o.Timeouts.Gap, context.AfterFunc(l.e.c.life, h.cancel)
	l.h2 = h
	h.sent.bytes = r.Body
	req, err := request2(ctx, l.e, r, &h.sent)
	if err != nil {
		return never, &Fault{Reason: Unwritable, Endpoint: l.e.url, Err: &pavise.Error{Kind: pavise.Invalid, Msg: "a request to a model server cannot be written", Err: err}}
	}
	resp, err := l.e.h2.t.RoundTrip(req)
	if err != nil {
		if errors.Is(err, errConnect) { // nothing was asked
			return elsewhere, l.fault(h.reason(err))
		}
		return never, l.fault(h.reason(err))
	}
	h.resp = resp
	h.timer = time.AfterFunc(h.gap, func() { h.slow.Store(true); h.cancel() })
	l.src, l.status = h, resp.StatusCode
	return never, l.head(a, func(name string) ([]byte, int) {
		values := resp.Header.Values(name)
		if len(values) == 0 {
			return nil, 0
		}
		return []byte(values[0]), len(values)
	})
}

// trailer takes what the caller wants and the head did not have.
func (l *leg) trailer(a *Answer) *Fault {
	for i, name := range a.Want {
		values := l.h2.resp.Trailer.Values(name)
		switch {
		case len(values) > 1 || len(values) == 1 && a.Got[i] != nil:
			return &Fault{Reason: Malformed, Endpoint: l.e.url, Err: errors.New("the field " + name + " is there twice")}
		case len(values) == 1:
			a.Got[i] = []byte(values[0])
		}
	}
	return nil
}

// lent are the bytes of a request, which are somebody else's after the call. net/http
// may still be sending when it was answered early or gave up; once they are taken back
// it finds nothing more.
type lent struct {
	mu    sync.Mutex
	bytes []byte // guarded by mu
}

func (l *lent) takeBack() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bytes = nil
}

// lentReader reads lent bytes once.
type lentReader struct {
	of *lent
	at int
}

// Read copies what is left.
func (r *lentReader) Read(p []byte) (int, error) {
	r.of.mu.Lock()
	defer r.of.mu.Unlock()
	if r.at >= len(r.of.bytes) {
		return 0, io.EOF
	}
	n := copy(p, r.of.bytes[r.at:])
	r.at += n
	return n, nil
}

// Close has nothing to give back.
func (r *lentReader) Close() error { return nil }

func request2(ctx context.Context, e *endpoint, r *Request, body *lent) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, r.Method, e.url+r.Path, nil)
	if err != nil {
		return nil, err
	}
	if len(r.Body) > 0 {
		req.ContentLength = int64(len(r.Body))
		req.Body = &lentReader{of: body}
		req.GetBody = func() (io.ReadCloser, error) { return &lentReader{of: body}, nil }
	}
	req.Header.Set("User-Agent", "")
	for _, f := range r.Fields {
		req.Header.Add(f.Name, f.Value)
	}
	return req, nil
}

// reason makes a Fault of what net/http says.
func (h *h2Answer) reason(err error) error {
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, errConnect) && h.caller.Err() == nil:
		return &Fault{Reason: Unreachable, Err: err}
	case h.caller.Err() != nil:
		return &Fault{Reason: Gone, Err: err}
	case h.slow.Load(), errors.As(err, &timeout) && timeout.Timeout():
		return &Fault{Reason: Slow, Err: err}
	}
	return err
}

// close ends the call, and its stream when that is not over.
func (h *h2Answer) close() {
	if h.resp != nil {
		h.timer.Stop()
		h.resp.Body.Close()
	}
	h.unlife()
	h.cancel()
	h.sent.takeBack()
}

// Read reads what came of the body.
func (h *h2Answer) Read(p []byte) (int, error) {
	h.timer.Reset(h.gap)
	n, err := h.resp.Body.Read(p)
	if n > 0 || err == nil || err == io.EOF {
		return n, err
	}
	return 0, h.reason(err)
}
