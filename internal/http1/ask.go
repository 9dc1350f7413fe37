package http1

import (
	"bytes"
	"net/http"
	"net/textproto"
	"net/url"
)

// A verdict is what becomes of a request's head.
type verdict int

const (
	refused  verdict = iota // clearly malformed, or two readers could differ about it
	taken                   // in the narrow form that is served here
	handed                  // good, but not of that form: net/http serves it
	handedH2                // the preface of HTTP/2 without TLS
)

// A refusal is the answer to a head that is not taken.
type refusal struct {
	status int
	why    string
}

func (r *refusal) Error() string { return r.why }

func bad(why string) (verdict, error) { return refused, &refusal{http.StatusBadRequest, why} }

// mostFields is how many fields the head of a request may have.
const mostFields = 100

// An ask is a head of a request, read. Its parts point into the head.
type ask struct {
	method, target, host []byte
	fields               []Field // all of them
	framing
	minor    byte // '1' of HTTP/1.1
	close    bool // the caller wants the connection closed
	expect   bool // the caller waits for 100 Continue before it sends the body
	handed   bool // a field asks for something that only net/http does
	pragma   bool // net/http adds a Cache-Control
	hosts    int
	trailers bool
}

// read reads a head and says what becomes of it. The error is a *refusal.
//
// The rule that makes this safe: a taken head is read by net/http in the same way, which
// FuzzRequest tries to disprove; and a handed one is the last of its connection, so that no
// difference about where it ends can matter.
func (a *ask) read(head []byte) (verdict, error) {
	line, lines := cutLine(head)
	fields, err := readFields(lines, a.fields[:0], mostFields)
	*a = ask{fields: fields}
	if err == errManyFields {
		return refused, &refusal{http.StatusRequestHeaderFieldsTooLarge, err.Error()}
	}
	if err != nil {
		return bad(err.Error())
	}
	if string(line) == "PRI * HTTP/2.0" && len(fields) == 0 {
		return handedH2, nil
	}
	if v, err := a.firstLine(line); err != nil {
		return v, err
	}
	if a.framing, err = readFraming(fields); err != nil {
		return bad(err.Error())
	}
	if v, err := a.readFields(); err != nil {
		return v, err
	}
	return a.judge()
}

// firstLine cuts "METHOD target HTTP/1.1".
func (a *ask) firstLine(line []byte) (verdict, error) {
	var version []byte
	var ok1, ok2 bool
	a.method, line, ok1 = bytes.Cut(line, []byte(" "))
	a.target, version, ok2 = bytes.Cut(line, []byte(" "))
	switch {
	case !ok1 || !ok2 || len(a.method) == 0 || len(a.target) == 0 || !all(a.method, isToken):
		return bad("the first line is not METHOD, one space, target, one space, HTTP/1.1")
	case string(version) == "HTTP/1.1" || string(version) == "HTTP/1.0":
		a.minor = version[7]
		return taken, nil
	case len(version) == 8 && string(version[:5]) == "HTTP/" && all(version[5:6], isDigit) && version[6] == '.' && all(version[7:], isDigit):
		return refused, &refusal{http.StatusHTTPVersionNotSupported, "it is not of HTTP/1.1"}
	}
	return bad("the first line does not end with HTTP/1.1")
}

// readFields notes what the fields say that matters here.
func (a *ask) readFields() (verdict, error) {
	for _, f := range a.fields {
		switch len(f.Name) {
		case len("te"):
			a.handed = a.handed || is(f.Name, "te")
		case len("host"):
			if is(f.Name, "host") {
				a.host = f.Value
				a.hosts++
			}
		case len("expect"):
			if is(f.Name, "expect") {
				a.handed = a.handed || a.expect || !is(f.Value, "100-continue")
				a.expect = true
			} else if is(f.Name, "pragma") {
				a.pragma = true
			}
		case len("upgrade"): // and trailer
			a.trailers = a.trailers || is(f.Name, "trailer")
			a.handed = a.handed || is(f.Name, "upgrade") || a.trailers
		case len("connection"):
			if is(f.Name, "connection") {
				a.connection(f.Value)
			}
		}
	}
	switch {
	case a.hosts > 1:
		return bad("it has more than one Host")
	case a.hosts == 0 && a.minor == '1':
		return bad("it has no Host")
	case !all(a.host, isHost):
		return bad("its Host has characters that no host has")
	}
	return taken, nil
}

// connection reads the options of a Connection. Others than the two that everybody knows
// name fields, or things that only net/http does.
func (a *ask) connection(value []byte) {
	eachToken(value, func(t []byte) {
		switch {
		case is(t, "close"):
			a.close = true
		case !is(t, "keep-alive"):
			a.handed = true
		}
	})
}

