package infer

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/plainjson"
	"github.com/pavise/pavise/internal/upstream"
)

// An Aside is what a model server answered to something else than inference.
type Aside struct {
	Status int
	Body   []byte // at most MaxAside bytes
}

// MaxAside bounds, in bytes, what is sent and answered aside from inference.
const MaxAside = 1 << 20

// Pass asks the model's server for something else than inference: a GET or a POST with a
// JSON body that was encoded here. Errors are those of Infer.
func (u *Upstream) Pass(ctx context.Context, method, path string, body []byte) (*Aside, error) {
	return u.Lease.pass(ctx, "", method, path, body)
}

// Pass is Upstream.Pass on the server of a language model, with the key that lets us in.
func (c *Chat) Pass(ctx context.Context, method, path string, body []byte) (*Aside, error) {
	return c.Lease.pass(ctx, c.key, method, path, body)
}

func (l *Lease) pass(ctx context.Context, key, method, path string, body []byte) (*Aside, error) {
	request := upstream.Request{Method: method, Path: path, Body: body}
	if body != nil {
		request.Fields = jsonBody
	}
	if key != "" {
		request.Fields = append(slices.Clip(request.Fields), upstream.Field{Name: "Authorization", Value: "Bearer " + key})
	}
	switch {
	case l.missing != nil:
		return nil, fault("cannot be asked", &Unsaid{l.missing})
	case l.external > 0:
		return nil, &pavise.Error{Kind: pavise.NotFound, Msg: "the model is behind a proxy, which carries questions to it and nothing else", Hint: "ask the model server at an address of its own"}
	}
	answer := upstream.Answer{Limit: MaxAside}
	if err := l.Cluster().Do(ctx, &request, &answer); err != nil {
		return nil, reword(err, MaxAside)
	}
	return &Aside{Status: answer.Status, Body: answer.Body}, nil
}

// Canonical reads the JSON of a body aside from inference strictly, and writes it anew;
// nothing may stay nothing. It is at most MaxAside bytes long, and its error says what is
// wrong.
func Canonical(text []byte, nothing bool) ([]byte, error) {
	if len(bytes.TrimSpace(text)) == 0 && nothing {
		return nil, nil
	}
	if len(text) > MaxAside {
		return nil, fmt.Errorf("more than %d bytes", MaxAside)
	}
	return plainjson.Canonical(text)
}
