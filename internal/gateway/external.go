package gateway

import (
	"context"
	"fmt"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/firewall"
	"github.com/pavise/pavise/internal/infer"
	"github.com/pavise/pavise/internal/tensor"
)

// blind refuses, before anything is charged, an exchange whose answer goes past us
// although the route has something to say about it: a shape, or, of a language model,
// which fields callers see. Kind Denied.
func (x *Exchange) blind(ctx context.Context) error {
	relay, ok := infer.RelayFrom(ctx)
	x.past = ok && relay.Blind && x.route.Upstream == infer.External
	whole := !x.route.Language() && x.route.Ladder.IsZero() && x.route.Calibration == "" && (x.route.Shape.Kind == firewall.Full || x.route.Shape.Kind == "")
	if !x.past || whole {
		return nil
	}
	reason := fmt.Sprintf("the answers of %s are to be looked at, and the proxy asks in a way that shows us none", x.call.Model)
	x.entry.Verdict(pavise.Verdict{Check: "shape", Outcome: pavise.Deny, Reason: reason})
	return &pavise.Error{
		Kind: pavise.Denied, Msg: reason,
		Hint: "the proxy's operator sets up ext_proc in the place of ext_authz; of a model of tensors the route's owner may put it with --shape full and --ladder none",
	}
}

// unseen ends an exchange that a proxy got leave for, and whose answer goes past us. What
// the record commits to is the request.
func (x *Exchange) unseen(ctx context.Context) (*Answer, error) {
	x.trail.Unseen = true
	if err := x.end(x.keep(ctx, nil, false)); err != nil {
		return nil, &Refusal{entry: x.entry, err: err}
	}
	return x.answer(tensor.Message{}), nil
}
