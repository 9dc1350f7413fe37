package infer

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/tensor"
	"github.com/pavise/pavise/internal/upstream"
)

// An Upstream is a model on servers that speak the Open Inference Protocol v2 over
// HTTP. It is safe for concurrent use.
type Upstream struct {
	path    string // /v2/models/{model}
	model   string
	limits  tensor.Limits
	servers *Servers               // who shares clusters
	shared  atomic.Pointer[shared] // the cluster in use; Servers.mu guards writes
	closed  bool                   // Servers.mu guards it
}

// NewUpstream returns the model of the given name on the server at address, for
// example "http://10.0.0.7:8000", with connections of its own. The error is of kind
// Invalid.
func NewUpstream(address, model string, limits tensor.Limits) (*Upstream, error) {
	return NewServers().Upstream([]upstream.Endpoint{{URL: address, Weight: 1}}, upstream.Options{}, model, limits)
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
	body, err := r.AppendJSON(c.request.Body[:0])
	if err != nil {
		return nil, err
	}
	c.request = upstream.Request{Method: http.MethodPost, Path: u.path + "/infer", Fields: jsonBody, Body: body}
	if err := u.do(ctx, c); err != nil {
		return nil, err
	}
	response, err := tensor.ParseResponse(c.answer.Body, u.limits)
	if err != nil {
		return nil, err
	}
	if response.ID != "" && response.ID != r.ID {
		return nil, u.fault("answered another request than it was asked", nil)
	}
	response.ID = r.ID
	return response, nil
}

// Signature asks the server what the model takes and gives.
func (u *Upstream) Signature(ctx context.Context) (tensor.Signature, error) {
	var s tensor.Signature
	c := &call{request: upstream.Request{Method: http.MethodGet, Path: u.path}}
	if err := u.do(ctx, c); err != nil {
		return s, err
	}
	if err := json.Unmarshal(c.answer.Body, &s); err != nil {
		return s, u.fault("described the model in a form other than the protocol's", err)
	}
	if err := s.Validate(); err != nil {
		return s, u.fault("described a model without a usable signature", err)
	}
	return s, nil
}

// do makes one call and leaves the body of a 200 in it.
func (u *Upstream) do(ctx context.Context, c *call) error {
	c.answer.Limit = u.limits.MaxBody
	err := u.Cluster().Do(ctx, &c.request, &c.answer)
	status := c.answer.Status
	switch {
	case err != nil:
		return u.reword(err)
	case status == http.StatusNotFound:
		return &pavise.Error{
			Kind: pavise.Unavailable, Msg: fmt.Sprintf("the model server does not know the model %s (status 404)", u.model),
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
		Msg:  fmt.Sprintf("the model server of %s %s", u.model, what),
		Hint: "retry; if it stays so, the operator should look at the server behind the route",
		Err:  err,
	}
}

// modelPath is where a model lies on its server. A name that would lead elsewhere is
// refused, with kind Invalid.
func modelPath(model string) (string, error) {
	if model == "" || model == "." || model == ".." {
		return "", &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%q is not a model's name on its server", model), Hint: "put the route with --remote NAME"}
	}
	return "/v2/models/" + url.PathEscape(model), nil
}
