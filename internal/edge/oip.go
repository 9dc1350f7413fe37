package edge

import (
	"fmt"
	"mime"
	"net/http"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/gateway"
	"github.com/pavise/pavise/internal/tensor"
)

func (e *Edge) infer(w http.ResponseWriter, r *http.Request) {
	who, err := e.caller(r)
	if err != nil {
		refuse(w, err)
		return
	}
	if err := checkMedia(r); err != nil {
		refuse(w, err)
		return
	}
	about, err := aboutWhom(r)
	if err != nil {
		refuse(w, err)
		return
	}
	answer, err := e.gateway.Infer(r.Context(), who, gateway.Call{
		Model: modelName(who, r), Subject: about, Protocol: tensor.OIP, Header: tensor.NoHeader, Body: newTimedBody(w, r.Body),
	})
	if err != nil {
		refuse(w, err)
		return
	}
	setRecord(w, answer.Record())
	reply(w, http.StatusOK, answer.Body)
}

// checkMedia refuses bodies that are not plain JSON: a compressed one may be a
// bomb, and the binary extension could carry a tensor past the parser.
func checkMedia(r *http.Request) error {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case err != nil || media != "application/json":
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the body is %.80q, not application/json", r.Header.Get("Content-Type")), Hint: "send Content-Type: application/json"}
	case r.Header.Get("Content-Encoding") != "":
		return &pavise.Error{Kind: pavise.Invalid, Msg: "a compressed body is not taken", Hint: "send the JSON as it is"}
	case r.Header.Get("Inference-Header-Content-Length") != "":
		return &pavise.Error{Kind: pavise.Invalid, Msg: "the binary tensor extension is not taken", Hint: "send tensors as JSON data"}
	}
	return nil
}

func (e *Edge) metadata(w http.ResponseWriter, r *http.Request) {
	who, err := e.caller(r)
	if err != nil {
		refuse(w, err)
		return
	}
	name := modelName(who, r)
	signature, err := e.gateway.Describe(r.Context(), who, name)
	if err != nil {
		refuse(w, err)
		return
	}
	replyJSON(w, map[string]any{
		"name": name.ID, "versions": []string{}, "platform": "pavise",
		"inputs": plain(signature.Inputs), "outputs": plain(signature.Outputs),
	})
}

// plain are ports without what the protocol does not know.
func plain(ports []tensor.Port) []tensor.Port {
	out := make([]tensor.Port, len(ports))
	for i, p := range ports {
		out[i] = tensor.Port{Name: p.Name, Datatype: p.Datatype, Shape: p.Shape}
	}
	return out
}

func (e *Edge) ready(w http.ResponseWriter, r *http.Request) {
	who, err := e.caller(r)
	if err == nil {
		_, err = e.gateway.Describe(r.Context(), who, modelName(who, r))
	}
	if err != nil {
		refuse(w, err)
		return
	}
	replyJSON(w, map[string]any{"name": r.PathValue("model"), "ready": true})
}

// health says that the process serves, to anybody: probes carry no token.
func (e *Edge) health(w http.ResponseWriter, r *http.Request) {
	field := "live"
	if r.URL.Path == "/v2/health/ready" {
		field = "ready"
	}
	replyJSON(w, map[string]any{field: true})
}

func (e *Edge) server(w http.ResponseWriter, r *http.Request) {
	replyJSON(w, map[string]any{"name": "pavise", "version": "1", "extensions": []string{}})
}
