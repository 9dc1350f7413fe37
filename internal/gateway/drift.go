package gateway

import (
	"fmt"

	"github.com/pavise/pavise"
)

// KindDrifted is the kind of the note that says that the inputs of a route have drifted
// from its baseline, or are like it again.
const KindDrifted = "firewall.drifted"

// drift counts the request into the route's window, and refuses it if the route says so
// and the last window was unlike the baseline. It comes after the charge: who fills
// windows pays for the rows. The caller is not told which columns have moved, the record
// is: it would show an attacker what to send.
func (x *Exchange) drift() error {
	if x.route.Watch == nil {
		return nil
	}
	v, turned := x.route.Watch.See(x.gateway.now(), x.request)
	if turned {
		f := pavise.Finding{Kind: KindDrifted, Severity: pavise.Warning, On: x.call.Model, Summary: v.Reason, At: x.gateway.now().UTC()}
		if !v.Observed && v.Outcome == pavise.Allow {
			f.Severity, f.Summary = pavise.Info, "the rows of a whole window are like the baseline again"
		}
		x.gateway.suspects.Tell(f)
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
