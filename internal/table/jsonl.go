package table

import (
	"bufio"
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/decimal"
	"github.com/pavise/pavise/internal/quote"
)

// maxNesting bounds lists in lists and objects in objects.
const maxNesting = 32

// A jsonSource reads JSONL: a JSON object a line, or a list.
type jsonSource struct {
	f     *File
	lines *lines
	lists bool // rows are lists
	fresh bool // no row has been read yet

	// Of the line that is being read.
	rec  *record
	text []byte
	i    int    // how far it is read
	room []byte // of texts and names with escapes in them
	dims []int  // of the shapes of lists
}

// A refusal is what is wrong with a line; it unwinds the parser.
type refusal struct{ why, hint, column string }

func refuse(why, hint string) *refusal { return &refusal{why: why, hint: hint} }

func newJSONL(f *File, in *bufio.Reader) (source, error) {
	f.unit = "line"
	return &jsonSource{f: f, lines: newLines(f, in), fresh: true}, nil
}

// next implements source. Empty lines are no rows.
func (s *jsonSource) next(r *record) error {
	for {
		line, err := s.lines.next()
		if err != nil {
			return err
		}
		r.raw = line
		if line = bytes.Trim(line, " \t"); len(line) > 0 {
			r.at, r.numbers = s.lines.at, r.numbers[:0] // the cells of other rows stay: there may be many
			s.rec, s.text, s.i, s.room, s.dims = r, line, 0, s.room[:0], s.dims[:0]
			if no := s.row(); no != nil {
				return &pavise.Error{Kind: pavise.Invalid, Msg: s.f.place(r.at, no.column) + ": " + no.why, Hint: no.hint}
			}
			return nil
		}
	}
}

// row reads one line.
func (s *jsonSource) row() *refusal {
	first := s.text[0]
	if first != '{' && first != '[' {
		return refuse("it is no JSON object, and no list", "write one object a line: {\"a\":1,\"b\":2}")
	}
	if s.fresh {
		s.lists = first == '['
		if s.fresh = false; !s.lists {
			s.f.named([]string{})
		}
	}
	var no *refusal
	switch {
	case s.lists != (first == '['):
		return refuse("objects and lists take turns", "write all rows alike")
	case s.lists:
		no = s.listRow()
	default:
		no = s.object()
	}
	if no == nil && s.i < len(s.text) {
		no = s.wrong("something follows the end of the row", "write one object a line")
	}
	return no
}

// wrong refuses what stands at s.i.
func (s *jsonSource) wrong(why, hint string) *refusal {
	return refuse(fmt.Sprintf("%s, at byte %d", why, s.i+1), hint)
}

// object reads a row with names.
func (s *jsonSource) object() *refusal {
	s.i++
	for n := 0; !s.closes('}'); n++ {
		if no := s.between(n); no != nil {
			return no
		}
		column, no := s.key()
		if no != nil {
			return no
		}
		for len(s.rec.cells) <= column {
			s.rec.cells = append(s.rec.cells, cell{})
		}
		if s.rec.cells[column].at == s.rec.at {
			return s.wrong(fmt.Sprintf("the key %q appears twice", s.f.names[column]), "")
		}
		c, no := s.value()
		if no != nil {
			no.column = s.f.names[column]
			return no
		}
		c.at = s.rec.at
		s.rec.cells[column] = c
	}
	return nil
}

// key reads the name of a column and its colon, and returns the column, a new one where the
// name has not been seen.
func (s *jsonSource) key() (int, *refusal) {
	name, no := s.string()
	if no != nil {
		return 0, no
	}
	if s.skip(); s.i == len(s.text) || s.text[s.i] != ':' {
		return 0, s.wrong("a colon is missing behind a key", "")
	}
	s.i++
	if i, known := s.f.index[string(name)]; known {
		return i, nil
	}
	if why := nameFault(string(name)); why != "" {
		return 0, refuse("the name of a column "+why, "")
	}
	if len(s.f.names) == maxKeys {
		return 0, refuse(fmt.Sprintf("there are more than %d different keys", maxKeys), "put numbers that belong together into one list")
	}
	s.f.names = append(s.f.names, string(name))
	s.f.index[string(name)] = len(s.f.names) - 1
	return len(s.f.names) - 1, nil
}

