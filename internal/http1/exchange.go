package http1

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// An exchange is one request and its answer. It is made anew for each request: a handler
// that keeps the context, the body or the answer beyond its time holds a thing of the past,
// and nothing of the next request.
type exchange struct {
	conn   *conn
	began  time.Time // when the head was read
	scope  scope
	body   requestBody
	answer answer
}

// A sheet is what a handler reads of a request, and where it writes the fields of its
// answer. With Server.Lend it belongs to the connection, and else to one exchange.
type sheet struct {
	req          http.Request
	url          url.URL
	values       [mostHeard]string // of the fields: the header's slices point here
	asked, given http.Header
	lent         bool
	heard        *heard // what the request before said; nil until a lent one is used again
}

// mostHeard is how many fields most requests have, at most.
const mostHeard = 10

// heard are parts of a connection's last request. Callers repeat themselves: a part that
// is the same again, byte for byte, is the same string, and none is made. Only the
// connection that said it gets it back, and no more is kept than was in that one head.
type heard struct {
	method, target, host string
	fields               [mostHeard]heardField
}

// A heardField is a field as it was spelled, and its name as net/http spells it.
type heardField struct{ name, key, value string }

// asBefore is b as a string: the one before, if that is the same.
func asBefore(before string, b []byte) string {
	if string(b) == before {
		return before
	}
	return string(b)
}

// mostKept is how many fields a map may have had to be used again.
const mostKept = 16

// clean returns an empty map: h itself, if it is no larger than what most need.
func clean(h http.Header) http.Header {
	if h == nil || len(h) > mostKept {
		return make(http.Header, 8)
	}
	if len(h) > 0 { // to clear an empty one costs as much
		clear(h)
	}
	return h
}

// A scope is the context of a request. The real one is made when somebody wants to wait: a
// request that nobody waits on costs none.
type scope struct {
	conn  *conn
	asked atomic.Bool // somebody wanted to wait

	mu     sync.Mutex // guards what follows
	real   context.Context
	cancel context.CancelFunc
	over   bool
}

// Deadline says that there is none.
func (s *scope) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done is closed at the request's end.
func (s *scope) Done() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.real == nil {
		s.asked.Store(true)
		s.real, s.cancel = context.WithCancel(context.Background())
		if s.over {
			s.cancel()
		}
	}
	return s.real.Done()
}

// Err is context.Canceled from the request's end on.
func (s *scope) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return context.Canceled
	}
	return nil
}

// Value knows what net/http's contexts know, and what package context asks its own.
func (s *scope) Value(key any) any {
	switch key {
	case http.ServerContextKey:
		return s.conn.server.http1.server
	case http.LocalAddrContextKey:
		return s.conn.rwc.LocalAddr()
	}
	if !s.asked.Load() { // each request is asked several times
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.real == nil {
		return nil
	}
	return s.real.Value(key)
}

// end cancels the context.
func (s *scope) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	if s.cancel != nil {
		s.cancel()
	}
}

// awaited reports whether anybody waits.
func (s *scope) awaited() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.real != nil && !s.over
}

// A requestBody is the body of a request.
type requestBody struct {
	mu      sync.Mutex // held while reading, and guards what follows
	conn    *conn      // nil once the handler has returned
	left    int64      // by length
	chunked bool
	chunks  chunks
	expect  bool // the caller waits for 100 Continue
	closed  bool
	err     error // for good
}

// Read reads from the body. With the last byte of a body whose length is known comes io.EOF.
func (b *requestBody) Read(p []byte) (n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.conn == nil || b.closed:
		return 0, http.ErrBodyReadAfterClose
	case b.err != nil:
		return 0, b.err
	case len(p) == 0:
		return 0, nil
	}
	if b.expect {
		b.expect = false
		b.conn.now.Load().answer.goOn()
	}
	src := (*bodySource)(b.conn)
	if b.chunked {
		n, err = b.chunks.read(&b.conn.win, src, p)
	} else {
		n, err = b.conn.win.take(src, p, b.left)
		b.left -= int64(n)
		if err = early(err); b.left == 0 {
			err = io.EOF
		}
	}
	b.err = err
	return n, err
}

