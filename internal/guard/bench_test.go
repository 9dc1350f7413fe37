package guard

import (
	"context"
	"fmt"
	"iter"
	"testing"

	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/record"
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
