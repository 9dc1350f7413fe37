package gateway

import (
	"errors"
	"fmt"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/telemetry"
)

// protocol is the name by which requests of a call's protocol are counted.
func (c *Call) protocol() string {
	if named, ok := c.Protocol.(fmt.Stringer); ok {
		return named.String()
	}
	return ""
}

// count tells whoever watches how an exchange ended. Its record is written.
func (x *Exchange) count(err error) {
	if x.gateway.watch == nil {
		return
	}
	if x.route != nil {
		x.seen.Model(x.route.count)
	}
	x.seen.Rows(x.trail.Rows, x.trail.Charged)
	x.seen.Bytes(x.read, x.answered)
	index, written := x.entry.Record()
	x.seen.End(err, x.entry.Verdicts(), index, written)
}

// countRefused does so for a call that the guard did not let in.
func (g *Gateway) countRefused(call Call, err error) {
	g.countRefusal(call.Model, call.protocol(), err)
}

// countRefusal does so for a request of a protocol.
func (g *Gateway) countRefusal(name pavise.Name, protocol string, err error) {
	if g.watch == nil {
		return
	}
	var model *telemetry.Model
	if l, missing := g.Routes.find(name); missing == nil {
		model = l.count
	}
	denial, recorded := errors.AsType[*guard.Denial](err)
	var index uint64
	if recorded {
		index = denial.Record
	}
	g.watch.Refused(model, protocol, err, index, recorded)
}
