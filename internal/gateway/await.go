package gateway

import (
	"context"
	"time"

	"github.com/pavise/pavise/internal/telemetry"
)

// await lets an answer that the model had a part in, or the refusal in its place, wait until
// a lead before its rung on the route's ladder: when it leaves tells which rung that was. It
// comes before the record is written, for the records of others are numbered, too, and the
// number would tell when it was; and the lead is for the record, which takes longer the more
// it keeps. Behind it x.leave waits for the rung. Whoever waits keeps the answer, in memory that
// is theirs, and their place among the requests under way; the wait ends when the caller leaves.
func (x *Exchange) await(ctx context.Context) {
	if x.route.Ladder.IsZero() || x.whole.IsZero() || x.ended {
		return
	}
	x.seen.Enter(telemetry.Hold)
	x.rest()
	x.until(ctx, x.rung(time.Now()))
}

// until waits until a lead before a rung, and x.leave for the rest. What is late waits for nothing.
func (x *Exchange) until(ctx context.Context, rung time.Time) {
	if !x.trail.Late {
		x.leave.Ready(ctx, rung, x.route.Ladder.Lead())
	}
}

// rung returns when what is ready at a time may leave, by the route's ladder, and notes it
// for the record: at once, on a route without one.
func (x *Exchange) rung(ready time.Time) time.Time {
	ladder := x.route.Ladder
	if ladder.IsZero() {
		return ready
	}
	at, late := ladder.Rung(max(ready.Sub(x.whole), time.Since(x.whole)+ladder.Lead()))
	if x.trail.Late = late; late {
		x.trail.Rung = ""
		x.seen.Late()
		return ready
	}
	x.trail.Rung = at.String()
	return x.whole.Add(at)
}

// rest gives back all but the answer and what is to be written of it.
func (x *Exchange) rest() {
	if x.hold != nil {
		_ = x.hold.Set(min(x.hold.Held(), x.answered+x.partBytes())) // less is never refused
	}
	x.room.Free()
	x.room, x.request = nil, nil
}
