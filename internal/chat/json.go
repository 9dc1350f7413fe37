package chat

import (
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/quote"
)

// Limits bound what is read. All are required.
type Limits struct {
	MaxBody   int // bytes of one request or one whole answer
	MaxDepth  int // arrays and objects within each other
	MaxValues int // values of one JSON text
	MaxText   int // bytes of one string, decoded
	MaxEvent  int // bytes of one event of a stream
	MaxStream int // bytes of all events of a stream
}

// DefaultLimits fit prompts with a few images: 4 MiB of text, of that a string of
// as many, 64 levels, 512 Ki values, events of 1 MiB and streams of 64 MiB.
func DefaultLimits() Limits {
	return Limits{MaxBody: 4 << 20, MaxDepth: 64, MaxValues: 512 << 10, MaxText: 4 << 20, MaxEvent: 1 << 20, MaxStream: 64 << 20}
}

// A Counted is a body in which what there is to read has been counted, so that it is known
// before what it takes to read it. It is read once, and the body must not change until then.
type Counted struct {
	body []byte
	lim  Limits
	census
	few  [64]int32 // the sizes of the first, so that most bodies are counted once and for nothing
	path [8]step   // where a check begins to write its path
}

// counts are those that have been read.
var counts = sync.Pool{New: func() any { return new(Counted) }}

// Count counts what is in a body.
func Count(body []byte, lim Limits) *Counted {
	c := counts.Get().(*Counted)
	c.body, c.lim = body, lim
	c.census = take(body, lim, c.few[:])
	return c
}

// free gives the room to the next body.
func (c *Counted) free() {
	*c = Counted{}
	counts.Put(c)
}

// Weight returns how many bytes the body and what is read from it take together, at most.
func (c *Counted) Weight() int {
	return cap(c.body) + len(c.body) + c.escaped + c.values*(valueSize+numberSize)
}

const (
	// valueSize is what one value takes in memory, in bytes, beside its text, and
	// numberSize what a number takes that is not written as it was.
	valueSize  = 64
	numberSize = 32
)

// A kind is one of the six of JSON.
type kind uint8

const (
	null kind = iota
	boolean
	number
	text
	array
	object
)

// kindNames say what a value is, for people.
var kindNames = [...]string{null: "null", boolean: "true or false", number: "a number", text: "a string", array: "an array", object: "an object"}

// A value is one JSON value in a form of its own: two texts that mean the same
// make the same value, and a value is written in one way.
type value struct {
	kind  kind
	alien bool     // its name is not in the tables: written only when allowed
	plain bool     // its text was read without escapes, so it is written without
	text  string   // a string, decoded; a number as it is written; "true" or "false"
	items []member // of an array, without names; of an object, in the sender's order
}

// A member is a value in an array or object.
type member struct {
	name string
	value
}

// A Fault is what is wrong with a text, and where: Param is the path of the value,
// such as "messages[2].role", or "" for the whole.
type Fault struct {
	Param string
	Model string // the model that a request names, if as much could be read
	Err   *pavise.Error
}

// Error says what is wrong and where.
func (f *Fault) Error() string { return f.Err.Error() }

// Unwrap returns the error that the sender sees.
func (f *Fault) Unwrap() error { return f.Err }

// NoName is what is wrong with a request for a model whose name is none that a model
// can have here, such as one with a slash.
func NoName(model string) *Fault {
	return &Fault{Param: "model", Err: &pavise.Error{
		Kind: pavise.NotFound, Msg: fmt.Sprintf("%.80q is no name that a model has here", model),
		Hint: "ask under the id of its route; the name that its server has for it is the route's remote",
	}}
}

// A fault is a Fault whose path grows as it travels outwards.
type fault struct{ path, msg, hint string }

func faultf(hint, format string, args ...any) *fault {
	return &fault{msg: fmt.Sprintf(format, args...), hint: hint}
}

// in adds an outer step, the name of a member, to the path.
func (f *fault) in(name string) *fault {
	if f != nil {
		f.path = "." + named(name) + f.path
	}
	return f
}

// item is in for the index of an array's member.
func (f *fault) item(i int) *fault {
	if f != nil {
		f.path = "[" + strconv.Itoa(i) + "]" + f.path
	}
	return f
}

// error returns the fault as one of the given kind.
func (f *fault) error(kind pavise.Kind) *Fault {
	param, msg := strings.TrimPrefix(f.path, "."), f.msg
	if param != "" {
		msg = param + ": " + msg
	}
	return &Fault{Param: param, Err: &pavise.Error{Kind: kind, Msg: msg, Hint: f.hint}}
}

