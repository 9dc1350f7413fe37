package extproc

import (
	"bytes"
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	proc "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// TestFrugal reads messages that are large for their bodies, and none that are for something
// that grows when it is read.
func TestFrugal(t *testing.T) {
	body, few, many := make([]byte, 5<<20), &core.HeaderMap{}, &core.HeaderMap{}
	for range 200_000 {
		many.Headers = append(many.Headers, &core.HeaderValue{})
	}
	question := func(h *auth.AttributeContext_HttpRequest, extensions map[string]string) proto.Message {
		return &auth.CheckRequest{Attributes: &auth.AttributeContext{Request: &auth.AttributeContext_Request{Http: h}, ContextExtensions: extensions}}
	}
	for name, c := range map[string]struct {
		message proto.Message
		good    bool
	}{
		"a request's body":       {&proc.ProcessingRequest{Request: &proc.ProcessingRequest_RequestBody{RequestBody: &proc.HttpBody{Body: body, EndOfStream: true}}}, true},
		"an answer's body":       {&proc.ProcessingRequest{Request: &proc.ProcessingRequest_ResponseBody{ResponseBody: &proc.HttpBody{Body: body}}}, true},
		"a header":               {&proc.ProcessingRequest{Request: &proc.ProcessingRequest_RequestHeaders{RequestHeaders: &proc.HttpHeaders{Headers: few}}}, true},
		"too many fields":        {&proc.ProcessingRequest{Request: &proc.ProcessingRequest_RequestHeaders{RequestHeaders: &proc.HttpHeaders{Headers: many}}}, false},
		"too many, of an answer": {&proc.ProcessingRequest{Request: &proc.ProcessingRequest_ResponseHeaders{ResponseHeaders: &proc.HttpHeaders{Headers: many}}}, false},
		"too many at the end":    {&proc.ProcessingRequest{Request: &proc.ProcessingRequest_RequestTrailers{RequestTrailers: &proc.HttpTrailers{Trailers: many}}}, false},
		"a raw body":             {question(&auth.AttributeContext_HttpRequest{RawBody: body}, nil), true},
		"a body of text":         {question(&auth.AttributeContext_HttpRequest{Body: string(body)}, nil), true},
		"too many in a question": {question(&auth.AttributeContext_HttpRequest{HeaderMap: many, RawBody: body}, nil), false},
		"a large extension":      {question(&auth.AttributeContext_HttpRequest{}, map[string]string{"a": string(body)}), false},
	} {
		text, err := proto.Marshal(c.message)
		if err != nil {
			t.Fatal(err)
		}
		got := c.message.ProtoReflect().New().Interface()
		err = newFrugal().Unmarshal(mem.BufferSlice{mem.SliceBuffer(text[:len(text)/2]), mem.SliceBuffer(text[len(text)/2:])}, got)
		if (err == nil) != c.good || c.good && !proto.Equal(got, c.message) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzAround measures whatever bytes somebody makes up: never more than there are, and all of
// them where no way leads anywhere.
func FuzzAround(f *testing.F) {
	f.Add([]byte{0x22, 4, 0x0a, 2, 'a', 'b'})
	f.Add(bytes.Repeat([]byte{0x0b}, 100)) // groups in groups
	f.Fuzz(func(t *testing.T, b []byte) {
		some, all := around(b, bodiesIn(&proc.ProcessingRequest{})), around(b, nil)
		if all != len(b) || some > all || some < 0 {
			t.Fatalf("%d, %d of %d", some, all, len(b))
		}
	})
}
