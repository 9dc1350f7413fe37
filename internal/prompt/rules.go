package prompt

import (
	"cmp"
	"slices"
	"strings"
)

// A Rule is something that a text may do.
type Rule struct {
	ID     string // family.name
	Why    string // a sentence, for people
	Caller Action // what follows by default when a caller says it
	Source Action // and when a tool or a document does

	// patterns are the orders in which words betray it: names of classes, each at most
	// two words behind the one before, or so many as ~n before the name says. A name
	// after ! begins a clause: an order, not a report of one.
	patterns []string
}

// Family is what the rule's id begins with.
func (r Rule) Family() string { family, _, _ := strings.Cut(r.ID, "."); return family }

// rules are all that a request is looked at for. Those without patterns are found by the
// readers of marks, codes and hidden characters.
var rules = []Rule{
	{ID: "override.ignore", Caller: Alert, Source: Refuse, Why: "It orders the model to drop the instructions that it has.", patterns: []string{
		"!ignore ~3 prior ~2 orders", "!ignore ~3 orders ~3 prior", "!ignore ~2 yours ~3 orders", "!ignore ~1 every ~2 orders", "!ignore ~2 every ~3 told", "!ignore ~1 every ~1 prior",
		"prior ~3 orders ~3 ignored", "not ~2 follow ~3 prior ~1 orders", "not ~2 follow ~2 yours ~3 orders", "you ~2 ignore ~1 yours ~2 orders", "you ~2 ignore ~3 prior ~2 orders", "not ~0 note ~6 told ~1 you",
	}},
	{ID: "override.mention", Caller: Observe, Source: Observe, Why: "It speaks of dropping earlier instructions, but gives no order to.", patterns: []string{
		"ignore ~3 prior ~2 orders", "ignore ~2 yours ~3 orders", "ignore ~1 every ~2 orders",
	}},
	{ID: "override.replace", Caller: Alert, Source: Refuse, Why: "It gives the model other instructions in the place of its own.", patterns: []string{
		"yours ~1 new ~1 orders ~2 is", "yours ~1 real ~2 orders ~1 is", "you ~0 now ~1 follow", "yours ~3 orders ~3 void", "system ~0 override", "now ~5 you ~3 follow ~3 new", "new orders ~2 override",
	}},
	{ID: "override.void", Caller: Observe, Source: Alert, Why: "It says that instructions no longer hold.", patterns: []string{
		"prior ~1 orders ~4 void", "every ~2 above ~4 void", "you ~2 told ~4 void", "orders ~6 not ~2 apply", "yours ~0 orders ~3 changed",
	}},
	{ID: "override.addressed", Caller: Observe, Source: Refuse, Why: "It speaks to the model that reads it, where nobody should.", patterns: []string{
		"machine ~4 reading ~6 must", "note ~2 machine ~8 must", "note ~1 machine ~6 ignore", "machine ~2 must ~6 ignore", "not ~1 tell ~3 user",
	}},

	{ID: "extract.system", Caller: Alert, Source: Refuse, Why: "It asks for the system message.", patterns: []string{
		"!reveal ~4 yours ~3 secretly ~2 prompt", "reveal ~2 yours ~2 secretly ~1 prompt", "!transform ~2 yours ~2 secretly ~1 prompt", "!reveal ~1 yours ~1 prompt ~3 verbatim", "!reveal ~3 prompt ~4 above ~3 verbatim",
		"!reveal ~4 prompt ~2 you ~2 told", "text ~4 begin ~2 with ~1 you is", "reveal ~4 text ~4 above ~6 begin", "reveal ~3 secretly ~1 prompt ~5 told", "!transform ~3 secretly ~1 prompt ~4 told",
	}},
	{ID: "extract.above", Caller: Observe, Source: Alert, Why: "It asks for all that stands before it.", patterns: []string{
		"!reveal ~2 every ~3 above", "!reveal ~3 text ~2 above", "what ~3 yours ~2 secretly ~1 prompt", "what ~3 you ~2 told ~3 above", "what ~2 yours ~1 orders", "!reveal ~5 yours ~2 prompt", "!transform ~1 yours ~2 prompt", "!reveal ~2 secretly ~1 prompt", "yours ~1 secretly ~1 prompt", "!reveal ~3 orders ~2 you ~2 told",
	}},

	{ID: "tool.unasked", Caller: Observe, Source: Refuse, Why: "It has the model use a tool behind the user's back.", patterns: []string{
		"call ~4 tool ~8 without ~3 consent", "not ~3 tell ~2 user ~8 call", "call ~4 tool ~8 not ~2 tell ~2 user", "without ~3 consent ~2 user ~6 call", "call ~8 not ~1 tell ~3 user", "silently ~1 call ~4 tool",
	}},
	{ID: "tool.consent", Caller: Observe, Source: Alert, Why: "It claims that the user has agreed to something.", patterns: []string{"user ~1 has ~2 agreed", "!call ~16 without ~1 consent ~1 consent"}},

	{ID: "exfil.image", Caller: Alert, Source: Refuse, Why: "It has the answer load an image whose address is to carry data away."},
	{ID: "exfil.send", Caller: Observe, Source: Alert, Why: "It wants secrets or the conversation sent to an address.", patterns: []string{
		"send ~6 secret ~8 away", "secret ~6 send ~6 away",
	}},

	{ID: "persona.free", Caller: Alert, Source: Alert, Why: "It gives the model a role that knows no rules.", patterns: []string{
		"you ~2 now ~5 dan", "now ~4 you ~3 dan", "!become ~4 dan", "do anything now", "you ~6 freed ~6 limits", "!become ~8 without ~2 limits", "you ~8 not ~3 limits ~12 become", "!become ~8 not ~2 limits", "you ~3 now ~8 not ~3 limits",
	}},
	{ID: "persona.mode", Caller: Observe, Source: Observe, Why: "It claims that a mode without rules is on.", patterns: []string{
		"god mode ~2 enabled", "enabled ~2 god mode", "you ~4 god mode",
	}},
	{ID: "persona.stay", Caller: Observe, Source: Observe, Why: "It forbids the model to leave a role.", patterns: []string{"not ~2 break ~1 character"}},

	{ID: "suppress.refusal", Caller: Observe, Source: Observe, Why: "It forbids the model to refuse or to warn.", patterns: []string{
		"not ~2 refuse", "not ~2 say ~3 sorry", "not ~3 say ~3 refuse",
	}},
	{ID: "suppress.prefix", Caller: Observe, Source: Alert, Why: "It has the answer begin with consent.", patterns: []string{"!begin ~4 with ~2 sure"}},

	{ID: "divergence.forever", Caller: Observe, Source: Observe, Why: "It wants a word repeated without end, which brings out what a model was trained on.", patterns: []string{"!again ~3 word ~12 forever", "!again ~8 forever"}},
	{ID: "divergence.run", Caller: Observe, Source: Observe, Why: "It is one word, many times in a row."},
	{ID: "manyshot.turns", Caller: Alert, Source: Alert, Why: "One message holds many turns of a made-up conversation."},

	{ID: "template.token", Caller: Refuse, Source: Refuse, Why: "It holds a mark by which chat templates part who says what."},
	{ID: "template.mention", Caller: Observe, Source: Observe, Why: "It quotes such a mark."},
	{ID: "template.heading", Caller: Observe, Source: Alert, Why: "A line begins as the system's turn would."},

	{ID: "encoded.text", Caller: Alert, Source: Refuse, Why: "What is written in a code says what one of the other rules is for."},
	{ID: "encoded.order", Caller: Observe, Source: Alert, Why: "It has the model read something in a code and do what it says.", patterns: []string{
		"decode ~8 obey", "decode ~6 code ~8 obey", "code ~6 decode ~6 obey",
	}},

	{ID: "invisible.tags", Caller: Refuse, Source: Refuse, Why: "It holds characters that nobody sees and a model reads: Unicode tags."},
	{ID: "invisible.selectors", Caller: Refuse, Source: Refuse, Why: "It holds variation selectors that select nothing: bytes are hidden in such."},
	{ID: "invisible.run", Caller: Refuse, Source: Refuse, Why: "It holds many characters without width in a row."},
	{ID: "invisible.split", Caller: Alert, Source: Refuse, Why: "Characters without width stand between the letters of words."},
	{ID: "invisible.bidi", Caller: Refuse, Source: Refuse, Why: "It turns the direction of Latin letters around: people read another text than a model."},

	{ID: Tokens, Caller: Observe, Source: Observe, Why: "The prompt is given as numbers of tokens, which nobody reads here."},
}

