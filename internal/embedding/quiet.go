package embedding

import (
	"math"
	"slices"
)

// Quiet returns the coverage up to which an honest client is left alone: the split-conformal
// quantile (Vovk et al., Algorithmic Learning in a Random World, 2005) of what honest
// clients cover, each counted once with its most. Of clients like those, at most the share
// bound covers more. With few clients no small share can be promised: bound is then more
// than alpha, which is between 0 and 1, and quiet the most that any covers. Without clients
// both are 1.
func Quiet(clients []float64, alpha float64) (quiet, bound float64) {
	n := len(clients)
	if n == 0 {
		return 1, 1
	}
	sorted := slices.Sorted(slices.Values(clients))
	at := min(int(math.Ceil(float64(n+1)*(1-alpha)-1e-9)), n)
	return sorted[at-1], 1 - float64(at)/float64(n+1)
}
