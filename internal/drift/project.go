package drift

import (
	"math"
	"math/rand/v2"
)

// Directions is how many there are in a Projection.
const Directions = 32

// A Projection is random directions onto which rows with many columns are projected: signs, with
// the length of one (Achlioptas, Database-friendly random projections, 2003).
type Projection struct {
	width int
	signs [][Directions]float64 // by column
}

// NewProjection draws directions.
func NewProjection(seed [32]byte, width int) *Projection {
	draw := rand.NewChaCha8(seed)
	size := 1 / math.Sqrt(float64(width))
	p := &Projection{width: width, signs: make([][Directions]float64, width)}
	for d := range Directions {
		var bits uint64
		for j := range p.signs {
			if j%64 == 0 {
				bits = draw.Uint64()
			}
			if p.signs[j][d] = size; bits>>(j%64)&1 == 0 {
				p.signs[j][d] = -size
			}
		}
	}
	return p
}

// Onto projects rows, which have the projection's columns from one on. Into takes what they have
// of one direction after another. Each is summed up column by column, whatever computes it: what
// has a bin of its own stays in it, to the last bit.
func (p *Projection) Onto(from int, rows [][]float64, into []float64) {
	n := len(rows)
	for i, row := range rows {
		var sums [Directions]float64
		row = row[from:][:p.width]
		if fast {
			project(&sums, &p.signs[0], &row[0], len(row))
		} else {
			projectSlowly(&sums, p.signs, row)
		}
		for d, sum := range sums {
			into[d*n+i] = sum
		}
	}
}

// projectSlowly adds a row's columns, each times its signs, to sums.
func projectSlowly(sums *[Directions]float64, signs [][Directions]float64, row []float64) {
	for j, x := range row {
		for d, sign := range &signs[j] {
			sums[d] += float64(x * sign) // rounded before it is added: some processors would do both at once
		}
	}
}
