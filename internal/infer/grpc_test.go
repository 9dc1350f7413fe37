package infer

import (
	"context"
	"encoding/binary"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/tensor"
	"github.com/pavise/pavise/internal/tensor/oipgrpc"
)

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

// grpcServer is grpc-go's server, which is none of our code, with an answer to every call.
func grpcServer(t *testing.T, answer func(method string, ask []byte) ([]byte, error)) *Upstream {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.ForceServerCodecV2(rawBytes{}), grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		var ask []byte
		if err := stream.RecvMsg(&ask); err != nil {
			return err
		}
		method, _ := grpc.MethodFromServerStream(stream)
		b, err := answer(method, ask)
		if err != nil {
			return err
		}
		return stream.SendMsg(b)
	}))
	go s.Serve(l)
	t.Cleanup(s.Stop)
	return overGRPC(t, "http://"+l.Addr().String())
}

func overGRPC(t *testing.T, address string) *Upstream {
	t.Helper()
	u, err := NewUpstream(Place{Address: address, Model: "theirs", Version: "2", Protocol: tensor.NameOIPGRPC}, tensor.Signature{}, tensor.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Close)
	return u
}

func TestGRPCUpstream(t *testing.T) {
	var asked *tensor.Request
	u := grpcServer(t, func(method string, ask []byte) ([]byte, error) {
		switch method {
		case "/inference.GRPCInferenceService/ModelInfer":
			head := oipgrpc.AppendModel(nil, "theirs", "2")
			r, err := oipgrpc.Protocol.ParseRequest(tensor.Message{Body: ask[len(head):]}, tensor.Signature{}, tensor.DefaultLimits())
			if err != nil || string(ask[:len(head)]) != string(head) {
				return nil, status.Error(codes.InvalidArgument, "no")
			}
			asked = r
			m, err := oipgrpc.Protocol.AppendResponse(nil, nil, &tensor.Response{Model: "theirs", Version: "2", ID: r.ID, Outputs: []tensor.Tensor{
				{Name: "y", Datatype: tensor.BF16, Shape: []int64{1}, Data: tensor.Data{Floats: []float64{0.5}}},
			}})
			return m.Body, err
		case "/inference.GRPCInferenceService/ModelMetadata":
			if name, version, err := oipgrpc.ParseModel(ask, tensor.DefaultLimits()); err != nil || name != "theirs" || version != "2" {
				return nil, status.Error(codes.InvalidArgument, "no")
			}
			port := []tensor.Port{{Name: "x", Datatype: tensor.FP32, Shape: []int64{-1, 2}}}
			return oipgrpc.AppendMetadata(nil, "theirs", "t", tensor.Signature{Inputs: port, Outputs: port}), nil
		}
		return nil, status.Error(codes.Unimplemented, method)
	})
	for range 3 { // on one connection
		a, err := u.Infer(context.Background(), parsed(t))
		if err != nil || a.ID != "r1" || a.Outputs[0].Data.Floats[0] != 0.5 || asked.Inputs[0].Data.Floats[1] != -2 {
			t.Fatalf("%+v, %v; asked %+v", a, err, asked)
		}
	}
	sig, err := u.Describe(context.Background())
	if err != nil || sig.Inputs[0].Shape[0] != -1 || sig.Outputs[0].Name != "x" {
		t.Errorf("%+v, %v", sig, err)
	}
}

