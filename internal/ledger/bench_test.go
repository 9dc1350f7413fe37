package ledger

import (
	"context"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
)

// BenchmarkAppend measures durable appends of a 1 KB record from 256 producers.
func BenchmarkAppend(b *testing.B) {
	l, err := Open(Options{Dir: b.TempDir(), Origin: testOrigin, Key: testKey})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	b.SetBytes(1024)
	b.SetParallelism(256 / runtime.GOMAXPROCS(0))
	var n atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		r := testRecord(int(n.Add(1)))
		r.Detail = []byte(`"` + strings.Repeat("x", 880) + `"`)
		for pb.Next() {
			if _, err := l.Append(context.Background(), r, Durable); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkProofFile makes proof files of records spread over a log of 100,000.
func BenchmarkProofFile(b *testing.B) {
	l, err := Open(Options{Dir: b.TempDir(), Origin: testOrigin, Key: testKey})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	r := testRecord(0)
	r.Detail = []byte(`"` + strings.Repeat("x", 880) + `"`)
	const size = 100_000
	for range size - 1 {
		if _, err := l.Append(context.Background(), r, Written); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := l.Append(context.Background(), r, Durable); err != nil {
		b.Fatal(err)
	}
	for i := 0; b.Loop(); i++ {
		if _, err := l.ProofFile(uint64(i*7919) % size); err != nil {
			b.Fatal(err)
		}
	}
}