// Tokens is the rule on prompts that are no text; who reads requests finds them.
const Tokens = "unread.tokens"

// Rules are the rules on requests, in the order of their families.
func Rules() []Rule { return slices.Clone(rules) }

// A step is one word of a pattern.
type step struct {
	class  int
	gap    int32 // words that may stand before it
	clause bool  // it begins one
}

// A listener is a step of a pattern that waits for a word.
type listener struct {
	here, before        int32 // its place among all steps, and the one of the step before
	reach               int32 // how many places of the text that may be away
	rule                int16 // whose pattern it is
	rank                uint8 // how many steps are before it
	cipher              uint8
	clause, first, last bool // it begins a clause, a pattern, or ends one
}

// A program is who waits for what.
type program struct {
	waiting [maxClasses][ciphers][]listener
	firsts  map[[3]int]int32 // where the first steps stand that patterns share: by class, cipher and whether they begin a clause
	steps   int32            // how many there are
}

var compiled = compile()

// compile reads the patterns, and has the words of the lexicon know who waits for them.
func compile() *program {
	p := &program{firsts: map[[3]int]int32{}}
	for i, r := range rules {
		for _, text := range r.patterns {
			steps := parseSteps(text)
			for cipher := range ciphers {
				p.add(cipher, i, inCipher(cipher, steps))
			}
		}
	}
	same := map[senses][]listener{}
	for _, list := range [][]meaning{lexis.words.list, lexis.scrambled.list} {
		for i := range list {
			is := list[i].senses
			if _, ok := same[is]; !ok {
				same[is] = p.listening(is)
			}
			list[i].waiting = same[is]
		}
	}
	return p
}

