package firewall

import (
	"fmt"
	"math"
	"slices"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/tensor"
)

// Bounds of a baseline: what a request's rows cost to count stays small, whoever
// wrote it.
const (
	maxQuantiles = 15
	maxBins      = maxQuantiles + 1
	maxWatched   = 4096 // columns
)

// baselineForm shows one.
const baselineForm = `write it as {"input": NAME, "features": [{"name": …, "edges": [1, …], "shares": [0.5, …]}, {"name": …, "quantiles": [SMALLEST, …, LARGEST]}, …]}, one feature for each column`

// A Baseline says how the values of one input are spread over the rows that a model
// was made for. A model's card can be one: what it says beyond means nothing here.
type Baseline struct {
	Input    string   `json:"input"`
	Features []Spread `json:"features"` // one for each column, in order
}

// A Spread is how the values of one column are spread: by shares of bins, which is the
// most exact; else by quantiles; else between Min and Max. A column that has none of
// them is not watched.
type Spread struct {
	Name string   `json:"name"`
	Min  *float64 `json:"min,omitempty"`
	Max  *float64 `json:"max,omitempty"`
	// Quantiles are of evenly spaced shares of the rows, from the smallest value to the
	// largest: 2 to 15. How many rows have a value of which there are many is then known
	// to within one step, and rows are held to no more.
	Quantiles []float64 `json:"quantiles,omitempty"`
	// Edges rise, 1 to 15 of them, and Shares are those of the rows up to the first, above
	// it up to the second, and so on to those above the last. They add up to 1.
	Edges  []float64 `json:"edges,omitempty"`
	Shares []float64 `json:"shares,omitempty"`
}

// Validate reports, as an error of kind Invalid, why the baseline is none of these
// inputs.
func (b Baseline) Validate(inputs []tensor.Port) error {
	refuse := func(format string, args ...any) error {
		return &pavise.Error{
			Kind: pavise.Invalid, Msg: "baseline: " + fmt.Sprintf(format, args...),
			Hint: baselineForm,
		}
	}
	at := slices.IndexFunc(inputs, func(p tensor.Port) bool { return p.Name == b.Input })
	if at < 0 {
		return refuse("the model has no input %.80q", b.Input)
	}
	p := inputs[at]
	if f := p.Datatype.Family(); f == tensor.Boolean || f == tensor.Octets {
		return refuse("input %q holds %s, and no numbers", p.Name, p.Datatype)
	}
	if len(p.Shape) != 2 || p.Shape[1] != int64(len(b.Features)) {
		return refuse("%d features for input %q of shape %d", len(b.Features), p.Name, p.Shape)
	}
	if len(b.Features) > maxWatched {
		return refuse("%d features, more than %d", len(b.Features), maxWatched)
	}
	watched := 0
	for i, s := range b.Features {
		if why := s.fault(); why != "" {
			return refuse("feature %d (%.80s) %s", i, s.Name, why)
		}
		if len(s.Edges) > 0 || len(s.Quantiles) > 0 || s.Min != nil || s.Max != nil {
			watched++
		}
	}
	if watched == 0 {
		return refuse("no feature has shares, quantiles, a min or a max")
	}
	return nil
}

