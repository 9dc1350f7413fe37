package edge_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/edgetest"
	"github.com/pavise/pavise/internal/infer"
	"github.com/pavise/pavise/internal/route"
)

// refusedAsk asks and wants a refusal with that status, that says why, and with a record.
func refusedAsk(t *testing.T, w *edgetest.World, name, path, body string, edit func(*http.Request), status int, why string) {
	t.Helper()
	resp, said := w.Post(t, path, body, func(r *http.Request) {
		r.Header.Set("Authorization", "Bearer "+w.Mint(t, "app", "caller"))
		if edit != nil {
			edit(r)
		}
	})
	if resp.StatusCode != status || !strings.Contains(said, why) {
		t.Errorf("%s: %d %s, want %d and %q", name, resp.StatusCode, said, status, why)
		return
	}
	if r := w.Record(t, resp); r.Outcome != pavise.Deny {
		t.Errorf("%s: record %+v", name, r)
	}
}

// octets makes a request one of the binary tensor extension, whose text has that length.
func octets(length string) func(*http.Request) {
	return func(r *http.Request) {
		r.Header.Set("Content-Type", "application/octet-stream")
		r.Header.Set("Inference-Header-Content-Length", length)
	}
}

// TestBypassRawBody: a body that is raw tensor only has the shape and the datatype of
// the model's metadata, and is checked as any other.
func TestBypassRawBody(t *testing.T) {
	w := edgetest.New(t)
	w.Put(t, func(s *route.Spec) {
		s.Bounds = []byte(`{"input":"x","features":[{"name":"a","min":0,"max":1},{"name":"b"}]}`)
	})
	raw := func(values ...float32) string {
		var b []byte
		for _, v := range values {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		}
		return string(b)
	}
	if resp, body := w.Post(t, inferPath, raw(0.5, 0.25), octets("0")); resp.StatusCode != 200 || !strings.Contains(body, "scores") {
		t.Errorf("raw alone: %d %s", resp.StatusCode, body)
	}
	for name, body := range map[string]string{"out of bounds": raw(7, 0), "not a number": raw(float32(math.NaN()), 0), "infinite": raw(float32(math.Inf(1)), 0), "half a row": raw(0.5), "not whole elements": raw(0.5, 0.25) + "\x00", "nothing": ""} {
		refusedAsk(t, w, name, inferPath, body, octets("0"), 400, "")
	}
}

// TestBypassClassification: scores do not leave as text.
func TestBypassClassification(t *testing.T) {
	w := edgetest.New(t)
	w.Put(t, nil)
	refusedAsk(t, w, "an output's", inferPath, strings.Replace(edgetest.Good, `]}]}`, `]}],"outputs":[{"name":"scores","parameters":{"classification":3}}]}`, 1), nil, 400, "classification")
	refusedAsk(t, w, "a request's", inferPath, strings.Replace(edgetest.Good, `{"inputs"`, `{"parameters":{"classification":3},"inputs"`, 1), nil, 400, "classification")
	for name, classified := range map[string]string{
		"v1":       `{"predictions":[["0.9:1:cat","0.1:0:dog","0.0:2"]]}`,
		"v1 extra": `{"predictions":[[0.1,0.2,0.7]],"classes":["0.9:1:cat"]}`,
	} {
		server := serving(t, func(rw http.ResponseWriter, r *http.Request) { io.WriteString(rw, classified) })
		w.Put(t, func(s *route.Spec) {
			s.Name, s.ONNX, s.Upstream, s.Protocol, s.Signature = "local/model/"+strings.ReplaceAll(name, " ", "-"), nil, server, "v1", infer.SignatureText(vector)
		})
		if resp, body := w.Post(t, "/v1/models/"+strings.ReplaceAll(name, " ", "-")+":predict", `{"instances":[[1,2]]}`, nil); resp.StatusCode != 503 || strings.Contains(body, "cat") {
			t.Errorf("a server that does it unasked, %s: %d %s", name, resp.StatusCode, body)
		}
	}
}

// TestBypassSharedMemory: no tensor comes or goes by shared memory, in whatever case the
// parameter is written, and not when a policy lets a region be registered.
func TestBypassSharedMemory(t *testing.T) {
	w, seen := behind(t)
	permit(t, w, `permit (principal, action, resource);`)
	for _, key := range []string{"shared_memory_region", "shared_memory_offset", "Shared_Memory_Region"} {
		input := fmt.Sprintf(`{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","parameters":{%q:"r","shared_memory_byte_size":8}}]}`, key)
		refusedAsk(t, w, "input "+key, inferPath, input, nil, 400, "memory")
		output := strings.Replace(edgetest.Good, `]}]}`, fmt.Sprintf(`]}],"outputs":[{"name":"scores","parameters":{%q:"r"}}]}`, key), 1)
		refusedAsk(t, w, "output "+key, inferPath, output, nil, 400, "memory")
	}
	for _, path := range []string{"/v1/models/tf:predict", "/v1/models/k:predict", "/predictions/torch", "/models/flow/invocations"} {
		refusedAsk(t, w, path, path, `{"instances":[[1,2]],"parameters":{"shared_memory_region":"r"}}`, nil, 400, "unknown key")
	}
	if len(*seen) > 0 {
		t.Errorf("the model server saw %q", *seen)
	}
}

