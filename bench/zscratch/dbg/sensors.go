package main

import (
	"math"
	"math/rand/v2"
	"strconv"

	"github.com/pavise/pavise/internal/poison"
)

// sensors is a generated world that nothing was tuned on: machines that are healthy or broken
// in one of three ways, three in four healthy. Its columns are unlike those of the others:
// nearly all different values, some that saturate at either end, angles, readings that drift
// together, cells that are missing, and a text.
func sensors(n int, seed uint64) *world {
	rng := rand.New(rand.NewPCG(seed, 78))
	t := &poison.Table{Classes: []string{"healthy", "worn", "leaking", "misaligned"}}
	const columns = 24
	for j := range columns {
		c := poison.Column{Name: "reading_" + strconv.Itoa(j)}
		if j == columns-1 {
			c.Texts = []string{"north", "east", "south", "west", "spare"}
		}
		t.Columns = append(t.Columns, c)
	}
	for range n {
		class := []int{0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2}[rng.IntN(12)]
		if class == 2 && rng.IntN(3) == 0 {
			class = 3
		}
		load, heat := rng.NormFloat64(), rng.NormFloat64()
		for j := range t.Columns {
			x := load*float64(j%3)/2 + heat*float64(j%4)/3 + rng.NormFloat64()/2 + shift(class, j)
			switch {
			case j == columns-1:
				x = float64(rng.IntN(4 + class%2))
			case j%6 == 5: // an angle
				x = math.Mod(360+90*float64(class%2)+40*x, 360)
			case j%6 == 4: // saturates
				x = math.Round(min(max(512+300*x, 0), 1023))
			case j%6 == 3: // heavy tails
				x = math.Round(1e4*x/(0.05+rng.Float64())) / 1e4
			default:
				x = math.Round(1e4*(20+3*x)) / 1e4
			}
			if rng.IntN(50) == 0 && j < columns-1 {
				x = math.NaN()
			}
			t.Columns[j].Values = append(t.Columns[j].Values, x)
		}
		t.Labels = append(t.Labels, class)
	}
	return &world{name: "sensors", about: "24 generated columns of readings: nearly all different, saturating, angles, missing cells; four classes, one of them three in four rows; nothing was tuned on it", all: t, benign: 0, attack: 1}
}

// shift is what a class does to a reading.
func shift(class, column int) float64 {
	return []float64{0, 2.2, -1.8, 1.5}[class] * float64((column*7+class*3)%5) / 3
}
