package upstream

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/http1"
)

// A Request is what a model server is asked. It is not changed, and its parts are not
// kept beyond the call.
type Request struct {
	Method string // GET, POST
	Path   string // behind that of the endpoint's URL; begins with a slash
	Fields []Field
	Body   []byte
	Key    string // of the balance Hash: calls of one key meet on one endpoint; may be empty
	// Repeatable says that nothing happens when the request is executed twice. GET
	// and HEAD are so without it.
	Repeatable bool
}

// A Field is one field of a request's head: what the caller of a gateway sent is none.
type Field struct{ Name, Value string }

// An Answer is what a model server answered. One that is used again costs no
// allocation.
type Answer struct {
	Limit int // most bytes of a body that are taken; 0: MaxBody
	// Want are the fields of the head that the caller needs, in lower case. Over
	// HTTP/2, Do finds those that the head does not have behind the body as well.
	Want []string

	Status int
	Got    [][]byte // values of Want, in its order; nil: there is none. They hold until the next call
	Body   []byte   // of Do; what it held before is written over
}

// MaxBody bounds a body whose caller says nothing of it.
const MaxBody = 64 << 20

// maxHead bounds the head of an answer: as nginx does, a page.
const maxHead = 4 << 10

// Do makes one call, and reads the whole answer into a, whatever its status. The error
// is of kind Unavailable or Throttled, with a Fault in it, or of kind Invalid when the
// request cannot be written.
func (c *Cluster) Do(ctx context.Context, r *Request, a *Answer) error {
	l, err := c.reach(ctx, r, a, c.o.Timeouts.Total)
	if err != nil {
		return err
	}
	fault := l.readAll(a)
	if fault == nil && l.h2 != nil {
		fault = l.trailer(a)
	}
	l.over(fault)
	c.leave()
	if fault != nil {
		return c.fault(fault)
	}
	return nil
}

// Open makes one call, and returns once the head of the answer is in a. The errors
// are those of Do. The stream must be closed.
func (c *Cluster) Open(ctx context.Context, r *Request, a *Answer) (*Stream, error) {
	l, err := c.reach(ctx, r, a, c.o.Timeouts.Stream)
	if err != nil {
		return nil, err
	}
	if l.cn != nil {
		l.cn.out = nil // a stream may last, and its request is over
		l.cn.watch()
		if l.cn.raw != nil && l.cn.nc == l.cn.tcp { // TLS may have read ahead
			l.cn.answers.Patiently(l.cn)
		}
	}
	return &Stream{leg: l, left: limit(a)}, nil
}

func limit(a *Answer) int {
	if a.Limit <= 0 {
		return MaxBody
	}
	return a.Limit
}

// A Stream is the body of an answer, as it comes. One goroutine reads and closes it;
// when the context of its call ends, what is being read ends too.
type Stream struct {
	leg  leg
	left int // bytes that are still taken
	err  error
}

// Read returns what has come, at least a byte. The error is io.EOF at the end of a
// whole answer, and else as those of Do.
func (s *Stream) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.leg.src.Read(p)
	if s.left -= n; s.left < 0 {
		n, err = 0, &Fault{Reason: TooLarge}
	}
	switch {
	case err == io.EOF:
		s.end(nil, io.EOF)
	case err != nil:
		fault := s.leg.fault(err)
		s.end(fault, s.leg.e.c.fault(fault))
	}
	if n > 0 {
		return n, nil
	}
	return 0, s.err
}

// Close ends the stream. Before the answer's end it ends the connection as well: that
// is how the server learns that nobody listens.
func (s *Stream) Close() error {
	switch {
	case s.err != nil:
	case s.leg.ends():
		s.end(nil, errClosed)
	default:
		s.end(&Fault{Reason: Gone}, errClosed)
	}
	return nil
}

// ends reports whether the end of the answer is all that is left of it: who knows by an
// event that it was the last one does not read what ends the body.
func (l *leg) ends() bool {
	if l.cn == nil || l.cn.ctx.Err() != nil {
		return false
	}
	l.cn.end = time.Now().Add(l.e.c.grace)
	l.cn.deadline(l.cn.end)
	n, err := l.src.Read(l.cn.one[:])
	return n == 0 && err == io.EOF
}

