package server

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// A hall is a listener in memory, through which a test dials.
type hall struct {
	conns chan net.Conn
	done  chan struct{}
}

func newHall() *hall { return &hall{make(chan net.Conn), make(chan struct{})} }

func (h *hall) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

func (h *hall) Close() error {
	select {
	case <-h.done:
	default:
		close(h.done)
	}
	return nil
}

func (h *hall) Addr() net.Addr { return &net.TCPAddr{} }

// dial is a caller's side of a connection.
func (h *hall) dial() net.Conn {
	mine, theirs := net.Pipe()
	h.conns <- theirs
	return mine
}

// TestEndWaitsForNoSilentConnection stops a server while somebody holds a connection on which
// nothing was asked, and somebody's request is under way: that is answered, and the other one
// is cut, in a time that is the clock's of the test.
func TestEndWaitsForNoSilentConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const slow = 400 * time.Millisecond
		door := newHall()
		s := Plain(&http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				time.Sleep(slow)
			}
		})})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- Until(ctx, s, door) }()
		silent, busy := door.dial(), door.dial()
		io.WriteString(busy, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
		synctest.Wait()
		began := time.Now()
		stop()
		line, err := bufio.NewReader(busy).ReadString('\n')
		if err != nil || line != "HTTP/1.1 200 OK\r\n" {
			t.Errorf("the request under way: %q %v", line, err)
		}
		if _, err := silent.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("the silent connection: %v", err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 2*time.Second { // net/http looks every half a second
			t.Errorf("it took %v to end", took)
		}
	})
}

// TestSilentConnectionAtTheEnd has a connection come to the server once it has cut those on
// which nothing was asked: it is cut as they are.
func TestSilentConnectionAtTheEnd(t *testing.T) {
	q := &quiet{conns: map[net.Conn]bool{}}
	q.end()
	mine, theirs := net.Pipe()
	q.state(theirs, http.StateNew)
	if _, err := mine.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("%v", err)
	}
}
