package result

import (
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// A Cost is what one operation took, on average over many.
type Cost struct {
	CPU    float64 // nanoseconds of processor, the garbage collector's with it
	Bytes  float64 // allocated
	Allocs float64
}

// Measure runs batches until the window has passed, one at least, and returns what one
// of their operations cost. A batch says how many it did. With GOMAXPROCS at 1 the
// processor time is that of whoever is measured, whatever else the machine does.
func Measure(window time.Duration, batch func() (operations int, err error)) (Cost, error) {
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began, cpu, n := time.Now(), cpuTime(), 0
	for {
		did, err := batch()
		if err != nil {
			return Cost{}, err
		}
		if n += did; time.Since(began) >= window {
			break
		}
	}
	took := cpuTime() - cpu
	runtime.ReadMemStats(&after)
	return Cost{
		CPU:    float64(took) / float64(n),
		Bytes:  float64(after.TotalAlloc-before.TotalAlloc) / float64(n),
		Allocs: float64(after.Mallocs-before.Mallocs) / float64(n),
	}, nil
}

// cpuTime is the processor time that this process has used.
func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Summary returns the medians of what was measured in several rounds, and the least
// processor time. There must be a round.
func Summary(rounds []Cost) (median Cost, least float64) {
	of := func(part func(Cost) float64) (values []float64) {
		for _, c := range rounds {
			values = append(values, part(c))
		}
		return values
	}
	cpu := of(func(c Cost) float64 { return c.CPU })
	return Cost{
		CPU: Median(cpu), Bytes: Median(of(func(c Cost) float64 { return c.Bytes })), Allocs: Median(of(func(c Cost) float64 { return c.Allocs })),
	}, slices.Min(cpu)
}
