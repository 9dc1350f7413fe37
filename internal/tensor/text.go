package tensor

import (
	"unicode/utf16"
	"unicode/utf8"
)

// quoted reads a string of at most limit bytes, decoded. The result may share
// memory with the text being read.
func (s *scanner) quoted(limit int) ([]byte, *fault) {
	if s.peek() != '"' {
		return nil, s.unexpected("a string")
	}
	start := s.pos + 1
	for i, c := range s.text[start:] {
		switch {
		case c == '"' && i > limit:
			return nil, s.tooLong(limit)
		case c == '"':
			s.pos = start + i + 1
			return s.text[start : start+i], nil
		case c == '\\':
			return s.escaped(start, limit)
		case c < ' ':
			s.pos = start + i
			return nil, s.fault(`write it as an escape, such as \n`, "a bare control character in a string")
		}
	}
	return nil, s.fault("", "a string without its closing quote")
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
	const plain, meant = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	if s.pos+1 >= len(s.text) {
		return 0, s.fault("", "the text ends inside an escape")
	}
	c := s.text[s.pos+1]
	for i := range len(plain) {
		if plain[i] == c {
			s.pos += 2
			return rune(meant[i]), nil
		}
	}
	high, ok := s.hex4(s.pos)
	if !ok {
		return 0, s.fault(`JSON has \" \\ \/ \b \f \n \r \t and \u with four hex digits`, "an escape that JSON does not have")
	}
	if !utf16.IsSurrogate(high) {
		s.pos += 6
		return high, nil
	}
	low, _ := s.hex4(s.pos + 6)
	r := utf16.DecodeRune(high, low)
	if r == utf8.RuneError {
		return 0, s.fault("a surrogate is half a character: send both halves, or the character itself", "a lone surrogate \\u%04x", high)
	}
	s.pos += 12
	return r, nil
}

// hex4 reads the number of an escape, \u and four hex digits, that stands at from.
func (s *scanner) hex4(from int) (rune, bool) {
	if from+6 > len(s.text) || s.text[from] != '\\' || s.text[from+1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range s.text[from+2 : from+6] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
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
