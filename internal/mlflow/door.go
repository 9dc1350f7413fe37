package mlflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/depot"
	"github.com/pavise/pavise/internal/identity"
	"github.com/pavise/pavise/internal/intake"
)

// The beginnings of the paths that the API has. The second is that of MLflow's web pages.
var prefixes = []string{"/api/2.0", "/ajax-api/2.0", "/api/3.0", "/ajax-api/3.0"}

// Serves reports whether a path is one of MLflow's.
func Serves(path string) bool {
	for _, prefix := range prefixes {
		rest, is := strings.CutPrefix(path, prefix)
		if is && (strings.HasPrefix(rest, "/mlflow/") || strings.HasPrefix(rest, "/mlflow-artifacts/")) {
			return true
		}
	}
	return false
}

// Patterns are the paths of a Door, for http.ServeMux.
func Patterns() (all []string) {
	for _, prefix := range prefixes {
		all = append(all, prefix+"/mlflow/", prefix+"/mlflow-artifacts/")
	}
	return all
}

// maxBody bounds a request that is no artifact, in bytes, as MLflow's own server does.
const maxBody = 1 << 20

// A Door serves the API over HTTP, to callers whom admit knows.
type Door struct {
	server *Server
	admit  func(*http.Request) (pavise.Principal, error)
	rpcs   map[string]rpc
}

// An rpc answers the body of a request.
type rpc func(ctx context.Context, who pavise.Principal, body []byte) (any, error)

// NewDoor returns a door.
func (s *Server) NewDoor(admit func(*http.Request) (pavise.Principal, error)) *Door {
	return &Door{server: s, admit: admit, rpcs: s.rpcs()}
}

// as is an rpc that reads its request.
func as[Req any](do func(context.Context, pavise.Principal, Req) (any, error)) rpc {
	return func(ctx context.Context, who pavise.Principal, body []byte) (any, error) {
		req, err := decode[Req](body)
		if err != nil {
			return nil, err
		}
		return do(ctx, who, req)
	}
}

// rpcs are those that are served, by method and path.
func (s *Server) rpcs() map[string]rpc {
	return map[string]rpc{
		"POST registered-models/create":              as(s.createModel),
		"POST registered-models/rename":              as(s.renameModel),
		"PATCH registered-models/update":             as(s.updateModel),
		"DELETE registered-models/delete":            as(s.deleteModel),
		"GET registered-models/get":                  as(s.getModel),
		"GET registered-models/search":               as(s.searchModels),
		"POST registered-models/get-latest-versions": as(s.latestVersions),
		"GET registered-models/get-latest-versions":  as(s.latestVersions),
		"POST registered-models/set-tag":             as(s.setModelTag),
		"DELETE registered-models/delete-tag":        as(s.deleteModelTag),
		"POST registered-models/alias":               as(s.setAlias),
		"DELETE registered-models/alias":             as(s.deleteAlias),
		"GET registered-models/alias":                as(s.byAlias),
		"POST model-versions/create":                 as(s.createVersion),
		"PATCH model-versions/update":                as(s.updateVersion),
		"DELETE model-versions/delete":               as(s.deleteVersion),
		"GET model-versions/get":                     as(s.getVersion),
		"GET model-versions/search":                  as(s.searchVersions),
		"GET model-versions/get-download-uri":        as(s.downloadURI),
		"POST model-versions/transition-stage":       as(s.transition),
		"POST model-versions/set-tag":                as(s.setVersionTag),
		"DELETE model-versions/delete-tag":           as(s.deleteVersionTag),
		"POST experiments/create":                    as(s.createExperiment),
		"GET experiments/get":                        as(s.getExperiment),
		"GET experiments/get-by-name":                as(s.experimentByName),
		"POST runs/create":                           as(s.createRun),
		"GET runs/get":                               as(s.getRun),
		"POST runs/update":                           as(s.updateRun),
		"POST runs/log-parameter":                    as(s.logParameter),
		"POST runs/log-metric":                       as(s.logMetric),
		"POST runs/set-tag":                          as(s.setRunTag),
		"POST runs/log-batch":                        as(s.logBatch),
		"GET artifacts/list":                         as(s.listRun),
		"POST runs/search":                           as(s.searchRuns),
		"POST runs/log-inputs":                       as(s.logInputs),
		"POST runs/outputs":                          as(s.logOutputs),
		"GET metrics/get-history":                    as(s.metricHistory),
		"POST logged-models":                         as(s.createLogged),
		"POST logged-models/search":                  as(s.searchLogged),
	}
}

// ServeHTTP answers one request.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	for _, prefix := range prefixes[:2] {
		if rest, is := strings.CutPrefix(path, prefix); is {
			path = rest
			break
		}
	}
	name, isRPC := strings.CutPrefix(path, "/mlflow/")
	under, isArtifact := strings.CutPrefix(path, "/mlflow-artifacts/artifacts")
	do := d.rpcs[r.Method+" "+name]
	if of, is := strings.CutPrefix(name, "logged-models/"); is && isRPC && do == nil {
		do = d.server.logged(r.Method, of)
	}
	if isRPC && do == nil || !isRPC && !isArtifact || isArtifact && under != "" && under[0] != '/' {
		refuse(w, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("%s %.200s is nothing that is served here", r.Method, r.URL.Path), Hint: "docs/models.md says what of MLflow's API is", Err: errEndpoint})
		return
	}
	who, err := d.admit(r)
	if err != nil {
		if pavise.KindOf(err) == pavise.Unverified {
			w.Header().Set("WWW-Authenticate", identity.Challenge(err))
			err = stranger(r, err)
		}
		refuse(w, err)
		return
	}
	if isArtifact {
		d.server.artifact(w, r, who, strings.TrimPrefix(under, "/"))
		return
	}
	answer, err := d.call(w, r, who, do)
	if err != nil {
		refuse(w, err)
		return
	}
	reply(w, http.StatusOK, answer)
}