// named is clip for a step of a path, which a name without characters is, too.
func named(name string) string {
	if name == "" {
		return `""`
	}
	return clip(name)
}

// clip returns a name in a form that is fit for messages: short and printable.
func clip(name string) string {
	quoted := strconv.QuoteToGraphic(name[:min(len(name), 40)])
	return quoted[1 : len(quoted)-1]
}

// A census is what a text holds, as far as its brackets, commas and quotes tell. It is
// exact for JSON; for a text that is none it goes no further than a scanner does.
type census struct {
	values  int
	escaped int // bytes of strings that hold an escape
	opened  int // arrays and objects
}

// take counts what is in a text, so that what is read takes as much memory as it needs
// and no more. sizes, which are zero, become how many members the arrays and objects have
// in the order in which they open: the first of them, if there is not room for all.
func take[T string | []byte](text T, lim Limits, sizes []int32) census {
	c := census{values: 1}
	var inside [maxInside]int32 // which of sizes the containers are that are open
	depth, before := 0, byte(0) // before is the last byte that is no white space
	for i := 0; i < len(text) && c.values <= lim.MaxValues; i++ {
		b := text[i]
		switch b {
		case ' ', '\t', '\r', '\n':
			continue
		case '"':
			first := quote.Plain(text, i+1)
			end := closing(text, first)
			if end > first || end < len(text) && text[end] == '\\' {
				c.escaped += end - i
			}
			i = end
		case '[', '{':
			if depth == min(lim.MaxDepth, maxInside) {
				return c
			}
			inside[depth] = int32(c.opened)
			c.opened++
			depth++
		case ',', ']', '}':
			if depth == 0 {
				return c
			}
			if before != '[' && before != '{' {
				c.values++
				if i := int(inside[depth-1]); i < len(sizes) {
					sizes[i]++
				}
			}
			if b != ',' {
				depth--
			}
		}
		before = b
	}
	return c
}

// maxInside is how many levels a census goes down, at most.
const maxInside = 64

// added is how many members a document has room for beside its own: what a policy adds.
const added = 2

// A scanner reads one JSON text from front to back (RFC 8259).
type scanner struct {
	text   string
	pos    int
	depth  int
	values int
	lim    Limits
	sizes  []int32  // of the arrays and objects to come, as take has them
	room   []member // for what is in them; each takes what it needs
	fresh  int      // bytes of strings and numbers that are not pieces of the text
}

// parse reads a JSON text, which is at most lim.MaxBody long.
func parse(body []byte, lim Limits) (v value, f *fault) {
	c := Count(body, lim)
	defer c.free()
	v, _, f = weigh(c)
	return v, f
}

// weigh is parse, and says how many bytes the value takes in memory, with its text.
func weigh(c *Counted) (v value, size int, f *fault) {
	if len(c.body) > c.lim.MaxBody {
		return v, 0, faultf("send less", "more than %d bytes", c.lim.MaxBody)
	}
	s := scanner{text: string(c.body), lim: c.lim, sizes: c.few[:min(c.opened, len(c.few))]}
	if !utf8.ValidString(s.text) {
		return v, 0, faultf("send JSON as UTF-8", "the text is not UTF-8")
	}
	if len(s.sizes) < c.opened { // all of them take memory, which is spoken for by now
		s.sizes = make([]int32, c.opened)
		take(s.text, c.lim, s.sizes)
	}
	s.room = make([]member, c.values-1+added)
	if f = s.value(&v); f != nil {
		return v, 0, f
	}
	if s.peek(); s.pos < len(s.text) {
		return v, 0, s.fault("send one JSON object and nothing behind it", "something follows the JSON text")
	}
	return v, len(s.text) + s.fresh + valueSize*s.values, nil
}

// fault returns a fault at the current byte.
func (s *scanner) fault(hint, format string, args ...any) *fault {
	return faultf(hint, format+", at byte %d", append(args, s.pos)...)
}

// unexpected says that something else stands where want should.
func (s *scanner) unexpected(want string) *fault {
	if s.pos >= len(s.text) {
		return s.fault("send one whole JSON object", "the text ends where %s should be", want)
	}
	r, _ := utf8.DecodeRuneInString(s.text[s.pos:])
	return s.fault("send one JSON object", "%q where %s should be", r, want)
}