// listRow reads a row whose columns are counted.
func (s *jsonSource) listRow() *refusal {
	s.i++
	s.rec.cells = s.rec.cells[:0]
	for n := 0; !s.closes(']'); n++ {
		if no := s.between(n); no != nil {
			return no
		}
		c, no := s.value()
		if no != nil {
			no.column = strconv.Itoa(n)
			return no
		}
		c.at = s.rec.at
		if s.rec.cells = append(s.rec.cells, c); len(s.rec.cells) > maxColumns {
			return refuse(fmt.Sprintf("it has more than %d values", maxColumns), "")
		}
	}
	switch n := len(s.rec.cells); {
	case n == 0:
		return refuse("the list is empty", "")
	case s.rec.cells[0].kind == other:
		return refuse("it is a list of rows", "write one row a line: jq -c '.[]'")
	case s.f.counted == 0:
		s.f.counted = n
	case s.f.counted != n:
		return refuse(fmt.Sprintf("it has %d values, and the first row has %d", n, s.f.counted), "every row has as many values")
	}
	return nil
}

// skip skips space.
func (s *jsonSource) skip() {
	for s.i < len(s.text) && (s.text[s.i] == ' ' || s.text[s.i] == '\t') {
		s.i++
	}
}

// closes takes a closing bracket, if it is next.
func (s *jsonSource) closes(bracket byte) bool {
	s.skip()
	if s.i < len(s.text) && s.text[s.i] == bracket {
		s.i++
		return true
	}
	return false
}

// between takes the comma before every item but the first.
func (s *jsonSource) between(n int) *refusal {
	if n > 0 {
		if s.i == len(s.text) || s.text[s.i] != ',' {
			return s.wrong("a comma or the end is missing", "")
		}
		s.i++
	}
	s.skip()
	if s.i == len(s.text) {
		return s.wrong("the line ends too early", "one row is one line")
	}
	return nil
}

// value reads a cell.
func (s *jsonSource) value() (cell, *refusal) {
	s.skip()
	if s.i == len(s.text) {
		return cell{}, s.wrong("the line ends too early", "one row is one line")
	}
	switch s.text[s.i] {
	case '"':
		t, no := s.string()
		return cell{kind: text, text: t}, no
	case '[':
		c := cell{kind: list, from: len(s.rec.numbers)}
		shape, no := s.list(0)
		if no != nil {
			return c, no
		}
		if shape == nil { // not numbers alone
			s.rec.numbers = s.rec.numbers[:c.from]
			return cell{kind: other}, nil
		}
		if len(shape) > 1 {
			c.rows = shape[0]
		}
		c.to = len(s.rec.numbers)
		return c, nil
	case '{':
		return cell{kind: other}, s.nested(0)
	}
	return s.scalar()
}

// scalar reads a number, or one of the words of JSON.
func (s *jsonSource) scalar() (cell, *refusal) {
	rest := s.text[s.i:]
	if c := rest[0]; (c == '-' || '0' <= c && c <= '9') && !bytes.HasPrefix(rest, []byte("-I")) {
		var n decimal.Number
		if hint, why := n.Scan(rest); why != "" {
			return cell{}, s.wrong(why, hint)
		}
		s.i += len(n.Text)
		v := n.Float(64)
		if !finite(v) {
			return cell{}, s.wrong(fmt.Sprintf("%.40s is beyond what a number can be", n.Text), "")
		}
		return cell{kind: number, text: n.Text, number: v}, nil
	}
	for _, w := range words {
		if bytes.HasPrefix(rest, []byte(w.text)) {
			if w.c.kind == number && !finite(w.c.number) {
				return cell{}, s.wrong(w.text+" is no number of JSON", "clean the data, or fill the gap with a number")
			}
			s.i += len(w.text)
			return w.c, nil
		}
	}
	return cell{}, s.wrong(fmt.Sprintf("%.20q is no value of JSON", rest), "")
}

// words are the words of JSON, and those that Python writes in their place. A truth value
// is the number 1 or 0, as in NumPy.
var words = []struct {
	text string
	c    cell
}{
	{"null", cell{}},
	{"true", cell{kind: number, number: 1, text: []byte("true")}},
	{"false", cell{kind: number, number: 0, text: []byte("false")}},
	{"NaN", cell{kind: number, number: math.NaN()}},
	{"Infinity", cell{kind: number, number: math.Inf(1)}},
	{"-Infinity", cell{kind: number, number: math.Inf(-1)}},
}

