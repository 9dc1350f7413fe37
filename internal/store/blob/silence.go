package blob

import (
	"context"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// A listener is a transport that gives an answer up in which nothing comes for so long: a
// connection may hang without breaking, in an object, at its end, and in a list. The error is
// os.ErrDeadlineExceeded, which is one of the way.
type listener struct {
	next  http.RoundTripper
	stall time.Duration
}

// RoundTrip implements http.RoundTripper.
func (l *listener) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, end := context.WithCancel(r.Context())
	answer, err := l.next.RoundTrip(r.WithContext(ctx))
	if err != nil {
		end()
		return nil, err
	}
	answer.Body = &heard{body: answer.Body, end: end, stall: l.stall}
	return answer, nil
}

// heard is the body of an answer.
type heard struct {
	body   io.ReadCloser
	end    context.CancelFunc // of the request
	stall  time.Duration
	silent atomic.Bool
}

// Read implements io.Reader.
func (h *heard) Read(b []byte) (int, error) {
	clock := time.AfterFunc(h.stall, func() {
		h.silent.Store(true)
		h.end()
	})
	n, err := h.body.Read(b)
	clock.Stop()
	if err != nil && err != io.EOF && h.silent.Load() {
		err = os.ErrDeadlineExceeded
	}
	return n, err
}

// Close implements io.Closer.
func (h *heard) Close() error {
	h.end() // or what follows would be waited for
	return h.body.Close()
}
