package anomaly

import (
	"math"
	"math/rand/v2"
)

const subspaceRounds = 12 // of orthogonal iteration; the leading directions have settled by then

// A Subspace is where the rows of a kind lie: the directions in which they differ most
// (principal components, found by orthogonal iteration). What sticks out of it is unlike
// them in a way that they never differ among each other.
type Subspace struct {
	Mean []float32   `json:"mean"` // by column
	Axes [][]float32 `json:"axes"` // orthonormal, by column
	Unit float32     `json:"unit"` // the usual length of a row's coordinates, above 0
}

// FitSubspace finds n directions at most, and no more than half the columns, of rows of
// one width.
func FitSubspace(rows [][]float32, n int, rng *rand.Rand) *Subspace {
	width := len(rows[0])
	s := &Subspace{Mean: make([]float32, width)}
	for _, row := range rows {
		for j, v := range row {
			s.Mean[j] += v / float32(len(rows))
		}
	}
	for range max(1, min(n, width/2)) {
		axis := make([]float32, width)
		for j := range axis {
			axis[j] = float32(rng.NormFloat64())
		}
		s.Axes = append(s.Axes, axis)
	}
	orthonormal(s.Axes)
	centered := make([]float32, width)
	for range subspaceRounds {
		next := make([][]float32, len(s.Axes))
		for k := range next {
			next[k] = make([]float32, width)
		}
		for _, row := range rows {
			for j, v := range row {
				centered[j] = v - s.Mean[j]
			}
			for k, axis := range s.Axes {
				addScaled(next[k], centered, dot(axis, centered))
			}
		}
		orthonormal(next)
		s.Axes = next
	}
	var sum float64
	at := make([]float32, 0, len(s.Axes))
	for _, row := range rows {
		at, _ = s.Project(at[:0], row)
		sum += float64(dot(at, at))
	}
	s.Unit = max(float32(math.Sqrt(sum/float64(len(rows)))), 1e-6)
	return s
}

// Project appends the coordinates of a row along the axes, and returns how far the row
// sticks out of the subspace.
func (s *Subspace) Project(dst []float32, row []float32) ([]float32, float32) {
	from, width := len(dst), len(row)
	for j, v := range row { // the row from its mean stands where the coordinates will, until they are known
		dst = append(dst, v-s.Mean[j])
	}
	centered := dst[from:]
	total := dot(centered, centered)
	for _, axis := range s.Axes {
		at := dot(axis, dst[from:from+width])
		dst = append(dst, at)
		total -= at * at
	}
	n := copy(dst[from:], dst[from+width:])
	return dst[:from+n], float32(math.Sqrt(float64(max(0, total))))
}

// orthonormal makes axes of length 1 at right angles to each other (Gram and Schmidt). One
// that lies in the span of those before it becomes nothing.
func orthonormal(axes [][]float32) {
	for k, axis := range axes {
		before := dot(axis, axis)
		for _, other := range axes[:k] {
			addScaled(axis, other, -dot(axis, other))
		}
		length := dot(axis, axis)
		scale := float32(0)
		if length > 1e-9*before && length > 0 {
			scale = 1 / float32(math.Sqrt(float64(length)))
		}
		for j := range axis {
			axis[j] *= scale
		}
	}
}

func dot(a, b []float32) (sum float32) {
	b = b[:len(a)]
	var s0, s1, s2, s3 float32
	i := 0
	for ; i+4 <= len(a); i += 4 {
		s0 += a[i] * b[i]
		s1 += a[i+1] * b[i+1]
		s2 += a[i+2] * b[i+2]
		s3 += a[i+3] * b[i+3]
	}
	for ; i < len(a); i++ {
		s0 += a[i] * b[i]
	}
	return s0 + s1 + s2 + s3
}

func addScaled(dst, src []float32, by float32) {
	src = src[:len(dst)]
	for i := range dst {
		dst[i] += by * src[i]
	}
}

// Misfit says what of the subspace does not fit rows of that width, or "".
func (s *Subspace) Misfit(width int) string {
	if len(s.Mean) != width || len(s.Axes) == 0 || !(s.Unit > 0) {
		return "its subspace does not fit its columns"
	}
	for _, axis := range s.Axes {
		if len(axis) != width {
			return "an axis of its subspace does not fit its columns"
		}
	}
	return ""
}