// list reads a list onto the numbers and returns its shape; nil when it holds something
// else than numbers, or lists of one shape.
func (s *jsonSource) list(depth int) (shape []int, no *refusal) {
	if depth == maxNesting {
		return nil, s.wrong(fmt.Sprintf("it is nested more than %d deep", maxNesting), "")
	}
	s.i++
	var inner []int // the shape of every item
	n, same, held := 0, true, len(s.dims)
	for ; !s.closes(']'); n++ {
		if no := s.between(n); no != nil {
			return nil, no
		}
		item, odd, no := s.item(depth)
		if no != nil {
			return nil, no
		}
		if n == 0 {
			inner, held = item, len(s.dims)
		}
		same = same && !odd && slices.Equal(inner, item)
		s.dims = s.dims[:held]
	}
	if !same {
		return nil, nil
	}
	held = len(s.dims)
	s.dims = append(append(s.dims, n), inner...)
	return s.dims[held:], nil
}

// item reads one item of a list and returns its shape, that of a number being empty. It is
// odd when it is something else.
func (s *jsonSource) item(depth int) (shape []int, odd bool, no *refusal) {
	switch s.text[s.i] {
	case '[':
		shape, no = s.list(depth + 1)
		return shape, shape == nil, no
	case '{':
		return nil, true, s.nested(depth + 1)
	case '"':
		_, no = s.string()
		return nil, true, no
	}
	c, no := s.scalar()
	if no == nil && c.kind == number {
		s.rec.numbers = append(s.rec.numbers, c.number)
	}
	return nil, c.kind != number, no
}

// nested reads an object inside of a row, whose content nobody asks for.
func (s *jsonSource) nested(depth int) *refusal {
	if depth == maxNesting {
		return s.wrong(fmt.Sprintf("it is nested more than %d deep", maxNesting), "")
	}
	s.i++
	held := len(s.rec.numbers)
	seen := map[string]bool{}
	for n := 0; !s.closes('}'); n++ {
		if no := s.between(n); no != nil {
			return no
		}
		name, no := s.string()
		if no != nil {
			return no
		}
		if seen[string(name)] {
			return s.wrong(fmt.Sprintf("the key %.80q appears twice", name), "")
		}
		seen[string(name)] = true
		if s.skip(); s.i == len(s.text) || s.text[s.i] != ':' {
			return s.wrong("a colon is missing behind a key", "")
		}
		if s.i++; s.i < len(s.text) {
			s.skip()
		}
		if s.i == len(s.text) {
			return s.wrong("the line ends too early", "one row is one line")
		}
		if _, _, no := s.item(depth); no != nil {
			return no
		}
		s.rec.numbers = s.rec.numbers[:held]
	}
	return nil
}

// string reads a string. What it returns is good while the line is.
func (s *jsonSource) string() ([]byte, *refusal) {
	if s.i == len(s.text) || s.text[s.i] != '"' {
		return nil, s.wrong("a quote is missing", "")
	}
	s.i++
	start, from := s.i, len(s.room)
	for {
		end := quote.Plain(s.text, s.i)
		if end == len(s.text) {
			return nil, s.wrong("a text does not end", "one row is one line")
		}
		switch s.text[end] {
		case '"':
			t := s.text[start:end:end]
			if len(s.room) > from {
				s.room = append(s.room, s.text[s.i:end]...)
				t = s.room[from:len(s.room):len(s.room)]
			}
			s.i = end + 1
			return t, nil
		case '\\':
			r, n, hint, why := quote.Escape(s.text, end)
			if r == 0 && why == "" {
				hint, why = "", "a text has NUL in it"
			}
			if why != "" {
				s.i = end
				return nil, s.wrong(why, hint)
			}
			s.room = utf8.AppendRune(append(s.room, s.text[s.i:end]...), r)
			s.i = end + n
		default:
			s.i = end
			return nil, s.wrong("a control character stands in a text", "write it as \\n, \\t or \\u....")
		}
	}
}
