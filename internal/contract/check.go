package contract

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pavise/pavise/internal/table"
)

// What a checker keeps.
const (
	maxDistinct = 4 << 20 // values of one promise of uniqueness, 16 bytes each and the map around them
	maxFirst    = 10      // rows that a breach names
)

// A Breach is a promise that was not kept.
type Breach struct {
	Property string   `json:"property,omitempty"` // empty: it is of the whole schema
	Rule     string   `json:"rule"`               // column, required, type, minimum …, unique, or a metric's name
	Rows     uint64   `json:"rows,omitempty"`     // so many rows break it; 0: it is of no row alone
	First    []uint64 `json:"first,omitempty"`    // the first of them, counted from 1 without a header
	Words    string   `json:"words"`              // what is wrong, of the first
}

// A Report is how rows stand beside a contract.
type Report struct {
	Rows      uint64   `json:"rows"`
	Kept      bool     `json:"kept"` // there is no breach
	Breaches  []Breach `json:"breaches"`
	Unchecked []string `json:"unchecked"` // promises that nothing here can hold data to
}

// A column is a property as it is checked.
type column struct {
	property *Property
	at       int                 // its place in the rows; -1: they do not have it yet
	typed    func(*value) string // whether a value is of the type
	tests    []test              // what else is promised of a value
	distinct *distinct           // of a unique property, and of one whose duplicates are counted
	counts   []*count            // quality rules
}

// A count is a quality rule with what it has counted.
type count struct {
	rule    Quality
	bad     func(v *value) bool // whether a row counts; v is nil where there is nothing
	n       uint64
	columns []int     // of a rule over several properties: their places among the schema's
	set     *distinct // of duplicateValues
}

// numeric reports whether the property's values are numbers, or may be: 007 and 7 are one
// number and two texts.
func (c *column) numeric() bool {
	switch c.property.LogicalType {
	case "", "integer", "number":
		return true
	}
	return false
}

// compiled is a schema that is ready to be held to rows.
type compiled struct {
	columns   []column
	whole     []*count // rules of the whole schema
	primary   []int    // the columns of the primary key
	key       *distinct
	unchecked []string
}

// compile makes a schema's promises tests. What cannot be read is an error, and what
// cannot be tested is said.
func compile(s *Schema) (*compiled, error) {
	c := &compiled{unchecked: []string{}}
	if s.Relationships != nil {
		c.unchecked = append(c.unchecked, "relationships of the schema")
	}
	index := map[string]int{}
	for i := range s.Properties {
		p := &s.Properties[i]
		col, unchecked, err := compileProperty(p)
		if err != nil {
			return nil, fmt.Errorf("property %.80q: %w", p.Name, err)
		}
		for _, u := range unchecked {
			c.unchecked = append(c.unchecked, p.Name+": "+u)
		}
		if p.PrimaryKey {
			c.primary = append(c.primary, i)
		}
		index[p.Name] = i
		c.columns = append(c.columns, col)
	}
	if len(c.primary) > 0 {
		c.key = newDistinct()
	}
	for _, q := range s.Quality {
		n, unchecked, err := compileQuality(q, index)
		if err != nil {
			return nil, fmt.Errorf("quality: %w", err)
		}
		if unchecked != "" {
			c.unchecked = append(c.unchecked, unchecked)
			continue
		}
		c.whole = append(c.whole, n)
	}
	return c, nil
}

func compileProperty(p *Property) (column, []string, error) {
	c := column{property: p, at: -1}
	known, ok := options[p.LogicalType]
	if !ok {
		return c, nil, fmt.Errorf("logicalType is %.40q, which the standard does not have", p.LogicalType)
	}
	for _, name := range p.LogicalTypeOptions.given() {
		if !slices.Contains(known, name) {
			return c, nil, fmt.Errorf("logicalTypeOptions has %s, which means nothing of type %q", name, p.LogicalType)
		}
	}
	unchecked, err := c.compileValues()
	if err == nil {
		err = c.compileEnum()
	}
	if err != nil {
		return c, nil, err
	}
	if p.Unique {
		c.distinct = newDistinct()
	}
	for _, q := range p.Quality {
		n, cannot, err := compileQuality(q, nil)
		if err != nil {
			return c, nil, fmt.Errorf("quality: %w", err)
		}
		if cannot != "" {
			unchecked = append(unchecked, cannot)
			continue
		}
		c.counts = append(c.counts, n)
	}
	if p.Relationships != nil {
		unchecked = append(unchecked, "its relationships")
	}
	if p.Properties != nil || p.Items != nil || p.Map != nil {
		unchecked = append(unchecked, "what is inside it")
	}
	return c, unchecked, nil
}

