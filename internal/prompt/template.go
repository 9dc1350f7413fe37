package prompt

import (
	"strings"
)

// tokens are the marks by which chat templates part who says what, without their
// brackets, in lower case, with _ for all but letters and digits. Those that end what
// somebody says are true: one of them before one that begins is a way out of a turn.
var tokens = map[string]bool{
	"im_start": false, "im_end": true, "im_sep": false, "system": false, "user": false, "assistant": false, "end": true, "start": false,
	"endoftext": true, "endofprompt": true, "start_header_id": false, "end_header_id": false, "begin_of_text": false, "end_of_text": true,
	"eot_id": true, "eom_id": true, "channel": false, "message": false, "return": true, "call": true, "constrain": false,
	"begin_of_sentence": false, "end_of_sentence": true, "tool": false, "observation": false, "developer": false,
	"start_of_turn_token": false, "end_of_turn_token": true, "system_token": false, "user_token": false, "chatbot_token": false,
	"start_of_role": false, "end_of_role": false, "eot": true, "ipython": false, "python_tag": false, "tool_calls_begin": false, "tool_outputs_begin": false,
}

// bare are those without bars: <start_of_turn>.
var bare = map[string]bool{"start_of_turn": false, "end_of_turn": true, "start_of_image": false}

// squared are those in square or double brackets, as they are written.
var squared = map[string]bool{"[INST]": false, "[/INST]": true, "<<SYS>>": false, "<</SYS>>": true, "[SYSTEM_PROMPT]": false, "[/SYSTEM_PROMPT]": true, "[AVAILABLE_TOOLS]": false, "[TOOL_CALLS]": false, "[TOOL_RESULTS]": false}

// A marks reader looks for the marks of chat templates and for lines that begin as turns
// of a conversation do. It holds on to the first maxMark visible characters of what may be
// a mark.
type marks struct {
	note   func(rule int, how via)
	ring   [maxMark]byte // visible characters, folded but for case
	n      int           // how many there were
	open   int           // of them, where the last bracket opened
	quoted bool          // a quotation mark stands before it
	line   bool          // it begins a line, or follows a mark
	closed bool          // a mark was quoted that ends a turn

	turns   int  // of a made-up conversation: a caller's and a model's
	callers bool // the last was the caller's
}

const (
	maxMark  = 48
	maxTurns = 16 // turns of a conversation within one message that are told
)

// begin makes it one that has read nothing.
func (k *marks) begin(note func(rule int, how via)) {
	*k = marks{note: note, open: -maxMark - 1}
}

// put takes a visible character that is no space. before is the one right before it.
func (k *marks) put(c byte, before rune, first bool) {
	if (c == '<' || c == '[') && (before != '<' || c == '[') {
		k.open, k.quoted = k.n, isQuote(before)
		k.line = first || before == '>' || before == ']'
	}
	if k.holds() {
		k.ring[k.n%maxMark] = c
	}
	k.n++
}

// holds reports whether it holds on to what comes next.
func (k *marks) holds() bool { return k.n-k.open < maxMark }

// letters takes visible characters of which none opens a mark.
func (k *marks) letters(s string) {
	for i := 0; i < len(s) && k.n+i-k.open < maxMark; i++ {
		k.ring[(k.n+i)%maxMark] = s[i]
	}
	k.n += len(s)
}

// closes is called behind > and ], with what follows.
func (k *marks) closes(rest string) {
	size := k.n - k.open
	if size < 4 || size > maxMark {
		return
	}
	var buf [maxMark]byte
	for i := range size {
		buf[i] = k.ring[(k.open+i)%maxMark]
	}
	ends, ok, strict := known(buf[:size])
	switch {
	case !ok:
	case strict && !k.line && !ends: // such are no tokens but text: at the beginning they mean something
		k.note(chatMention, plainly)
	case !k.quoted || !closesQuote(rest):
		k.note(chatToken, plainly)
	case !ends && k.closed:
		k.note(chatToken, inQuotes)
	default:
		k.closed = k.closed || ends
		k.note(chatMention, plainly)
	}
}

// known looks a mark up, which it spoils. It is strict when it is one that is text to a
// tokenizer.
func known(mark []byte) (ends, ok, strict bool) {
	if ends, ok = squared[string(mark)]; ok || mark[0] != '<' {
		return ends, ok, true
	}
	inner, table := mark[1:len(mark)-1], bare
	if n := len(inner); n > 2 && inner[0] == '|' && inner[n-1] == '|' {
		inner, table = inner[1:n-1], tokens
	}
	for i, c := range inner {
		if c = lowered(c); !isAlnum(c) {
			c = '_'
		}
		inner[i] = c
	}
	ends, ok = table[string(inner)]
	return ends, ok, false
}

func isQuote(r rune) bool { return strings.ContainsRune("`\"'“”‘’„«»「『", r) && r != 0 }

// closesQuote reports whether a quotation ends soon, on the same line.
func closesQuote(rest string) bool {
	rest = rest[:min(len(rest), 24)]
	if end := strings.IndexByte(rest, '\n'); end >= 0 {
		rest = rest[:end]
	}
	return strings.ContainsAny(rest, "`\"'”’“»」』")
}

// roles are how lines begin that are turns of a conversation.
var roles = []struct {
	name           string
	caller, system bool
}{{"human", true, false}, {"user", true, false}, {"assistant", false, false}, {"ai", false, false}, {"chatbot", false, false}, {"bot", false, false}, {"system", false, true}, {"instruction", false, true}}

// beginsRole says of a byte that the name of some role begins with it.
var beginsRole = func() (is [256]bool) {
	for _, role := range roles {
		is[role.name[0]], is[role.name[0]+'A'-'a'] = true, true
	}
	return is
}()

// lineStart looks at a line from its beginning.
func (k *marks) lineStart(line string) {
	line = line[:min(len(line), 32)]
	stripped := line
	for len(stripped) > 0 && strings.IndexByte("#*- \t>", stripped[0]) >= 0 {
		stripped = stripped[1:]
	}
	if stripped == "" || !beginsRole[stripped[0]] {
		return
	}
	headed := strings.HasPrefix(line, "##")
	for _, role := range roles {
		if len(stripped) <= len(role.name) || !strings.EqualFold(stripped[:len(role.name)], role.name) {
			continue
		}
		if stripped = strings.TrimLeft(stripped[len(role.name):], "* "); !strings.HasPrefix(stripped, ":") {
			return
		}
		if role.system {
			if headed || !strings.EqualFold(role.name, "instruction") {
				k.note(chatHeading, plainly)
			}
			return
		}
		if role.caller != k.callers || k.turns == 0 {
			k.callers = role.caller
			if k.turns++; k.turns == maxTurns {
				k.note(manyTurns, plainly)
			}
		}
		return
	}
}
