package poison

import (
	"fmt"
	"math"
	"slices"
)

// A Shift is a column whose values differ between one part of the rows and another.
type Shift struct {
	Part   string  `json:"part"`   // the source, or "file" where the baseline is the other part
	Column string  `json:"column"` // empty: the class
	Test   string  `json:"test"`   // chi2, or KS
	P      float64 `json:"p"`
	Q      float64 `json:"q"`   // the false discovery rate at which it counts (Benjamini and Hochberg, 1995)
	PSI    float64 `json:"psi"` // population stability index: above 0.25 is much
}

// Limits of shifts that are told.
const (
	shiftRate = 0.01
	shiftPSI  = 0.1
)

// contrast compares each source with the others, and the file with the baseline, column by
// column. It says nothing of single rows: who differs need not be wrong.
func (v *View) contrast() Finding {
	const screen = "contrast"
	if v.source == nil && !v.based() {
		return silent(screen, "it takes sources, or a baseline")
	}
	var all []Shift
	if v.based() {
		mine, theirs := make([]int32, 0, v.rows), make([]int32, 0, v.all-v.rows)
		for i := range v.all {
			if i < v.rows {
				mine = append(mine, int32(i))
			} else {
				theirs = append(theirs, int32(i))
			}
		}
		all = v.compare("file", mine, theirs, all)
	}
	sources, beyond := v.bySource()
	for _, s := range sources {
		if rest := v.others(s.source); len(s.rows) >= 30 && len(rest) >= 30 {
			all = v.compare(v.sources[s.source], s.rows, rest, all)
		}
	}
	f := Finding{Screen: screen, Remarks: beyond}
	f.Shifts = discoveries(all)
	for _, s := range f.Shifts[:min(len(f.Shifts), 20)] {
		name := "the class"
		if s.Column != "" {
			name = "column " + s.Column
		}
		f.Remarks = append(f.Remarks, fmt.Sprintf("%s of %q is not distributed as elsewhere: PSI %.2f, %s, q = %.1g", name, s.Part, s.PSI, s.Test, s.Q))
	}
	return f
}

// maxSources is how many sources are told apart; the file may name more.
const maxSources = 256

// A sender is a source with its rows.
type sender struct {
	source int
	rows   []int32
}

// bySource returns the rows of each source, of the maxSources with most of them, and a remark on
// those beyond.
func (v *View) bySource() (senders []sender, beyond []string) {
	senders = make([]sender, len(v.sources))
	for s := range senders {
		senders[s].source = s
	}
	for i, s := range v.source {
		senders[s].rows = append(senders[s].rows, int32(i))
	}
	slices.SortStableFunc(senders, func(a, b sender) int { return len(b.rows) - len(a.rows) })
	if n := len(senders) - maxSources; n > 0 {
		senders = senders[:maxSources]
		beyond = []string{fmt.Sprintf("the %d sources with most rows were looked at, and %d others were not", maxSources, n)}
	}
	return senders, beyond
}

// others returns the rows of the file that are not of a source.
func (v *View) others(source int) []int32 {
	var rows []int32
	for i, s := range v.source {
		if s != source {
			rows = append(rows, int32(i))
		}
	}
	return rows
}

// compare tests all columns, and the class, for a difference between two sets of rows.
func (v *View) compare(part string, a, b []int32, into []Shift) []Shift {
	class := make([]uint8, v.all)
	for i, y := range v.label {
		class[i] = uint8(y)
	}
	s := Shift{Part: part, Test: "chi2"}
	s.P, s.PSI = chiSquare(class, len(v.classes), a, b)
	into = append(into, s)
	for j := range v.features {
		f := &v.features[j]
		s := Shift{Part: part, Column: f.name, Test: "chi2"}
		s.P, s.PSI = chiSquare(f.bin, f.bins, a, b)
		if f.texts == nil {
			s.Test, s.P = "KS", smirnov(f.code, a, b)
		}
		into = append(into, s)
	}
	return into
}

// chiSquare compares two sets of rows by how they fill bins: the p-value of Pearson's test,
// and the population stability index.
func chiSquare(bin []uint8, bins int, a, b []int32) (p, psi float64) {
	x, y := make([]float64, bins), make([]float64, bins)
	for _, i := range a {
		x[bin[i]]++
	}
	for _, i := range b {
		y[bin[i]]++
	}
	n, m := float64(len(a)), float64(len(b))
	stat, free := 0.0, -1.0
	for k := range x {
		all := x[k] + y[k]
		if all == 0 {
			continue
		}
		free++
		e, g := all*n/(n+m), all*m/(n+m)
		stat += (x[k]-e)*(x[k]-e)/e + (y[k]-g)*(y[k]-g)/g
		s, t := (x[k]+0.5)/(n+1), (y[k]+0.5)/(m+1)
		psi += (s - t) * math.Log(s/t)
	}
	return chiSquareTail(stat, free), psi
}

// chiSquareTail is about the probability of a chi-square of so many degrees of freedom above
// x (Wilson and Hilferty, 1931).
func chiSquareTail(x, free float64) float64 {
	if free < 1 {
		return 1
	}
	z := (math.Cbrt(x/free) - (1 - 2/(9*free))) / math.Sqrt(2/(9*free))
	return math.Erfc(z/math.Sqrt2) / 2
}

// smirnov is the p-value of the test of Kolmogorov and Smirnov on ranks.
func smirnov(code []int32, a, b []int32) float64 {
	x, y := make([]int32, len(a)), make([]int32, len(b))
	for k, i := range a {
		x[k] = code[i]
	}
	for k, i := range b {
		y[k] = code[i]
	}
	slices.Sort(x)
	slices.Sort(y)
	n, m := float64(len(x)), float64(len(y))
	most := 0.0
	for i, j := 0, 0; i < len(x) && j < len(y); {
		at := min(x[i], y[j])
		for i < len(x) && x[i] == at {
			i++
		}
		for j < len(y) && y[j] == at {
			j++
		}
		most = max(most, math.Abs(float64(i)/n-float64(j)/m))
	}
	root := math.Sqrt(n * m / (n + m))
	l := (root + 0.12 + 0.11/root) * most
	sum, sign := 0.0, 1.0
	for k := 1.0; k <= 100; k++ {
		sum += sign * math.Exp(-2*k*k*l*l)
		sign = -sign
	}
	if l < 0.2 {
		return 1
	}
	return min(max(2*sum, 0), 1)
}

// discoveries returns the shifts that count at the rate of false ones that is allowed, the
// largest first.
func discoveries(all []Shift) []Shift {
	slices.SortStableFunc(all, func(a, b Shift) int {
		switch {
		case a.P < b.P:
			return -1
		case a.P > b.P:
			return 1
		}
		return 0
	})
	least := 1.0
	for k := len(all) - 1; k >= 0; k-- {
		least = min(least, all[k].P*float64(len(all))/float64(k+1))
		all[k].Q = least
	}
	all = slices.DeleteFunc(all, func(s Shift) bool { return s.Q > shiftRate || s.PSI < shiftPSI })
	slices.SortStableFunc(all, func(a, b Shift) int {
		switch {
		case a.PSI > b.PSI:
			return -1
		case a.PSI < b.PSI:
			return 1
		}
		return 0
	})
	return all
}
