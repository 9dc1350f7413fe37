package premises

import (
	"context"
	"os"
	"runtime"
	"runtime/metrics"
	"syscall"
	"time"
)

// Where there is one core: how often it is looked at how it goes, and what has a second thread
// run goroutines, or no more.
const (
	lookEvery = 100 * time.Millisecond
	late      = time.Millisecond // that a goroutine waits which could run
	// From these on there are two: shares of the core that were used, and of goroutines that
	// were late. On a core that others use, too, the first says little.
	busy, waiting = 0.5, 0.01
	// Below these there is one.
	calm, prompt = 0.35, 0.001
)

// StandIn has a second thread run goroutines where there is one core, while that is busy,
// until ctx is done. A sync of the evidence log takes a disk milliseconds, some thirty times
// a second, and the runtime takes a thread's leave to run goroutines from a call that waits
// only when its watchdog comes by, which under steady load is every 10 ms: so the whole
// gateway stood still for as long as its disk took, 1.7 ms in the median of a busy one. With
// a second leave it answered a third more requests there, and the slowest hundredth in half
// the time, for as much processor time each.
//
// While little comes in the watchdog is quick, and a second leave costs: whenever a goroutine
// becomes ready the runtime wakes a thread for it, which finds that the first one has it.
// Who has set GOMAXPROCS in the environment has decided otherwise.
func StandIn(ctx context.Context) {
	if os.Getenv("GOMAXPROCS") != "" || runtime.GOMAXPROCS(0) != 1 {
		return
	}
	defer runtime.GOMAXPROCS(1)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	have, was := 1, observe()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			is := observe()
			if want := leaves(have, is.since(was)); want != have { // it stops the world for a moment
				runtime.GOMAXPROCS(want)
				have = want
			}
			was = is
		}
	}
}

// A course is how things went: up to a time, or between two.
type course struct {
	at         time.Duration // of the clock
	used       time.Duration // of processors
	late, runs uint64        // goroutines that came to run, and how many of them were late
}

// since is how they went since an earlier time.
func (c course) since(was course) course {
	return course{c.at - was.at, c.used - was.used, c.late - was.late, c.runs - was.runs}
}

// began is when the clock of courses begins.
var began = time.Now()

// observe returns how they went so far.
func observe() course {
	c := course{at: time.Since(began), used: used()}
	waits := []metrics.Sample{{Name: "/sched/latencies:seconds"}}
	if metrics.Read(waits); waits[0].Value.Kind() != metrics.KindFloat64Histogram {
		return c
	}
	h := waits[0].Value.Float64Histogram()
	for i, n := range h.Counts {
		if c.runs += n; h.Buckets[i] >= late.Seconds() {
			c.late += n
		}
	}
	return c
}

// used is how much of processors the process has used so far; 0 where nobody tells.
func used() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// leaves is how many threads are to run goroutines on one core, where have did, by how it went.
func leaves(have int, c course) int {
	share, behind := float64(c.used)/float64(max(c.at, 1)), float64(c.late)/float64(max(c.runs, 1))
	switch {
	case share >= busy || behind >= waiting:
		return 2
	case share <= calm && behind <= prompt:
		return 1
	}
	return have
}
