package tier

import "time"

// An instant is a time of the book's own, in nanoseconds since it was first opened.
type instant int64

// maxDown is the longest time without running that is believed: a clock that says more
// was wrong before or is wrong now.
const maxDown = 366 * 24 * time.Hour

// A clock counts time as it passes, and not as the wall clock says: one that is set
// forward frees nobody, and one that is set back keeps nobody longer. It goes on across a
// restart from what was kept of it. Two times are made of it: how long the book ran, by
// which the detector's standings end, for what nobody watched says nothing; and that with
// the time in which nothing ran, by which the words of people end.
type clock struct {
	began  time.Time     // of the process, with its monotonic part
	before time.Duration // that the book had run when this process began
	down   time.Duration // that nothing ran, all together
}

// ran is how long the book has run.
func (c *clock) ran() instant { return instant(c.before + time.Since(c.began)) }

// passed is the clock of people when the book has run for so long.
func (c *clock) passed(ran instant) instant { return ran + instant(c.down) }

// A kept clock is what is kept of a clock across a restart.
type keptClock struct {
	Ran  time.Duration
	Down time.Duration
	At   time.Time // on the wall
}

// resume starts a clock from what was kept of it; now is on the wall.
func resume(k keptClock, now time.Time) clock {
	c := clock{began: time.Now(), before: max(k.Ran, 1), down: max(k.Down, 0)}
	if away := now.Sub(k.At); !k.At.IsZero() && away > 0 && away <= maxDown {
		c.down += away
	}
	return c
}
