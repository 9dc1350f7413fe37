package poison

import (
	"fmt"
	"math"
	"slices"
)

// Where classes overlap, rows of one lie among rows of another, and evidence against their labels
// thins out: the odds of another class are the evidence, so that of the rows that look to be of
// another class at all, some e^(-t) have evidence t and more. Labels that somebody turned are as sure
// of the other class as its own rows are, and do not thin out.
const (
	overlapShare = 0.25  // of the rows that look to be of another class, those with half of what sends a row to quarantine: e^-1.5, and a little
	overlapMost  = 0.005 // of rows are sent to quarantine where no more stand out
)

// spared raises a limit on evidence that is odds, so that no more rows reach it than stand out of
// what overlapping classes would show, and one in 200; as many again may do so alike. It says so.
func (v *View) spared(f Finding) (limit float64, remark string) {
	sorted := slices.Sorted(slices.Values(f.Evidence[:v.rows]))
	above := func(x float32) int {
		n, _ := slices.BinarySearch(sorted, x)
		return len(sorted) - n
	}
	doubtful, high, found := above(math.SmallestNonzeroFloat32), above(float32(f.Limit/2)), above(float32(f.Limit))
	usual := overlapShare * float64(doubtful)
	chance := 2 * math.Sqrt(usual*(1-overlapShare))
	most := int(math.Ceil(overlapMost*float64(v.rows) + max(float64(high)-usual-chance, 0)))
	top := sorted[len(sorted)-1]
	switch alike := above(top); {
	case found <= most:
		return f.Limit, ""
	case alike > most && alike <= 2*most:
		limit = float64(top)
	default:
		limit = float64(math.Nextafter32(sorted[len(sorted)-1-most], math.MaxFloat32))
	}
	if found == above(float32(limit)) {
		return f.Limit, ""
	}
	return limit, fmt.Sprintf("%d rows look to be of another class, and the surer the fewer, as where classes overlap: %d would be sent to quarantine, and the %d that stand out most are", doubtful, found, above(float32(limit)))
}
