package ontime

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestWaitEndsOnTime holds waits to their end, to the nanosecond of a test's time.
func TestWaitEndsOnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, d := range []time.Duration{-time.Second, 0, time.Nanosecond, Early, Early + time.Nanosecond, 40*time.Millisecond + 7} {
			from := time.Now()
			Wait(t.Context(), from.Add(d))
			if took := time.Since(from); took != max(d, 0) {
				t.Errorf("a wait of %v took %v", d, took)
			}
		}
	})
}

// TestWhoLeavesWaitsNoLonger ends a wait with its context.
func TestWhoLeavesWaitsNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, leave := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer leave()
		from := time.Now()
		Wait(ctx, from.Add(time.Hour))
		if took := time.Since(from); took != 300*time.Millisecond {
			t.Errorf("who left after 300 ms is waited for until %v", took)
		}
	})
}

// TestManyWait has more waits at once than there are processors end no sooner than they may.
func TestManyWait(t *testing.T) {
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			until := time.Now().Add(time.Duration(i%50) * 100 * time.Microsecond)
			Wait(t.Context(), until)
			if early := time.Until(until); early > 0 {
				t.Errorf("a wait ended %v too early", early)
			}
		})
	}
	all.Wait()
}

// BenchmarkPhase waits for 20 ms from a time, and falls idle so long after it; told
// is by how much most waits are late, by the runtime's timer and by this package's. By the first it
// follows from when the wait began.
func BenchmarkPhase(b *testing.B) {
	waits := []struct {
		name string
		wait func(time.Time)
	}{
		{"runtime", func(until time.Time) { <-time.NewTimer(time.Until(until)).C }},
		{"ontime", func(until time.Time) { Wait(context.Background(), until) }},
	}
	for _, w := range waits {
		for _, after := range []time.Duration{100, 300, 500, 700, 900} {
			b.Run(fmt.Sprintf("%s/%dµs", w.name, after), func(b *testing.B) {
				var late []time.Duration
				for range b.N {
					from := time.Now()
					for time.Since(from) < after*time.Microsecond {
					}
					until := from.Add(20 * time.Millisecond)
					w.wait(until)
					late = append(late, time.Since(until))
				}
				slices.Sort(late)
				b.ReportMetric(float64(late[len(late)/2].Microseconds()), "µs-late")
			})
		}
	}
}
