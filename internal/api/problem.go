package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/plainjson"
)

// A Problem is how the API says no (RFC 9457).
type Problem struct {
	Status int     `json:"status"`
	Title  string  `json:"title"`            // the kind of failure: denied, invalid …
	Detail string  `json:"detail"`           // what is wrong, and where
	Hint   string  `json:"hint,omitempty"`   // what to do next
	Record *uint64 `json:"record,omitempty"` // the record that says why
}

// Error returns the detail.
func (p *Problem) Error() string { return p.Detail }

// GetStatus returns the HTTP status, for huma.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType returns the media type of a problem, for huma.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// GetHeaders returns the headers that go with a problem: when to come back, for
// one that passes. It is a huma.HeadersError.
func (p *Problem) GetHeaders() http.Header {
	h := http.Header{}
	if p.Status == http.StatusTooManyRequests || p.Status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "1") // as long as refusals are counted together
	}
	return h
}

// problem is what a caller may know of an error.
func problem(err error) *Problem {
	kind := pavise.KindOf(err)
	p := &Problem{Status: kind.HTTPStatus(), Title: kind.String(), Detail: "internal error", Hint: "the operator finds the cause in the log"}
	if e, ok := errors.AsType[*pavise.Error](err); ok {
		p.Detail, p.Hint = e.Msg, e.Hint
	}
	if d, ok := errors.AsType[*guard.Denial](err); ok {
		p.Record = &d.Record
	}
	return p
}

// Refuse answers with what a caller may know of an error, at a door that is no verb.
func Refuse(w http.ResponseWriter, err error) { writeProblem(w, problem(err)) }

func writeProblem(w http.ResponseWriter, p *Problem) {
	body, _ := json.Marshal(p) // cannot fail: strings and numbers
	maps.Copy(w.Header(), p.GetHeaders())
	w.Header().Set("Content-Type", p.ContentType(""))
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(p.Status)
	w.Write(body)
}

// inOurWords makes a Problem of what huma finds wrong with a request. It names
// the fields and repeats none of their values: one may be a secret. It is a
// huma.Transformer.
func inOurWords(ctx huma.Context, _ string, v any) (any, error) {
	e, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	p := &Problem{
		Status: e.Status, Title: pavise.Invalid.String(), Detail: e.Detail,
		Hint: "GET /v1/openapi.json says what " + ctx.Operation().OperationID + " takes",
	}
	if e.Status >= http.StatusInternalServerError {
		p = problem(e)
	}
	for _, fault := range e.Errors {
		p.Detail += "; " + fault.Location + ": " + fault.Message
	}
	return p, nil
}

// unknown answers what is no verb, or is asked for with another method.
func (s *Server) unknown(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/v1/")
	p := &Problem{
		Status: http.StatusNotFound, Title: pavise.NotFound.String(),
		Detail: fmt.Sprintf("no verb %.80q", name), Hint: "GET /v1/openapi.json lists the verbs",
	}
	for _, v := range s.verbs {
		method := v.Method()
		if v.Name != name || method == "" {
			continue
		}
		w.Header().Set("Allow", method)
		p.Status, p.Title = http.StatusMethodNotAllowed, pavise.Invalid.String()
		p.Detail, p.Hint = fmt.Sprintf("%s is not asked for with %.20s", name, r.Method), method+" /v1/"+name
	}
	writeProblem(w, p)
}

// strictJSON reads bodies that every parser reads alike.
var strictJSON = huma.Format{Marshal: huma.DefaultJSONFormat.Marshal, Unmarshal: plainjson.Read}
