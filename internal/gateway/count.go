package gateway

import (
	"errors"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/telemetry"
	"github.com/pavise/pavise/internal/upstream"
)

// count tells whoever watches how an exchange ended. Its record is written.
func (x *Exchange) count(err error) {
	if x.gateway.watch == nil {
		return
	}
	if x.route != nil {
		x.seen.Model(x.route.Counter)
	}
	x.seen.Rows(x.trail.Rows, x.trail.Charged)
	x.seen.Bytes(x.read, x.answered)
	index, written := x.entry.Record()
	x.seen.End(err, x.entry.Verdicts(), index, written)
}

// countRefusal does so for a call that the guard did not let in.
func (g *Gateway) countRefusal(name pavise.Name, protocol string, err error) {
	if g.watch == nil {
		return
	}
	var model *telemetry.Model
	if l, missing := g.Routes.Find(name); missing == nil {
		model = l.Counter
	}
	denial, recorded := errors.AsType[*guard.Denial](err)
	var index uint64
	if recorded {
		index = denial.Record
	}
	g.watch.Refused(model, protocol, err, index, recorded)
}

// tellRoutes has the readings of the routes, and of the servers behind them, told.
func (g *Gateway) tellRoutes() {
	g.watch.Ask(telemetry.Accounts, func() float64 { return float64(g.meter.Accounts()) })
	g.watch.Ask(telemetry.RoutesHeld, func() float64 { return float64(g.Routes.Len()) })
	g.watch.Ask(telemetry.Overlooked, func() float64 { return float64(g.suspects.Overlooked()) })
	g.watch.Ask(telemetry.ServerEjections, func() float64 { return float64(g.servers.Totals().Ejections) })
	g.watch.Ask(telemetry.ServerRetries, func() float64 { return float64(g.servers.Totals().Retries) })
	g.watch.AskVersions(g.Routes.EachVersion)
	for reading, of := range map[telemetry.Reading]func(upstream.EndpointStats) float64{
		telemetry.Servers:       func(upstream.EndpointStats) float64 { return 1 },
		telemetry.ServersActive: func(e upstream.EndpointStats) float64 { return float64(e.Active) },
		telemetry.ServersQueue:  func(e upstream.EndpointStats) float64 { return float64(e.Pending) },
		telemetry.ServersOpen:   func(e upstream.EndpointStats) float64 { return float64(e.Open) },
		telemetry.ServersIdle:   func(e upstream.EndpointStats) float64 { return float64(e.Idle) },
		telemetry.ServersEjected: func(e upstream.EndpointStats) float64 {
			if e.Ejected {
				return 1
			}
			return 0
		},
	} {
		g.watch.Ask(reading, func() (sum float64) {
			for _, e := range g.Routes.Servers() {
				sum += of(e)
			}
			return sum
		})
	}
}
