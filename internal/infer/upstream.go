package infer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/tensor"
)

// An Upstream is a model on a server that speaks the Open Inference Protocol v2
// over HTTP. It is safe for concurrent use.
type Upstream struct {
	base   *url.URL // …/v2/models/{model}
	model  string
	limits tensor.Limits
	client *http.Client
}

// upstreamTimeout bounds one call, the reading of its answer included.
const upstreamTimeout = 30 * time.Second

// NewUpstream returns the model of the given name on the server at address, for
// example "http://10.0.0.7:8000", or [External]. The error is of kind Invalid.
func NewUpstream(address, model string, limits tensor.Limits) (*Upstream, error) {
	var transport http.RoundTripper = newTransport()
	if address == External {
		address, transport = externalBase, relayed{}
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, &pavise.Error{
			Kind: pavise.Invalid,
			Msg:  fmt.Sprintf("upstream %.200q is not an address of a model server", address),
			Hint: "write it as http://host:port, without user, query or fragment, or as " + External + " for one behind a proxy that asks us",
		}
	}
	return &Upstream{
		base:   u.JoinPath("v2", "models", url.PathEscape(model)),
		model:  model,
		limits: limits,
		client: &http.Client{
			Timeout:   upstreamTimeout,
			Transport: transport,
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
	body, err := r.AppendJSON(nil)
	if err != nil {
		return nil, err
	}
	answer, err := u.do(ctx, http.MethodPost, u.base.JoinPath("infer"), body)
	if err != nil {
		return nil, err
	}
	response, err := tensor.ParseResponse(answer, u.limits)
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
	body, err := u.do(ctx, http.MethodGet, u.base, nil)
	if err != nil {
		return tensor.Signature{}, err
	}
	var s tensor.Signature
	if err := json.Unmarshal(body, &s); err != nil {
		return s, u.fault("described the model in a form other than the protocol's", err)
	}
	if err := s.Validate(); err != nil {
		return s, u.fault("described a model without a usable signature", err)
	}
	return s, nil
}

// do makes one call and returns the body of a 200.
func (u *Upstream) do(ctx context.Context, method string, target *url.URL, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, target.String(), bytes.NewReader(body))
	if err != nil {
		return nil, u.fault("cannot be asked", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := u.client.Do(req)
	if err != nil {
		if errors.Is(err, ErrUnseen) {
			return nil, err
		}
		if e, ok := errors.AsType[*pavise.Error](err); ok { // a relay's own words
			return nil, e
		}
		if errors.Is(err, context.Canceled) {
			return nil, u.fault("was not waited for: the caller went away", err)
		}
		return nil, u.fault("does not answer", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, int64(u.limits.MaxBody)+1))
	switch {
	case err != nil:
		return nil, u.fault("broke off its answer", err)
	case len(answer) > u.limits.MaxBody:
		return nil, u.fault(fmt.Sprintf("answered with more than %d bytes", u.limits.MaxBody), nil)
	case resp.StatusCode == http.StatusNotFound:
		return nil, &pavise.Error{
			Kind: pavise.Unavailable, Msg: fmt.Sprintf("the model server does not know the model %s (status 404)", u.model),
			Hint: "if it has another name there, put the route with --remote NAME",
		}
	case resp.StatusCode/100 == 4:
		return nil, u.fault(fmt.Sprintf("refused the request with status %d", resp.StatusCode), nil)
	case resp.StatusCode != http.StatusOK:
		return nil, u.fault(fmt.Sprintf("answered with status %d", resp.StatusCode), nil)
	}
	return answer, nil
}

// fault is an error of the upstream. What the upstream itself said is for our
// logs, never for the caller.
func (u *Upstream) fault(what string, err error) error {
	return &pavise.Error{
		Kind: pavise.Unavailable,
		Msg:  fmt.Sprintf("the model server of %s %s", u.model, what),
		Hint: "retry; if it stays so, the operator should look at the server behind the route",
		Err:  err,
	}
}
