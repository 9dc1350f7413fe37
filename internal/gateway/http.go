package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/identity"
	"github.com/pavise/pavise/internal/tensor"
)

// RecordHeader names the record that proves a decision: its index in the log.
const RecordHeader = "Pavise-Record"

// SubjectHeader names whose data a request holds: what its record keeps is under
// that person's key, and can be forgotten with it.
const SubjectHeader = "Pavise-Subject"

// maxSubject bounds that name, in bytes.
const maxSubject = 256

// aboutWhom returns whose data the request holds, or "".
func aboutWhom(r *http.Request) (string, error) {
	values := r.Header.Values(SubjectHeader)
	if len(values) == 0 {
		return "", nil
	}
	if len(values) > 1 || values[0] == "" || len(values[0]) > maxSubject {
		return "", &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s is given once, with 1 to %d bytes", SubjectHeader, maxSubject), Hint: "leave it out if the data is the caller's own"}
	}
	return values[0], nil
}

// Handler serves the Open Inference Protocol v2 below /v2. Whatever is not one
// of its routes is refused.
func (g *Gateway) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2/health/live", g.health)
	mux.HandleFunc("GET /v2/health/ready", g.health)
	mux.HandleFunc("GET /v2", g.server)
	mux.HandleFunc("GET /v2/models/{model}", g.metadata)
	mux.HandleFunc("GET /v2/models/{model}/ready", g.ready)
	mux.HandleFunc("POST /v2/models/{model}/infer", g.infer)
	mux.HandleFunc("/v2/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, &pavise.Error{
			Kind: pavise.NotFound,
			Msg:  fmt.Sprintf("%s %.200s is not a route of this gateway", r.Method, r.URL.Path),
			Hint: "it serves the Open Inference Protocol v2: POST /v2/models/{model}/infer, GET /v2/models/{model}, and health",
		})
	})
	return mux
}

// caller turns what the request proves into a principal.
func (g *Gateway) caller(r *http.Request) (pavise.Principal, error) {
	return g.guard.Admit(r.Context(), g.verifier.Load(), identity.FromRequest(r), source(r))
}

// source is the address a request came from, without its port.
func source(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

func (g *Gateway) infer(w http.ResponseWriter, r *http.Request) {
	who, err := g.caller(r)
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
	answer, err := g.Infer(r.Context(), who, modelName(who, r), about, newTimedBody(w, r.Body))
	if err != nil {
		refuse(w, err)
		return
	}
	setRecord(w, answer.entry)
	reply(w, http.StatusOK, answer.Body)
}

// bodyTime is how long a body may take to arrive. It is shorter than what the
// server grants a whole request, because a body takes memory meanwhile.
const bodyTime = 10 * time.Second

// A timedBody is a request's body that arrives within bodyTime or breaks off.
type timedBody struct {
	body io.Reader
	conn *http.ResponseController
}

// newTimedBody starts the time. A connection that has no deadlines has none.
func newTimedBody(w http.ResponseWriter, body io.Reader) timedBody {
	b := timedBody{body, http.NewResponseController(w)}
	b.conn.SetReadDeadline(time.Now().Add(bodyTime))
	return b
}

// Read reads from the body. The deadline goes at its end: what is read from then
// on only says whether the caller is still there, and a model may take longer.
func (b timedBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	if err == io.EOF {
		b.conn.SetReadDeadline(time.Time{})
	}
	return n, err
}

// modelName is the model a request asks for; a caller names models of its own
// tenant only.
func modelName(who pavise.Principal, r *http.Request) pavise.Name {
	return pavise.Name{Tenant: who.Tenant, Kind: "model", ID: r.PathValue("model")}
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

func (g *Gateway) metadata(w http.ResponseWriter, r *http.Request) {
	who, err := g.caller(r)
	if err != nil {
		refuse(w, err)
		return
	}
	name := modelName(who, r)
	signature, err := g.Describe(r.Context(), who, name)
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

func (g *Gateway) ready(w http.ResponseWriter, r *http.Request) {
	who, err := g.caller(r)
	if err == nil {
		_, err = g.Describe(r.Context(), who, modelName(who, r))
	}
	if err != nil {
		refuse(w, err)
		return
	}
	replyJSON(w, map[string]any{"name": r.PathValue("model"), "ready": true})
}

// health says that the process serves, to anybody: probes carry no token.
func (g *Gateway) health(w http.ResponseWriter, r *http.Request) {
	field := "live"
	if r.URL.Path == "/v2/health/ready" {
		field = "ready"
	}
	replyJSON(w, map[string]any{field: true})
}

func (g *Gateway) server(w http.ResponseWriter, r *http.Request) {
	replyJSON(w, map[string]any{"name": "pavise", "version": "1", "extensions": []string{}})
}

// refuse answers with the protocol's error object, the record that says why,
// and when to come back.
func refuse(w http.ResponseWriter, err error) {
	kind := pavise.KindOf(err)
	nameRecord(w, err)
	switch kind {
	case pavise.Unverified:
		w.Header().Set("WWW-Authenticate", identity.Challenge(err))
	case pavise.Throttled, pavise.Unavailable:
		w.Header().Set("Retry-After", retryAfter(err))
	}
	msg, hint := message(err)
	if hint != "" {
		msg += "; " + hint
	}
	reply(w, kind.HTTPStatus(), tensor.AppendError(nil, msg))
}

// setRecord names the record that proves an answer.
func setRecord(w http.ResponseWriter, entry *guard.Entry) {
	if index, written := entry.Record(); written {
		w.Header().Set(RecordHeader, strconv.FormatUint(index, 10))
	}
}

// nameRecord names the record that says why, if the refusal left one.
func nameRecord(w http.ResponseWriter, err error) {
	if r, ok := errors.AsType[*Refusal](err); ok {
		setRecord(w, r.entry)
	} else if d, ok := errors.AsType[*guard.Denial](err); ok {
		w.Header().Set(RecordHeader, strconv.FormatUint(d.Record, 10))
	}
}

// retryAfter is the seconds a refused caller should wait, at least one.
func retryAfter(err error) string {
	wait := time.Second
	if r, ok := errors.AsType[*Refusal](err); ok {
		wait = max(wait, r.Retry)
	}
	return strconv.Itoa(int(math.Ceil(wait.Seconds())))
}

func replyJSON(w http.ResponseWriter, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		refuse(w, err)
		return
	}
	reply(w, http.StatusOK, body)
}

func reply(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	w.Write(body)
}
