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
	met      [32]bool // secrets that were found
}

// context is how much of what is clear is kept, for names before a sign.
const context = 64

// maxKept is how much room a Scanner keeps between two pieces, in bytes.
const maxKept = 16 << 10

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
		if cap(rest) > maxKept { // one long piece is no reason to keep its room
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
	if !s.met[secret] && s.policy.action(secret) != Off {
		s.met[secret] = true
		*found = append(*found, Finding{Rule: secrets[secret].ID})
	}
}

// scan looks at what is in the buffer from next on, and returns where in it something
// begins that must wait.
func (s *Scanner) scan(final bool, found *[]Finding) (hold int) {
	hold = -1
	for s.next < len(s.buf) {
		b := s.buf[s.next:]
		secret, m, n := s.try(b, final)
		switch {
		case m == open:
			if hold < 0 && s.policy.action(secret) == Refuse {
				hold = s.next
			}
			if hold < 0 {
				hold = len(s.buf)
			}
			return hold
		case m == hit:
			s.note(secret, found)
		}
		if n = max(n, 1); s.before == '\\' && m == none && (b[0] == 'n' || b[0] == 'r' || b[0] == 't') {
			s.before = ' ' // the arguments of a call are JSON, where a line ends so
			s.next++
			continue
		}
		for isAlnum(b[0]) && n < len(b) && isAlnum(b[n]) && m == none { // to the word's end
			n++
		}
		s.before = b[n-1]
		s.next += n
	}
	return len(s.buf)
}

// try looks for a secret that begins with b.
func (s *Scanner) try(b []byte, final bool) (secret int, m match, n int) {
	c := b[0]
	switch {
	case c == '-' && s.before != '-':
		m, n = pem(b, final)
		return pemKey, m, n
	case c == '=' || c == ':':
		if s.before == '=' || s.before == ':' {
			return 0, none, 0
		}
		if len(b) == 1 && !final {
			return givenValue, open, 0
		}
		before := s.buf[max(0, s.next-context):s.next]
		m, n = assigned(before, b[1:], final)
		if m == hit {
			n = 1 // what is given may be a key of its own
		}
		return givenValue, m, n
	case isWord(s.before) || !isAlnum(c):
		return 0, none, 0
	case c >= '0' && c <= '9':
		if s.before == '.' {
			return 0, none, 0
		}
		m, n = card(b, final)
		return cardNumber, m, n
	}
	waits, best := -1, none
	for i := range keyTokens {
		t := &keyTokens[i]
		if t.prefix[0] != c || t.secret == aJWT && s.before == '-' {
			continue
		}
		m, n := t.try(b, final)
		if m == hit {
			return t.secret, hit, n
		}
		if m == open && (waits < 0 || s.policy.action(t.secret) == Refuse) {
			waits, best = t.secret, open
		}
	}
	if best == open {
		return waits, open, 0
	}
	if c >= 'A' && c <= 'Z' {
		m, n = iban(b, final)
		return ibanNumber, m, n
	}
	return 0, none, 0
}
