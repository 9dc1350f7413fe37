package extproc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/infer"
)

// maxAnswer bounds what a handler may have written that the proxy has not taken yet,
// in bytes.
const maxAnswer = 8 << 20

// An event is what a handler tells the session that drives it. It waits until the
// session has taken note.
type event int

const (
	wantsBody   event = iota // it waits for more of the request's body
	asksModel                // it waits for the model's answer to call.question
	wantsAnswer              // it waits for more of the answer's body
	wrote                    // what it has written so far is to go out
	returned                 // it is done
)

// A call is one run of the handler on a request that comes by a proxy. The handler
// runs in a goroutine of its own and waits wherever the proxy has to say something
// first; the session learns of each such place as an event.
type call struct {
	ctx     context.Context
	cancel  context.CancelCauseFunc
	events  chan event
	ended   chan struct{} // closed when the handler's goroutine is gone
	request *feed         // the body of the request
	answer  *feed         // that of the model's answer; set with an answer
	writer  *writer

	question *question           // set before asksModel is told
	answers  chan *http.Response // to the question
	refused  chan error          // why it is not put
}

// A question is what the model is to be asked.
type question struct {
	ctx    context.Context // bounds the wait for the answer, its body included
	path   string          // escaped
	header http.Header
	body   []byte
}

// newCall prepares a run that ends at the latest with ctx.
func newCall(ctx context.Context) *call {
	c := &call{
		events: make(chan event), ended: make(chan struct{}),
		answers: make(chan *http.Response), refused: make(chan error, 1),
	}
	c.ctx, c.cancel = context.WithCancelCause(ctx)
	c.request = newFeed(c.ctx, c.events, wantsBody)
	c.writer = &writer{call: c, header: http.Header{}}
	return c
}

// start lets the handler run.
func (c *call) start(h http.Handler, r *http.Request) {
	r = r.WithContext(infer.WithRelay(c.ctx, infer.Relay{RoundTripper: c}))
	go func() {
		defer close(c.ended)
		defer c.tell(c.ctx, returned)
		defer func() {
			if recover() != nil { // what it did is recorded by then; the caller gets an answer all the same
				c.writer.fail()
			}
		}()
		h.ServeHTTP(c.writer, r)
	}()
}

// stop breaks the handler off, for a reason that its record may tell, and waits for it.
func (c *call) stop(reason error) {
	c.cancel(reason)
	<-c.ended
}

// tell has the session take note of an event; ctx bounds the wait.
func (c *call) tell(ctx context.Context, e event) error {
	select {
	case c.events <- e:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// RoundTrip has the proxy ask the model. It is asked once: what it was told twice, it
// might do twice.
func (c *call) RoundTrip(r *http.Request) (*http.Response, error) {
	if c.question != nil {
		return nil, &pavise.Error{Kind: pavise.Unavailable, Msg: "a proxy asks a model once for each request"}
	}
	q := &question{ctx: r.Context(), path: r.URL.EscapedPath(), header: r.Header}
	if r.Body != nil {
		defer r.Body.Close()
		var err error
		if q.body, err = io.ReadAll(r.Body); err != nil {
			return nil, fmt.Errorf("read the request for the model: %w", err)
		}
	}
	c.question = q
	if err := c.tell(r.Context(), asksModel); err != nil {
		return nil, err
	}
	select {
	case a := <-c.answers:
		a.Request = r
		return a, nil
	case err := <-c.refused:
		return nil, err
	case <-r.Context().Done():
		return nil, context.Cause(r.Context())
	}
}

// A feed is a body that comes in parts, from a session to a handler that reads it.
type feed struct {
	ctx    context.Context
	events chan<- event
	wants  event
	parts  chan []byte // closed at its end
	failed chan error  // one, in the place of the end

	mu    sync.Mutex // guards timer
	timer *time.Timer

	rest []byte // of the part that is being read; the reader's
	err  error  // sticky; the reader's
}

func newFeed(ctx context.Context, events chan<- event, wants event) *feed {
	return &feed{ctx: ctx, events: events, wants: wants, parts: make(chan []byte), failed: make(chan error, 1)}
}

// Read reads what has come, or says that it wants more, and waits.
func (f *feed) Read(p []byte) (int, error) {
	for told := false; len(f.rest) == 0; {
		if f.err != nil {
			return 0, f.err
		}
		want := f.events
		if told {
			want = nil
		} else if f.look() {
			continue
		}
		select {
		case want <- f.wants:
			told = true
		case part, ok := <-f.parts:
			f.got(part, ok)
		case f.err = <-f.failed:
		case <-f.ctx.Done():
			f.err = context.Cause(f.ctx)
		}
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

// look takes what is there already, without telling that more is wanted.
func (f *feed) look() bool {
	select {
	case f.err = <-f.failed:
		return true
	case part, ok := <-f.parts:
		f.got(part, ok)
		return true
	default:
		return false
	}
}

func (f *feed) got(part []byte, ok bool) {
	if f.rest = part; !ok {
		f.err = io.EOF
	}
}

// Close lets go of what has not been read.
func (f *feed) Close() error { return nil }

// fail ends the body with an error in the place of what is missing. The first counts.
func (f *feed) fail(err error) {
	select {
	case f.failed <- err:
	default:
	}
}

// deadline is when the body has to be there; zero: whenever.
func (f *feed) deadline(t time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.timer != nil {
		f.timer.Stop()
		f.timer = nil
	}
	if !t.IsZero() {
		f.timer = time.AfterFunc(time.Until(t), func() { f.fail(errSlow) })
	}
}

var errSlow = &pavise.Error{Kind: pavise.Invalid, Msg: "the request's body did not arrive in time", Hint: "send the whole body at once"}

// A writer takes what a handler answers.
type writer struct {
	call   *call
	header http.Header // the handler's

	mu     sync.Mutex  // guards what follows
	status int         // 0: not said yet
	sent   http.Header // as it was with the status
	body   []byte      // what the session has not taken yet
}

// Header returns the header that WriteHeader sends.
func (w *writer) Header() http.Header { return w.header }

// WriteHeader fixes status and header.
func (w *writer) WriteHeader(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.say(status)
}

func (w *writer) say(status int) {
	if w.status == 0 {
		w.status, w.sent = status, w.header.Clone()
	}
}

// Write keeps b until the session takes it.
func (w *writer) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.say(http.StatusOK)
	if len(w.body)+len(b) > maxAnswer {
		return 0, errors.New("the proxy does not take the answer as fast as it is written")
	}
	w.body = append(w.body, b...)
	return len(b), nil
}

// FlushError has the session send what was written, where the proxy's mode lets it.
func (w *writer) FlushError() error {
	w.WriteHeader(http.StatusOK)
	return w.call.tell(w.call.ctx, wrote)
}

// Flush is FlushError for those who do not ask.
func (w *writer) Flush() { _ = w.FlushError() }

// SetReadDeadline is when the request's body has to be there.
func (w *writer) SetReadDeadline(t time.Time) error {
	w.call.request.deadline(t)
	return nil
}

// SetWriteDeadline is for the session to say.
func (w *writer) SetWriteDeadline(time.Time) error { return nil }

// fail answers for a handler that cannot any more.
func (w *writer) fail() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.status, w.sent = http.StatusInternalServerError, http.Header{"Content-Type": {"application/json"}}
	w.body = []byte(`{"error":"internal error"}`)
}

// head returns status and header; 0 while there are none.
func (w *writer) head() (int, http.Header) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.status, w.sent
}

// take returns what was written since the last time.
func (w *writer) take() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := w.body
	w.body = nil
	return b
}
