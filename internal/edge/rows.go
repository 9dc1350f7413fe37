package edge

import (
	"cmp"
	"net/http"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/gateway"
	"github.com/pavise/pavise/internal/tensor"
)

// TensorPaths are the patterns of what is served of KServe v1, TensorFlow Serving,
// TorchServe and MLflow, for a server that has other things on its port too.
func TensorPaths() []string {
	return []string{"/v1/models/", "/predictions/", "/invocations", "POST /models/{model}/invocations", "/ping", "/version"}
}

// rowProtocols adds them.
func (e *Edge) rowProtocols(mux *http.ServeMux) {
	mux.HandleFunc("POST /v1/models/{call}", e.predict)
	mux.HandleFunc("POST /v1/models/{model}/versions/{call}", e.predict)
	mux.HandleFunc("GET /v1/models/{model}/versions/{version}", e.status)
	mux.HandleFunc("GET /v1/models/{model}/metadata", e.tfMetadata)
	mux.HandleFunc("GET /v1/models/{model}/versions/{version}/metadata", e.tfMetadata)
	torch := func(w http.ResponseWriter, r *http.Request) {
		e.ask(w, r, tensor.TorchServe, torchVoice, r.PathValue("model"), r.PathValue("version"))
	}
	mux.HandleFunc("POST /predictions/{model}", torch)
	mux.HandleFunc("POST /predictions/{model}/{version}", torch)
	mux.HandleFunc("POST /models/{model}/invocations", func(w http.ResponseWriter, r *http.Request) {
		e.ask(w, r, tensor.MLflow, mlflowVoice, r.PathValue("model"), "")
	})
	mux.HandleFunc("POST /invocations", e.invocations)
	mux.HandleFunc("GET /ping", func(w http.ResponseWriter, _ *http.Request) { replyJSON(w, map[string]string{"status": "Healthy"}) })
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) { replyText(w, []byte("pavise")) })
}

// ask asks a model in a protocol whose path says which.
func (e *Edge) ask(w http.ResponseWriter, r *http.Request, protocol tensor.Protocol, say voice, model, version string) {
	who, err := e.caller(r)
	if err != nil {
		say(w, err)
		return
	}
	wrong := checkText(r)
	about, fault := aboutWhom(r)
	if wrong == nil {
		wrong = fault
	}
	name := pavise.Name{Tenant: who.Tenant, Kind: "model", ID: model}
	if protocol == tensor.TFServing && version == "" && e.gateway.Speaks(name) != tensor.NameTFServing {
		protocol = tensor.V1 // the same path and the same words: a server that is the other's tells them apart
	}
	answer, err := e.gateway.Infer(r.Context(), who, gateway.Call{
		Model: name, Version: version,
		Subject: about, Protocol: protocol, Header: tensor.NoHeader, Body: newTimedBody(w, r.Body), Wrong: wrong,
	})
	if err != nil {
		say(w, err)
		return
	}
	replyRecorded(w, answer.Record(), answer.Body)
}

// predict serves {model}:predict, and {model}/versions/{version}:predict.
func (e *Edge) predict(w http.ResponseWriter, r *http.Request) {
	named, verb, _ := strings.Cut(r.PathValue("call"), ":")
	if verb != "predict" || named == "" {
		e.unserved(w, r)
		return
	}
	model, version := r.PathValue("model"), named
	if model == "" {
		model, version = named, ""
	}
	e.ask(w, r, tensor.TFServing, refuse, model, version)
}

