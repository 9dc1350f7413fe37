package infer

import (
	"encoding/binary"
	"testing"
)

// FuzzMessageGRPC reads answers of a server that frames as it likes: what is taken for its
// message is all of the body behind one true prefix.
func FuzzMessageGRPC(f *testing.F) {
	f.Add("0", "", "application/grpc", []byte{0, 0, 0, 0, 1, 'm'})
	f.Add("0", "identity", "application/grpc+proto", []byte{0, 0, 0, 0, 0})
	f.Add("0", "", "application/grpc", []byte{0, 255, 255, 255, 255})
	f.Add("0", "", "application/grpc", []byte{1, 0, 0, 0, 1, 'm'})
	f.Add("", "gzip", "text/html", []byte(nil))
	f.Add("5", "", "", []byte{0})
	f.Fuzz(func(t *testing.T, status, encoding, media string, body []byte) {
		c := new(call)
		c.answer.Got = [][]byte{[]byte(status), []byte(encoding), []byte(media)}
		c.answer.Body = body
		m, err := new(Upstream).messageGRPC(c)
		if err != nil {
			if len(m.Body) > 0 {
				t.Errorf("a message beside an error: %v", err)
			}
			return
		}
		if status != "0" || body[0] != 0 || int(binary.BigEndian.Uint32(body[1:])) != len(m.Body) || len(m.Body) != len(body)-framePrefix {
			t.Errorf("status %q, body %x taken for %x", status, body, m.Body)
		}
	})
}
