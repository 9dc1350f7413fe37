package role

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"
)

// inProcess is a transport to a handler in this process, by no network: so the console
// reaches the API whatever the server's certificate is.
type inProcess struct {
	handler http.Handler
	members *memberSessions
}

// memberSessions are the console's sessions of people who have no token. Each is known
// by a random word, which stands where the token would, and goes nowhere but through
// inProcess: there the request becomes one with the person's certificate, which is
// verified each time as if the person called.
type memberSessions struct {
	now func() time.Time

	mu    sync.Mutex // guards what follows
	known map[string]memberSession
}

// A memberSession is one of them.
type memberSession struct {
	chain   []*x509.Certificate
	expires time.Time
}

// Bounds of sessions, and what their words begin with: no token does.
const (
	maxMemberSessions = 1024
	memberWord        = "member."
)

// open keeps a session, and returns its word. When there are too many, those that have
// ended go, or else all: people open the console again.
func (m *memberSessions) open(chain []*x509.Certificate, expires time.Time) string {
	word := memberWord + rand.Text()
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.known) >= maxMemberSessions {
		maps.DeleteFunc(m.known, func(_ string, s memberSession) bool { return !m.now().Before(s.expires) })
	}
	if m.known == nil || len(m.known) >= maxMemberSessions {
		m.known = map[string]memberSession{}
	}
	m.known[word] = memberSession{chain, expires}
	return word
}

// of returns the certificates of a session, by the header in which its word stands.
func (m *memberSessions) of(authorization string) ([]*x509.Certificate, bool) {
	word, ok := strings.CutPrefix(authorization, "Bearer ")
	if !ok || m == nil {
		return nil, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.known[word]
	return s.chain, ok && m.now().Before(s.expires)
}

// RoundTrip is http.RoundTripper's.
func (t inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	body, w := io.Pipe()
	answer := &piped{header: http.Header{}, w: w, ready: make(chan struct{})}
	inner := r.Clone(r.Context())
	inner.RemoteAddr, inner.RequestURI = "127.0.0.1:0", r.URL.RequestURI()
	inner.TLS = nil
	if chain, ok := t.members.of(inner.Header.Get("Authorization")); ok {
		inner.Header.Del("Authorization")
		inner.TLS = &tls.ConnectionState{PeerCertificates: chain}
	}
	if inner.Body == nil {
		inner.Body = http.NoBody
	}
	go func() {
		defer func() {
			// As net/http's server does: a handler that panics breaks its own answer off,
			// and not the process.
			broken := recover()
			if broken == nil {
				answer.WriteHeader(http.StatusOK)
				w.Close()
				return
			}
			answer.WriteHeader(http.StatusInternalServerError)
			w.CloseWithError(io.ErrUnexpectedEOF)
		}()
		t.handler.ServeHTTP(answer, inner)
	}()
	select {
	case <-answer.ready:
	case <-r.Context().Done():
		w.CloseWithError(r.Context().Err())
		return nil, r.Context().Err()
	}
	return &http.Response{
		StatusCode: answer.status, Status: http.StatusText(answer.status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: answer.sent, Body: body, ContentLength: -1, Request: r,
	}, nil
}

// piped is an answer whose body goes into a pipe.
type piped struct {
	header http.Header
	w      *io.PipeWriter
	ready  chan struct{} // closed once status and sent are set
	sent   http.Header
	status int
}

// Header is http.ResponseWriter's.
func (p *piped) Header() http.Header { return p.header }

// WriteHeader is http.ResponseWriter's.
func (p *piped) WriteHeader(status int) {
	if p.status == 0 {
		p.status, p.sent = status, p.header.Clone()
		close(p.ready)
	}
}

// Write is http.ResponseWriter's.
func (p *piped) Write(text []byte) (int, error) {
	p.WriteHeader(http.StatusOK)
	return p.w.Write(text)
}

// Flush is http.Flusher's: what was written is on its way already.
func (p *piped) Flush() { p.WriteHeader(http.StatusOK) }
