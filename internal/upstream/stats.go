package upstream

import (
	"slices"
	"time"
)

// Stats are what a cluster is doing, for metrics and for people. Numbers of calls
// only grow.
type Stats struct {
	Active    int               // calls and streams under way
	Retried   uint64            // further tries
	Ejected   uint64            // ejections, with those of endpoints that are there no more
	Faults    map[Reason]uint64 // calls that brought no answer; no zeros
	Endpoints []EndpointStats   // as Set named them; then those that leave and still have calls
}

// EndpointStats are what one endpoint is doing.
type EndpointStats struct {
	URL      string
	Weight   int
	Leaving  bool   // no longer named by Set
	Active   int    // calls and streams under way
	Open     int    // HTTP/1.1 connections; those of HTTP/2 are not counted
	Idle     int    // of them, how many nobody uses
	Pending  int    // calls that wait for one
	Answers  uint64 // calls that it answered, with whatever status but 502, 503 and 504
	Failures uint64 // calls that count against it
	Row      int    // failures in a row, just now
	Ejected  bool   // it gets no calls but one probe at a time, after Until
	Until    time.Time
	Times    uint64 // how often it was ejected
}

// Stats returns a snapshot.
func (c *Cluster) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Stats{Active: int(c.active.Load()), Retried: c.retried.Load(), Ejected: c.ejected.Load(), Faults: map[Reason]uint64{}}
	for r := range reasons {
		if n := c.faults[r].Load(); n > 0 {
			s.Faults[r] = n
		}
	}
	for _, e := range *c.members.Load() {
		s.Endpoints = append(s.Endpoints, e.stats())
	}
	c.leaving = slices.DeleteFunc(c.leaving, func(e *endpoint) bool { return e.active.Load() == 0 })
	for _, e := range c.leaving {
		one := e.stats()
		one.Leaving = true
		s.Endpoints = append(s.Endpoints, one)
	}
	return s
}

// stats is a snapshot of one endpoint. c.mu is held.
func (e *endpoint) stats() EndpointStats {
	e.mu.Lock()
	defer e.mu.Unlock()
	return EndpointStats{
		URL: e.url, Weight: e.weight, Active: int(e.active.Load()),
		Open: e.open, Idle: len(e.idle), Pending: len(e.waiting),
		Answers: e.answers.Load(), Failures: e.failed.Load(),
		Row: e.row, Ejected: e.out, Until: e.until, Times: e.ejections.Load(),
	}
}
