package firewall

import (
	"math"
	"slices"

	"github.com/pavise/pavise/internal/anomaly"
)

const (
	lookJudged = 12 // clients must reach a look for it to be one

	// The furthest of some hundred clients is a shaky measure of how far clients get: so
	// much is put on top of it.
	thresholdMargin = 1.25

	spreadTail = 50 // one in so many clients is further from the middle than the spread

	tailBell  = 0.6
	tailLeast = 0.3
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
		var middle, spread, tail [measures]float64
		for m := range measures {
			var list []float64
			for _, k := range all {
				if k.look == look {
					list = append(list, k.values[m])
				}
			}
			slices.Sort(list)
			middle[m] = list[len(list)/2]
			furthest, far := list[len(list)-1-len(list)/spreadTail], list[len(list)-1-len(list)/10]
			spread[m], tail[m] = spreadLeast(m, t.c.Looks[look]), 1
			if d := furthest - middle[m]; d > spread[m] {
				spread[m], tail[m] = d, tailOf((far-middle[m])/d)
			}
		}
		t.c.Middle, t.c.Spread, t.c.Tail = append(t.c.Middle, middle), append(t.c.Spread, spread), append(t.c.Tail, tail)
	}
}

// tailOf is the power that gives a measure a tail like a bell's, of which one in ten is
// above 0.6 of what one in fifty is above; far is what one in ten is above. A measure that
// is nothing for most honest clients and much for a few would else set the threshold for all
// others.
func tailOf(far float64) float64 {
	if far >= tailBell {
		return 1
	}
	return max(tailLeast, math.Log(tailBell)/math.Log(max(far, 1e-9)))
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
	return 0.05 + 3/float64(rows)
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

// furthest returns the measure that is furthest above the middle at a look, and how far: 1
// is where one honest client in fifty is.
func (c *Calibration) furthest(look int, values *[measures]float64) (measure int, score float64) {
	for m := range measures {
		z := (values[m] - c.Middle[look][m]) / c.Spread[look][m]
		if z <= 0 {
			continue
		}
		if z = math.Pow(z, c.Tail[look][m]); z > score {
			measure, score = m, z
		}
	}
	return measure, score
}
