package anomaly

import (
	"math"
	"math/rand/v2"
)

// A Sketch folds rows of any width into a few coordinates and keeps their distances, about
// (a count sketch: Charikar, Chen and Farach-Colton, 2002; as a projection: Weinberger et
// al., 2009). Rows no wider than the sketch are kept as they are. It is linear: what lies on a
// line still does.
type Sketch struct {
	Place []uint8   `json:"place"` // by column: the coordinate it goes to
	Sign  []float32 `json:"sign"`  // by column: 1 or -1
	Unit  float32   `json:"unit"`  // the usual size of a coordinate, above 0
}

// SketchLen is how many coordinates a sketch has.
const SketchLen = 32

// FitSketch draws a sketch for rows of one width.
func FitSketch(rows [][]float32, rng *rand.Rand) *Sketch {
	width := len(rows[0])
	s := &Sketch{Place: make([]uint8, width), Sign: make([]float32, width), Unit: 1}
	for j := range width {
		s.Place[j], s.Sign[j] = uint8(j%SketchLen), 1
		if width > SketchLen {
			s.Place[j], s.Sign[j] = uint8(rng.IntN(SketchLen)), float32(2*rng.IntN(2)-1)
		}
	}
	var sum float64
	var at [SketchLen]float32
	for _, row := range rows {
		s.Fold(&at, row)
		for _, v := range at {
			sum += float64(v * v)
		}
	}
	used := float64(min(width, SketchLen) * len(rows))
	s.Unit = max(float32(math.Sqrt(sum/used)), 1e-6)
	return s
}

// Fold sets dst to the sketch of a row, in units.
func (s *Sketch) Fold(dst *[SketchLen]float32, row []float32) {
	*dst = [SketchLen]float32{}
	for j, v := range row {
		dst[s.Place[j]%SketchLen] += v * s.Sign[j]
	}
	for k := range dst {
		dst[k] /= s.Unit
	}
}

// Misfit says what of the sketch does not fit rows of that width, or "".
func (s *Sketch) Misfit(width int) string {
	if len(s.Place) != width || len(s.Sign) != width || !(s.Unit > 0) {
		return "its sketch does not fit its columns"
	}
	return ""
}
