package redteam

import (
	"math"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/plainjson"
	"github.com/pavise/pavise/internal/tensor"
)

// FuzzAnswer reads what a server that is attacked says of its model, and what it answers. It
// may be anybody's program on this machine: what is taken has so many finite scores as there
// are rows and classes, and all else is refused in words of a bounded length.
func FuzzAnswer(f *testing.F) {
	const model = `{"name":"m","versions":["1"],"inputs":[{"name":"x","datatype":"FP32","shape":[-1,2]}],"outputs":[{"name":"s","datatype":"FP32","shape":[-1,2]}]}`
	const answer = `{"model_name":"m","outputs":[{"name":"s","datatype":"FP32","shape":[2,2],"data":[0.1,0.9,1,0]}]}`
	f.Add([]byte(model), []byte(answer), "", 2)
	f.Add([]byte(model), []byte(strings.Replace(answer, "[2,2]", "[4,1]", 1)), "s", 2)
	f.Add([]byte(strings.Replace(model, `[-1,2]}]}`, `[-1]}]}`, 1)), []byte(`{"model_name":"m","outputs":[{"name":"s","datatype":"FP64","shape":[2],"data":[0.5,1.5]}]}`), "", 2)
	f.Add([]byte(strings.ReplaceAll(model, "2]", "1048577]")), []byte(`{"error":"no"}`), "", 1)
	f.Add([]byte(strings.ReplaceAll(model, "[-1,2]", "[]")), []byte(answer), "t", 0)
	f.Add([]byte(`{"inputs":[],"outputs":null}`), []byte(`{"model_name":"m","outputs":[{"name":"s","datatype":"BYTES","shape":[1],"data":["0.5"]}]}`), "", 1)
	f.Add([]byte(`{"inputs":[{"name":"x","datatype":"FP32","shape":[9223372036854775807,-9223372036854775808]}]}`), []byte("\xff"), "", 1)
	f.Fuzz(func(t *testing.T, model, answer []byte, output string, rows int) {
		if rows = rows & 63; len(model) > 1<<16 || len(answer) > 1<<16 {
			return
		}
		if said := errorIn(answer); len([]rune(said)) > 200 || strings.ContainsAny(said, "\r\n") {
			t.Fatalf("%q is told as %q", answer, said)
		}
		var signature tensor.Signature
		if plainjson.Read(model, &signature) != nil {
			return
		}
		v := new(victim)
		if err := v.understand(signature, output); err != nil {
			if pavise.KindOf(err) != pavise.Invalid || len(err.Error()) > 1000 {
				t.Fatalf("%s: %v", model, err)
			}
			return
		}
		if v.cols < 1 || v.cols > 1<<20 || v.classes < 2 && !v.single && v.classes != 1 || output != "" && v.output.Name != output {
			t.Fatalf("%s is %d columns, and %d classes of %q", model, v.cols, v.classes, v.output.Name)
		}
		said, err := tensor.ParseResponse(answer, tensor.DefaultLimits())
		if err != nil {
			return
		}
		got, err := v.scores(said, rows)
		if err != nil {
			if pavise.KindOf(err) != pavise.Unavailable || len(err.Error()) > 1000 {
				t.Fatalf("%s: %v", answer, err)
			}
			return
		}
		if got.Rows != rows || got.Cols != v.classes || len(got.Data) != rows*v.classes {
			t.Fatalf("%s are %d rows of %d, and %d numbers", answer, got.Rows, got.Cols, len(got.Data))
		}
		for _, x := range got.Data {
			if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
				t.Fatalf("%s has the score %v", answer, x)
			}
		}
	})
}

// FuzzOwnServer reads the address of what is attacked: it is on this machine, whatever is
// written.
func FuzzOwnServer(f *testing.F) {
	for _, text := range []string{
		"http://127.0.0.1:8470/v2/models/m", "http://localhost/v2/models/m/infer", "http://[::1]:80/v2/models/m/", "http://LOCALHOST:1/v2/models/m", "http://127.1/v2/models/m",
		"http://[::ffff:127.0.0.1]/v2/models/m", "http://[::ffff:8.8.8.8]/v2/models/m", "http://[::1%25lo]/v2/models/m", "http://127.0.0.1@example.org/v2/models/m", "http://127.0.0.1/v2/models/", "http://127.0.0.1/v2/models/../x", "http://localhost:80:80/v2/models/m", "http://127.0.0.1/v2/models/m%2f..%2fx?a#b", "https://127.0.0.1/v2/models/m",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		server, err := ownServer(text)
		if err != nil {
			if pavise.KindOf(err) != pavise.Invalid || len(err.Error()) > 2000 {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		u, err := url.Parse(server)
		if err != nil || u.Scheme != "http" || u.User != nil || !strings.HasPrefix(u.Path, "/v2/models/") {
			t.Fatalf("%q is %q, %v", text, server, err)
		}
		if ip, err := netip.ParseAddr(u.Hostname()); err != nil || !ip.IsLoopback() {
			t.Fatalf("%q is %q, which is elsewhere", text, server)
		}
	})
}
