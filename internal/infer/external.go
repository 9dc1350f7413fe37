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

// externalTime bounds one call by a proxy, the reading of its answer included, where
// nothing else is said.
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

// do makes one call and reads the whole answer, as upstream.Cluster.Do has it: at the
// model's servers, or by the relay in the context.
func (l *Lease) do(ctx context.Context, r *upstream.Request, a *upstream.Answer) error {
	if l.missing != nil {
		return fault("cannot be asked", &Unsaid{l.missing})
	}
	if l.external == 0 {
		return l.Cluster().Do(ctx, r, a)
	}
	body, err := l.ask(ctx, r, a)
	if err != nil {
		return err
	}
	defer body.Close()
	whole := bytes.NewBuffer(a.Body[:0])
	n, err := whole.ReadFrom(io.LimitReader(body, int64(a.Limit)+1))
	switch {
	case err != nil:
		return broken(ctx, upstream.Broken, err)
	case n > int64(a.Limit):
		return &upstream.Fault{Reason: upstream.TooLarge}
	}
	a.Body = whole.Bytes()
	return nil
}

// open makes one call and returns when the head of the answer is there, as
// upstream.Cluster.Open has it.
func (l *Lease) open(ctx context.Context, r *upstream.Request, a *upstream.Answer) (io.ReadCloser, error) {
	if l.missing != nil {
		return nil, fault("cannot be asked", &Unsaid{l.missing})
	}
	if l.external == 0 {
		return l.Cluster().Open(ctx, r, a)
	}
	body, err := l.ask(ctx, r, a)
	if err != nil {
		return nil, err
	}
	return &bounded{body, a.Limit}, nil
}

// bounded is a body of which no more than so many bytes are taken.
type bounded struct {
	io.ReadCloser
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= n; b.left < 0 {
		return 0, &upstream.Fault{Reason: upstream.TooLarge}
	}
	return n, err
}

// ask puts a request by the relay in the context, and takes the head of the answer. It
// waits no longer than ctx and the lease let it, for the head as for the body.
func (l *Lease) ask(ctx context.Context, r *upstream.Request, a *upstream.Answer) (io.ReadCloser, error) {
	within, cancel := context.WithTimeout(ctx, l.external)
	request, err := http.NewRequestWithContext(within, r.Method, externalBase+r.Path, bytes.NewReader(r.Body))
	if err != nil {
		cancel()
		return nil, &upstream.Fault{Reason: upstream.Unwritable, Err: err}
	}
	for _, f := range r.Fields {
		request.Header.Set(f.Name, f.Value)
	}
	answer, err := relayed{}.RoundTrip(request)
	if err != nil {
		cancel()
		if said := ownWords(err); said != nil {
			return nil, said
		}
		return nil, broken(ctx, upstream.Unreachable, err)
	}
	a.Status, a.Got = answer.StatusCode, make([][]byte, len(a.Want))
	for i, name := range a.Want {
		if value := answer.Header.Values(name); len(value) > 0 {
			a.Got[i] = []byte(value[0])
		}
	}
	if answer.Header.Get("Content-Encoding") != "" { // nobody asked for one
		err = &upstream.Fault{Reason: upstream.Malformed}
	}
	body := &released{answer.Body, cancel}
	if err != nil {
		body.Close()
		return nil, err
	}
	return body, nil
}

// released lets go of a call's time with its body.
type released struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (r *released) Close() error {
	r.cancel()
	return r.ReadCloser.Close()
}

// broken says why a call brought no answer, or no whole one.
func broken(ctx context.Context, why upstream.Reason, err error) error {
	switch {
	case ctx.Err() != nil:
		why = upstream.Gone
	case errors.Is(err, context.DeadlineExceeded):
		why = upstream.Slow
	}
	return &upstream.Fault{Reason: why, Err: err}
}
