package infer

import (
	"cmp"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/upstream"
)

// Keys are what servers of language models let us in with, by the address of the
// server. A key is sent to no other: not to another scheme, host or port.
type Keys map[string]string

// With has language models that come after it asked with the keys. The error is of kind
// Invalid, and shows none of them.
func (s *Servers) With(keys Keys) (*Servers, error) {
	held := Keys{}
	for address, key := range keys {
		at := originOf(address)
		switch {
		case at == "":
			return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.200q is not an address of a model server", address), Hint: "write it as https://host:port"}
		case key == "" || len(key) > 4096 || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }):
			return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "the key of " + at + " is empty, or no word of printable characters"}
		case held[at] != "":
			return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "there are two keys of " + at, Hint: "one server has one key here"}
		}
		held[at] = key
	}
	s.keys = held
	return s, nil
}

// OpenServers returns none yet, and reads the files of their keys, by address, and of
// their options of TLS, by name. The error is of kind Invalid.
func OpenServers(keyFiles map[string]string, options map[string]upstream.TLS) (*Servers, error) {
	keys, err := ReadKeys(keyFiles)
	if err != nil {
		return nil, err
	}
	s, err := NewServers().With(keys)
	if err != nil {
		return nil, err
	}
	return s.WithTLS(options)
}

// ReadKeys reads keys from files, which stand by the address of the server. The error is
// of kind Invalid, and shows nothing of what they hold.
func ReadKeys(files map[string]string) (Keys, error) {
	keys := Keys{}
	for address, file := range files {
		refuse := func(why, hint string) error {
			return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the key of %s, %s, %s", address, file, why), Hint: hint}
		}
		info, err := os.Stat(file)
		if err != nil {
			return nil, refuse("cannot be read: "+err.Error(), "model_keys in pavise.yaml names it")
		}
		if mode := info.Mode().Perm(); mode&0o077 != 0 {
			return nil, refuse(fmt.Sprintf("has mode %#o, and others can reach it", mode), "take that away: chmod 600")
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, refuse("cannot be read: "+err.Error(), "model_keys in pavise.yaml names it")
		}
		keys[address] = strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	}
	return keys, nil
}

// originOf is the scheme, host and port of an address, in one spelling; or "".
func originOf(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
		return ""
	}
	port := cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	return u.Scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}
