package premises

import (
	"context"
	"runtime"
	"testing"
	"time"
)

// TestStandIn: one core gets a second thread while it is busy, and no longer. What somebody
// has decided stays.
func TestStandIn(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(before)
	for _, c := range []struct {
		said string
		has  int
	}{{"1", 1}, {"", 2}, {"", 3}} {
		t.Setenv("GOMAXPROCS", c.said)
		runtime.GOMAXPROCS(c.has)
		if StandIn(t.Context()); runtime.GOMAXPROCS(0) != c.has {
			t.Errorf("GOMAXPROCS=%q with %d became %d", c.said, c.has, runtime.GOMAXPROCS(0))
		}
	}
	t.Setenv("GOMAXPROCS", "")
	runtime.GOMAXPROCS(1)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { StandIn(ctx); close(ended) }()
	for end := time.Now().Add(20 * time.Second); runtime.GOMAXPROCS(0) != 2; { // busy all the while
		if time.Now().After(end) {
			t.Fatal("a busy core has no second thread")
		}
	}
	for end := time.Now().Add(20 * time.Second); runtime.GOMAXPROCS(0) != 1; time.Sleep(lookEvery) {
		if time.Now().After(end) {
			t.Fatal("a core with nothing to do keeps its second thread")
		}
	}
	stop()
	<-ended
}

func TestLeaves(t *testing.T) {
	of := func(percent int, late uint64) course {
		return course{at: time.Second, used: time.Duration(percent) * time.Second / 100, late: late, runs: 10_000}
	}
	for _, c := range []struct {
		have int
		how  course
		want int
	}{
		{1, of(0, 0), 1}, {2, of(0, 0), 1}, {2, of(35, 10), 1}, {1, of(40, 0), 1}, {2, of(40, 0), 2}, {1, of(50, 0), 2}, {2, of(190, 0), 2},
		{1, of(10, 100), 2}, {1, of(10, 99), 1}, {2, of(10, 11), 2}, {1, course{}, 1}, {2, course{}, 1},
	} {
		if got := leaves(c.have, c.how); got != c.want {
			t.Errorf("%d threads and %+v: %d, want %d", c.have, c.how, got, c.want)
		}
	}
}
