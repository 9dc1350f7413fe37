package chat

import (
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/pavise/pavise/internal/quote"
)

// appendFolded appends a name so that names which differ in case only become one, as
// encoding/json folds them.
func appendFolded(dst []byte, name string) []byte {
	for _, r := range name {
		if r < utf8.RuneSelf { // of two ASCII letters the capital is the lesser
			if 'a' <= r && r <= 'z' {
				r -= 'a' - 'A'
			}
			dst = append(dst, byte(r))
			continue
		}
		least := r
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			least = min(least, next)
		}
		dst = utf8.AppendRune(dst, least)
	}
	return dst
}

// get returns the member of an object with the name, or nil.
func (v *value) get(name string) *value {
	if v.kind != object {
		return nil
	}
	for i := range v.items {
		if v.items[i].name == name {
			return &v.items[i].value
		}
	}
	return nil
}

// at returns the value at a path of names, or nil.
func (v *value) at(path string) *value {
	for v != nil {
		end := strings.IndexByte(path, '.')
		if end < 0 {
			return v.get(path)
		}
		v, path = v.get(path[:end]), path[end+1:]
	}
	return nil
}

// set puts a member into an object, in the place of one that it has.
func (v *value) set(name string, to value) {
	if was := v.get(name); was != nil {
		*was = to
		return
	}
	v.items = append(v.items, member{name, to})
}

// drop takes out what stands at a path, and reports whether that said anything: null
// does not. The step "*" is every member of an array.
func (v *value) drop(path string) bool {
	step, rest, deeper := strings.Cut(path, ".")
	dropped := false
	switch {
	case !deeper:
		for i := 0; i < len(v.items) && v.kind == object; i++ {
			if v.items[i].name == step {
				dropped = dropped || v.items[i].kind != null
				v.items = slices.Delete(v.items, i, i+1)
				i--
			}
		}
		return dropped
	case step != "*":
		next := v.get(step)
		return next != nil && next.drop(rest)
	}
	for i := range v.items {
		dropped = v.items[i].drop(rest) || dropped
	}
	return dropped
}

// clone returns a value that shares no memory with this one.
func (v *value) clone() value {
	c := value{kind: v.kind, alien: v.alien, plain: v.plain, text: strings.Clone(v.text)}
	if len(v.items) > 0 {
		c.items = make([]member, len(v.items))
	}
	for i := range v.items {
		c.items[i] = member{strings.Clone(v.items[i].name), v.items[i].clone()}
	}
	return c
}

// size is what the value takes in memory, in bytes.
func (v *value) size() int {
	n := valueSize + len(v.text)
	for i := range v.items {
		n += len(v.items[i].name) + v.items[i].size()
	}
	return n
}

// integer returns the value as an integer; false if it is none.
func (v *value) integer() (int64, bool) {
	if v == nil || v.kind != number {
		return 0, false
	}
	n, err := strconv.ParseInt(v.text, 10, 64)
	return n, err == nil
}

// str returns the string that stands at a path, or "".
func (v *value) str(path string) string {
	if at := v.at(path); at != nil && at.kind == text {
		return at.text
	}
	return ""
}

func ofText(s string) value { return value{kind: text, text: s} }
func ofInt(n int64) value   { return value{kind: number, text: strconv.FormatInt(n, 10)} }
func ofFlag(b bool) value   { return value{kind: boolean, text: strconv.FormatBool(b)} }

// written is how many bytes append makes of the value.
func (v *value) written() int {
	switch v.kind {
	case null:
		return len("null")
	case text:
		if v.plain {
			return len(v.text) + 2
		}
		return quotedSize(v.text)
	case array, object:
	default:
		return len(v.text)
	}
	n := 2
	for i := range v.items {
		if m := &v.items[i]; !m.alien {
			if n > 2 {
				n++
			}
			if v.kind == object {
				n += quotedSize(m.name) + 1
			}
			n += m.written()
		}
	}
	return n
}

// quotedSize is how many bytes appendQuoted makes of s.
func quotedSize(s string) int {
	n := len(s) + 2
	for i := quote.Plain(s, 0); i < len(s); i = quote.Plain(s, i+1) {
		switch s[i] {
		case '"', '\\', '\n':
			n++
		default:
			n += 5
		}
	}
	return n
}

// append writes the value as JSON, in its one way.
func (v *value) append(dst []byte) []byte {
	switch v.kind {
	case null:
		return append(dst, "null"...)
	case text:
		if v.plain {
			return append(append(append(dst, '"'), v.text...), '"')
		}
		return appendQuoted(dst, v.text)
	case array, object:
		return v.appendItems(dst)
	}
	return append(dst, v.text...)
}

func (v *value) appendItems(dst []byte) []byte {
	first, last := byte('['), byte(']')
	if v.kind == object {
		first, last = '{', '}'
	}
	dst = append(dst, first)
	start := len(dst)
	for i := range v.items {
		m := &v.items[i]
		if m.alien {
			continue
		}
		if len(dst) > start {
			dst = append(dst, ',')
		}
		if v.kind == object {
			dst = append(appendQuoted(dst, m.name), ':')
		}
		dst = m.append(dst)
	}
	return append(dst, last)
}

// appendQuoted appends s as a JSON string. It escapes only what JSON demands, so
// that equal strings have one form.
func appendQuoted(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for {
		i := quote.Plain(s, 0)
		dst = append(dst, s[:i]...)
		if i == len(s) {
			return append(dst, '"')
		}
		switch c := s[i]; c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		s = s[i+1:]
	}
}

// A Document is one JSON object of the protocol that was read and checked. Paths
// name what is in it: "max_tokens", "usage.total_tokens", and, where something is
// taken out, "choices.*.logprobs" for every member of an array. One goroutine owns
// it.
type Document struct{ root value }

// AppendJSON appends the document as JSON.
func (d *Document) AppendJSON(dst []byte) []byte { return d.root.append(dst) }

// Size returns how many bytes the document takes in memory.
func (d *Document) Size() int { return d.root.size() }

// Written returns how many bytes AppendJSON appends.
func (d *Document) Written() int { return d.root.written() }

// Has reports whether anything stands at a path.
func (d *Document) Has(path string) bool { return d.root.at(path) != nil }

// Drop takes out what stands at a path, and reports whether that said anything.
func (d *Document) Drop(path string) bool { return d.root.drop(path) }

// Int returns the integer at a path; false if there is none.
func (d *Document) Int(path string) (int64, bool) { return d.root.at(path).integer() }

// Flag returns the truth value at a path; false if there is none.
func (d *Document) Flag(path string) bool {
	v := d.root.at(path)
	return v != nil && v.kind == boolean && v.text == "true"
}

// Text returns the string at a path, or "".
func (d *Document) Text(path string) string { return d.root.str(path) }

// Len returns how many members the array or object at a path has.
func (d *Document) Len(path string) int {
	if v := d.root.at(path); v != nil {
		return len(v.items)
	}
	return 0
}

// SetInt puts an integer at the top of the document.
func (d *Document) SetInt(name string, n int64) { d.root.set(name, ofInt(n)) }

// SetText puts a string there.
func (d *Document) SetText(name, s string) { d.root.set(name, ofText(s)) }

// SetFlag puts a truth value there.
func (d *Document) SetFlag(name string, b bool) { d.root.set(name, ofFlag(b)) }
