package cohort

import (
	"math"
	"slices"
)

// part is what one template adds to the Jensen-Shannon divergence of two pods that print it in
// these shares, in nats (Lin: Divergence Measures Based on the Shannon Entropy, IEEE Trans. Inf.
// Theory 37, 1991). All parts together are 0 for the same and ln 2 for nothing in common.
func part(p, q float64) float64 {
	m, d := (p+q)/2, 0.0
	if p > 0 {
		d += p / 2 * math.Log(p/m)
	}
	if q > 0 {
		d += q / 2 * math.Log(q/m)
	}
	return d
}

// chance is the part that one template adds on average when n lines are drawn in its share: an
// eighth of a line, or less if not one is expected.
func chance(share float64, n int) float64 {
	return min((1-share)/8, math.Ln2*share*float64(n)) / float64(n)
}

// spread is the standard deviation of a divergence that is this on average by chance: 8n times
// it is about χ² distributed.
func spread(mean float64, n int) float64 { return math.Sqrt(mean / 4 / float64(n)) }

// robust returns the median, and the median absolute deviation in the measure of a standard
// deviation.
func robust(values []float64) (median, deviation float64) {
	median = middle(values)
	away := make([]float64, len(values))
	for i, v := range values {
		away[i] = math.Abs(v - median)
	}
	return median, 1.4826 * middle(away)
}

// middle is the median.
func middle(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}
