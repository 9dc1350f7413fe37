package premises

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// restEvery is how often it is looked whether there is little to do.
	restEvery = 200 * time.Millisecond
	// atRest is the share of a processor that is used below which there is.
	atRest = 0.1
	// tidyEvery is how far apart two collections are at least that nobody needed: each looks
	// through all that lives twice, 300 ms of a processor's time for ten thousand streams.
	tidyEvery = 10 * time.Second
	// worthwhile is how many bytes it has to be worth.
	worthwhile = 8 << 20
)

// Tidy gives the memory back that a crowd leaves behind, as soon as there is little to do,
// until ctx is done. The runtime keeps what was freed for the next ones who ask for it, a
// tenth more than it means to need, and collects nothing while nobody asks for anything: a
// gateway on which ten thousand streams wait held the garbage of their beginnings until they
// ended. Who has set GOGC in the environment has decided about that already.
func Tidy(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	tick := time.NewTicker(restEvery)
	defer tick.Stop()
	var last time.Time
	was := used()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			is := used()
			if resting(is-was, restEvery) && now.Sub(last) >= tidyEvery && idleBytes() >= worthwhile {
				runtime.GC() // pools keep what nobody asked for until the second collection
				debug.FreeOSMemory()
				last, is = now, used()
			}
			was = is
		}
	}
}

// resting reports whether a process that used so much of processors in that time has little
// to do.
func resting(used, in time.Duration) bool { return float64(used) < atRest*float64(in) }

// idleBytes is how many bytes the heap holds that are free, or became garbage since the last
// collection; what has come to live since then counts with them until the next one.
func idleBytes() uint64 {
	held := []metrics.Sample{{Name: "/memory/classes/heap/free:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(held)
	free, objects, live := held[0].Value.Uint64(), held[1].Value.Uint64(), held[2].Value.Uint64()
	return free + max(objects, live) - live
}
