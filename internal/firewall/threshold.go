package firewall

import (
	"slices"

	"github.com/pavise/pavise/internal/anomaly"
)

const (
	lookJudged = 12 // clients must reach a look for it to be one

	// The furthest of some hundred clients is a shaky measure of how far clients get: so
	// much is put on top of it.
	thresholdMargin = 1.25

	spreadTail = 50 // one in so many clients is further from the middle than the spread
)

// A taken is the measures of a client at a look.
type taken struct {
	client string
	look   int
	values [measures]float64
}

// measure takes the measures of all the clients at all looks, and finds the threshold.
func (t *trainer) measure() error {
	var all []taken
	e := NewExtraction(t.c)
	e.took = func(client string, look int, values *[measures]float64) {
		all = append(all, taken{client, look, *values})
	}
	for a, err := range t.traffic {
		if err != nil {
			return err
		}
		if t.judged[a.Client] {
			e.See(a)
		}
	}
	t.keepLooks(all)
	t.standardise(all)
	t.threshold(all)
	return nil
}

// keepLooks keeps the looks that enough clients reach.
func (t *trainer) keepLooks(all []taken) {
	reached := make([]int, len(looks))
	for _, k := range all {
		reached[k.look]++
	}
	n := 0
	for n < len(looks) && reached[n] >= lookJudged {
		n++
	}
	t.c.Looks = looks[:n]
}

// standardise learns, by look, the middle and the spread of each measure over the clients
// that are judged. All but the furthest few of them score 1 at most: so each measure has its
// own tail, and one with a long one does not drown the others. One more client would move
// the spread by one place in their order, which thresholdMargin covers.
func (t *trainer) standardise(all []taken) {
	for look := range t.c.Looks {
		var middle, spread [measures]float64
		for m := range measures {
			var list []float64
			for _, k := range all {
				if k.look == look {
					list = append(list, k.values[m])
				}
			}
			slices.Sort(list)
			middle[m] = list[len(list)/2]
			furthest := list[len(list)-1-len(list)/spreadTail]
			spread[m] = max(furthest-middle[m], spreadLeast(m, t.c.Looks[look]))
		}
		t.c.Middle, t.c.Spread = append(t.c.Middle, middle), append(t.c.Spread, spread)
	}
}

// spreadLeast is how far a measure of so many rows may always be from the middle: that of
// a few rows.
func spreadLeast(measure, rows int) float64 {
	switch measure {
	case measureDiscrepancy:
		return 0.2 / float64(rows)
	case measureCoverage:
		return 3
	case measureResidual, measureOutside:
		return 0.05 + 3/float64(rows)
	}
	return 0.02 + 3/float64(rows)
}

// threshold sets it by the clients that the reference has not seen.
func (t *trainer) threshold(all []taken) {
	worst := map[string]float64{}
	for _, k := range all {
		if k.look >= len(t.c.Looks) {
			continue
		}
		_, score := t.c.furthest(k.look, &k.values)
		worst[k.client] = max(worst[k.client], score)
	}
	scores := make([]float64, 0, len(worst))
	for _, v := range worst {
		scores = append(scores, v)
	}
	t.c.Judged = len(scores)
	t.c.Threshold, t.c.Bound = anomaly.Conformal(scores, t.c.Alpha)
	t.c.Threshold *= thresholdMargin
}

// furthest returns the measure that is furthest above the reference's middle at a look, and
// how far, in spreads.
func (c *Calibration) furthest(look int, values *[measures]float64) (measure int, score float64) {
	for m := range measures {
		if z := (values[m] - c.Middle[look][m]) / c.Spread[look][m]; z > score {
			measure, score = m, z
		}
	}
	return measure, score
}
