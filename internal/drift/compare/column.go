package compare

import (
	"math/rand/v2"

	"github.com/pavise/pavise/internal/drift"
	"github.com/pavise/pavise/internal/table"
)

// Bounds of what is kept of a baseline while it is read.
const (
	maxSample   = 1 << 14 // numbers of a column
	maxSamples  = 1 << 23 // and of all columns together
	maxDistinct = 1 << 12 // texts of a column
	maxText     = 1 << 10 // bytes of one
	maxTexts    = 1 << 27 // bytes of the texts of all columns together, and of what keeps them
	textCost    = 64      // bytes that keep one, about
	maxColumns  = 1 << 14

	enoughNumbers = 64   // before a word, so that a column is believed to hold numbers
	kindShare     = 0.95 // of what is there must be numbers for a column of numbers
)

// The kinds of columns that are not compared by what they hold.
const (
	kindNothing drift.Kind = "nothing"
	kindOther   drift.Kind = "lists or objects"
)

// A column is one of the baseline: first what it holds, then how often.
type column struct {
	name  string
	place int // in the other file; -1: it is not there

	nulls, numbers, words, others int64
	sample                        []float64
	texts                         map[string]int
	whole                         bool // texts are all that it held

	kind       drift.Kind
	label      bool
	references *drift.Reference
	categories *drift.Categories // their base is counted once they are made
	halved     bool              // half of the baseline made them, and the other half is counted
	base, now  drift.Histogram
}

// learn takes a cell of the baseline: a sample of its numbers in which each has the same chance
// (Vitter's algorithm R), and its texts, as long as they are few, and there are bytes left for
// those of all columns.
func (c *column) learn(r table.Row, i int, room int, left *int, rng *rand.Rand) {
	held, v, text := r.Value(i)
	switch held {
	case table.HeldNothing:
		c.nulls++
		return
	case table.HeldOther:
		c.others++
		return
	case table.HeldNumber:
		c.numbers++
		if len(c.sample) < room {
			c.sample = append(c.sample, v)
		} else if at := rng.Int64N(c.numbers); at < int64(room) {
			c.sample[at] = v
		}
		if !c.label && c.numbers > enoughNumbers && c.words == 0 {
			c.whole = false // a column of numbers, most likely: they are not looked at as texts
			return
		}
		text = r.Cell(i).Text
	default:
		c.words++
	}
	if _, ok := c.texts[string(text)]; ok {
		c.texts[string(text)]++
	} else if cost := len(text) + textCost; len(c.texts) < maxDistinct && len(text) <= maxText && cost <= *left {
		c.texts[string(text)] = 1
		*left -= cost
	} else {
		c.whole = false
	}
}

// settle makes the bins of what was learned. A label is a category unless it has many values.
func (c *column) settle() {
	there := c.numbers + c.words + c.others
	const classes = 64
	switch {
	case there == 0:
		c.kind = kindNothing
	case float64(c.others) > float64(there)/2:
		c.kind = kindOther
	case float64(c.numbers) >= kindShare*float64(there) && !(c.label && c.whole && len(c.texts) <= classes):
		c.kind, c.references = drift.Number, drift.NewReference(c.sample)
	default:
		c.kind = drift.Category
		texts := int64(0)
		for _, n := range c.texts {
			texts += int64(n)
		}
		var base *drift.Histogram
		c.categories, base, c.halved = drift.CountedCategories(c.texts, uint64(c.numbers+c.words-texts), c.whole)
		c.base = *base
		if c.base.Nulls, c.base.Odd = uint32(c.nulls), uint32(c.others); c.halved {
			c.base.Nulls, c.base.Odd = drift.Half(c.base.Nulls), drift.Half(c.base.Odd)
		}
	}
	c.sample, c.texts = nil, nil
}

// count counts a cell by the bins.
func (c *column) count(h *drift.Histogram, r table.Row, i int) {
	held, v, text := r.Value(i)
	switch {
	case held == table.HeldNothing:
		h.Nulls++
	case c.kind == kindNothing, c.kind == kindOther && held != table.HeldOther, c.kind != kindOther && held == table.HeldOther:
		h.Odd++
	case c.kind == kindOther:
		h.Bins[1]++
	case c.kind == drift.Number && held == table.HeldWords:
		h.Odd++
	case c.kind == drift.Number:
		c.references.Count(h, v)
	case held == table.HeldNumber:
		c.categories.Count(h, r.Cell(i).Text)
	default:
		c.categories.Count(h, text)
	}
}

// bins is how many bins the column has.
func (c *column) bins() int {
	if c.references != nil {
		return c.references.Bins()
	}
	return drift.MaxBins
}
