package edge

import (
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/gateway"
)

// ModelHeader names a model of the caller's tenant where the path of a protocol names
// none.
const ModelHeader = "Pavise-Model"

// unserved answers what no door is for. It is refused with a record, or passed to the
// model server if its class has a verb and a policy permits it.
func (e *Edge) unserved(w http.ResponseWriter, r *http.Request) {
	found := matches(r.Method, r.URL.Path)
	say := voiceOf(r, found)
	who, err := e.caller(r)
	if err != nil {
		say(w, err)
		return
	}
	by, wrong := namedModel(r)
	if by != "" { // of products that have the same path, the one that is meant
		speaks := e.gateway.Speaks(pavise.Name{Tenant: who.Tenant, Kind: "model", ID: by})
		if at := slices.IndexFunc(found, func(m match) bool { return slices.Contains(protocolsOf(m.Server), speaks) }); at > 0 {
			found = found[at:]
		}
	}
	call := gateway.AsideCall{Verb: VerbOther, Server: unknown, Wrong: wrong}
	if len(found) > 0 {
		m := found[0]
		call.Verb, call.Server, call.Model, call.Version = m.Verb(), m.Server, m.names["model"], m.names["version"]
		if m.passes() {
			call.Method, call.Path, call.Protocols, call.By = r.Method, m.there, protocolsOf(m.Server), by
			call.Text = m.Class == Metrics && strings.HasSuffix(m.Path, "/metrics")
			call.Body = newTimedBody(w, r.Body)
			if wrong == nil {
				call.Wrong = checkAside(r)
			}
		}
	}
	answer, err := e.gateway.Aside(r.Context(), who, call)
	if err != nil {
		say(w, reword(r, found, err))
		return
	}
	setRecord(w, answer.Record)
	if call.Text {
		replyText(w, answer.Body)
		return
	}
	reply(w, answer.Status, answer.Body)
}

// checkAside refuses what would be lost in silence on the way to a model server.
func checkAside(r *http.Request) error {
	switch {
	case r.URL.RawQuery != "":
		return &pavise.Error{Kind: pavise.Invalid, Msg: "the query of the URL is not passed on", Hint: "say it in the body"}
	case r.ContentLength != 0 && r.Method == "GET":
		return &pavise.Error{Kind: pavise.Invalid, Msg: "a GET with a body", Hint: "send none"}
	case r.ContentLength != 0:
		return checkText(r)
	}
	return nil
}

// reword says of a denial what was asked for, which the guard's own words do not. A path
// that nobody knows is not found, whoever asks.
func reword(r *http.Request, found []match, err error) error {
	if pavise.KindOf(err) != pavise.Denied {
		return err
	}
	what := fmt.Sprintf("%.20s %.200s", r.Method, r.URL.Path)
	if len(found) == 0 {
		return &pavise.Error{
			Kind: pavise.NotFound, Msg: what + " is not a route of this gateway", Err: err,
			Hint: "it serves inference, descriptions and health of the Open Inference Protocol v2, KServe v1, TensorFlow Serving, TorchServe, MLflow and OpenAI",
		}
	}
	m := found[0]
	msg, _ := gateway.Message(err)
	e := &pavise.Error{Kind: pavise.Denied, Msg: fmt.Sprintf("%s is %s of %s: %s", what, m.Class, m.Server, msg), Err: err, Hint: "nothing of this class is passed on; docs/profiles.md has the routes that are served"}
	if m.passes() {
		e.Hint = fmt.Sprintf("it takes a policy that permits %s, to somebody who does not hold the role caller", m.Verb())
	}
	return e
}

// namedModel returns the model that the header names, or "".
func namedModel(r *http.Request) (string, error) {
	values := r.Header.Values(ModelHeader)
	if len(values) == 0 {
		return "", nil
	}
	if name := (pavise.Name{Tenant: "t", Kind: "model", ID: values[0]}); len(values) > 1 || name.Validate() != nil {
		return "", &pavise.Error{Kind: pavise.Invalid, Msg: ModelHeader + " is given once, with the id of a model", Hint: "write it as in pavise route list, without the tenant"}
	}
	return values[0], nil
}

// unknown stands for the product that has a path which no table names.
const unknown = "unknown"

// refuseAside refuses what never gets as far as a model or a class of path, and leaves a
// record of it.
func (e *Edge) refuseAside(w http.ResponseWriter, r *http.Request, say voice, who pavise.Principal, server string, wrong error) {
	_, err := e.gateway.Aside(r.Context(), who, gateway.AsideCall{Verb: VerbOther, Server: server, Wrong: wrong})
	if pavise.KindOf(err) == pavise.Denied { // nobody may do what is wrong anyway
		msg, hint := gateway.Message(wrong)
		err = &pavise.Error{Kind: pavise.KindOf(wrong), Msg: msg, Hint: hint, Err: err}
	}
	say(w, err)
}

// plainly lets through only paths in their plain form: what parsers could take for
// another path, they must not get to see.
func (e *Edge) plainly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := r.URL.Path
		whole := r.ProtoMajor < 2 || r.URL.Scheme == "" // HTTP/2 has an authority of its own (RFC 9113, 8.3.1)
		if whole && p != "" && path.Clean(p) == p && !strings.ContainsAny(p, "\\\x00") && !strings.Contains(strings.ToLower(r.URL.EscapedPath()), "%2f") {
			next.ServeHTTP(w, r)
			return
		}
		e.refusePath(w, r)
	})
}

// refusePath refuses a path that is not in its plain form.
func (e *Edge) refusePath(w http.ResponseWriter, r *http.Request) {
	say := voiceOf(r, nil)
	who, err := e.caller(r)
	if err != nil {
		say(w, err)
		return
	}
	e.refuseAside(w, r, say, who, unknown, &pavise.Error{Kind: pavise.Invalid, Msg: "the path is not in its plain form", Hint: "write it without dots, doubled or trailing slashes, and encoded slashes"})
}
