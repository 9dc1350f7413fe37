package anomaly

import (
	"math"
	"math/rand/v2"
	"slices"
)

// Fourier maps points to features whose inner product is about the Gaussian kernel of the
// points (Rahimi and Recht, "Random Features for Large-Scale Kernel Machines", 2007). The
// mean of many points' features stands for their distribution: the squared distance of two
// means is the maximum mean discrepancy of Gretton et al. (2012). Features have length 1.
type Fourier struct {
	Frequencies [][]float32 `json:"frequencies"` // each of the width of a point
}

// FitFourier draws n frequencies, half of them for the usual distance of two points and
// half for half of it.
func FitFourier(points [][]float32, n int, rng *rand.Rand) *Fourier {
	usual := usualDistance(points, rng)
	f := &Fourier{}
	for k := range n {
		width := usual
		if k%2 == 1 {
			width /= 2
		}
		w := make([]float32, len(points[0]))
		for j := range w {
			w[j] = float32(rng.NormFloat64() / width)
		}
		f.Frequencies = append(f.Frequencies, w)
	}
	return f
}

// usualDistance is the median distance of two points, above 0.
func usualDistance(points [][]float32, rng *rand.Rand) float64 {
	var list []float64
	for range 1000 {
		a, b := points[rng.IntN(len(points))], points[rng.IntN(len(points))]
		if d := Distance(a, b); d > 0 {
			list = append(list, float64(d))
		}
	}
	if len(list) == 0 {
		return 1
	}
	slices.Sort(list)
	return list[len(list)/2]
}

// Distance is the Euclidean distance of two points.
func Distance(a, b []float32) float32 {
	b = b[:len(a)]
	var sum float32
	for i, v := range a {
		sum += (v - b[i]) * (v - b[i])
	}
	return float32(math.Sqrt(float64(sum)))
}

// Len is how many features a point has.
func (f *Fourier) Len() int { return 2 * len(f.Frequencies) }

// Add adds the features of a point to sum.
func (f *Fourier) Add(sum []float32, point []float32) {
	scale := 1 / float32(math.Sqrt(float64(len(f.Frequencies))))
	for k, w := range f.Frequencies {
		sin, cos := math.Sincos(float64(dot(w, point)))
		sum[2*k] += scale * float32(cos)
		sum[2*k+1] += scale * float32(sin)
	}
}

// Discrepancy is the squared distance of the distribution that n points with these summed
// features were drawn from to one of the given mean features, without the bias of few
// points; it may be just below 0. n is at least 2.
func Discrepancy(sum []float32, n float64, mean []float32) float64 {
	var own, cross, other float64
	for i, s := range sum {
		a, b := float64(s), float64(mean[i])
		own, cross, other = own+a*a, cross+a*b, other+b*b
	}
	return (own-n)/(n*(n-1)) - 2*cross/n + other
}

// Misfit says what of the features does not fit points of that width, or "".
func (f *Fourier) Misfit(width int) string {
	for _, w := range f.Frequencies {
		if len(w) != width {
			return "its frequencies do not fit its subspace"
		}
	}
	if len(f.Frequencies) == 0 {
		return "it has no frequencies"
	}
	return ""
}
