package tier

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/detect"
	"github.com/pavise/pavise/internal/firewall"
	"github.com/pavise/pavise/internal/tensor"
)

// BenchmarkOnTheWay is all that a request of one row of 64 numbers pays on its way for
// tiers, detectors and the meter: the tier of a caller while somebody else is in amber, the
// charge, and the copy for the detectors. Asked without a pause, detectors see the share that
// they have time for, and the rest is dropped before it is copied; where they have time each
// request is copied; and on an alterable route everybody's answer, of ten scores, is guarded.
func BenchmarkOnTheWay(b *testing.B) {
	guard := Usual(true, firewall.Shape{})
	rng := rand.New(rand.NewPCG(1, 1))
	asked := &tensor.Request{Inputs: []tensor.Tensor{{Name: "x", Datatype: tensor.FP32, Shape: []int64{1, 64}, Data: tensor.Data{Floats: make([]float64, 64)}}}}
	said := scoresOf(tensor.FP32, 10, softmax(rng, 10)...)
	for _, c := range []struct {
		name            string
		copied, guarded bool
	}{{"busy", false, false}, {"copied", true, false}, {"guarded", true, true}} {
		b.Run(c.name, func(b *testing.B) {
			book := newShelf(b).open(b)
			hold(b, book, caller("somebody-else"), Amber, time.Time{})
			meter := firewall.NewMeter(100)
			rate := firewall.Rate{Count: 1_000_000, Per: time.Second, Burst: 1_000_000}
			if err := meter.SetTerms(model, firewall.Terms{Rate: rate, Budget: rate}); err != nil {
				b.Fatal(err)
			}
			queue := func() *detect.Queue {
				return detect.NewQueue(func(context.Context, pavise.Finding, string) {}, []detect.Detector{book})
			}
			q := queue()
			ctx, stop := context.WithCancel(b.Context())
			done := make(chan struct{})
			go func() { q.Run(ctx); close(done) }()
			if c.copied { // an empty queue takes what comes: it is another before it is full
				stop()
				<-done
			}
			who := caller("x")
			b.ReportAllocs()
			n, overlooked := 0, uint64(0)
			for b.Loop() {
				if c.copied && n%60 == 0 {
					overlooked += q.Overlooked()
					q = queue()
				}
				if book.Of(model, who) != Green {
					b.Fatal("not green")
				}
				now := time.Now()
				meter.Charge(now, who, pavise.Name{}, model, 1, 1)
				if c.guarded {
					if _, _, err := guard.Apply(said, Route{MaxRows: 256}); err != nil {
						b.Fatal(err)
					}
				}
				q.Hear(now, who, model, asked, said)
				n++
			}
			b.ReportMetric(100*float64(overlooked+q.Overlooked())/float64(n), "%overlooked")
			stop()
			<-done
		})
	}
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
