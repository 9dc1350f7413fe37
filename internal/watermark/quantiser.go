package watermark

import (
	"fmt"
	"math"
	"slices"

	"github.com/pavise/pavise"
)

// The kinds of Quantiser.
const (
	Exact = "exact" // inputs are the same when their 32-bit numbers are
	Cells = "cells" // inputs are the same when they lie in one cell of a space of few directions
)

const (
	directions = 8 // of cells
	// MaxColumns bounds the numbers of an input.
	MaxColumns = 1 << 17
	// alike is the share of different rows that must lie in different cells: where more
	// share one, a mark is a mark on many inputs.
	alike = 0.95
	// widest is how many standard deviations a cell has at first; it is halved until rows
	// lie alike, at most to narrowest.
	widest, narrowest = 0.5, 0.5 / 256
)

// A Quantiser says which inputs count as the same, and so share their fate.
//
// Exact parts what differs in one bit: a thief who adds a little noise to an input and
// asks again draws anew, and finds marks by comparing the answers.
//
// Cells look at an input along eight secret directions, over columns that are scaled to
// like size, and cut each direction into pieces. A change that is small beside the spread
// of the data leaves an input in its cell, as a rule; one that crosses from one piece into
// the next draws anew. A change of a hundredth of the data's spread in every column, at
// random, crosses about once in eight times; one of a tenth more often than not.
type Quantiser struct {
	Kind  string    `json:"kind"`
	Scale []float64 `json:"scale,omitempty"` // of Cells, for each column; 0: the column does not count
	Width []float64 `json:"width,omitempty"` // of Cells, for each direction
}

// fault says what is wrong with a quantiser, or "".
func (q Quantiser) fault() string {
	switch q.Kind {
	case Exact:
		if len(q.Scale)+len(q.Width) > 0 {
			return "is exact and has numbers"
		}
		return ""
	case Cells:
	default:
		return fmt.Sprintf("is %.40q; known are exact and cells", q.Kind)
	}
	switch {
	case len(q.Scale) == 0 || len(q.Scale) > MaxColumns:
		return fmt.Sprintf("has %d columns, and not 1 to %d", len(q.Scale), MaxColumns)
	case len(q.Width) != directions:
		return fmt.Sprintf("has %d widths, and not %d", len(q.Width), directions)
	case slices.ContainsFunc(q.Scale, func(v float64) bool { return !finite(v) || v < 0 }):
		return "has a scale that is no number from 0 on"
	case slices.ContainsFunc(q.Width, func(v float64) bool { return !finite(v) || v <= 0 }):
		return "has a width that is no number above 0"
	case !slices.ContainsFunc(q.Scale, func(v float64) bool { return v > 0 }):
		return "counts no column"
	}
	return ""
}

// A Fit says how cells lie on the rows that they were fitted to.
type Fit struct {
	Rows    int     `json:"rows"`
	Unlike  int     `json:"unlike"`  // different rows
	Cells   int     `json:"cells"`   // that they lie in
	Fullest float64 `json:"fullest"` // share of the rows in the fullest cell: all are marked if one is
}

// FitCells returns the quantiser of cells for a secret and rows as the model is asked: as
// wide as 95 of 100 different rows still lie in cells of their own, and at most half a
// standard deviation. The error is of kind Invalid.
func FitCells(secret [SecretSize]byte, rows [][]float64) (Quantiser, Fit, error) {
	q := Quantiser{Kind: Cells}
	if len(rows) < 2 {
		return q, Fit{}, invalid("give some hundreds, as the model is asked", "cells cannot be fitted to %d rows", len(rows))
	}
	scale, err := spreads(rows)
	if err != nil {
		return q, Fit{}, err
	}
	q.Scale, q.Width = scale, slices.Repeat([]float64{1}, directions)
	if why := q.fault(); why != "" {
		return q, Fit{}, invalid("give rows that differ", "a quantiser of cells for these rows %s", why)
	}
	p := newProjector(secret, q)
	places := make([][directions]float64, len(rows))
	unlike := map[string]bool{}
	var room []byte
	for i, row := range rows {
		places[i] = p.project(row)
		room, _ = appendExact(room[:0], row)
		unlike[string(room)] = true
	}
	spread := make([][]float64, len(places))
	for i := range places {
		spread[i] = places[i][:]
	}
	width, err := spreads(spread)
	if err != nil {
		return q, Fit{}, err
	}
	return q.narrow(p, places, width, Fit{Rows: len(rows), Unlike: len(unlike)})
}

// narrow halves the widths until rows lie alike.
func (q Quantiser) narrow(p *projector, places [][directions]float64, spread []float64, fit Fit) (Quantiser, Fit, error) {
	for share := widest; ; share /= 2 {
		for j := range q.Width {
			q.Width[j] = max(spread[j]*share, math.SmallestNonzeroFloat64*1e10)
		}
		p.width = q.Width
		cells, fullest := map[[directions]int64]int{}, 0
		for _, z := range places {
			cell, _ := p.cell(z)
			cells[cell]++
			fullest = max(fullest, cells[cell])
		}
		fit.Cells, fit.Fullest = len(cells), float64(fullest)/float64(fit.Rows)
		if float64(fit.Cells) >= alike*float64(fit.Unlike) || share <= narrowest {
			return q, fit, nil
		}
	}
}

// spreads returns the standard deviation of each column; 0 for one that does not vary.
func spreads(rows [][]float64) ([]float64, error) {
	columns := len(rows[0])
	mean, square := make([]float64, columns), make([]float64, columns) // Welford's sums
	for i, row := range rows {
		if len(row) != columns {
			return nil, invalid("every row has as many", "row %d has %d columns, and the first one %d", i+1, len(row), columns)
		}
		for j, v := range row {
			if !finite(v) {
				return nil, invalid("clean the rows", "row %d has the number %v in column %d", i+1, v, j)
			}
			d := v - mean[j]
			mean[j] += d / float64(i+1)
			square[j] += d * (v - mean[j])
		}
	}
	for j := range square {
		if square[j] = math.Sqrt(square[j] / float64(len(rows))); !finite(square[j]) {
			return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("column %d spreads beyond what a number can be", j), Hint: "scale the column"}
		}
		if square[j] < 1e-12*math.Abs(mean[j]) { // rounding
			square[j] = 0
		}
	}
	return square, nil
}
