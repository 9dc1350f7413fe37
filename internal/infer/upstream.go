package infer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/tensor"
)

// An Upstream is a model on a server that is asked over HTTP. It is safe for
// concurrent use.
type Upstream struct {
	address   *url.URL
	place     Place
	dialect   dialect
	protocol  tensor.Protocol
	signature tensor.Signature // what the model takes and gives; not known yet while it is asked for
	limits    tensor.Limits
	client    *http.Client
}

// upstreamTimeout bounds one call, the reading of its answer included.
const upstreamTimeout = 30 * time.Second

// NewUpstream returns the model at a place. The signature, which may be empty for an
// upstream that is only to be described, is what its protocol is read by. The error
// is of kind Invalid.
func NewUpstream(at Place, signature tensor.Signature, limits tensor.Limits) (*Upstream, error) {
	if err := at.Validate(); err != nil {
		return nil, err
	}
	u, err := url.Parse(at.Address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, &pavise.Error{
			Kind: pavise.Invalid,
			Msg:  fmt.Sprintf("upstream %.200q is not an address of a model server", at.Address),
			Hint: "write it as http://host:port, without user, query or fragment",
		}
	}
	protocol := Spoken(at.Protocol)
	dialect, spoken := dialects[at.Protocol]
	if protocol == nil || !spoken {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("no model server is asked by %s yet", at.Protocol), Hint: "put the route with another --protocol"}
	}
	return &Upstream{
		address: u, place: at, dialect: dialect, protocol: protocol, signature: signature, limits: limits,
		client: &http.Client{
			Timeout:   upstreamTimeout,
			Transport: newTransport(),
			// A model server that sends callers elsewhere is not the one the
			// route names.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// newTransport keeps connections open for many callers and asks for no
// compression, which would let a small answer become a large one. It takes no
// proxy from the environment: the route says where the model is.
func newTransport() *http.Transport {
	return &http.Transport{
		MaxIdleConnsPerHost:    64,
		MaxConnsPerHost:        256,
		IdleConnTimeout:        90 * time.Second,
		ResponseHeaderTimeout:  upstreamTimeout,
		MaxResponseHeaderBytes: 16 << 10,
		DisableCompression:     true,
	}
}

// Close ends the idle connections.
func (u *Upstream) Close() { u.client.CloseIdleConnections() }

// Infer asks the server. It gets only bytes encoded from the checked request,
// and no header of the caller's. The error is of kind Unavailable when the
// server is away, slow, refuses, or answers anything but the protocol.
func (u *Upstream) Infer(ctx context.Context, r *tensor.Request) (*tensor.Response, error) {
	message, err := r.Encode(u.protocol)
	if err != nil {
		return nil, err
	}
	answer, err := u.do(ctx, http.MethodPost, u.dialect.infer(u.place), message)
	if err != nil {
		return nil, err
	}
	response, err := u.protocol.ParseResponse(answer, r, u.signature, u.limits)
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
	said, err := u.do(ctx, http.MethodGet, u.dialect.about(u.place), tensor.Message{Header: tensor.NoHeader})
	if err != nil {
		return tensor.Signature{}, err
	}
	s, err := u.dialect.read(said.Body)
	if err != nil {
		return s, u.fault("described the model in a form other than the protocol's", err)
	}
	if err := s.Validate(); err != nil {
		return s, u.fault("described a model without a usable signature", err)
	}
	return s, nil
}

// do makes one call and returns the body of a 200.
func (u *Upstream) do(ctx context.Context, method, path string, m tensor.Message) (answer tensor.Message, err error) {
	req, err := http.NewRequestWithContext(ctx, method, u.address.JoinPath(path).String(), nil)
	if err != nil {
		return answer, u.fault("cannot be asked", err)
	}
	body := &lent{bytes: m.Body}
	defer body.takeBack()
	if m.Body != nil {
		req.ContentLength = int64(len(m.Body))
		req.GetBody = func() (io.ReadCloser, error) { return &lentReader{of: body}, nil }
		req.Body = &lentReader{of: body}
	}
	switch {
	case m.Body == nil:
	case m.Header == tensor.NoHeader:
		req.Header.Set("Content-Type", "application/json")
	default:
		req.Header.Set("Content-Type", "application/octet-stream")
		req.Header.Set(headerLength, strconv.Itoa(m.Header))
	}
	resp, err := u.client.Do(req)
	if err != nil {
		if errors.Is(err, context.Canceled) {
			return answer, u.fault("was not waited for: the caller went away", err)
		}
		return answer, u.fault("does not answer", err)
	}
	defer resp.Body.Close()
	answer.Body, err = io.ReadAll(io.LimitReader(resp.Body, int64(u.limits.MaxBody)+1))
	switch {
	case err != nil:
		return answer, u.fault("broke off its answer", err)
	case len(answer.Body) > u.limits.MaxBody:
		return answer, u.fault(fmt.Sprintf("answered with more than %d bytes", u.limits.MaxBody), nil)
	case resp.StatusCode == http.StatusNotFound:
		return answer, &pavise.Error{
			Kind: pavise.Unavailable, Msg: fmt.Sprintf("the model server does not know the model %s (status 404)", u.place.Model),
			Hint: "if it has another name there, put the route with --remote NAME",
		}
	case resp.StatusCode/100 == 4:
		return answer, u.fault(fmt.Sprintf("refused the request with status %d", resp.StatusCode), nil)
	case resp.StatusCode != http.StatusOK:
		return answer, u.fault(fmt.Sprintf("answered with status %d", resp.StatusCode), nil)
	}
	answer.Header, err = u.textLength(resp.Header[headerLength])
	return answer, err
}

// headerLength says how long the JSON text is before binary tensors.
const headerLength = "Inference-Header-Content-Length"

// textLength reads that header of an answer.
func (u *Upstream) textLength(values []string) (int, error) {
	if len(values) == 0 {
		return tensor.NoHeader, nil
	}
	n, err := strconv.ParseUint(values[0], 10, 31)
	if err != nil || len(values) > 1 || n == 0 {
		return 0, u.fault(fmt.Sprintf("answered with %s %.80q", headerLength, values), err)
	}
	return int(n), nil
}

// lent are the bytes of a request, which are somebody else's after the call. A
// transport may still be sending when it has given up or been answered early; once they
// are taken back it finds nothing more.
type lent struct {
	mu    sync.Mutex
	bytes []byte // guarded by mu
}

func (l *lent) takeBack() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bytes = nil
}

// lentReader reads lent bytes once.
type lentReader struct {
	of *lent
	at int
}

// Read copies what is left.
func (r *lentReader) Read(p []byte) (int, error) {
	r.of.mu.Lock()
	defer r.of.mu.Unlock()
	if r.at >= len(r.of.bytes) {
		return 0, io.EOF
	}
	n := copy(p, r.of.bytes[r.at:])
	r.at += n
	return n, nil
}

// Close has nothing to give back.
func (r *lentReader) Close() error { return nil }

// fault is an error of the upstream. What the upstream itself said is for our
// logs, never for the caller.
func (u *Upstream) fault(what string, err error) error {
	return &pavise.Error{
		Kind: pavise.Unavailable,
		Msg:  fmt.Sprintf("the model server of %s %s", u.place.Model, what),
		Hint: "retry; if it stays so, the operator should look at the server behind the route",
		Err:  err,
	}
}
