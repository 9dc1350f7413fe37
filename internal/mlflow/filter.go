package mlflow

import (
	"fmt"
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
	maxPattern = 500  // bytes: how long it takes to compare grows with it
)

// A clause is one comparison of a filter. All of them have to hold.
type clause struct {
	tag    bool // key is that of a tag, and not an attribute
	key    string
	op     string // =, !=, <, <=, >, >=, LIKE, ILIKE, IN, NOT IN
	value  string
	number int64    // of value, where the attribute is a number
	values []string // of IN and NOT IN
}

// A grammar says what may stand in a filter, and what in an order.
type grammar struct {
	texts   []string // attributes that are strings
	numbers []string // attributes that are numbers
	lists   []string // attributes that may be IN a list
	orders  []string // what may be ordered by
}

// The two grammars of the registry.
var (
	ofModels   = grammar{texts: []string{"name"}, lists: []string{"name"}, orders: []string{"name", "creation_timestamp", "last_updated_timestamp"}}
	ofVersions = grammar{texts: []string{"name", "run_id", "source_path"}, numbers: []string{"version_number"}, lists: []string{"name", "run_id"}, orders: []string{"name", "version_number", "creation_timestamp", "last_updated_timestamp"}}
)

// badFilter refuses a filter.
func badFilter(at int, format string, args ...any) error {
	return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the filter, at byte %d: ", at) + fmt.Sprintf(format, args...), Hint: "write it as name LIKE 'fraud%' AND tags.team = 'risk'"}
}

// parseFilter reads a filter as MLflow's clients write it. Errors are of kind Invalid.
func (g grammar) parseFilter(filter string) (clauses []clause, err error) {
	if len(filter) > maxFilter || !utf8.ValidString(filter) {
		return nil, badFilter(0, "it has more than %d bytes, or is not UTF-8", maxFilter)
	}
	s := &scanner{text: filter}
	if s.end() {
		return nil, nil
	}
	for {
		c, err := g.clause(s)
		if err != nil {
			return nil, err
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
func (g grammar) clause(s *scanner) (c clause, err error) {
	at := s.at
	if c.tag, c.key, err = s.key(); err != nil {
		return c, err
	}
	number := !c.tag && slices.Contains(g.numbers, c.key)
	if !c.tag && !number && !slices.Contains(g.texts, c.key) {
		return c, badFilter(at, "%.60q is nothing that can be asked for: there are %s and tags", c.key, strings.Join(slices.Concat(g.texts, g.numbers), ", "))
	}
	at = s.at
	c.op = s.operator()
	ops := []string{"=", "!=", "LIKE", "ILIKE"}
	switch {
	case number:
		ops = []string{"=", "!=", "<", "<=", ">", ">="}
	case !c.tag && slices.Contains(g.lists, c.key):
		ops = append(ops, "IN", "NOT IN")
	}
	if !slices.Contains(ops, c.op) {
		return c, badFilter(at, "behind %.60s stands one of %s", c.key, strings.Join(ops, " "))
	}
	switch {
	case number:
		c.number, err = s.number()
	case c.op == "IN" || c.op == "NOT IN":
		c.values, err = s.list()
	default:
		at = s.at
		if c.value, err = s.quoted(); err == nil && len(c.value) > maxPattern && (c.op == "LIKE" || c.op == "ILIKE") {
			err = badFilter(at, "the pattern has more than %d bytes", maxPattern)
		}
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

// key reads what is compared: name, attribute.name, tags.team, tag.`a b` or tags."a b".
func (s *scanner) key() (tag bool, key string, err error) {
	at := s.at
	word := s.word()
	entity, rest, dotted := strings.Cut(word, ".")
	switch {
	case word == "":
		return false, "", badFilter(s.at, "here stands what is compared: name, or tags.KEY")
	case !dotted:
		return false, word, nil
	case strings.EqualFold(entity, "attribute") || strings.EqualFold(entity, "attributes"):
		return false, rest, nil
	case !strings.EqualFold(entity, "tag") && !strings.EqualFold(entity, "tags"):
		return false, "", badFilter(at, "%.60q is neither an attribute nor a tag", word)
	case rest != "":
		return true, rest, nil
	}
	if s.at < len(s.text) && (s.text[s.at] == '`' || s.text[s.at] == '"') {
		key, err = s.until(s.text[s.at])
	}
	if err == nil && key == "" {
		err = badFilter(s.at, "behind tags. stands a key")
	}
	return true, key, err
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

// number reads a whole number, which may stand in quotes.
func (s *scanner) number() (int64, error) {
	at := s.at
	var digits string
	if b := s.peek(); b == '\'' || b == '"' {
		var err error
		if digits, err = s.until(b); err != nil {
			return 0, err
		}
	} else {
		digits = s.word()
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return 0, badFilter(at, "here stands a whole number")
	}
	return n, nil
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

// holds reports whether a clause holds for something with these attributes, numbers and tags.
func (c clause) holds(attributes map[string]string, numbers map[string]int64, tags map[string]string) bool {
	if n, is := numbers[c.key]; is && !c.tag {
		return c.compares(n)
	}
	value, has := attributes[c.key]
	if c.tag {
		value, has = tags[c.key]
	}
	if !has {
		return c.tag && c.key == promptTag && (c.op == "=" && c.value == "false" || c.op == "!=" && c.value == "true")
	}
	switch c.op {
	case "=":
		return value == c.value
	case "!=":
		return value != c.value
	case "LIKE":
		return like(c.value, value)
	case "ILIKE":
		return like(strings.ToLower(c.value), strings.ToLower(value))
	case "IN":
		return slices.Contains(c.values, value)
	}
	return !slices.Contains(c.values, value) // NOT IN
}

// compares holds a number to the clause.
func (c clause) compares(n int64) bool {
	switch c.op {
	case "=":
		return n == c.number
	case "!=":
		return n != c.number
	case "<":
		return n < c.number
	case "<=":
		return n <= c.number
	case ">":
		return n > c.number
	}
	return n >= c.number
}

// like reports whether a text is as a pattern says, in which % is any characters and _ is one.
func like(pattern, text string) bool {
	p, t := []rune(pattern), []rune(text)
	i, j, star, from := 0, 0, -1, 0
	for j < len(t) {
		switch {
		case i < len(p) && p[i] == '%':
			star, from = i, j
			i++
		case i < len(p) && (p[i] == '_' || p[i] == t[j]):
			i++
			j++
		case star >= 0: // the last % takes one more
			from++
			i, j = star+1, from
		default:
			return false
		}
	}
	for i < len(p) && p[i] == '%' {
		i++
	}
	return i == len(p)
}

// An order is by what a search is sorted.
type order struct {
	key  string
	down bool
}

// parseOrder reads by what a search is sorted. Errors are of kind Invalid.
func (g grammar) parseOrder(by []string) (orders []order, err error) {
	for _, text := range by {
		words := strings.Fields(text)
		o := order{}
		if len(words) > 0 {
			o.key = strings.TrimPrefix(strings.Trim(words[0], "`\""), "attribute.")
		}
		if len(words) == 2 {
			o.down = strings.EqualFold(words[1], "DESC")
		}
		if !slices.Contains(g.orders, o.key) || len(words) > 2 || len(words) == 2 && !o.down && !strings.EqualFold(words[1], "ASC") {
			return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("nothing can be ordered by %.80q", text), Hint: "order by " + strings.Join(g.orders, ", ") + ", each with ASC or DESC behind it"}
		}
		orders = append(orders, o)
	}
	return orders, nil
}
