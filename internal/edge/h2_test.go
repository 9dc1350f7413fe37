package edge_test

import (
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/pavise/pavise/internal/edgetest"
)

// literal writes header fields in HPACK without a table or Huffman (RFC 7541, 6.2.2).
func literal(fields ...[2]string) (b []byte) {
	text := func(s string) {
		if len(s) < 127 {
			b = append(b, byte(len(s)))
		} else {
			b = binary.AppendUvarint(append(b, 127), uint64(len(s)-127))
		}
		b = append(b, s...)
	}
	for _, f := range fields {
		b = append(b, 0)
		text(f[0])
		text(f[1])
	}
	return b
}

// fate reads what becomes of the stream 1: a status, or "broken" if it, or its whole
// connection, ends without one. Of the statuses it knows those that have a place in
// HPACK's table.
func fate(t *testing.T, conn io.Reader) string {
	t.Helper()
	for {
		var head [9]byte
		if _, err := io.ReadFull(conn, head[:]); err != nil {
			return "broken"
		}
		payload := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		if _, err := io.ReadFull(conn, payload); err != nil {
			return "broken"
		}
		switch head[3] {
		case 1:
			if status, known := map[byte]string{0x88: "200", 0x8c: "400", 0x8d: "404", 0x8e: "500"}[payload[0]]; known {
				return status
			}
			return "another status"
		case 3, 7: // which of the two it is depends on how much the server has read
			return "broken"
		}
	}
}

// TestHostileHTTP2 sends requests over HTTP/2 that are malformed, or that two readers
// could take for different ones. Those that reach the door leave a record.
func TestHostileHTTP2(t *testing.T) {
	w := edgetest.New(t)
	w.Put(t, nil)
	type fields = [][2]string
	request := func(edit map[string]string, more ...[2]string) (all fields) {
		for _, f := range (fields{{":method", "POST"}, {":scheme", "http"}, {":path", "/v2/models/m/infer"}, {":authority", "x"}, {"authorization", "Bearer " + w.Token}, {"content-type", "application/json"}}) {
			if v, other := edit[f[0]]; other {
				f[1] = v
			}
			all = append(all, f)
		}
		return append(all, more...)
	}
	path := func(p string) fields { return request(map[string]string{":path": p}) }
	for name, tt := range map[string]struct {
		fields, trailers fields
		want             string
		record           bool
	}{
		"good":                     {request(nil), nil, "200", true},
		"trailers that say more":   {request(nil), fields{{"authorization", "Bearer x"}, {"pavise-subject", "z"}}, "200", true},
		"another way to say it":    {request(nil, [2]string{"x-http-method-override", "DELETE"}, [2]string{"x-original-url", "/v2/health/live"}, [2]string{"x-rewrite-url", "/"}), nil, "200", true},
		"length above":             {request(nil, [2]string{"content-length", "500"}), nil, "400", true},
		"length below":             {request(nil, [2]string{"content-length", "5"}), nil, "broken", false},
		"length of minus":          {request(nil, [2]string{"content-length", "-1"}), nil, "broken", false},
		"length with plus":         {request(nil, [2]string{"content-length", "+77"}), nil, "broken", false},
		"chunked":                  {request(nil, [2]string{"transfer-encoding", "chunked"}), nil, "400", false},
		"connection":               {request(nil, [2]string{"connection", "close"}), nil, "400", false},
		"TE":                       {request(nil, [2]string{"te", "gzip"}), nil, "400", false},
		"capitals":                 {request(nil, [2]string{"X-A", "y"}), nil, "broken", false},
		"a second path":            {request(nil, [2]string{":path", "/v2/health/live"}), nil, "broken", false},
		"status":                   {request(nil, [2]string{":status", "200"}), nil, "broken", false},
		"line ends in a value":     {request(nil, [2]string{"x-a", "y\r\nauthorization: z"}), nil, "broken", false},
		"line ends in the path":    {path("/v2/models/m/infer\r\nx: y"), nil, "broken", false},
		"pseudo field in trailers": {request(nil), fields{{":path", "/x"}}, "broken", false},
		"no scheme":                {request(nil)[2:], nil, "broken", false},
		"CONNECT":                  {request(map[string]string{":method": "CONNECT"}), nil, "broken", false},
		"extended CONNECT":         {append(fields{{":protocol", "websocket"}}, request(map[string]string{":method": "CONNECT"})...), nil, "broken", false},
		"two types":                {request(nil, [2]string{"content-type", "text/plain"}), nil, "400", true},
		"no path":                  {path(""), nil, "broken", false},
		"no slash":                 {path("v2/models/m/infer"), nil, "broken", false},
		"absolute":                 {path("http://x/v2/models/m/infer"), nil, "400", true},
		"absolute with user":       {path("http://a:b@y/v2/models/m/infer"), nil, "400", true},
		"absolute without path":    {path("http://x"), nil, "400", true},
		"opaque":                   {path("http:v2/models/m/infer"), nil, "400", true},
		"a word":                   {path("x:"), nil, "400", true},
		"doubled":                  {path("//v2/models/m/infer"), nil, "400", true},
		"dots":                     {path("/v2/models/./m/infer"), nil, "400", true},
		"encoded slash":            {path("/v2/models%2Fm/infer"), nil, "400", true},
		"fragment":                 {path("/v2/models/m/infer#x"), nil, "404", true},
		"a version behind":         {path("/v2/models/m/infer HTTP/1.1"), nil, "404", true},
		"method of two words":      {request(map[string]string{":method": "POST /x"}), nil, "404", true},
		"method in lower case":     {request(map[string]string{":method": "post"}), nil, "404", true},
	} {
		conn, err := net.Dial("tcp", w.Server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		before := w.Log.Size()
		end := byte(1) // END_STREAM
		if tt.trailers != nil {
			end = 0
		}
		out := append([]byte(preface), frame(4, 0, 0, nil)...)
		out = append(out, frame(1, 4, 1, literal(tt.fields...))...)
		out = append(out, frame(0, end, 1, []byte(edgetest.Good))...)
		if tt.trailers != nil {
			out = append(out, frame(1, 5, 1, literal(tt.trailers...))...)
		}
		conn.Write(out)
		if got := fate(t, conn); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
		conn.Close()
		if tt.record && w.Log.Size() == before {
			t.Errorf("%s: no record", name)
		}
	}
	if resp, body := w.Post(t, inferPath, edgetest.Good, nil); resp.StatusCode != 200 {
		t.Errorf("afterwards: %d %s", resp.StatusCode, body)
	}
}
