package table

import (
	"bytes"
	"cmp"
	"errors"
	"math"
	"slices"
	"strconv"
)

// A Matrix is a table of numbers, row by row: the element in row i and column j is
// Data[i*Cols+j]. It converts to learn.Matrix.
type Matrix struct {
	Rows, Cols int
	Data       []float32
}

// Codes are the numbers of texts, by column: the number of a text is its place in the list.
type Codes map[string][]string

// A Selection says what Read takes from a file. The zero value takes every column as a
// feature.
type Selection struct {
	Features []string // in this order; nil for all that the first row has but Label and Omit
	Omit     []string // no features
	Label    string   // the column with the class; none if empty
	// Codes fixes the numbers of texts, of Label too. A text that its column does not list
	// is refused, or, with Unknown and in a feature, gets the number after the last. Columns
	// that are not here get codes of their own.
	Codes   Codes
	Unknown bool
	Most    int // rows to read; 0 for all
}

// A Set is what Read has read: X has a row for each class in Y.
type Set struct {
	X        Matrix
	Features []string // of the columns of X; those of a list are "pixels.0", "pixels.1", ...
	Columns  []string // of the file that X is of: what Selection.Features takes to read another one alike
	Y        []int    // classes, from 0; nil without a label
	Classes  []string // by class; where labels are whole numbers from 0 on, the class is the number
	Codes    Codes    // of the columns of texts, without the label
}

// Bounds on what Read holds.
const (
	maxNumbers = 1 << 28 // in a matrix: 1 GiB
	maxRows    = 1 << 26
	maxValues  = 1 << 17 // different texts of a column, and classes
	maxText    = 1 << 10 // bytes of a text that gets a code
)

// Read reads the rows that f has left. Errors are of kind Invalid, and name the row and the
// column.
func Read(f *File, s Selection) (*Set, error) {
	c := collector{f: f, s: s, set: &Set{Codes: Codes{}}}
	for row, err := range f.Rows() {
		if err != nil {
			return nil, err
		}
		if c.columns == nil && c.labels == nil {
			if err := c.begin(row); err != nil {
				return nil, err
			}
		}
		if err := c.add(row); err != nil {
			return nil, err
		}
		if c.set.X.Rows == s.Most {
			break
		}
	}
	if c.set.X.Rows == 0 {
		return nil, f.fault("", "no rows are left in it")
	}
	return c.set, c.end()
}

// A collector puts a Set together, row by row.
type collector struct {
	f       *File
	s       Selection
	set     *Set
	columns []feature
	labels  *values // nil without a label
	room    []float64
}

// A feature is one column that goes into the matrix.
type feature struct {
	column int
	from   int // the first of its columns in the matrix
	width  int
	texts  *values // nil for numbers
}

// values numbers the texts of a column as they appear.
type values struct {
	list  []string
	index map[string]int
	fixed bool // by the caller
}

// values returns the numbers of a column's texts, to begin with.
func (c *collector) values(column string) (*values, error) {
	list, fixed := c.s.Codes[column]
	v := &values{list: list, index: map[string]int{}, fixed: fixed}
	for i, t := range list {
		if _, twice := v.index[t]; twice {
			return nil, invalid("the codes of column %.80q have %.60q twice", column, t)
		}
		v.index[t] = i
	}
	return v, nil
}

func (v *values) add(t string) int {
	i, ok := v.index[t]
	if !ok {
		i = len(v.list)
		v.list = append(v.list, t)
		v.index[t] = i
	}
	return i
}

// begin chooses the columns by the first row.
func (c *collector) begin(row Row) error {
	features := c.s.Features
	if features == nil {
		features = slices.DeleteFunc(c.f.Columns(), func(name string) bool {
			return name == c.s.Label || slices.Contains(c.s.Omit, name)
		})
	}
	for _, name := range c.s.Omit {
		if _, err := row.find(name); err != nil {
			return err
		}
	}
	if c.s.Label != "" {
		if _, err := row.find(c.s.Label); err != nil {
			return err
		}
		var err error
		if c.labels, err = c.values(c.s.Label); err != nil {
			return err
		}
	}
	c.columns = make([]feature, 0, len(features))
	for _, name := range features {
		if err := c.feature(row, name); err != nil {
			return err
		}
	}
	c.set.X.Cols = len(c.set.Features)
	if len(c.columns) == 0 && c.labels == nil {
		return c.f.fault("", "no columns are left to read")
	}
	return nil
}

// feature decides how a column goes into the matrix.
func (c *collector) feature(row Row, name string) error {
	i, err := row.find(name)
	if err != nil {
		return err
	}
	col := feature{column: i, from: len(c.set.Features), width: 1}
	got := c.f.now.get(i)
	_, fixed := c.s.Codes[name]
	switch {
	case got.kind == list:
		col.width = got.to - got.from
		for k := range col.width {
			c.set.Features = append(c.set.Features, name+"."+strconv.Itoa(k))
		}
	case isDecimalComma(got) && !fixed:
		return row.fault(i, "write numbers with a point; or say that the column is text", "%.60q is a number with a comma", got.text)
	case fixed || isText(got):
		if col.texts, err = c.values(name); err != nil {
			return err
		}
		fallthrough
	default:
		c.set.Features = append(c.set.Features, name)
	}
	c.columns, c.set.Columns = append(c.columns, col), append(c.set.Columns, name)
	return nil
}

// isText tells a column of texts by its first cell. An empty one tells nothing, and is
// refused as a number.
func isText(c cell) bool {
	_, why := parse(c.text)
	return c.kind == text && why != "" && len(c.text) > 0
}

// isDecimalComma tells a number as much of the world writes it. Taken for a text it would
// get a code, in silence.
func isDecimalComma(c cell) bool {
	if c.kind != text || bytes.Count(c.text, []byte(",")) != 1 {
		return false
	}
	_, why := parse(bytes.Replace(c.text, []byte(","), []byte("."), 1))
	return why == ""
}

