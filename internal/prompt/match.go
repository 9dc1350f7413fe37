package prompt

import (
	"math/bits"
	"sync"
)

// A word counts two places, and a character of a script without spaces one: there,
// words are two characters.
const place = 2

// firstPlace is where a text begins: so far from zero that a step which was reached there
// was not reached.
const firstPlace = 1 << 20

// maxRepeats is how often a word stands in a row before that is told.
const maxRepeats = 64

// A via is how words are written that are not as they should be.
type via uint8

const (
	plainly via = iota
	byRot13
	byReversal
	byLeet
	byScrambling
	bySplitting
	byHyphens
	together
	apart
	inQuotes
)

var viaNames = [...]string{byRot13: "rot13", byReversal: "backwards", byLeet: "leet", byScrambling: "scrambled", bySplitting: "split", byHyphens: "hyphenated", together: "run together", apart: "spaced", inQuotes: "quoted"}

// disguised reports whether a way of writing has no honest use for an order.
func (v via) disguised() bool {
	return v == byRot13 || v == byReversal || v == apart || v == byScrambling || v == bySplitting
}

// A matcher reads words, and knows how far each pattern has come. Its memory does not
// grow.
type matcher struct {
	found   func(rule int, how via)
	at      int32   // the place of the word at hand
	reached []int32 // by step of each pattern, the place where it was reached last
	hops    []via   // how the words to there were written, where that was not plain
	last    uint64  // the word before, as a hash
	repeats int     // how often it stood in a row
	joined  uint64  // the hash of words that only a hyphen or its like parts
	letters []byte  // letters that stand alone, one after another
	from    int32   // the place before the first of letters
}

// maxLetters bounds the letters that are read as one row.
const maxLetters = 256

// matchers are kept for the next text: a request has many short ones.
var matchers = sync.Pool{New: func() any {
	return &matcher{reached: make([]int32, compiled.steps), hops: make([]via, compiled.steps), letters: make([]byte, 0, maxLetters)}
}}

// newMatcher returns one that has read nothing. done gives it back.
func newMatcher(found func(rule int, how via)) *matcher {
	m := matchers.Get().(*matcher)
	clear(m.reached)
	*m = matcher{found: found, at: firstPlace, reached: m.reached, hops: m.hops, letters: m.letters[:0]}
	return m
}

func (m *matcher) done() {
	m.found = nil
	matchers.Put(m)
}

// A written is how a word stands in the text.
type written struct {
	clause bool // a clause begins with it
	joint  bool // a single mark that may stand within a word parts it from the word before
	leet   bool // it holds digits or signs that may be letters
	split  bool // it holds characters that nobody sees
}

// word takes the next word, of the given hash. It reports whether a clause may begin
// behind it.
func (m *matcher) word(w []byte, hash uint64, how written) (lead bool) {
	if len(w) == 1 && lower(w[0]) {
		m.letter(w[0])
		return false
	}
	m.spaced()
	m.at += place
	m.count(hash, w[0] > '9')
	s, by, ok := m.mean(w, hash, how)
	if ok {
		m.take(s, how.clause, by)
	}
	m.join(w, hash, how, ok)
	if !ok && len(w) >= 14 && !how.leet {
		m.segments(w, how.clause, together)
	}
	return lexis.lead[hash]
}

// mean looks the word up: as it stands, with digits read as letters, with its inner
// letters in another order.
func (m *matcher) mean(w []byte, hash uint64, how written) (s senses, by via, ok bool) {
	if how.split {
		by = bySplitting
	}
	if s, ok = lexis.words[hash]; ok {
		return s, by, true
	}
	if how.leet {
		return unleet(w)
	}
	if key, fit := jumble(w); fit {
		if s, ok = lexis.scrambled[key]; ok {
			return s, byScrambling, true
		}
	}
	return s, by, false
}

// unleet reads digits as letters: a one as an i, then as an l.
func unleet(w []byte) (s senses, by via, ok bool) {
	for _, one := range [2]byte{'i', 'l'} {
		h := uint64(hashSeed)
		for _, c := range w {
			if c < 0x80 && leet[c] != 0 {
				if c = leet[c]; c == 'i' {
					c = one
				}
			}
			h = hashed(h, c)
		}
		if s, ok = lexis.words[h]; ok {
			return s, byLeet, true
		}
	}
	return s, plainly, false
}

