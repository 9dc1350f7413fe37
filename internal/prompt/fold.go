package prompt

import (
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// lookalikes are letters of other scripts, and of none, that look like a Latin one. The
// table is short on purpose: what reads as the letter in a sentence, not what could be
// taken for it alone.
var lookalikes = func() map[rune]byte {
	table := map[rune]byte{}
	for latin, others := range map[byte]string{
		'a': "аαɑᴀⱥ∀ª", 'b': "ЬвʙƄ", 'c': "сϲᴄↄ¢", 'd': "ԁɗᴅđ", 'e': "еєεᴇɛǝ℮", 'f': "ғꜰƒ",
		'g': "ɡɢցǥ", 'h': "һнʜℎ", 'i': "іιɪıɩ¡", 'j': "јᴊϳ", 'k': "кκᴋ", 'l': "ӏʟł∣ǀ",
		'm': "мᴍ", 'n': "ηɴпո", 'o': "оοσᴏօøө", 'p': "рρᴘ", 'q': "ԛգ", 'r': "гʀᴦ",
		's': "ѕꜱʂ", 't': "тτᴛŧ", 'u': "υᴜսμ", 'v': "ѵνᴠ", 'w': "ԝωᴡѡ", 'x': "хχ×", 'y': "уγʏү", 'z': "ᴢʐƶ",
	} {
		for _, r := range others {
			table[unicode.ToLower(r)] = latin
		}
	}
	for i := range rune(26) { // letters in circles and squares that have no decomposition
		table[0x1F150+i], table[0x1F170+i], table[0x1F1E6+i] = 'a'+byte(i), 'a'+byte(i), 'a'+byte(i)
	}
	return table
}()

// folded appends what a rune is taken for: letters in lower case without their marks,
// look-alikes as what they look like, compatibility forms as what they stand for. What
// is no letter, digit or mark of punctuation in ASCII folds to itself.
func folded(dst []byte, r rune) []byte {
	var spelled [utf8.UTFMax]byte
	n := utf8.EncodeRune(spelled[:], r)
	if parts := norm.NFKD.Properties(spelled[:n]).Decomposition(); parts != nil {
		for len(parts) > 0 {
			part, size := utf8.DecodeRune(parts)
			dst, parts = plain(dst, part), parts[size:]
		}
		return dst
	}
	return plain(dst, r)
}

// plain is folded for a rune that has no parts.
func plain(dst []byte, r rune) []byte {
	if unicode.Is(unicode.Mn, r) || unicode.Is(unicode.Me, r) {
		return dst
	}
	r = unicode.ToLower(r)
	if latin, ok := lookalikes[r]; ok {
		return append(dst, latin)
	}
	return utf8.AppendRune(dst, r)
}

// foldWord is a word as the reader has it: without apostrophes.
func foldWord(word string) string {
	var b []byte
	for _, r := range word {
		if r != '\'' {
			b = folded(b, r)
		}
	}
	return string(b)
}

// leet are digits and signs that stand for letters.
var leet = [utf8.RuneSelf]byte{'0': 'o', '1': 'i', '3': 'e', '4': 'a', '5': 's', '7': 't', '8': 'b', '9': 'g', '@': 'a', '$': 's'}

// The characters whose folds are kept: up to the end of Hangul's letters, and the forms for
// compatibility at the end of the first plane, of which one stands for eighteen.
const (
	lowFolds  = 0x3200
	highFolds = 0xFB00
)

// commonFolds are what those fold to: tables of Unicode are searched, and a text may be
// long.
var commonFolds = sync.OnceValue(func() *[lowFolds + 0x10000 - highFolds]string {
	table := &[lowFolds + 0x10000 - highFolds]string{}
	for i := range rune(len(table)) {
		r := i
		if i >= lowFolds {
			r += highFolds - lowFolds
		}
		table[i] = string(folded(nil, r))
	}
	return table
})

// foldOf is folded as a string.
func foldOf(r rune) string {
	switch {
	case r < lowFolds:
		return commonFolds()[r]
	case r >= highFolds && r <= 0xFFFF:
		return commonFolds()[r-highFolds+lowFolds]
	}
	if isItself(r) {
		return string(r)
	}
	return string(folded(nil, r))
}

// isItself reports whether a rune is of the many that have no table and fold to themselves.
func isItself(r rune) bool { return r >= 0x4E00 && r <= 0x9FFF || r >= 0xAC00 && r <= 0xD7A3 }

// dense reports whether a rune is of a script that writes without spaces: two of them
// beside each other are looked up as a word.
func dense(r rune) bool {
	return r >= 0x3040 && r <= 0x30FF || r >= 0x3400 && r <= 0x4DBF || r >= 0x4E00 && r <= 0x9FFF || r >= 0xAC00 && r <= 0xD7A3 || r >= 0xF900 && r <= 0xFAFF || r >= 0x20000 && r <= 0x3FFFF
}
