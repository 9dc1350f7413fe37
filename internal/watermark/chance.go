package watermark

import (
	"math"
	"sort"
)

// binomialTail returns the binary logarithm of the probability of hits or more in so many
// trials, each of which hits with a chance from 0 to 1. It is exact but for rounding, and
// does not underflow.
func binomialTail(hits, trials int, chance float64) float64 {
	switch {
	case hits <= 0 || chance >= 1:
		return 0
	case hits > trials || chance <= 0:
		return math.Inf(-1)
	}
	yes, no := math.Log(chance), math.Log1p(-chance)
	term := func(i int) float64 {
		return choose(trials, i) + float64(i)*yes + float64(trials-i)*no
	}
	up := func(i int) float64 { // term i+1 over term i
		return float64(trials-i) / float64(i+1) * chance / (1 - chance)
	}
	return tail(hits, trials, int(float64(trials+1)*chance), term, up)
}

// markTail returns the binary logarithm of the probability of hits or more under marks that
// nobody knew. All inputs, of which off have an answer that is not the true one, are marked
// blindly, so many of them; and an answer on a marked one that is off hits with a chance.
// Where all are marked it is the binomial tail; with a chance of 1 it is the one-sided test
// of Fisher (Statistical Methods for Research Workers, 1934, section 21.02).
func markTail(hits, marked, off, all int, chance float64) float64 {
	least, most := max(hits, marked+off-all), min(marked, off)
	switch {
	case hits <= 0:
		return 0
	case least > most:
		return math.Inf(-1)
	}
	// The term of m: of the marked ones m are off, and hits or more of those hit.
	term := func(m int) float64 {
		blindly := choose(off, m) + choose(all-off, marked-m) - choose(all, marked)
		return blindly/math.Ln2 + binomialTail(hits, m, chance)
	}
	// Both factors are log-concave in m, so there is one peak.
	peak := least + sort.Search(most-least, func(i int) bool { return term(least+i+1) <= term(least+i) })
	sum, height := 0.0, term(peak)
	for m := peak; m <= most; m++ {
		share := math.Exp2(term(m) - height)
		if sum += share; share < 1e-18 {
			break
		}
	}
	for m := peak - 1; m >= least; m-- {
		share := math.Exp2(term(m) - height)
		if sum += share; share < 1e-18 {
			break
		}
	}
	return min(height+math.Log2(sum), 0)
}

// tail sums the terms from least to most of a distribution with one mode, in binary
// logarithms. The terms are natural logarithms, up the ratio of the next to a term.
func tail(least, most, mode int, term, up func(int) float64) float64 {
	peak := min(max(mode, least), most)
	sum := 1.0
	for i, ratio := peak, 1.0; i < most; i++ {
		if ratio *= up(i); ratio < 1e-18 {
			break
		}
		sum += ratio
	}
	for i, ratio := peak, 1.0; i > least; i-- {
		if ratio /= up(i - 1); ratio < 1e-18 {
			break
		}
		sum += ratio
	}
	return min((term(peak)+math.Log(sum))/math.Ln2, 0)
}

// choose returns the natural logarithm of how many ways there are to choose k of n.
func choose(n, k int) float64 {
	return logFactorial(n) - logFactorial(k) - logFactorial(n-k)
}

func logFactorial(n int) float64 {
	v, _ := math.Lgamma(float64(n) + 1)
	return v
}
