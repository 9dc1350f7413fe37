package telemetry

import (
	"math"
	"runtime"
	"runtime/metrics"
)

// runtimeReadings are what the Go runtime tells of itself, by the names of
// OpenTelemetry's conventions for it.
var runtimeReadings = [...]struct {
	metric *Metric
	sample string // as package runtime/metrics has it; empty: runtime.GOMAXPROCS
}{
	{metric("go.goroutine.count", UpDown, "{goroutine}", "Goroutines"), "/sched/goroutines:goroutines"},
	{metric("go.processor.limit", UpDown, "{thread}", "Threads that run Go at once"), ""},
	{metric("go.memory.used", UpDown, "By", "Memory that the runtime holds"), "/memory/classes/total:bytes"},
	{metric("go.memory.limit", UpDown, "By", "What it is to stay below, if there is a limit"), "/gc/gomemlimit:bytes"},
	{metric("go.memory.gc.goal", UpDown, "By", "The heap at which it collects next"), "/gc/heap/goal:bytes"},
	{metric("go.memory.allocated", Counter, "By", "Bytes given out on the heap"), "/gc/heap/allocs:bytes"},
	{metric("go.memory.allocations", Counter, "{allocation}", "Pieces given out on the heap"), "/gc/heap/allocs:objects"},
	{metric("pavise.gc.cpu", Counter, "s", "Processor time spent collecting"), "/cpu/classes/gc/total:cpu-seconds"},
}

// readRuntime asks the runtime.
func readRuntime() (all []Family) {
	samples := make([]metrics.Sample, len(runtimeReadings))
	for i, r := range runtimeReadings {
		samples[i].Name = r.sample
	}
	metrics.Read(samples)
	for i, r := range runtimeReadings {
		value, ok := sampleOf(samples[i].Value)
		if r.sample == "" {
			value, ok = float64(runtime.GOMAXPROCS(0)), true
		}
		if ok {
			all = append(all, Family{r.metric, []Series{{Value: value}}})
		}
	}
	return all
}

// sampleOf returns a sample as a number. No memory limit is told as none, not as the
// largest number that there is.
func sampleOf(v metrics.Value) (float64, bool) {
	switch v.Kind() {
	case metrics.KindUint64:
		return float64(v.Uint64()), v.Uint64() < math.MaxInt64
	case metrics.KindFloat64:
		return v.Float64(), true
	}
	return 0, false
}
