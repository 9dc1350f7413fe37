package extproc

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

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
	ctx  context.Context
	in   [][]byte
	out  []*proc.ProcessingResponse
	bad  bool // what came was no message
	held int
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
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			http.Error(w, "no", 400)
			return
		}
		relay, _ := infer.RelayFrom(r.Context())
		ask, _ := http.NewRequestWithContext(r.Context(), "POST", "http://proxy.invalid/m", strings.NewReader("asked"))
		answer, err := relay.RoundTrip(ask)
		if err != nil {
			http.Error(w, "no", 503)
			return
		}
		text, err := io.ReadAll(answer.Body)
		if err != nil || len(text) == 0 {
			http.Error(w, "no", 503)
			return
		}
		io.WriteString(w, "shaped")
	})
	s := New(Config{Handler: h, Refused: func(string, string) {}})
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
		err := s.Process(w)
		over := false
		for _, m := range w.out {
			over = over || m.GetImmediateResponse() != nil || m.GetResponseBody() != nil || m.GetResponseTrailers() != nil
			if text := m.GetResponseBody().GetResponse().GetBodyMutation().GetBody(); strings.Contains(string(text), "X") {
				t.Fatalf("the model's own words went out: %v", m)
			}
			if r := m.GetResponseBody(); r != nil && r.GetResponse().GetBodyMutation().GetMutation() == nil {
				t.Fatalf("a part went on as it was: %v", m)
			}
		}
		if err == nil && !over {
			t.Fatalf("the stream ended without an error after %v", w.out)
		}
		if s.open.Load() != 0 {
			t.Fatal("an exchange stayed open")
		}
	})
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
