package infer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/upstream"
)

// External stands in the place of an address for a model that is behind a proxy: the
// relay in the context of each call asks it. Nobody else can, not even for what it takes
// and gives.
const External = "external"

// externalBase is what requests to such a model are relative to.
const externalBase = "http://proxy.invalid"

// externalTime bounds one call by a proxy, the reading of its answer included.
const externalTime = 30 * time.Second

// ErrUnseen is what a relay returns that lets a request go to the model and never
// sees the answer. Whoever ran the exchange decides whether that is enough.
var ErrUnseen = errors.New("the answer goes past us")

// A Relay carries one request to a model server and brings its answer back. A proxy
// that asks us about its exchanges is one: we never reach the server ourselves. Its
// errors are ErrUnseen, or of package pavise and in words for the caller, or else.
type Relay struct {
	http.RoundTripper
	Blind bool // it only ever returns ErrUnseen
}

type relayKey struct{}

// WithRelay returns a context in which external models are asked through r.
func WithRelay(ctx context.Context, r Relay) context.Context {
	return context.WithValue(ctx, relayKey{}, r)
}

// RelayFrom returns the relay of a context; false: the caller did not come by a proxy.
func RelayFrom(ctx context.Context) (Relay, bool) {
	r, ok := ctx.Value(relayKey{}).(Relay)
	return r, ok
}

// relayed sends a request by the relay in its context.
type relayed struct{}

func (relayed) RoundTrip(r *http.Request) (*http.Response, error) {
	relay, ok := RelayFrom(r.Context())
	if !ok {
		return nil, &pavise.Error{
			Kind: pavise.Unavailable, Msg: "this model is reached through a proxy that asks Pavise, and the request did not come by one",
			Hint: "ask at the proxy's address; docs/envoy.md shows how it is set up",
		}
	}
	return relay.RoundTrip(r)
}

// ownWords is what a relay says for the caller to read, or that it sees no answer; nil
// for all other errors.
func ownWords(err error) error {
	if e, ok := errors.AsType[*pavise.Error](err); ok {
		return e
	}
	if errors.Is(err, ErrUnseen) {
		return ErrUnseen
	}
	return nil
}

// byProxy makes one call by the relay in the context, and leaves status and body of the
// answer in c.
func (u *Upstream) byProxy(ctx context.Context, c *call) error {
	ctx, cancel := context.WithTimeout(ctx, externalTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, c.request.Method, externalBase+c.request.Path, bytes.NewReader(c.request.Body))
	if err != nil {
		return u.fault("cannot be asked", err)
	}
	for _, f := range c.request.Fields {
		r.Header.Set(f.Name, f.Value)
	}
	answer, err := relayed{}.RoundTrip(r)
	if said := ownWords(err); said != nil {
		return said
	}
	if err != nil {
		return u.fault("does not answer", err)
	}
	defer answer.Body.Close()
	if answer.Header.Get("Content-Encoding") != "" {
		return u.fault("answered in a coding that it was not asked for", nil)
	}
	body := bytes.NewBuffer(c.answer.Body[:0])
	n, err := body.ReadFrom(io.LimitReader(answer.Body, int64(c.answer.Limit)+1))
	if err != nil {
		return u.fault("broke off its answer", err)
	}
	if n > int64(c.answer.Limit) {
		return &upstream.Fault{Reason: upstream.TooLarge}
	}
	c.answer.Status, c.answer.Body = answer.StatusCode, body.Bytes()
	return nil
}
