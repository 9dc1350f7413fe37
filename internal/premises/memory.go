package premises

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

// How much garbage may gather, in percent of what lives. At the runtime's own 100 a
// gateway under load spent a tenth of its time on collecting a few megabytes again and
// again; and ten thousand streams that wait had as much garbage beside them as they took.
// So it is garbageRoom in bytes, whatever lives, between two bounds. A fixed limit of all
// memory would not do: a heap that comes near it is collected without end.
const (
	garbageRoom  = 48 << 20
	mostGarbage  = 400
	leastGarbage = 20
)

// garbage is what the process has been told; there is one collector for all roles in it.
var garbage struct {
	once    sync.Once
	percent int // owned by whoever collects, one after the other
}

// PaceCollector has the collector run less often while little lives, and more often when
// much does. Who has set GOGC in the environment has decided that already.
func PaceCollector() {
	if os.Getenv("GOGC") != "" {
		return
	}
	garbage.once.Do(afterCollection)
}

// afterCollection sets the pace after each collection anew, by what has lived through it,
// stacks included.
func afterCollection() {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}}
	metrics.Read(live)
	if percent := garbagePercent(live[0].Value.Uint64() + live[1].Value.Uint64()); percent != garbage.percent {
		garbage.percent = percent
		debug.SetGCPercent(percent)
	}
	type mark struct{ _ [16]byte }
	runtime.AddCleanup(new(mark), func(struct{}) { afterCollection() }, struct{}{})
}

// garbagePercent is the pace when so many bytes live. It goes in steps: a change stops
// the world for a moment.
func garbagePercent(live uint64) int {
	for _, percent := range []int{mostGarbage, 200, 100, 50, 25} {
		if live <= 100*garbageRoom/uint64(percent) {
			return percent
		}
	}
	return leastGarbage
}
