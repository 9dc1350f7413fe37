package record

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"

	"github.com/pavise/pavise"
)

// A Glimpse is what the index and the verifier want of an entry: a few fields,
// found by one walk over its text. Decoding whole records costs ten times as much,
// and ten million of them would take a minute.
type Glimpse struct {
	Kind, Phase, Tenant, Subject, Outcome string
	Who, On                               string // names
	At                                    time.Time
	Enter                                 *uint64 // the act that it ends
	Failed                                bool    // it did not end well
}

// Glance takes a glimpse of an entry. Of what a log's writer wrote it gives the
// same fields as Decode, to which a test holds it.
func Glance(entry []byte) (g Glimpse, err error) {
	body, err := Body(entry)
	if err == nil {
		err = fields(body, g.take)
	}
	if err != nil {
		return g, &pavise.Error{Kind: pavise.Unverified, Msg: "entry body is not a record", Err: err}
	}
	return g, nil
}

// take notes one field.
func (g *Glimpse) take(key, value []byte) (err error) {
	switch string(key) {
	case "kind":
		g.Kind, err = text(value)
	case "phase":
		g.Phase, err = text(value)
	case "tenant":
		g.Tenant, err = text(value)
	case "subject":
		g.Subject, err = text(value)
	case "outcome":
		g.Outcome, err = text(value)
	case "on":
		g.On, err = text(value)
	case "who":
		return g.takePrincipal(value)
	case "at":
		return g.At.UnmarshalJSON(value)
	case "enter":
		n, err := strconv.ParseUint(string(value), 10, 64)
		g.Enter = &n
		return err
	case "error":
		g.Failed = string(value) != "null"
	}
	return err
}

// takePrincipal notes who acted.
func (g *Glimpse) takePrincipal(value []byte) error {
	var name pavise.Name
	if value[0] != '{' {
		return nil // null
	}
	err := fields(value, func(key, value []byte) (err error) {
		switch string(key) {
		case "tenant":
			name.Tenant, err = text(value)
		case "kind":
			name.Kind, err = text(value)
		case "id":
			name.ID, err = text(value)
		}
		return err
	})
	g.Who = name.String()
	return err
}

// text reads a JSON string.
func text(value []byte) (s string, err error) {
	if n := len(value); n >= 2 && value[0] == '"' && bytes.IndexByte(value, '\\') < 0 {
		return string(value[1 : n-1]), nil
	}
	return s, json.Unmarshal(value, &s)
}

// errSyntax is what fields says of text that is no JSON object.
var errSyntax = &json.SyntaxError{}

// fields calls take for each key of a JSON object and its value, in order. Keys
// with escapes are none of ours, whatever they spell.
func fields(object []byte, take func(key, value []byte) error) error {
	i := space(object, 0)
	if i >= len(object) || object[i] != '{' {
		return errSyntax
	}
	if i = space(object, i+1); i < len(object) && object[i] == '}' {
		return nil
	}
	for {
		end := skip(object, i)
		if end < 0 || object[i] != '"' {
			return errSyntax
		}
		key := object[i+1 : end-1]
		if i = space(object, end); i >= len(object) || object[i] != ':' {
			return errSyntax
		}
		i = space(object, i+1)
		if end = skip(object, i); end < 0 {
			return errSyntax
		}
		if err := take(key, object[i:end]); err != nil {
			return err
		}
		if i = space(object, end); i >= len(object) || object[i] != ',' {
			break
		}
		i = space(object, i+1)
	}
	if i >= len(object) || object[i] != '}' {
		return errSyntax
	}
	return nil
}

// space returns the index of the first byte from i on that is no white space.
func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// skip returns the index behind the JSON value at i, or -1. It minds strings and
// brackets, and leaves it to Decode to be strict about the rest.
func skip(b []byte, i int) int {
	depth := 0
	for i < len(b) {
		switch b[i] {
		case '"':
			if i = skipString(b, i); i < 0 || depth == 0 {
				return i
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
			if depth < 0 {
				return -1
			}
		case ',', ' ', '\t', '\n', '\r', ':':
			if depth == 0 {
				return -1
			}
		default:
			if depth == 0 {
				return skipWord(b, i)
			}
		}
		i++
	}
	return -1
}

// skipString returns the index behind the string at i, or -1.
func skipString(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// skipWord returns the index behind the number or word at i.
func skipWord(b []byte, i int) int {
	for i < len(b) && bytes.IndexByte([]byte(",}] \t\n\r:"), b[i]) < 0 {
		i++
	}
	return i
}
