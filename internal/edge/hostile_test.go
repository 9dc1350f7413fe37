package edge_test

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/edgetest"
	"github.com/pavise/pavise/internal/infer"
	"github.com/pavise/pavise/internal/intake"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/tensor"
	"github.com/pavise/pavise/internal/tensor/tensortest"
)

// A hostile is a request that must be refused, and how.
type hostile struct {
	name, method, path string
	status             int
	shape              string
	header             map[string]string
	want               string // in the message
	body               string
}

//go:embed testdata/hostile.txt
var hostileText string

// hostiles reads the table.
func hostiles(t *testing.T) []hostile {
	t.Helper()
	var all []hostile
	var of hostile
	for n, line := range strings.Split(hostileText, "\n") {
		fail := func(err error) {
			if err != nil {
				t.Fatalf("hostile.txt:%d: %v", n+1, err)
			}
		}
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '@':
			h, err := hostileOf(line[1:])
			fail(err)
			of = h
		case line[0] == '!':
			head, body, _ := strings.Cut(line[1:], " -- ")
			h, err := hostileOf(head)
			fail(err)
			text, err := tensortest.Join(body)
			fail(err)
			h.body = string(text)
			all = append(all, h)
		default:
			h := of
			name, rest, _ := strings.Cut(line, " ")
			quoted, err := strconv.QuotedPrefix(rest)
			fail(err)
			h.want, err = strconv.Unquote(quoted)
			fail(err)
			text, err := tensortest.Join(strings.TrimSpace(rest[len(quoted):]))
			fail(err)
			h.name, h.body = of.name+"-"+name, string(text)
			all = append(all, h)
		}
	}
	return all
}

// hostileOf reads NAME METHOD PATH STATUS SHAPE [Header=`value`]...
func hostileOf(line string) (h hostile, err error) {
	fields := strings.SplitN(strings.TrimSpace(line), " ", 6)
	if len(fields) < 5 {
		return h, fmt.Errorf("%q is no request", line)
	}
	h = hostile{name: fields[0], method: fields[1], path: fields[2], shape: fields[4], header: map[string]string{}}
	if h.status, err = strconv.Atoi(fields[3]); err != nil || len(fields) == 5 {
		return h, err
	}
	for rest := strings.TrimSpace(fields[5]); rest != ""; rest = strings.TrimSpace(rest) {
		name, value, _ := strings.Cut(rest, "=")
		quoted, err := strconv.QuotedPrefix(value)
		if err != nil {
			return h, fmt.Errorf("header %q: %w", rest, err)
		}
		if h.header[name], err = strconv.Unquote(quoted); err != nil {
			return h, err
		}
		rest = value[len(quoted):]
	}
	return h, nil
}

// models puts the routes that the table is about.
func models(t *testing.T, w *edgetest.World) {
	t.Helper()
	w.Put(t, func(s *route.Spec) { s.Rate, s.ModelRate = "1000000/1m", "" })
	most := 1000.0
	for id, sig := range map[string]tensor.Signature{
		"k": vector,
		"mixed": {
			Inputs: []tensor.Port{
				{Name: "n", Datatype: tensor.Int8, Shape: []int64{-1}}, {Name: "u", Datatype: tensor.Uint64, Shape: []int64{-1, 2}},
				{Name: "s", Datatype: tensor.Bytes, Shape: []int64{-1}}, {Name: "b", Datatype: tensor.Bool, Shape: []int64{-1, 1, 2}},
			},
			Outputs: vector.Outputs,
		},
		"table": {
			Inputs:  []tensor.Port{{Name: "t", Datatype: tensor.FP64, Shape: []int64{-1, 3}, Columns: []tensor.Column{{Name: "a"}, {Name: "b"}, {Name: "c", Max: &most}}}},
			Outputs: vector.Outputs,
		},
		"text": {Inputs: []tensor.Port{{Name: "s", Datatype: tensor.Bytes, Shape: []int64{-1}}}, Outputs: vector.Outputs},
	} {
		w.Put(t, func(s *route.Spec) {
			s.Name, s.ONNX, s.Upstream, s.Signature = "local/model/"+id, nil, "http://127.0.0.1:1", infer.SignatureText(sig)
			s.Protocol, s.Rate = map[string]string{"k": "v1", "mixed": "tfserving", "table": "mlflow", "text": "mlflow"}[id], "1000000/1m"
		})
	}
}