// peek moves past white space and returns the next byte, or 0 at the end. A NUL
// byte is no token either, so the two need no telling apart.
func (s *scanner) peek() byte {
	for s.pos < len(s.text) {
		switch c := s.text[s.pos]; c {
		case ' ', '\t', '\r', '\n':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

// value reads one value into v.
func (s *scanner) value(v *value) (f *fault) {
	if s.values++; s.values > s.lim.MaxValues {
		return s.fault("send less", "more than %d values", s.lim.MaxValues)
	}
	switch c := s.peek(); c {
	case '{', '[':
		return s.container(v, c)
	case '"':
		v.kind = text
		v.text, v.plain, f = s.quoted()
		return f
	case 't', 'f', 'n':
		return s.literal(v)
	default:
		if c != '-' && (c < '0' || c > '9') {
			return s.unexpected("a value")
		}
		v.kind = number
		v.text, f = s.number()
		return f
	}
}

// literal reads true, false or null.
func (s *scanner) literal(v *value) *fault {
	for _, l := range [...]value{{kind: boolean, text: "true"}, {kind: boolean, text: "false"}, {kind: null, text: "null"}} {
		if strings.HasPrefix(s.text[s.pos:], l.text) {
			s.pos += len(l.text)
			*v = l
			return nil
		}
	}
	return s.unexpected("a value")
}

// container reads an array or object from its first byte.
func (s *scanner) container(v *value, first byte) *fault {
	if s.depth++; s.depth > s.lim.MaxDepth {
		return s.fault("nest less", "more than %d levels", s.lim.MaxDepth)
	}
	s.pos++
	closing := first + 2 // '[' and ']', '{' and '}' are two apart
	v.kind = array
	if first == '{' {
		v.kind = object
	}
	if len(s.sizes) > 0 {
		n := int(s.sizes[0])
		if s.depth == 1 {
			n += added
		}
		if n = min(n, len(s.room)); n > 0 {
			v.items, s.room = s.room[:0:n], s.room[n:]
		}
		s.sizes = s.sizes[1:]
	}
	for s.peek() != closing {
		if len(v.items) > 0 {
			if s.peek() != ',' {
				return s.unexpected(fmt.Sprintf("',' or %q", closing))
			}
			s.pos++
		}
		i := len(v.items)
		v.items = append(v.items, member{}) // there is room, in a text that goes on as JSON
		if f := s.member(v.kind, &v.items[i], i); f != nil {
			return f
		}
	}
	s.pos++
	s.depth--
	if v.kind == object {
		return twice(v.items)
	}
	return nil
}

// member reads one member, with its name in an object.
func (s *scanner) member(of kind, m *member, i int) *fault {
	if of == array {
		return s.value(&m.value).item(i)
	}
	if s.peek() != '"' {
		return s.unexpected("a key in quotes")
	}
	var f *fault
	if m.name, _, f = s.quoted(); f != nil {
		return f
	}
	if len(m.name) > maxKey {
		return s.fault("shorten it", "a key of %d bytes, more than %d", len(m.name), maxKey)
	}
	if s.peek() != ':' {
		return s.unexpected("':'")
	}
	s.pos++
	if f = s.value(&m.value); f != nil {
		return f.in(m.name)
	}
	return nil
}

// maxKey bounds the name of a member, in bytes.
const maxKey = 256

// few is up to how many members each is compared with each.
const few = 24

// twice refuses members whose names some parser takes for the same: encoding/json
// matches them in whatever case.
func twice(items []member) *fault {
	const hint = "write each key once: parsers differ on which of two counts"
	if len(items) <= few {
		for i := range items {
			for j := range i {
				if strings.EqualFold(items[i].name, items[j].name) {
					return faultf(hint, "key %q appears twice, or in two cases", clip(items[i].name))
				}
			}
		}
		return nil
	}
	// Hashes that nobody can foresee take less room than a map of names, and are compared
	// as fast; where two are alike, the names decide.
	seed := maphash.MakeSeed()
	hashes := make([]uint64, len(items))
	var name []byte
	for i := range items {
		name = appendFolded(name[:0], items[i].name)
		hashes[i] = maphash.Bytes(seed, name)
	}
	slices.Sort(hashes)
	for i := 1; i < len(hashes); i++ {
		if hashes[i] != hashes[i-1] {
			continue
		}
		var alike []member
		for _, m := range items {
			if name = appendFolded(name[:0], m.name); maphash.Bytes(seed, name) == hashes[i] && len(alike) < few {
				alike = append(alike, m)
			}
		}
		if f := twice(alike); f != nil {
			return f
		}
	}
	return nil
}

// quoted reads a string, decoded, and says whether it is plain: written as it is.
func (s *scanner) quoted() (text string, plain bool, f *fault) {
	start := s.pos + 1
	s.pos = quote.Plain(s.text, start)
	switch {
	case s.pos == len(s.text):
		return "", false, s.fault("", "a string without its closing quote")
	case s.text[s.pos] == '\\':
		text, f = s.escaped(start)
		return text, false, f
	case s.text[s.pos] != '"':
		return "", false, s.fault(`write it as an escape, such as \n`, "a bare control character in a string")
	case s.pos-start > s.lim.MaxText:
		return "", false, s.tooLong()
	}
	s.pos++
	return s.text[start : s.pos-1], true, nil
}

// escaped reads on from the first escape of a string that began at start. What stands
// between escapes is taken in one piece.
func (s *scanner) escaped(start int) (string, *fault) {
	var b strings.Builder
	longest := closing(s.text, s.pos) - start // no escape is shorter than what it stands for
	b.Grow(longest)
	s.fresh += longest
	for s.pos < len(s.text) {
		b.WriteString(s.text[start:s.pos])
		switch c := s.text[s.pos]; {
		case b.Len() > s.lim.MaxText:
			return "", s.tooLong()
		case c == '"':
			s.pos++
			return b.String(), nil
		case c != '\\':
			return "", s.fault(`write it as an escape, such as \n`, "a bare control character in a string")
		}
		r, f := s.escape()
		if f != nil {
			return "", f
		}
		b.WriteRune(r)
		start = s.pos
		s.pos = quote.Plain(s.text, start)
	}
	return "", s.fault("", "a string without its closing quote")
}

// closing returns where the string ends in which pos stands, or the text.
func closing[T string | []byte](text T, pos int) int {
	for pos = quote.Plain(text, pos); pos < len(text) && text[pos] == '\\'; {
		pos = quote.Plain(text, min(pos+2, len(text)))
	}
	return pos
}

func (s *scanner) tooLong() *fault {
	return s.fault("shorten it", "a string of more than %d bytes", s.lim.MaxText)
}

// escape reads one escape sequence, of both halves for a surrogate pair.
func (s *scanner) escape() (rune, *fault) {
	r, n, hint, why := quote.Escape(s.text, s.pos)
	if why != "" {
		return 0, s.fault(hint, "%s", why)
	}
	s.pos += n
	return r, nil
}

// maxNumber bounds how long a number is written, in bytes.
const maxNumber = 128

// number reads a number and returns it as it is written anew.
func (s *scanner) number() (string, *fault) {
	start := s.pos
	if s.text[s.pos] == '-' {
		s.pos++
	}
	whole := s.pos
	s.digits()
	first := s.pos
	ok := first > whole && (s.text[whole] != '0' || first == whole+1)
	if s.pos < len(s.text) && s.text[s.pos] == '.' {
		s.pos++
		ok = s.digits() && ok
	}
	if s.pos < len(s.text) && s.text[s.pos]|0x20 == 'e' {
		s.pos++
		if s.pos < len(s.text) && (s.text[s.pos] == '+' || s.text[s.pos] == '-') {
			s.pos++
		}
		ok = s.digits() && ok
	}
	if !ok || s.pos-start > maxNumber {
		return "", s.fault("write numbers as JSON has them, in at most 128 bytes", "a number that JSON does not have")
	}
	written, ok := canonical(s.text[start:s.pos], s.pos == first)
	if !ok {
		return "", s.fault("send finite numbers", "a number beyond what a float64 holds")
	}
	if written != s.text[start:s.pos] {
		s.fresh += numberSize
	}
	return written, nil
}

// digits moves past digits and reports whether there were any.
func (s *scanner) digits() bool {
	start := s.pos
	for s.pos < len(s.text) && '0' <= s.text[s.pos] && s.text[s.pos] <= '9' {
		s.pos++
	}
	return s.pos > start
}

// canonical returns the one way in which a number is written: an integer of 64 bits
// exactly, and any other as the shortest text that reads back as its float64. It is
// false for what is beyond that.
func canonical(literal string, integer bool) (string, bool) {
	if integer && len(literal) <= 18 && literal != "-0" {
		return literal, true
	}
	if integer && literal != "-0" {
		if _, err := strconv.ParseInt(literal, 10, 64); err == nil {
			return literal, true
		}
		if _, err := strconv.ParseUint(literal, 10, 64); err == nil {
			return literal, true
		}
	}
	f, err := strconv.ParseFloat(literal, 64)
	if err != nil || math.IsInf(f, 0) {
		return "", false
	}
	if f == 0 {
		return "0", true
	}
	form := byte('f')
	if a := math.Abs(f); a < 1e-6 || a >= 1e21 {
		form = 'e'
	}
	return strconv.FormatFloat(f, form, -1, 64), true
}
