package gateway

import (
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/firewall"
)

// KindDrifted is the kind of the note that says that the inputs of a route have drifted
// from its baseline, or are like it again.
const KindDrifted = "firewall.drifted"

// driftOff ends a baseline.
const driftOff = "off"

// baseline fills in what the words say of the route's baseline, once its inputs are
// known. One that was there ends with the inputs it was of. The error is of kind Invalid.
func (s RouteSpec) baseline(r *Route) error {
	if r.language() {
		return nil
	}
	refuse := func(hint, format string, args ...any) error {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf(format, args...), Hint: hint}
	}
	switch {
	case s.Drift != "" && s.Drift != driftOff && s.Drift != firewall.DriftAlarm && s.Drift != firewall.DriftDeny:
		return refuse("it is alarm, deny or off", "drift is %.40q", s.Drift)
	case s.Drift == driftOff && s.Baseline != nil:
		return refuse("leave one of them out", "a baseline is given, and drift is off")
	case s.Drift == driftOff:
		r.Baseline, r.Drift = nil, ""
		return nil
	case s.Baseline != nil:
		b := new(firewall.Baseline)
		if err := json.Unmarshal(s.Baseline, b); err != nil {
			return refuse(`write it as {"input": NAME, "features": [{"name": …, "quantiles": [SMALLEST, …, LARGEST]}, …]}`, "baseline: %v", err)
		}
		if err := b.Validate(r.Signature.Inputs); err != nil {
			return err
		}
		r.Baseline = b
	case r.Baseline == nil && s.Drift != "":
		return refuse("give one with --baseline FILE", "drift is %s, and the route has no baseline to drift from", s.Drift)
	}
	if r.Baseline == nil || r.Baseline.Validate(r.Signature.Inputs) != nil {
		r.Baseline, r.Drift = nil, ""
		return nil
	}
	if s.Drift != "" {
		r.Drift = s.Drift
	} else if r.Drift == "" {
		r.Drift = firewall.DriftAlarm
	}
	return nil
}

// checkDrift looks at the baseline of a route that came from elsewhere.
func (r Route) checkDrift() error {
	if r.Baseline == nil && r.Drift == "" {
		return nil
	}
	if r.Baseline == nil || r.Drift != firewall.DriftAlarm && r.Drift != firewall.DriftDeny {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s has half a baseline", r.Model)}
	}
	return r.Baseline.Validate(r.Signature.Inputs)
}

// watchOf returns what watches the inputs of a route: the watch of the one it takes the
// place of, with what that has counted, unless the baseline is another.
func (r *Routes) watchOf(route Route) *firewall.Watch {
	if route.Baseline == nil {
		return nil
	}
	if was := (*r.live.Load())[route.Model]; was != nil && was.drift != nil && was.Drift == route.Drift &&
		reflect.DeepEqual(was.Baseline, route.Baseline) && reflect.DeepEqual(was.Signature.Inputs, route.Signature.Inputs) {
		return was.drift
	}
	return firewall.NewWatch(*route.Baseline, route.Signature.Inputs, route.Drift)
}

// drift counts the request into the route's window, and refuses it if the route says so
// and the last window was unlike the baseline. It comes after the charge: who fills
// windows pays for the rows. The caller is not told which columns have moved, the record
// is: it would show an attacker what to send.
func (x *Exchange) drift() error {
	if x.route.drift == nil {
		return nil
	}
	v, turned := x.route.drift.See(x.gateway.now(), x.request)
	if turned {
		x.gateway.suspects.turn(x.call.Model, v.Reason, v.Observed || v.Outcome == pavise.Deny)
	}
	err := x.check(v, pavise.Unavailable)
	if err == nil {
		return nil
	}
	return &pavise.Error{
		Kind: pavise.Unavailable, Msg: fmt.Sprintf("the inputs of %s are of late not those it was made for, and it answers none until they are", x.call.Model),
		Hint: "the operator finds in the record what has changed",
		Err:  err,
	}
}
