package prompt

// A word counts two places, and a character of a script without spaces one: there,
// words are two characters.
const place = 2

// A text begins so far behind the one before that no step which was reached there counts.
// Places are counted anew at lastPlace; what a text takes of them is far from the rest of
// an int32.
const (
	firstPlace = 1 << 20
	lastPlace  = 1 << 28
)

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
	at      int32    // the place of the word at hand
	reached []int32  // by step of each pattern, the place where it was reached last
	hops    []via    // how the words to there were written, where that was not plain
	last    uint64   // the word before, as a hash
	repeats int      // how often it stood in a row
	joined  spelling // of words that only a hyphen or its like parts
	letters []byte   // letters that stand alone, one after another
	from    int32    // the place before the first of letters
}

// minTogether is how many letters are read as words that run together, at least.
const minTogether = 14

// maxLetters bounds the letters that are read as one row.
const maxLetters = 256

// begin makes the matcher one that has read nothing.
func (m *matcher) begin(found func(rule int, how via)) {
	if m.reached == nil {
		m.reached, m.hops, m.letters = make([]int32, compiled.steps), make([]via, compiled.steps), make([]byte, 0, maxLetters)
	}
	at := m.at + firstPlace
	if at > lastPlace {
		clear(m.reached)
		at = firstPlace
	}
	*m = matcher{found: found, at: at, reached: m.reached, hops: m.hops, letters: m.letters[:0], joined: blank}
}

// A written is how a word stands in the text.
type written struct {
	clause bool // a clause begins with it
	joint  bool // a single mark that may stand within a word parts it from the word before
	leet   bool // it holds digits or signs that may be letters
	split  bool // it holds characters that nobody sees
}

// word takes the next word, of the given spelling. It reports whether a clause may begin
// behind it.
func (m *matcher) word(w []byte, spelled spelling, how written) (lead bool) {
	if len(w) == 1 && lower(w[0]) {
		m.letter(w[0])
		return false
	}
	if len(m.letters) > 0 {
		m.spaced()
	}
	m.at += place
	hash := spelled.sum()
	m.count(hash, w[0] > '9')
	is := lexis.words.find(hash)
	lead = is != nil && is.lead
	by := plainly
	if how.split {
		by = bySplitting
	}
	if is == nil || !is.known {
		is, by = respelled(w, how.leet)
	}
	if is != nil {
		m.take(is, how.clause, by)
	}
	if how.joint {
		m.join(w, is != nil)
	} else {
		m.joined = spelled
	}
	if is == nil && len(w) >= minTogether && !how.leet {
		m.segments(w, how.clause, together)
	}
	return lead
}

// waits reports whether letters that stood alone wait for the next word, or whether that
// word, of the given hash, stands there again.
func (m *matcher) waits(hash uint64) bool { return len(m.letters) > 0 || hash == m.last }

// pass is word for one that nothing waits for and no table has, and that nothing but spaces
// and marks part from the one before.
func (m *matcher) pass(spelled spelling, hash uint64) {
	m.at += place
	m.last, m.repeats, m.joined = hash, 1, spelled
}

// respelled looks up a word that is not known as it stands: with digits read as letters, or
// with its inner letters in another order.
func respelled(w []byte, leet bool) (is *meaning, by via) {
	if leet {
		return unleet(w), byLeet
	}
	return lexis.jumbles(w), byScrambling
}

// unleet reads digits as letters: a one as an i, then as an l.
func unleet(w []byte) *meaning {
	for _, one := range [2]byte{'i', 'l'} {
		h := blank
		for _, c := range w {
			if c < 0x80 && leet[c] != 0 {
				if c = leet[c]; c == 'i' {
					c = one
				}
			}
			h = h.add(c)
		}
		if is := lexis.words.find(h.sum()); is != nil && is.known {
			return is
		}
	}
	return nil
}

// join reads words that only hyphens and their likes part as one.
func (m *matcher) join(w []byte, known bool) {
	for _, c := range w {
		m.joined = m.joined.add(c)
	}
	if known {
		return
	}
	if is := lexis.words.find(m.joined.sum()); is != nil && is.known {
		m.take(is, true, byHyphens)
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
		is, n := longestIn(w[i:])
		if n > 0 {
			m.at += place
			m.take(is, clause, by)
		} else {
			n, clause = 1, clause && i == 0
		}
		i += n
	}
}

// longestIn is the longest word of the lexicon that letters begin with; 0 if none does.
func longestIn(w []byte) (is *meaning, n int) {
	if !lower(w[0]) || !lower(w[1]) {
		return nil, 0
	}
	lengths := lexis.lengths[int(w[0]-'a')*26+int(w[1]-'a')]
	h := blank
	for i := 0; i < len(w) && lengths>>i > 1; i++ {
		if h = h.add(w[i]); lengths>>(i+1)&1 != 0 {
			if m := lexis.words.find(h.sum()); m != nil && m.known {
				is, n = m, i+1
			}
		}
	}
	return is, n
}

// pair takes a character of a script without spaces, with the one before it.
func (m *matcher) pair(w []byte) {
	m.spaced()
	m.at++
	m.joined = blank
	for _, c := range w {
		m.joined = m.joined.add(c)
	}
	if is := lexis.words.find(m.joined.sum()); is != nil && is.known {
		m.take(is, true, plainly)
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

// take moves the patterns that wait for a word of such a meaning.
func (m *matcher) take(is *meaning, clause bool, by via) {
	hows := [ciphers]via{straight: by, rotated: byRot13, backward: byReversal}
	for i := range is.waiting {
		l := &is.waiting[i]
		if l.clause && !clause {
			continue
		}
		hop := hows[l.cipher]
		if !l.first {
			before := m.reached[l.before]
			if before == m.at || m.at-before > l.reach {
				continue
			}
			if hop == plainly {
				hop = m.hops[l.before]
			}
		}
		m.reached[l.here], m.hops[l.here] = m.at, hop
		if l.last {
			m.found(int(l.rule), hop)
		}
	}
}
