package edge_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/pavise/pavise/internal/edge"
	"github.com/pavise/pavise/internal/edgetest"
	"github.com/pavise/pavise/internal/infer"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/tensor"
)

// TestEveryDoorToEveryServer asks one model on a server of each protocol through the door
// of each, and finds what the server was asked and what the caller is told.
func TestEveryDoorToEveryServer(t *testing.T) {
	w := edgetest.New(t)
	servers := []struct{ protocol, path, asked, says string }{
		{"v1", "/v1/models/far:predict", `{"instances":[[0.5,1.0]]}`, `{"predictions":[[0.25,0.5,1]]}`},
		{"tfserving", "/v1/models/far/versions/3:predict", `{"instances":[[0.5,1.0]]}`, `{"predictions":[{"scores":[0.25,0.5,1]}]}`},
		{"torchserve", "/predictions/far/3", `{"instances":[[0.5,1.0]]}`, `[[0.25,0.5,1]]`},
		{"mlflow", "/invocations", `{"inputs":[[0.5,1.0]]}`, `{"predictions":{"scores":[[0.25,0.5,1]]}}`},
		{"oip", "/v2/models/far/infer", `{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[0.5,1]}]}`, `{"model_name":"far","outputs":[{"name":"scores","shape":[1,3],"datatype":"FP32","data":[0.25,0.5,1]}]}`},
	}
	doors := []struct{ path, body, want string }{
		{"/v1/models/%s:predict", `{"instances":[[0.5,1]]}`, `{"predictions":[[0.25,0.5,1.0]]}`},
		{"/v1/models/%s:predict", `{"inputs":{"x":[[0.5,1]]}}`, `{"outputs":[[0.25,0.5,1.0]]}`},
		{"/predictions/%s", `[[0.5,1]]`, `[[0.25,0.5,1.0]]`},
		{"/predictions/%s", `{"instances":[{"x":[0.5,1]}]}`, `{"predictions":[[0.25,0.5,1.0]]}`},
		{"/models/%s/invocations", `{"inputs":[[0.5,1]]}`, `{"predictions":[[0.25,0.5,1.0]]}`},
		{"/models/%s/invocations", `{"dataframe_split":{"data":[[0.5,1]]}}`, `{"predictions":[[0.25,0.5,1.0]]}`},
		{"/v2/models/%s/infer", `{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[0.5,1]}]}`, `{"model_name":"%s","outputs":[{"name":"scores","shape":[1,3],"datatype":"FP32","data":[0.25,0.5,1]}]}`},
	}
	for _, s := range servers {
		var seen string
		address := serving(t, func(rw http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			seen = r.URL.Path + " " + string(body) + r.Header.Get("Authorization") + r.Header.Get("X-Mark")
			if strings.Contains(string(body), `"inputs"`) && s.protocol == "tfserving" {
				io.WriteString(rw, `{"outputs":[[0.25,0.5,1]]}`)
				return
			}
			io.WriteString(rw, s.says)
		})
		w.Put(t, func(r *route.Spec) {
			r.Name, r.ONNX, r.Upstream, r.Remote, r.Protocol, r.Shape = "local/model/"+s.protocol, nil, address, "far", s.protocol, "full"
			r.Signature = infer.SignatureText(vector)
			if strings.Contains(s.path, "3") {
				r.Version = "3"
			}
		})
		for _, d := range doors {
			path := fmt.Sprintf(d.path, s.protocol)
			resp, body := w.Post(t, path, d.body, func(r *http.Request) { r.Header.Set("X-Mark", "caller's") })
			want := strings.ReplaceAll(d.want, "%s", s.protocol)
			if resp.StatusCode != 200 || body != want {
				t.Errorf("%s on %s: %d %s, want %s", path, s.protocol, resp.StatusCode, body, want)
			}
			asked := s.asked
			if s.protocol == "tfserving" && strings.Contains(d.want, "outputs\":[[") {
				asked = `{"inputs":[[0.5,1.0]]}`
			}
			if seen != s.path+" "+asked {
				t.Errorf("%s on %s: the server saw %s, want %s %s", path, s.protocol, seen, s.path, asked)
			}
			if r := w.Record(t, resp); r.Kind != "model.infer" || r.Error != nil {
				t.Errorf("%s on %s: record %+v", path, s.protocol, r)
			}
		}
	}
	for path, want := range map[string]int{
		"/v1/models/tfserving/versions/3:predict": 200, "/v1/models/tfserving/versions/4:predict": 404, "/predictions/torchserve/3": 200, "/predictions/torchserve/4": 404,
	} {
		if resp, body := w.Post(t, path, `{"instances":[[0.5,1]]}`, nil); resp.StatusCode != want {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
	if resp, body := w.Post(t, "/invocations", `{"inputs":[[0.5,1]]}`, nil); resp.StatusCode != 200 {
		t.Errorf("/invocations with one model of MLflow's: %d %s", resp.StatusCode, body)
	}
	if resp, body := w.Post(t, "/invocations", `{"inputs":[[0.5,1]]}`, func(r *http.Request) { r.Header.Set(edge.ModelHeader, "v1") }); resp.StatusCode != 200 {
		t.Errorf("/invocations with a model's name: %d %s", resp.StatusCode, body)
	}
}

// TestDescriptions asks what there is, in the words of each protocol.
func TestDescriptions(t *testing.T) {
	w := edgetest.New(t)
	w.Put(t, nil)
	get := func(path string) (*http.Response, string) {
		return w.Post(t, path, "", func(r *http.Request) { r.Method, r.Body, r.ContentLength = "GET", nil, 0 })
	}
	resp, body := get("/v1/models/m/metadata")
	var meta struct {
		Metadata struct {
			Outer struct {
				Inner map[string]struct {
					Inputs map[string]struct {
						Type  string                                `json:"dtype"`
						Shape struct{ Dim []struct{ Size string } } `json:"tensor_shape"`
					}
				} `json:"signature_def"`
			} `json:"signature_def"`
		}
	}
	if err := json.Unmarshal([]byte(body), &meta); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%d %s: %v", resp.StatusCode, body, err)
	}
	if x := meta.Metadata.Outer.Inner["serving_default"].Inputs["x"]; x.Type != "DT_FLOAT" || len(x.Shape.Dim) != 2 || x.Shape.Dim[0].Size != "-1" {
		t.Errorf("metadata %s", body)
	}
	if r := w.Record(t, resp); r.Kind != "model.describe" {
		t.Errorf("record %+v", r)
	}
	for path, want := range map[string]string{"/v1/models/m": `"ready":true`, "/ping": "Healthy", "/version": "pavise"} {
		if resp, body := get(path); resp.StatusCode != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
}

// TestTFServingDescribes puts a route to a server that says what its model takes, and one
// to servers that cannot.
func TestTFServingDescribes(t *testing.T) {
	w := edgetest.New(t)
	address := serving(t, func(rw http.ResponseWriter, r *http.Request) {
		io.WriteString(rw, `{"model_spec":{"name":"m","signature_name":"","version":"1"},"metadata":{"signature_def":{"signature_def":{"serving_default":{
			"inputs":{"x":{"dtype":"DT_FLOAT","tensor_shape":{"dim":[{"size":"-1","name":""},{"size":"2","name":""}],"unknown_rank":false},"name":"serving_default_x:0"}},
			"outputs":{"y":{"dtype":"DT_INT64","tensor_shape":{"dim":[{"size":"-1","name":""}],"unknown_rank":false},"name":"StatefulPartitionedCall:0"}},
			"method_name":"tensorflow/serving/predict"}}}}}`)
	})
	spec := route.Spec{Name: edgetest.Model.String(), Upstream: address, Protocol: "tfserving"}
	put, err := w.Routes.Put(t.Context(), edgetest.Operator, spec)
	if err != nil || len(put.Signature.Inputs) != 1 || put.Signature.Inputs[0].Datatype != tensor.FP32 || put.Signature.Outputs[0].Datatype != tensor.Int64 {
		t.Errorf("%+v, %v", put.Signature, err)
	}
	for _, protocol := range []string{"v1", "torchserve", "mlflow"} {
		spec := route.Spec{Name: "local/model/" + protocol, Upstream: address, Protocol: protocol}
		if _, err := w.Routes.Put(t.Context(), edgetest.Operator, spec); err == nil || !strings.Contains(err.Error(), "cannot say what a model takes") {
			t.Errorf("%s: %v", protocol, err)
		}
	}
	if _, err := w.Routes.Put(t.Context(), edgetest.Operator, route.Spec{Name: "local/model/x", Upstream: address, Protocol: "thrift"}); err == nil || !strings.Contains(err.Error(), "thrift") {
		t.Errorf("%v", err)
	}
}
