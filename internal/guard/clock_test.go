package guard

import (
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
)

func TestClock(t *testing.T) {
	now := epoch
	edit := func(c *Config) { c.Now = func() time.Time { return now } }
	g, log := newGuard(t, edit)
	enter := func(who pavise.Principal, verb string) error {
		e, err := g.Enter(t.Context(), who, verb, route)
		if err == nil {
			e.Exit(&err)
		}
		return err
	}
	if err := enter(operator, "route.put"); err != nil {
		t.Fatal(err)
	}
	now = epoch.Add(-tolerance)
	if err := enter(operator, "route.put"); err != nil {
		t.Errorf("two seconds back: %v", err)
	}
	now = epoch.Add(-time.Hour)
	if err := enter(operator, "route.put"); pavise.KindOf(err) != pavise.Unavailable || !strings.Contains(err.Error(), "stepped back by 1h0m0s") {
		t.Errorf("an hour back: %v", err)
	}
	if err := enter(operator, "route.rollback"); err != nil {
		t.Errorf("safe verb an hour back: %v", err)
	}
	if at := log.last(t).At; at.Before(epoch) {
		t.Errorf("record goes back to %v", at)
	}
	now = epoch.Add(time.Second)
	if err := enter(operator, "route.put"); err != nil {
		t.Errorf("clock caught up: %v", err)
	}

	if err := g.AcceptClock(t.Context(), operator); err != nil {
		t.Fatal(err)
	}
}

// TestClockOutlivesTheProcess: a restart forgets neither the newest time nor
// that an earlier one was accepted.
func TestClockOutlivesTheProcess(t *testing.T) {
	now := epoch
	var log *fakeLog
	start := func() *Guard {
		g, err := New(Config{Actions: testActions(), Log: log, Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Load("local", Defaults()); err != nil {
			t.Fatal(err)
		}
		return g
	}
	log = &fakeLog{}
	e, err := start().Enter(t.Context(), caller, "model.infer", model)
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Hour)
	e.Exit(&err) // an act of an hour: its record says when it began and how long it took

	now = now.Add(-time.Minute)
	g := start()
	if _, err := g.Enter(t.Context(), operator, "route.put", route); pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("a minute back after a restart: %v", err)
	}
	if err := g.AcceptClock(t.Context(), operator); err != nil {
		t.Fatal(err)
	}
	if r := log.last(t); r.Kind != "guard.clock" || !r.At.Equal(now) || r.Who == nil || !strings.Contains(string(r.Detail), `"behind_ns":60000000000`) {
		t.Errorf("recorded as %+v", r)
	}
	for _, g := range []*Guard{g, start()} {
		if _, err := g.Enter(t.Context(), operator, "route.put", route); err != nil {
			t.Errorf("accepted clock: %v", err)
		}
	}
}

// TestClockSeesThroughMonotonicReadings: times that carry a monotonic reading
// compare by it, and a wall clock set back would go unnoticed.
func TestClockSeesThroughMonotonicReadings(t *testing.T) {
	base := time.Now()
	wall := base
	g, _ := newGuard(t, func(c *Config) { c.Now = func() time.Time { return wall } })
	if _, err := g.Enter(t.Context(), operator, "route.put", route); err != nil {
		t.Fatal(err)
	}
	wall = time.Now().Add(-time.Minute)
	if _, err := g.Enter(t.Context(), operator, "route.put", route); pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("error %v, want unavailable", err)
	}
}

func TestSoundClockNeedsNoAccepting(t *testing.T) {
	g, log := newGuard(t, nil)
	if err := g.AcceptClock(t.Context(), operator); err != nil || log.Size() != 0 {
		t.Errorf("%d records, %v", log.Size(), err)
	}
}

// TestSince measures by the monotonic reading where there is one, and else by the clock
// that the guard was given; never backwards.
func TestSince(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	c := clock{now: func() time.Time { return now }}
	if got := c.since(now.Add(-time.Minute)); got != time.Minute {
		t.Errorf("a minute ago is %v ago", got)
	}
	if got := c.since(now.Add(time.Minute)); got != 0 {
		t.Errorf("in a minute is %v ago", got)
	}
	if got := c.since(time.Now().Add(-time.Hour)); got < time.Hour || got > 2*time.Hour {
		t.Errorf("an hour ago, by the monotonic clock, is %v ago", got)
	}
}
