package guard

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/policy"
	"github.com/pavise/pavise/internal/record"
)

// tolerance is how far the clock may step back unnoticed: what a time daemon
// corrects by slewing.
const tolerance = 2 * time.Second

// noteClock is the kind of the note that AcceptClock leaves.
const noteClock = "guard.clock"

// A clock remembers the newest wall time seen, so that a clock set back cannot
// reorder the evidence. It compares wall times only: a monotonic reading would
// hide exactly the step it looks for.
type clock struct {
	now    func() time.Time
	newest atomic.Int64 // Unix nanoseconds
}

// read returns the time now, the time that a record made now carries, and how
// far the clock is behind the newest time seen. While it is behind, records
// carry that newest time.
func (c *clock) read() (now, at time.Time, behind time.Duration) {
	// The newest is loaded before the clock is read: a goroutine that had to
	// wait in between must not take the others' later readings for a step back.
	newest := c.newest.Load()
	now = c.now()
	ns := now.UnixNano()
	if ns < newest {
		return now, time.Unix(0, newest).UTC(), time.Duration(newest - ns)
	}
	for newest < ns && !c.newest.CompareAndSwap(newest, ns) {
		newest = c.newest.Load()
	}
	return now, time.Unix(0, ns).UTC(), 0
}

// stamp returns the time that a record made now carries.
func (c *clock) stamp() time.Time {
	_, at, _ := c.read()
	return at
}

// since returns how long ago the clock was read, 0 at least. Where the reading has a
// monotonic one, as all of time.Now have, that clock alone is looked at: profiled, to
// read both took more than twice as long.
func (c *clock) since(read time.Time) time.Duration {
	if read != read.Round(0) {
		return max(time.Since(read), 0)
	}
	return max(c.now().Sub(read), 0)
}

// steppedBack is the refusal of every verb that is not in the safe direction.
func steppedBack(behind time.Duration) error {
	return &pavise.Error{
		Kind: pavise.Unavailable,
		Msg:  fmt.Sprintf("clock stepped back by %v", behind.Round(time.Millisecond)),
		Hint: "correct the clock, or accept the time it shows now with the verb " + policy.VerbClock + "; a gateway, which has no verbs, is started anew with --accept-clock",
	}
}

// Backward is why no verb but those in the safe direction is let in: the clock was set back. It
// is nil while the clock is not behind the newest time seen, or by no more than is let pass.
func (g *Guard) Backward() error {
	if _, _, behind := g.clock.read(); behind > tolerance {
		return steppedBack(behind)
	}
	return nil
}

// AcceptClock makes the time the clock shows now the newest one, after it was
// set back for good reason: it records the step as a note guard.clock in who's
// name. A clock that is not behind needs no accepting, and no note. The caller has entered clock.accept, which is in the safe direction and
// so passes while the clock is behind.
func (g *Guard) AcceptClock(ctx context.Context, who pavise.Principal) error {
	now, was, behind := g.clock.read()
	if behind <= 0 {
		return nil
	}
	now = now.Round(0).UTC()
	detail, err := json.Marshal(struct {
		Was    time.Time     `json:"was"`
		Now    time.Time     `json:"now"`
		Behind time.Duration `json:"behind_ns"`
	}{was, now, behind})
	if err != nil {
		return fmt.Errorf("encode clock note: %w", err)
	}
	_, err = g.append(ctx, &record.Record{
		Kind: noteClock, Phase: record.Note, Tenant: g.tenant, At: now,
		Who: &who, Safe: true, Detail: detail,
	}, ledger.Durable)
	if err != nil {
		return err
	}
	if f := g.rewound.Load(); g.clock.newest.CompareAndSwap(was.UnixNano(), now.UnixNano()) && f != nil {
		(*f)(behind)
	}
	return nil
}

// Rewound has a function called with how far the clock was set back each time that this is
// accepted: whoever keeps times that are yet to come has them that much earlier.
func (g *Guard) Rewound(f func(behind time.Duration)) { g.rewound.Store(&f) }
