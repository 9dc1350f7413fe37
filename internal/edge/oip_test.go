package edge_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/edgetest"
	"github.com/pavise/pavise/internal/intake"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/tensor"
	"github.com/pavise/pavise/internal/tensor/tensortest"
)

const inferPath = "/v2/models/m/infer"

// TestHostileRequests sends every body of the firewall's table through the real
// server: a protocol-correct error each, a record each, and the same model
// answering afterwards.
func TestHostileRequests(t *testing.T) {
	w := edgetest.New(t)
	w.Put(t, func(s *route.Spec) { s.Rate, s.ModelRate = "1000000/1m", "" })
	cases, err := tensortest.Hostile()
	if err != nil {
		t.Fatal(err)
	}
	if len(cases) < 80 {
		t.Fatalf("only %d hostile requests", len(cases))
	}
	for _, c := range cases {
		resp, body := w.Post(t, inferPath, string(c.Body), nil)
		var said struct{ Error string }
		if err := json.Unmarshal([]byte(body), &said); err != nil || said.Error == "" {
			t.Errorf("%s: body %.200q is not the protocol's error", c.Name, body)
		}
		if resp.StatusCode != 400 {
			t.Errorf("%s: status %d, %s", c.Name, resp.StatusCode, said.Error)
		}
		if r := w.Record(t, resp); r.Outcome != pavise.Deny || r.Error == nil {
			t.Errorf("%s: record %+v", c.Name, r)
		}
	}
	if resp, body := w.Post(t, inferPath, edgetest.Good, nil); resp.StatusCode != 200 {
		t.Errorf("afterwards: %d %s", resp.StatusCode, body)
	}
}

// TestNamedModel sends bodies that name their model, as KServe's client does. Only the
// one that the path names is asked.
func TestNamedModel(t *testing.T) {
	w := edgetest.New(t)
	w.Put(t, nil)
	for name, want := range map[string]int{`"m"`: 200, `"other"`: 400, `""`: 400, `null`: 400, `"../m"`: 400} {
		body := strings.Replace(edgetest.Good, "{", `{"model_name":`+name+`,`, 1)
		resp, said := w.Post(t, inferPath, body, nil)
		if resp.StatusCode != want {
			t.Errorf("model_name %s: status %d, want %d: %s", name, resp.StatusCode, want, said)
		}
		if r := w.Record(t, resp); (r.Error == nil) != (want == 200) {
			t.Errorf("model_name %s: record %+v", name, r)
		}
	}
}

// TestHostileEnvelopes are requests wrong around the body.
func TestHostileEnvelopes(t *testing.T) {
	w := edgetest.New(t)
	w.Put(t, nil)
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	path := func(p string) func(*http.Request) {
		return func(r *http.Request) { r.URL.Path = p }
	}
	tests := []struct {
		name string
		edit func(*http.Request)
		want int
	}{
		{"form", header("Content-Type", "application/x-www-form-urlencoded"), 400},
		{"no type", func(r *http.Request) { r.Header["Content-Type"] = nil }, 200},
		{"an empty type", header("Content-Type", ""), 400},
		{"two types", func(r *http.Request) { r.Header.Add("Content-Type", "application/json") }, 400},
		{"octets", header("Content-Type", "application/octet-stream"), 400},
		{"gzip", header("Content-Encoding", "gzip"), 400},
		{"deflate", header("Content-Encoding", "deflate"), 400},
		{"raw bytes of nothing", header("Inference-Header-Content-Length", "0"), 400}, // the text is no multiple of a row
		{"the text's length", header("Inference-Header-Content-Length", strconv.Itoa(len(edgetest.Good))), 200},
		{"one less", header("Inference-Header-Content-Length", strconv.Itoa(len(edgetest.Good)-1)), 400},
		{"one more", header("Inference-Header-Content-Length", strconv.Itoa(len(edgetest.Good)+1)), 400},
		{"a negative length", header("Inference-Header-Content-Length", "-1"), 400},
		{"a signed length", header("Inference-Header-Content-Length", "+80"), 400},
		{"a hexadecimal length", header("Inference-Header-Content-Length", "0x50"), 400},
		{"an octal length", header("Inference-Header-Content-Length", "080"), 400},
		{"a huge length", header("Inference-Header-Content-Length", "99999999999999999999"), 400},
		{"an empty length", header("Inference-Header-Content-Length", ""), 400},
		{"a list of lengths", header("Inference-Header-Content-Length", "80, 80"), 400},
		{"two lengths", func(r *http.Request) { r.Header["Inference-Header-Content-Length"] = []string{"79", "79"} }, 400},
		{"no token", func(r *http.Request) { r.Header.Del("Authorization") }, 401},
		{"basic", header("Authorization", "Basic YTpi"), 401},
		{"alg none", header("Authorization", "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0."), 401},
		{"two tokens", func(r *http.Request) { r.Header.Add("Authorization", "Bearer x") }, 401},
		{"another model", path("/v2/models/other/infer"), 404},
		{"another tenant's model", path("/v2/models/..%2F..%2Fother/infer"), 403},
		{"repository", path("/v2/repository/index"), 403},
		{"shared memory", path("/v2/systemsharedmemory/region/x/register"), 403},
		{"trace", path("/v2/trace/setting"), 403},
		{"generate", path("/v2/models/m/generate"), 403},
		{"get", func(r *http.Request) { r.Method = "GET" }, 404},
		{"delete", func(r *http.Request) { r.Method = "DELETE" }, 404},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			resp, body := w.Post(t, inferPath, edgetest.Good, tt.edit)
			if resp.StatusCode != tt.want {
				t.Errorf("status %d, want %d: %s", resp.StatusCode, tt.want, body)
			}
			if !json.Valid([]byte(body)) {
				t.Errorf("body %q is not JSON", body)
			}
			if strings.Contains(body, "eyJ") {
				t.Errorf("the answer shows the token: %s", body)
			}
		})
	}
}

