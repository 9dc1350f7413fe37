package edge

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/gateway"
	"github.com/pavise/pavise/internal/identity"
	"github.com/pavise/pavise/internal/intake"
)

// An Edge is the door of one gateway. It is safe for concurrent use, and has no
// state of its own.
type Edge struct {
	gateway *gateway.Gateway
}

// New returns the door of a gateway.
func New(g *gateway.Gateway) *Edge { return &Edge{gateway: g} }

// Handler serves the Open Inference Protocol v2, below /v2 and over HTTP/2 as gRPC, and
// what OpenAIPaths and TensorPaths name. Whatever is not one of their routes or calls is
// refused with a record: see Profile.
func (e *Edge) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2/health/live", e.health)
	mux.HandleFunc("GET /v2/health/ready", e.health)
	mux.HandleFunc("GET /v2", e.server)
	mux.HandleFunc("GET /v2/models/stats", e.unserved)
	mux.HandleFunc("GET /v2/models/{model}", e.metadata)
	mux.HandleFunc("GET /v2/models/{model}/ready", e.ready)
	mux.HandleFunc(inferPattern, func(w http.ResponseWriter, r *http.Request) { e.infer(w, r, r.PathValue("model")) })
	e.openAI(mux)
	e.rowProtocols(mux)
	mux.HandleFunc("/", e.unserved)
	plain := e.plainly(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if model, ok := inferPath(r); ok {
			r.Pattern = inferPattern
			e.infer(w, r, model)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	return e.gateway.Watch().HTTP(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isGRPC(r) && isCall(r) {
			e.grpc(w, r)
			return
		}
		plain.ServeHTTP(w, r)
	}))
}

// caller turns what the request proves into a principal.
func (e *Edge) caller(r *http.Request) (pavise.Principal, error) {
	return e.gateway.Admit(r.Context(), identity.FromRequest(r), source(r))
}

// source is the address a request came from, without its port.
func source(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// RecordHeader names the record that proves a decision: its index in the log.
const RecordHeader = "Pavise-Record"

// SubjectHeader names whose data a request holds: what its record keeps is under
// that person's key, and can be forgotten with it.
const SubjectHeader = "Pavise-Subject"

// maxSubject bounds that name, in bytes.
const maxSubject = 256

// aboutWhom returns whose data the request holds, or "".
func aboutWhom(r *http.Request) (string, error) {
	values := r.Header[SubjectHeader]
	if len(values) == 0 {
		return "", nil
	}
	name := values[0]
	switch {
	case len(values) > 1, name == "", len(name) > maxSubject:
		return "", &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s is given once, with 1 to %d bytes", SubjectHeader, maxSubject), Hint: "leave it out if the data is the caller's own"}
	case !utf8.ValidString(name), strings.ContainsFunc(name, unseen):
		return "", &pavise.Error{Kind: pavise.Invalid, Msg: SubjectHeader + " holds what is no printable text in UTF-8", Hint: "send the name in letters, digits, signs and spaces"}
	}
	return name, nil
}

// unseen reports a character of a name that nobody sees, or that looks like a space.
func unseen(r rune) bool { return !unicode.IsPrint(r) }

// A timedBody is a request's body that arrives within intake.BodyTime or breaks off.
type timedBody struct {
	body io.Reader
	conn deadliner // nil: it has no deadlines
}

type deadliner interface{ SetReadDeadline(time.Time) error }

// newTimedBody starts the time, unless all of the body has arrived, as most bodies have
// with their head. A connection that has no deadlines has none.
func newTimedBody(w http.ResponseWriter, body io.Reader) io.Reader {
	if a, ok := body.(interface{ Arrived() bool }); ok && a.Arrived() {
		return body
	}
	b := &timedBody{body, deadlinerOf(w)}
	b.within(time.Now().Add(intake.BodyTime))
	return b
}

// deadlinerOf finds what http.ResponseController would, once for all calls.
func deadlinerOf(w http.ResponseWriter) deadliner {
	for {
		switch t := w.(type) {
		case deadliner:
			return t
		case interface{ Unwrap() http.ResponseWriter }:
			w = t.Unwrap()
		default:
			return nil
		}
	}
}

func (b *timedBody) within(deadline time.Time) {
	if b.conn != nil {
		b.conn.SetReadDeadline(deadline)
	}
}

// Read reads from the body. The deadline goes at its end: what is read from then
// on only says whether the caller is still there, and a model may take longer.
func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	if err == io.EOF {
		b.within(time.Time{})
	}
	return n, err
}

// modelName is the model a request asks for; a caller names models of its own
// tenant only.
func modelName(who pavise.Principal, r *http.Request) pavise.Name {
	return pavise.Name{Tenant: who.Tenant, Kind: "model", ID: r.PathValue("model")}
}