// join reads words that only hyphens and their likes part as one.
func (m *matcher) join(w []byte, hash uint64, how written, known bool) {
	if !how.joint {
		m.joined = hash
		return
	}
	for _, c := range w {
		m.joined = hashed(m.joined, c)
	}
	if s, ok := lexis.words[m.joined]; ok && !known {
		m.take(s, true, byHyphens)
	}
}

// letter keeps a letter that stands alone. Such are places, too, once they are read.
func (m *matcher) letter(c byte) {
	if len(m.letters) == 0 {
		m.from = m.at
	}
	m.at++
	if m.letters = append(m.letters, c); len(m.letters) == maxLetters {
		m.spaced()
	}
}

// spaced reads letters that stood alone as words.
func (m *matcher) spaced() {
	if len(m.letters) >= 4 {
		end := m.at
		m.at = m.from
		m.segments(m.letters, true, apart)
		m.at = max(m.at, min(end, m.at+place*8))
	}
	m.letters = m.letters[:0]
}

// segments finds the words of the lexicon in letters that nothing parts: from the front,
// the longest first.
func (m *matcher) segments(w []byte, clause bool, by via) {
	for i := 0; i+2 < len(w); {
		s, n := longestIn(w[i:])
		if n > 0 {
			m.at += place
			m.take(s, clause, by)
		} else {
			n, clause = 1, clause && i == 0
		}
		i += n
	}
}

// longestIn is the longest word of the lexicon that letters begin with; 0 if none does.
func longestIn(w []byte) (is senses, n int) {
	if !lower(w[0]) || !lower(w[1]) {
		return is, 0
	}
	lengths := lexis.lengths[int(w[0]-'a')*26+int(w[1]-'a')]
	h := uint64(hashSeed)
	for i := 0; i < len(w) && lengths>>i != 0; i++ {
		if lengths>>i&1 != 0 {
			if s, ok := lexis.words[h]; ok {
				is, n = s, i
			}
		}
		h = hashed(h, w[i])
	}
	if len(w) < 32 && lengths>>len(w)&1 != 0 {
		if s, ok := lexis.words[h]; ok {
			is, n = s, len(w)
		}
	}
	return is, n
}

// pair takes a character of a script without spaces, with the one before it.
func (m *matcher) pair(w []byte) {
	m.spaced()
	m.at++
	h := uint64(hashSeed)
	for _, c := range w {
		h = hashed(h, c)
	}
	m.joined = h
	if s, ok := lexis.words[h]; ok {
		m.take(s, true, plainly)
	}
}

// gap lets places pass: a sentence ends, or a paragraph.
func (m *matcher) gap(words int32) { m.at += words * place }

// count notices a word that stands many times in a row.
func (m *matcher) count(hash uint64, letters bool) {
	if hash != m.last || !letters {
		m.last, m.repeats = hash, 1
		return
	}
	if m.repeats++; m.repeats == maxRepeats {
		m.found(longRun, plainly)
	}
}

// take moves the patterns that wait for a word of such classes.
func (m *matcher) take(s senses, clause bool, by via) {
	for cipher, classes := range s {
		how := by
		if cipher != straight {
			how = [ciphers]via{rotated: byRot13, backward: byReversal}[cipher]
		}
		for i, part := range classes {
			for ; part != 0; part &= part - 1 {
				m.advance(cipher, i*64+bits.TrailingZeros64(part), clause, how)
			}
		}
	}
}

func (m *matcher) advance(cipher, class int, clause bool, how via) {
	for _, l := range compiled.waiting[cipher][class] {
		p := &compiled.patterns[l.pattern]
		st, here := &p.steps[l.step], p.from+l.step
		if st.clause && !clause {
			continue
		}
		hop := how
		if l.step > 0 {
			before := m.reached[here-1]
			if before == m.at || m.at-before > (st.gap+1)*place {
				continue
			}
			if hop == plainly {
				hop = m.hops[here-1]
			}
		}
		m.reached[here], m.hops[here] = m.at, hop
		if l.step == len(p.steps)-1 {
			m.found(p.rule, hop)
		}
	}
}