// TestBinaryExtension asks with raw bytes, and is answered as it asks.
func TestBinaryExtension(t *testing.T) {
	w := edgetest.New(t)
	w.Put(t, nil)
	const raw = "\x00\x00\x00\x3f\x00\x00\x80\x3e" // 0.5, 0.25
	ask := func(text string, header string) (*http.Response, string) {
		return w.Post(t, inferPath, text+raw, func(r *http.Request) {
			r.Header.Set("Content-Type", "application/octet-stream")
			r.Header.Set("Inference-Header-Content-Length", header)
		})
	}
	const text = `{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}}]`
	if resp, body := ask(text+"}", strconv.Itoa(len(text)+1)); body != edgetest.Answer || resp.Header.Get("Inference-Header-Content-Length") != "" {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	const wanted = text + `,"parameters":{"binary_data_output":true}}`
	for text, header := range map[string]string{wanted: strconv.Itoa(len(wanted)), "": "0"} {
		resp, body := ask(text, header)
		n, err := strconv.Atoi(resp.Header.Get("Inference-Header-Content-Length"))
		if err != nil || n > len(body) || resp.Header.Get("Content-Type") != "application/octet-stream" {
			t.Fatalf("%d %v %q", resp.StatusCode, resp.Header, body)
		}
		a, err := tensor.OIP.ParseResponse(tensor.Message{Body: []byte(body), Header: n}, nil, tensor.Signature{}, tensor.DefaultLimits())
		if err != nil || a.Outputs[0].Data.Floats[0] != float64(float32(0.4223)) || n != len(body)-12 {
			t.Errorf("%q is read %+v, %v", body, a, err)
		}
		w.Record(t, resp)
	}
}

// deadlines notes those that a handler sets.
type deadlines struct {
	*httptest.ResponseRecorder
	read []time.Time
}

func (d *deadlines) SetReadDeadline(at time.Time) error {
	d.read = append(d.read, at)
	return nil
}

// TestBodyHasADeadline finds it set before the body is read, and gone after its
// end.
func TestBodyHasADeadline(t *testing.T) {
	w := edgetest.New(t)
	w.Put(t, nil)
	for body, want := range map[string]int{edgetest.Good: 2, strings.Repeat(" ", 1<<20): 1} {
		r := httptest.NewRequest("POST", "/v2/models/m/infer", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+w.Token)
		d := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		w.Edge.Handler().ServeHTTP(d, r)
		if len(d.read) != want || time.Until(d.read[0]) > intake.BodyTime || want == 2 && !d.read[1].IsZero() {
			t.Errorf("a body of %d bytes has the deadlines %v", len(body), d.read)
		}
	}
}
