// Package filter reads what searches ask for as MLflow's clients write it: comparisons of
// attributes, tags, params and metrics, all of which have to hold, and what is ordered by.
// Nothing of a text reaches a database: what was read is held to one thing after the other.
//
// It owns nothing.
package filter

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pavise/pavise"
)

// The bounds of a filter.
const (
	maxFilter  = 8 << 10 // bytes
	maxClauses = 50
	maxValues  = 1000 // in a list
	maxPattern = 500  // bytes of all patterns together: how long it takes to compare grows with it
)

// An Entity is what a comparison is of.
type Entity string

// The entities.
const (
	Attribute Entity = "attribute"
	Tag       Entity = "tag"
	Param     Entity = "param"
	Metric    Entity = "metric"
)

// entities are how clients write them before a dot.
var entities = map[string]Entity{
	"attribute": Attribute, "attributes": Attribute, "attr": Attribute, "run": Attribute,
	"tag": Tag, "tags": Tag, "param": Param, "params": Param, "parameter": Param, "parameters": Param,
	"metric": Metric, "metrics": Metric,
}

// A Clause is one comparison of a filter. All of them have to hold.
type Clause struct {
	Of     Entity
	Key    string
	Op     string // =, !=, <, <=, >, >=, LIKE, ILIKE, IN, NOT IN
	Value  string
	Values []string // of IN and NOT IN
	number int64    // of Value, where the attribute is a whole number
	real   float64  // of Value, where it is that of a metric
	like   *pattern // of Value, for LIKE and ILIKE
}

// A Grammar says what may stand in a filter, and what in an order.
type Grammar struct {
	Texts   []string // attributes that are strings
	Numbers []string // attributes that are whole numbers
	Lists   []string // attributes that may be IN a list
	Ordered []string // attributes that may be ordered by
	Logged  bool     // there are params and metrics, and all may be ordered by
}

// A Subject is what a filter is held to.
type Subject struct {
	Texts   map[string]string
	Numbers map[string]int64
	Tags    map[string]string
	Params  map[string]string
	Metrics map[string]float64
}

// badFilter refuses a filter.
func badFilter(at int, format string, args ...any) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the filter, at byte %d: ", at) + fmt.Sprintf(format, args...), Hint: "write it as name LIKE 'fraud%' AND tags.team = 'risk'"}
}

// Parse reads a filter. Errors are of kind Invalid.
func (g Grammar) Parse(filter string) (clauses []Clause, err error) {
	if len(filter) > maxFilter || !utf8.ValidString(filter) {
		return nil, badFilter(0, "it has more than %d bytes, or is not UTF-8", maxFilter)
	}
	s := &scanner{text: filter}
	if s.end() {
		return nil, nil
	}
	for patterns := 0; ; {
		c, err := g.clause(s)
		if err != nil {
			return nil, err
		}
		if c.like != nil {
			if patterns += len(c.Value); patterns > maxPattern {
				return nil, badFilter(s.at, "its patterns have more than %d bytes", maxPattern)
			}
		}
		if clauses = append(clauses, c); len(clauses) > maxClauses {
			return nil, badFilter(s.at, "it has more than %d comparisons", maxClauses)
		}
		if s.end() {
			return clauses, nil
		}
		at := s.at
		if word := s.word(); !strings.EqualFold(word, "AND") {
			return nil, badFilter(at, "here stands AND or nothing")
		}
	}
}

// clause reads one comparison.
func (g Grammar) clause(s *scanner) (c Clause, err error) {
	at := s.at
	if c.Of, c.Key, err = s.key(); err != nil {
		return c, err
	}
	number := c.Of == Metric || c.Of == Attribute && slices.Contains(g.Numbers, c.Key)
	if c.Of == Attribute && !number && !slices.Contains(g.Texts, c.Key) || !g.Logged && (c.Of == Metric || c.Of == Param) {
		return c, badFilter(at, "%.60q is nothing that can be asked for: there are %s and tags", c.Key, strings.Join(slices.Concat(g.Texts, g.Numbers), ", "))
	}
	at = s.at
	c.Op = s.operator()
	ops := []string{"=", "!=", "LIKE", "ILIKE"}
	switch {
	case number:
		ops = []string{"=", "!=", "<", "<=", ">", ">="}
	case c.Of == Attribute && slices.Contains(g.Lists, c.Key):
		ops = append(ops, "IN", "NOT IN")
	}
	if !slices.Contains(ops, c.Op) {
		return c, badFilter(at, "behind %.60s stands one of %s", c.Key, strings.Join(ops, " "))
	}
	switch {
	case c.Of == Metric:
		c.real, err = s.real()
	case number:
		c.number, err = s.number()
	case c.Op == "IN" || c.Op == "NOT IN":
		c.Values, err = s.list()
	default:
		c.Value, err = s.quoted()
	}
	switch {
	case err != nil:
	case c.Op == "LIKE":
		c.like = newPattern(c.Value)
	case c.Op == "ILIKE":
		c.like = newPattern(strings.ToLower(c.Value))
	}
	return c, err
}

