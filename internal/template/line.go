package template

import (
	"hash/maphash"
	"unicode"
	"unicode/utf8"
)

// MaxLine is how many bytes of a line are looked at. What is behind counts as a word that
// varies.
const MaxLine = 64 << 10

// maxWords is how many words of a line are looked at; the same goes for the rest.
const maxWords = 1000

// What a byte is, as bits.
const (
	space = 1 << iota // parts words
	digit
	letter
	high // not ASCII: what it is takes the whole character
)

// class says it of every byte. Spaces are those of Python's str.split, on which Drain3 rests.
var class = func() (c [256]byte) {
	for _, b := range " \t\n\v\f\r\x1c\x1d\x1e\x1f" {
		c[b] = space
	}
	for b := '0'; b <= '9'; b++ {
		c[b] = digit
	}
	for b := 'a'; b <= 'z'; b++ {
		c[b], c[b-'a'+'A'] = letter, letter
	}
	for b := utf8.RuneSelf; b < 256; b++ {
		c[b] = high
	}
	return c
}()

// A word stands for its text by a keyed hash, which nobody outside can have collide. Its lowest
// bit says that something in the word was masked. What varies is 0.
type hash uint64

const (
	varies hash = 0
	masked hash = 1 // the bit
)

// weight is what it says of a line and a template that both have the word in the same place.
func (h hash) weight() int { return 2 - int(h&masked) }

// placeholder is how templates write what varies.
const placeholder = "<*>"

// A word is one of the line that is being looked at.
type word struct {
	hash  hash
	text  []byte // in the line or in the miner's scratch; good until the next line
	digit bool   // there was a digit in it
}

// read parts a line into the miner's words.
func (m *Miner) read(line []byte) {
	m.words, m.scratch = m.words[:0], m.scratch[:0]
	cut := len(line) > MaxLine
	if cut {
		line = line[:MaxLine]
	}
	for at := 0; at < len(line) && len(m.words) <= maxWords; at++ {
		start, seen := at, byte(0)
		for at < len(line) && class[line[at]]&space == 0 {
			seen |= class[line[at]]
			at++
		}
		switch {
		case seen&high != 0:
			m.readWide(line[start:at])
		case at > start:
			m.take(line[start:at], seen&digit != 0)
		}
	}
	if len(m.words) > maxWords {
		m.words, cut = m.words[:maxWords], true
	}
	if cut {
		m.words = append(m.words, word{hash: varies, text: []byte(placeholder)})
	}
	m.hashes = m.hashes[:0]
	for i := range m.words {
		m.hashes = append(m.hashes, m.words[i].hash)
	}
}

// readWide reads text with characters beyond ASCII, which may have spaces and digits among
// them. Bytes that are no UTF-8 are kept as they are.
func (m *Miner) readWide(text []byte) {
	start, digits := 0, false
	for at := 0; at < len(text); {
		r, n := utf8.DecodeRune(text[at:])
		if unicode.IsSpace(r) {
			if at > start {
				m.take(text[start:at], digits)
			}
			start, digits = at+n, false
		}
		digits = digits || unicode.IsDigit(r)
		at += n
	}
	if start < len(text) {
		m.take(text[start:], digits)
	}
}

// take appends a word.
func (m *Miner) take(text []byte, digits bool) {
	w := word{text: text, digit: digits}
	switch {
	case string(text) == placeholder:
		if m.mask {
			w.hash = m.hash(text) | masked
		}
	case digits && m.mask:
		var some bool
		w.text, some = m.masked(text)
		if w.hash = m.hash(w.text); some {
			w.hash |= masked
		}
	default:
		w.hash = m.hash(text)
	}
	m.words = append(m.words, w)
}

// hash returns the hash of a text, with the lowest bit free.
func (m *Miner) hash(text []byte) hash {
	return max(hash(maphash.Bytes(m.seed, text))&^masked, 2)
}
