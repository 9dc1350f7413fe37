package infer

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/telemetry"
	"github.com/pavise/pavise/internal/tensor"
	"github.com/pavise/pavise/internal/upstream"
)

// An Upstream is a model on servers that are asked over HTTP. It is safe for
// concurrent use.
type Upstream struct {
	place     Place
	dialect   dialect
	protocol  tensor.Protocol
	signature tensor.Signature // what the model takes and gives; not known yet while it is asked for
	limits    tensor.Limits
	servers   *Servers               // who shares clusters
	shared    atomic.Pointer[shared] // the cluster in use; Servers.mu guards writes
	closed    bool                   // Servers.mu guards it
}

// NewUpstream returns the model at a place, with connections of its own. The
// signature, which may be empty for an upstream that is only to be described, is what
// its protocol is read by. The error is of kind Invalid.
func NewUpstream(at Place, signature tensor.Signature, limits tensor.Limits) (*Upstream, error) {
	return NewServers().Upstream([]upstream.Endpoint{{URL: at.Address, Weight: 1}}, upstream.Options{}, at, signature, limits)
}

// Cluster is what the model's calls go through, for its Stats. It changes with
// Servers.Move.
func (u *Upstream) Cluster() *upstream.Cluster { return u.shared.Load().cluster }

// Close ends the model's use of its servers. When it was the last one on them, idle
// connections end now, and the others with the call that is on them; a call that
// comes later is still answered.
func (u *Upstream) Close() { u.servers.release(u) }

// A call is what one call needs, kept for the next: the request, the answer, and the
// buffers of both.
type call struct {
	request upstream.Request
	answer  upstream.Answer
}

var calls = sync.Pool{New: func() any { return new(call) }}

// keepBuffer is up to what size a buffer is kept for the next call.
const keepBuffer = 1 << 20

func (c *call) free() {
	if cap(c.request.Body)+cap(c.answer.Body) <= keepBuffer {
		calls.Put(c)
	}
}

var jsonBody = []upstream.Field{{Name: "Content-Type", Value: "application/json"}}

// Infer asks the server. It gets only bytes encoded from the checked request,
// and no header of the caller's. The error is of kind Unavailable when the
// server is away, slow, refuses, or answers anything but the protocol, and of kind
// Throttled when as much is asked of it already as may be.
func (u *Upstream) Infer(ctx context.Context, r *tensor.Request) (*tensor.Response, error) {
	c := calls.Get().(*call)
	defer c.free()
	message, err := u.protocol.AppendRequest(c.request.Body[:0], r)
	if err != nil {
		return nil, err
	}
	c.request = upstream.Request{Method: http.MethodPost, Path: u.dialect.infer(u.place), Fields: jsonBody, Body: message.Body}
	if err := u.do(ctx, c); err != nil {
		return nil, err
	}
	response, err := u.protocol.ParseResponse(tensor.Message{Body: c.answer.Body, Header: tensor.NoHeader}, r, u.signature, u.limits)
	if err != nil {
		return nil, err
	}
	if response.ID != "" && response.ID != r.ID {
		return nil, u.fault("answered another request than it was asked", nil)
	}
	response.ID = r.ID
	return response, nil
}

// Describe asks the server what the model takes and gives. The error is of kind
// Invalid when servers of its protocol cannot say.
func (u *Upstream) Describe(ctx context.Context) (tensor.Signature, error) {
	if u.dialect.about == nil {
		return tensor.Signature{}, &pavise.Error{
			Kind: pavise.Invalid, Msg: fmt.Sprintf("a server that speaks %s cannot say what a model takes and gives", u.place.Protocol),
			Hint: "say it with --signature FILE, for example " + SignatureExample,
		}
	}
	c := &call{request: upstream.Request{Method: http.MethodGet, Path: u.dialect.about(u.place)}}
	if err := u.do(ctx, c); err != nil {
		return tensor.Signature{}, err
	}
	s, err := u.dialect.read(c.answer.Body)
	if err != nil {
		return s, u.fault("described the model in a form other than the protocol's", err)
	}
	if err := s.Validate(); err != nil {
		return s, u.fault("described a model without a usable signature", err)
	}
	return s, nil
}

// do makes one call and leaves the body of a 200 in it.
func (u *Upstream) do(ctx context.Context, c *call) error {
	if trace := telemetry.Traceparent(ctx); trace != "" {
		c.request.Fields = append(slices.Clip(c.request.Fields), upstream.Field{Name: telemetry.TraceparentHeader, Value: trace})
	}
	c.answer.Limit = u.limits.MaxBody
	err := u.Cluster().Do(ctx, &c.request, &c.answer)
	status := c.answer.Status
	switch {
	case err != nil:
		return u.reword(err)
	case status == http.StatusNotFound:
		return &pavise.Error{
			Kind: pavise.Unavailable, Msg: fmt.Sprintf("the model server does not know the model %s (status 404)", u.place.Model),
			Hint: "if it has another name there, put the route with --remote NAME",
		}
	case status/100 == 4:
		return u.fault(fmt.Sprintf("refused the request with status %d", status), nil)
	case status != http.StatusOK:
		return u.fault(fmt.Sprintf("answered with status %d", status), nil)
	}
	return nil
}

// reword has an error of the cluster name the model, which callers know, and not the
// cluster.
func (u *Upstream) reword(err error) error {
	f := upstream.FaultOf(err)
	if f == nil {
		return err
	}
	what := f.What()
	if f.Reason == upstream.TooLarge {
		what = fmt.Sprintf("answered with more than %d bytes", u.limits.MaxBody)
	}
	fault := u.fault(what, err)
	if f.Reason == upstream.Full {
		fault.Kind, fault.Hint = pavise.Throttled, "wait as long as Retry-After says, then try again"
	}
	return fault
}

// fault is an error of the upstream. What the upstream itself said is for our
// logs, never for the caller.
func (u *Upstream) fault(what string, err error) *pavise.Error {
	return &pavise.Error{
		Kind: pavise.Unavailable,
		Msg:  fmt.Sprintf("the model server of %s %s", u.place.Model, what),
		Hint: "retry; if it stays so, the operator should look at the server behind the route",
		Err:  err,
	}
}
