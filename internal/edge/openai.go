package edge

import (
	"errors"
	"net/http"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/chat"
	"github.com/pavise/pavise/internal/gateway"
)

// FieldsHeader says what was done to a request to a language model and to its answer:
// which fields went nowhere, were set, or were taken out.
const FieldsHeader = "Pavise-Fields"

const (
	// writeTime is how long a caller may take to read one event, or a whole answer.
	writeTime = 30 * time.Second
	// askTime is how long a connection waits for a model: longer than package infer
	// does, and than servers let other requests take.
	askTime = 11 * time.Minute
)

// within bounds how long the caller's connection takes for what comes next.
// A connection that has no deadlines has none.
func within(w http.ResponseWriter, d time.Duration) {
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(d))
}

// OpenAIPaths are the patterns of what is served of the OpenAI protocol, for a server
// that has other things below /v1 too.
func OpenAIPaths() []string {
	list := []string{"GET /v1/models", "GET /v1/models/{model}"}
	for _, api := range chat.APIs() {
		list = append(list, "POST "+api.Path())
	}
	return list
}

// openAI adds them.
func (e *Edge) openAI(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/models", e.models)
	mux.HandleFunc("GET /v1/models/{model}", e.model)
	for _, api := range chat.APIs() {
		mux.HandleFunc("POST "+api.Path(), func(w http.ResponseWriter, r *http.Request) { e.chat(w, r, api) })
	}
}

// chat serves the four operations. What a stream does not need is not on its stack.
func (e *Edge) chat(w http.ResponseWriter, r *http.Request, api chat.API) {
	x := e.beginChat(w, r, api)
	switch {
	case x == nil: // refused
	case x.Streams():
		e.stream(w, r, x)
	default:
		e.answerChat(w, r, x)
	}
}

// beginChat takes a request as far as the model, or refuses it and returns nil.
func (e *Edge) beginChat(w http.ResponseWriter, r *http.Request, api chat.API) *gateway.ChatExchange {
	who, err := e.caller(r)
	if err != nil {
		refuseChat(w, err)
		return nil
	}
	about, wrong := aboutWhom(r)
	if wrong == nil {
		wrong = checkText(r)
	}
	x, err := e.gateway.BeginChat(r.Context(), who, gateway.ChatCall{API: api, Subject: about, Body: newTimedBody(w, r.Body), Wrong: wrong})
	if err != nil {
		refuseChat(w, err)
		return nil
	}
	within(w, askTime)
	return x
}

// answerChat gets the whole answer.
func (e *Edge) answerChat(w http.ResponseWriter, r *http.Request, x *gateway.ChatExchange) {
	answer, err := x.Answer(r.Context())
	within(w, writeTime)
	if err != nil {
		refuseChat(w, err)
		return
	}
	setFields(w, answer.Fields)
	if replyRecorded(w, answer.Record, answer.Body) {
		answer.Free()
	}
}

// stream sends events as they come. The head goes with the first of them, so that a
// model server that fails before it is told as any other failure is.
func (e *Edge) stream(w http.ResponseWriter, r *http.Request, x *gateway.ChatExchange) {
	r.Header = nil // it has been read, and a stream may last: over HTTP/2 it would be kept till the end
	begun := false
	err := x.Stream(r.Context(), func(event []byte) error {
		if !begun {
			begun = true
			setFields(w, x.Fields())
			h := w.Header()
			h["Content-Type"], h["Cache-Control"], h["X-Content-Type-Options"] = saysEvents, saysNoStore, saysNoSniff
			h["X-Accel-Buffering"] = saysNo // a proxy in between would hold events back
			w.WriteHeader(http.StatusOK)
		}
		within(w, writeTime)
		defer within(w, askTime)
		if _, err := w.Write(event); err != nil {
			return err
		}
		return http.NewResponseController(w).Flush()
	})
	if err != nil && !begun {
		refuseChat(w, err)
	}
}

// setFields tells the caller what was done to the request and the answer.
func setFields(w http.ResponseWriter, changes string) {
	if changes != "" {
		w.Header().Set(FieldsHeader, changes)
	}
}

// listed is the time at which the protocol's list of models says each was made: it
// wants one, and the house keeps none.
const listed = 0

func (e *Edge) models(w http.ResponseWriter, r *http.Request) {
	who, err := e.caller(r)
	if err != nil {
		refuseChat(w, err)
		return
	}
	names, record, err := e.gateway.Models(r.Context(), who)
	if err != nil {
		refuseChat(w, err)
		return
	}
	setRecord(w, record)
	reply(w, http.StatusOK, chat.AppendModels(nil, names, listed, who.Tenant))
}

// model describes a language model; a model of tensors has a status at the same path.
func (e *Edge) model(w http.ResponseWriter, r *http.Request) {
	who, err := e.caller(r)
	if err == nil && !e.isLanguage(modelName(who, r)) {
		e.status(w, r)
		return
	}
	var record uint64
	if err == nil {
		record, err = e.gateway.DescribeChat(r.Context(), who, modelName(who, r))
	}
	if err != nil {
		refuseChat(w, err)
		return
	}
	setRecord(w, record)
	reply(w, http.StatusOK, chat.AppendModel(nil, r.PathValue("model"), listed, who.Tenant))
}

// classes are the protocol's types and codes of errors, by kind.
var classes = map[pavise.Kind]struct{ class, code string }{
	pavise.Internal:    {"server_error", "internal_error"},
	pavise.Invalid:     {"invalid_request_error", ""},
	pavise.Denied:      {"permission_error", "permission_denied"},
	pavise.NotFound:    {"invalid_request_error", "model_not_found"},
	pavise.Conflict:    {"invalid_request_error", "conflict"},
	pavise.Throttled:   {"rate_limit_error", "rate_limit_exceeded"},
	pavise.Unverified:  {"authentication_error", "invalid_api_key"},
	pavise.Unavailable: {"server_error", "unavailable"},
}

// refuseChat answers with the protocol's error object, the record that says why, and
// when to come back.
func refuseChat(w http.ResponseWriter, err error) {
	kind, msg := pavise.KindOf(err), tell(w, err)
	param, code := "", classes[kind].code
	if _, ok := errors.AsType[*gateway.Refusal](err); kind == pavise.NotFound && !ok {
		code = "unknown_url" // nobody was asked for a model
	}
	if f, ok := errors.AsType[*chat.Fault](err); ok && kind == pavise.Invalid {
		param = f.Param
	}
	if held, ok := errors.AsType[*gateway.Withheld](err); ok {
		param, code = held.Param, gateway.ContentFilter
	}
	reply(w, kind.HTTPStatus(), chat.AppendError(nil, msg, classes[kind].class, param, code))
}
