package chat

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// A shape says what may stand at one place. What stands there is told apart by its
// kind of JSON alone, so that no text fits in two ways. A part that is nil takes
// nothing of its kind.
type shape struct {
	null bool // null is a value here, not an absence
	flag bool
	num  *span
	str  *wording
	list *listing
	obj  *listed
	free bool // any JSON at all
}

// A span is the range of a number.
type span struct {
	min, max float64 // both are allowed
	whole    bool    // integers of 64 bits
}

// A wording is the form of a string.
type wording struct {
	min, max int                        // bytes
	among    []string                   // nothing else, if there are any
	word     bool                       // printable characters only
	fault    func(s string) (is string) // what is wrong with it, or ""
}

// A listing is the form of an array.
type listing struct {
	min, max int
	of       *shape
}

// A listed object has fields by name; or else any names, all of one shape; or else
// the fields of the case that its tag names.
type listed struct {
	fields map[string]field
	need   []string
	of     *shape
	max    int // members, with of
	tag    string
	cases  map[string]*shape
	usual  string // the case without a tag, if there is one
}

// A field is a shape with its name.
type field struct {
	name string
	need bool
	*shape
}

// The words that shapes are written in.
var (
	flag    = &shape{flag: true}
	free    = &shape{free: true}
	nothing = &shape{} // a name that is known, and may say null only
)

func texts(least, most int) *shape    { return &shape{str: &wording{min: least, max: most}} }
func words(most int) *shape           { return &shape{str: &wording{min: 1, max: most, word: true}} }
func among(list ...string) *shape     { return &shape{str: &wording{max: 64, among: list}} }
func ints(least, most float64) *shape { return &shape{num: &span{least, most, true}} }
func nums(least, most float64) *shape { return &shape{num: &span{least, most, false}} }

func formed(most int, fault func(string) string) *shape {
	return &shape{str: &wording{max: most, fault: fault}}
}

func listOf(least, most int, of *shape) *shape {
	return &shape{list: &listing{least, most, of}}
}

// mapOf is an object of any names.
func mapOf(most int, of *shape) *shape { return &shape{obj: &listed{of: of, max: most}} }

// freely is an object that may hold anything.
func freely() *shape { return mapOf(1<<16, free) }

// need and may are fields of an object.
func need(name string, s *shape) field { return field{name, true, s} }
func may(name string, s *shape) field  { return field{name, false, s} }

// fields is an object of known names.
func fields(list ...field) *shape {
	o := &listed{fields: make(map[string]field, len(list))}
	for _, f := range list {
		o.fields[f.name] = f
		if f.need {
			o.need = append(o.need, f.name)
		}
	}
	return &shape{obj: o}
}

// tagged is an object whose fields depend on the string that one of them holds.
func tagged(tag, usual string, cases map[string]*shape) *shape {
	return &shape{obj: &listed{tag: tag, usual: usual, cases: cases}}
}

// either is what two shapes take together, which differ in the kind of JSON.
func either(a, b *shape) *shape {
	s := *a
	s.null, s.flag, s.free = a.null || b.null, a.flag || b.flag, a.free || b.free
	if b.num != nil {
		s.num = b.num
	}
	if b.str != nil {
		s.str = b.str
	}
	if b.list != nil {
		s.list = b.list
	}
	if b.obj != nil {
		s.obj = b.obj
	}
	return &s
}

// orNull is a shape that takes null, too.
func orNull(s *shape) *shape { return either(s, &shape{null: true}) }

// maxUnknown bounds the fields of a request that the tables do not have, and those of one
// object that say null, which says nothing.
const maxUnknown = 64

// A checker holds a value to a shape. In a request it marks what it does not know
// and lists it; out of an answer it takes it.
type checker struct {
	answer  bool
	unknown *[]string // those of a request
	path    []step    // to the value at hand in a request, for unknown
}

// A step leads to a member: by its name, or in an array by its index.
type step struct {
	name  string
	index int
	array bool
}

// check says what is wrong with the value, or nil.
func (c *checker) check(v *value, s *shape) *fault {
	switch {
	case s.free, v.kind == null && s.null, v.kind == boolean && s.flag:
		return nil
	case v.kind == number && s.num != nil:
		return s.num.check(v.text)
	case v.kind == text && s.str != nil:
		return s.str.check(v.text)
	case v.kind == array && s.list != nil:
		return c.array(v, s.list)
	case v.kind == object && s.obj != nil:
		return c.object(v, s.obj)
	}
	return faultf("it takes "+s.takes(), "%s stands here", kindNames[v.kind])
}

// takes says what a shape takes, for people.
func (s *shape) takes() string {
	var list []string
	for _, k := range []struct {
		kind kind
		ok   bool
	}{{null, s.null}, {boolean, s.flag}, {number, s.num != nil}, {text, s.str != nil}, {array, s.list != nil}, {object, s.obj != nil}} {
		if k.ok {
			list = append(list, kindNames[k.kind])
		}
	}
	if len(list) == 0 {
		return "nothing: leave it out"
	}
	return strings.Join(list, ", or ")
}

func (r *span) check(written string) *fault {
	f, err := strconv.ParseFloat(written, 64)
	if r.whole {
		_, err = strconv.ParseInt(written, 10, 64)
	}
	switch {
	case err != nil:
		return faultf("write it without a fraction", "%s is no integer of 64 bits", written)
	case f < r.min || f > r.max:
		return faultf("choose one within", "%s is not between %v and %v", written, r.min, r.max)
	}
	return nil
}

