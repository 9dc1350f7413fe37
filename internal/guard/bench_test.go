package guard

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"iter"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/seal"
)

// nullLog costs nothing, so that the guard alone is measured.
type nullLog struct{}

func (nullLog) Append(context.Context, *record.Record, ledger.Durability) (ledger.Receipt, error) {
	return ledger.Receipt{}, nil
}
func (nullLog) Size() uint64 { return 0 }
func (nullLog) Records(from, to uint64) iter.Seq2[uint64, record.Record] {
	return func(func(uint64, record.Record) bool) {}
}

// BenchmarkPooled measures Enter and Exit of an inference, with the default
// policies alone and behind 200 more.
func BenchmarkPooled(b *testing.B) {
	for _, more := range []int{0, 200} {
		b.Run(fmt.Sprint(more, "-more-policies"), func(b *testing.B) {
			g, err := New(Config{Actions: testActions(), Log: nullLog{}, DemoIssuer: "pavise-local"})
			if err != nil {
				b.Fatal(err)
			}
			texts := Defaults()
			for i := range more {
				texts[fmt.Sprint("team", i)] = fmt.Sprintf(`permit (principal in Role::"team%d", action in Action::"route", resource);`, i)
			}
			if err := g.Load("local", texts); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				e, err := g.Enter(b.Context(), caller, "model.infer", model)
				if err != nil {
					b.Fatal(err)
				}
				e.Exit(&err)
			}
		})
	}
}

// spelled is a detail that spells itself, as that of an inference does.
type spelled string

func (s *spelled) AppendJSON(dst []byte) []byte { return append(dst, *s...) }

// trail is what an inference says of itself.
var trail = spelled(`{"id":"5a0f3dfe6f3fd4a3f3c7f8e1d2c3b4a5","model":"http://127.0.0.1:4321","rows":1,"charged":1,"input":"` +
	strings.Repeat("a1", 32) + `","output":"` + strings.Repeat("b2", 32) +
	`","answer":[{"name":"scores","datatype":"FP32","shape":[1,10]}]}`)

// BenchmarkRecorded measures what a guarded inference costs beside the inference: Enter,
// the checks' words, the sealed salt and Exit, over the evidence log itself, from one
// caller and from 32 at a time. On one processor (-cpu 1) it is what the data plane pays.
func BenchmarkRecorded(b *testing.B) {
	for _, at := range []int{1, 32} {
		b.Run(fmt.Sprint("callers-", at), func(b *testing.B) {
			key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
			log, err := ledger.Open(ledger.Options{Dir: b.TempDir(), Origin: "test.example/log", Key: key})
			if err != nil {
				b.Fatal(err)
			}
			defer log.Close()
			g, err := New(Config{Actions: testActions(), Log: log, DemoIssuer: "pavise-local"})
			if err != nil {
				b.Fatal(err)
			}
			if err := g.Load("local", Defaults()); err != nil {
				b.Fatal(err)
			}
			sealer, err := seal.NewKey(bytes.Repeat([]byte{3}, seal.KeySize))
			if err != nil {
				b.Fatal(err)
			}
			who := caller
			who.Proof, who.Expires = "bearer", time.Now().Add(time.Hour)
			b.ReportAllocs()
			if at > 1 {
				b.SetParallelism(max(at/runtime.GOMAXPROCS(0), 1))
			}
			cpu := processor()
			b.ResetTimer()
			if at == 1 {
				for b.Loop() {
					recorded(b, g, who, sealer)
				}
			} else {
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						recorded(b, g, who, sealer)
					}
				})
			}
			b.ReportMetric(float64(processor()-cpu)/float64(b.N), "cpu-ns/op")
		})
	}
}

// recorded is one act such as an inference.
func recorded(b *testing.B, g *Guard, who pavise.Principal, sealer *seal.Key) {
	e, err := g.Enter(context.Background(), who, "model.infer", model)
	if err != nil {
		b.Error(err)
		return
	}
	e.Detail(&trail)
	for _, check := range []string{"gate", "rate", "budget", "shape"} {
		e.Verdict(pavise.Verdict{Check: check, Outcome: pavise.Allow})
	}
	e.Subject("s-0123456789abcdef0123456789abcdef")
	e.Seal(sealer.Seal([]byte("5a0f3dfe6f3fd4a3f3c7f8e1d2c3b4a5"), []byte(`{"salt":"q83vEjRWeJq83vEjRWeJqrze8SNFZ4mrze8SNFZ4mrw="}`)))
	e.Exit(&err)
	if err != nil {
		b.Error(err)
	}
}

// processor is the processor time of this process.
func processor() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
