package edge_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/pavise/pavise/internal/edge"
	"github.com/pavise/pavise/internal/edgetest"
)

// TestGRPCStreamFrames are streams of questions whose frames lie, or which ask for what is
// not theirs. What was good before is answered, each question leaves one record, and the
// stream ends with a status of the protocol.
func TestGRPCStreamFrames(t *testing.T) {
	framed := func(flag byte, n int, b []byte) []byte {
		return append(binary.BigEndian.AppendUint32([]byte{flag}, uint32(n)), b...)
	}
	whole := func(b []byte) []byte { return framed(0, len(b), b) }
	good, other := question(t, "m"), question(t, "other")
	late := append(protowire.AppendBytes(protowire.AppendTag(nil, 100, protowire.BytesType), make([]byte, 300)), good...) // its name is far behind
	twice := append(slices.Clip(good), 0x0a, 1, 'x')                                                                      // and names another model at its end
	client := &http.Client{Transport: &http.Transport{Protocols: new(http.Protocols)}}
	client.Transport.(*http.Transport).Protocols.SetUnencryptedHTTP2(true)
	for name, c := range map[string]struct {
		body    []byte
		edit    func(http.Header)
		answers string // + is an answer, - an error in its place
		status  string
		records int
	}{
		"good":                      {slices.Repeat(whole(good), 3), nil, "+++", "0", 3},
		"nothing":                   {nil, nil, "", "0", 0},
		"empty messages":            {slices.Repeat(whole(nil), 10), nil, strings.Repeat("-", 10), "0", 10},
		"an empty one among others": {slices.Concat(whole(good), whole(nil), whole(good)), nil, "+-+", "0", 3},
		"another's model":           {slices.Concat(whole(good), whole(other), whole(good)), nil, "+-+", "0", 3},
		"a model of two names":      {slices.Concat(whole(twice), whole(good)), nil, "-+", "0", 2},
		"a name that comes late":    {slices.Concat(whole(late), whole(good)), nil, "-+", "0", 2},
		"noise":                     {slices.Concat(whole(bytes.Repeat([]byte{0xff}, 1000)), whole(good)), nil, "-+", "0", 2},
		"groups in groups":          {slices.Concat(whole(bytes.Repeat([]byte{0x0b}, 100_000)), whole(good)), nil, "-+", "0", 2},
		"half a prefix at the end":  {slices.Concat(whole(good), []byte{0, 0}), nil, "+", "3", 2},
		"half a message at the end": {slices.Concat(whole(good), framed(0, len(good), good[:9])), nil, "+", "3", 2},
		"a prefix alone":            {slices.Concat(whole(good), framed(0, len(good), nil)), nil, "+", "3", 2},
		"compressed in the middle":  {slices.Concat(whole(good), framed(1, len(good), good), whole(good)), nil, "+", "12", 2},
		"an unknown flag":           {slices.Concat(whole(good), framed(0x80, len(good), good)), nil, "+", "3", 2},
		"four gigabytes":            {slices.Concat(whole(good), framed(0, 1<<32-1, good)), nil, "+", "8", 2},
		"one byte longer":           {slices.Concat(framed(0, len(good)+1, good), whole(good)), nil, "-", "", 2},
		"HTTP/1.1 in the stream":    {slices.Concat(whole(good), []byte("POST /v2/repository/models/m/unload HTTP/1.1\r\n\r\n")), nil, "+", "3", 2},
		"compressed altogether":     {whole(good), func(h http.Header) { h.Set("Grpc-Encoding", "gzip") }, "", "12", 1},
		"no time":                   {whole(good), func(h http.Header) { h.Set("Grpc-Timeout", "0n") }, "", "4", 1},
		"two subjects":              {slices.Repeat(whole(good), 2), func(h http.Header) { h["Pavise-Subject"] = []string{"a", "b"} }, "--", "0", 2},
		"two tokens":                {whole(good), func(h http.Header) { h.Add("Authorization", "Bearer x") }, "", "16", 0},
		"no token":                  {whole(good), func(h http.Header) { h.Del("Authorization") }, "", "16", 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := edgetest.New(t) // of many refusals in a second some are counted together
			w.Put(t, nil)
			size := w.Log.Size()
			r, _ := http.NewRequest("POST", w.Server.URL+service+"ModelStreamInfer", bytes.NewReader(c.body))
			r.Header.Set("Content-Type", "application/grpc")
			r.Header.Set("Authorization", "Bearer "+w.Token)
			if c.edit != nil {
				c.edit(r.Header)
			}
			resp, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			answers := ""
			for len(text) >= 5 {
				n := int(binary.BigEndian.Uint32(text[1:]))
				answers += map[byte]string{0x0a: "-", 0x12: "+"}[text[5]]
				text = text[5+n:]
			}
			status := resp.Header.Get("Grpc-Status") + resp.Trailer.Get("Grpc-Status")
			if answers != c.answers || c.status != "" && status != c.status || status == "" || len(text) > 0 || resp.StatusCode != 200 {
				t.Errorf("answers %q, status %s; %v %v", answers, status, resp.Header, resp.Trailer)
			}
			var kinds []string
			for _, r := range w.Log.Records(size, w.Log.Size()) {
				if r.Kind == "model.infer" || r.Kind == edge.VerbOther {
					kinds = append(kinds, r.Kind)
				}
			}
			if len(kinds) != c.records {
				t.Errorf("records %v, want %d", kinds, c.records)
			}
		})
	}
}

// TestGRPCStreamDeadline ends a stream on which nothing comes any more when the time is up
// that its caller gave it, and not when we would lose patience.
func TestGRPCStreamDeadline(t *testing.T) {
	w := edgetest.New(t)
	w.Put(t, nil)
	good := question(t, "m")
	body, more := io.Pipe()
	defer more.Close()
	go more.Write(append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(good))), good...))
	client := &http.Client{Transport: &http.Transport{Protocols: new(http.Protocols)}}
	client.Transport.(*http.Transport).Protocols.SetUnencryptedHTTP2(true)
	r, _ := http.NewRequestWithContext(t.Context(), "POST", w.Server.URL+service+"ModelStreamInfer", body)
	r.Header.Set("Content-Type", "application/grpc")
	r.Header.Set("Authorization", "Bearer "+w.Token)
	r.Header.Set("Grpc-Timeout", "700m")
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if status := resp.Trailer.Get("Grpc-Status"); err != nil || status != "4" || len(text) < 6 || text[5] != 0x12 {
		t.Errorf("status %s after %x, %v", status, text, err)
	}
}