// add adds a row.
func (c *collector) add(row Row) error {
	x := &c.set.X
	if len(x.Data)+x.Cols > maxNumbers || x.Rows == maxRows {
		return c.f.fault("read fewer rows or columns", "it has more than %d rows or %d numbers, which are held at once", maxRows, maxNumbers)
	}
	for _, col := range c.columns {
		if err := c.number(row, col); err != nil {
			return err
		}
	}
	x.Rows++
	if c.labels == nil {
		return nil
	}
	i, err := row.find(c.s.Label)
	if err != nil {
		return err
	}
	y, err := c.code(row, i, c.labels)
	c.set.Y = append(c.set.Y, y)
	return err
}

// number adds the numbers of a cell.
func (c *collector) number(row Row, col feature) (err error) {
	x := &c.set.X
	if col.texts != nil {
		code, err := c.code(row, col.column, col.texts)
		x.Data = append(x.Data, float32(code))
		return err
	}
	if c.room, err = row.append(c.room[:0], col.column); err != nil {
		return err
	}
	if len(c.room) != col.width {
		return row.fault(col.column, "every row has lists of one length", "it has %d numbers, and the first row has %d", len(c.room), col.width)
	}
	for _, v := range c.room {
		single := float32(v)
		if math.IsInf(float64(single), 0) && !math.IsInf(v, 0) {
			return row.fault(col.column, "scale the column", "%v is beyond what a number of 32 bits can be", v)
		}
		x.Data = append(x.Data, single)
	}
	return nil
}

// code returns the number of the text in a cell.
func (c *collector) code(row Row, i int, v *values) (int, error) {
	t, err := row.text(i)
	switch {
	case err != nil:
		return 0, err
	case len(t) > maxText:
		return 0, row.fault(i, "leave the column out", "a text of %d bytes is longer than a code stands for, %d", len(t), maxText)
	case v == c.labels && t == "":
		return 0, row.fault(i, "", "the row has no label")
	}
	if k, ok := v.index[t]; ok {
		return k, nil
	}
	if !v.fixed {
		if n, why := parse([]byte(t)); v != c.labels && why == "" && finite(n) {
			return 0, row.fault(i, "fill the gap with a number; or say that the column is text",
				"%.60q is a number, and the column begins with %.60q, which is none", t, v.list[0])
		}
		if k := v.add(t); k < maxValues {
			return k, nil
		}
		return 0, row.fault(i, "is it a number, or a name of rows? leave it out", "the column has more than %d different texts", maxValues)
	}
	if c.s.Unknown && v != c.labels {
		return len(v.list), nil
	}
	return 0, row.fault(i, "", "%.60q is none of the %d texts that the column can have", t, len(v.list))
}

// end numbers the texts as asked for.
func (c *collector) end() error {
	for _, col := range c.columns {
		if col.texts == nil {
			continue
		}
		c.set.Codes[c.f.columnName(col.column)] = col.texts.list
		if places := c.order(col.texts); places != nil {
			for i := col.from; i < len(c.set.X.Data); i += c.set.X.Cols {
				c.set.X.Data[i] = float32(places[int(c.set.X.Data[i])])
			}
			c.set.Codes[c.f.columnName(col.column)] = permuted(col.texts.list, places)
		}
	}
	if c.labels != nil {
		return c.endLabels()
	}
	return nil
}

// endLabels numbers the classes: by their own numbers where they have such.
func (c *collector) endLabels() error {
	c.set.Classes = c.labels.list
	if c.labels.fixed {
		return nil
	}
	numbers, err := wholes(c.labels.list)
	places := numbers
	switch {
	case err != nil:
		return c.f.fault("name the classes, or number them from 0", "column %.80q: %v", c.s.Label, err)
	case numbers != nil:
		c.set.Classes = make([]string, slices.Max(numbers)+1)
		for i := range c.set.Classes {
			c.set.Classes[i] = strconv.Itoa(i)
		}
	default:
		if places = c.order(c.labels); places == nil {
			return nil
		}
		c.set.Classes = permuted(c.labels.list, places)
	}
	for i, y := range c.set.Y {
		c.set.Y[i] = places[y]
	}
	return nil
}

// wholes reads texts as whole numbers from 0 on; nil when some are none. Fractions are no
// classes: who asks for them has taken another column than they think.
func wholes(list []string) ([]int, error) {
	numbers, fraction, negative := make([]int, len(list)), "", false
	for i, t := range list {
		v, why := parse([]byte(t))
		switch {
		case why != "":
			return nil, nil
		case v != math.Trunc(v) || math.IsInf(v, 0):
			fraction = cmp.Or(fraction, t)
		case v < 0:
			negative = true
		case v >= maxValues:
			return nil, errors.New(t + " is too large for the number of a class")
		default:
			numbers[i] = int(v)
		}
	}
	if fraction != "" {
		return nil, errors.New(fraction + " is the name of no class")
	}
	if negative {
		return nil, nil
	}
	return numbers, nil
}

// order returns the place of each text when they are sorted; nil where they stay as they
// are.
func (c *collector) order(v *values) []int {
	if v.fixed {
		return nil
	}
	sorted := make([]int, len(v.list))
	for i := range sorted {
		sorted[i] = i
	}
	slices.SortFunc(sorted, func(a, b int) int { return cmp.Compare(v.list[a], v.list[b]) })
	places := make([]int, len(sorted))
	for place, i := range sorted {
		places[i] = place
	}
	return places
}

func permuted(list []string, places []int) []string {
	out := make([]string, len(list))
	for i, t := range list {
		out[places[i]] = t
	}
	return out
}