// stranger says what a client of MLflow needs.
func stranger(r *http.Request, err error) error {
	hint := "put a token into MLFLOW_TRACKING_TOKEN: pavise issuer mint"
	if _, _, basic := r.BasicAuth(); basic {
		hint = "nobody has a password here: unset MLFLOW_TRACKING_USERNAME, and put a token into MLFLOW_TRACKING_TOKEN: pavise issuer mint"
	}
	return &pavise.Error{Kind: pavise.Unverified, Msg: "who asks is not known", Hint: hint, Err: errors.Join(errStranger, err)}
}

// call reads a request, and does it.
func (d *Door) call(w http.ResponseWriter, r *http.Request, who pavise.Principal, do rpc) (any, error) {
	hold := d.server.bodies.Begin(who.Name())
	defer hold.Free()
	body, err := readBody(w, r, hold)
	if err != nil {
		return nil, err
	}
	return do(r.Context(), who, body)
}

// readBody returns what a request says: its body, or its query where it is a GET.
func readBody(w http.ResponseWriter, r *http.Request, hold *intake.Hold) ([]byte, error) {
	if r.Method == http.MethodGet {
		return fromQuery(r.URL.RawQuery)
	}
	if r.Method == http.MethodDelete && r.ContentLength == 0 {
		return nil, nil // what it deletes is in its path, and clients send no body
	}
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "the request is no JSON", Hint: "send Content-Type: application/json"}
	}
	// Where no deadline can be set, the server's own holds.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(intake.BodyTime))
	body, err := hold.Read(http.MaxBytesReader(w, r.Body, maxBody), maxBody)
	if err == nil {
		err = hold.Set(3 * len(body)) // while it is read
	}
	if _, long := errors.AsType[*http.MaxBytesError](err); long {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the request has more than %d bytes", maxBody), Hint: "log less at once"}
	}
	if err != nil && pavise.KindOf(err) == pavise.Internal {
		err = &pavise.Error{Kind: pavise.Invalid, Msg: "the request's body broke off", Hint: "send the whole body within 10 seconds", Err: err}
	}
	return body, err
}

// What errors are beside their kind.
var (
	errEndpoint = errors.New("there is no such endpoint")
	errStranger = errors.New("the caller is not known")
	errExists   = errors.New("there is one of this name")
	errAway     = errors.New("this is not done here")
)

// A refusal is an error as MLflow's clients read it.
type refusal struct {
	Code    string `json:"error_code"`
	Message string `json:"message"`
}

// codes are what MLflow calls our kinds.
var codes = map[pavise.Kind]string{
	pavise.Internal: "INTERNAL_ERROR", pavise.Invalid: "INVALID_PARAMETER_VALUE", pavise.Denied: "PERMISSION_DENIED",
	pavise.NotFound: "RESOURCE_DOES_NOT_EXIST", pavise.Conflict: "RESOURCE_CONFLICT", pavise.Throttled: "REQUEST_LIMIT_EXCEEDED",
	pavise.Unverified: "INVALID_PARAMETER_VALUE", pavise.Unavailable: "TEMPORARILY_UNAVAILABLE",
}

// explain returns an error as MLflow's clients read it, and its status.
func explain(err error) (int, refusal) {
	e, known := errors.AsType[*pavise.Error](err)
	if !known {
		return http.StatusInternalServerError, refusal{codes[pavise.Internal], "this went wrong inside; the server's log says how"}
	}
	said := refusal{codes[e.Kind], e.Msg}
	if e.Hint != "" {
		said.Message += "; " + e.Hint
	}
	status := e.Kind.HTTPStatus()
	switch {
	case errors.Is(err, errEndpoint):
		said.Code = "ENDPOINT_NOT_FOUND"
	case errors.Is(err, errStranger):
		said.Code = "UNAUTHENTICATED"
	case e.Kind == pavise.Unverified:
		status = http.StatusBadRequest // a proof in the request, and not of who sends it
	case errors.Is(err, errExists):
		said.Code, status = "RESOURCE_ALREADY_EXISTS", http.StatusBadRequest
	case errors.Is(err, errAway):
		said.Code, status = "NOT_IMPLEMENTED", http.StatusNotImplemented
	case errors.Is(err, depot.ErrFull):
		said.Code, status = "RESOURCE_EXHAUSTED", http.StatusInsufficientStorage // clients would try 429 again and again
	}
	return status, said
}

// refuse answers with an error.
func refuse(w http.ResponseWriter, err error) {
	status, said := explain(err)
	reply(w, status, said)
}

// reply answers with JSON.
func reply(w http.ResponseWriter, status int, answer any) {
	body, err := json.Marshal(answer)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error_code":"INTERNAL_ERROR","message":"the answer cannot be written"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body) // who went away asks again
}

// nothing is the answer that says no more than that it was done.
type nothing struct{}

var _ io.Reader = (*hastened)(nil)

// A hastened reader gives each piece of a body as long as a body may take.
type hastened struct {
	from io.Reader
	wait *http.ResponseController
}

// Read implements io.Reader.
func (h *hastened) Read(p []byte) (int, error) {
	_ = h.wait.SetReadDeadline(time.Now().Add(pieceTime))
	_ = h.wait.SetWriteDeadline(time.Now().Add(keepTime)) // the server's own ends a minute after the beginning
	return h.from.Read(p)
}

// How long a piece of an artifact may take to come or go, 64 KiB; and how long after the last
// one until it is kept, which may be a copy of all of it.
const (
	pieceTime = 30 * time.Second
	keepTime  = time.Hour
)
