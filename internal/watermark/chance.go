package watermark

import "math"

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

// hypergeometricTail returns the binary logarithm of the probability that of marked ones
// among all, chosen blindly, hits or more are among those that hit. It is the one-sided
// test of Fisher (Statistical Methods for Research Workers, 1934, section 21.02).
func hypergeometricTail(hits, marked, allHits, all int) float64 {
	most := min(marked, allHits)
	switch {
	case hits <= max(0, marked+allHits-all):
		return 0
	case hits > most:
		return math.Inf(-1)
	}
	term := func(i int) float64 {
		return choose(allHits, i) + choose(all-allHits, marked-i) - choose(all, marked)
	}
	up := func(i int) float64 {
		return float64(allHits-i) / float64(i+1) * float64(marked-i) / float64(all-allHits-marked+i+1)
	}
	mode := int(float64(marked+1) * float64(allHits+1) / float64(all+2))
	return tail(hits, most, mode, term, up)
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
