package identity

import (
	"crypto/tls"
	"net/http"
	"net/url"
	"strings"
)

// Credentials are all that a request says about who sent it.
type Credentials struct {
	Authorization []string             // the values of that header: Bearer or DPoP, and a token
	DPoP          []string             // the values of that header: a proof of possession (RFC 9449)
	Method        string               // the request's method
	URL           string               // its target as it came: the path, escaped as sent; a query is passed over
	TLS           *tls.ConnectionState // of the connection it came on; nil: it is not encrypted
}

// FromRequest returns the credentials in a request that a server got.
func FromRequest(r *http.Request) Credentials {
	target := r.RequestURI
	if target == "" || target[0] != '/' {
		target = r.URL.EscapedPath()
	}
	return Credentials{
		Authorization: r.Header["Authorization"], DPoP: r.Header["Dpop"],
		Method: r.Method, URL: target, TLS: r.TLS,
	}
}

// The schemes of the Authorization header.
const (
	schemeBearer = "Bearer" // RFC 6750
	schemeDPoP   = "DPoP"   // RFC 9449
)

// token returns the token in the Authorization header and its scheme, or "" when there
// is a client certificate instead.
func (c *Credentials) token() (scheme, token string, err error) {
	if len(c.Authorization) == 0 {
		if c.TLS != nil && len(c.TLS.PeerCertificates) > 0 {
			return "", "", nil
		}
		return "", "", refuse(Missing)
	}
	return fromHeader(c.Authorization)
}

// FromHeader returns the token in the values of a request's Authorization
// header: exactly one, the scheme Bearer or DPoP in any case, one space, the token
// (RFC 6750, RFC 9449). The error is as Verify's.
func FromHeader(values []string) (string, error) {
	_, token, err := fromHeader(values)
	if err == nil && strings.ContainsAny(token, " \t,") {
		return "", refuse(Malformed)
	}
	return token, err
}

func fromHeader(values []string) (scheme, token string, err error) {
	if len(values) == 0 {
		return "", "", refuse(Missing)
	}
	if len(values) > 1 {
		return "", "", refuse(Malformed)
	}
	scheme, token, _ = strings.Cut(values[0], " ")
	switch {
	case strings.EqualFold(scheme, schemeBearer):
		scheme = schemeBearer
	case strings.EqualFold(scheme, schemeDPoP):
		scheme = schemeDPoP
	default:
		return "", "", refuse(Missing) // another scheme is no token of ours
	}
	switch {
	case token == "":
		return "", "", refuse(Missing)
	case len(token) > MaxToken:
		return "", "", refuse(Oversized)
	}
	return scheme, token, nil
}

// normalOrigin returns scheme://host of an origin as RFC 3986, section 6.2, makes
// equal ones equal: in lower case, without the scheme's own port.
func normalOrigin(s string) (string, bool) {
	origin, path, ok := splitURL(s)
	return origin, ok && (path == "" || path == "/")
}

// splitURL returns the normalised origin and the escaped path of an absolute http or
// https URL. Query and fragment are passed over, as RFC 9449, section 4.3, has it for
// what a proof is compared with.
func splitURL(s string) (origin, path string, ok bool) {
	u, err := url.Parse(s)
	if err != nil || u.User != nil || u.Opaque != "" || u.Hostname() == "" {
		return "", "", false
	}
	host, port := strings.ToLower(u.Hostname()), u.Port()
	switch {
	case u.Scheme == "https" && port == "443", u.Scheme == "http" && port == "80":
		port = ""
	case u.Scheme != "https" && u.Scheme != "http":
		return "", "", false
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port != "" {
		host += ":" + port
	}
	return u.Scheme + "://" + host, normalPath(u.EscapedPath()), true
}

// normalPath returns an escaped path as RFC 3986, section 6.2, makes equal ones equal
// that a server could not tell apart: no path is "/", and what need not be escaped is
// not. Dots are left alone: our own routes refuse them.
func normalPath(path string) string {
	if path == "" {
		return "/"
	}
	if !strings.Contains(path, "%") {
		return path
	}
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] != '%' || i+2 >= len(path) {
			b.WriteByte(path[i])
			continue
		}
		c := unhex(path[i+1])<<4 | unhex(path[i+2])
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0 {
			b.WriteByte(c)
		} else {
			b.WriteString(strings.ToUpper(path[i : i+3]))
		}
		i += 2
	}
	return b.String()
}

// unhex is the value of a hex digit; another character is 0, and was refused by url.Parse.
func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 0
}
