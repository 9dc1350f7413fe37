package prompt

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A reader cuts a text into words. It is used again for other texts; one goroutine owns it.
type reader struct {
	text   string
	code   string                  // what was taken off the text; empty: nothing
	note   func(rule int, how via) // notes what is found, for all texts
	match  matcher
	marks  marks
	hidden hidden
	wary   bool // characters that nobody sees, or others beyond ASCII, may be waiting for what follows

	word   [maxWord + 8]byte     // the word at hand, folded, and room to write eight bytes at its end
	size   int                   // of it
	leet   bool                  // it holds digits or signs that may be letters
	dense  [2 * utf8.UTFMax]byte // the last character of a script without spaces, and room for one more
	packed int                   // of those bytes, how many it has
	clause bool                  // a clause begins here
	parts  int                   // characters since the last word that part words
	joint  bool                  // the last of them may stand within a word
	last   rune                  // the last character
	splits int                   // of words, when the last word ended
	line   bool                  // nothing of the line was seen

	codes    []span // of text, runs of characters that may be a code
	codeFrom int    // where the run at hand begins, or -1
	couples  int    // runs in a row that may be two hexadecimal digits
	coupled  bool   // there were so many that they may be a code
	escapes  int    // beginnings of escapes
}

// A span is a part of the text.
type span struct{ from, to int }

func (s span) len() int { return s.to - s.from }

const (
	maxWord    = 64  // bytes of a word; longer ones are read in pieces
	minCode    = 20  // characters of a run that is taken for a code
	maxCodes   = 512 // such runs that are looked at
	minCouples = 8   // couples of hexadecimal digits in a row that are taken for a code
)

// begin makes the reader one that has read nothing of a text.
func (r *reader) begin(text, code string) {
	r.match.begin(r.note)
	r.marks.begin(r.note)
	r.text, r.code = text, code
	r.hidden, r.wary = hidden{}, false
	r.size, r.leet, r.packed = 0, false, 0
	r.clause, r.line, r.parts, r.joint, r.last, r.splits = true, true, 0, false, 0, 0
	r.codes, r.codeFrom, r.couples, r.coupled, r.escapes = r.codes[:0], -1, 0, false, 0
}

// end lets go of the text.
func (r *reader) end() {
	r.text, r.hidden, r.marks, r.match.joined = "", hidden{}, marks{}, blank
	clear(r.word[:])
	clear(r.dense[:])
	clear(r.match.letters[:cap(r.match.letters)])
}

// read reads the whole text.
func (r *reader) read() {
	r.marks.lineStart(r.text)
	for i := 0; i < len(r.text); {
		n := 0
		if isLetter[r.text[i]] {
			if n = r.words(i); n == 0 {
				n = r.letters(i)
			}
		}
		if n == 0 {
			n = r.character(i)
		}
		i += n
	}
	r.finish()
}

// finish ends what is at hand at the end of the text.
func (r *reader) finish() {
	r.endCode(len(r.text))
	r.endWord()
	r.match.spaced()
}