// fault says what is wrong with a spread, or "".
func (s Spread) fault() string {
	finite := func(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
	odd := func(v float64) bool { return !finite(v) }
	switch n := len(s.Quantiles); {
	case s.Name == "":
		return "has no name"
	case s.Min != nil && odd(*s.Min), s.Max != nil && odd(*s.Max), slices.ContainsFunc(s.Quantiles, odd), slices.ContainsFunc(s.Edges, odd), slices.ContainsFunc(s.Shares, odd):
		return "has a number that is not finite"
	case s.Min != nil && s.Max != nil && *s.Min > *s.Max:
		return fmt.Sprintf("goes from %v to %v", *s.Min, *s.Max)
	case n == 1 || n > maxQuantiles:
		return fmt.Sprintf("has %d quantiles, not 2 to %d", n, maxQuantiles)
	case !slices.IsSorted(s.Quantiles):
		return "has quantiles that fall"
	case len(s.Edges) > maxQuantiles:
		return fmt.Sprintf("has %d edges, more than %d", len(s.Edges), maxQuantiles)
	case len(s.Edges)+len(s.Shares) > 0 && len(s.Shares) != len(s.Edges)+1:
		return fmt.Sprintf("has %d edges and %d shares: there is one share more than edges", len(s.Edges), len(s.Shares))
	case !slices.IsSorted(s.Edges) || len(slices.Compact(slices.Clone(s.Edges))) != len(s.Edges):
		return "has edges that do not rise"
	}
	sum := 0.0
	for _, share := range s.Shares {
		if share < 0 {
			return "has a share below 0"
		}
		sum += share
	}
	if len(s.Shares) > 0 && math.Abs(sum-1) > 0.01 {
		return fmt.Sprintf("has shares that add up to %v, and not to 1", sum)
	}
	return ""
}

// A binned column has its values counted in bins: bin i holds those above edge i-1, up
// to edge i. Edges that there are not are +Inf. Of the baseline's rows, those up to edge
// i are the share from least to most.
type binned struct {
	name        string
	edges       [maxQuantiles]float64
	bins        int // used; 1: the column is not watched
	least, most [maxQuantiles]float64
	rare        uint32 // bit i: bin i holds less than one in a hundred of the baseline's rows
}

// rareShare is the share below which a bin's values are outliers.
const rareShare = 0.01

// bin turns a spread into bins. Values are compared as 32 bits hold them if single is
// true.
func (s Spread) bin(single bool) binned {
	c := binned{name: s.Name, bins: 1}
	for i := range c.edges {
		c.edges[i] = math.Inf(1)
	}
	switch q := s.Quantiles; {
	case len(s.Edges) > 0:
		upTo := 0.0
		for i, edge := range s.Edges {
			upTo = min(upTo+s.Shares[i], 1)
			c.add(fit(edge, single), upTo, upTo)
		}
	case len(q) > 0:
		c.quantiles(q, single)
	default:
		if s.Min != nil {
			c.add(below(*s.Min, single), 0, 0)
		}
		if s.Max != nil {
			c.add(fit(*s.Max, single), 1, 1)
		}
	}
	for i := range c.bins { // the share may be anything up to
		share := 1.0
		if i < c.bins-1 {
			share = c.most[i]
		}
		if i > 0 {
			share -= c.least[i-1]
		}
		if share < rareShare {
			c.rare |= 1 << i
		}
	}
	return c
}

// add ends a bin.
func (c *binned) add(edge, least, most float64) {
	i := c.bins - 1
	c.edges[i], c.least[i], c.most[i] = edge, least, most
	c.bins++
}

// quantiles ends bins at quantiles: the smallest value begins one, and of equals only the
// last ends one. Up to a quantile there are at least its share of the rows, and at most
// that of the next, where many rows have its value.
func (c *binned) quantiles(q []float64, single bool) {
	c.add(below(q[0], single), 0, 0)
	for i := range q {
		v, steps := fit(q[i], single), float64(len(q)-1)
		if i == 0 && fit(q[1], single) != v || i+1 < len(q) && fit(q[i+1], single) == v {
			continue
		}
		c.add(v, float64(i)/steps, min(float64(i+1)/steps, 1))
	}
}

// fit returns a number as 32 bits hold it if single is true.
func fit(v float64, single bool) float64 {
	if single {
		return float64(float32(v))
	}
	return v
}

// below returns the next smaller number.
func below(v float64, single bool) float64 {
	if single {
		return float64(math.Nextafter32(float32(v), float32(math.Inf(-1))))
	}
	return math.Nextafter(v, math.Inf(-1))
}

// of returns the bin of a value: four comparisons. What is no number falls into the
// first.
func (c *binned) of(v float64) int {
	k := 0
	if v > c.edges[7] {
		k = 8
	}
	if v > c.edges[k+3] {
		k += 4
	}
	if v > c.edges[k+1] {
		k += 2
	}
	if v > c.edges[k] {
		k++
	}
	return k
}
