package gateway

import (
	"context"
	"fmt"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/firewall"
	"github.com/pavise/pavise/internal/infer"
	"github.com/pavise/pavise/internal/tensor"
)

// unasked is what an external model takes and gives when nobody says: as the route was.
// The error is of kind Invalid.
func unasked(was *Route) (tensor.Signature, error) {
	if was != nil {
		return was.Signature, nil
	}
	return tensor.Signature{}, &pavise.Error{
		Kind: pavise.Invalid, Msg: "an external model cannot be asked what it takes and gives",
		Hint: "say it with --signature FILE: what GET /v2/models/{model} tells at the model server, inputs and outputs",
	}
}

// blind refuses, before anything is read or charged, an exchange whose answer goes past
// us although the route has something to say about it. Kind Denied.
func (x *Exchange) blind(ctx context.Context) error {
	relay, ok := infer.RelayFrom(ctx)
	if !ok || !relay.Blind || x.route.Upstream != infer.External || x.route.Shape.Kind == firewall.Full || x.route.Shape.Kind == "" {
		return nil
	}
	reason := fmt.Sprintf("the answers of %s are to be %s, and the proxy asks in a way that shows us none", x.call.Model, x.route.Shape)
	x.entry.Verdict(pavise.Verdict{Check: "shape", Outcome: pavise.Deny, Reason: reason})
	return &pavise.Error{Kind: pavise.Denied, Msg: reason, Hint: "the proxy's operator sets up ext_proc in the place of ext_authz, or the route's owner puts it with --shape full"}
}

// unseen ends an exchange that a proxy got leave for, and whose answer goes past us. What
// the record commits to is the request.
func (x *Exchange) unseen(ctx context.Context) (*Answer, error) {
	x.trail.Unseen = true
	err := x.keep(ctx, nil, false)
	if err = x.end(err); err != nil {
		return nil, &Refusal{entry: x.entry, err: err}
	}
	return &Answer{entry: x.entry}, nil
}
