package infer

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/chat"
	"github.com/pavise/pavise/internal/upstream"
)

// A Chat is a language model on servers that speak the OpenAI protocol over HTTP. It is
// safe for concurrent use.
type Chat struct {
	*Lease
	model  string           // its name on the server
	key    string           // with which the server lets us in; empty: it asks for none
	whole  []upstream.Field // of the head of a question for a whole answer
	stream []upstream.Field // the same for events
	limits chat.Limits
}

// newChat returns the model of a name whose servers let us in with a key.
func newChat(lease *Lease, model, key string, limits chat.Limits) *Chat {
	fields := func(media string) []upstream.Field {
		list := append(slices.Clip(jsonBody), upstream.Field{Name: "Accept", Value: media})
		if key != "" {
			list = append(list, upstream.Field{Name: "Authorization", Value: "Bearer " + key})
		}
		return list
	}
	return &Chat{Lease: lease, model: model, key: key, whole: fields(mediaJSON), stream: fields(mediaEvents), limits: limits}
}

// The media types of answers.
const (
	mediaJSON   = "application/json"
	mediaEvents = "text/event-stream"
)

const (
	// chatTimeout bounds one question to a language model, the reading of its answer
	// included: long answers take minutes.
	chatTimeout = 10 * time.Minute
	// idleTimeout bounds how long nothing comes of an answer that has begun.
	idleTimeout = time.Minute
	// chatConnections are open to one server at most: a stream holds one for minutes.
	chatConnections = 1 << 14
)

// chatOptions gives language models the time and the connections that they need, where
// nothing else is said. How much is under way at once is for the gateway to bound.
func chatOptions(o upstream.Options) upstream.Options {
	o.Timeouts = upstream.Timeouts{
		Connect:   o.Timeouts.Connect,
		Wait:      o.Timeouts.Wait,
		FirstByte: cmp.Or(o.Timeouts.FirstByte, chatTimeout),
		Gap:       cmp.Or(o.Timeouts.Gap, idleTimeout),
		Total:     cmp.Or(o.Timeouts.Total, chatTimeout),
		Stream:    cmp.Or(o.Timeouts.Stream, chatTimeout),
	}
	o.CloseDelimited = true // JSON and events show where they were cut off
	o.Pool.MaxOpen = cmp.Or(o.Pool.MaxOpen, chatConnections)
	o.Breaker.MaxRequests = cmp.Or(o.Breaker.MaxRequests, -1)
	return o
}

// NewChat returns the model at a place, with connections of its own. The error is of
// kind Invalid.
func NewChat(at Place, limits chat.Limits) (*Chat, error) {
	return NewServers().Chat([]upstream.Endpoint{{URL: at.Address, Weight: 1}}, upstream.Options{}, at, limits)
}

// Encode writes a request as the server gets it: under the name that the model has
// there. It writes into the room given, if that is enough.
func (c *Chat) Encode(r *chat.Request, room []byte) []byte {
	name := r.Model()
	r.SetText("model", c.model)
	if n := r.Written(); n > cap(room) {
		room = make([]byte, 0, n)
	}
	body := r.AppendJSON(room[:0])
	r.SetText("model", name)
	return body
}

// Ask gets a whole answer. body is what Encode made of the request: the server gets
// it, and no header of the caller's. The error is of kind Unavailable when the server
// is away, slow, or answers anything but the protocol; of kind Invalid when it does
// not take the request, and of kind Throttled when it is asked too much.
func (c *Chat) Ask(ctx context.Context, r *chat.Request, body []byte) (*chat.Answer, error) {
	one := calls.Get().(*call)
	defer one.free() // what is parsed is a copy
	one.request = *c.question(ctx, r, body, c.whole)
	one.answer.Limit, one.answer.Want = c.limits.MaxBody, chatHead
	if err := c.do(ctx, &one.request, &one.answer); err != nil {
		return nil, reword(err, c.limits.MaxBody)
	}
	if err := c.refused(&one.answer, mediaJSON); err != nil {
		return nil, err
	}
	return chat.ParseAnswer(r, one.answer.Body, c.limits)
}

