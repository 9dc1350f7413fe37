package anomaly

import (
	"math"
	"slices"
)

// Tells is how far what rows hold in one thing tells what they hold in another, from 0, as by chance,
// to 1: how much oftener than any two rows two that are alike in the one are alike in the other (tau
// of Goodman and Kruskal, "Measures of Association for Cross Classifications", 1954, by pairs of
// rows), times the share of rows that any is like. One, other and both number what each row holds,
// from 0; rows that are out do not count.
func Tells(one, other, both []int32, out []bool) float64 {
	ones, others, pairs := make([]int32, size(one)), make([]int32, size(other)), make([]int32, size(both))
	left := 0.0
	for k := range out {
		if !out[k] {
			ones[one[k]]++
			others[other[k]]++
			pairs[both[k]]++
			left++
		}
	}
	chance, alike, known := 0.0, 0.0, 0.0
	for k := range out {
		if out[k] {
			continue
		}
		chance += float64(others[other[k]]-1) / (left - 1)
		if n := ones[one[k]]; n > 1 {
			alike += float64(pairs[both[k]]-1) / float64(n-1)
			known++
		}
	}
	if known == 0 {
		return 0
	}
	chance, alike = chance/left, alike/known
	return max((alike-chance)/max(1-chance, 1e-9), 0) * known / left
}

// size is one more than the largest of some numbers, or 0.
func size(numbers []int32) int32 {
	if len(numbers) == 0 {
		return 0
	}
	return slices.Max(numbers) + 1
}

// Divergence is the Jensen-Shannon divergence, in nats, of a distribution that n rows were
// counted for from another one, less what n rows of that other one would show on average.
// free is how many bins are free to differ.
func Divergence(p, q []float64, n float64) (d, free float64) {
	free = -1
	for b := range p {
		mean := (p[b] + q[b]) / 2
		if p[b] > 0 {
			d += p[b] / 2 * math.Log(p[b]/mean)
		}
		if q[b] > 0 {
			d += q[b] / 2 * math.Log(q[b]/mean)
		}
		free += min(1, n*q[b])
	}
	free = max(free, 0)
	return d - free/(8*n), free
}

// Information is the mutual information of a table of counts, so many wide, in nats,
// less what chance would show of n.
func Information(table []float64, width int, n float64) float64 {
	high := make([]float64, len(table)/width)
	wide := make([]float64, width)
	for k, c := range table {
		high[k/width] += c
		wide[k%width] += c
	}
	sum := 0.0
	for k, c := range table {
		if c > 0 {
			sum += c / n * math.Log(c*n/(high[k/width]*wide[k%width]))
		}
	}
	return max(sum-float64((len(high)-1)*(width-1))/(2*n), 0)
}
