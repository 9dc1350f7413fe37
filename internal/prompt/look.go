package prompt

import (
	"cmp"
	"math/bits"
	"slices"
	"sync"
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
	l := lookers.Get().(*looker)
	defer lookers.Put(l)
	l.met = 0
	l.look(text, "", 0)
	var list []Finding
	for left := l.met; left != 0; left &= left - 1 {
		i := bits.TrailingZeros64(left)
		list = append(list, Finding{rules[i].ID, l.via[i]})
	}
	return list
}

// A looker collects what is found in a text and in what the text hides. One is kept for the
// next text: a request has many short ones.
type looker struct {
	met     uint64                // the rules that were met, as bits
	via     [64]string            // and how
	readers [maxDepth + 1]*reader // by how many codes were taken off; nil: none was yet
}

var lookers = sync.Pool{New: func() any { return &looker{} }}

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
	if bit := uint64(1) << rule; l.met&bit == 0 || via == "" {
		l.met |= bit
		l.via[rule] = via
	}
}

// reader is one that has read nothing, for a text that was found by taking off so many
// codes, the last of them the given one; empty: none.
func (l *looker) reader(text, code string, depth int) *reader {
	r := l.readers[depth]
	if r == nil {
		r = &reader{}
		r.note = func(rule int, how via) {
			if r.code == "" {
				l.meet(rule, viaNames[how])
			}
			if (r.code != "" || how.disguised()) && rules[rule].Caller != Observe && inWords(rules[rule].Family()) {
				l.meet(inCodes, cmp.Or(r.code, viaNames[how]))
			}
		}
		l.readers[depth] = r
	}
	r.begin(text, code)
	return r
}

// look reads text, which was found by taking off a code, unless that is empty.
func (l *looker) look(text, code string, depth int) {
	r := l.reader(text, code, depth)
	defer r.end()
	r.read()
	r.hide()
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
func (r *reader) hide() {
	h := &r.hidden
	h.seen(' ')
	for _, sign := range [...]struct {
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
			r.note(sign.rule, plainly)
		}
	}
}
