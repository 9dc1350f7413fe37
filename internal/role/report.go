package role

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/pavise/pavise/internal/fleet"
	"github.com/pavise/pavise/internal/installation"
)

// reportEarly is how long after an early report no other is made. The control plane hears one in a
// second; one that was long on its way is not to be followed there too soon.
const reportEarly = 1100 * time.Millisecond

// noteUnheard is the finding of a gateway whose control plane does not hear that a version is bad: it
// goes on being asked.
const noteUnheard = "drift.unheard"

// unheardAfter is how long a control plane may not hear of a bad version before somebody is called.
const unheardAfter = 5 * time.Second

// A reporter tells the control plane how a gateway stands. It belongs to one goroutine.
type reporter struct {
	g      *Gateway
	client *http.Client
	heard  []fleet.Bad // what the control plane heard last of bad versions
	early  time.Time   // when the last early report was made
	// since is of each bad version since when the control plane does not hear of it; zero: somebody
	// was called.
	since  map[fleet.Bad]time.Time
	failed bool // the last report was not heard
}

// report tells the control plane how it stands, every few seconds until ctx is done, and hears who
// is to cosign its log. That a version was found to be bad is told at once.
func (g *Gateway) report(ctx context.Context) {
	r := &reporter{g: g, client: g.member.Client()}
	defer r.client.CloseIdleConnections()
	for ctx.Err() == nil {
		told, err := r.tell(ctx)
		if err != nil && ctx.Err() == nil {
			r.unheard(ctx, told.Bad, err)
		}
		r.await(ctx, told)
	}
}

// tell makes one report, and does what the answer says.
func (r *reporter) tell(ctx context.Context) (told fleet.Report, err error) {
	g := r.g
	told = fleet.Report{
		Role: "gateway", Version: installation.Version(), Bundle: g.client.State(), Stale: g.refuses() != nil, Log: fleet.KeysOf(g.Log), Records: g.Log.Size(),
		Runs: g.runs(), Bad: g.bad(),
	}
	if r.news(told.Bad) {
		r.early = time.Now()
	}
	var answer fleet.Reply
	asked, cancel := context.WithTimeout(ctx, fleet.ReportEvery)
	err = g.member.Post(asked, r.client, "/fleet/report", told, &answer)
	cancel()
	if err != nil {
		r.failed = true
		return told, err
	}
	if r.failed { // and what it says may wait for longer
		r.failed = false
		g.client.Wake()
	}
	r.heard, r.since = told.Bad, nil
	if err := g.member.Believe(answer.Roots); err != nil {
		g.Say("warning", err)
	}
	if answer.Policy != "" {
		if err := g.watchers.Follow(ctx, answer.Policy, answer.Peers); err != nil {
			g.Say("warning", err)
		}
	}
	return told, nil
}

// news reports whether of these versions the control plane has not heard that one is bad.
func (r *reporter) news(bad []fleet.Bad) bool {
	return slices.ContainsFunc(bad, func(b fleet.Bad) bool { return !slices.Contains(r.heard, b) })
}

// unheard calls somebody, once for each, when a version was found to be bad and the control plane
// has not heard of it for a while.
func (r *reporter) unheard(ctx context.Context, bad []fleet.Bad, why error) {
	was := r.since
	r.since = map[fleet.Bad]time.Time{}
	for _, b := range bad {
		since, known := was[b]
		switch {
		case slices.Contains(r.heard, b):
			continue
		case !known:
			since = time.Now()
		case !since.IsZero() && time.Since(since) >= unheardAfter:
			what := fmt.Sprintf("%s is badly answered by %.100s, and the control plane has not heard of it: %v. It is answered so until the control plane is back, or the grace is over", b.Model, b.Version, why)
			if r.g.Finding(ctx, noteUnheard, b.Model, what, map[string]any{"version": b.Version}) == nil {
				since = time.Time{}
			}
		}
		r.since[b] = since
	}
}

// await waits until it is time for another report: at once when a version was found to be bad, but
// for a second after the last such report; and within a second when it stands otherwise than it said.
func (r *reporter) await(ctx context.Context, told fleet.Report) {
	g := r.g
	due := time.NewTimer(fleet.ReportEvery)
	defer due.Stop()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		var early <-chan time.Time
		var found <-chan struct{}
		if wait := reportEarly - time.Since(r.early); wait <= 0 {
			found = g.Monitor.Found()
		} else {
			early = time.After(wait)
		}
		select {
		case <-due.C:
			return
		case <-tick.C:
			if g.client.State().Serial != told.Bundle.Serial || (g.refuses() != nil) != told.Stale || !fleet.SameRuns(g.runs(), told.Runs) || !slices.Equal(g.bad(), told.Bad) {
				return
			}
		case <-found:
		case <-early:
		case <-ctx.Done():
			return
		}
		if time.Since(r.early) >= reportEarly && r.news(g.bad()) {
			return
		}
	}
}
