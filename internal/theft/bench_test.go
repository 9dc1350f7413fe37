package theft

import (
	"fmt"
	"syscall"
	"testing"
)

// processor is the time, in nanoseconds, that processors have worked for this process: what
// else the machine does is not in it.
func processor(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// BenchmarkSee is what a row of 64 inputs costs, of a client who has asked before.
func BenchmarkSee(b *testing.B) {
	for _, width := range []int{16, 64, 784} {
		b.Run(fmt.Sprint(width), func(b *testing.B) {
			rng := clientRand(1, 1)
			row := func() *Asked {
				a := &Asked{Input: make([]float64, width), Class: -1}
				for j := range a.Input {
					a.Input[j] = rng.NormFloat64()
				}
				p := 1 / (1 + a.Input[0]*a.Input[0])
				a.Scores = []float64{p / 2, 1 - p, p / 2}
				return a
			}
			c, err := Calibrate(recorded(func(yield func(*Asked, error) bool) {
				for i := range 24 {
					for range 60 {
						a := row()
						if a.Client = fmt.Sprint(i); !yield(a, nil) {
							return
						}
					}
				}
			}), 0.05, 1)
			if err != nil {
				b.Fatal(err)
			}
			rows := make([]*Asked, 1024)
			for i := range rows {
				rows[i] = row()
			}
			e, n := NewExtraction(c), 0.0
			b.ReportAllocs()
			before := processor(b)
			for b.Loop() {
				a := rows[int(n)%len(rows)]
				a.Input[0] = n // not a row that it has asked
				n++
				e.See(a)
			}
			b.ReportMetric(float64(processor(b)-before)/n, "cpu-ns/op")
		})
	}
}