var errClosed = &pavise.Error{Kind: pavise.Internal, Msg: "a stream was read after it was closed"}

func (s *Stream) end(f *Fault, err error) {
	c := s.leg.e.c
	s.err = err
	s.leg.over(f)
	c.leave()
}

// reach finds an endpoint that answers, and reads the head of its answer.
func (c *Cluster) reach(ctx context.Context, r *Request, a *Answer, total time.Duration) (leg, error) {
	if f := c.enter(); f != nil {
		return leg{}, c.fault(f)
	}
	now := time.Now()
	end := now.Add(total)
	var (
		t     tried
		l     leg
		fault *Fault
		again = elsewhere
	)
	for n := 0; ; n++ {
		if again == elsewhere {
			e, probe := c.pick(r.Key, &t)
			if e == nil {
				break
			}
			l = leg{e: e, probe: probe}
			t[n] = e
		} else {
			l = leg{e: l.e}
			l.e.active.Add(1)
		}
		if n > 0 && (n > c.o.Breaker.MaxRetries || !c.mayRetry()) {
			l.over(&Fault{Reason: Gone})
			break
		}
		l.further = n > 0
		if again, fault = l.ask(ctx, r, a, now, end, again == afresh); fault == nil {
			return l, nil
		}
		now = time.Time{}
		l.over(fault)
		if again == never {
			break
		}
	}
	c.leave()
	if fault == nil {
		fault = &Fault{Reason: Unreachable, Wait: time.Second, Err: errEjected}
	}
	return leg{}, c.fault(fault)
}

var errEjected = errors.New("every endpoint that takes calls is ejected")

// again says whether, and where, a call may be made once more.
type again int

const (
	never again = iota
	elsewhere
	afresh // at the same endpoint, on a new connection
)

// A leg is a call's way to one endpoint.
type leg struct {
	e       *endpoint
	probe   bool // it decides over the endpoint's ejection
	further bool // it is not the first of its call
	cn      *conn
	h2      *h2Answer
	src     io.Reader // the body of the answer
	status  int
	cut     bool // the connection is of no further use
	excused bool // what goes wrong is not held against the endpoint
}

// ask writes the request and reads the head of the answer. now may be zero: not known.
func (l *leg) ask(ctx context.Context, r *Request, a *Answer, now, end time.Time, fresh bool) (again, *Fault) {
	if l.e.h2 != nil {
		return l.ask2(ctx, r, a, end)
	}
	for {
		cn, fault := l.e.get(ctx, now, end, fresh)
		if fault != nil {
			fault.Endpoint = l.e.url
			if fault.Reason == Gone {
				return never, fault
			}
			return elsewhere, fault
		}
		l.cn, l.src = cn, cn.answers
		// Who had to wait for a connection may leave the server too little time.
		if cn.waited || now.IsZero() {
			now = time.Now()
		}
		l.excused = 2*cn.begin(ctx, now, l.e.c.o.Timeouts.FirstByte, end) < l.e.c.o.Timeouts.Total
		again, fault := l.put(r)
		if !cn.ended {
			if fault == nil {
				fault = l.head(a, cn.answers.Field)
			}
			return again, fault
		}
		l.e.drop(cn) // it ended while it was idle, and nothing was sent
		l.cn = nil
	}
}

// put sends the request on the connection and reads the head of the answer, unless the
// connection turns out to have ended.
func (l *leg) put(r *Request) (again, *Fault) {
	cn := l.cn
	head, err := cn.head(r)
	if err != nil {
		return never, failed(Unwritable, l.e, err)
	}
	if err := cn.send(head, r.Body); FaultOf(err) != nil {
		return never, l.fault(err)
	}
	if cn.ended {
		return never, nil
	}
	// A server may answer before it has read everything, and close: so whatever went
	// wrong with writing, an answer is looked for.
	next := cn.answers.Next(r.Method)
	l.cut = !cn.whole
	if next != nil && !cn.ended {
		fault := l.fault(next)
		if !errors.Is(next, http1.ErrNoAnswer) || fault.Reason != Broken {
			return never, fault
		}
		again := mayRepeat(r, cn.reused, cn.sent, cn.whole)
		l.excused = l.excused || again == afresh // it ended an idle connection, as it may
		return again, fault
	}
	cn.gap = l.e.c.o.Timeouts.Gap
	l.status = cn.answers.Status()
	return never, nil
}

