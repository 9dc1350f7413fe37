package monitor

import (
	"testing"
	"time"
)

// TestBackByAClockAhead: the house took a version back by a clock that was a year ahead. Once it has been
// set right, it takes back another in half an hour, and not in a year.
func TestBackByAClockAhead(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T) {
		skew := 365 * 24 * time.Hour
		w := newWorld(t, func(c *Config) { c.Now = func() time.Time { return time.Now().Round(0).Add(skew) } })
		w.learn()
		w.version, w.model = "v2", worse
		w.windows(5)
		w.version, w.model, skew = "v1", steady, 0
		w.windows(6)
		w.version, w.model = "v3", worse
		w.windows(5)
		if back := w.house.rolled(); len(back) != 1 {
			t.Errorf("%v was rolled back at once: %+v", back, w.stands())
		}
		w.version, w.model = "v1", steady
		w.windows(int(backAgain/w.Monitor.cfg.Window) + 1)
		w.version, w.model = "v4", worse
		w.windows(5)
		if back := w.house.rolled(); len(back) != 2 {
			t.Errorf("%v was rolled back: %+v", back, w.stands())
		}
	})
}