// TestGRPCUpstreamLies has a server do what a broken or hostile one may do.
func TestGRPCUpstreamLies(t *testing.T) {
	good, err := oipgrpc.Protocol.AppendResponse(nil, nil, &tensor.Response{Model: "m", Outputs: []tensor.Tensor{
		{Name: "y", Datatype: tensor.FP32, Shape: []int64{1}, Data: tensor.Data{Floats: []float64{0.5}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	frame := func(flag byte, n int, b []byte) string {
		return string(append(binary.BigEndian.AppendUint32([]byte{flag}, uint32(n)), b...))
	}
	whole := frame(0, len(good.Body), good.Body)
	for name, tt := range map[string]struct {
		body, status string
		head         http.Header
		want         string // in the error; empty: none
	}{
		"good":            {whole, "0", nil, ""},
		"no status":       {whole, "", nil, "has no gRPC status"},
		"not found":       {"", "5", nil, "does not know the model"},
		"invalid":         {"", "3", nil, "refused the request"},
		"exhausted":       {"", "8", nil, "is asked too much"},
		"unavailable":     {"", "14", nil, `gRPC status "14"`},
		"a wild status":   {whole, "00", nil, `gRPC status "00"`},
		"no message":      {"", "0", nil, "other than one whole message"},
		"two messages":    {whole + whole, "0", nil, "other than one whole message"},
		"shorter":         {frame(0, len(good.Body)+1, good.Body), "0", nil, "other than one whole message"},
		"longer":          {frame(0, len(good.Body)-1, good.Body), "0", nil, "other than one whole message"},
		"four gigabytes":  {frame(0, 1<<32-1, good.Body), "0", nil, "other than one whole message"},
		"compressed":      {frame(1, len(good.Body), good.Body), "0", nil, "other than one whole message"},
		"an encoding":     {whole, "0", http.Header{"Grpc-Encoding": {"gzip"}}, "compressed with"},
		"not gRPC":        {whole, "0", http.Header{"Content-Type": {"text/html"}}, "which is no gRPC"},
		"two statuses":    {whole, "0", http.Header{"Grpc-Status": {"0"}}, ""},
		"not a message":   {frame(0, 3, []byte("\xff\xff\xff")), "0", nil, "field"},
		"endless":         {frame(0, 5<<20, make([]byte, 5<<20)), "0", nil, "more than"},
		"another request": {frame(0, len(good.Body)+4, append([]byte("\x1a\x02r2"), good.Body...)), "0", nil, "another request"},
	} {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/grpc")
			for k, v := range tt.head {
				w.Header()[k] = v
			}
			w.WriteHeader(200)
			w.Write([]byte(tt.body))
			if tt.status != "" {
				w.Header().Set(http.TrailerPrefix+"Grpc-Status", tt.status)
			}
		}))
		server.Config.Protocols = new(http.Protocols)
		server.Config.Protocols.SetUnencryptedHTTP2(true)
		server.Start()
		_, err := overGRPC(t, server.URL).Infer(context.Background(), parsed(t))
		switch {
		case name == "two statuses":
			if err == nil {
				t.Error("two statuses are taken")
			}
		case tt.want == "" && err != nil, tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || pavise.KindOf(err) != pavise.Unavailable):
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
		server.Close()
	}
}

// TestBinaryUpstream: a server of oip-binary gets raw bytes, and its raw answer is read.
func TestBinaryUpstream(t *testing.T) {
	for length, want := range map[string]string{"": "", "0": "inference-header", "-1": "inference-header", "9999": "and the body has"} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body := make([]byte, r.ContentLength)
			r.Body.Read(body)
			header, _ := binaryLength(r.Header)
			q, err := tensor.OIP.ParseRequest(tensor.Message{Body: body, Header: header}, tensor.Signature{}, tensor.DefaultLimits())
			if err != nil || !q.Raw.All || r.Header.Get("Content-Type") != "application/octet-stream" {
				t.Errorf("asked %q: %v", body, err)
				return
			}
			a, _ := tensor.OIP.AppendResponse(nil, q, &tensor.Response{Model: "m", Outputs: q.Inputs})
			w.Header().Set("Inference-Header-Content-Length", lengthOf(length, a.Header))
			w.Write(a.Body)
		}))
		u, err := NewUpstream(Place{Address: server.URL, Model: "m", Protocol: tensor.NameOIPBinary}, tensor.Signature{}, tensor.DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		a, err := u.Infer(context.Background(), parsed(t))
		if want == "" && (err != nil || a.Outputs[0].Data.Floats[1] != -2) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("length %q: %+v, %v", length, a, err)
		}
		u.Close()
		server.Close()
	}
}

func binaryLength(h http.Header) (int, error) {
	return strconv.Atoi(h.Get("Inference-Header-Content-Length"))
}

// lengthOf is what a server says of its text's length: a lie, or the truth.
func lengthOf(lie string, truth int) string {
	if lie != "" {
		return lie
	}
	return strconv.Itoa(truth)
}
