package edge_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/pavise/pavise/internal/edge"
	"github.com/pavise/pavise/internal/edgetest"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/tensor"
	"github.com/pavise/pavise/internal/tensor/oipgrpc"
)

const service = "/inference.GRPCInferenceService/"

// rawBytes is a codec of grpc-go that leaves messages as they are.
type rawBytes struct{}

func (rawBytes) Name() string { return "proto" }
func (rawBytes) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}
func (rawBytes) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

var _ encoding.CodecV2 = rawBytes{}

// dial connects grpc-go's client, which is none of our code, to the world's server.
func dial(t *testing.T, w *edgetest.World) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(w.Server.Listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawBytes{})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// as has calls made with a token.
func as(ctx context.Context, token string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}

// question is the good request as a ModelInferRequest.
func question(t testing.TB, model string) []byte {
	t.Helper()
	r, err := tensor.ParseRequest([]byte(edgetest.Good), tensor.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	m, err := oipgrpc.Protocol.AppendRequest(oipgrpc.AppendModel(nil, model, ""), r)
	if err != nil {
		t.Fatal(err)
	}
	return m.Body
}

func understood(t *testing.T, body []byte) *tensor.Response {
	t.Helper()
	a, err := oipgrpc.Protocol.ParseResponse(tensor.Message{Body: body}, nil, tensor.Signature{}, tensor.DefaultLimits())
	if err != nil {
		t.Fatalf("%x: %v", body, err)
	}
	return a
}

func TestGRPC(t *testing.T) {
	w := edgetest.New(t)
	w.Put(t, nil)
	conn, ctx := dial(t, w), as(t.Context(), w.Token)
	var out []byte
	var head metadata.MD
	if err := conn.Invoke(ctx, service+"ModelInfer", question(t, "m"), &out, grpc.Header(&head)); err != nil {
		t.Fatal(err)
	}
	if a := understood(t, out); a.Model != "m" || a.Outputs[0].Data.Floats[0] != float64(float32(0.4223)) {
		t.Errorf("%+v", a)
	}
	w.Record(t, &http.Response{Header: http.Header{"Pavise-Record": head.Get("pavise-record")}})
	for method, ask := range map[string]string{"ServerLive": "", "ServerReady": "", "ModelReady": "\x0a\x01m", "ServerMetadata": "", "ModelMetadata": "\x0a\x01m"} {
		c := ctx
		if strings.HasPrefix(method, "Server") {
			c = t.Context() // probes carry no token
		}
		if err := conn.Invoke(c, service+method, []byte(ask), &out); err != nil {
			t.Errorf("%s: %v", method, err)
		}
		if !strings.HasSuffix(method, "Metadata") && string(out) != "\x08\x01" {
			t.Errorf("%s: %x", method, out)
		}
	}
	if err := conn.Invoke(ctx, service+"ModelMetadata", []byte("\x0a\x01m"), &out); err != nil {
		t.Fatal(err)
	}
	sig, err := oipgrpc.ParseMetadata(out, tensor.DefaultLimits())
	if err != nil || fmt.Sprint(sig) != "{[{x FP32 [-1 2] []}] [{scores FP32 [-1 3] []}]}" {
		t.Errorf("%v, %v", sig, err)
	}
}

// TestGRPCRefuses has each refusal in gRPC's own words, and leaves the model answering.
func TestGRPCRefuses(t *testing.T) {
	w := edgetest.New(t)
	w.Put(t, nil)
	conn, good := dial(t, w), question(t, "m")
	ctx := as(t.Context(), w.Token)
	for _, tt := range []struct {
		name, method string
		ctx          context.Context
		body         []byte
		opts         []grpc.CallOption
		want         codes.Code
		record       bool
	}{
		{"no token", "ModelInfer", t.Context(), good, nil, codes.Unauthenticated, false},
		{"a wrong token", "ModelInfer", as(t.Context(), "x"), good, nil, codes.Unauthenticated, false},
		{"two tokens", "ModelInfer", as(ctx, w.Token), good, nil, codes.Unauthenticated, false},
		{"nobody's metadata", "ModelMetadata", t.Context(), []byte("\x0a\x01m"), nil, codes.Unauthenticated, false},
		{"another model", "ModelInfer", ctx, question(t, "other"), nil, codes.NotFound, true},
		{"another tenant's", "ModelInfer", ctx, question(t, "../other"), nil, codes.PermissionDenied, true},
		{"a version", "ModelReady", ctx, []byte("\x0a\x01m\x12\x011"), nil, codes.InvalidArgument, true},
		{"no model", "ModelInfer", ctx, nil, nil, codes.InvalidArgument, true},
		{"not a message", "ModelInfer", ctx, []byte("\xff\xff"), nil, codes.InvalidArgument, true},
		{"a second model", "ModelInfer", ctx, append(bytes.Clone(good), "\x0a\x05other"...), nil, codes.InvalidArgument, true},
		{"an unknown field", "ModelInfer", ctx, append(bytes.Clone(good), 0x40, 1), nil, codes.InvalidArgument, true},
		{"too large", "ModelInfer", ctx, make([]byte, 4<<20+1), nil, codes.ResourceExhausted, true},
		{"larger than the model takes", "ModelInfer", ctx, append(bytes.Clone(good), make([]byte, 1<<20)...), nil, codes.InvalidArgument, true},
		{"gzip", "ModelInfer", ctx, good, []grpc.CallOption{grpc.UseCompressor(gzip.Name)}, codes.Unimplemented, true},
		{"fields in a probe", "ServerLive", ctx, []byte("\x08\x01"), nil, codes.InvalidArgument, true},
		{"model control", "RepositoryModelLoad", ctx, nil, nil, codes.PermissionDenied, true},
		{"shared memory", "SystemSharedMemoryRegister", ctx, nil, nil, codes.PermissionDenied, true},
		{"traces", "TraceSetting", ctx, nil, nil, codes.PermissionDenied, true},
		{"statistics", "ModelStatistics", ctx, nil, nil, codes.PermissionDenied, true},
		{"another method", "Nothing", ctx, nil, nil, codes.Unimplemented, true},
		{"another service", "../grpc.reflection.v1.ServerReflection/ServerReflectionInfo", ctx, nil, nil, codes.InvalidArgument, true},
	} {
		var out []byte
		var trail, head metadata.MD
		err := conn.Invoke(tt.ctx, service+tt.method, tt.body, &out, append(tt.opts, grpc.Trailer(&trail), grpc.Header(&head))...)
		if grpcstatus.Code(err) != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
		if got := len(trail.Get("pavise-record"))+len(head.Get("pavise-record")) > 0; got != tt.record {
			t.Errorf("%s: record %v, %v", tt.name, trail, head)
		}
		if strings.Contains(fmt.Sprint(err), w.Token) {
			t.Errorf("%s: the answer shows the token", tt.name)
		}
	}
	var out []byte
	if err := conn.Invoke(ctx, service+"ModelInfer", good, &out); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestGRPCThrottles says when to come back, in the details that clients read.
func TestGRPCThrottles(t *testing.T) {
	w := edgetest.New(t)
	w.Put(t, func(s *route.Spec) { s.Rate = "1/1h" })
	conn, ctx := dial(t, w), as(t.Context(), w.Token)
	var out []byte
	for i := range 2 {
		err := conn.Invoke(ctx, service+"ModelInfer", question(t, "m"), &out)
		if i == 0 && err != nil {
			t.Fatal(err)
		}
		if i == 1 && (grpcstatus.Code(err) != codes.ResourceExhausted || !strings.Contains(fmt.Sprint(grpcstatus.Convert(err).Proto().GetDetails()), "google.rpc.RetryInfo")) {
			t.Errorf("%v, %v", err, grpcstatus.Convert(err).Proto())
		}
	}
}

// TestGRPCStream has each message of a stream answered as an exchange of its own, and
// goes on behind one that is refused.
func TestGRPCStream(t *testing.T) {
	w := edgetest.New(t)
	w.Put(t, nil)
	conn := dial(t, w)
	stream, err := conn.NewStream(as(t.Context(), w.Token), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, service+"ModelStreamInfer")
	if err != nil {
		t.Fatal(err)
	}
	before := w.Log.Size()
	for i, ask := range [][]byte{question(t, "m"), question(t, "other"), append(question(t, "m"), make([]byte, 1<<20)...), question(t, "m")} {
		if err := stream.SendMsg(ask); err != nil {
			t.Fatal(err)
		}
		var out []byte
		if err := stream.RecvMsg(&out); err != nil {
			t.Fatal(err)
		}
		num, _, n := protowire.ConsumeTag(out)
		inner, _ := protowire.ConsumeBytes(out[n:])
		if good := i == 0 || i == 3; good != (num == 2) {
			t.Errorf("message %d is answered %q", i, out)
		} else if good && (understood(t, inner).Model != "m" || !bytes.Contains(inner, []byte(oipgrpc.RecordParameter))) {
			t.Errorf("message %d is answered %q", i, inner)
		} else if !good && !strings.Contains(string(inner), "(record ") {
			t.Errorf("message %d is refused with %q", i, inner)
		}
	}
	stream.CloseSend()
	var out []byte
	if err := stream.RecvMsg(&out); err != io.EOF {
		t.Errorf("the end is %v", err)
	}
	infers := 0
	for _, r := range w.Log.Records(before, w.Log.Size()) {
		if r.Kind == "model.infer" {
			infers++
		}
	}
	if infers != 4 {
		t.Errorf("%d records of 4 messages", infers)
	}
	if stream, err = conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, service+"ModelStreamInfer"); err != nil {
		t.Fatal(err)
	}
	if err := stream.RecvMsg(&out); grpcstatus.Code(err) != codes.Unauthenticated {
		t.Errorf("a stream of nobody: %v", err)
	}
}

// frame is an HTTP/2 frame.
func frame(kind, flags byte, stream uint32, payload []byte) []byte {
	b := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	return append(binary.BigEndian.AppendUint32(b, stream), payload...)
}

// heads are the headers of a call, in HPACK without a table or Huffman.
func heads(path string) []byte {
	b := []byte{0x83, 0x86, 0x04, byte(len(path))} // POST, http, and the path
	b = append(b, path...)
	b = append(b, 0x01, 1, 'x') // authority
	b = append(b, 0x0f, 0x10, byte(len("application/grpc")))
	return append(b, "application/grpc"...)
}

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// TestRapidReset opens and resets streams as fast as it can, and floods with
// CONTINUATION. The server ends such a connection and serves others.
func TestRapidReset(t *testing.T) {
	w := edgetest.New(t)
	w.Put(t, nil)
	before := runtime.NumGoroutine()
	flood := map[string]func(i int) []byte{
		"resets": func(i int) []byte {
			id := uint32(2*i + 1)
			return append(frame(1, 4, id, heads(service+"ModelInfer")), frame(3, 0, id, []byte{0, 0, 0, 8})...)
		},
		"streams": func(i int) []byte { return frame(1, 4, uint32(2*i+1), heads(service+"ModelInfer")) },
		"continuations": func(i int) []byte {
			if i == 0 {
				return frame(1, 0, 1, heads(service+"ModelInfer"))
			}
			return frame(9, 0, 1, append([]byte{0x00, 1, 'a', 0x7f, 0x81, 0x7f}, make([]byte, 256)...))
		},
		"pings":    func(int) []byte { return frame(6, 0, 0, make([]byte, 8)) },
		"settings": func(int) []byte { return frame(4, 0, 0, nil) },
	}
	for name, next := range flood {
		conn, err := net.Dial("tcp", w.Server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		conn.Write(append([]byte(preface), frame(4, 0, 0, nil)...))
		sent := 0
		for ; sent < 20_000; sent++ {
			if _, err := conn.Write(next(sent)); err != nil {
				break
			}
		}
		if n := runtime.NumGoroutine() - before; n > 600 {
			t.Errorf("%s: %d goroutines more after %d", name, n, sent)
		}
		conn.Close()
	}
	var out []byte
	if err := dial(t, w).Invoke(as(t.Context(), w.Token), service+"ModelInfer", question(t, "m"), &out); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestGRPCHeldBack announces large messages and sends little of them: what is announced
// takes no memory, and others are answered meanwhile.
func TestGRPCHeldBack(t *testing.T) {
	w := edgetest.New(t)
	w.Put(t, nil)
	conn, err := net.Dial("tcp", w.Server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	conn.Write(append([]byte(preface), frame(4, 0, 0, nil)...))
	token := "Bearer " + w.Token
	head := append(heads(service+"ModelInfer"), 0x0f, 0x08, 0x7f) // authorization
	head = append(binary.AppendUvarint(head, uint64(len(token)-127)), token...)
	body := append(binary.BigEndian.AppendUint32([]byte{0}, 4<<20), question(t, "m")...)
	body = append(body, make([]byte, 300)...)
	const calls = 90
	for i := range calls {
		id := uint32(2*i + 1)
		if _, err := conn.Write(append(frame(1, 4, id, head), frame(0, 0, id, body)...)); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() < calls && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond) // until all of them are being read
	}
	var out []byte
	if err := dial(t, w).Invoke(as(t.Context(), w.Token), service+"ModelInfer", question(t, "m"), &out); err != nil {
		t.Errorf("meanwhile: %v", err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > calls*(256<<10) {
		t.Errorf("%d calls that announce 4 MiB take %d bytes", calls, grown)
	}
}

// TestGRPCFrames are calls whose frames lie.
func TestGRPCFrames(t *testing.T) {
	w := edgetest.New(t)
	w.Put(t, nil)
	good := question(t, "m")
	framed := func(flag byte, n int, b []byte) []byte {
		return append(binary.BigEndian.AppendUint32([]byte{flag}, uint32(n)), b...)
	}
	client := &http.Client{Transport: &http.Transport{Protocols: new(http.Protocols)}}
	client.Transport.(*http.Transport).Protocols.SetUnencryptedHTTP2(true)
	for name, tt := range map[string]struct {
		body []byte
		edit func(http.Header)
		want string
	}{
		"good":              {framed(0, len(good), good), nil, "0"},
		"no message":        {nil, nil, "3"},
		"half a prefix":     {[]byte{0, 0, 0}, nil, "3"},
		"shorter":           {framed(0, len(good)+1, good), nil, "3"},
		"longer":            {framed(0, len(good)-1, good), nil, "3"},
		"two messages":      {append(framed(0, len(good), good), framed(0, len(good), good)...), nil, "3"},
		"compressed":        {framed(1, len(good), good), nil, "12"},
		"an unknown flag":   {framed(2, len(good), good), nil, "3"},
		"four gigabytes":    {framed(0, 1<<32-1, good), nil, "8"},
		"a timeout of none": {framed(0, len(good), good), func(h http.Header) { h.Set("Grpc-Timeout", "5x") }, "3"},
		"a negative time":   {framed(0, len(good), good), func(h http.Header) { h.Set("Grpc-Timeout", "-5S") }, "3"},
		"a long time":       {framed(0, len(good), good), func(h http.Header) { h.Set("Grpc-Timeout", "99999999H") }, "0"},
		"no time":           {framed(0, len(good), good), func(h http.Header) { h.Set("Grpc-Timeout", "0n") }, "4"},
		"deflate":           {framed(0, len(good), good), func(h http.Header) { h.Set("Grpc-Encoding", "deflate") }, "12"},
		"two subjects":      {framed(0, len(good), good), func(h http.Header) { h["Pavise-Subject"] = []string{"a", "b"} }, "3"},
	} {
		r, _ := http.NewRequest("POST", w.Server.URL+service+"ModelInfer", bytes.NewReader(tt.body))
		r.Header.Set("Content-Type", "application/grpc")
		r.Header.Set("Authorization", "Bearer "+w.Token)
		if tt.edit != nil {
			tt.edit(r.Header)
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if got := resp.Header.Get("Grpc-Status") + resp.Trailer.Get("Grpc-Status"); got != tt.want || resp.StatusCode != 200 {
			t.Errorf("%s: status %s, want %s; %v %v", name, got, tt.want, resp.Header, resp.Trailer)
		}
		if said := resp.Header.Get("Grpc-Message"); name == "two messages" && !strings.Contains(said, "a second message in a call of one") {
			t.Errorf("%s: it is told as %q", name, said)
		}
		if resp.Header.Get("Pavise-Record") == "" {
			t.Errorf("%s: no record", name)
		} else if r := w.Record(t, resp); r.Kind == edge.VerbOther && !strings.Contains(string(r.Detail), service+"ModelInfer") {
			t.Errorf("%s: the record does not say what was called: %s", name, r.Detail)
		}
	}
	resp, body := w.Post(t, service+"ModelInfer", string(framed(0, len(good), good)), func(r *http.Request) { r.Header.Set("Content-Type", "application/grpc") })
	if resp.StatusCode == http.StatusOK {
		t.Errorf("gRPC over HTTP/1.1: %d %s", resp.StatusCode, body)
	}
}

// TestGRPCStrangersRefused sends what is no call without a token: it is counted, in one
// note, however often it comes.
func TestGRPCStrangersRefused(t *testing.T) {
	w := edgetest.New(t)
	w.Put(t, nil)
	conn := dial(t, w)
	before := w.Log.Size()
	const calls = 40
	for range calls {
		var out []byte
		if err := conn.Invoke(t.Context(), service+"ServerLive", []byte("\xff"), &out); grpcstatus.Code(err) != codes.InvalidArgument {
			t.Fatal(err)
		}
	}
	done, end := context.WithCancel(t.Context())
	end()
	if err := w.Guard.Run(done); err != nil { // writes what was counted
		t.Fatal(err)
	}
	var counted uint64
	for _, r := range w.Log.Records(before, w.Log.Size()) {
		var tally struct{ Count uint64 }
		if json.Unmarshal(r.Detail, &tally); r.Kind != "identity.refused" {
			t.Errorf("a record %s", r.Kind)
		}
		counted += tally.Count
	}
	if n := w.Log.Size() - before; counted != calls || n > 3 {
		t.Errorf("%d calls are counted in %d records", counted, n)
	}
}