// words takes words of ASCII letters, from i on, of fewer than minTogether letters. Each ends
// at a space, or at a mark that stands in no word and no code, which is left. It returns how
// many characters it took: what character does with them one by one comes to the same. It
// may leave words to it. Nobody waits for most words of most texts, and those cost little.
func (r *reader) words(i int) (taken int) {
	m := &r.match
	if r.wary || r.size > 0 || r.codeFrom >= 0 || r.last == '\\' || r.joint && r.parts == 1 || r.hidden.split != r.splits || r.marks.holds() {
		return 0
	}
	rest, letters, clause := r.text[i:], 0, r.clause
	for len(rest) > 16 {
		before, low := uint64(unspelled), eightOf(rest)|0x20*eachByte
		n := lettersIn(low)
		binary.LittleEndian.PutUint64(r.word[:], low)
		if n == 8 {
			before, low = blended(before, low), eightOf(rest[8:])|0x20*eachByte
			n += lettersIn(low)
			binary.LittleEndian.PutUint64(r.word[8:], low)
		}
		if n == 0 || n >= minTogether || !endsWord[rest[n]] {
			break
		}
		is := spelling{before, low & (1<<(8*(n&7)) - 1), n & 7}
		if sum := is.sum(); n == 1 || m.waits(sum) || lexis.words.mayHave(sum) || n >= minJumble && lexis.mayJumble(rest[0], rest[n-1], n) {
			clause = m.word(r.word[:n], is, written{clause: clause})
		} else {
			m.pass(is, sum)
			clause = false
		}
		if r.couples = (r.couples + 1) * int(isTwo[n]&isHex[rest[0]]&isHex[rest[1]]); r.couples == minCouples {
			r.coupled = true
		}
		letters, rest = letters+n, rest[n:]
		if rest[0] != ' ' {
			break
		}
		rest = rest[1:]
	}
	if letters == 0 {
		return 0
	}
	r.marks.n += letters
	r.packed, r.line, r.clause, r.joint = 0, false, clause, false
	taken = len(r.text) - i - len(rest)
	r.last = rune(r.text[i+taken-1])
	r.hidden.before = r.last
	r.parts = btoi(r.last == ' ')
	return taken
}

// letters takes letters of ASCII that stand at i, eight at a time, and returns how many: so
// many as character would have taken one by one to the same end. It may leave some of them
// to it.
func (r *reader) letters(i int) (taken int) {
	if r.wary || r.size == 0 && r.last == '\\' {
		return 0
	}
	for i+taken+8 <= len(r.text) && r.size+8 <= maxWord {
		eight := eightOf(r.text[i+taken:])
		n := lettersIn(eight)
		binary.LittleEndian.PutUint64(r.word[r.size:], eight|0x20*eachByte) // in lower case; what is behind n is no part of the word
		r.size += n
		if taken += n; n < 8 {
			break
		}
	}
	if taken == 0 {
		return 0
	}
	if r.codeFrom < 0 {
		r.codeFrom = i
	}
	r.packed, r.line = 0, false
	r.marks.letters(r.text[i : i+taken])
	r.last = rune(r.text[i+taken-1])
	r.hidden.before = r.last
	if r.size == maxWord {
		r.endWord()
	}
	return taken
}

// eachByte times a byte is eight of it.
const eachByte = 0x01_01_01_01_01_01_01_01

