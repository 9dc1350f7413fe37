package edge_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/pavise/pavise/internal/edgetest"
	"github.com/pavise/pavise/internal/route"
)

// talker is a model server that costs next to nothing: it counts the bytes of a request
// that it has seen before, and says the same to each.
func talker(b *testing.B, answer string) (address string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { listener.Close() })
	said := func(text string) []byte {
		return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
	}
	models, reply := said(`{"object":"list","data":[{"id":"secret-7b","object":"model"}]}`), said(answer)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				from := bufio.NewReaderSize(conn, 16<<10)
				for {
					first, err := from.Peek(3)
					if err != nil {
						return
					}
					say, length := reply, 0
					if string(first) == "GET" {
						say = models
					}
					for line := []byte("..."); len(line) > 2; {
						if line, err = from.ReadSlice('\n'); err != nil {
							return
						}
						if n, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
							for _, c := range bytes.TrimSpace(n) {
								length = 10*length + int(c-'0')
							}
						}
					}
					if _, err = from.Discard(length); err == nil {
						_, err = conn.Write(say)
					}
					if err != nil {
						return
					}
				}
			}()
		}
	}()
	return "http://" + listener.Addr().String()
}

// BenchmarkChat measures one whole answer of a language model: from the handler's request
// to its answer, with a model server that costs nothing but the network to it. What a chat
// costs beside an exchange of tensors is what it says, read, looked at and written anew.
func BenchmarkChat(b *testing.B) {
	answer := `{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"secret-7b","choices":[{"index":0,"message":{"role":"assistant","content":"` +
		strings.Repeat("The transfer leaves the account at noon. ", 8) + `"},"finish_reason":"stop"}],"usage":{"prompt_tokens":400,"completion_tokens":80,"total_tokens":480}}`
	body := `{"model":"m","messages":[{"role":"system","content":"You answer questions about payments, briefly."}`
	for i := range 8 {
		body += fmt.Sprintf(`,{"role":%q,"content":%q}`, []string{"user", "assistant"}[i%2], strings.Repeat("When does the transfer leave the account? ", 5))
	}
	body += `]}`
	w := edgetest.New(b)
	const plenty = "50000000/1m"
	w.Put(b, func(s *route.Spec) {
		s.ONNX, s.Upstream, s.Remote, s.Protocol = nil, talker(b, answer), "secret-7b", "openai"
		s.Rate, s.Budget, s.ModelRate, s.ModelBudget = plenty, plenty, plenty, plenty
	})
	handler := w.Edge.Handler()
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	b.SetParallelism(32 / runtime.GOMAXPROCS(0))
	cpu := processor()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		reader := strings.NewReader(body)
		req := request(b, w.Token, reader)
		req.URL.Path = chatPath
		for pb.Next() {
			reader.Reset(body)
			req.Body = io.NopCloser(reader)
			answer := &nowhere{header: http.Header{}}
			handler.ServeHTTP(answer, req)
			if answer.status != http.StatusOK || answer.bytes == 0 {
				b.Errorf("status %d", answer.status)
				return
			}
		}
	})
	b.ReportMetric(float64(processor()-cpu)/float64(b.N), "cpu-ns/op")
}
