package role

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

const (
	// mostGarbage is how much garbage may gather in a small heap, in percent of what
	// lives. At the runtime's own 100 a gateway under load spent a tenth of its time on
	// collecting a few megabytes again and again.
	mostGarbage = 400
	// garbageRoom is what that may come to, in bytes: a heap of more than that is
	// collected at the runtime's own pace, so that none that is large gets larger by it.
	// A fixed limit would not do: a heap that comes near it is collected without end.
	garbageRoom = 64 << 20
)

// garbage is what the process has been told; there is one collector for all roles in it.
var garbage struct {
	once    sync.Once
	percent int // owned by whoever collects, one after the other
}

// collectLess has the collector run less often while the heap is small. Who has set GOGC
// in the environment has decided that already.
func collectLess() {
	if _, said := os.LookupEnv("GOGC"); said {
		return
	}
	garbage.once.Do(afterCollection)
}

// afterCollection sets the pace after each collection anew, by what has lived through it.
func afterCollection() {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	if percent := garbagePercent(live[0].Value.Uint64()); percent != garbage.percent {
		garbage.percent = percent
		debug.SetGCPercent(percent)
	}
	type mark struct{ _ [16]byte }
	runtime.AddCleanup(new(mark), func(struct{}) { afterCollection() }, struct{}{})
}

// garbagePercent is the pace for a heap in which so many bytes live. It goes in steps: a
// change stops the world for a moment.
func garbagePercent(live uint64) int {
	percent := mostGarbage
	for percent > 100 && live*uint64(percent) > 100*garbageRoom {
		percent -= 50
	}
	return percent
}
