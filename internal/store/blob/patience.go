package blob

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"time"

	"github.com/pavise/pavise"
)

// A passing error is of trouble that passes: the same may do when it is asked again.
type passing struct{ err error }

// Error implements error.
func (p *passing) Error() string {
	if p.err == nil {
		return "it passes"
	}
	return p.err.Error()
}

// Unwrap is for errors.Is.
func (p *passing) Unwrap() error { return p.err }

// A patience is how long a store is asked again that has trouble.
type patience struct {
	first time.Duration // to wait before the second try; each wait is twice the one before
	most  time.Duration // to wait at a time
	tries int           // one after the other without a success
	stall time.Duration // without a byte, until a connection is given up
}

// patient waits a minute and a half in all: longer than stores throttle who goes slower.
var patient = patience{first: 200 * time.Millisecond, most: 20 * time.Second, tries: 13, stall: time.Minute}

// try does something until it succeeds, fails for good, or has failed too often.
func (p patience) try(ctx context.Context, do func() error) error {
	for n := 1; ; n++ {
		err := do()
		if _, passes := errors.AsType[*passing](err); !passes || n >= p.tries {
			return err
		}
		if !p.wait(ctx, n) {
			return stoppedBy(ctx)
		}
	}
}

// wait waits behind the n-th failure, and reports whether it was not stopped. Those who were
// throttled together do not all come back together.
func (p patience) wait(ctx context.Context, n int) bool {
	d := p.most
	if n < 16 {
		d = min(d, p.first<<(n-1))
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d/2 + rand.N(d/2+1)):
		return true
	}
}

// stoppedBy says that whoever asked does not wait any longer.
func stoppedBy(ctx context.Context) error {
	return &pavise.Error{Kind: pavise.Unavailable, Msg: "stopped while the store was asked", Hint: "try again", Err: ctx.Err()}
}

// A Content is what one version of an object holds, for one reader at a time. Read from its
// beginning to its end it is one request; where the connection breaks, it goes on from the
// byte it came to, of the same version. It is an io.ReaderAt.
type Content struct {
	ctx     context.Context
	from    Source
	version Version
	patient patience

	body io.ReadCloser
	end  context.CancelFunc // of the request that body is of
	at   int64              // where body goes on
}

// NewContent returns the content of a version of a source. It asks nothing yet; what it asks
// ends with ctx.
func NewContent(ctx context.Context, from Source, v Version) *Content {
	return &Content{ctx: ctx, from: from, version: v, patient: patient}
}

// ReadAt implements io.ReaderAt. The end is where the object's list says: a content that is
// shorter or longer is of kind Conflict.
func (c *Content) ReadAt(b []byte, at int64) (int, error) {
	n, failures := 0, 0
	for n < len(b) {
		if at+int64(n) >= c.version.Size {
			return n, io.EOF
		}
		got, err := c.some(b[n:min(int64(len(b)), c.version.Size-at)], at+int64(n))
		if n += got; got > 0 {
			failures = 0
		}
		if err == nil {
			continue
		}
		c.drop()
		failures++
		if _, passes := errors.AsType[*passing](err); !passes || failures >= c.patient.tries {
			return n, err
		}
		if !c.patient.wait(c.ctx, failures) {
			return n, stoppedBy(c.ctx)
		}
	}
	return n, nil
}

// some reads some bytes from an offset on.
func (c *Content) some(b []byte, at int64) (int, error) {
	if c.ctx.Err() != nil {
		return 0, stoppedBy(c.ctx)
	}
	if c.body == nil || c.at != at {
		c.drop()
		ctx, end := context.WithCancel(c.ctx)
		body, err := c.from.Read(ctx, c.version, at)
		if err != nil {
			end()
			return 0, err
		}
		c.body, c.end, c.at = body, end, at
	}
	n, err := c.body.Read(b)
	c.at += int64(n)
	switch {
	case err == nil && n == 0, err == io.EOF && c.at < c.version.Size, err != nil && err != io.EOF:
		return n, refusal{store: c.version.Key, doing: "go on", code: "its content breaks off", err: err}.explain()
	case c.at == c.version.Size:
		return n, c.finish(err)
	}
	return n, nil
}

// finish looks that nothing follows.
func (c *Content) finish(err error) error {
	defer c.drop()
	for n, more := 0, make([]byte, 1); err == nil; {
		if n, err = c.body.Read(more); n > 0 {
			return refusal{store: c.version.Key, doing: "end where its list says", status: 412}.explain()
		}
	}
	return nil
}

// drop gives up the request that is open.
func (c *Content) drop() {
	if c.body != nil {
		c.end()
		c.body.Close()
		c.body = nil
	}
}

// Close ends it.
func (c *Content) Close() error {
	c.drop()
	return nil
}
