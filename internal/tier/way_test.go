package tier

import (
	"context"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/detect"
	"github.com/pavise/pavise/internal/firewall"
	"github.com/pavise/pavise/internal/tensor"
)

// BenchmarkOnTheWay is all that a request of one row of 64 numbers pays on its way for
// tiers, detectors and the meter, while a detector looks at what it has time for: the tier
// of a caller while somebody else is in amber, the charge, and the copy for the detectors.
func BenchmarkOnTheWay(b *testing.B) {
	book := newShelf(b).open(b)
	hold(b, book, caller("somebody-else"), Amber, time.Time{})
	meter := firewall.NewMeter(100)
	rate := firewall.Rate{Count: 1_000_000, Per: time.Second, Burst: 1_000_000}
	if err := meter.SetTerms(model, firewall.Terms{Rate: rate, Budget: rate}); err != nil {
		b.Fatal(err)
	}
	q := detect.NewQueue(func(context.Context, pavise.Finding, string) {}, []detect.Detector{book})
	ctx, stop := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() { q.Run(ctx); close(done) }()
	asked := &tensor.Request{Inputs: []tensor.Tensor{{Name: "x", Datatype: tensor.FP32, Shape: []int64{1, 64}, Data: tensor.Data{Floats: make([]float64, 64)}}}}
	said := &tensor.Response{Outputs: []tensor.Tensor{{Name: "scores", Datatype: tensor.FP32, Shape: []int64{1, 10}, Data: tensor.Data{Floats: make([]float64, 10)}}}}
	who := caller("x")
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if book.Of(model, who) != Green {
			b.Fatal("not green")
		}
		now := time.Now()
		meter.Charge(now, who, pavise.Name{}, model, 1, 1)
		q.Hear(now, who, model, asked, said)
		n++
	}
	b.ReportMetric(100*float64(q.Overlooked())/float64(n), "%overlooked")
	stop()
	<-done
}

// BenchmarkSee is what the detector does with one row, which is drawn first, on nobody's way.
func BenchmarkSee(b *testing.B) {
	book := newShelf(b).watched(b)
	next := honest(5)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		ask(book, caller(i%8), next())
	}
}
