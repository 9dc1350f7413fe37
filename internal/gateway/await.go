package gateway

import (
	"context"
	"time"

	"github.com/pavise/pavise/internal/telemetry"
)

// await lets an answer that the model had a part in, or the refusal in its place, wait for
// its rung on the route's ladder: when it leaves tells which rung that was. It comes before
// the record is written, for the records of others are numbered, too, and the number would
// tell when it was. Whoever waits keeps the answer, in memory that is theirs, and their
// place among the requests under way; the wait ends when the caller leaves.
func (x *Exchange) await(ctx context.Context) {
	if x.route.Ladder.IsZero() || x.whole.IsZero() || x.ended {
		return
	}
	x.seen.Enter(telemetry.Hold)
	x.rest()
	wait(ctx, x.rung(0))
}

// rung returns when what is ready in some time may leave, by the route's ladder, and notes
// it for the record.
func (x *Exchange) rung(in time.Duration) time.Time {
	at, late := x.route.Ladder.Rung(time.Since(x.whole) + in)
	if x.trail.Late = late; late {
		x.trail.Rung = ""
		x.seen.Late()
	} else {
		x.trail.Rung = at.String()
	}
	return x.whole.Add(at)
}

// rungIn is the rung of what is ready in some time, on a route that has a ladder, and that
// time on others.
func (x *Exchange) rungIn(d time.Duration) time.Time {
	if x.route.Ladder.IsZero() {
		return time.Now().Add(d)
	}
	return x.rung(d)
}

// rest gives back all but the answer and what is to be written of it.
func (x *Exchange) rest() {
	if x.hold != nil {
		_ = x.hold.Set(min(x.hold.Held(), x.answered+x.partBytes())) // less is never refused
	}
	x.room.Free()
	x.room, x.request = nil, nil
}

// wait returns at a time, or when the caller leaves.
func wait(ctx context.Context, until time.Time) {
	left := time.Until(until)
	if left <= 0 {
		return
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
