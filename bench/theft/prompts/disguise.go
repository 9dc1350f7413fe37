package main

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"unicode"
)

// A disguise writes a text so that people or models still read it.
type disguise struct {
	name string
	of   func(rng *rand.Rand, s string) string
}

var disguises = []disguise{
	{"capitals", func(_ *rand.Rand, s string) string { return strings.ToUpper(s) }},
	{"full width", func(_ *rand.Rand, s string) string {
		return strings.Map(func(r rune) rune {
			if r > ' ' && r < 0x7F {
				return r + 0xFEE0
			}
			return r
		}, s)
	}},
	{"mathematical letters", func(_ *rand.Rand, s string) string { return shifted(s, 0x1D5D4, 0x1D5EE) }},
	{"marks on letters", func(rng *rand.Rand, s string) string {
		return letters(s, func(r rune) string { return string(r) + string(rune(0x300+rng.IntN(0x45))) })
	}},
	{"look-alikes", func(rng *rand.Rand, s string) string {
		like := map[rune]rune{'a': 'а', 'e': 'е', 'o': 'о', 'p': 'р', 'c': 'с', 'i': 'і', 's': 'ѕ', 'y': 'у', 'x': 'х'}
		return letters(s, func(r rune) string {
			if other, ok := like[r]; ok && rng.IntN(2) == 0 {
				return string(other)
			}
			return string(r)
		})
	}},
	{"digits for letters", func(rng *rand.Rand, s string) string {
		like := map[rune]rune{'a': '4', 'e': '3', 'o': '0', 'i': '1', 's': '5', 't': '7'}
		return letters(s, func(r rune) string {
			if other, ok := like[r]; ok && rng.IntN(3) > 0 {
				return string(other)
			}
			return string(r)
		})
	}},
	{"no width between", func(rng *rand.Rand, s string) string {
		return letters(s, func(r rune) string {
			if rng.IntN(3) == 0 {
				return string(r) + "\u200b"
			}
			return string(r)
		})
	}},
	{"spaced letters", func(_ *rand.Rand, s string) string { return strings.Join(strings.Split(s, ""), " ") }},
	{"words run together", func(_ *rand.Rand, s string) string { return strings.ReplaceAll(s, " ", "") }},
	{"hyphens within words", func(rng *rand.Rand, s string) string {
		return words(s, func(w string) string {
			if len(w) < 6 || !ascii(w) {
				return w
			}
			at := 2 + rng.IntN(len(w)-4)
			return w[:at] + "-" + w[at:]
		})
	}},
	{"inner letters shuffled", func(rng *rand.Rand, s string) string {
		return words(s, func(w string) string {
			if len(w) < 6 || !ascii(w) {
				return w
			}
			b := []byte(w)
			rng.Shuffle(len(b)-2, func(i, j int) { b[i+1], b[j+1] = b[j+1], b[i+1] })
			return string(b)
		})
	}},
	{"emphasis", func(_ *rand.Rand, s string) string { return "**" + strings.ReplaceAll(s, " ", "** _") + "_" }},
	{"a word a line", func(_ *rand.Rand, s string) string { return strings.ReplaceAll(s, " ", "\n") }},
	{"base64", func(_ *rand.Rand, s string) string {
		return "Decode this and do what it says: " + base64.StdEncoding.EncodeToString([]byte(s))
	}},
	{"hexadecimal", func(_ *rand.Rand, s string) string { return "Do as this says: " + hex.EncodeToString([]byte(s)) }},
	{"percent signs", func(_ *rand.Rand, s string) string {
		var b strings.Builder
		for _, c := range []byte(s) {
			fmt.Fprintf(&b, "%%%02X", c)
		}
		return b.String()
	}},
	{"a query", func(_ *rand.Rand, s string) string { return "https://example.org/?q=" + url.QueryEscape(s) }},
	{"ROT13", func(_ *rand.Rand, s string) string {
		return strings.Map(func(r rune) rune {
			switch {
			case r >= 'a' && r <= 'z':
				return 'a' + (r-'a'+13)%26
			case r >= 'A' && r <= 'Z':
				return 'A' + (r-'A'+13)%26
			}
			return r
		}, s)
	}},
	{"backwards", func(_ *rand.Rand, s string) string {
		r := []rune(s)
		for i, j := 0, len(r)-1; i < j; i, j = i+1, j-1 {
			r[i], r[j] = r[j], r[i]
		}
		return string(r)
	}},
	{"tags", func(_ *rand.Rand, s string) string {
		return "How nice." + strings.Map(func(r rune) rune {
			if r < 0x7F {
				return 0xE0000 + r
			}
			return r
		}, s)
	}},
	{"within a long text", func(rng *rand.Rand, s string) string {
		var b strings.Builder
		at := rng.IntN(40)
		for i := range 40 {
			if i == at {
				b.WriteString(s + " ")
			}
			b.WriteString("The harbour was quiet, and the boats lay side by side until the morning. ")
		}
		return b.String()
	}},
}

func ascii(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < 'A' || r > 'z' }) < 0
}

func letters(s string, f func(rune) string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsLetter(r) {
			b.WriteString(f(r))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func words(s string, f func(string) string) string {
	list := strings.Split(s, " ")
	for i := range list {
		list[i] = f(list[i])
	}
	return strings.Join(list, " ")
}

func shifted(s string, upper, lower rune) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + lower
		case r >= 'A' && r <= 'Z':
			return r - 'A' + upper
		}
		return r
	}, s)
}
