package extraction

import (
	"math"

	"github.com/pavise/pavise/internal/learn"
)

// A column is what a thief sees of one column of the rows at hand.
type column struct {
	min, max   float64
	mean, std  float64
	whole      bool // only whole numbers occur: others would give an attack away, or be refused
	tail       float64
	negligible bool // it is constant
}

// columns looks at every column of m, which has rows.
func columns(m learn.Matrix) []column {
	list := make([]column, m.Cols)
	for j := range list {
		list[j] = columnOf(m, j)
	}
	return list
}

func columnOf(m learn.Matrix, j int) column {
	c := column{min: math.Inf(1), max: math.Inf(-1), whole: true}
	sum, square, logs, n := 0.0, 0.0, 0.0, 0
	for i := range m.Rows {
		v := float64(m.Data[i*m.Cols+j])
		c.min, c.max = min(c.min, v), max(c.max, v)
		c.whole = c.whole && v == math.Trunc(v)
		sum += v
		if v != 0 {
			logs += math.Log(math.Abs(v))
			n++
		}
	}
	c.mean = sum / float64(m.Rows)
	for i := range m.Rows {
		d := float64(m.Data[i*m.Cols+j]) - c.mean
		square += d * d
	}
	c.std = math.Sqrt(square / float64(m.Rows))
	c.negligible = c.max == c.min
	if n > 0 {
		c.tail = math.Exp(logs / float64(n)) // the geometric mean of what is not zero
	}
	return c
}

// span is the width of the column's range.
func (c column) span() float64 { return c.max - c.min }

// fit brings a value into the range, and to a whole number where the column has only
// those.
func (c column) fit(v float64) float32 {
	v = min(max(v, c.min), c.max)
	if c.whole {
		v = math.Round(v)
	}
	return float32(v)
}
