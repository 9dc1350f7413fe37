package anomaly

import (
	"math"
	"slices"
)

// Conformal returns the value that one more score, exchangeable with these, exceeds with a
// probability of at most bound; bound is alpha, or more where so few scores cannot support
// it (Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005; split
// conformal). There is at least one score.
func Conformal(scores []float64, alpha float64) (threshold, bound float64) {
	sorted := slices.Sorted(slices.Values(scores))
	n := float64(len(sorted))
	rank := math.Ceil((n + 1) * (1 - alpha))
	if rank > n {
		return sorted[len(sorted)-1], 1 / (n + 1)
	}
	return sorted[int(rank)-1], 1 - rank/(n+1)
}

// ClopperPearson returns the interval of probabilities under which k hits among n trials
// are not surprising at the given confidence, such as 0.95: the exact one of Clopper and
// Pearson (1934).
func ClopperPearson(k, n int, confidence float64) (low, high float64) {
	tail := (1 - confidence) / 2
	low, high = 0, 1
	if k > 0 {
		low = bisect(func(p float64) bool { return AtLeast(k, n, p) < tail })
	}
	if k < n {
		high = bisect(func(p float64) bool { return 1-AtLeast(k+1, n, p) > tail })
	}
	return low, high
}

// bisect returns the probability at which below ends.
func bisect(below func(p float64) bool) float64 {
	low, high := 0.0, 1.0
	for range 60 {
		if mid := (low + high) / 2; below(mid) {
			low = mid
		} else {
			high = mid
		}
	}
	return (low + high) / 2
}

// AtLeast is the probability of k hits or more among n trials of probability p.
func AtLeast(k, n int, p float64) float64 {
	switch {
	case k <= 0:
		return 1
	case k > n || p <= 0:
		return 0
	case p >= 1:
		return 1
	}
	var sum float64
	for i := k; i <= n; i++ {
		sum += math.Exp(logChoose(n, i) + float64(i)*math.Log(p) + float64(n-i)*math.Log1p(-p))
	}
	return min(sum, 1)
}

func logChoose(n, k int) float64 {
	a, _ := math.Lgamma(float64(n + 1))
	b, _ := math.Lgamma(float64(k + 1))
	c, _ := math.Lgamma(float64(n - k + 1))
	return a - b - c
}
