package http1

import (
	"strconv"

	"github.com/pavise/pavise"
)

// A Head is the head of a request that we send.
type Head struct {
	Method string
	Target string // origin form: a path, with or without a query
	Host   string
	Length int64 // of the body; 0 says so too, negative says nothing: there is none
}

// AppendHead appends the first line of a request and the fields that every request of ours
// has. The caller appends others, and then the empty line: see AppendField and AppendEnd.
// What would become another line or another request is refused, with kind Invalid.
func AppendHead(dst []byte, h Head) ([]byte, error) {
	switch {
	case h.Method == "" || !allOf(h.Method, isToken):
		return dst, unwritable("its method is not a word")
	case h.Target == "" || h.Target[0] != '/' || !allOf(h.Target, isTarget):
		return dst, unwritable("its target is not a path of plain or escaped characters")
	case h.Host == "" || !allOf(h.Host, isHost):
		return dst, unwritable("its host has characters that no host has")
	}
	dst = append(append(append(dst, h.Method...), ' '), h.Target...)
	dst = append(append(append(dst, " HTTP/1.1\r\nHost: "...), h.Host...), "\r\n"...)
	if h.Length >= 0 {
		dst = append(strconv.AppendInt(append(dst, "Content-Length: "...), h.Length, 10), "\r\n"...)
	}
	return dst, nil
}

// AppendField appends one field. A name or a value that would be read as something else is
// refused, with kind Invalid, as are fields that say how long the body is: Head does.
func AppendField(dst []byte, name, value string) ([]byte, error) {
	switch {
	case name == "" || !allOf(name, isToken):
		return dst, unwritable("a field's name is not a word")
	case !allOf(value, isValue):
		return dst, unwritable("the value of the field " + name + " has a control character")
	case is([]byte(name), "content-length") || is([]byte(name), "transfer-encoding") || is([]byte(name), "host"):
		return dst, unwritable("the field " + name + " is not for the caller of AppendField")
	}
	return append(append(append(append(dst, name...), ": "...), value...), "\r\n"...), nil
}

// AppendEnd appends the empty line that ends a head.
func AppendEnd(dst []byte) []byte { return append(dst, "\r\n"...) }

// allOf is all for a string.
func allOf(s string, bits byte) bool {
	for i := range len(s) {
		if class[s[i]]&bits == 0 {
			return false
		}
	}
	return true
}

func unwritable(what string) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: "a request to a model server cannot be written: " + what, Hint: "look at the route's address and names"}
}
