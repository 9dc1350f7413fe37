package infer

import (
	"fmt"
	"os"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/upstream"
)

// WithTLS has routes name, by a word of their own, what model servers are believed by and
// what they are shown. The files are read now, so that what is wrong with them is told at
// the start, and again as package upstream has it. The error is of kind Invalid.
func (s *Servers) WithTLS(named map[string]upstream.TLS) (*Servers, error) {
	for name, t := range named {
		if err := checkTLS(name, t); err != nil {
			return nil, err
		}
	}
	s.tls = named
	return s, nil
}

func checkTLS(name string, t upstream.TLS) error {
	refuse := func(hint, format string, args ...any) error {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("model_tls %.64q: ", name) + fmt.Sprintf(format, args...), Hint: hint}
	}
	switch {
	case !validTLSName(name):
		return refuse("choose one of letters, digits, dots, dashes and underscores: 64 at most", "that is no name")
	case t == upstream.TLS{}:
		return refuse("give authorities, a certificate and its key, or a server_name", "it says nothing")
	}
	if err := t.Check(); err != nil {
		if e, ok := err.(*pavise.Error); ok {
			why := e.Msg
			if e.Err != nil {
				why += ": " + e.Err.Error()
			}
			return refuse(e.Hint, "%s", why)
		}
		return err
	}
	if t.KeyFile == "" {
		return nil
	}
	info, err := os.Stat(t.KeyFile)
	if err != nil {
		return refuse("model_tls in pavise.yaml names it", "%v", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return refuse("take that away: chmod 600", "%s has mode %#o, and others can reach it", t.KeyFile, mode)
	}
	return nil
}

// validTLSName reports whether a word can be what routes call their options of TLS.
func validTLSName(name string) bool {
	return name != "" && len(name) <= 64 && name != "none" && strings.Trim(name, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._-") == ""
}

// secure puts into o what the route to a place names. A route whose word means nothing
// here, such as one that a control plane tells of, is there all the same: missing is why
// none of its servers can be asked.
func (s *Servers) secure(o *upstream.Options, endpoints []upstream.Endpoint, at Place) (missing, err error) {
	if at.TLS == "" {
		return nil, nil
	}
	for _, e := range endpoints {
		if !strings.HasPrefix(e.URL, "https://") {
			return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.200s is not asked by TLS, and the route names options of it", e.URL), Hint: "write the address with https://, or leave the options out: --tls none"}
		}
	}
	t, known := s.tls[at.TLS]
	if !known {
		return &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("no options of TLS are called %.64q on this machine", at.TLS), Hint: "the operator names them under model_tls in pavise.yaml"}, nil
	}
	o.TLS = t
	return nil, nil
}
