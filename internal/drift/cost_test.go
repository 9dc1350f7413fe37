package drift

import (
	"syscall"
	"testing"
	"time"
)

// perCell reports what a benchmark took of a processor, whatever else runs on it.
func perCell(b *testing.B, cells int, do func()) {
	processor := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	b.ReportAllocs()
	began := processor()
	for b.Loop() {
		do()
	}
	b.ReportMetric(float64(processor()-began)/float64(b.N*cells), "cpu-ns/cell")
}