// compileValues makes the tests of a property's values.
func (c *column) compileValues() (unchecked []string, err error) {
	p := c.property
	o := p.LogicalTypeOptions
	if o == nil {
		o = &Options{}
	}
	layouts, err := layoutsOf(p.LogicalType, o.Format)
	if isWhen := slices.Contains([]string{"date", "timestamp", "time"}, p.LogicalType); isWhen && err != nil {
		return nil, err
	}
	c.typed = ofType(p.LogicalType, layouts)
	switch p.LogicalType {
	case "string":
		c.tests, unchecked, err = textTests(o)
	case "integer", "number":
		c.tests, err = numberTests(p.LogicalType, o)
	case "date", "timestamp", "time":
		c.tests, err = whenTests(o, layouts)
		if o.Timezone != nil || o.DefaultTimezone != nil {
			unchecked = append(unchecked, "its time zone")
		}
	case "object", "array", "vector":
		if len(o.given()) > 0 {
			unchecked = append(unchecked, "how much is inside it")
		}
	}
	return unchecked, err
}

// compileEnum makes the values that a property may have a test.
func (c *column) compileEnum() error {
	if c.property.Enum == nil {
		return nil
	}
	if len(c.property.Enum) == 0 {
		return errors.New("enum has no values")
	}
	var values []any
	for _, v := range c.property.Enum {
		if v.Value == nil {
			return errors.New("enum has an entry without a value")
		}
		values = append(values, v.Value)
	}
	valid, err := listOf(values)
	c.tests = append(c.tests, test{"enum", func(v value) string {
		return unless(valid.has(&v), "%s is none of its values", v.shown())
	}})
	return err
}

// metrics are those of the standard.
var metrics = []string{"nullValues", "missingValues", "invalidValues", "duplicateValues", "rowCount"}

// compileQuality makes a rule one that counts, or says why it cannot be counted here.
func compileQuality(q Quality, index map[string]int) (n *count, unchecked string, err error) {
	switch q.Type {
	case "", "library":
	case "text", "sql", "custom":
		return nil, fmt.Sprintf("a rule of type %s%s", q.Type, named(q.Name)), nil
	default:
		return nil, "", fmt.Errorf("type is %.40q, and not library, text, sql or custom", q.Type)
	}
	if q.Metric == "" && q.Rule != nil {
		if q.Metric = fmt.Sprint(q.Rule); !slices.Contains(metrics, q.Metric) { // 3.0 leaves open what a rule is
			return nil, fmt.Sprintf("the rule %.40q%s", q.Metric, named(q.Name)), nil
		}
	}
	if q.operators() != 1 {
		return nil, "", fmt.Errorf("%s has %d of mustBe, mustBeLessThan and their like, and needs one", q.Metric, q.operators())
	}
	if q.Unit != "" && q.Unit != "rows" && q.Unit != "percent" {
		return nil, fmt.Sprintf("%s%s, whose unit is %.40q", q.Metric, named(q.Name), q.Unit), nil
	}
	if _, err := q.holds(0); err != nil {
		return nil, "", err
	}
	return countOf(q, index)
}

func named(name string) string {
	if name == "" {
		return ""
	}
	return fmt.Sprintf(" (%.80q)", name)
}

// countOf says what a metric counts.
func countOf(q Quality, index map[string]int) (n *count, unchecked string, err error) {
	arguments := q.Arguments
	if arguments == nil {
		arguments = &Arguments{}
	}
	n = &count{rule: q}
	whole := index != nil
	switch {
	case q.Metric == "rowCount" && q.Unit == "percent":
		return nil, "", fmt.Errorf("rowCount in percent is of nothing")
	case q.Metric == "rowCount":
	case q.Metric == "duplicateValues":
		if whole && len(arguments.Properties) == 0 {
			return nil, "", fmt.Errorf("duplicateValues of a schema names no properties")
		}
		for _, name := range arguments.Properties {
			at, known := index[name]
			if !known {
				return nil, "", fmt.Errorf("duplicateValues names property %.80q, which the schema has not", name)
			}
			n.columns = append(n.columns, at)
		}
		n.set = newDistinct()
	case whole:
		return nil, fmt.Sprintf("%s%s of the whole schema", q.Metric, named(q.Name)), nil
	case q.Metric == "nullValues":
		n.bad = func(v *value) bool { return v == nil }
	case q.Metric == "missingValues":
		missing, err := listOf(arguments.MissingValues)
		if err == nil && len(arguments.MissingValues) == 0 {
			err = fmt.Errorf("missingValues does not say which values stand for nothing")
		}
		if err != nil {
			return nil, "", err
		}
		n.bad = func(v *value) bool {
			if v == nil {
				return missing.null
			}
			return missing.has(v)
		}
	case q.Metric == "invalidValues":
		return invalidOf(n, arguments)
	default:
		return nil, "", fmt.Errorf("metric is %.40q, which the standard does not have", q.Metric)
	}
	return n, "", nil
}

