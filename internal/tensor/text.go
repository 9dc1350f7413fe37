package tensor

import (
	"unicode/utf8"

	"github.com/pavise/pavise/internal/quote"
)

// quoted reads a string of at most limit bytes, decoded. The result may share
// memory with the text being read.
func (s *scanner) quoted(limit int) ([]byte, *fault) {
	if s.peek() != '"' {
		return nil, s.unexpected("a string")
	}
	start := s.pos + 1
	switch end := quote.Plain(s.text, start); {
	case end == len(s.text):
		return nil, s.fault("", "a string without its closing quote")
	case s.text[end] == '"' && end-start > limit:
		return nil, s.tooLong(limit)
	case s.text[end] == '"':
		s.pos = end + 1
		return s.text[start:end], nil
	case s.text[end] == '\\':
		return s.escaped(start, limit)
	default:
		s.pos = end
		return nil, s.fault(`write it as an escape, such as \n`, "a bare control character in a string")
	}
}

// escaped reads on from the first escape of a string that began at start.
func (s *scanner) escaped(start, limit int) ([]byte, *fault) {
	var b []byte
	s.pos = start
	for s.pos < len(s.text) {
		switch c := s.text[s.pos]; {
		case c == '"':
			s.pos++
			return b, nil
		case len(b) >= limit:
			return nil, s.tooLong(limit)
		case c < ' ':
			return nil, s.fault(`write it as an escape, such as \n`, "a bare control character in a string")
		case c == '\\':
			r, f := s.escape()
			if f != nil {
				return nil, f
			}
			b = utf8.AppendRune(b, r)
		default:
			b = append(b, c)
			s.pos++
		}
	}
	s.pos = start - 1
	return nil, s.fault("", "a string without its closing quote")
}

// escape reads one escape sequence, of both halves for a surrogate pair.
func (s *scanner) escape() (rune, *fault) {
	if s.pos+1 >= len(s.text) {
		return 0, s.fault("", "the text ends inside an escape")
	}
	r, n, hint, why := quote.Escape(s.text, s.pos)
	if why != "" {
		return 0, s.fault(hint, "%s", why)
	}
	s.pos += n
	return r, nil
}

func (s *scanner) tooLong(limit int) *fault {
	return s.fault("shorten it", "a string of more than %d bytes", limit)
}

// appendQuoted appends s as a JSON string. It escapes only what JSON demands, so
// that equal strings have one form.
func appendQuoted[T string | []byte](dst []byte, s T) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	from := 0 // of what is appended as it is
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[from:i]...)
		from = i + 1
		if c < ' ' {
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		} else {
			dst = append(dst, '\\', c)
		}
	}
	return append(append(dst, s[from:]...), '"')
}
