package poison

import (
	"math"
	"slices"
)

// textWidth is how many coordinates a column of texts gets: each text a direction drawn by
// chance, so that any two are about as far apart.
const textWidth = 4

// place puts all rows on one scale, and finds those that nearly are each other.
func (v *View) place() {
	width := 0
	for j := range v.features {
		if v.features[j].texts != nil {
			width += textWidth
		} else {
			width++
		}
	}
	room := make([]float32, width*v.all)
	v.point = make([][]float32, v.all)
	for i := range v.point {
		v.point[i] = room[i*width : (i+1)*width : (i+1)*width]
	}
	cells := make([]uint64, v.all)
	rng := v.rng("texts")
	at := 0
	for j := range v.features {
		f := &v.features[j]
		if f.texts != nil {
			v.placeTexts(f, at, rng.Uint64())
			at += textWidth
		} else {
			v.placeNumbers(f, at)
			at++
		}
		for i := range cells {
			cells[i] = mix(cells[i], f.cell(i))
		}
	}
	v.twins(cells)
}

// mix folds a number into a hash.
func mix(h, x uint64) uint64 {
	h = (h ^ x) * 0x9E3779B97F4A7C15
	return h ^ h>>29
}

// cell is the box of 8 % width, or the part of the column, that the value of a row lies in.
func (f *feature) cell(i int) uint64 {
	x := f.value[i]
	switch {
	case f.texts != nil || math.IsNaN(x):
		return uint64(f.code[i])
	case f.log:
		return uint64(f.bucket(x))
	}
	return uint64(f.fine[i])
}

// bucket numbers intervals that are 8 % wide. Whole numbers up to 12 have their own.
func (f *feature) bucket(x float64) int {
	a := math.Abs(x)
	if a <= 12 && x == math.Trunc(x) {
		return int(x) + 16
	}
	b := 1000 + int(math.Floor(math.Log(a)/math.Log(1.08)))
	if x < 0 {
		return -b
	}
	return b
}

// twins numbers the groups of rows that share all cells.
func (v *View) twins(cells []uint64) {
	v.twin = make([]int32, v.all)
	group := make(map[uint64]int32, v.all)
	for i, c := range cells {
		g, ok := group[c]
		if !ok {
			g = int32(len(group))
			group[c] = g
		}
		v.twin[i] = g
	}
}

// placeNumbers scales a column: logarithms where it spans orders of magnitude, then by what
// holds most rows, so that no few rows stretch or move it; beyond six units values are
// pressed together. All is reckoned in shares of a large value, so that nothing overflows:
// every coordinate is finite.
func (v *View) placeNumbers(f *feature, at int) {
	turned := make([]float64, len(f.known))
	for k, x := range f.known {
		turned[k] = x
		if f.log {
			turned[k] = math.Copysign(math.Log1p(math.Abs(x)), x)
		}
	}
	mean, scale, unit := v.scale(f, turned)
	for i, c := range f.code {
		if int(c) == len(turned) {
			v.point[i][at] = -3 // what is missing is a value of its own
			continue
		}
		z := (turned[c]/unit - mean) / scale
		if a := math.Abs(z); a > 6 {
			z = math.Copysign(6+math.Log(min(a, farthest)/6), z)
		}
		v.point[i][at] = float32(z)
	}
}

// farthest bounds how far from the middle, in what is usual, a value is placed.
const farthest = 1e9

// scale returns the middle of a column and what is a usual way from it, in units: the mean
// and the deviation of values that are taken to be no farther out than 96 % of them.
func (v *View) scale(f *feature, turned []float64) (mean, scale, unit float64) {
	var sorted []float64
	step := max(v.all/4096, 1)
	for i := 0; i < v.all; i += step {
		if c := f.code[i]; int(c) < len(turned) {
			sorted = append(sorted, turned[c])
		}
	}
	slices.Sort(sorted)
	low, high := turned[0], turned[len(turned)-1]
	if len(sorted) > 0 {
		low, high = sorted[len(sorted)/50], sorted[len(sorted)-1-len(sorted)/50]
	}
	if low == high { // nearly all rows have one value: the others are the measure
		unit = max(math.Abs(turned[0]), math.Abs(turned[len(turned)-1]), math.SmallestNonzeroFloat64)
		var away []float64
		for _, c := range f.code {
			if int(c) < len(turned) && turned[c] != low {
				away = append(away, math.Abs(turned[c]/unit-low/unit))
			}
		}
		if len(away) == 0 {
			return low / unit, 1, unit
		}
		slices.Sort(away)
		return low / unit, max(away[len(away)*9/10]/3, math.SmallestNonzeroFloat64), unit
	}
	unit = max(math.Abs(low), math.Abs(high))
	square, n := 0.0, 0.0
	inside := func(c int32) float64 { return min(max(turned[c], low), high) / unit }
	for _, c := range f.code {
		if int(c) < len(turned) {
			mean += inside(c)
			n++
		}
	}
	mean /= max(n, 1)
	for _, c := range f.code {
		if int(c) < len(turned) {
			square += (inside(c) - mean) * (inside(c) - mean)
		}
	}
	return mean, math.Sqrt(square/max(n, 1)) + 1e-15, unit
}

// placeTexts gives each text a direction of length 1.
func (v *View) placeTexts(f *feature, at int, salt uint64) {
	way := make([][textWidth]float32, len(f.known)+1)
	for k := range way {
		h, length := mix(salt, uint64(k)+1), 0.0
		var p [textWidth]float64
		for d := range p {
			h = mix(h, uint64(d)+7)
			p[d] = float64(h>>11)/(1<<52) - 1
			length += p[d] * p[d]
		}
		for d := range p {
			way[k][d] = float32(p[d] / (math.Sqrt(length) + 1e-9) * 1.2)
		}
	}
	for i, c := range f.code {
		copy(v.point[i][at:at+textWidth], way[c][:])
	}
}