// invalidOf counts the values that are none of a list, or of another form.
func invalidOf(n *count, arguments *Arguments) (*count, string, error) {
	valid, err := listOf(arguments.ValidValues)
	if err != nil {
		return nil, "", err
	}
	shape, _, err := textTests(&Options{Pattern: arguments.Pattern})
	if err != nil {
		return nil, "", err
	}
	if len(arguments.ValidValues) == 0 && len(shape) == 0 {
		return nil, "", fmt.Errorf("invalidValues has neither validValues nor a pattern")
	}
	n.bad = func(v *value) bool {
		return v != nil && (len(arguments.ValidValues) > 0 && !valid.has(v) || len(shape) > 0 && shape[0].of(*v) != "")
	}
	return n, "", nil
}

// A list is values that a contract writes down. A number is one however it is written.
type list struct {
	null    bool
	texts   map[string]bool
	numbers map[float64]bool
}

func listOf(values []any) (list, error) {
	l := list{texts: map[string]bool{}, numbers: map[float64]bool{}}
	if len(values) > maxValid {
		return l, fmt.Errorf("a list has %d values, and at most 100,000 are read", len(values))
	}
	for _, v := range values {
		if v == nil {
			l.null = true
			continue
		}
		text := fmt.Sprint(v)
		if t, is := v.(time.Time); is { // YAML knows dates: as it was written, most likely
			text = strings.TrimSuffix(t.Format("2006-01-02T15:04:05.999999999Z07:00"), "T00:00:00Z")
		}
		if text == "" {
			l.null = true // what CSV has of an empty text is nothing
		}
		l.texts[text] = true
		if n, err := numberOf(v); err == nil {
			l.numbers[n] = true
		}
	}
	return l, nil
}

func (l list) has(v *value) bool { return l.texts[v.text] || l.numbers[v.number] }

// operators is how many comparisons a rule has.
func (q Quality) operators() (n int) {
	for _, is := range []bool{q.MustBe != nil, q.MustNotBe != nil, q.MustBeGreaterThan != nil, q.MustBeGreaterOrEqualTo != nil,
		q.MustBeLessThan != nil, q.MustBeLessOrEqualTo != nil, q.MustBeBetween != nil, q.MustNotBeBetween != nil} {
		if is {
			n++
		}
	}
	return n
}

// holds compares what was counted.
func (q Quality) holds(got float64) (bool, error) {
	between := func(b []float64) (bool, error) {
		if len(b) != 2 || !(b[0] <= b[1]) {
			return false, fmt.Errorf("%s lies between two numbers, the smaller one first", q.Metric)
		}
		return b[0] <= got && got <= b[1], nil
	}
	switch {
	case q.MustBe != nil:
		n, err := numberOf(q.MustBe)
		return got == n, err
	case q.MustNotBe != nil:
		n, err := numberOf(q.MustNotBe)
		return got != n, err
	case q.MustBeGreaterThan != nil:
		return got > *q.MustBeGreaterThan, nil
	case q.MustBeGreaterOrEqualTo != nil:
		return got >= *q.MustBeGreaterOrEqualTo, nil
	case q.MustBeLessThan != nil:
		return got < *q.MustBeLessThan, nil
	case q.MustBeLessOrEqualTo != nil:
		return got <= *q.MustBeLessOrEqualTo, nil
	case q.MustBeBetween != nil:
		return between(q.MustBeBetween)
	}
	in, err := between(q.MustNotBeBetween)
	return !in, err
}

