package tensor

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/quote"
)

// A scanner reads one JSON text from front to back (RFC 8259). It has no idea
// of a general JSON value: every step says what may stand there, and anything
// else is a fault. The text is known to be valid UTF-8.
type scanner struct {
	text []byte
	pos  int
	lim  Limits
	left int // elements that may still be declared

	binary []byte   // what follows the text: the raw bytes of tensors, in their order
	raw    []rawWay // how the outputs asked for are wanted, one by one

	spelled spelling // of the floats read last

	answer *answer // where a response is read to; nil: this is none
	ports  []Port  // what names may be known by
}

// A fault is what is wrong at one byte. Its path grows as it travels outwards.
type fault struct {
	byte int
	path string
	msg  string
	hint string
}

// in adds an outer step, "[3]" or ".data", to the path. A nil fault stays nil.
func (f *fault) in(step string) *fault {
	if f != nil {
		f.path = step + f.path
	}
	return f
}

// item is in for an array index; it formats only when there is a fault.
func (f *fault) item(i int) *fault {
	if f != nil {
		f.path = fmt.Sprintf("[%d]%s", i, f.path)
	}
	return f
}

// error returns the fault as the error that the sender sees.
func (f *fault) error(kind pavise.Kind) error {
	path := strings.TrimPrefix(f.path, ".")
	if path == "" {
		path = "body"
	}
	return &pavise.Error{Kind: kind, Msg: fmt.Sprintf("%s: %s, at byte %d", path, f.msg, f.byte), Hint: f.hint}
}

// fault returns a fault at the current byte.
func (s *scanner) fault(hint, format string, args ...any) *fault {
	return &fault{byte: s.pos, msg: fmt.Sprintf(format, args...), hint: hint}
}

// unexpected says that something else stands where want should.
func (s *scanner) unexpected(want string) *fault {
	const hint = "send one JSON object as the protocol describes it"
	if s.pos >= len(s.text) {
		return s.fault(hint, "the text ends where %s should be", want)
	}
	r, _ := utf8.DecodeRune(s.text[s.pos:])
	return s.fault(hint, "%q where %s should be", r, want)
}

// peek moves past white space and returns the next byte, or 0 at the end. A NUL
// byte in the text is no token either, so the two need no telling apart.
func (s *scanner) peek() byte {
	for s.pos < len(s.text) {
		c := s.text[s.pos]
		if c > ' ' || c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return c
		}
		s.pos++
	}
	return 0
}

// open reads the byte c, which begins something.
func (s *scanner) open(c byte, what string) *fault {
	if s.peek() != c {
		return s.unexpected(what)
	}
	s.pos++
	return nil
}

// more reports whether another member follows in an array or object, and reads
// the comma before it, or the closing byte.
func (s *scanner) more(closing byte, first bool) (bool, *fault) {
	switch c := s.peek(); {
	case c == closing:
		s.pos++
		return false, nil
	case first:
		return true, nil
	case c == ',':
		s.pos++
		if s.peek() == closing {
			return false, s.fault("remove the last comma", "a comma with nothing after it")
		}
		return true, nil
	}
	return false, s.unexpected(fmt.Sprintf("',' or %q", closing))
}

// object reads an object whose keys are among keys, none twice. The first need
// keys must be there. It calls member with the scanner at each value.
func (s *scanner) object(keys []string, need int, member func(key string) *fault) *fault {
	if f := s.open('{', "'{'"); f != nil {
		return f
	}
	seen := 0
	for {
		more, f := s.more('}', seen == 0)
		if f != nil {
			return f
		}
		if !more {
			break
		}
		i, f := s.key(keys)
		if f != nil {
			return f
		}
		if seen&(1<<i) != 0 {
			return s.fault("write each key once: parsers differ on which of two counts", "key %q appears twice", keys[i])
		}
		seen |= 1 << i
		if f := s.open(':', "':'"); f != nil {
			return f
		}
		if f := member(keys[i]); f != nil {
			return f.in("." + keys[i])
		}
	}
	for i, key := range keys[:need] {
		if seen&(1<<i) == 0 {
			return s.fault("add it", "%q is missing", key)
		}
	}
	return nil
}

// key reads an object's key and returns its place in keys. Known keys are plain
// ASCII, so one written with escapes has no honest reason and is unknown.
func (s *scanner) key(keys []string) (int, *fault) {
	if s.peek() != '"' {
		return 0, s.unexpected("a key in quotes")
	}
	rest := s.text[s.pos+1:]
	for i, k := range keys {
		if len(rest) > len(k) && rest[len(k)] == '"' && string(rest[:len(k)]) == k {
			s.pos += len(k) + 2
			return i, nil
		}
	}
	end := bytes.IndexByte(rest, '"')
	if end < 0 {
		return 0, s.fault("", "a key without its closing quote")
	}
	key := string(rest[:end])
	if i := slices.IndexFunc(keys, func(k string) bool { return strings.EqualFold(k, key) }); i >= 0 {
		return 0, s.fault(fmt.Sprintf("write it as %q", keys[i]), "key %.40q differs from %q in case only, and parsers differ on whether that matters", key, keys[i])
	}
	return 0, s.fault("known here: "+strings.Join(keys, ", "), "unknown key %.40q", key)
}

// array reads an array of at most limit members, at least one, and calls member
// with the scanner at each.
func (s *scanner) array(what string, limit int, member func(i int) *fault) *fault {
	if f := s.open('[', "'['"); f != nil {
		return f
	}
	for i := 0; ; i++ {
		more, f := s.more(']', i == 0)
		switch {
		case f != nil:
			return f
		case !more && i == 0:
			return s.fault("leave it out, or give at least one", "no %s", what)
		case !more:
			return nil
		case i == limit:
			return s.fault("", "more than %d %s", limit, what)
		}
		if f := member(i); f != nil {
			return f.item(i)
		}
	}
}

// name reads a string that names something: printable, not empty, bounded.
func (s *scanner) name() (string, *fault) {
	name, f := s.label()
	if f == nil && name == "" {
		f = s.fault("give it a name", "an empty name")
	}
	return name, f
}

// label is name, but may be empty. Characters that do not show, such as NUL,
// line breaks and direction overrides, would make logs and reports lie.
func (s *scanner) label() (string, *fault) {
	s.peek()
	start := s.pos
	b, f := s.quoted(s.lim.MaxNameLen)
	if f != nil {
		return "", f
	}
	if r, bad := quote.Unprintable(b); bad {
		s.pos = start
		return "", s.fault("use printable characters", "the name holds %U, which does not print", r)
	}
	for i := range s.ports {
		if s.ports[i].Name == string(b) {
			return s.ports[i].Name, nil
		}
	}
	return s.lim.Room.name(b), nil
}

// Label returns b as a name, an id or a version, which may be empty; or what is wrong
// with it and what to do.
func (l Limits) Label(b []byte) (name, hint, why string) {
	if len(b) > l.MaxNameLen {
		return "", "shorten it", fmt.Sprintf("a string of more than %d bytes", l.MaxNameLen)
	}
	if !utf8.Valid(b) {
		return "", "encode the text as UTF-8", "not valid UTF-8"
	}
	if r, bad := quote.Unprintable(b); bad {
		return "", "use printable characters", fmt.Sprintf("the name holds %U, which does not print", r)
	}
	return l.Room.name(b), "", ""
}
