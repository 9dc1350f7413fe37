package role

import (
	"io"
	"net/http"
)

// inProcess is a transport to a handler in this process, by no network: so the console
// reaches the API whatever the server's certificate is.
type inProcess struct{ handler http.Handler }

// RoundTrip is http.RoundTripper's.
func (t inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	body, w := io.Pipe()
	answer := &piped{header: http.Header{}, w: w, ready: make(chan struct{})}
	inner := r.Clone(r.Context())
	inner.RemoteAddr, inner.RequestURI = "127.0.0.1:0", r.URL.RequestURI()
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
