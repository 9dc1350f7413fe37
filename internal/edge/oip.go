package edge

import (
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/gateway"
	"github.com/pavise/pavise/internal/tensor"
)

// inferPattern is the route of inference.
const inferPattern = "POST /v2/models/{model}/infer"

// inferPath returns the model that a request asks, if that is all there is to its path.
// It finds what the multiplexer finds for most requests, which takes it longer.
func inferPath(r *http.Request) (model string, ok bool) {
	model, ok = strings.CutPrefix(r.URL.Path, "/v2/models/")
	if !ok || r.Method != http.MethodPost || r.URL.RawPath != "" {
		return "", false
	}
	model, ok = strings.CutSuffix(model, "/infer")
	return model, ok && model != "" && !strings.Contains(model, "/")
}

func (e *Edge) infer(w http.ResponseWriter, r *http.Request, model string) {
	who, err := e.caller(r)
	if err != nil {
		refuse(w, err)
		return
	}
	header, wrong := checkMedia(r)
	about, fault := aboutWhom(r)
	if wrong == nil {
		wrong = fault
	}
	answer, err := e.gateway.Infer(r.Context(), who, gateway.Call{
		Model: pavise.Name{Tenant: who.Tenant, Kind: "model", ID: model}, Subject: about, Protocol: tensor.OIP, Header: header, Body: newTimedBody(w, r.Body), Wrong: wrong,
	})
	if err != nil {
		refuse(w, err)
		return
	}
	taken := false
	if answer.Header == tensor.NoHeader {
		taken = replyRecorded(w, answer.Record(), answer.Body)
	} else {
		setRecord(w, answer.Record())
		w.Header().Set(headerLength, strconv.Itoa(answer.Header))
		taken = replyAs(w, http.StatusOK, mediaOctets, answer.Body)
	}
	if taken {
		answer.Free()
	}
}

// headerLength says how long the JSON text is before binary tensors.
const headerLength = "Inference-Header-Content-Length"

// The media types of the protocol: clients of the binary extension send the second,
// or none at all.
const (
	mediaJSON   = "application/json"
	mediaOctets = "application/octet-stream"
)

// checkMedia returns the length of the body's text, and refuses bodies that are not
// said to be what the protocol has: a compressed one may be a bomb, and raw bytes
// without the header that tells them from the text are nobody's to guess.
func checkMedia(r *http.Request) (header int, err error) {
	lengths, types := r.Header[headerLength], r.Header["Content-Type"]
	header = tensor.NoHeader
	if len(lengths) > 0 {
		if header, err = textLength(lengths); err != nil {
			return 0, err
		}
	}
	media := mediaJSON
	if len(types) == 1 && types[0] != mediaJSON {
		media = mediaOf(types[0])
	}
	switch {
	case len(types) > 1 || media != mediaJSON && (media != mediaOctets || header == tensor.NoHeader):
		return 0, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the body is %.80q, not application/json", strings.Join(types, ", ")), Hint: "send Content-Type: application/json, or application/octet-stream with " + headerLength}
	case len(r.Header["Content-Encoding"]) > 0:
		return 0, &pavise.Error{Kind: pavise.Invalid, Msg: "a compressed body is not taken", Hint: "send it as it is"}
	}
	return header, nil
}

// mediaOf is a media type, or "" if it is none, or one in another charset than JSON's,
// which is UTF-8 (RFC 8259, 8.1).
func mediaOf(said string) string {
	media, parameters, err := mime.ParseMediaType(said)
	if err != nil {
		return ""
	}
	if charset, said := parameters["charset"]; said && !strings.EqualFold(charset, "utf-8") && !strings.EqualFold(charset, "utf8") {
		return ""
	}
	return media
}

// checkText refuses bodies that are not JSON alone.
func checkText(r *http.Request) error {
	header, err := checkMedia(r)
	if err == nil && header != tensor.NoHeader {
		err = &pavise.Error{Kind: pavise.Invalid, Msg: "binary tensors have no place in this protocol", Hint: "leave out " + headerLength}
	}
	return err
}

// textLength reads the header: one number in plain digits. Whatever else a server
// might make a number of is refused.
func textLength(values []string) (int, error) {
	v := values[0]
	if len(values) > 1 || v == "" || len(v) > 9 || strings.Trim(v, "0123456789") != "" || v[0] == '0' && v != "0" {
		return 0, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s is %.80q, not one count of bytes", headerLength, strings.Join(values, ", ")), Hint: "send it once, with the length of the JSON text in digits"}
	}
	return strconv.Atoi(v)
}

func (e *Edge) metadata(w http.ResponseWriter, r *http.Request) {
	who, err := e.caller(r)
	if err != nil {
		refuse(w, err)
		return
	}
	name := modelName(who, r)
	signature, err := e.gateway.DescribeVersion(r.Context(), who, name, "")
	if err != nil {
		refuse(w, err)
		return
	}
	setRecord(w, signature.Record)
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
	var d gateway.Description
	if err == nil {
		d, err = e.gateway.DescribeVersion(r.Context(), who, modelName(who, r), "")
	}
	if err != nil {
		refuse(w, err)
		return
	}
	setRecord(w, d.Record)
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
	replyJSON(w, map[string]any{"name": "pavise", "version": "1", "extensions": []string{"binary_tensor_data"}})
}