// A scanner reads a filter from left to right.
type scanner struct {
	text string
	at   int
}

// skip passes over white space.
func (s *scanner) skip() {
	for s.at < len(s.text) && strings.IndexByte(" \t\r\n", s.text[s.at]) >= 0 {
		s.at++
	}
}

// end reports whether nothing follows.
func (s *scanner) end() bool {
	s.skip()
	return s.at == len(s.text)
}

// peek is the next byte, or 0.
func (s *scanner) peek() byte {
	if s.end() {
		return 0
	}
	return s.text[s.at]
}

// word reads letters, digits and what may be in a name between them.
func (s *scanner) word() string {
	s.skip()
	from := s.at
	for s.at < len(s.text) {
		switch b := s.text[s.at]; {
		case b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || strings.IndexByte("._-", b) >= 0:
			s.at++
		default:
			return s.text[from:s.at]
		}
	}
	return s.text[from:]
}

// key reads what is compared: name, attribute.name, tags.team, tag.`a b`, tags."a b" or metrics.auc.
func (s *scanner) key() (of Entity, key string, err error) {
	at := s.at
	word := s.word()
	entity, rest, dotted := strings.Cut(word, ".")
	switch {
	case word == "":
		return "", "", badFilter(s.at, "here stands what is compared: name, or tags.KEY")
	case !dotted:
		return Attribute, word, nil
	}
	of, known := entities[strings.ToLower(entity)]
	switch {
	case !known:
		return "", "", badFilter(at, "%.60q is no attribute, tag, param or metric", word)
	case rest != "" || of == Attribute:
		return of, rest, nil
	}
	if s.at < len(s.text) && (s.text[s.at] == '`' || s.text[s.at] == '"') {
		key, err = s.until(s.text[s.at])
	}
	if err == nil && key == "" {
		err = badFilter(s.at, "behind %s stands a key", word)
	}
	return of, key, err
}

// until reads what stands between two of a quote; two of them are one.
func (s *scanner) until(quote byte) (string, error) {
	from := s.at
	var b strings.Builder
	for s.at++; s.at < len(s.text); s.at++ {
		if s.text[s.at] != quote {
			b.WriteByte(s.text[s.at])
			continue
		}
		if s.at+1 < len(s.text) && s.text[s.at+1] == quote {
			s.at++
			b.WriteByte(quote)
			continue
		}
		s.at++
		return b.String(), nil
	}
	return "", badFilter(from, "what begins with %c does not end", quote)
}

// operator reads a comparison, in capitals, or whatever stands there.
func (s *scanner) operator() string {
	if b := s.peek(); strings.IndexByte("=!<>", b) >= 0 && b != 0 {
		from := s.at
		for s.at < len(s.text) && strings.IndexByte("=!<>", s.text[s.at]) >= 0 {
			s.at++
		}
		return s.text[from:s.at]
	}
	word := strings.ToUpper(s.word())
	if word == "NOT" {
		word += " " + strings.ToUpper(s.word())
	}
	return word
}

// quoted reads a string.
func (s *scanner) quoted() (string, error) {
	if b := s.peek(); b != '\'' && b != '"' {
		return "", badFilter(s.at, "here stands a string between quotes")
	}
	return s.until(s.text[s.at])
}

// digits reads what a number is written in, which may stand in quotes.
func (s *scanner) digits() (string, error) {
	if b := s.peek(); b == '\'' || b == '"' {
		return s.until(b)
	}
	return s.word(), nil
}

// number reads a whole number.
func (s *scanner) number() (int64, error) {
	at := s.at
	digits, err := s.digits()
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return 0, badFilter(at, "here stands a whole number")
	}
	return n, nil
}

// real reads a number that is finite.
func (s *scanner) real() (float64, error) {
	at := s.at
	sign := ""
	if s.peek() == '+' { // a minus is part of words
		s.at++
	}
	digits, err := s.digits()
	if err != nil {
		return 0, err
	}
	if last := len(digits) - 1; last > 0 && (digits[last] == 'e' || digits[last] == 'E') && s.at < len(s.text) && s.text[s.at] == '+' {
		s.at++
		sign = s.word() // the exponent
	}
	f, err := strconv.ParseFloat(digits+sign, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return 0, badFilter(at, "here stands a number")
	}
	return f, nil
}

// list reads strings between parentheses.
func (s *scanner) list() (values []string, err error) {
	if s.peek() != '(' {
		return nil, badFilter(s.at, "here stands a list: ('a', 'b')")
	}
	for s.at++; ; s.at++ {
		value, err := s.quoted()
		if err != nil {
			return nil, err
		}
		if values = append(values, value); len(values) > maxValues {
			return nil, badFilter(s.at, "the list has more than %d values", maxValues)
		}
		switch s.peek() {
		case ',':
		case ')':
			s.at++
			return values, nil
		default:
			return nil, badFilter(s.at, "the list goes on with a comma or ends")
		}
	}
}

// promptTag is a tag by which MLflow's clients leave prompts out when they look for models.
const promptTag = "mlflow.prompt.is_prompt"

