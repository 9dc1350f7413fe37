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
	call := gateway.AsideCall{Verb: VerbOther, Server: unknown, Method: r.Method, Path: r.URL.EscapedPath(), Wrong: unserviceable(r, found)}
	if len(found) > 0 {
		m := found[0]
		call.Verb, call.Server, call.Model, call.Version = m.Verb(), m.Server, m.names["model"], m.names["version"]
		if m.passes() {
			call.There, call.Protocols, call.By, call.Wrong = m.there, protocolsOf(m.Server), by, wrong
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

// unserviceable is why what was found can never be passed on, or nothing was; nil: it
// can be.
func unserviceable(r *http.Request, found []match) error {
	if len(found) == 0 {
		return &pavise.Error{
			Kind: pavise.NotFound, Msg: askedFor(r) + " is not a route of this gateway",
			Hint: "it serves inference, descriptions and health of the Open Inference Protocol v2, KServe v1, TensorFlow Serving, TorchServe, MLflow and OpenAI",
		}
	}
	if m := found[0]; !m.passes() {
		return &pavise.Error{
			Kind: pavise.Denied, Msg: fmt.Sprintf("%s is %s of %s, which is never passed on", askedFor(r), m.Class, m.Server),
			Hint: "docs/profiles.md has the routes that are served",
		}
	}
	return nil
}

// askedFor spells what was asked for, in a few words.
func askedFor(r *http.Request) string { return fmt.Sprintf("%.20s %.200s", r.Method, r.URL.Path) }

// reword says of a denial what was asked for, which the guard's own words do not.
func reword(r *http.Request, found []match, err error) error {
	if pavise.KindOf(err) != pavise.Denied || len(found) == 0 || !found[0].passes() {
		return err
	}
	m := found[0]
	msg, _ := gateway.Message(err)
	return &pavise.Error{
		Kind: pavise.Denied, Msg: fmt.Sprintf("%s is %s of %s: %s", askedFor(r), m.Class, m.Server, msg), Err: err,
		Hint: fmt.Sprintf("it takes a policy that permits %s, to somebody who does not hold the role caller", m.Verb()),
	}
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
	_, err := e.gateway.Aside(r.Context(), who, gateway.AsideCall{
		Verb: VerbOther, Server: server, Method: r.Method, Path: r.URL.EscapedPath(), Wrong: wrong,
	})
	say(w, err)
}

// plainly lets through only paths in their plain form: what parsers could take for
// another path, they must not get to see.
func (e *Edge) plainly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := r.URL.Path
		whole := r.ProtoMajor < 2 || r.URL.Scheme == "" // HTTP/2 has an authority of its own (RFC 9113, 8.3.1)
		if whole && (isPlain(p) && r.URL.RawPath == "" || p != "" && path.Clean(p) == p && !strings.ContainsAny(p, "\\\x00") && !strings.Contains(strings.ToLower(r.URL.EscapedPath()), "%2f")) {
			next.ServeHTTP(w, r)
			return
		}
		e.refusePath(w, r)
	})
}

// isPlain reports whether a path is plain at the first look, as most are: slashes that
// stand alone and not at the end, and between them letters, digits, dashes and underscores,
// which no escape stands for.
func isPlain(p string) bool {
	slash := false
	for i := range len(p) {
		b := p[i]
		switch {
		case b == '/' && !slash:
			slash = true
		case b == '-' || b == '_' || '0' <= b && b <= '9' || 'a' <= b|0x20 && b|0x20 <= 'z':
			slash = false
		default:
			return false
		}
	}
	return len(p) > 1 && p[0] == '/' && !slash
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