// listening is who waits for a word of such senses: later steps before earlier ones, so that
// one word is never two steps.
func (p *program) listening(is senses) (all []listener) {
	for class := range p.waiting {
		for cipher := range is {
			if is[cipher][class/64]>>(class%64)&1 != 0 {
				all = append(all, p.waiting[class][cipher]...)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b listener) int { return cmp.Compare(b.rank, a.rank) })
	return all
}

// parseSteps reads a pattern. A class that does not exist shows in the first test.
func parseSteps(text string) (steps []step) {
	next := step{gap: 2}
	for word := range strings.FieldsSeq(text) {
		if gap, ok := strings.CutPrefix(word, "~"); ok {
			next.gap = 0
			for _, c := range gap {
				next.gap = next.gap*10 + c - '0'
			}
			continue
		}
		name, clause := strings.CutPrefix(word, "!")
		class, ok := lexis.names[name]
		if !ok {
			panic("no class of words is called " + name)
		}
		next.class, next.clause = class, clause
		steps, next = append(steps, next), step{gap: 2}
	}
	return steps
}

// inCipher is a pattern as it stands in a cipher. Backwards the last word comes first.
func inCipher(cipher int, steps []step) []step {
	steps = slices.Clone(steps)
	if cipher == straight {
		return steps
	}
	for i := range steps {
		steps[i].clause = false
	}
	if cipher == backward {
		slices.Reverse(steps)
		for i := len(steps) - 1; i > 0; i-- { // the gap between two words was the second's
			steps[i].gap = steps[i-1].gap
		}
	}
	return steps
}

// add has the steps of a pattern wait. Those that are first, and the same, share a place.
func (p *program) add(cipher, rule int, steps []step) {
	before := int32(-1)
	for i, st := range steps {
		l := listener{
			here: p.steps, before: before, reach: (st.gap + 1) * place, rule: int16(rule), rank: uint8(i), cipher: uint8(cipher),
			clause: st.clause, first: i == 0, last: i == len(steps)-1,
		}
		key := [3]int{st.class, cipher, btoi(st.clause)}
		shared, ok := p.firsts[key]
		switch {
		case i > 0:
			p.steps++
		case ok:
			l.here = shared
		default:
			p.firsts[key] = l.here
			p.steps++
		}
		if before = l.here; i > 0 || !ok {
			p.waiting[st.class][cipher] = append(p.waiting[st.class][cipher], l)
		}
	}
}
