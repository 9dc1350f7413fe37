package edge_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/edgetest"
	"github.com/pavise/pavise/internal/route"
)

// TestRecordSaysWhatWasWrong has model servers answer what is none of their protocol: the
// caller learns that it was, and the record has what it was.
func TestRecordSaysWhatWasWrong(t *testing.T) {
	whole := func(text string) string {
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
	}
	const fine = `{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}`
	for name, tt := range map[string]struct{ protocol, answer, want string }{
		"no JSON":        {"oip", whole(`{"model_name":"m","outputs":[`), "the model server's answer"},
		"unknown field":  {"oip", whole(strings.Replace(edgetest.Answer, "{", `{"sesame":1,`, 1)), `sesame`},
		"shape":          {"oip", whole(strings.Replace(edgetest.Answer, "[1,3]", "[1,4]", 1)), "3 elements where the shape says 4"},
		"status line":    {"oip", "HTTP/1.1 sesame\r\n\r\n", "malformed at"},
		"two lengths":    {"oip", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", "malformed at"},
		"chat, no JSON":  {"openai", whole(`{"choices":sesame`), "the model server's answer"},
		"chat, media":    {"openai", strings.Replace(whole(fine), "application/json", "text/sesame", 1), `"text/sesame"`},
		"chat, its head": {"openai", "HTTP/1.1 sesame\r\n\r\n", "malformed at"},
	} {
		t.Run(name, func(t *testing.T) {
			w := edgetest.New(t)
			w.Put(t, func(s *route.Spec) {
				s.ONNX, s.Upstream, s.Protocol = nil, answering(t, tt.answer), tt.protocol
				if tt.protocol == "oip" {
					s.Signature = []byte(`{"inputs":[{"name":"x","datatype":"FP32","shape":[-1,2]}],"outputs":[{"name":"scores","datatype":"FP32","shape":[-1,3]}]}`)
				}
			})
			path, body := "/v2/models/m/infer", edgetest.Good
			if tt.protocol == "openai" {
				path, body = chatPath, hello
			}
			resp, said := w.Post(t, path, body, nil)
			if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(said, "the model server answered") || strings.Contains(said, "sesame") || strings.Contains(said, "127.0.0.1") {
				t.Errorf("the caller gets %d %s", resp.StatusCode, said)
			}
			r := w.Record(t, resp)
			if !slices.ContainsFunc(r.Verdicts, func(v pavise.Verdict) bool {
				return v.Check == "codec" && v.Outcome == pavise.Deny && strings.Contains(v.Reason, tt.want)
			}) {
				t.Errorf("no verdict of %+v says %q", r.Verdicts, tt.want)
			}
		})
	}
}

// answering is the address of a server that answers each request with these bytes and
// closes the connection.
func answering(t *testing.T, answer string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
					fmt.Fprint(c, answer)
				}
			}()
		}
	}()
	return "http://" + l.Addr().String()
}
