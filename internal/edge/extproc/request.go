package extproc

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/pavise/pavise"
)

// The bounds of a header, pseudo fields included.
const (
	maxFields = 256
	maxHeader = 64 << 10 // bytes of names and values
	maxChain  = 8        // certificates of a caller
)

// A field is one header field as it came.
type field struct{ name, value string }

// errLarge is why a header is refused that is larger than any that has a use. Proxies let
// callers send such ones, so it is no violation.
var errLarge = &pavise.Error{
	Kind: pavise.Invalid, Msg: "the header is too large",
	Hint: fmt.Sprintf("send at most %d fields, of %d bytes together", maxFields, maxHeader),
}

// fieldsOf reads a header map: names in small letters, one form of value, and nothing
// that a later hand could read as the end of a line. The error is a violation, or errLarge.
func fieldsOf(m *core.HeaderMap) ([]field, error) {
	if len(m.GetHeaders()) > maxFields {
		return nil, errLarge
	}
	fields := make([]field, 0, len(m.GetHeaders()))
	size := 0
	for _, h := range m.GetHeaders() {
		value := h.GetValue()
		if raw := h.GetRawValue(); len(raw) > 0 {
			if value != "" {
				return nil, violation("a header field with two values")
			}
			value = string(raw)
		}
		if len(h.ProtoReflect().GetUnknown()) > 0 || !validName(h.GetKey()) || strings.ContainsAny(value, "\r\n\x00") {
			return nil, violation("a header field that is none")
		}
		if size += len(h.GetKey()) + len(value); size > maxHeader {
			return nil, errLarge
		}
		fields = append(fields, field{h.GetKey(), value})
	}
	return fields, nil
}

// validName reports whether a name is a token (RFC 9110, section 5.6.2) in small
// letters, or one with a colon before it.
func validName(name string) bool {
	token := strings.TrimPrefix(name, ":")
	return token != "" && strings.IndexFunc(token, func(r rune) bool {
		return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r))
	}) < 0
}

// pseudo are the fields of a request that are not fields (RFC 9113, section 8.3.1).
type pseudo struct{ method, path, authority string }

// requestOf makes the request that the handler serves. The error is a violation, or of
// kind Invalid where the caller could send something else.
func requestOf(fields []field) (*http.Request, error) {
	p, header, err := split(fields)
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(p.path, "/") {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s %.80q is no request for a path", p.method, p.path)}
	}
	if media := strings.ToLower(header.Get("Content-Type")); strings.HasPrefix(media, "application/grpc") { // a proxy makes UNIMPLEMENTED of 404
		return nil, &pavise.Error{Kind: pavise.NotFound, Msg: "gRPC is not taken through a proxy", Hint: "ask in the REST form of the protocol, or ask Pavise itself"}
	}
	target, err := url.ParseRequestURI(p.path)
	if err != nil {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the path %.200q cannot be read", p.path), Err: err}
	}
	r := &http.Request{
		Method: p.method, URL: target, RequestURI: p.path, Host: p.authority, Header: header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, ContentLength: -1, Body: http.NoBody,
	}
	if n, err := strconv.ParseInt(header.Get("Content-Length"), 10, 64); err == nil && n >= 0 {
		r.ContentLength = n
	}
	return r, nil
}

// split parts pseudo fields from fields.
func split(fields []field) (p pseudo, header http.Header, err error) {
	header = http.Header{}
	for _, f := range fields {
		var to *string
		switch {
		case f.name == ":method":
			to = &p.method
		case f.name == ":path":
			to = &p.path
		case f.name == ":authority", f.name == "host":
			to = &p.authority
		case f.name == ":scheme":
			continue // it says how the caller reached the proxy, and decides nothing
		case f.name[0] == ':':
			return p, nil, &pavise.Error{Kind: pavise.Invalid, Msg: "a request with " + f.name + " is not taken"}
		default:
			key := http.CanonicalHeaderKey(f.name)
			header[key] = append(header[key], f.value)
			continue
		}
		if *to != "" && *to != f.value {
			return p, nil, violation("two values of " + f.name)
		}
		*to = f.value
	}
	if p.method == "" { // the path of CONNECT may be missing
		return p, nil, violation("a request without a method")
	}
	return p, header, nil
}

// statusOf returns the status of an answer, and its header.
func statusOf(fields []field) (int, http.Header, error) {
	status, header := 0, http.Header{}
	for _, f := range fields {
		switch {
		case f.name == ":status" && status == 0:
			n, err := strconv.Atoi(f.value)
			if err != nil || n < 200 || n > 599 {
				return 0, nil, violation("an answer without a status")
			}
			status = n
		case f.name[0] == ':':
			return 0, nil, violation("a pseudo field in an answer")
		default:
			key := http.CanonicalHeaderKey(f.name)
			header[key] = append(header[key], f.value)
		}
	}
	if status == 0 {
		return 0, nil, violation("an answer without a status")
	}
	return status, header, nil
}

// sourceOf is the address that a caller came from, as far as the proxy tells: what it
// says itself, else the last hop that it put down, else its own address. It counts
// refusals and decides nothing.
func sourceOf(said string, header http.Header, proxy string) string {
	hops := strings.Split(strings.Join(header.Values("X-Forwarded-For"), ","), ",")
	for _, text := range []string{said, strings.TrimSpace(hops[len(hops)-1]), proxy} {
		if host, _, err := net.SplitHostPort(text); err == nil {
			text = host
		}
		if addr, err := netip.ParseAddr(text); err == nil {
			return addr.Unmap().WithZone("").String()
		}
	}
	return "proxy"
}

// callerOf returns the client certificates in x-forwarded-client-cert, of a caller who
// has shown the proxy to have the key. Exactly one element is taken: more of them are
// a chain of proxies, whose first could be anybody's invention.
func callerOf(header http.Header) (*tls.ConnectionState, error) {
	values := header.Values("X-Forwarded-Client-Cert")
	if len(values) == 0 {
		return nil, nil
	}
	bad := func(what string) error {
		return &pavise.Error{Kind: pavise.Unverified, Msg: "x-forwarded-client-cert " + what, Hint: "set the proxy to SANITIZE_SET, with cert or chain"}
	}
	elements := quoted(values[0], ',')
	if len(values) > 1 || len(elements) != 1 {
		return nil, bad("speaks of more than one proxy")
	}
	text := ""
	for _, pair := range quoted(elements[0], ';') {
		key, value, _ := strings.Cut(pair, "=")
		if key = strings.ToLower(strings.TrimSpace(key)); key == "chain" || key == "cert" && text == "" {
			text = strings.Trim(value, `"`)
		}
	}
	text, err := url.PathUnescape(text)
	if err != nil || text == "" {
		return nil, bad("holds no certificate")
	}
	state := &tls.ConnectionState{HandshakeComplete: true}
	for rest := []byte(text); len(rest) > 0; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil || block.Type != "CERTIFICATE" || len(state.PeerCertificates) == maxChain {
			return nil, bad("holds what is no certificate")
		}
		state.PeerCertificates = append(state.PeerCertificates, certificate)
	}
	if len(state.PeerCertificates) == 0 {
		return nil, bad("holds no certificate")
	}
	return state, nil
}

// quoted cuts s at a separator outside of double quotes.
func quoted(s string, sep byte) (parts []string) {
	inside, from := false, 0
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && inside:
			i++
		case s[i] == '"':
			inside = !inside
		case s[i] == sep && !inside:
			parts = append(parts, s[from:i])
			from = i + 1
		}
	}
	return append(parts, s[from:])
}