// distinct tells values that came before, by 128 bits of a hash whose seeds nobody knows.
type distinct struct {
	seeds [2]maphash.Seed
	seen  map[[2]uint64]struct{}
	full  bool // there were too many to go on
}

func newDistinct() *distinct {
	return &distinct{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, seen: map[[2]uint64]struct{}{}}
}

// again reports whether the value came before, as far as there was room to remember.
func (d *distinct) again(key []byte) bool {
	h := [2]uint64{maphash.Bytes(d.seeds[0], key), maphash.Bytes(d.seeds[1], key)}
	if _, was := d.seen[h]; was {
		return true
	}
	if len(d.seen) == maxDistinct {
		d.full = true
		return false
	}
	d.seen[h] = struct{}{}
	return false
}

// keyOf joins values so that no two lists of them look alike.
func keyOf(key []byte, values []*value) []byte {
	for _, v := range values {
		if v == nil {
			key = append(key, 0)
			continue
		}
		text := v.text
		if !math.IsNaN(v.number) {
			text = strconv.FormatFloat(v.number, 'g', -1, 64) // 1 and 1.0 are one value
			if n, err := strconv.ParseInt(v.text, 10, 64); err == nil {
				text = strconv.FormatInt(n, 10) // and 2^53+1 is not 2^53
			}
		}
		key = append(key, 1)
		key = binary.AppendUvarint(key, uint64(len(text)))
		key = append(key, text...)
	}
	return key
}

// A Checker holds rows to a schema of a contract. It is for one goroutine.
type Checker struct {
	of       *compiled
	places   map[string]int // property by column's name
	columns  int            // of the rows, as far as they are known
	strict   bool           // cells have types of their own, as in JSON
	rows     uint64
	values   []value
	row      []*value // of the row that is being checked, by property; nil: nothing
	key      []byte
	breaches map[breachKey]*Breach
}

type breachKey struct{ property, rule string }

// NewChecker returns a Checker of a schema that [Parse] or [Infer] returned.
func NewChecker(s *Schema) (*Checker, error) {
	of, err := compile(s)
	if err != nil {
		return nil, err
	}
	c := &Checker{of: of, places: map[string]int{}, values: make([]value, len(of.columns)), row: make([]*value, len(of.columns)), breaches: map[breachKey]*Breach{}}
	for i, col := range of.columns {
		c.places[col.property.column()] = i
	}
	return c, nil
}

// Typed tells the checker that the cells of rows have types of their own, as in JSON: there a
// text that reads as a number is none. In CSV all is text.
func (c *Checker) Typed() { c.strict = true }

// Columns tells the checker what the columns of the next rows are, in order. A column that
// the contract does not name is a breach: what nobody promised nobody checks.
func (c *Checker) Columns(names []string) {
	for ; c.columns < len(names); c.columns++ {
		name := names[c.columns]
		if i, known := c.places[name]; known {
			c.of.columns[i].at = c.columns
			continue
		}
		c.breach(name, "column", 0, "the contract names no such column")
	}
}

// Row holds one row to the contract, and reports whether it alone breaks nothing.
func (c *Checker) Row(row table.Row) bool {
	c.rows++
	before := len(c.breaches)
	good := true
	for i := range c.of.columns {
		good = c.cell(i, row) && good
	}
	good = c.keys() && good
	for _, n := range c.of.whole {
		if n.set != nil {
			values := make([]*value, len(n.columns))
			for i, at := range n.columns {
				values[i] = c.row[at]
			}
			n.add(n.set.again(keyOf(c.key[:0], values)))
		}
	}
	return good && len(c.breaches) == before
}

// cell holds one cell of a row to its property.
func (c *Checker) cell(i int, row table.Row) bool {
	col := &c.of.columns[i]
	cell := table.Cell{Kind: table.Absent}
	if col.at >= 0 {
		cell = row.Cell(col.at)
	}
	c.row[i] = nil
	if cell.Kind != table.Absent {
		c.values[i] = value{kind: cell.Kind, text: string(cell.Text), number: math.NaN(), strict: c.strict}
		if col.numeric() {
			c.values[i].number = numberIn(cell)
		}
		c.row[i] = &c.values[i]
	}
	for _, n := range col.counts {
		if n.set != nil {
			n.add(c.row[i] != nil && n.set.again(keyOf(c.key[:0], c.row[i:i+1])))
		} else if n.bad != nil {
			n.add(n.bad(c.row[i]))
		}
	}
	if c.row[i] == nil {
		return !col.property.Required && !col.property.PrimaryKey || c.breach(col.property.Name, "required", c.rows, "there is nothing")
	}
	return c.held(col, c.row[i])
}

