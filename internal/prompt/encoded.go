package prompt

import (
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"html"
	"iter"
	"strings"
	"unicode"
	"unicode/utf8"
)

// decoded are the texts that a text holds in a code, with the names of the codes.
func decoded(text string, r *reader) iter.Seq2[string, string] {
	return func(yield func(code, inner string) bool) {
		for _, s := range r.codes {
			if code, inner := uncode(text[s.from:s.to]); inner != "" && !yield(code, inner) {
				return
			}
		}
		if r.coupled {
			if inner := pairs(text); inner != "" && !yield("hex", inner) {
				return
			}
		}
		if r.escapes >= 4 {
			if inner := unescape(text); inner != text {
				yield("escapes", inner)
			}
		}
	}
}

// uncode reads a run of characters as hexadecimal digits, base64 or base32, if what comes
// out is text.
func uncode(run string) (code, inner string) {
	if len(run)%2 == 0 {
		if b, err := hex.DecodeString(run); err == nil {
			return "hex", readable(b)
		}
	}
	if strings.ToUpper(run) == run {
		if b, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.TrimRight(run, "=")); err == nil {
			if inner := readable(b); inner != "" {
				return "base32", inner
			}
		}
	}
	run = strings.NewReplacer("-", "+", "_", "/").Replace(strings.Trim(run, "="))
	if len(run)%4 == 1 {
		run = run[:len(run)-1]
	}
	head := run[:min(len(run), 32)&^3]
	if b, err := base64.RawStdEncoding.DecodeString(head); err != nil || readable(b[:max(0, len(b)-3)]) == "" {
		return "", ""
	}
	b, err := base64.RawStdEncoding.DecodeString(run)
	if err != nil {
		return "", ""
	}
	return "base64", readable(b)
}

// readable is a text as a string if it is one: UTF-8 that is made for reading.
func readable(b []byte) string {
	if len(b) < 8 || !utf8.Valid(b) {
		return ""
	}
	odd := 0
	for _, r := range string(b) {
		if !unicode.IsPrint(r) && !unicode.IsSpace(r) && r < 0x80 {
			odd++
		}
	}
	if odd > 0 {
		return ""
	}
	return string(b)
}

// pairs reads pairs of hexadecimal digits that spaces part, at least minCouples in a row.
func pairs(text string) string {
	var all, run []byte
	flush := func() {
		if len(run) >= minCouples {
			all = append(append(all, run...), ' ')
		}
		run = run[:0]
	}
	for i := 0; i < len(text); {
		if c := text[i]; c == ' ' || c == '\n' || c == ':' || c == ',' {
			i++
			continue
		}
		if strings.HasPrefix(text[i:], "0x") {
			i += 2
		}
		if i+1 < len(text) && isHex[text[i]]&isHex[text[i+1]] == 1 && (i+2 == len(text) || !inCode[text[i+2]&0x7F]) {
			run = append(run, unhex(text[i])<<4|unhex(text[i+1]))
			i += 2
			continue
		}
		flush()
		for i < len(text) && text[i] != ' ' && text[i] != '\n' && text[i] != ',' && text[i] != ':' {
			i++
		}
	}
	flush()
	return readable(all)
}

// isHex says of hexadecimal digits that they are such, with 1.
var isHex = func() (is [256]byte) {
	for _, c := range "0123456789abcdefABCDEF" {
		is[c] = 1
	}
	return is
}()

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}

// unescape reads %69, \x69, \u0069 and &#105; as what they stand for.
func unescape(text string) string {
	var b strings.Builder
	from := 0 // what is not written yet
	for i := 0; i < len(text); {
		if text[i] != '%' && text[i] != '\\' {
			i++
			continue
		}
		r, isByte, n := escape(text[i:])
		if n == 0 {
			i++
			continue
		}
		b.WriteString(text[from:i])
		if isByte {
			b.WriteByte(byte(r))
		} else {
			b.WriteRune(r)
		}
		i += n
		from = i
	}
	if from == 0 {
		return html.UnescapeString(text)
	}
	b.WriteString(text[from:])
	return html.UnescapeString(b.String())
}

// escape is what an escape at the beginning of text stands for, and how long the escape is;
// 0 if there is none. A byte may be a part of a character.
func escape(text string) (r rune, isByte bool, n int) {
	sign, digits := 2, 0
	switch {
	case text[0] == '%':
		sign, digits = 1, 2
	case strings.HasPrefix(text, `\x`):
		digits = 2
	case strings.HasPrefix(text, `\u`):
		digits = 4
	}
	if digits == 0 || len(text) < sign+digits {
		return 0, false, 0
	}
	for _, c := range []byte(text[sign : sign+digits]) {
		if isHex[c] == 0 {
			return 0, false, 0
		}
		r = r<<4 | rune(unhex(c))
	}
	return r, digits == 2, sign + digits
}