// TestBypassGenerate: the paths that take text and stream are not there.
func TestBypassGenerate(t *testing.T) {
	w, seen := behind(t)
	permit(t, w, `permit (principal, action, resource);`)
	for _, path := range []string{"/v2/models/m/generate", "/v2/models/m/generate_stream", "/v2/models/m/versions/1/generate", "/v2/models/m/versions/1/generate_stream", "/generate", "/inference/v1/generate"} {
		refusedAsk(t, w, path, path, `{"text_input":"x","parameters":{"stream":true}}`, nil, 403, "never passed on")
	}
	if len(*seen) > 0 {
		t.Errorf("the model servers saw %q", *seen)
	}
}

// TestBypassMixedContents: raw and typed contents at once are refused over HTTP; gRPC has
// its own tests of it.
func TestBypassMixedContents(t *testing.T) {
	w := edgetest.New(t)
	w.Put(t, nil)
	mixed := `{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[0.5,0.25],"parameters":{"binary_data_size":8}}]}`
	refusedAsk(t, w, "data and raw", inferPath, mixed+"\x00\x00\x00\x3f\x00\x00\x80\x3e", octets(fmt.Sprint(len(mixed))), 400, "")
	refusedAsk(t, w, "data and none", inferPath, mixed, nil, 400, "")
}

// TestBypassTwoReadings: keys twice, nested or flat, and rows in a batch are read in one
// way, and charged by the row, in every protocol.
func TestBypassTwoReadings(t *testing.T) {
	w := edgetest.New(t)
	twoRows := map[string]string{
		"/v2/models/m/infer": `{"inputs":[{"name":"x","shape":[2,2],"datatype":"FP32","data":[[0.5,0.25],[0.5,0.25]]}]}`, "/v1/models/m:predict": `{"instances":[[0.5,0.25],{"x":[0.5,0.25]}]}`,
		"/predictions/m": `[[0.5,0.25],[0.5,0.25]]`, "/models/m/invocations": `{"inputs":{"x":[[0.5,0.25],[0.5,0.25]]}}`,
	}
	w.Put(t, func(s *route.Spec) { s.Rate, s.Budget = fmt.Sprintf("%d/24h", 2*len(twoRows)), "100/24h" })
	for path, body := range twoRows {
		if resp, said := w.Post(t, path, body, nil); resp.StatusCode != 200 {
			t.Errorf("%s: %d %s", path, resp.StatusCode, said)
		}
	}
	for path, body := range twoRows {
		resp, said := w.Post(t, path, body, nil)
		if resp.StatusCode != 429 || resp.Header.Get("Retry-After") == "" {
			t.Errorf("%s: a row more than the rate: %d %s", path, resp.StatusCode, said)
		}
	}
	w.Put(t, func(s *route.Spec) { s.Rate = "1000/1m" })
	for path, body := range map[string]string{
		"/v2/models/m/infer": `{"inputs":[],"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[0.5,0.25]}]}`, "/v1/models/m:predict": `{"instances":[[0,0]],"instances":[[1,1],[1,1]]}`,
		"/predictions/m": `{"instances":[[0,0]],"data":[[1,1]]}`, "/models/m/invocations": `{"inputs":[[0,0]],"instances":[[1,1]]}`,
	} {
		refusedAsk(t, w, "two forms "+path, path, body, nil, 400, "")
	}
}

// TestBypassUnguardedPaths: what vLLM leaves open when it has an API key, and its like.
func TestBypassUnguardedPaths(t *testing.T) {
	w, seen := behind(t)
	for path, verb := range map[string]string{
		"/pooling": "model.other", "/classify": "model.other", "/score": "model.other", "/rerank": "model.other",
		"/tokenize": "model.tokenize", "/detokenize": "model.tokenize", "/pause": "model.control", "/resume": "model.control",
		"/abort_requests": "model.control", "/update_weights": "model.weights", "/v1/load_lora_adapter": "model.weights",
		"/collective_rpc": "model.control", "/sleep": "model.control", "/start_profile": "model.trace",
		"/api/generate": "model.other", "/api/pull": "model.control", "/api/blobs/sha256:0": "model.weights",
	} {
		resp, body := w.Post(t, path, `{"prompt":"x"}`, func(r *http.Request) {
			r.Header.Set("Authorization", "Bearer "+w.Mint(t, "app"+strings.ReplaceAll(path[1:], "/", "-")[:4], "caller"))
		})
		if resp.StatusCode != 403 {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
			continue
		}
		if r := w.Record(t, resp); r.Kind != verb || r.Outcome != pavise.Deny {
			t.Errorf("%s: a record of %s, %s; want %s", path, r.Kind, r.Outcome, verb)
		}
		resp, _ = w.Post(t, path, `{"prompt":"x"}`, func(r *http.Request) { r.Header.Del("Authorization") })
		if resp.StatusCode != 401 {
			t.Errorf("%s without a token: %d", path, resp.StatusCode)
		}
	}
	// vLLM's /invocations is MLflow's path: it answers for MLflow's models alone.
	refusedAsk(t, w, "invocations", "/invocations", `{"messages":[]}`, nil, 400, "unknown key")
	if len(*seen) > 0 {
		t.Errorf("the model servers saw %q", *seen)
	}
}
