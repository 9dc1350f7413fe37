package infer

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/telemetry"
	"github.com/pavise/pavise/internal/tensor"
	"github.com/pavise/pavise/internal/upstream"
)

// An Upstream is a model on servers that are asked over HTTP. It is safe for
// concurrent use.
type Upstream struct {
	*Lease
	place     Place
	question  string // the path of a question there
	dialect   dialect
	protocol  tensor.Protocol
	signature tensor.Signature // what the model takes and gives; not known yet while it is asked for
	limits    tensor.Limits
}

// NewUpstream returns the model at a place, with connections of its own. The
// signature, which may be empty for an upstream that is only to be described, is what
// its protocol is read by. The error is of kind Invalid.
func NewUpstream(at Place, signature tensor.Signature, limits tensor.Limits) (*Upstream, error) {
	return NewServers().Upstream([]upstream.Endpoint{{URL: at.Address, Weight: 1}}, upstream.Options{}, at, signature, limits)
}

// Spoken is the protocol in which the server gets requests.
func (u *Upstream) Spoken() tensor.Protocol { return u.protocol }

// A call is what one call needs, kept for the next: the request, the answer, and the
// buffers of both.
type call struct {
	request upstream.Request
	answer  upstream.Answer
	framed  []byte // a message of gRPC
}

var calls = sync.Pool{New: func() any { return new(call) }}

// keepBuffer is up to what size a buffer is kept for the next call.
const keepBuffer = 1 << 20

