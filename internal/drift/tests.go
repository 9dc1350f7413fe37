package drift

import (
	"cmp"
	"math"
	"slices"
)

// chiSquare tests whether two rows of counts are of one distribution (Pearson's test of
// homogeneity). Neighbours with too little in them are put together.
func chiSquare(a, b []uint32, n, m float64) (statistic float64, df int, p float64) {
	const least = 5 // expected in each
	small := min(n, m) / (n + m)
	var x, y float64
	groups := 0
	add := func() {
		pooled := (x + y) / (n + m)
		statistic += square(x-n*pooled)/(n*pooled) + square(y-m*pooled)/(m*pooled)
		groups++
		x, y = 0, 0
	}
	left := n + m
	for i := range a {
		x, y, left = x+float64(a[i]), y+float64(b[i]), left-float64(a[i])-float64(b[i])
		if (x+y)*small >= least && left*small >= least {
			add()
		}
	}
	if x+y > 0 {
		add()
	}
	if df = groups - 1; df < 1 {
		return 0, 0, 1
	}
	return statistic, df, gammaQ(float64(df)/2, statistic/2)
}

func square(x float64) float64 { return x * x }

// gammaQ is the regularised incomplete gamma function Q(a, x) (Abramowitz and Stegun, 6.5.29
// and 6.5.31): the chance that χ² with 2a degrees of freedom exceeds 2x.
func gammaQ(a, x float64) float64 {
	if x <= 0 {
		return 1
	}
	lg, _ := math.Lgamma(a)
	front := math.Exp(a*math.Log(x) - x - lg)
	if x < a+1 {
		sum, term := 1/a, 1/a
		for n := a + 1; term > sum*1e-15; n++ {
			term *= x / n
			sum += term
		}
		return max(0, 1-front*sum)
	}
	const tiny = 1e-300
	b := x + 1 - a
	c, d := 1/tiny, 1/b
	h := d
	for i := 1.0; i < 10000; i++ {
		k := -i * (i - a)
		b += 2
		if d = k*d + b; math.Abs(d) < tiny {
			d = tiny
		}
		if c = b + k/c; math.Abs(c) < tiny {
			c = tiny
		}
		d = 1 / d
		h *= d * c
		if math.Abs(d*c-1) < 1e-14 {
			break
		}
	}
	return min(1, front*h)
}

// kolmogorov is the test of Kolmogorov and Smirnov on counts in order: the largest distance of
// two distribution functions at the edges, and its chance (Stephens, JRSS B 32, 1970). Between
// edges it may be larger: on counts the chance is never too small.
func kolmogorov(a, b []uint32, n, m float64) (d, p float64) {
	var x, y float64
	for i := range a {
		x, y = x+float64(a[i])/n, y+float64(b[i])/m
		d = max(d, math.Abs(x-y))
	}
	root := math.Sqrt(n * m / (n + m))
	lambda := (root + 0.12 + 0.11/root) * d
	if lambda < 0.2 {
		return d, 1
	}
	sign := 1.0
	for k := 1.0; k <= 100; k++ {
		term := math.Exp(-2 * square(k*lambda))
		p += 2 * sign * term
		if sign = -sign; term < 1e-16 {
			break
		}
	}
	return d, min(max(p, 0), 1)
}

// divergences are the distance of Jensen and Shannon (0 to 1), less what chance makes of it, and
// the population stability index, which is told because people ask for it and decides nothing.
func divergences(a, b []uint32, n, m float64) (js, psi float64) {
	used := 0
	sum := 0.0
	for i := range a {
		p, q := float64(a[i])/n, float64(b[i])/m
		if p+q == 0 {
			continue
		}
		used++
		mid := (p + q) / 2
		if p > 0 {
			sum += p * math.Log(p/mid) / 2
		}
		if q > 0 {
			sum += q * math.Log(q/mid) / 2
		}
		p, q = max(p, 0.5/n), max(q, 0.5/m) // an empty bin as half a row
		psi += (q - p) * math.Log(q/p)
	}
	sum -= float64(used-1) / 8 * (1/n + 1/m)
	return math.Sqrt(min(max(sum/math.Ln2, 0), 1)), psi
}

// proportions tests whether k of n and l of m are one proportion: exactly where they are few
// (Fisher), otherwise by χ².
func proportions(k, n, l, m float64) float64 {
	hits, all := k+l, n+m
	if hits == 0 || hits == all || n == 0 || m == 0 {
		return 1
	}
	if min(hits, all-hits) > 1000 {
		pooled := hits / all
		return gammaQ(0.5, square(k/n-l/m)/(pooled*(1-pooled)*(1/n+1/m))/2)
	}
	if all-hits < hits { // the same by those who are none
		k, l, hits = n-k, m-l, all-hits
	}
	from, to := max(0, hits-m), min(hits, n)
	seen := logChoose(n, k) + logChoose(m, l)
	whole := logChoose(all, hits)
	p := 0.0
	for i := from; i <= to; i++ {
		if t := logChoose(n, i) + logChoose(m, hits-i); t <= seen+1e-7 {
			p += math.Exp(t - whole)
		}
	}
	return min(p, 1)
}

func logChoose(n, k float64) float64 {
	a, _ := math.Lgamma(n + 1)
	b, _ := math.Lgamma(k + 1)
	c, _ := math.Lgamma(n - k + 1)
	return a - b - c
}

// falseDiscoveries turns p-values into q-values: calling drift what has a q of 0.01 at most is
// wrong in one case of a hundred, on average, among those called so (Benjamini and Hochberg,
// JRSS B 57, 1995). Order is room for as many numbers as there are p-values.
func falseDiscoveries(p, q []float64, order []int) {
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(p[a], p[b]) })
	least := 1.0
	for i := len(order) - 1; i >= 0; i-- {
		least = min(least, p[order[i]]*float64(len(p))/float64(i+1))
		q[order[i]] = least
	}
}
