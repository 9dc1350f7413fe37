package drift

import (
	"math"
	"math/rand/v2"
	"testing"
)

// directions are what a projection was in versions before it was one: baselines of theirs are in
// force still, with bins of their own for what is asked often, which are as wide as one number.
func directions(seed [32]byte, width, n int) [][]float64 {
	draw := rand.NewChaCha8(seed)
	all := make([][]float64, n)
	for i := range all {
		all[i] = make([]float64, width)
		var bits uint64
		for j := range all[i] {
			if j%64 == 0 {
				bits = draw.Uint64()
			}
			all[i][j] = 1 / math.Sqrt(float64(width))
			if bits>>(j%64)&1 == 0 {
				all[i][j] = -all[i][j]
			}
		}
	}
	return all
}

// TestProjection: to the last bit what one direction after another comes to, in either way.
func TestProjection(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 9))
	const width, from = 300, 2
	p, old := NewProjection([32]byte{7}, width), directions([32]byte{7}, width, Directions)
	for _, count := range []int{1, 2, 5, 64} {
		rows := make([][]float64, count)
		for i := range rows {
			rows[i] = normals(rng, from+width+1, 3, 100)
		}
		rows[count-1][from] = math.NaN()
		into := make([]float64, Directions*count)
		p.Onto(from, rows, into)
		for i, row := range rows {
			var slowly [Directions]float64
			projectSlowly(&slowly, p.signs, row[from:][:width])
			for d := range Directions {
				want := 0.0
				for j, v := range row[from:][:width] {
					want += float64(v * old[d][j])
				}
				got := into[d*count+i]
				if want != want && got != got && slowly[d] != slowly[d] {
					continue // it lacks a column
				}
				if got != want || slowly[d] != want {
					t.Fatalf("row %d of %d has %v in direction %d, slowly %v, and it is %v", i, count, got, d, slowly[d], want)
				}
			}
		}
	}
}

func BenchmarkProjection(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	const width = 1024
	p := NewProjection([32]byte{7}, width)
	rows := make([][]float64, 64)
	for i := range rows {
		rows[i] = normals(rng, width, 0, 1)
	}
	into := make([]float64, Directions*len(rows))
	perCell(b, len(rows)*width, func() { p.Onto(0, rows, into) })
}