// Hold reports whether all clauses hold for a subject. What it has not holds for none.
func Hold(clauses []Clause, of Subject) bool {
	return !slices.ContainsFunc(clauses, func(c Clause) bool { return !c.holds(of) })
}

// holds reports whether the clause holds.
func (c Clause) holds(of Subject) bool {
	if c.Of == Metric {
		value, has := of.Metrics[c.Key]
		return has && compares(c.Op, value, c.real)
	}
	if n, is := of.Numbers[c.Key]; is && c.Of == Attribute {
		return compares(c.Op, n, c.number)
	}
	value, has := map[Entity]map[string]string{Attribute: of.Texts, Tag: of.Tags, Param: of.Params}[c.Of][c.Key]
	if !has {
		return c.Of == Tag && c.Key == promptTag && (c.Op == "=" && c.Value == "false" || c.Op == "!=" && c.Value == "true")
	}
	switch c.Op {
	case "=":
		return value == c.Value
	case "!=":
		return value != c.Value
	case "LIKE":
		return c.like.fits(value)
	case "ILIKE":
		return c.like.fits(strings.ToLower(value))
	case "IN":
		return slices.Contains(c.Values, value)
	}
	return !slices.Contains(c.Values, value) // NOT IN
}

// compares holds a number to another one.
func compares[N int64 | float64](op string, n, than N) bool {
	switch op {
	case "=":
		return n == than
	case "!=":
		return n != than
	case "<":
		return n < than
	case "<=":
		return n <= than
	case ">":
		return n > than
	}
	return n >= than
}

// An Order is by what a search is sorted.
type Order struct {
	Of   Entity
	Key  string
	Down bool
}

// Orders reads by what a search is sorted. Errors are of kind Invalid.
func (g Grammar) Orders(by []string) (orders []Order, err error) {
	if len(by) > maxClauses {
		return nil, g.badOrder(by[maxClauses])
	}
	for _, text := range by {
		s := &scanner{text: strings.TrimSpace(text)}
		o := Order{Of: Attribute}
		if quote := s.peek(); quote == '`' || quote == '"' {
			o.Key, err = s.until(quote)
		} else {
			o.Of, o.Key, err = s.key()
		}
		word := strings.ToUpper(s.word())
		o.Down = word == "DESC"
		known := o.Of == Attribute && slices.Contains(g.Ordered, o.Key) || o.Of != Attribute && g.Logged
		if err != nil || !known || word != "" && word != "ASC" && !o.Down || !s.end() {
			return nil, g.badOrder(text)
		}
		orders = append(orders, o)
	}
	return orders, nil
}

func (g Grammar) badOrder(text string) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("nothing can be ordered by %.80q", text), Hint: "order by " + strings.Join(g.Ordered, ", ") + ", each with ASC or DESC behind it"}
}

// Compare says in what order two subjects are. One that has not what is ordered by is behind
// those that have, whatever the order; numbers that are none (NaN) are behind all numbers.
func Compare(a, b Subject, orders []Order) int {
	for _, o := range orders {
		c, lacks := o.compare(a, b)
		if c != 0 && o.Down && !lacks {
			c = -c
		}
		if c != 0 {
			return c
		}
	}
	return 0
}

// compare is by one order. lacks: one of the two has nothing to be ordered by.
func (o Order) compare(a, b Subject) (c int, lacks bool) {
	if o.Of == Metric {
		return ranked(a.Metrics, b.Metrics, o.Key, func(f float64) bool { return f == f })
	}
	if _, is := a.Numbers[o.Key]; is && o.Of == Attribute {
		return ranked(a.Numbers, b.Numbers, o.Key, func(int64) bool { return true })
	}
	texts := func(s Subject) map[string]string {
		return map[Entity]map[string]string{Attribute: s.Texts, Tag: s.Tags, Param: s.Params}[o.Of]
	}
	return ranked(texts(a), texts(b), o.Key, func(string) bool { return true })
}

func ranked[V cmp.Ordered](a, b map[string]V, key string, is func(V) bool) (c int, lacks bool) {
	of, hasA := a[key]
	than, hasB := b[key]
	hasA, hasB = hasA && is(of), hasB && is(than)
	switch {
	case hasA && hasB:
		return cmp.Compare(of, than), false
	case hasA:
		return -1, true
	case hasB:
		return 1, true
	}
	return 0, true
}

// Only is as much of a subject as it is ordered by.
func Only(s Subject, orders []Order) Subject {
	only := Subject{Texts: map[string]string{}, Numbers: map[string]int64{}, Tags: map[string]string{}, Params: map[string]string{}, Metrics: map[string]float64{}}
	for _, o := range orders {
		switch o.Of {
		case Attribute:
			pick(only.Texts, s.Texts, o.Key)
			pick(only.Numbers, s.Numbers, o.Key)
		case Tag:
			pick(only.Tags, s.Tags, o.Key)
		case Param:
			pick(only.Params, s.Params, o.Key)
		case Metric:
			pick(only.Metrics, s.Metrics, o.Key)
		}
	}
	return only
}

func pick[V any](to, from map[string]V, key string) {
	if value, has := from[key]; has {
		to[key] = value
	}
}
