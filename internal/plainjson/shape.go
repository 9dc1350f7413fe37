package plainjson

// Any is a value of JSON that is looked at and not kept.
type Any struct{}

// UnmarshalJSON takes anything.
func (*Any) UnmarshalJSON([]byte) error { return nil }

// A Shape is what a text of JSON costs to read: each value takes memory of its own, however
// short it is. Brackets and commas in strings count for nothing.
type Shape struct {
	Depth  int // of values in each other
	Nests  int // objects and lists
	Values int // of any kind, or a few less: brackets and commas
	Listed int // commas in lists
}

// MaxDepth is the depth at which ShapeOf looks no further.
const MaxDepth = 256

// ShapeOf is the shape of a text, of its beginning alone where it is deeper than MaxDepth.
// The text need not be JSON. It takes no memory.
func ShapeOf(text []byte) (s Shape) {
	var lists [MaxDepth + 1]bool // at which depths a list is open
	now, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			s.Nests, s.Values = s.Nests+1, s.Values+1
			if now++; now > s.Depth {
				if s.Depth = now; now > MaxDepth {
					return s
				}
			}
			lists[now] = c == '['
		case c == '}' || c == ']':
			now = max(0, now-1)
		case c == ',':
			if s.Values++; lists[now] {
				s.Listed++
			}
		}
	}
	return s
}