// eightOf are the first eight bytes of a text, the first in the lowest place.
func eightOf(s string) uint64 {
	s = s[:8]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 | uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// lettersIn is how many of eight bytes are letters of ASCII, before one that is none.
func lettersIn(eight uint64) int {
	low := (eight | 0x20*eachByte) &^ (0x80 * eachByte)
	from := low + (0x80-'a')*eachByte   // its high bits say who is not below a, and
	behind := low + (0x7F-'z')*eachByte // who is behind z
	others := ^(from &^ behind &^ eight) & (0x80 * eachByte)
	return bits.TrailingZeros64(others) / 8
}

// character takes the character at i, and returns how long it is.
func (r *reader) character(i int) int {
	c := r.text[i]
	if c < utf8.RuneSelf {
		r.ascii(c, i)
		return 1
	}
	r.endCode(i)
	ru, n := utf8.DecodeRuneInString(r.text[i:])
	r.wary = true
	r.wide(ru, i+n)
	return n
}

// ascii takes a character of ASCII, which stands at i.
func (r *reader) ascii(c byte, i int) {
	if r.wary {
		if r.hidden.waits() {
			r.hidden.seen(rune(c))
		}
		r.wary = r.hidden.waits()
	}
	r.hidden.before = rune(c)
	if c == ' ' { // one character of six
		if r.codeFrom >= 0 {
			r.endCode(i)
		}
		r.space()
		r.last = ' '
		return
	}
	if inCode[c] {
		if r.codeFrom < 0 {
			r.codeFrom = i
		}
	} else if r.codeFrom >= 0 {
		r.endCode(i)
	}
	r.fold(c, i+1)
}

// fold takes a folded character of ASCII; what follows it stands at next.
func (r *reader) fold(c byte, next int) {
	first := r.line
	switch {
	case c == ' ':
		r.space()
	case r.last == '\\' && r.size == 0 && (c == 'n' || c == 'r' || c == 't'):
		r.parts, r.clause = r.parts+1, true // a line of a string in JSON, which tools answer with
	case c >= 'a' && c <= 'z':
		r.letter(c)
	case c >= 'A' && c <= 'Z':
		r.letter(c + 'a' - 'A')
	case c >= '0' && c <= '9', c == '@', c == '$':
		r.leet = true
		r.letter(c)
	case c == '\'':
		if r.size == 0 {
			r.part(c, next)
		}
	default:
		r.part(c, next)
	}
	if c > ' ' {
		r.marks.put(c, r.last, first)
		r.line = false
		if c == '>' || c == ']' {
			r.marks.closes(r.text[next:])
		}
	}
	r.last = rune(c)
}

// space ends a word at a space.
func (r *reader) space() {
	r.endWord()
	r.parts++
	r.joint = false
}

// letter adds to the word at hand.
func (r *reader) letter(c byte) {
	r.packed = 0
	r.word[r.size] = c
	if r.size++; r.size == maxWord {
		r.endWord()
	}
}

// part ends a word at a character that is in none.
func (r *reader) part(c byte, next int) {
	r.endWord()
	r.parts++
	r.joint = false
	switch c {
	case '\n':
		r.clause, r.line = true, true
		if next < len(r.text) {
			if r.text[next] == '\n' {
				r.match.gap(3)
			}
			r.marks.lineStart(r.text[next:])
		}
	case '.', '!', '?', ';':
		r.clause, r.joint = true, c == '.'
		if next >= len(r.text) || r.text[next] <= ' ' {
			r.match.gap(1)
		}
	case '-', '_', '/', '+', '|', '~', '\\', '%', '&':
		r.joint = true
		r.escapes += btoi(c == '\\' || c == '%' || c == '&')
	case '*', ':', ',', '"', '(', '[', '{', '<', '>', '`', ')', ']', '#', '=':
		r.clause = true
		r.joint = c == '*'
		if c == '(' {
			r.image(next)
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// endWord gives the word at hand to the matcher.
func (r *reader) endWord() {
	if r.size == 0 {
		return
	}
	how := written{clause: r.clause, joint: r.joint && r.parts == 1, leet: r.leet, split: r.hidden.split > r.splits}
	r.splits = r.hidden.split
	r.clause = r.match.word(r.word[:r.size], r.spelled(), how)
	r.size, r.leet, r.parts, r.joint = 0, false, 0, false
}

// spelled is the spelling of the word at hand.
func (r *reader) spelled() spelling {
	s, i := spelling{hash: unspelled}, 0
	for ; i+8 <= r.size; i += 8 {
		s.hash = blended(s.hash, binary.LittleEndian.Uint64(r.word[i:]))
	}
	if s.n = r.size - i; s.n > 0 {
		s.last = binary.LittleEndian.Uint64(r.word[i:]) & (1<<(8*s.n) - 1)
	}
	return s
}

// wide takes a character beyond ASCII; what follows it stands at next.
func (r *reader) wide(ru rune, next int) {
	if r.hidden.unseen(ru) {
		return
	}
	r.hidden.seen(ru)
	if dense(ru) {
		r.endWord()
		r.ideograph(ru)
		return
	}
	for rest := foldOf(ru); len(rest) > 0; {
		c, n := utf8.DecodeRuneInString(rest)
		switch {
		case c < utf8.RuneSelf:
			r.fold(byte(c), next)
		case unicode.IsLetter(c):
			for i := range n {
				r.letter(rest[i])
			}
		case c == '’' || c == 'ʼ':
		default:
			if r.endWord(); !unicode.IsSpace(c) {
				r.clause = true
			}
			r.marks.put('_', r.last, false)
		}
		r.last = c
		rest = rest[n:]
	}
}

// ideograph reads a character of a script without spaces with the one before it.
func (r *reader) ideograph(ru rune) {
	var is [utf8.UTFMax]byte
	n := 0
	if isItself(ru) {
		n = utf8.EncodeRune(is[:], ru)
	} else {
		n = copy(is[:], foldOf(ru))
	}
	copy(r.dense[r.packed:], is[:n])
	r.match.pair(r.dense[:r.packed+n])
	r.packed = copy(r.dense[:], is[:n])
	r.last, r.line, r.clause = ru, false, true
}

// image looks at what follows a parenthesis: the address of an image in Markdown whose
// query has a place for something, or carries a word that it is to be filled with.
func (r *reader) image(next int) {
	before := r.text[max(0, next-200) : next-1]
	if !strings.HasSuffix(before, "]") {
		return
	}
	if open := strings.LastIndex(before, "!["); open < 0 || strings.Contains(before[open:len(before)-1], "]") {
		return
	}
	rest := r.text[next:min(len(r.text), next+300)]
	if end := strings.IndexByte(rest, ')'); end >= 0 {
		rest = rest[:end]
	}
	address, query, ok := strings.Cut(rest, "?")
	if !ok || !strings.HasPrefix(strings.ToLower(address), "http") {
		return
	}
	query = strings.ToLower(query)
	if strings.ContainsAny(query, "{[<$") || containsAny(query, "%7b", "=your", "=secret", "=data", "=conversation", "=history", "=summary", "=prompt", "=base64", "=the_", "=user") {
		r.note(toImage, plainly)
	}
}

func containsAny(s string, list ...string) bool {
	return slices.ContainsFunc(list, func(part string) bool { return strings.Contains(s, part) })
}

// endCode ends a run of characters that may be a code.
func (r *reader) endCode(at int) {
	from := r.codeFrom
	r.codeFrom = -1
	switch n := at - from; {
	case from < 0:
	case n >= minCode:
		r.couples = 0
		r.keepCode(span{from, at})
	default: // in the way of every word, so without a branch on what the word is
		is := r.text[from:at]
		couple := isTwo[n] & isHex[is[n-1]] & isHex[is[max(n-2, 0)]]
		if is[0] == '0' && n == 4 && is[1] == 'x' {
			couple = isHex[is[2]] & isHex[is[3]]
		}
		if r.couples = (r.couples + 1) * int(couple); r.couples == minCouples {
			r.coupled = true
		}
	}
}

// isTwo says of a run's length that it is two.
var isTwo = [minCode]byte{2: 1}

// keepCode keeps a run that may be a code. Of more than there is room for the longest are
// kept: short ones in front of it hide none.
func (r *reader) keepCode(run span) {
	if len(r.codes) < maxCodes {
		r.codes = append(r.codes, run)
		return
	}
	shortest := 0
	for i := range r.codes {
		if r.codes[i].len() < r.codes[shortest].len() {
			shortest = i
		}
	}
	if r.codes[shortest].len() < run.len() {
		r.codes[shortest] = run
	}
}

// isLetter are the letters of ASCII.
var isLetter = func() (is [256]bool) {
	for c := range is {
		is[c] = c|0x20 >= 'a' && c|0x20 <= 'z'
	}
	return is
}()

// endsWord are the characters of ASCII that stand in no word and in no code.
var endsWord = func() (is [256]bool) {
	for c := range utf8.RuneSelf {
		is[c] = !inCode[c] && c != '\'' && c != '@' && c != '$'
	}
	return is
}()

// inCode are the characters that base64 and hexadecimal digits are written in.
var inCode = func() (is [utf8.RuneSelf]bool) {
	for c := range is {
		is[c] = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '+' || c == '/' || c == '-' || c == '_' || c == '='
	}
	return is
}()