func (c *call) free() {
	c.request = upstream.Request{} // its body is the exchange's
	if cap(c.framed)+cap(c.answer.Body) <= keepBuffer {
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
	message, err := r.Encode(u.protocol)
	if err != nil {
		return nil, err
	}
	u.ask(c, message)
	if err := u.do(ctx, c); err != nil {
		return nil, err
	}
	answer, err := u.message(c)
	if err != nil {
		return nil, err
	}
	response, err := u.protocol.ParseResponse(answer, r, u.signature, u.limits)
	if err != nil { // it quotes what the server said, which is for the record
		return nil, misspoke(err)
	}
	if r.ID != "" && response.ID != "" && response.ID != r.ID { // who was given none may make one up: MLServer does
		return nil, fault("answered another request than it was asked", nil)
	}
	response.ID = r.ID
	return response, nil
}

// An Unsaid is the cause of an error, for the record and never for the caller: what was
// wrong with a model server's answer, which it quotes, or with how it is to be asked.
type Unsaid struct{ Err error }

// Error says what was wrong, and where.
func (u *Unsaid) Error() string { return u.Err.Error() }

// Unwrap returns the cause.
func (u *Unsaid) Unwrap() error { return u.Err }

// unsaid is what a server said that callers are not told.
func unsaid(how error) error { return &Unsaid{fmt.Errorf("the model server's answer: %w", how)} }

// misspoke is an error of a server that left its protocol.
func misspoke(how error) error {
	return fault("answered otherwise than its protocol says", unsaid(how))
}

// headerLength says how long the JSON text is before binary tensors.
const headerLength = "inference-header-content-length"

// lengthOnly are the fields of an answer that are read.
var lengthOnly = []string{headerLength}

// ask makes the message of a question the request of a call.
func (u *Upstream) ask(c *call, m tensor.Message) {
	if u.dialect.grpc {
		u.askGRPC(c, u.question, m.Body)
		return
	}
	fields := jsonBody
	if m.Header != tensor.NoHeader {
		fields = []upstream.Field{{Name: "Content-Type", Value: "application/octet-stream"}, {Name: headerLength, Value: strconv.Itoa(m.Header)}}
	}
	c.request = upstream.Request{Method: http.MethodPost, Path: u.question, Fields: fields, Body: m.Body}
	c.answer.Want = lengthOnly
}

// message is the answer to a call.
func (u *Upstream) message(c *call) (tensor.Message, error) {
	if u.dialect.grpc {
		return u.messageGRPC(c)
	}
	m := tensor.Message{Body: c.answer.Body, Header: tensor.NoHeader}
	if len(c.answer.Got) == 0 || c.answer.Got[0] == nil {
		return m, nil
	}
	n, err := strconv.ParseUint(string(c.answer.Got[0]), 10, 31)
	if err != nil || n == 0 {
		return m, misspoke(fmt.Errorf("%s is %.80q, no count of bytes", headerLength, c.answer.Got[0]))
	}
	m.Header = int(n)
	return m, nil
}

// Describe asks the server what the model takes and gives. The error is of kind
// Invalid when servers of its protocol cannot say.
func (u *Upstream) Describe(ctx context.Context) (tensor.Signature, error) {
	if u.missing != nil {
		return tensor.Signature{}, u.missing
	}
	if u.external > 0 {
		return tensor.Signature{}, &pavise.Error{
			Kind: pavise.Invalid, Msg: "a model behind a proxy cannot be asked what it takes and gives",
			Hint: "say it with --signature FILE, for example " + SignatureExample,
		}
	}
	if u.dialect.about == nil {
		return tensor.Signature{}, &pavise.Error{
			Kind: pavise.Invalid, Msg: fmt.Sprintf("a server that speaks %s cannot say what a model takes and gives", u.place.Protocol),
			Hint: "say it with --signature FILE, for example " + SignatureExample,
		}
	}
	c := &call{request: upstream.Request{Method: http.MethodGet, Path: u.dialect.about(u.place)}}
	if u.dialect.grpc {
		u.askGRPC(c, u.dialect.about(u.place), nil)
	}
	if err := u.do(ctx, c); err != nil {
		return tensor.Signature{}, err
	}
	answer, err := u.message(c)
	if err != nil {
		return tensor.Signature{}, err
	}
	s, err := u.dialect.read(answer.Body)
	if err != nil {
		return s, fault("described the model in a form other than the protocol's", err)
	}
	if err := usable(s); err != nil {
		return s, fault("described a model without a usable signature", err)
	}
	return s, nil
}

// do makes one call and leaves the body of a 200 in it.
func (u *Upstream) do(ctx context.Context, c *call) error {
	c.request.Fields, c.request.Key = traced(ctx, c.request.Fields), callerOf(ctx)
	c.answer.Limit = u.limits.MaxBody
	err := u.Lease.do(ctx, &c.request, &c.answer)
	status := c.answer.Status
	switch {
	case err != nil:
		return reword(err, u.limits.MaxBody)
	case status == http.StatusNotFound:
		return &pavise.Error{
			Kind: pavise.Unavailable, Msg: "the model server does not know the model (status 404)",
			Hint: "if it has another name there, put the route with --remote NAME; if it speaks another protocol, with --protocol NAME",
		}
	case status/100 == 4:
		if err := secured(status, c.answer.Body); err != nil {
			return err
		}
		return fault(fmt.Sprintf("refused the request with status %d", status), nil)
	case status != http.StatusOK:
		return fault(fmt.Sprintf("answered with status %d", status), nil)
	}
	return nil
}

// traced adds the trace that a call belongs to, if there is one.
func traced(ctx context.Context, fields []upstream.Field) []upstream.Field {
	if trace := telemetry.Traceparent(ctx); trace != "" {
		return append(slices.Clip(fields), upstream.Field{Name: telemetry.TraceparentHeader, Value: trace})
	}
	return fields
}

// reword has an error of the cluster name the model, which callers know, and not the
// cluster. most is how many bytes an answer may have.
func reword(err error, most int) error {
	f := upstream.FaultOf(err)
	if f == nil {
		return err
	}
	what := f.What()
	if f.Reason == upstream.TooLarge {
		what = fmt.Sprintf("answered with more than %d bytes", most)
	}
	e := fault(what, err)
	if f.Reason == upstream.Malformed {
		e.Err = &Unsaid{f} // it quotes the answer
	}
	if said, hint := mistaken(f); said != "" {
		e.Msg, e.Hint = "the model server "+said, hint
	}
	if f.Reason == upstream.Full {
		e.Kind, e.Hint = pavise.Throttled, "wait as long as Retry-After says, then try again"
	}
	return e
}

// fault is an error of the server of a model. What the server itself said is for our
// logs, never for the caller, and so is what the model is called there.
func fault(what string, err error) *pavise.Error {
	return &pavise.Error{
		Kind: pavise.Unavailable,
		Msg:  "the model server " + what,
		Hint: "retry; if it stays so, the operator should look at the server behind the route",
		Err:  err,
	}
}
