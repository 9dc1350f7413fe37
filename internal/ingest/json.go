package ingest

import (
	"strconv"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// appendTemplated appends the object of one line, whose template is a JSON string already.
func appendTemplated(to []byte, line int, quoted []byte) []byte {
	to = strconv.AppendInt(append(to, `{"line":`...), int64(line), 10)
	return append(append(append(to, `,"template":`...), quoted...), "}\n"...)
}

// appendQuoted appends a JSON string in which a terminal finds nothing to obey. What is no
// UTF-8 is U+FFFD.
func appendQuoted(to []byte, s string) []byte {
	const hex = "0123456789abcdef"
	escape := func(to []byte, unit rune) []byte {
		return append(to, '\\', 'u', hex[unit>>12&15], hex[unit>>8&15], hex[unit>>4&15], hex[unit&15])
	}
	to = append(to, '"')
	for i := 0; i < len(s); {
		if b := s[i]; b >= ' ' && b < 0x7f {
			if b == '"' || b == '\\' {
				to = append(to, '\\')
			}
			to = append(to, b)
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		i += n
		switch {
		case unicode.IsGraphic(r):
			to = utf8.AppendRune(to, r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			to = escape(escape(to, high), low)
		default:
			to = escape(to, r)
		}
	}
	return append(to, '"')
}
