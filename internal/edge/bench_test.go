package edge_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pavise/pavise/internal/edgetest"
	"github.com/pavise/pavise/internal/onnx"
	"github.com/pavise/pavise/internal/route"
)

// nowhere is a response that nobody reads.
type nowhere struct {
	header http.Header
	status int
	bytes  int
}

func (n *nowhere) Header() http.Header         { return n.header }
func (n *nowhere) WriteHeader(status int)      { n.status = status }
func (n *nowhere) Write(p []byte) (int, error) { n.bytes += len(p); return len(p), nil }

// SetReadDeadline makes it a connection that has deadlines.
func (n *nowhere) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline likewise.
func (n *nowhere) SetWriteDeadline(time.Time) error { return nil }

// BenchmarkInfer measures one whole exchange without a network: from the handler's
// request to its answer, with token, policy, budget, gate, a small native model, shaping
// and the record, which is in the log's file by then. Thirty-two ask at a time, as callers do.
func BenchmarkInfer(b *testing.B) {
	for _, columns := range []int{32, 512} {
		b.Run(fmt.Sprint("columns-", columns), func(b *testing.B) {
			w := edgetest.New(b)
			const plenty = "50000000/1m"
			w.Put(b, func(s *route.Spec) {
				s.ONNX, s.Bounds = scorer(columns), bounds(columns)
				s.Rate, s.Budget, s.ModelRate, s.ModelBudget = plenty, plenty, plenty, plenty
			})
			handler, body := w.Edge.Handler(), row(columns)
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			b.SetParallelism(32 / runtime.GOMAXPROCS(0))
			cpu := processor()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				reader := bytes.NewReader(body)
				req := request(b, w.Token, reader)
				for pb.Next() {
					reader.Reset(body)
					answer := &nowhere{header: http.Header{}}
					handler.ServeHTTP(answer, req)
					if answer.status != http.StatusOK || answer.bytes == 0 {
						b.Errorf("status %d", answer.status)
						return
					}
				}
			})
			b.ReportMetric(float64(processor()-cpu)/float64(b.N), "cpu-ns/op")
		})
	}
}

// request asks the model, with a body that is read again and again.
func request(b *testing.B, token string, body io.Reader) *http.Request {
	req, err := http.NewRequest(http.MethodPost, "/v2/models/m/infer", body)
	if err != nil {
		b.Error(err)
	}
	req.RemoteAddr = "127.0.0.1:4711"
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	return req
}

// processor is the processor time of this process.
func processor() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// scorer takes so many numbers and gives ten scores.
func scorer(columns int) []byte {
	w := onnx.NewWriter("scorer")
	weights := make([]float32, 10*columns)
	for i := range weights {
		weights[i] = float32(i%7) / 10
	}
	z := w.Node("MatMul", "z", []string{w.Input("x", columns), w.Floats("w", []int{columns, 10}, weights)})
	w.Node("Softmax", "scores", []string{z})
	w.Output("scores", 10)
	return w.Bytes()
}

// bounds are those of each column.
func bounds(columns int) []byte {
	one := `{"name":"c","min":0,"max":1}`
	return fmt.Appendf(nil, `{"input":"x","features":[%s]}`, strings.TrimSuffix(strings.Repeat(one+",", columns), ","))
}

// row asks about one row.
func row(columns int) []byte {
	return fmt.Appendf(nil, `{"inputs":[{"name":"x","shape":[1,%d],"datatype":"FP32","data":[%s]}]}`, columns, strings.TrimSuffix(strings.Repeat("0.48291,", columns), ","))
}
