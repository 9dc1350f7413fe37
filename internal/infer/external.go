package infer

import (
	"context"
	"errors"
	"net/http"

	"github.com/pavise/pavise"
)

// ErrUnseen is what a relay returns that lets a request go to the model and never
// sees the answer. Whoever ran the exchange decides whether that is enough.
var ErrUnseen = errors.New("the answer goes past us")

// A Relay carries one request to a model server and brings its answer back. A proxy
// that asks us about its exchanges is one: we never reach the server ourselves.
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

// External stands in the place of an address for a model that is behind a proxy: the
// relay in the context of each call asks it. Nobody else can, not even for what it takes
// and gives.
const External = "external"

// externalBase is what requests to such a model are relative to.
const externalBase = "http://proxy.invalid"

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
