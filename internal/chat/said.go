package chat

import (
	"iter"
	"strconv"
	"strings"
)

// The roles of what is said in a request, beside those of messages.
const (
	RoleSystem = "system" // instructions, developer messages, and what tools and formats are said to be
	RoleUser   = "user"
	RoleModel  = "assistant"
	RoleTool   = "tool" // what a tool answered
)

// A Said is one text of a request.
type Said struct {
	Role string // who says it
	Text string
	// Instructs is true for what tells the model how to be: system and developer messages.
	Instructs bool

	list string // the member of the request that it is in
	item int    // which of its items, counted from 1; 0: it is no list
}

// At is the part of the request that it is in, such as messages[2]. Few ask where a text is
// of which nothing is to be said.
func (s Said) At() string {
	if s.item == 0 {
		return s.list
	}
	return s.list + "[" + strconv.Itoa(s.item-1) + "]"
}

// unsaid are members that hold no words: their values are from lists, or no text.
func unsaid(name string) bool {
	switch name {
	case "role", "type", "id", "tool_call_id", "call_id", "url", "image_url", "data", "detail", "format", "status", "phase", "encrypted_content", "finish_reason":
		return true
	}
	return false
}

// Said returns the texts of the request that a model may read, in their order. Tokens
// and pictures are none.
func (r *Request) Said() iter.Seq[Said] {
	return func(yield func(Said) bool) {
		for i := range r.root.items {
			if m := &r.root.items[i]; !m.said(yield) {
				return
			}
		}
	}
}

// Coded reports whether the request gives a prompt as the numbers of its tokens.
func (r *Request) Coded() bool {
	list := r.prompts()
	return len(list) > 0 && list[0].kind != text
}

// said gives the texts of a member of a request. It reports whether more are wanted.
func (m *member) said(yield func(Said) bool) bool {
	switch m.name {
	case "messages":
		return m.each(m.name, "", yield)
	case "input":
		return m.each(m.name, RoleUser, yield)
	case "prompt", "suffix":
		return m.words(Said{Role: RoleUser, list: m.name}, yield)
	case "prediction":
		return m.words(Said{Role: RoleModel, list: m.name}, yield)
	case "instructions":
		return m.words(Said{Role: RoleSystem, list: m.name, Instructs: true}, yield)
	case "tools", "response_format", "text":
		return m.words(Said{Role: RoleSystem, list: m.name}, yield)
	}
	return true
}

// each gives the texts of messages or items, or of a list of inputs.
func (m *member) each(name, usual string, yield func(Said) bool) bool {
	if m.kind != array {
		return m.words(Said{Role: usual, list: name}, yield)
	}
	for i := range m.items {
		one := &m.items[i]
		said := Said{Role: one.role(usual), list: name, item: i + 1}
		said.Instructs = said.Role == RoleSystem
		if !one.words(said, yield) {
			return false
		}
	}
	return true
}

// role is who says a message or an item.
func (v *value) role(usual string) string {
	switch kind, role := v.str("type"), v.str("role"); {
	case role == "developer":
		return RoleSystem
	case role != "":
		return role
	case kind == "function_call_output":
		return RoleTool
	case kind == "function_call", kind == "reasoning":
		return RoleModel
	}
	return usual
}

// shaped are members whose values are the caller's to shape: names in them are words, too, and
// no name says that its value is none.
func shaped(name string) bool { return name == "parameters" || name == "schema" }

// words gives all texts in a value. It reports whether more are wanted.
func (v *value) words(said Said, yield func(Said) bool) bool {
	return v.wordsIn(said, false, yield)
}

// wordsIn is words of a value that may be in a free one.
func (v *value) wordsIn(said Said, inFree bool, yield func(Said) bool) bool {
	if v.kind == text {
		said.Text = v.text
		return said.Text == "" || yield(said)
	}
	for i := range v.items {
		m := &v.items[i]
		if v.kind == object && !inFree && m.kind == text && unsaid(m.name) {
			continue
		}
		if said.Text = m.name; v.kind == object && inFree && m.name != "" && !yield(said) {
			return false
		}
		if !m.wordsIn(said, inFree || v.kind == object && shaped(m.name), yield) {
			return false
		}
	}
	return true
}

// A Channel is a text of an answer that comes in pieces: one of several answers or of
// the items of an output, and what of it.
type Channel struct {
	Index, Part int
	Kind        string // the name of the member that holds it
}

// A Piece is a text of an answer, or a part of one.
type Piece struct {
	Channel
	Whole bool // it is a text of its own, and no part of what else the channel has
	Text  string
}

// Pieces returns the texts of a whole answer.
func (a *Answer) Pieces() iter.Seq[Piece] {
	return func(yield func(Piece) bool) {
		for _, name := range []string{"choices", "output"} {
			if v := a.root.get(name); v != nil && !v.pieces(yield) {
				return
			}
		}
	}
}

// pieces gives all texts in a value as such that are whole.
func (v *value) pieces(yield func(Piece) bool) bool {
	return v.words(Said{}, func(s Said) bool { return yield(Piece{Whole: true, Text: s.Text}) })
}

// Pieces returns the texts of an event.
func (e *Event) Pieces() iter.Seq[Piece] {
	return func(yield func(Piece) bool) {
		if e.Name != "" {
			e.stepPieces(yield)
			return
		}
		choices := e.root.get("choices")
		if choices == nil {
			return
		}
		for i := range choices.items {
			c := &choices.items[i].value
			index, _ := c.get("index").integer()
			if t := c.str("text"); t != "" && !yield(Piece{Channel: Channel{int(index), 0, "text"}, Text: t}) {
				return
			}
			if delta := c.get("delta"); delta != nil && !delta.deltaPieces(int(index), yield) {
				return
			}
		}
	}
}

// deltaPieces gives what an event adds to a choice.
func (v *value) deltaPieces(index int, yield func(Piece) bool) bool {
	for i := range v.items {
		switch m := &v.items[i]; {
		case m.name == "role":
		case m.kind == text && m.text != "":
			if !yield(Piece{Channel: Channel{index, 0, m.name}, Text: m.text}) {
				return false
			}
		case m.name == "tool_calls":
			for j := range m.items {
				call := &m.items[j].value
				part, _ := call.get("index").integer()
				if t := call.str("function.arguments"); t != "" && !yield(Piece{Channel: Channel{index, int(part), m.name}, Text: t}) {
					return false
				}
			}
		}
	}
	return true
}

// stepPieces gives the texts of an event of a response: what it adds to a part, or texts
// that are whole.
func (e *Event) stepPieces(yield func(Piece) bool) {
	if kind, ok := strings.CutSuffix(e.Name, ".delta"); ok {
		index, _ := e.Int("output_index")
		part, ok := e.Int("content_index")
		if !ok {
			part, _ = e.Int("summary_index")
		}
		if t := e.Text("delta"); t != "" {
			yield(Piece{Channel: Channel{int(index), int(part), kind}, Text: t})
		}
		return
	}
	for _, path := range []string{"response.output", "item", "part", "text", "refusal", "arguments", "annotation"} {
		if v := e.root.at(path); v != nil && !v.pieces(yield) {
			return
		}
	}
}