// held holds a value that is there to what is promised of it.
func (c *Checker) held(col *column, v *value) bool {
	name := col.property.Name
	if why := col.typed(v); why != "" {
		return c.breach(name, "type", c.rows, why)
	}
	good := true
	for _, t := range col.tests {
		if why := t.of(*v); why != "" {
			good = c.breach(name, t.rule, c.rows, why)
		}
	}
	if col.distinct != nil && col.distinct.again(keyOf(c.key[:0], []*value{v})) {
		good = c.breach(name, "unique", c.rows, v.shown()+" was there before")
	}
	return good
}

// numberIn is the number that a cell is or reads as.
func numberIn(cell table.Cell) float64 {
	switch {
	case len(cell.Text) == 0 || cell.Kind == table.Boolean:
		return math.NaN()
	case strings.IndexByte("0123456789-+.", cell.Text[0]) < 0:
		return math.NaN() // not Inf, not NaN, not a word
	}
	n, err := strconv.ParseFloat(string(cell.Text), 64)
	if err != nil || math.IsInf(n, 0) || strings.ContainsAny(string(cell.Text), "xX_pPnN") {
		return math.NaN()
	}
	return n
}

// keys holds a row to the primary key.
func (c *Checker) keys() bool {
	if c.of.key == nil {
		return true
	}
	values := make([]*value, len(c.of.primary))
	for i, at := range c.of.primary {
		values[i] = c.row[at]
	}
	return !c.of.key.again(keyOf(c.key[:0], values)) || c.breach("", "primaryKey", c.rows, "the primary key was there before")
}

func (n *count) add(is bool) {
	if is {
		n.n++
	}
}

// breach notes a breach in a row, or in none alone, and returns false.
func (c *Checker) breach(property, rule string, row uint64, words string) bool {
	key := breachKey{property, rule}
	b := c.breaches[key]
	if b == nil {
		b = &Breach{Property: property, Rule: rule, Words: words}
		c.breaches[key] = b
	}
	if row > 0 {
		if b.Rows++; len(b.First) < maxFirst {
			b.First = append(b.First, row)
		}
	}
	return false
}

// Report says how all rows so far stand beside the contract.
func (c *Checker) Report() Report {
	report := Report{Rows: c.rows, Breaches: []Breach{}, Unchecked: slices.Clone(c.of.unchecked)}
	for _, b := range c.breaches {
		report.Breaches = append(report.Breaches, *b)
	}
	full := func(property string, d *distinct) {
		if d != nil && d.full {
			report.Unchecked = append(report.Unchecked, fmt.Sprintf("%s: whether values repeat beyond the first %d different ones", property, maxDistinct))
		}
	}
	for _, col := range c.of.columns {
		if col.at < 0 && col.property.Required && c.rows == 0 {
			report.Breaches = append(report.Breaches, Breach{Property: col.property.Name, Rule: "column", Words: "the column is missing"})
		}
		full(col.property.Name, col.distinct)
		for _, n := range col.counts {
			report.add(n, col.property.Name, c.rows)
			full(col.property.Name, n.set)
		}
	}
	for _, n := range c.of.whole {
		report.add(n, "", c.rows)
		full("schema", n.set)
	}
	full("primary key", c.of.key)
	slices.SortFunc(report.Breaches, func(a, b Breach) int {
		return strings.Compare(a.Property+"\x00"+a.Rule, b.Property+"\x00"+b.Rule)
	})
	report.Kept = len(report.Breaches) == 0
	return report
}

// add has a quality rule say whether it holds.
func (r *Report) add(n *count, property string, rows uint64) {
	got, unit := float64(n.n), "rows"
	if n.rule.Metric == "rowCount" {
		got = float64(rows)
	} else if n.rule.Unit == "percent" {
		if unit = "%"; rows > 0 {
			got = 100 * got / float64(rows)
		}
	}
	if ok, _ := n.rule.holds(got); !ok {
		r.Breaches = append(r.Breaches, Breach{Property: property, Rule: n.rule.Metric, Rows: n.n,
			Words: fmt.Sprintf("%s is %s %s%s", n.rule.Metric, strconv.FormatFloat(got, 'g', 6, 64), unit, named(n.rule.Name))})
	}
}
