package ontime

import (
	"context"
	"time"
)

// Early is how long before its end a wait is handed to a fine timer, of which each takes a
// file: more than the coarse ones are late.
const Early = 2 * time.Millisecond

// Wait returns at a time, or when the context ends; within Early of the time it no longer
// looks at that.
func Wait(ctx context.Context, until time.Time) {
	if left := time.Until(until) - Early; left > 0 {
		timer := time.NewTimer(left)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
	}
	Last(until)
}

// Next returns a time if it is to come, and otherwise the first of those that lie whole steps
// behind it.
func Next(at time.Time, step time.Duration) time.Time {
	if gone := time.Since(at); gone > 0 && step > 0 {
		at = at.Add((gone + step - 1) / step * step)
	}
	return at
}

// A Leave is when something leaves that is made ready in a lead before it. The zero Leave
// waits for nothing.
type Leave struct {
	at   time.Time
	lead time.Duration
}

// Ready waits until the lead before a time, or until the context ends: then there is nobody
// to wait for any more.
func (l *Leave) Ready(ctx context.Context, at time.Time, lead time.Duration) {
	if Wait(ctx, at.Add(-lead)); ctx.Err() == nil {
		*l = Leave{at, lead}
	}
}

// Wait waits, once, for the time that Ready was told. What was not ready by then leaves a
// whole number of leads behind it, so that how late it was shows no finer.
func (l *Leave) Wait() {
	if !l.at.IsZero() {
		Last(Next(l.at, l.lead))
		l.at = time.Time{}
	}
}

// Last returns at a time that is hardly further away than Early.
func Last(until time.Time) {
	if left := time.Until(until); left > 0 {
		fine(left)
	}
	time.Sleep(time.Until(until)) // nothing is left, but where there is no fine timer, or time is a test's
}
