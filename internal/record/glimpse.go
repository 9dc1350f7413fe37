package record

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"

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

// Glance takes a glimpse of an entry: the fields that Decode would give. An entry
// that is not spelled as our writer spells it is decoded for it. Of what it does not
// look at, it does not notice that it is no record.
func Glance(entry []byte) (Glimpse, error) {
	body, err := Body(entry)
	if err != nil {
		return Glimpse{}, err
	}
	var w walk
	if fields(body, w.take) == nil {
		return w.Glimpse, nil
	}
	r, err := Decode(entry)
	if err != nil {
		return Glimpse{}, err
	}
	return glimpseOf(&r), nil
}

// glimpseOf returns the glimpse of a record that was decoded.
func glimpseOf(r *Record) Glimpse {
	g := Glimpse{
		Kind: r.Kind, Phase: r.Phase, Tenant: r.Tenant, Subject: r.Subject, Outcome: string(r.Outcome),
		On: r.On.String(), At: r.At, Enter: r.Enter, Failed: r.Error != nil,
	}
	if r.Who != nil {
		g.Who = r.Who.Name().String()
	}
	return g
}

// A walk takes a glimpse field by field.
type walk struct {
	Glimpse
	key  int // the last key's place in recordKeys, from 1
	name pavise.Name
	of   int // the last key's place in principalKeys
}

// The keys of a record and of a principal, in the order in which the writer writes
// them.
var (
	recordKeys    = []string{"kind", "phase", "tenant", "at", "who", "on", "subject", "outcome", "policy", "verdicts", "error", "enter", "settled", "took_ns", "safe", "detail", "sealed"}
	principalKeys = []string{"tenant", "kind", "id", "issuer", "roles", "proof", "expires", "change", "environment", "by"}
)

// advance moves a place in keys behind one that comes later, and fails on any other
// key: one that is unknown, spelled otherwise, or there twice.
func advance(place *int, keys []string, key []byte) error {
	for i := *place; i < len(keys); i++ {
		if keys[i] == string(key) {
			*place = i + 1
			return nil
		}
	}
	return errSyntax
}

// take notes one field.
func (w *walk) take(key, value []byte) (err error) {
	if err := advance(&w.key, recordKeys, key); err != nil {
		return err
	}
	switch string(key) {
	case "kind":
		w.Kind, err = text(value)
	case "phase":
		w.Phase, err = text(value)
	case "tenant":
		w.Tenant, err = text(value)
	case "subject":
		w.Subject, err = text(value)
	case "outcome":
		w.Outcome, err = text(value)
	case "on":
		w.On, err = text(value)
	case "who":
		err = fields(value, w.takePrincipal)
		w.Who = w.name.String()
	case "at":
		err = w.At.UnmarshalJSON(value)
	case "enter":
		var n uint64
		n, err = strconv.ParseUint(string(value), 10, 64)
		w.Enter = &n
	case "error":
		w.Failed = string(value) != "null"
	}
	return err
}

// takePrincipal notes one field of who acted.
func (w *walk) takePrincipal(key, value []byte) (err error) {
	if err := advance(&w.of, principalKeys, key); err != nil {
		return err
	}
	switch string(key) {
	case "tenant":
		w.name.Tenant, err = text(value)
	case "kind":
		w.name.Kind, err = text(value)
	case "id":
		w.name.ID, err = text(value)
	}
	return err
}

// text reads a JSON string.
func text(value []byte) (s string, err error) {
	if n := len(value); n >= 2 && value[0] == '"' && bytes.IndexByte(value, '\\') < 0 && utf8.Valid(value) {
		return string(value[1 : n-1]), nil
	}
	return s, json.Unmarshal(value, &s)
}

// errSyntax is what fields says of text that is no JSON object.
var errSyntax = &json.SyntaxError{}

// fields calls take for each key of a JSON object and its value, in order. It leaves
// it to Decode to be strict about all that it passes over.
func fields(object []byte, take func(key, value []byte) error) error {
	i := space(object, 0)
	if i >= len(object) || object[i] != '{' {
		return errSyntax
	}
	if i = space(object, i+1); i < len(object) && object[i] == '}' && space(object, i+1) == len(object) {
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
	if i >= len(object) || object[i] != '}' || space(object, i+1) < len(object) {
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
// brackets, and no more.
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

// skipString returns the index behind the string at i, or -1. Most are short; where one
// is not, it is a payload without escapes, and IndexByte passes over many bytes at once.
func skipString(b []byte, i int) int {
	const short = 32
	i++
	for end := min(i+short, len(b)); i < end; i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	for i < len(b) {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return -1
		}
		escape := bytes.IndexByte(b[i:i+n], '\\')
		if escape < 0 {
			return i + n + 1
		}
		i += escape + 2
	}
	return -1
}

// skipWord returns the index behind the number or word at i.
func skipWord(b []byte, i int) int {
	for i < len(b) {
		switch b[i] {
		case ',', '}', ']', ' ', '\t', '\n', '\r', ':':
			return i
		}
		i++
	}
	return i
}
