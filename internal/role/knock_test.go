package role

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/pavise/pavise/internal/installation"
)

// TestMalformedRequestsAreCounted sends what no handler ever sees, an attempt at request
// smuggling: the log says where it came from, and why it was refused.
func TestMalformedRequestsAreCounted(t *testing.T) {
	r := runUp(t, UpConfig{Data: installation.Data(t.TempDir())})
	conn, err := net.Dial("tcp", r.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "POST /v2/models/m/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
	if _, err := io.ReadAll(conn); err != nil {
		t.Fatal(err)
	}
	const want = `{"source":"127.0.0.1","reason":"http: it has both Content-Length and Transfer-Encoding","count":1}`
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		for _, note := range r.Log.Records(0, r.Log.Size()) {
			if note.Kind == "identity.refused" {
				if string(note.Detail) != want {
					t.Errorf("the note says %s, want %s", note.Detail, want)
				}
				return
			}
		}
	}
	t.Error("no note tells of it")
}
