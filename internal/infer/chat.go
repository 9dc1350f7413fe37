package infer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/chat"
)

// A Chat is a language model on a server that speaks the OpenAI protocol over HTTP.
// It is safe for concurrent use.
type Chat struct {
	base   *url.URL
	model  string // its name on the server
	limits chat.Limits
	client *http.Client
}

const (
	// chatTimeout bounds one question to a language model, the reading of its answer
	// included: long answers take minutes.
	chatTimeout = 10 * time.Minute
	// idleTimeout bounds how long nothing comes of a stream that has begun.
	idleTimeout = time.Minute
)

// NewChat returns the model at a place. The error is of kind Invalid.
func NewChat(at Place, limits chat.Limits) (*Chat, error) {
	if err := at.Validate(); err != nil {
		return nil, err
	}
	u, err := parseAddress(at.Address)
	if err != nil {
		return nil, err
	}
	transport := newTransport()
	transport.ResponseHeaderTimeout = chatTimeout
	transport.MaxConnsPerHost = 0 // a stream holds one for minutes; the guard bounds what is under way
	return &Chat{
		base: u, model: at.Model, limits: limits,
		client: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Close ends the idle connections.
func (c *Chat) Close() { c.client.CloseIdleConnections() }

// Encode writes a request as the server gets it: under the name that the model has
// there.
func (c *Chat) Encode(r *chat.Request) []byte {
	name := r.Model()
	r.SetText("model", c.model)
	body := r.AppendJSON(nil)
	r.SetText("model", name)
	return body
}

// Ask gets a whole answer. body is what Encode made of the request: the server gets
// it, and no header of the caller's. The error is of kind Unavailable when the server
// is away, slow, or answers anything but the protocol; of kind Invalid when it does
// not take the request, and of kind Throttled when it is asked too much.
func (c *Chat) Ask(ctx context.Context, r *chat.Request, body []byte) (*chat.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, chatTimeout)
	defer cancel()
	resp, err := c.do(ctx, r, body, "application/json")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, int64(c.limits.MaxBody)+1))
	if err != nil {
		return nil, c.fault("broke off its answer", err)
	}
	return chat.ParseAnswer(r, answer, c.limits)
}

// A Flow is an answer that is on its way, event by event. It must be closed, which
// ends the question to the server. One goroutine owns it.
type Flow struct {
	*chat.Stream
	end func()
}

// Close lets go of the server.
func (f *Flow) Close() { f.end() }

// Stream gets an answer as events; its errors are those of Ask. A server from which
// nothing comes for a minute has broken off.
func (c *Chat) Stream(ctx context.Context, r *chat.Request, body []byte) (*Flow, error) {
	ctx, cancel := context.WithTimeout(ctx, chatTimeout)
	resp, err := c.do(ctx, r, body, "text/event-stream")
	if err != nil {
		cancel()
		return nil, err
	}
	idle := time.AfterFunc(idleTimeout, cancel)
	return &Flow{
		Stream: chat.NewStream(r, &lively{resp.Body, idle}, c.limits),
		end: func() {
			idle.Stop()
			cancel() // first: closing would wait for what the server still sends
			resp.Body.Close()
		},
	}, nil
}

// lively puts off the end of a stream while something comes.
type lively struct {
	from io.Reader
	idle *time.Timer
}

func (l *lively) Read(p []byte) (int, error) {
	l.idle.Reset(idleTimeout)
	return l.from.Read(p)
}

// do asks, and returns the answer to a 200 of the media type.
func (c *Chat) do(ctx context.Context, r *chat.Request, body []byte, media string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base.JoinPath(r.API.Path()).String(), bytes.NewReader(body))
	if err != nil {
		return nil, c.fault("cannot be asked", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", media)
	resp, err := c.client.Do(req)
	switch {
	case errors.Is(err, context.Canceled):
		return nil, c.fault("was not waited for: the caller went away", err)
	case err != nil:
		return nil, c.fault("does not answer", err)
	}
	err = c.refused(resp.StatusCode)
	if got, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); err == nil && got != media {
		err = c.fault(fmt.Sprintf("answered with %.60q where %s was asked", got, media), nil)
	}
	if err == nil && resp.Header.Get("Content-Encoding") != "" {
		err = c.fault("answered in a coding that it was not asked for", nil)
	}
	if err != nil {
		resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

// refused says what a status means for the caller, who learns nothing else of what the
// server said.
func (c *Chat) refused(status int) error {
	switch status {
	case http.StatusOK:
		return nil
	case http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusRequestEntityTooLarge:
		return &pavise.Error{
			Kind: pavise.Invalid, Msg: fmt.Sprintf("the model server does not take this request (status %d)", status),
			Hint: "it may be longer than the model can read, or ask for what this model does not have",
		}
	case http.StatusTooManyRequests:
		return &pavise.Error{Kind: pavise.Throttled, Msg: "the model server is asked too much", Hint: "try again later"}
	case http.StatusNotFound:
		return &pavise.Error{
			Kind: pavise.Unavailable, Msg: fmt.Sprintf("the model server does not know the model %s, or does not do this with it (status 404)", c.model),
			Hint: "if it has another name there, put the route with --remote NAME",
		}
	case http.StatusUnauthorized, http.StatusForbidden:
		return c.fault(fmt.Sprintf("does not let the gateway in (status %d)", status), nil)
	}
	return c.fault(fmt.Sprintf("answered with status %d", status), nil)
}

// fault is an error of the server. What it said itself is for our logs.
func (c *Chat) fault(what string, err error) error {
	return &pavise.Error{
		Kind: pavise.Unavailable,
		Msg:  fmt.Sprintf("the model server of %s %s", c.model, what),
		Hint: "retry; if it stays so, the operator should look at the server behind the route",
		Err:  err,
	}
}

// parseAddress reads the address of a server. The error is of kind Invalid.
func parseAddress(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, &pavise.Error{
			Kind: pavise.Invalid,
			Msg:  fmt.Sprintf("upstream %.200q is not an address of a model server", text),
			Hint: "write it as http://host:port, without user, query or fragment",
		}
	}
	return u, nil
}

// newTransport keeps connections open for many callers and asks for no
// compression, which would let a small answer become a large one. It takes no
// proxy from the environment: the route says where the model is.
func newTransport() *http.Transport {
	return &http.Transport{
		MaxIdleConnsPerHost:    64,
		MaxConnsPerHost:        256,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 16 << 10,
		DisableCompression:     true,
	}
}