// TestHostileProtocols sends every request of the table: a protocol-correct error each, a
// record each, and the models answer afterwards.
func TestHostileProtocols(t *testing.T) {
	w := edgetest.New(t)
	models(t, w)
	all := hostiles(t)
	if len(all) < 200 {
		t.Errorf("only %d hostile requests", len(all))
	}
	names := map[string]bool{}
	for i, h := range all {
		if names[h.name] {
			t.Errorf("%s is there twice", h.name)
		}
		names[h.name] = true
		resp, body := h.send(t, w, w.Mint(t, fmt.Sprint("app", i), "caller"))
		said := message(t, h, resp, body)
		if resp.StatusCode != h.status || !strings.Contains(said, h.want) {
			t.Errorf("%s: %d %.300s, want %d and %q", h.name, resp.StatusCode, body, h.status, h.want)
		}
		if len(body) > 2000 {
			t.Errorf("%s: the error is %d bytes long", h.name, len(body))
		}
		if h.header["Authorization"] == "" && has(h.header, "Authorization") || h.status == 401 {
			continue // nobody to make a record of: it is counted
		}
		if r := w.Record(t, resp); r.Outcome != pavise.Deny && r.Error == nil || r.Who == nil || r.Who.ID != fmt.Sprint("app", i) {
			t.Errorf("%s: record %+v", h.name, r)
		}
	}
	for path, body := range map[string]string{"/v1/models/m:predict": `{"instances":[[0.5,0.25]]}`, "/predictions/m": `[[0.5,0.25]]`, "/models/m/invocations": `{"inputs":[[0.5,0.25]]}`} {
		if resp, said := w.Post(t, path, body, nil); resp.StatusCode != 200 {
			t.Errorf("afterwards %s: %d %s", path, resp.StatusCode, said)
		}
	}
}

func has(m map[string]string, key string) bool { _, ok := m[key]; return ok }

// send sends the request as it is, its path above all.
func (h hostile) send(t *testing.T, w *edgetest.World, token string) (*http.Response, string) {
	t.Helper()
	path, query, _ := strings.Cut(h.path, "?")
	return w.Post(t, "/", h.body, func(r *http.Request) {
		r.Method = h.method
		r.URL.Opaque = "//" + r.URL.Host + path // spelled just so
		r.URL.RawQuery = query
		r.Header.Set("Authorization", "Bearer "+token)
		for name, value := range h.header {
			r.Header.Set(name, value)
			if value == "" && name == "Authorization" {
				r.Header.Del(name)
			}
		}
	})
}

