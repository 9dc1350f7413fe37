package firewall

import (
	"slices"

	"github.com/pavise/pavise/internal/anomaly"
)

const (
	lookSpread = 4  // clients that show the spread must reach a look
	lookJudged = 10 // clients that set the threshold must

	// The furthest of some hundred clients is a shaky measure of how far clients get: so
	// much is put on top of it.
	thresholdMargin = 1.25

	spreadLeast = 0.02
	spreadRows  = 3 // rows that may always be otherwise
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
		if t.spread[a.Client] || t.judged[a.Client] {
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
	spread, judged := make([]int, len(looks)), make([]int, len(looks))
	for _, k := range all {
		if t.judged[k.client] {
			judged[k.look]++
		} else {
			spread[k.look]++
		}
	}
	n := 0
	for n < len(looks) && spread[n] >= lookSpread && judged[n] >= lookJudged {
		n++
	}
	t.c.Looks = looks[:n]
}

// standardise learns, by look, the middle and the spread of each measure over the clients
// that show it. The furthest of them scores 1: so each measure has its own tail, and
// one with a long one does not drown the others.
func (t *trainer) standardise(all []taken) {
	for look := range t.c.Looks {
		var middle, spread [measures]float64
		for m := range measures {
			var list []float64
			for _, k := range all {
				if k.look == look && !t.judged[k.client] {
					list = append(list, k.values[m])
				}
			}
			slices.Sort(list)
			middle[m] = list[len(list)/2]
			least := spreadLeast + spreadRows/float64(t.c.Looks[look])
			switch m {
			case measureDiscrepancy:
				least = 0.2 / float64(t.c.Looks[look])
			case measureCoverage:
				least = 3
			}
			spread[m] = max(list[len(list)-1]-middle[m], least)
		}
		t.c.Middle, t.c.Spread = append(t.c.Middle, middle), append(t.c.Spread, spread)
	}
}

// threshold sets it by the clients that the reference has not seen.
func (t *trainer) threshold(all []taken) {
	worst := map[string]float64{}
	for _, k := range all {
		if !t.judged[k.client] || k.look >= len(t.c.Looks) {
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