// A Flow is an answer that is on its way, event by event. It must be closed, which
// ends the question to the server. One goroutine owns it.
type Flow struct {
	*chat.Stream
	from io.Closer
}

// Close lets go of the server.
func (f *Flow) Close() { f.from.Close() }

// Stream gets an answer as events; its errors are those of Ask. A server from which
// nothing comes for a minute has broken off.
func (c *Chat) Stream(ctx context.Context, r *chat.Request, body []byte) (*Flow, error) {
	answer := upstream.Answer{Limit: c.limits.MaxStream + 1, Want: chatHead}
	from, err := c.open(ctx, c.question(ctx, r, body, c.stream), &answer)
	if err != nil {
		return nil, reword(err, c.limits.MaxStream)
	}
	if answer.Status == http.StatusBadRequest {
		answer.Body, _ = io.ReadAll(io.LimitReader(from, maxWords)) // what breaks off says nothing
	}
	if err := c.refused(&answer, mediaEvents); err != nil {
		from.Close()
		return nil, err
	}
	return &Flow{chat.NewStream(r, from, c.limits), from}, nil
}

// chatHead is what is read of the head of an answer, and when to come again.
var chatHead = []string{"content-type", "retry-after"}

// longestWait bounds what a server may say of when to come again.
const longestWait = 10 * time.Minute

// waitOf is the seconds that a server says to wait (RFC 9110, 10.2.3); 0: it says none.
func waitOf(said []byte) time.Duration {
	n, err := strconv.ParseUint(string(said), 10, 31)
	if err != nil {
		return 0
	}
	return min(time.Duration(n)*time.Second, longestWait)
}

// question is a request for an answer.
func (c *Chat) question(ctx context.Context, r *chat.Request, body []byte, fields []upstream.Field) *upstream.Request {
	return &upstream.Request{Method: http.MethodPost, Path: r.API.Path(), Fields: traced(ctx, fields), Body: body, Key: callerOf(ctx)}
}

// refused says what the head of an answer means for the caller, who learns nothing else
// of what the server said. A 200 must be of the media type.
func (c *Chat) refused(a *upstream.Answer, media string) error {
	status := a.Status
	if err := secured(status, a.Body); err != nil {
		return err
	}
	switch status {
	case http.StatusOK:
		if string(a.Got[0]) == media { // as nearly all say it
			return nil
		}
		if got, _, _ := mime.ParseMediaType(string(a.Got[0])); got != media {
			return misspoke(fmt.Errorf("content type %.80q where %s was asked", a.Got[0], media))
		}
		return nil
	case http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusRequestEntityTooLarge:
		return &pavise.Error{
			Kind: pavise.Invalid, Msg: fmt.Sprintf("the model server does not take this request (status %d)", status),
			Hint: "it may be longer than the model can read, or ask for what this model does not have",
		}
	case http.StatusTooManyRequests:
		busy := &upstream.Fault{Reason: upstream.Full, Wait: waitOf(a.Got[1])}
		return &pavise.Error{Kind: pavise.Throttled, Msg: "the model server is asked too much", Hint: "try again later", Err: busy}
	case http.StatusNotFound:
		return &pavise.Error{
			Kind: pavise.Unavailable, Msg: "the model server does not know the model, or does not do this with it (status 404)",
			Hint: "if it has another name there, put the route with --remote NAME",
		}
	case http.StatusUnauthorized, http.StatusForbidden:
		return c.fault(fmt.Sprintf("does not let the gateway in (status %d)", status), nil)
	}
	return c.fault(fmt.Sprintf("answered with status %d", status), nil)
}

// fault is an error of the server. What it said itself is for our logs.
func (c *Chat) fault(what string, err error) error { return fault(what, err) }