// message returns what an error object of the shape says.
func message(t *testing.T, h hostile, resp *http.Response, body string) string {
	t.Helper()
	var flat struct {
		Error, Message, Type, ErrorCode string
		Code                            int
	}
	var chat struct {
		Error struct{ Message, Type string }
	}
	var mlflow struct {
		Code    string `json:"error_code"`
		Message string `json:"message"`
	}
	switch h.shape {
	case "grpc":
		if resp.Header.Get("Grpc-Status") == "" || resp.Header.Get("Grpc-Status") == "0" || body != "" || resp.Header.Get("Content-Type") != "application/grpc" {
			t.Errorf("%s: %v %q is no gRPC refusal", h.name, resp.Header, body)
		}
		return resp.Header.Get("Grpc-Message")
	case "openai":
		if err := json.Unmarshal([]byte(body), &chat); err != nil || chat.Error.Message == "" || chat.Error.Type == "" {
			t.Errorf("%s: %.300q is no error of OpenAI's: %v", h.name, body, err)
		}
		return chat.Error.Message
	case "mlflow":
		if err := json.Unmarshal([]byte(body), &mlflow); err != nil || mlflow.Code == "" || mlflow.Message == "" {
			t.Errorf("%s: %.300q is no error of MLflow's: %v", h.name, body, err)
		}
		return mlflow.Message
	}
	if err := json.Unmarshal([]byte(body), &flat); err != nil && h.shape != "openai" {
		t.Errorf("%s: %.300q: %v", h.name, body, err)
	}
	if h.shape == "torch" {
		if flat.Code != resp.StatusCode || flat.Type == "" {
			t.Errorf("%s: %.300q is no error of TorchServe's", h.name, body)
		}
		return flat.Message
	}
	if flat.Error == "" {
		t.Errorf("%s: %.300q has no error", h.name, body)
	}
	return flat.Error
}

// zeros is a body that never ends by itself.
type zeros struct{ left int }

func (z *zeros) Read(p []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := min(len(p), z.left)
	for i := range n {
		p[i] = '['
	}
	z.left -= n
	return n, nil
}

// TestHugeBodies sends 100 MB to each door, with a length and without, to all of them at
// once, and finds that little of it is ever held: the heap is looked at meanwhile.
func TestHugeBodies(t *testing.T) {
	w := edgetest.New(t)
	models(t, w)
	const size, most = 100 << 20, 64 << 20
	peak := watchHeap(t)
	var doors sync.WaitGroup
	for _, path := range []string{"/v1/models/text:predict", "/predictions/text", "/models/text/invocations", "/v2/models/text/infer", "/v2/repository/index", "/v1/chat/completions", "/unknown"} {
		for _, length := range []int64{size, -1} {
			doors.Go(func() {
				resp, err := post(w, path, &zeros{size}, length)
				if err == nil && resp.StatusCode < 400 { // or the server hung up on the way, which will do
					t.Errorf("%s: status %d", path, resp.StatusCode)
				}
			})
		}
	}
	doors.Wait()
	if grown := peak(); grown > most {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
}

// watchHeap looks at the heap until the function that it returns is called, which says by
// how many bytes it grew at most.
func watchHeap(t *testing.T) (peak func() int64) {
	t.Helper()
	runtime.GC()
	held := func() int64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before, most := held(), int64(0)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			most = max(most, held()-before)
			select {
			case <-done:
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	}()
	return func() int64 {
		close(done)
		<-ended
		return most
	}
}

func post(w *edgetest.World, path string, body io.Reader, length int64) (*http.Response, error) {
	req, err := http.NewRequest("POST", w.Server.URL+path, body)
	if err != nil {
		return nil, err
	}
	req.ContentLength = length
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+w.Token)
	resp, err := http.DefaultClient.Do(req)
	if err == nil {
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	return resp, err
}

// TestSlowBodies finds a read deadline on the body of every door.
func TestSlowBodies(t *testing.T) {
	w := edgetest.New(t)
	models(t, w)
	permit(t, w, `permit (principal, action == Action::"model.tokenize", resource);`)
	for _, path := range []string{"/v1/models/m:predict", "/predictions/m", "/models/m/invocations", "/v2/models/m/infer", "/v1/chat/completions", "/tokenize"} {
		d := &deadlines{ResponseRecorder: newRecorder()}
		r := newRequest("POST", path, strings.NewReader(`{`))
		r.Header.Set("Authorization", "Bearer "+w.Token)
		w.Edge.Handler().ServeHTTP(d, r)
		if len(d.read) == 0 || time.Until(d.read[0]) > intake.BodyTime {
			t.Errorf("%s has the deadlines %v", path, d.read)
		}
	}
}
