package infer

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/chat"
	"github.com/pavise/pavise/internal/telemetry"
	"github.com/pavise/pavise/internal/tensor"
	"github.com/pavise/pavise/internal/upstream"
)

// A Chat is a language model on servers that speak the OpenAI protocol over HTTP. It
// is safe for concurrent use.
type Chat struct {
	server *Upstream // with no protocol of tensors
	limits chat.Limits
	key    string // with which the server lets us in; empty: it asks for none
}

// Keys are what servers of language models let us in with, by the address of the
// server. A key is sent to no other: not to another scheme, host or port.
type Keys map[string]string

// With has language models that come after it asked with the keys. The error is of kind
// Invalid, and shows none of them.
func (s *Servers) With(keys Keys) (*Servers, error) {
	held := Keys{}
	for address, key := range keys {
		at := originOf(address)
		switch {
		case at == "":
			return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.200q is not an address of a model server", address), Hint: "write it as https://host:port"}
		case key == "" || len(key) > 4096 || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }):
			return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "the key of " + at + " is empty, or no word of printable characters"}
		case held[at] != "":
			return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "there are two keys of " + at, Hint: "one server has one key here"}
		}
		held[at] = key
	}
	s.keys = held
	return s, nil
}

// originOf is the scheme, host and port of an address, in one spelling; or "".
func originOf(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
		return ""
	}
	port := cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	return u.Scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// ChatOptions are what language models are asked with: long answers take minutes, a
// stream holds a connection as long, and the guard bounds what is under way. An answer
// that ends with its connection is taken, because JSON and events show that they were
// cut off.
func ChatOptions() upstream.Options {
	const answers = 10 * time.Minute
	return upstream.Options{
		CloseDelimited: true,
		Timeouts:       upstream.Timeouts{FirstByte: answers, Gap: time.Minute, Total: answers, Stream: answers},
		Pool:           upstream.Pool{MaxOpen: 1 << 14},
		Breaker:        upstream.Breaker{MaxRequests: 1 << 14},
	}
}

// Chat returns the language model at a place, on servers that answer alike; the place's
// address says which key they let us in with. The error is of kind Invalid. The model must be closed.
func (s *Servers) Chat(endpoints []upstream.Endpoint, o upstream.Options, at Place, limits chat.Limits) (*Chat, error) {
	if err := at.Validate(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.acquire(endpoints, o)
	if err != nil {
		return nil, err
	}
	u := &Upstream{place: at, servers: s, limits: tensor.Limits{MaxBody: limits.MaxBody}}
	u.shared.Store(c)
	return &Chat{server: u, limits: limits, key: s.keys[originOf(at.Address)]}, nil
}

// Close ends the model's use of its servers, as [Upstream.Close] does.
func (c *Chat) Close() { c.server.Close() }

// Encode writes a request as the server gets it: under the name that the model has
// there.
func (c *Chat) Encode(r *chat.Request) []byte {
	name := r.Model()
	r.SetText("model", c.server.place.Model)
	body := r.AppendJSON(nil)
	r.SetText("model", name)
	return body
}

// Ask gets a whole answer. body is what Encode made of the request: the server gets
// it, and no header of the caller's. The error is of kind Unavailable when the server
// is away, slow, or answers anything but the protocol; of kind Invalid when it does
// not take the request, and of kind Throttled when it is asked too much.
func (c *Chat) Ask(ctx context.Context, r *chat.Request, body []byte) (*chat.Answer, error) {
	const media = "application/json"
	q, a := c.question(ctx, r, body, media)
	a.Limit = c.limits.MaxBody
	if err := c.server.Cluster().Do(ctx, q, a); err != nil {
		return nil, c.server.reword(err)
	}
	if err := c.refused(a, media); err != nil {
		return nil, err
	}
	return chat.ParseAnswer(r, a.Body, c.limits)
}

// A Flow is an answer that is on its way, event by event. It must be closed, which
// ends the question to the server. One goroutine owns it.
type Flow struct {
	*chat.Stream
	body *upstream.Stream
}

// Close lets go of the server.
func (f *Flow) Close() { f.body.Close() }

// Stream gets an answer as events; its errors are those of Ask.
func (c *Chat) Stream(ctx context.Context, r *chat.Request, body []byte) (*Flow, error) {
	const media = "text/event-stream"
	q, a := c.question(ctx, r, body, media)
	a.Limit = c.limits.MaxStream + 1<<10 // what is longer is told by the events' reader
	stream, err := c.server.Cluster().Open(ctx, q, a)
	if err != nil {
		return nil, c.server.reword(err)
	}
	if err := c.refused(a, media); err != nil {
		stream.Close()
		return nil, err
	}
	return &Flow{Stream: chat.NewStream(r, worded{stream, c.server}, c.limits), body: stream}, nil
}

// worded is a stream whose errors name the model, and not the cluster.
type worded struct {
	from   io.Reader
	server *Upstream
}

func (w worded) Read(p []byte) (int, error) {
	n, err := w.from.Read(p)
	if err != nil && err != io.EOF {
		err = w.server.reword(err)
	}
	return n, err
}

// question is a call that asks, and what its answer is read into.
func (c *Chat) question(ctx context.Context, r *chat.Request, body []byte, media string) (*upstream.Request, *upstream.Answer) {
	fields := append(slices.Clip(jsonBody), upstream.Field{Name: "Accept", Value: media})
	if c.key != "" {
		fields = append(fields, upstream.Field{Name: "Authorization", Value: "Bearer " + c.key})
	}
	if trace := telemetry.Traceparent(ctx); trace != "" {
		fields = append(fields, upstream.Field{Name: telemetry.TraceparentHeader, Value: trace})
	}
	return &upstream.Request{Method: http.MethodPost, Path: r.API.Path(), Fields: fields, Body: body}, &upstream.Answer{Want: []string{"content-type"}}
}

// refused says what the head of an answer means for the caller, who learns nothing
// else of what the server said.
func (c *Chat) refused(a *upstream.Answer, media string) error {
	switch a.Status {
	case http.StatusOK:
		if got, _, _ := mime.ParseMediaType(string(a.Got[0])); got != media {
			return c.server.fault(fmt.Sprintf("answered with %.60q where %s was asked", got, media), nil)
		}
		return nil
	case http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusRequestEntityTooLarge:
		return &pavise.Error{
			Kind: pavise.Invalid, Msg: fmt.Sprintf("the model server does not take this request (status %d)", a.Status),
			Hint: "it may be longer than the model can read, or ask for what this model does not have",
		}
	case http.StatusTooManyRequests:
		return &pavise.Error{Kind: pavise.Throttled, Msg: "the model server is asked too much", Hint: "try again later"}
	case http.StatusNotFound:
		return &pavise.Error{
			Kind: pavise.Unavailable, Msg: "the model server does not know the model, or does not do this with it (status 404)",
			Hint: "if it has another name there, put the route with --remote NAME",
		}
	case http.StatusUnauthorized, http.StatusForbidden:
		return c.server.fault(fmt.Sprintf("does not let the gateway in (status %d)", a.Status), nil)
	}
	return c.server.fault(fmt.Sprintf("answered with status %d", a.Status), nil)
}
