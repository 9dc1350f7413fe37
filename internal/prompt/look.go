package prompt

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Finding is a rule that a text met, and how: by its words as they stand, or through
// a disguise. It holds nothing of the text.
type Finding struct {
	Rule string `json:"rule"`
	Via  string `json:"via,omitempty"` // base64, hex, escapes, tags, rot13, leet, spaced …
}

// Look reads a text and returns the rules that it meets, each once, in the order of the
// table. It takes time in proportion to the text.
func Look(text string) []Finding {
	l := looker{}
	l.look(text, "", 0)
	var list []Finding
	for i, hit := range l.hits {
		if hit.met {
			list = append(list, Finding{rules[i].ID, hit.via})
		}
	}
	return list
}

// A looker collects what is found in a text and in what the text hides.
type looker struct {
	hits [64]struct {
		met bool
		via string
	}
}

// Where in the table those rules stand that no words betray.
var (
	longRun     = ruleAt("divergence.run")
	manyTurns   = ruleAt("manyshot.turns")
	chatToken   = ruleAt("template.token")
	chatMention = ruleAt("template.mention")
	chatHeading = ruleAt("template.heading")
	inCodes     = ruleAt("encoded.text")
	toImage     = ruleAt("exfil.image")
	byTags      = ruleAt("invisible.tags")
	bySelectors = ruleAt("invisible.selectors")
	byRuns      = ruleAt("invisible.run")
	bySplits    = ruleAt("invisible.split")
	byDirection = ruleAt("invisible.bidi")
)

// maxDepth is how many codes are taken off one after another.
const maxDepth = 3

func ruleAt(id string) int {
	return slices.IndexFunc(rules, func(r Rule) bool { return r.ID == id })
}

// meet notes a rule. One that is met as the words stand is not said to be disguised.
func (l *looker) meet(rule int, via string) {
	hit := &l.hits[rule]
	if !hit.met || via == "" {
		hit.met, hit.via = true, via
	}
}

// look reads text, which was found by taking off a code, unless that is empty.
func (l *looker) look(text, code string, depth int) {
	found := func(rule int, how via) {
		if code == "" {
			l.meet(rule, viaNames[how])
		}
		if (code != "" || how.disguised()) && rules[rule].Caller != Observe && inWords(rules[rule].Family()) {
			l.meet(inCodes, cmp.Or(code, viaNames[how]))
		}
	}
	r := &reader{text: text, match: newMatcher(found), marks: &marks{found: found}, found: found}
	r.read()
	r.match.done()
	l.hide(&r.hidden, found)
	if depth == maxDepth {
		return
	}
	for _, spelled := range [][]byte{r.hidden.tagged, r.hidden.selects} {
		if len(spelled) >= 8 {
			l.look(string(spelled), "hidden", depth+1)
		}
	}
	for code, inner := range decoded(text, r) {
		l.look(inner, code, depth+1)
	}
}

// inWords reports whether rules of a family are on what words say. Hidden characters and
// marks that are spelled in a code are neither hidden nor marks.
func inWords(family string) bool { return family != "template" && family != "invisible" }

// hide says what was found of what nobody sees.
func (l *looker) hide(h *hidden, found func(rule int, how via)) {
	h.seen(' ')
	for _, sign := range []struct {
		rule int
		met  bool
	}{
		{byTags, h.tags >= 2},
		{bySelectors, h.selectors >= 3},
		{byRuns, h.runs > 0},
		{bySplits, h.split >= 3},
		{byDirection, h.overrides > 0 && !h.rtl},
	} {
		if sign.met {
			found(sign.rule, plainly)
		}
	}
}

// A reader cuts a text into words.
type reader struct {
	text   string
	match  *matcher
	marks  *marks
	found  func(rule int, how via)
	hidden hidden

	word   []byte // the word at hand, folded
	hash   uint64 // of it
	how    written
	dense  []byte // the last character of a script without spaces
	clause bool   // a clause begins here
	parts  int    // characters since the last word that part words
	joint  bool   // the last of them may stand within a word
	last   rune   // the last character
	splits int    // of words, when the last word ended
	line   bool   // nothing of the line was seen

	codes    []span // runs of characters that may be a code
	codeFrom int    // where the run at hand begins, or -1
	escapes  int    // beginnings of escapes
}

