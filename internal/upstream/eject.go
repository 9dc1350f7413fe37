package upstream

import "time"

// health is what an endpoint's calls say of it. Cluster.mu guards it.
type health struct {
	out     bool // ejected, until it passed a probe
	probing bool // one call is trying it
	until   time.Time
	times   int       // ejections, less one for each Longest without any
	lately  time.Time // when the last ejection ended
	row     int       // failures in a row
	// the window: when it began, the failures in it, and answers before it
	since    time.Time
	failures int
	before   uint64
}

// mayProbe reports whether an ejected endpoint should be tried again. c.mu is held.
func (c *Cluster) mayProbe(e *endpoint) bool {
	return !e.probing && !c.clock(time.Time{}).Before(e.until)
}

// well records an answer. Whether it was a good one is for others to say: the server
// is there and speaks. Most calls come here, so the lock is not taken for those
// that change nothing but a count.
func (c *Cluster) well(e *endpoint, probe bool) {
	e.answers.Add(1)
	if !probe && !e.ailing.Load() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e.row = 0
	e.ailing.Store(false)
	if probe {
		e.readmit()
	}
}

// unwell records a failure, and ejects the endpoint when it was one too many.
func (c *Cluster) unwell(e *endpoint, probe bool) {
	e.failed.Add(1)
	if c.o.Ejection.Off {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock(time.Time{})
	e.ailing.Store(true)
	e.row++
	if now.Sub(e.since) > c.o.Ejection.Window {
		e.since, e.failures, e.before = now, 0, e.answers.Load()
	}
	e.failures++
	calls := e.failures + int(e.answers.Load()-e.before)
	switch {
	case probe:
		e.probing = false
		c.eject(e, now)
	case e.out:
	case e.row >= c.o.Ejection.Consecutive,
		calls >= c.o.Ejection.Volume && 100*e.failures >= c.o.Ejection.Rate*calls:
		if c.mayBeOut(1) {
			c.eject(e, now)
		}
	}
}

// unknown records a call that says nothing of the endpoint: the caller went away, or
// it was never asked.
func (c *Cluster) unknown(e *endpoint, probe bool) {
	if probe {
		c.mu.Lock()
		e.probing = false
		c.mu.Unlock()
	}
}

// mayBeOut reports whether so many more endpoints may be out as well. c.mu is held.
func (c *Cluster) mayBeOut(more int) bool {
	serving, out := 0, more
	for _, e := range *c.members.Load() {
		if e.weight > 0 {
			serving++
			if e.out {
				out++
			}
		}
	}
	return 100*out <= c.o.Ejection.MaxShare*serving
}

// readmit ends an ejection. c.mu is held.
func (h *health) readmit() {
	h.out, h.probing, h.row, h.failures = false, false, 0, 0
}

// eject keeps calls away: twice as long each time. What was long ago is forgiven.
// c.mu is held.
func (c *Cluster) eject(e *endpoint, now time.Time) {
	for ; e.times > 0 && now.Sub(e.lately) > c.o.Ejection.Longest; e.times-- {
		e.lately = e.lately.Add(c.o.Ejection.Longest)
	}
	wait := c.o.Ejection.Base << min(e.times, 20)
	if wait <= 0 || wait > c.o.Ejection.Longest {
		wait = c.o.Ejection.Longest
	}
	e.times++
	e.out, e.until, e.lately, e.row = true, now.Add(wait), now.Add(wait), 0
	e.ejections.Add(1)
	c.ejected.Add(1)
}
