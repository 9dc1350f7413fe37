package extproc

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	mode "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	proc "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/pavise/pavise/internal/infer"
)

// A wire is a stream without a network: what a proxy sends, and what it gets.
type wire struct {
	grpc.ServerStream
	ctx context.Context
	in  [][]byte
	out []*proc.ProcessingResponse
	bad bool // what came was no message
}

func (w *wire) Context() context.Context { return w.ctx }

func (w *wire) Recv() (*proc.ProcessingRequest, error) {
	if len(w.in) == 0 || w.bad {
		return nil, io.EOF
	}
	m := &proc.ProcessingRequest{}
	err := proto.Unmarshal(w.in[0], m)
	w.in, w.bad = w.in[1:], err != nil
	return m, err
}

func (w *wire) Send(m *proc.ProcessingResponse) error {
	w.out = append(w.out, m)
	return nil
}

// FuzzProcess shows a processor whatever messages somebody makes up, one after another,
// each with its length before it. It must not fall over or wait for ever; and nothing of
// the model's answer, which is all made of X, goes out, for no good one is among them.
func FuzzProcess(f *testing.F) {
	frame := func(all ...*proc.ProcessingRequest) (b []byte) {
		for _, m := range all {
			text, err := proto.Marshal(m)
			if err != nil {
				f.Fatal(err)
			}
			b = protowire.AppendBytes(b, text)
		}
		return b
	}
	fields := func(pairs ...string) *core.HeaderMap {
		m := &core.HeaderMap{}
		for i := 0; i < len(pairs); i += 2 {
			m.Headers = append(m.Headers, &core.HeaderValue{Key: pairs[i], RawValue: []byte(pairs[i+1])})
		}
		return m
	}
	for _, how := range []mode.ProcessingMode_BodySendMode{0, 1, 2, 4} {
		head := &proc.ProcessingRequest{
			Request:        &proc.ProcessingRequest_RequestHeaders{RequestHeaders: &proc.HttpHeaders{Headers: fields(":method", "POST", ":path", "/m", "a", "b")}},
			ProtocolConfig: &proc.ProtocolConfiguration{RequestBodyMode: how, ResponseBodyMode: how},
		}
		body := &proc.ProcessingRequest{Request: &proc.ProcessingRequest_RequestBody{RequestBody: &proc.HttpBody{Body: []byte("body"), EndOfStream: true}}}
		answer := &proc.ProcessingRequest{Request: &proc.ProcessingRequest_ResponseHeaders{ResponseHeaders: &proc.HttpHeaders{Headers: fields(":status", "200")}}}
		text := &proc.ProcessingRequest{Request: &proc.ProcessingRequest_ResponseBody{ResponseBody: &proc.HttpBody{Body: []byte("XXXX"), EndOfStream: true}}}
		tail := &proc.ProcessingRequest{Request: &proc.ProcessingRequest_ResponseTrailers{ResponseTrailers: &proc.HttpTrailers{Trailers: fields("x", "y")}}}
		f.Add(frame(head, body, answer, text))
		f.Add(frame(head, body, answer, tail))
		f.Add(frame(head, answer, body, text))
	}
	s := New(Config{Handler: http.HandlerFunc(shaping), Refused: func(string, string) {}})
	f.Fuzz(func(t *testing.T, b []byte) {
		w := &wire{ctx: t.Context()}
		for len(b) > 0 {
			m, n := protowire.ConsumeBytes(b)
			if n < 0 {
				break
			}
			w.in = append(w.in, m)
			b = b[n:]
		}
		checkStream(t, s, w)
	})
}

// shaping is a handler that asks the model and answers with a word of its own.
func shaping(w http.ResponseWriter, r *http.Request) {
	if _, err := io.ReadAll(r.Body); err != nil {
		http.Error(w, "no", 400)
		return
	}
	relay, _ := infer.RelayFrom(r.Context())
	ask, _ := http.NewRequestWithContext(r.Context(), "POST", "http://proxy.invalid/m", strings.NewReader("asked"))
	answer, err := relay.RoundTrip(ask)
	if err != nil {
		http.Error(w, "no", http.StatusServiceUnavailable)
		return
	}
	if text, err := io.ReadAll(answer.Body); err != nil || len(text) == 0 {
		http.Error(w, "no", http.StatusServiceUnavailable)
		return
	}
	io.WriteString(w, "shaped")
}

// checkStream runs one stream to its end.
func checkStream(t *testing.T, s *Server, w *wire) {
	t.Helper()
	err := s.Process(w)
	over := false
	for _, m := range w.out {
		over = over || m.GetImmediateResponse() != nil || m.GetResponseBody() != nil || m.GetResponseTrailers() != nil
		mutation := m.GetResponseBody().GetResponse().GetBodyMutation()
		if strings.Contains(string(mutation.GetBody())+string(mutation.GetStreamedResponse().GetBody()), "X") {
			t.Fatalf("the model's own words went out: %v", m)
		}
		if m.GetResponseBody() != nil && mutation.GetMutation() == nil {
			t.Fatalf("a part went on as it was: %v", m)
		}
	}
	if err == nil && !over {
		t.Fatalf("the stream ended without an error after %v", w.out)
	}
	for n := 0; s.open.Load() != 0 || s.bodies.Load() != 0; n++ { // who reads the stream sees its end a moment later
		if time.Sleep(time.Millisecond); n > 2000 {
			t.Fatalf("%d exchanges and %d bytes stayed", s.open.Load(), s.bodies.Load())
		}
	}
}

