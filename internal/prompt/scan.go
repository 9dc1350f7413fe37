package prompt

// A Scanner reads one text of an answer, piece by piece, and says how much of it is
// clear: what stands before is part of nothing that would be refused. It keeps what is
// not clear, and a little before it; that is bounded. One goroutine owns it.
type Scanner struct {
	policy   *Answers
	buf      []byte // the end of what was read
	base     int64  // where in the text buf begins
	next     int    // in buf: what is to be looked at next
	before   byte   // the byte before next
	canaries *watch
	leak     *leakWatch
	met      uint32 // secrets that were found, as bits
}

// context is how much of what is clear is kept, for names before a sign.
const context = 64

// maxKept is how much room a Scanner keeps between two pieces, in bytes, unless what it keeps
// needs more: ten thousand may wait.
const maxKept = 512

// NewScanner returns a Scanner for one text of an answer. system is what the request
// tells the model, as Prints made it; nil: nothing.
func (a *Answers) NewScanner(system *Prints) *Scanner {
	s := &Scanner{policy: a}
	if len(a.Canaries) > 0 && a.action(aCanary) != Off {
		s.canaries = newWatch(a.Canaries)
	}
	if system != nil && a.action(aLeak) != Off {
		s.leak = &leakWatch{prints: system}
	}
	return s
}

// Add reads on. It returns what was found, each once for a text, and up to where the
// text is clear, in bytes from its beginning.
func (s *Scanner) Add(text string) (found []Finding, clear int64) {
	s.buf = append(s.buf, text...)
	hold := s.scan(false, &found)
	clear = s.base + int64(hold)
	end := s.base + int64(len(s.buf))
	if s.canaries != nil {
		if s.canaries.add(text, end-int64(len(text))) {
			s.note(aCanary, &found)
		}
		if s.policy.action(aCanary) == Refuse {
			clear = min(clear, s.canaries.clear(end))
		}
	}
	if s.leak != nil && s.leak.add(text) {
		s.note(aLeak, &found)
	}
	if drop := min(s.next, int(clear-s.base)) - context; drop > 0 {
		rest := s.buf[:0]
		if cap(rest) > max(maxKept, 2*(len(s.buf)-drop)) { // one long piece is no reason to keep its room
			rest = nil
		}
		s.buf = append(rest, s.buf[drop:]...)
		s.base += int64(drop)
		s.next -= drop
	}
	return found, clear
}

// End says what was found at the end of the text: then all of it is clear, or refused.
func (s *Scanner) End() (found []Finding) {
	s.scan(true, &found)
	if s.leak != nil && s.leak.add(" ") {
		s.note(aLeak, &found)
	}
	return found
}

// Whole is what a whole text holds.
func (a *Answers) Whole(text string, system *Prints) []Finding {
	s := a.NewScanner(system)
	found, _ := s.Add(text)
	return append(found, s.End()...)
}

func (s *Scanner) note(secret int, found *[]Finding) {
	if bit := uint32(1) << secret; s.met&bit == 0 && s.policy.action(secret) != Off {
		s.met |= bit
		*found = append(*found, Finding{Rule: secrets[secret].ID})
	}
}

// scan looks at what is in the buffer from next on, and returns where in it something
// begins that must wait. What may be the beginning of something is looked at again with
// what follows; meanwhile something worse may begin within it.
func (s *Scanner) scan(final bool, found *[]Finding) (hold int) {
	first, behind := -1, byte(0) // what begins first, and the byte before it
	i, before := s.next, s.before
	for i < len(s.buf) {
		b := s.buf[i:]
		secret, m, n := s.try(i, before, final)
		switch m {
		case open:
			if first < 0 {
				first, behind = i, before
			}
			if s.policy.action(secret) == Refuse {
				s.next, s.before = first, behind
				return i
			}
		case hit:
			s.note(secret, found)
		}
		if n = max(n, 1); before == '\\' && m != hit && (b[0] == 'n' || b[0] == 'r' || b[0] == 't') {
			i, before = i+1, ' ' // the arguments of a call are JSON, where a line ends so
			continue
		}
		for m != hit && isAlnum(b[0]) && n < len(b) && isAlnum(b[n]) { // to the word's end
			n++
		}
		i, before = i+n, b[n-1]
	}
	if s.next, s.before = i, before; first >= 0 {
		s.next, s.before = first, behind
	}
	return len(s.buf)
}

// try looks for a secret that begins at i, behind the byte before.
func (s *Scanner) try(i int, before byte, final bool) (secret int, m match, n int) {
	b := s.buf[i:]
	switch c := b[0]; {
	case c == '-' && before != '-':
		m, n = pem(b, final)
		return pemKey, m, n
	case c == '=' || c == ':':
		if before == '=' || before == ':' {
			return 0, none, 0
		}
		if len(b) == 1 && !final {
			return givenValue, open, 0
		}
		if m, n = assigned(s.buf[max(0, i-context):i], b[1:], final); m == hit {
			n = 1 // what is given may be a key of its own
		}
		return givenValue, m, n
	case isWord(before) || !isAlnum(c):
		return 0, none, 0
	case c >= '0' && c <= '9':
		if before == '.' {
			return 0, none, 0
		}
		m, n = card(b, final)
		return cardNumber, m, n
	}
	return s.key(b, before, final)
}

// key looks for a key of a known form, or the number of an account, that b begins with.
// Of several that it may become it says the one that must not leave.
func (s *Scanner) key(b []byte, before byte, final bool) (secret int, m match, n int) {
	waits := -1
	for _, t := range tokensBy[b[0]] {
		if t.secret == aJWT && before == '-' {
			continue
		}
		m, n := t.try(b, final)
		if m == hit {
			return t.secret, hit, n
		}
		if m == open && (waits < 0 || s.policy.action(t.secret) == Refuse) {
			waits = t.secret
		}
	}
	if waits >= 0 {
		return waits, open, 0
	}
	if b[0] >= 'A' && b[0] <= 'Z' {
		m, n = iban(b, final)
		return ibanNumber, m, n
	}
	return 0, none, 0
}
