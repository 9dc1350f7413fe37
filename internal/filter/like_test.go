package filter

import (
	"strings"
	"testing"
)

// like is what LIKE means, said in the plainest way.
func like(pattern, text []rune) bool {
	switch {
	case len(pattern) == 0:
		return len(text) == 0
	case pattern[0] == '%':
		return like(pattern[1:], text) || len(text) > 0 && like(pattern, text[1:])
	}
	return len(text) > 0 && (pattern[0] == '_' || pattern[0] == text[0]) && like(pattern[1:], text[1:])
}

// TestLike holds every short pattern and text to what LIKE means, alone and behind so many
// characters that they cross the words of bits.
func TestLike(t *testing.T) {
	all := func(of string, most int) (list []string) {
		list = []string{""}
		for from := 0; most > 0; most-- {
			n := len(list)
			for _, short := range list[from:n] {
				for _, c := range of {
					list = append(list, short+string(c))
				}
			}
			from = n
		}
		return list
	}
	texts := all("aé", 4)
	for _, p := range all("a_%é", 4) {
		for _, before := range []string{"", strings.Repeat("x", 62), strings.Repeat("_", 127)} {
			of := newPattern(before + p)
			for _, text := range texts {
				if want := like([]rune(p), []rune(text)); of.fits(strings.ReplaceAll(before, "_", "y")+text) != want {
					t.Fatalf("%q LIKE %q behind %d is not %v", text, p, len(before), want)
				}
			}
		}
	}
}

// TestLikeEnds has patterns that other matchers take for ever.
func TestLikeEnds(t *testing.T) {
	text := strings.Repeat("a", 8000)
	if newPattern(strings.Repeat("%a", 249) + "b").fits(text) {
		t.Error("there is no b")
	}
	if !newPattern("%" + strings.Repeat("a", 498)).fits(text) {
		t.Error("it ends with so many")
	}
}

func BenchmarkLike(b *testing.B) {
	p, text := newPattern("%"+strings.Repeat("a", 498)), strings.Repeat("a", 8000)
	for b.Loop() {
		p.fits(text)
	}
}
