package role

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// When much memory lives, the collector lets less of it pile up: leanPercent of what lives
// and not as much again. With little, collecting twice as often would cost time and save
// nothing.
const (
	leanFrom    = 64 << 20 // bytes that live, stacks included
	leanPercent = 25
	leanEvery   = time.Second
)

// alive is what the collector goes by: the heap that it found alive, and stacks.
var alive = []string{"/gc/heap/live:bytes", "/gc/scan/stack:bytes"}

// keepLean has the collector run as the comment above says, until ctx is done. An operator
// who sets GOGC knows better.
func keepLean(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	usual, lean := debug.SetGCPercent(100), false // as it is without GOGC
	defer debug.SetGCPercent(usual)
	samples := make([]metrics.Sample, len(alive))
	for i := range samples {
		samples[i].Name = alive[i]
	}
	tick := time.NewTicker(leanEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		metrics.Read(samples)
		bytes := uint64(0)
		for _, s := range samples {
			bytes += s.Value.Uint64()
		}
		if much := bytes > leanFrom; much != lean {
			lean = much
			debug.SetGCPercent(map[bool]int{true: leanPercent, false: usual}[lean])
		}
	}
}