// mayRepeat is the rule of what is tried again when a connection died before any byte
// of an answer: see the package's comment.
func mayRepeat(r *Request, reused bool, sent int, whole bool) again {
	switch {
	case !reused && sent == 0:
		return elsewhere
	case reused && (!whole || r.Repeatable || r.Method == "GET" || r.Method == "HEAD"):
		return afresh
	}
	return never
}

// head takes what the caller wants of a head, and refuses what nobody can read alike.
// field finds a field's first value, and how many there are.
func (l *leg) head(a *Answer, field func(name string) ([]byte, int)) *Fault {
	a.Status = l.status
	if coding, n := field("content-encoding"); n > 1 || n == 1 && string(coding) != "identity" {
		return &Fault{Reason: Malformed, Endpoint: l.e.url, Err: errors.New("the body is encoded, and no encoding was asked for")}
	}
	for len(a.Got) < len(a.Want) {
		a.Got = append(a.Got, nil)
	}
	a.Got = a.Got[:len(a.Want)]
	for i, name := range a.Want {
		value, n := field(name)
		switch {
		case n > 1:
			return &Fault{Reason: Malformed, Endpoint: l.e.url, Err: errors.New("the field " + name + " is there twice")}
		case n == 0:
			a.Got[i] = nil
		default:
			a.Got[i] = append(a.Got[i][:0], value...)
		}
	}
	return nil
}

// firstRoom is how much room a body gets before any of it came. What a server says of
// its length is no reason to give it more.
const firstRoom = 64 << 10

// readAll reads the body.
func (l *leg) readAll(a *Answer) *Fault {
	most, says := limit(a), l.length()
	if says > int64(most) {
		return &Fault{Reason: TooLarge, Endpoint: l.e.url}
	}
	body := a.Body[:0]
	if says = min(says, firstRoom); int64(cap(body)) < says {
		body = make([]byte, 0, says)
	}
	defer func() { a.Body = body }()
	for {
		if len(body) == cap(body) {
			body = append(body, 0)[:len(body)]
		}
		n, err := l.src.Read(body[len(body):min(cap(body), most+1)])
		body = body[:len(body)+n]
		switch {
		case len(body) > most:
			body = body[:0]
			return &Fault{Reason: TooLarge, Endpoint: l.e.url}
		case err == io.EOF:
			return nil
		case err != nil:
			return l.fault(err)
		}
	}
}

// length is what the head says of the body's length, or -1.
func (l *leg) length() int64 {
	if l.h2 != nil {
		return l.h2.resp.ContentLength
	}
	return l.cn.answers.Length()
}

// fault says what went wrong with an exchange.
func (l *leg) fault(err error) *Fault {
	reason := Broken
	if e, ok := errors.AsType[*pavise.Error](err); ok && e.Err == nil {
		reason = Malformed
	}
	if l.e.c.life.Err() != nil {
		reason = Closed
	}
	return failed(reason, l.e, err)
}

// over ends the leg: what it says of the endpoint, and what becomes of the connection.
func (l *leg) over(f *Fault) {
	c, e := l.e.c, l.e
	e.active.Add(-1)
	if l.further {
		c.tries.Add(-1)
	}
	switch {
	case f == nil && l.status != 502 && l.status != 503 && l.status != 504:
		c.well(e, l.probe)
	case f == nil, !l.excused && (f.Reason == Unreachable || f.Reason == Slow || f.Reason == Broken || f.Reason == Malformed):
		c.unwell(e, l.probe)
	default:
		c.unknown(e, l.probe)
	}
	if l.h2 != nil {
		l.h2.close()
	}
	if cn := l.cn; cn != nil {
		if cn.finish() && !l.cut && (f == nil && cn.answers.Reusable() || f != nil && f.Reason == Unwritable) {
			e.put(cn)
		} else {
			e.drop(cn)
		}
	}
}