// judge decides, after everything that is malformed was refused but the target.
func (a *ask) judge() (verdict, error) {
	plain, err := a.readTarget()
	if err != nil {
		return bad(err.Error())
	}
	if plain && !a.handed && a.minor == '1' && len(a.host) > 0 && isKnown(a.method) {
		return taken, nil
	}
	if a.chunked {
		return bad("a chunked body comes with a plain request of HTTP/1.1 only")
	}
	return handed, nil
}

// readTarget checks the target, and reports whether it is in origin form and of characters
// that a target has.
func (a *ask) readTarget() (plain bool, err error) {
	t := a.target
	for _, b := range t {
		if b <= ' ' || b >= 0x7f || b == '#' || b == '\\' {
			return false, &refusal{why: "its target has a byte that must be escaped"}
		}
	}
	switch {
	case t[0] == '/':
		return all(t, isTarget), nil
	case string(t) == "*" && string(a.method) == "OPTIONS", string(a.method) == "CONNECT":
		return false, nil
	}
	scheme, rest, ok := bytes.Cut(t, []byte("://"))
	if !ok || !is(scheme, "http") && !is(scheme, "https") {
		return false, &refusal{why: "its target is neither a path nor an address"}
	}
	host := rest
	if n := bytes.IndexAny(rest, "/?"); n >= 0 {
		host = rest[:n]
	}
	if len(host) == 0 || a.hosts != 1 || string(host) != string(a.host) {
		return false, &refusal{why: "its target names another host than its Host"}
	}
	return false, nil
}

// isKnown reports whether a method is served here.
func isKnown(method []byte) bool {
	switch string(method) {
	case "GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS":
		return true
	}
	return false
}

// request fills in what a handler gets to see of a taken head, as net/http would. The error
// is a *refusal: a target may have an escape that is none.
func (a *ask) request(head []byte, s *sheet) error {
	text := ""
	if !s.lent {
		text = string(head) // every part is a piece of this one copy
	}
	cut := func(before string, b []byte) string {
		if s.lent {
			return asBefore(before, b)
		}
		from := cap(head) - cap(b) // both reach to the end of one buffer
		return text[from : from+len(b)]
	}
	r, said := &s.req, s.heard
	if said == nil {
		said = new(heard)
	}
	said.method, said.target, said.host = cut(said.method, a.method), cut(said.target, a.target), cut(said.host, a.host)
	r.Method, r.RequestURI, r.Host = said.method, said.target, said.host
	r.ContentLength, r.Close = max(a.length, 0), a.close
	if a.chunked {
		r.ContentLength, r.TransferEncoding = -1, []string{"chunked"}
	}
	if err := setURL(&s.url, r.RequestURI); err != nil {
		return err
	}
	r.URL, r.Header = &s.url, s.asked
	a.header(s, said, cut)
	if a.pragma {
		fixPragma(r.Header)
	}
	return nil
}

// header puts the fields where a handler reads them. cut makes a string of a part of the
// head, or takes the one before.
func (a *ask) header(s *sheet, before *heard, cut func(before string, b []byte) string) {
	h, space, n := s.asked, s.values[:], 0
	var spare heardField
	for _, f := range a.fields {
		if is(f.Name, "host") || a.chunked && is(f.Name, "transfer-encoding") {
			continue
		}
		said := &spare
		if n < mostHeard {
			said = &before.fields[n]
			n++
		}
		if string(f.Name) != said.name {
			said.name = cut("", f.Name)
			said.key = textproto.CanonicalMIMEHeaderKey(said.name)
		}
		said.value = cut(said.value, f.Value)
		if have, twice := h[said.key]; twice {
			h[said.key] = append(have, said.value)
		} else if len(space) > 0 {
			space[0] = said.value
			h[said.key], space = space[:1:1], space[1:]
		} else {
			h[said.key] = []string{said.value}
		}
	}
	clear(before.fields[n:])
}

// fixPragma does what net/http does (RFC 7234, 5.4).
func fixPragma(h http.Header) {
	if p := h["Pragma"]; len(p) > 0 && p[0] == "no-cache" && len(h["Cache-Control"]) == 0 {
		h["Cache-Control"] = []string{"no-cache"}
	}
}

// setURL parses a target in origin form. Plain characters are what they say; for escapes
// and the like there is package url.
func setURL(u *url.URL, target string) error {
	n := 0
	for n < len(target) && class[target[n]]&isPath != 0 {
		n++
	}
	if n == len(target) {
		u.Path = target
		return nil
	}
	if query := target[n+1:]; target[n] == '?' && query != "" {
		u.Path, u.RawQuery = target[:n], query
		return nil
	}
	parsed, err := url.ParseRequestURI(target)
	if err != nil {
		return &refusal{http.StatusBadRequest, "its target has an escape that is none"}
	}
	*u = *parsed
	return nil
}
