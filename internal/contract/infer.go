package contract

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/table"
)

// What is taken for a rule by [Infer].
const (
	fewValues = 32 // different texts of a column that are taken for all that there are
	manyRows  = 20 // rows for each of them, at least
)

// A guess is what the rows so far say of one column.
type guess struct {
	name    string
	rows    uint64 // in which there is something
	kinds   map[table.Kind]bool
	numbers bool // all of them are numbers, or read as ones
	whole   bool // of which none has a fraction
	truths  bool // all of them are true or false
	layouts map[string][]string
	low     float64
	high    float64
	longest int
	texts   map[string]uint64 // how often; nil: too many
}

// Infer drafts a contract from rows: for each column its type, whether it is always there,
// between which bounds its numbers lie, and, where it has few different texts, which. It
// promises what was seen and nothing more, so that a person can loosen it. The error is
// of kind Invalid.
func Infer(name string, f *table.File) (*Contract, error) {
	var guesses []*guess
	var rows uint64
	for row, err := range f.Rows() {
		if err != nil {
			return nil, err
		}
		if names := f.Columns(); len(names) > len(guesses) {
			if len(names) > maxProperties {
				return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s has %d columns, and a contract has at most 10,000", name, len(names)), Hint: "put numbers that belong together into one list"}
			}
			for _, column := range names[len(guesses):] {
				guesses = append(guesses, newGuess(column))
			}
		}
		rows++
		for i, g := range guesses {
			g.see(row.Cell(i))
		}
	}
	if rows == 0 {
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: name + " has no rows to draft a contract from", Hint: "give data as the source sends it on a good day"}
	}
	s := Schema{Name: "rows", LogicalType: "object"}
	for _, g := range guesses {
		s.Properties = append(s.Properties, g.property(rows))
	}
	return &Contract{APIVersion: "v3.1.0", Kind: "DataContract", ID: name, Version: "0.1.0", Status: "draft", Schema: []Schema{s}}, nil
}

func newGuess(name string) *guess {
	g := &guess{name: name, kinds: map[table.Kind]bool{}, numbers: true, whole: true, truths: true, layouts: map[string][]string{}, low: math.Inf(1), high: math.Inf(-1), texts: map[string]uint64{}}
	for _, logical := range []string{"date", "timestamp", "time"} {
		g.layouts[logical], _ = layoutsOf(logical, "")
	}
	return g
}

// see takes one cell.
func (g *guess) see(cell table.Cell) {
	if cell.Kind == table.Absent {
		return
	}
	g.rows++
	g.kinds[cell.Kind] = true
	n, text := numberIn(cell), string(cell.Text)
	if math.IsNaN(n) || padded(text) {
		g.numbers = false
	} else {
		g.whole = g.whole && n == math.Trunc(n)
		g.low, g.high = min(g.low, n), max(g.high, n)
	}
	g.truths = g.truths && (cell.Kind == table.Boolean || text == "true" || text == "false")
	g.longest = max(g.longest, len([]rune(text)))
	for logical, layouts := range g.layouts {
		g.layouts[logical] = slices.DeleteFunc(layouts, func(layout string) bool { _, err := time.Parse(layout, text); return err != nil })
	}
	if g.texts != nil {
		if g.texts[text]++; len(g.texts) > fewValues {
			g.texts = nil
		}
	}
}

// padded reports whether a text is a code and no number, although it is digits: it has zeros before
// them, which a number would lose.
func padded(text string) bool {
	return len(text) > 1 && text[0] == '0' && '0' <= text[1] && text[1] <= '9'
}

// property is what was seen as a promise.
func (g *guess) property(rows uint64) Property {
	p := Property{Name: g.name, Required: g.rows == rows}
	switch {
	case g.rows == 0:
	case g.kinds[table.Other]:
		if len(g.kinds) == 1 {
			return p // an object or a list: nobody looked
		}
	case g.kinds[table.List]:
		p.LogicalType = "array"
	case g.truths:
		p.LogicalType = "boolean"
	case g.numbers && !g.kinds[table.Boolean]:
		p.LogicalType = "number"
		if g.whole {
			p.LogicalType = "integer"
		}
		p.LogicalTypeOptions = &Options{Minimum: shortest(g.low), Maximum: shortest(g.high)}
	case len(g.kinds) > 1:
	default:
		g.text(&p)
	}
	return p
}

// text is what was seen of texts.
func (g *guess) text(p *Property) {
	for _, logical := range []string{"date", "timestamp", "time"} {
		if len(g.layouts[logical]) > 0 {
			p.LogicalType = logical
			return
		}
	}
	p.LogicalType = "string"
	if g.texts == nil || g.rows < manyRows*uint64(len(g.texts)) {
		p.LogicalTypeOptions = &Options{MaxLength: &g.longest}
		return
	}
	valid := make([]string, 0, len(g.texts))
	for text := range g.texts {
		valid = append(valid, text)
	}
	slices.Sort(valid)
	q := Quality{Type: "library", Metric: "invalidValues", Arguments: &Arguments{}, MustBe: 0}
	for _, text := range valid {
		q.Arguments.ValidValues = append(q.Arguments.ValidValues, text)
	}
	p.Quality = []Quality{q}
}

// shortest is a number as YAML writes it: whole ones without a point.
func shortest(n float64) any {
	if n == math.Trunc(n) && math.Abs(n) < 1<<53 {
		return int(n)
	}
	return n
}
