package poison

import (
	"math/rand/v2"
	"slices"

	"github.com/pavise/pavise/internal/anomaly"
)

// leastStep is of scores of isolation: rows that are all alike differ by less.
const leastStep = 0.05

// outliers is the screen of rows that are unlike the others of their class.
func (v *View) outliers() Finding {
	const screen = "outliers"
	if len(v.features) == 0 || v.all < 20 {
		return silent(screen, "it takes 20 rows")
	}
	f := Finding{Screen: screen, Evidence: make([]float32, v.all), Limit: 3}
	f.Words = "it is unlike the other rows of its class"
	rng := v.rng(screen)
	for _, rows := range v.members {
		if len(rows) >= 20 {
			v.isolate(rows, f.Evidence, rng)
		}
	}
	return f
}

// isolate sets the evidence of rows: how far the score of the isolation forest is above the
// usual one, in steps from the median to the ninth decile. Where nearly all rows are the same
// that is no measure, and what the others reach is one.
func (v *View) isolate(rows []int32, evidence []float32, rng *rand.Rand) {
	score := anomaly.Isolation(v.point, rows, rng)
	sorted := slices.Clone(score)
	slices.Sort(sorted)
	median, high, top := sorted[len(sorted)/2], sorted[len(sorted)*9/10], sorted[len(sorted)*97/100]
	for k, i := range rows {
		evidence[i] = float32((score[k] - median) / max(high-median, (top-median)/2, leastStep))
	}
}
