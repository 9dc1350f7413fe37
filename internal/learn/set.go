package learn

import (
	"math/rand/v2"
	"slices"

	"github.com/pavise/pavise/internal/onnx"
)

// A Matrix is a table of numbers, the same that ONNX graphs run on.
type Matrix = onnx.Matrix

// NewMatrix returns a matrix of zeros.
func NewMatrix(rows, cols int) Matrix { return onnx.NewMatrix(rows, cols) }

// A Set is labelled rows: X has one row for each class index in Y.
type Set struct {
	X Matrix
	Y []int
}

// Pick returns the rows of s at the given indices, in their order, copied.
func (s Set) Pick(rows []int) Set {
	p := Set{X: NewMatrix(len(rows), s.X.Cols), Y: make([]int, len(rows))}
	for i, r := range rows {
		copy(p.X.Row(i), s.X.Row(r))
		p.Y[i] = s.Y[r]
	}
	return p
}

// Split parts s in two at random. The second part holds the given fraction of
// every class, rounded down but at least one row, so that rare classes are
// seen on both sides; a class with a single row stays in the first part.
func (s Set) Split(rng *rand.Rand, fraction float64) (rest, part Set) {
	byClass := map[int][]int{}
	for i, y := range s.Y {
		byClass[y] = append(byClass[y], i)
	}
	var left, right []int
	for y := range slices.Max(append(slices.Clone(s.Y), -1)) + 1 {
		rows := byClass[y]
		rng.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
		n := 0
		if len(rows) > 1 {
			n = min(max(int(fraction*float64(len(rows))), 1), len(rows)-1)
		}
		left, right = append(left, rows[n:]...), append(right, rows[:n]...)
	}
	slices.Sort(left)
	slices.Sort(right)
	return s.Pick(left), s.Pick(right)
}