// invocations serves MLflow's own path, which names no model: the one that the header
// names, or else the only one of the tenant's that is on such a server.
func (e *Edge) invocations(w http.ResponseWriter, r *http.Request) {
	who, err := e.caller(r)
	if err != nil {
		mlflowVoice(w, err)
		return
	}
	model, wrong := namedModel(r)
	if wrong == nil && model == "" {
		var only bool
		if model, only = e.gateway.Only(who.Tenant, tensor.NameMLflow); !only {
			wrong = &pavise.Error{
				Kind: pavise.NotFound, Msg: "/invocations names no model, and there is not just one on an MLflow server",
				Hint: "ask POST /models/{model}/invocations, or name the model in the header " + ModelHeader,
			}
		}
	}
	if wrong != nil {
		e.refuseAside(w, r, mlflowVoice, who, "mlflow", wrong)
		return
	}
	e.ask(w, r, tensor.MLflow, mlflowVoice, model, "")
}

// describe asks for what a model takes and gives, for a path that names it.
func (e *Edge) describe(w http.ResponseWriter, r *http.Request) (name pavise.Name, d gateway.Description, ok bool) {
	who, err := e.caller(r)
	if err != nil {
		refuse(w, err)
		return name, d, false
	}
	name = modelName(who, r)
	if d, err = e.gateway.DescribeVersion(r.Context(), who, name, r.PathValue("version")); err != nil {
		refuse(w, err)
		return name, d, false
	}
	setRecord(w, d.Record)
	return name, d, true
}

// status says that a model is there, to those who may describe it: in the words of
// KServe v1 and of TensorFlow Serving at once, which share the path.
func (e *Edge) status(w http.ResponseWriter, r *http.Request) {
	name, d, ok := e.describe(w, r)
	if !ok {
		return
	}
	version := cmp.Or(d.Version, "1") // the protocol wants one, and the server chose it
	replyJSON(w, map[string]any{
		"name": name.ID, "ready": true,
		"model_version_status": []any{map[string]any{
			"version": version, "state": "AVAILABLE", "status": map[string]string{"error_code": "OK", "error_message": ""},
		}},
	})
}

// tfTypes are the names that TensorFlow has for datatypes.
var tfTypes = map[tensor.Datatype]string{
	tensor.Bool: "DT_BOOL", tensor.Uint8: "DT_UINT8", tensor.Uint16: "DT_UINT16", tensor.Uint32: "DT_UINT32", tensor.Uint64: "DT_UINT64",
	tensor.Int8: "DT_INT8", tensor.Int16: "DT_INT16", tensor.Int32: "DT_INT32", tensor.Int64: "DT_INT64",
	tensor.FP16: "DT_HALF", tensor.FP32: "DT_FLOAT", tensor.FP64: "DT_DOUBLE", tensor.Bytes: "DT_STRING",
}

// tfMetadata says what a model takes and gives as TensorFlow Serving does.
func (e *Edge) tfMetadata(w http.ResponseWriter, r *http.Request) {
	name, d, ok := e.describe(w, r)
	if !ok {
		return
	}
	type dim struct {
		Size int64  `json:"size,string"`
		Name string `json:"name"`
	}
	side := func(ports []tensor.Port) map[string]any {
		all := map[string]any{}
		for _, p := range ports {
			var dims []dim
			for _, size := range p.Shape {
				dims = append(dims, dim{Size: size})
			}
			all[p.Name] = map[string]any{"name": p.Name, "dtype": tfTypes[p.Datatype], "tensor_shape": map[string]any{"dim": dims, "unknown_rank": false}}
		}
		return all
	}
	signature := map[string]any{"inputs": side(d.Inputs), "outputs": side(d.Outputs), "method_name": "tensorflow/serving/predict"}
	replyJSON(w, map[string]any{
		"model_spec": map[string]string{"name": name.ID, "signature_name": "", "version": d.Version},
		"metadata":   map[string]any{"signature_def": map[string]any{"signature_def": map[string]any{"serving_default": signature}}},
	})
}

// isLanguage reports whether a model is asked in OpenAI's protocol, in whose words one
// that does not exist is refused, too.
func (e *Edge) isLanguage(name pavise.Name) bool {
	speaks := e.gateway.Speaks(name)
	return speaks == "" || speaks == tensor.NameOpenAI
}
