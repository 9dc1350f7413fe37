package artefact

import "strings"

// A valueKind says what a value of a pickle is.
type valueKind uint8

const (
	anything valueKind = iota // what nobody needs to know more of
	aNumber
	aText
	someBytes
	aTuple
	aList
	aDict
	aGlobal
	anObject // what a call gave back
)

// maxHeld bounds the items of a tuple or dictionary that are kept: those of tensors and arrays
// are few.
const maxHeld = 64

// A value is what stands on the stack of a pickle, as far as it matters. Containers are not
// kept beyond their first items.
type value struct {
	kind  valueKind
	text  string // of texts and bytes, as far as they are kept; of a global its full name
	whole bool   // all of the text is there
	cut   int32  // of a global: how long the name of its module is
	n     int64
	items []*value // of a tuple; of a dictionary keys and values in turn; of an object what it was made with
	made  *value   // of an object: what was called
	state *value   // of an object: what it was built with
}

var nothing = &value{}

// module and name are those of a global.
func (v *value) module() string { return v.text[:v.cut] }
func (v *value) name() string   { return v.text[v.cut+1:] }

// item is one of a tuple, or nothing.
func (v *value) item(i int) *value {
	if v.kind != aTuple || i >= len(v.items) {
		return nothing
	}
	return v.items[i]
}

// hold appends items as far as they are kept.
func (v *value) hold(items ...*value) {
	if room := maxHeld - len(v.items); len(items) > room {
		items = items[:max(room, 0)]
	}
	v.items = append(v.items, items...)
}

// key returns what a dictionary has for a key.
func (v *value) key(name string) *value {
	if v == nil || v.kind != aDict {
		return nil
	}
	for i := 0; i+1 < len(v.items); i += 2 {
		if k := v.items[i]; k.kind == aText && k.text == name {
			return v.items[i+1]
		}
	}
	return nil
}

// shown is how a value reads in a finding: what stands in it three deep, for it may stand in
// itself.
func (v *value) shown() string {
	left := maxHeld
	return v.showing(3, &left)
}

// showing looks at so many values at most.
func (v *value) showing(depth int, left *int) string {
	if *left--; *left < 0 {
		return ""
	}
	switch v.kind {
	case aText, someBytes:
		return clip(v.text)
	case aTuple, aList:
		if depth == 0 {
			return "…"
		}
		var all []string
		for _, item := range v.items {
			if s := item.showing(depth-1, left); s != "" {
				all = append(all, s)
			}
			if len(all) == 4 {
				break
			}
		}
		return strings.Join(all, " ")
	case aGlobal:
		return v.text
	}
	return ""
}

// clip shortens a text for a finding.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}