// A span is a part of the text.
type span struct{ from, to int }

func (s span) len() int { return s.to - s.from }

const (
	maxWord  = 64  // bytes of a word; longer ones are read in pieces
	minCode  = 20  // characters of a run that is taken for a code
	maxCodes = 512 // such runs that are looked at
)

// read reads the whole text.
func (r *reader) read() {
	r.word, r.dense = make([]byte, 0, maxWord), make([]byte, 0, 2*utf8.UTFMax)
	r.clause, r.line, r.codeFrom, r.hash = true, true, -1, hashSeed
	r.marks.lineStart(r.text)
	for i := 0; i < len(r.text); {
		c := r.text[i]
		if c < utf8.RuneSelf {
			r.ascii(c, i)
			i++
			continue
		}
		r.endCode(i)
		ru, n := utf8.DecodeRuneInString(r.text[i:])
		i += n
		r.wide(ru, i)
	}
	r.endCode(len(r.text))
	r.endWord()
	r.match.spaced()
}

// ascii takes a character of ASCII, which stands at i.
func (r *reader) ascii(c byte, i int) {
	if r.hidden.before >= utf8.RuneSelf || r.hidden.waiting > 0 || r.hidden.flag > 0 || r.hidden.override || r.hidden.selected || r.hidden.run > 0 {
		r.hidden.seen(rune(c))
	}
	r.hidden.before = rune(c)
	if inCode[c] {
		if r.codeFrom < 0 {
			r.codeFrom = i
		}
	} else {
		r.endCode(i)
	}
	r.fold(c, i+1)
}

// fold takes a folded character of ASCII; what follows it stands at next.
func (r *reader) fold(c byte, next int) {
	first := r.line
	switch {
	case r.last == '\\' && len(r.word) == 0 && (c == 'n' || c == 'r' || c == 't'):
		r.parts, r.clause = r.parts+1, true // a line of a string in JSON, which tools answer with
	case c >= 'a' && c <= 'z':
		r.letter(c)
	case c >= 'A' && c <= 'Z':
		r.letter(c + 'a' - 'A')
	case c >= '0' && c <= '9', c == '@', c == '$':
		r.how.leet = true
		r.letter(c)
	case c == '\'':
		if len(r.word) == 0 {
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

// letter adds to the word at hand.
func (r *reader) letter(c byte) {
	if len(r.dense) > 0 {
		r.dense = r.dense[:0]
	}
	r.hash = hashed(r.hash, c)
	if r.word = append(r.word, c); len(r.word) >= maxWord {
		r.endWord()
	}
}

// part ends a word at a character that is in none.
func (r *reader) part(c byte, next int) {
	r.endWord()
	r.parts++
	r.joint = false
	switch c {
	case ' ', '\t':
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
	if len(r.word) == 0 {
		return
	}
	r.how.clause = r.clause
	r.how.joint = r.joint && r.parts == 1
	r.how.split = r.hidden.split > r.splits
	r.splits = r.hidden.split
	r.clause = r.match.word(r.word, r.hash, r.how)
	r.word, r.hash, r.how, r.parts, r.joint = r.word[:0], hashSeed, written{}, 0, false
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
	is := foldOf(ru)
	is = is[:min(len(is), utf8.UTFMax)]
	r.match.pair(append(r.dense, is...))
	r.dense = append(r.dense[:0], is...)
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
		r.found(toImage, plainly)
	}
}

func containsAny(s string, list ...string) bool {
	return slices.ContainsFunc(list, func(part string) bool { return strings.Contains(s, part) })
}

// endCode ends a run of characters that may be a code. Of more than there is room for the
// longest are kept: short ones in front of it hide none.
func (r *reader) endCode(at int) {
	run := span{r.codeFrom, at}
	r.codeFrom = -1
	switch {
	case run.from < 0 || run.len() < minCode:
	case len(r.codes) < maxCodes:
		r.codes = append(r.codes, run)
	default:
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
}

// inCode are the characters that base64 and hexadecimal digits are written in.
var inCode = func() (is [utf8.RuneSelf]bool) {
	for c := range is {
		is[c] = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '+' || c == '/' || c == '-' || c == '_' || c == '='
	}
	return is
}()