func (w *wording) check(s string) *fault {
	switch {
	case len(w.among) > 0:
		if !slices.Contains(w.among, s) {
			return faultf("it takes "+strings.Join(w.among, ", "), "%q is not known here", clip(s))
		}
		return nil
	case len(s) < w.min:
		return faultf("fill it in", "a string of %d bytes, fewer than %d", len(s), w.min)
	case len(s) > w.max:
		return faultf("shorten it", "a string of %d bytes, more than %d", len(s), w.max)
	case w.fault != nil:
		if is := w.fault(s); is != "" {
			return faultf("", "the string %s", is)
		}
	case w.word:
		for _, r := range s {
			if !unicode.IsPrint(r) {
				return faultf("use printable characters", "it holds %U, which does not print", r)
			}
		}
	}
	return nil
}

func (c *checker) array(v *value, l *listing) *fault {
	if len(v.items) < l.min || len(v.items) > l.max {
		return faultf("", "%d members, not %d to %d", len(v.items), l.min, l.max)
	}
	for i := range v.items {
		c.enter(step{index: i, array: true})
		if f := c.check(&v.items[i].value, l.of); f != nil {
			return f.item(i)
		}
		c.leave()
	}
	return nil
}

// enter is the way to a member, which a request's unknown fields are told by.
func (c *checker) enter(s step) {
	if !c.answer {
		c.path = append(c.path, s)
	}
}

// leave is the way back.
func (c *checker) leave() {
	if !c.answer {
		c.path = c.path[:len(c.path)-1]
	}
}

func (c *checker) object(v *value, o *listed) *fault {
	if o.tag != "" {
		return c.tagged(v, o)
	}
	if o.of != nil && len(v.items) > o.max {
		return faultf("", "%d members, more than %d", len(v.items), o.max)
	}
	found, gone, silent := 0, false, 0
	for i := range v.items {
		m := &v.items[i]
		s := o.of
		if s == nil {
			f, ok := o.fields[m.name]
			if !ok {
				if m.kind == null {
					silent++
				}
				if fault := c.stranger(m, o, silent); fault != nil {
					return fault
				}
				gone = gone || c.answer
				continue
			}
			if m.kind == null && !f.null && !f.need { // the same as leaving it out
				m.alien, gone = true, true
				continue
			}
			if f.need {
				found++
			}
			s = f.shape
		}
		if f := c.within(m, s); f != nil {
			return f.in(m.name)
		}
	}
	if found < len(o.need) {
		return missing(v, o)
	}
	if gone {
		c.sweep(v, o)
	}
	return nil
}

// within checks a member, and knows its path meanwhile.
func (c *checker) within(m *member, s *shape) *fault {
	if s.obj == nil && s.list == nil {
		return c.check(&m.value, s)
	}
	c.enter(step{name: m.name})
	if f := c.check(&m.value, s); f != nil {
		return f
	}
	c.leave()
	return nil
}

// stranger notes a member that no field has. One that differs from a field's name
// in case only is refused: some parser would take it for the field. silent is how many of
// the object say null.
func (c *checker) stranger(m *member, o *listed, silent int) *fault {
	if silent > maxUnknown && !c.answer {
		return faultf("leave them out", "more than %d fields that nobody knows and that say nothing", maxUnknown)
	}
	for name := range o.fields {
		if !c.answer && strings.EqualFold(name, m.name) {
			return faultf("write it as "+name, "key %q differs from %q in case only, and parsers differ on whether that matters", clip(m.name), name)
		}
	}
	m.alien = true
	if c.answer || m.kind == null { // which says nothing
		return nil
	}
	if len(*c.unknown) == maxUnknown {
		return faultf("leave them out", "more than %d fields that nobody knows", maxUnknown)
	}
	*c.unknown = append(*c.unknown, c.pathTo(m.name))
	return nil
}

// pathTo spells the path to a member of the object at hand.
func (c *checker) pathTo(name string) string { return spell(append(c.path, step{name: name})) }

// spell writes a path: "messages[2].role".
func spell(path []step) string {
	var b strings.Builder
	for _, s := range path {
		if s.array {
			fmt.Fprintf(&b, "[%d]", s.index)
		} else {
			b.WriteString("." + named(s.name))
		}
	}
	return strings.TrimPrefix(b.String(), ".")
}

// sweep takes out members that say nothing, and those of an answer that are not
// known. Those of a request stay, marked, for a policy to decide.
func (c *checker) sweep(v *value, o *listed) {
	v.items = slices.DeleteFunc(v.items, func(m member) bool {
		_, known := o.fields[m.name]
		return m.alien && (known || c.answer)
	})
}

func missing(v *value, o *listed) *fault {
	for _, name := range o.need {
		if v.get(name) == nil {
			return faultf("add it", "%q is missing", name)
		}
	}
	return nil
}

// tagged checks an object as the case that its tag names.
func (c *checker) tagged(v *value, o *listed) *fault {
	tag := v.get(o.tag)
	if tag == nil && o.usual != "" {
		tag = &value{kind: text, text: o.usual}
	}
	if tag == nil {
		return faultf("add it", "%q is missing", o.tag)
	}
	s := o.cases[tag.text]
	if tag.kind != text || s == nil {
		known := make([]string, 0, len(o.cases))
		for name := range o.cases {
			known = append(known, name)
		}
		slices.Sort(known)
		return faultf("it takes "+strings.Join(known, ", "), "%q is not known here", clip(tag.text)).in(o.tag)
	}
	return c.check(v, s)
}
