package infer

import (
	"errors"
	"net"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/tensor"
)

// TestMistaken asks servers that speak something else than their route says: callers get
// to know what was expected, whoever put the route also where.
func TestMistaken(t *testing.T) {
	plain := httptest.NewServer(nil)
	defer plain.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() { // a server of HTTP/2 alone: it begins with its settings
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conn.Write([]byte{0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100})
			conn.Read(make([]byte, 1))
			conn.Close()
		}
	}()
	for _, tt := range []struct{ address, protocol, want string }{
		{plain.URL, tensor.NameOIPGRPC, "asked in HTTP/2, as gRPC is, and answered in something else"},
		{"https://" + plain.Listener.Addr().String(), tensor.NameOIP, "asked by TLS and answered without"},
		{"https://" + plain.Listener.Addr().String(), tensor.NameOIPGRPC, "asked by TLS and answered without"},
		{"http://" + listener.Addr().String(), tensor.NameOIP, "without an answer in it"},
	} {
		at := Place{Address: tt.address, Model: "m", Protocol: tt.protocol}
		u, err := NewUpstream(at, tensor.Signature{}, tensor.DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		_, err = u.Describe(t.Context())
		u.Close()
		e, ok := errors.AsType[*pavise.Error](err)
		if !ok {
			t.Fatalf("%s by %s: %v", tt.address, tt.protocol, err)
		}
		if said := e.Msg + e.Hint; !strings.Contains(said, tt.want) || !strings.Contains(said, "the route's") || strings.Contains(said, "127.0.0.1") {
			t.Errorf("%s by %s: a caller gets %v, want %s", tt.address, tt.protocol, err, tt.want)
		}
		if err := Unreached(at, err); !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), tt.address) {
			t.Errorf("%s by %s: whoever put it gets %v", tt.address, tt.protocol, err)
		}
	}
}
