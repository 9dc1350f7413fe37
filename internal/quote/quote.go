// Package quote is the strings of JSON (RFC 8259 section 7) as the strict readers of
// exchanges read them: what stands for itself, what an escape stands for, and what does not
// belong in a text or a name. Each reader says in its own words where something is wrong,
// and how long a string may be.
//
// It is pure and has no state.
package quote

import (
	"fmt"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Plain returns the first place, at or after i, of a byte that does not stand for
// itself in a string: a quote, a backslash or a control character; or the length. It
// looks at eight bytes at a time: a byte of x is zero where (x - 1) &^ x has its highest
// bit.
func Plain[T string | []byte](text T, i int) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(text); i += 8 {
		t := text[i : i+8]
		w := uint64(t[0]) | uint64(t[1])<<8 | uint64(t[2])<<16 | uint64(t[3])<<24 | uint64(t[4])<<32 | uint64(t[5])<<40 | uint64(t[6])<<48 | uint64(t[7])<<56
		quote, back := w^ones*'"', w^ones*'\\'
		if ((quote-ones)&^quote|(back-ones)&^back|(w-ones*' ')&^w)&highs != 0 {
			break
		}
	}
	for i < len(text) && text[i] >= ' ' && text[i] != '"' && text[i] != '\\' {
		i++
	}
	return i
}

// Escape reads the escape at text[at:], which begins with a backslash: of both halves for
// a surrogate pair. It returns the character and how many bytes it took, or what is wrong,
// and what to do.
func Escape[T string | []byte](text T, at int) (r rune, n int, hint, why string) {
	const plain, meant = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	if at+1 < len(text) {
		for i := range len(plain) {
			if plain[i] == text[at+1] {
				return rune(meant[i]), 2, "", ""
			}
		}
	}
	high, ok := hex4(text, at)
	if !ok {
		return 0, 0, `JSON has \" \\ \/ \b \f \n \r \t and \u with four hex digits`, "an escape that JSON does not have"
	}
	if !utf16.IsSurrogate(high) {
		return high, 6, "", ""
	}
	low, _ := hex4(text, at+6)
	if r = utf16.DecodeRune(high, low); r == utf8.RuneError {
		return 0, 0, "a surrogate is half a character: send both halves, or the character itself", fmt.Sprintf("a lone surrogate \\u%04x", high)
	}
	return r, 12, "", ""
}

// hex4 reads the number of an escape, \u and four hex digits, that stands at from.
func hex4[T string | []byte](text T, from int) (rune, bool) {
	if from+6 > len(text) || text[from] != '\\' || text[from+1] != 'u' {
		return 0, false
	}
	var r rune
	for i := from + 2; i < from+6; i++ {
		c := rune(text[i])
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
		r = r<<4 | c
	}
	return r, true
}

// Invalid returns where a text that is not valid UTF-8 stops being so. It must not be valid.
func Invalid(b []byte) int {
	for i := 0; ; {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
}

// Unprintable returns the first character of a UTF-8 text that does not print, if there is
// one.
func Unprintable(b []byte) (rune, bool) {
	for i := 0; i < len(b); {
		if ' ' <= b[i] && b[i] < 0x7f {
			i++
			continue
		}
		r, n := utf8.DecodeRune(b[i:])
		if !unicode.IsPrint(r) {
			return r, true
		}
		i += n
	}
	return 0, false
}
