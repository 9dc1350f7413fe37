package anomaly

import (
	"math"
	"slices"
)

const (
	// A column of so few different values holds categories: another value is odd.
	columnCategories = 8
	// Beyond so many scales from the centre, distance counts by its logarithm: one column
	// of bytes must not drown forty others.
	columnLinear = 3
	// A value is on the grid of its column within this part of a step.
	columnTolerance = 1e-3
)

// steps are the grids that recorded numbers are usually on: whole numbers, decimals, and
// bytes scaled to [0, 1].
var steps = []float64{1, 0.1, 0.01, 0.001, 1.0 / 255, 1.0 / 256}

// Columns brings rows whose columns have wildly different scales onto one, and knows what
// kind of values each column holds.
type Columns struct {
	Center []float32   `json:"center"` // by column: the median
	Scale  []float32   `json:"scale"`  // by column, above 0
	Step   []float64   `json:"step"`   // by column: all values are multiples of it; 0: of none
	Few    [][]float64 `json:"few"`    // by column: all the values there are, in order; nil when there are many
}

// FitColumns learns the columns of rows, at least one, all of one width. It passes over what
// is no number, or beyond 32 bits.
func FitColumns(rows [][]float64) *Columns {
	width := len(rows[0])
	c := &Columns{Center: make([]float32, width), Scale: make([]float32, width), Step: make([]float64, width), Few: make([][]float64, width)}
	values, spread := make([]float64, 0, len(rows)), make([]float64, 0, width)
	for j := range width {
		values = values[:0]
		for _, row := range rows {
			if math.Abs(row[j]) <= math.MaxFloat32 {
				values = append(values, row[j])
			}
		}
		if len(values) == 0 {
			continue
		}
		slices.Sort(values)
		c.Center[j] = float32(values[len(values)/2])
		c.Scale[j] = float32(min(spreadOf(values), math.MaxFloat32))
		c.Step[j], c.Few[j] = stepOf(values), few(values)
		if c.Scale[j] > 0 {
			spread = append(spread, float64(c.Scale[j]))
		}
	}
	c.fillConstant(spread)
	return c
}

// fillConstant gives columns that are always alike the scale of an ordinary one: what
// differs there differs from all that was ever seen.
func (c *Columns) fillConstant(spread []float64) {
	usual := float32(1)
	if len(spread) > 0 {
		slices.Sort(spread)
		usual = float32(spread[len(spread)/2])
	}
	for j, s := range c.Scale {
		if s == 0 {
			c.Scale[j] = usual
		}
	}
}

// spreadOf is how far values in order are apart: a quarter of the range of nine in ten of
// them. Where those are alike it is a third of the range of all but one in a hundred, or a
// quarter of the range of all: what is mostly nothing must not count for more than what is
// always something, as it would by its standard deviation.
func spreadOf(sorted []float64) float64 {
	last := len(sorted) - 1
	if r := sorted[last*95/100] - sorted[last*5/100]; r > 0 {
		return r / 4
	}
	if r := sorted[last*995/1000] - sorted[last*5/1000]; r > 0 {
		return r / 3
	}
	return (sorted[last] - sorted[0]) / 4
}

// stepOf is the largest of the usual steps that all the values are multiples of, or 0.
func stepOf(values []float64) float64 {
	for _, s := range steps {
		if !slices.ContainsFunc(values, func(v float64) bool { return offGrid(v, s) }) {
			return s
		}
	}
	return 0
}

func offGrid(v, step float64) bool {
	q := v / step
	return math.Abs(q-math.Round(q)) > columnTolerance*max(1, math.Abs(q)*1e-3)
}

// few returns the different values, in order, or nil when there are many.
func few(sorted []float64) []float64 {
	var list []float64
	for i, v := range sorted {
		if i > 0 && v == sorted[i-1] {
			continue
		}
		if len(list) == columnCategories {
			return nil
		}
		list = append(list, v)
	}
	return list
}

// Width is how many columns a row has.
func (c *Columns) Width() int { return len(c.Center) }

// Apply appends the row on one scale, each value about in [-3, 3]. What is no number
// counts as the column's centre.
func (c *Columns) Apply(dst []float32, row []float64) []float32 {
	for j, v := range row {
		x := (float32(v) - c.Center[j]) / c.Scale[j]
		switch {
		case x != x:
			x = 0
		case x > columnLinear:
			x = columnLinear + log1p(x-columnLinear)
		case x < -columnLinear:
			x = -columnLinear - log1p(-x-columnLinear)
		}
		dst = append(dst, x)
	}
	return dst
}

func log1p(x float32) float32 { return float32(math.Log1p(min(float64(x), math.MaxFloat32))) }

// Odd reports whether the row holds a value of a kind that its column never had: a
// fraction among whole numbers, a fourth category among three. What is no number, or
// infinite, is always odd.
func (c *Columns) Odd(row []float64) bool {
	for j, v := range row {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return true
		}
		if list := c.Few[j]; len(list) > 1 {
			if _, ok := slices.BinarySearch(list, v); ok {
				continue
			}
		}
		if s := c.Step[j]; s > 0 && offGrid(v, s) {
			return true
		}
	}
	return false
}

// Misfit says what of the columns does not fit the rest, or "".
func (c *Columns) Misfit() string {
	if n := len(c.Center); len(c.Scale) != n || len(c.Step) != n || len(c.Few) != n {
		return "its columns do not fit each other"
	}
	for j, s := range c.Scale {
		if !(s > 0) || c.Step[j] < 0 {
			return "a column has no scale"
		}
	}
	return ""
}
