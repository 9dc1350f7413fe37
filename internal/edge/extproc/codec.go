package extproc

import (
	"fmt"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	proc "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that frugal stands before
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// maxAround bounds what a message holds besides a body, in bytes: a header as large as any
// that is taken, attributes, and room. A header field of two bytes becomes a hundred when it
// is read, so without it one message could take a quarter of a gigabyte.
const maxAround = 256 << 10

// frugal reads only messages that do not grow much when they are read. A body does not.
type frugal struct{ encoding.CodecV2 }

func newFrugal() frugal { return frugal{encoding.GetCodecV2("proto")} }

// Unmarshal reads a message, unless it holds too much besides a body.
func (f frugal) Unmarshal(data mem.BufferSlice, v any) error {
	if data.Len() <= maxAround {
		return f.CodecV2.Unmarshal(data, v)
	}
	text := data.Materialize()
	if n := around(text, bodiesIn(v)); n > maxAround {
		return fmt.Errorf("%d bytes besides a body, more than %d", n, maxAround)
	}
	return f.CodecV2.Unmarshal(mem.BufferSlice{mem.SliceBuffer(text)}, v)
}

// A way leads to a field of a message in another one: the numbers of the fields on it.
type way []protowire.Number

// bodiesIn are the ways to the bodies in a message.
func bodiesIn(v any) []way {
	switch v.(type) {
	case *proc.ProcessingRequest:
		return []way{{4, 1}, {5, 1}} // request_body.body, response_body.body
	case *auth.CheckRequest:
		return []way{{1, 4, 2, 11}, {1, 4, 2, 12}} // attributes.request.http.body, .raw_body
	}
	return nil
}

// around is how many bytes of a message lie in none of the fields that the ways lead to.
func around(b []byte, ways []way) (n int) {
	for len(b) > 0 {
		number, kind, tag := protowire.ConsumeTag(b)
		if tag < 0 {
			return n + len(b)
		}
		size := protowire.ConsumeFieldValue(number, kind, b[tag:])
		if size < 0 {
			return n + len(b)
		}
		var on []way
		arrived := false
		for _, w := range ways {
			if kind == protowire.BytesType && w[0] == number {
				if len(w) == 1 {
					arrived = true
				} else {
					on = append(on, w[1:])
				}
			}
		}
		n += tag
		if inner, _ := protowire.ConsumeBytes(b[tag:]); on != nil {
			n += around(inner, on)
		} else if !arrived {
			n += size
		}
		b = b[tag+size:]
	}
	return n
}