// Arrived reports whether the rest of the body is here: reading it waits for nobody.
func (b *requestBody) Arrived() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.conn != nil && !b.chunked && !b.expect && b.left <= int64(len(b.conn.win.unread()))
}

// Close ends reading.
func (b *requestBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return nil
}

// mostUnread is how much of a body that no handler wanted is read to keep a connection.
const mostUnread = 64 << 10

// unread is how many bytes of the body are still to come: 0 none, and -1 too many to read
// them for nothing, or nobody knows.
func (b *requestBody) unread() int64 {
	switch {
	case b.err == io.EOF || !b.chunked && b.left == 0 && b.err == nil:
		return 0
	case b.err != nil || b.expect || b.chunked || b.left > mostUnread:
		return -1
	}
	return b.left
}

// leave ends what the handler may do with the body. A read that some goroutine of the
// handler's has left behind is broken off, and the connection with it.
func (b *requestBody) leave() (unread int64) {
	broken := !b.mu.TryLock()
	if broken {
		b.conn.nc.Close()
		b.mu.Lock()
	}
	defer b.mu.Unlock()
	if b.chunked && !broken && !b.expect {
		b.skipChunks()
	}
	b.conn = nil
	if broken {
		return -1
	}
	return b.unread()
}

// skipChunks goes to the end of the chunks, if that was read from the connection already:
// many handlers read a value and not the end behind it.
func (b *requestBody) skipChunks() {
	for p := make([]byte, 512); b.err == nil; {
		_, b.err = b.chunks.read(&b.conn.win, noMore{}, p)
	}
}

// noMore is a source that has ended.
type noMore struct{}

// Read returns the end.
func (noMore) Read([]byte) (int, error) { return 0, io.EOF }

// bodySource is a connection as a body is read from it: in the time that the handler grants.
type bodySource conn

// Read reads from the connection.
func (s *bodySource) Read(p []byte) (int, error) {
	c := (*conn)(s)
	c.readBy.begin()
	defer c.readBy.end()
	return c.rwc.Read(p)
}

// A timer is until when reading, or writing, may take. Handlers set it for every body, and
// most bodies are there already: the connection hears of it only when it has to.
type timer struct {
	tell func(time.Time) error // the connection's SetReadDeadline or SetWriteDeadline
	lazy bool                  // tell only when a read begins

	mu     sync.Mutex // guards what follows
	of     *exchange  // whose handler may set it; nil: nobody's
	want   time.Time  // zero: for ever
	have   time.Time  // what the connection was told
	inside bool       // a read is under way
}

// set is what the handler of x asks for.
func (t *timer) set(x *exchange, want time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.of != x {
		return errOver
	}
	t.want = want
	if t.lazy && !t.inside {
		return nil
	}
	return t.say()
}

// plan makes it the timer of x, d from now; 0 is for ever.
func (t *timer) plan(x *exchange, now time.Time, d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.of, t.want = x, time.Time{}
	if d > 0 {
		t.want = now.Add(d)
	}
	if !t.lazy && (d > 0 && !t.near(now, d) || d == 0 && !t.have.IsZero()) {
		t.say()
	}
}

// within sets it to d from now, whoever had it.
func (t *timer) within(now time.Time, d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.of, t.want = nil, now.Add(d)
	if !t.near(now, d) {
		t.say()
	}
}

// near reports whether what the connection was told is d from now, or up to an eighth less:
// then it needs not be told anew for each request.
func (t *timer) near(now time.Time, d time.Duration) bool {
	left := t.have.Sub(now)
	return left <= d && left >= d-d/8
}

// release takes it from its exchange.
func (t *timer) release() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.of = nil
}

func (t *timer) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.inside = true
	if !t.want.Equal(t.have) {
		t.say()
	}
}

func (t *timer) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.inside = false
}

func (t *timer) say() error {
	t.have = t.want
	return t.tell(t.want)
}

// errOver is what a handler gets that writes after it has returned.
var errOver = errors.New("http1: the handler has returned, and its answer is sent")