// TestAnyOrder plays thousands of streams whose messages come in any order, in all modes.
func TestAnyOrder(t *testing.T) {
	s := New(Config{Handler: http.HandlerFunc(shaping), Refused: func(string, string) {}})
	ways := []mode.ProcessingMode_BodySendMode{0, 1, 2, 4}
	fields := &core.HeaderMap{Headers: []*core.HeaderValue{{Key: ":method", Value: "POST"}, {Key: ":path", Value: "/m"}}}
	status := &core.HeaderMap{Headers: []*core.HeaderValue{{Key: ":status", Value: "200"}}}
	random := rand.New(rand.NewPCG(1, 2))
	for range 4000 {
		last := func() bool { return random.IntN(2) == 0 }
		body := func() *proc.HttpBody { return &proc.HttpBody{Body: []byte("XX")[:random.IntN(3)], EndOfStream: last()} }
		all := []*proc.ProcessingRequest{{
			Request:        &proc.ProcessingRequest_RequestHeaders{RequestHeaders: &proc.HttpHeaders{Headers: fields, EndOfStream: random.IntN(8) == 0}},
			ProtocolConfig: &proc.ProtocolConfiguration{RequestBodyMode: ways[random.IntN(4)], ResponseBodyMode: ways[random.IntN(4)]},
		}}
		for range random.IntN(8) {
			m := &proc.ProcessingRequest{}
			switch random.IntN(6) {
			case 0, 1:
				m.Request = &proc.ProcessingRequest_RequestBody{RequestBody: body()}
			case 2:
				m.Request = &proc.ProcessingRequest_ResponseHeaders{ResponseHeaders: &proc.HttpHeaders{Headers: status, EndOfStream: last()}}
			case 3:
				m.Request = &proc.ProcessingRequest_ResponseBody{ResponseBody: body()}
			case 4:
				m.Request = &proc.ProcessingRequest_RequestTrailers{RequestTrailers: &proc.HttpTrailers{}}
			case 5:
				m.Request = &proc.ProcessingRequest_ResponseTrailers{ResponseTrailers: &proc.HttpTrailers{}}
			}
			all = append(all, m)
		}
		w := &wire{ctx: t.Context()}
		for _, m := range all {
			text, err := proto.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			w.in = append(w.in, text)
		}
		checkStream(t, s, w)
	}
}

// FuzzCheck asks for decisions on whatever somebody makes up.
func FuzzCheck(f *testing.F) {
	good, err := proto.Marshal(&auth.CheckRequest{Attributes: &auth.AttributeContext{Request: &auth.AttributeContext_Request{Http: &auth.AttributeContext_HttpRequest{
		Method: "POST", Path: "/m", Headers: map[string]string{"a": "b", "x-forwarded-client-cert": `Cert="%41"`}, RawBody: []byte("body"),
	}}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	s := New(Config{TrustCertificates: true, Refused: func(string, string) {}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/m" && r.Method == "POST" && r.Header.Get("Authorization") != "" {
			relay, _ := infer.RelayFrom(r.Context())
			ask, _ := http.NewRequestWithContext(r.Context(), "POST", "http://proxy.invalid/m", nil)
			if _, err := relay.RoundTrip(ask); err == infer.ErrUnseen {
				return
			}
		}
		w.WriteHeader(403)
	})})
	f.Fuzz(func(t *testing.T, b []byte) {
		m := &auth.CheckRequest{}
		if proto.Unmarshal(b, m) != nil {
			return
		}
		a, err := s.Check(t.Context(), m)
		if err == nil && a.GetOkResponse() != nil && len(a.GetOkResponse().HeadersToRemove) == 0 {
			t.Fatalf("credentials go on: %v", a)
		}
		if s.open.Load() != 0 {
			t.Fatal("a place stayed taken")
		}
	})
}

// FuzzForwardedCertificate reads whatever somebody says that a proxy said.
func FuzzForwardedCertificate(f *testing.F) {
	f.Add(`By=spiffe://a/b;Hash=00;Cert="-----BEGIN%20CERTIFICATE-----%0A";Subject="CN=\"a;b\",c"`)
	f.Add(`Chain="%`)
	f.Fuzz(func(t *testing.T, value string) {
		state, err := callerOf(http.Header{"X-Forwarded-Client-Cert": {value}})
		if (err == nil) != (state != nil && len(state.PeerCertificates) > 0) {
			t.Fatalf("%v, %v", state, err)
		}
	})
}
