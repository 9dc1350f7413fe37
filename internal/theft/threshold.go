package theft

import (
	"fmt"
	"math"
	"slices"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/anomaly"
)

const (
	// So many judged clients must reach a look for it to be one. Where there are more of them
	// it is half, up to twice as many: how far a few get says little of the next, and every
	// look counts.
	lookJudged = 12

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
	again  bool // the watch of the client had begun anew
	values [measures]float64
	told   [traits * traitTells]float64
}

// measure takes the measures of all the clients at all looks, and finds the threshold.
func (t *trainer) measure() error {
	t.turns = looks
	all, err := t.take()
	if err != nil {
		return err
	}
	reached := make([]int, len(looks))
	for _, k := range all {
		reached[k.look] += int(one(!k.again))
	}
	n, turns := 0, 1
	for n < len(looks) && reached[n] >= max(lookJudged, min(2*lookJudged, reached[0]/2)) {
		n++
	}
	for turns < len(looks) && len(t.turned[turns]) >= lookJudged {
		turns++
	}
	if n == 0 {
		return &pavise.Error{
			Kind: pavise.Invalid,
			Msg:  fmt.Sprintf("%d of the %d clients that would set the threshold have asked %d different rows, and it takes %d", reached[0], len(t.judged), looks[0], lookJudged),
			Hint: "record honest clients for longer: rows that they repeat do not count",
		}
	}
	t.c.Looks, t.turns = looks[:n], looks[:turns]
	if min(n, turns) < len(looks) { // the watch begins anew after the last look, which now comes earlier
		if all, err = t.take(); err != nil {
			return err
		}
	}
	t.profile(all)
	t.threshold(all, t.standardise(all))
	t.repetition()
	return nil
}

// profile learns, by look, how the traits of the clients that are judged are spread, and
// measures each of them by what the others are like.
func (t *trainer) profile(all []taken) {
	moments := make([]anomaly.Moments, len(t.c.Looks))
	own := map[visit]*taken{}
	for i := range all {
		if k := &all[i]; !k.again {
			moments[k.look].Add(k.told[:])
			own[visit{k.client, k.look}] = k
		}
	}
	for i := range moments {
		t.c.Profiles = append(t.c.Profiles, moments[i].Fit(nil, traitBody, traitTold, traitMeans))
	}
	for i := range all {
		k, p := &all[i], t.c.Profiles[all[i].look]
		if first := own[visit{k.client, k.look}]; first != nil {
			p = moments[k.look].Fit(first.told[:], traitBody, traitTold, traitMeans)
		}
		profiled(p, &k.told, &k.values)
	}
}

// A visit is a client at a look.
type visit struct {
	client string
	look   int
}

// take takes the measures of the clients that are judged.
func (t *trainer) take() (all []taken, err error) {
	e, seen := NewExtraction(t.c), map[string]uint{}
	t.turned = make([]turn, len(t.turns))
	for look := range t.turned {
		t.turned[look] = turn{}
	}
	e.turns, e.turned, e.Most = t.turns, t.turnedAt, len(t.judged) // none is forgotten: the operator's own file says how many there are
	e.took = func(client string, look int, values *[measures]float64, told *[traits * traitTells]float64) {
		all = append(all, taken{client, look, seen[client]>>look&1 == 1, *values, *told})
		seen[client] |= 1 << look
	}
	for a, err := range t.traffic {
		if err != nil {
			return nil, err
		}
		if t.judged[a.Client] {
			e.See(a)
		}
	}
	return all, nil
}

// standardise learns, by look, the middle, the spread and the tail of each measure over the
// clients that are judged. All but the furthest few of them score 1 at most: so one measure
// with a long tail does not drown the others. It returns the values in order, by look and
// measure.
func (t *trainer) standardise(all []taken) (sorted [][measures][]float64) {
	for look := range t.c.Looks {
		var lists [measures][]float64
		for _, k := range all {
			if k.look == look && !k.again {
				for m, v := range k.values {
					lists[m] = append(lists[m], v)
				}
			}
		}
		var middle, spread, tail [measures]float64
		for m, list := range lists {
			slices.Sort(list)
			middle[m], spread[m], tail[m] = standardOf(len(list), spreadLeast(m, t.c.Looks[look]), func(i int) float64 { return list[i] })
		}
		t.c.Middle, t.c.Spread, t.c.Tail = append(t.c.Middle, middle), append(t.c.Spread, spread), append(t.c.Tail, tail)
		sorted = append(sorted, lists)
	}
	return sorted
}

// standardOf is the middle, the spread and the tail of n values, which at gives in order.
func standardOf(n int, least float64, at func(int) float64) (middle, spread, tail float64) {
	middle = at(n / 2)
	furthest, far := at(n-1-n/spreadTail), at(n-1-n/10)
	if d := furthest - middle; d > least {
		return middle, d, tailOf((far - middle) / d)
	}
	return middle, least, 1
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
	switch {
	case measure < measureProfile:
		return 1
	case measure == measureProfile:
		return 0.1
	case measure == measureDiscrepancy:
		return 0.2 / float64(rows)
	case measure == measureCoverage:
		return 3
	case measure == measureLine, measure == measureOdd: // of honest clients hardly a row
		return 0.02 + 3/float64(rows)
	}
	return 0.05 + 3/float64(rows)
}

// threshold sets it by the clients that the reference has not seen. Each is held to what the
// others are like, as one that comes tomorrow will be: held to themselves too, a few clients
// would look alike whatever they do (the jackknife of Barber et al., "Predictive Inference
// with the Jackknife+", 2021).
func (t *trainer) threshold(all []taken, sorted [][measures][]float64) {
	own, worst := map[visit]*[measures]float64{}, map[string]float64{}
	for i := range all {
		if k := &all[i]; !k.again {
			own[visit{k.client, k.look}] = &k.values
		}
	}
	for i := range all {
		k := &all[i]
		_, score := t.others(k.look, own[visit{k.client, k.look}], &sorted[k.look]).furthest(0, &k.values)
		worst[k.client] = max(worst[k.client], score)
	}
	scores := make([]float64, 0, len(worst))
	for _, v := range worst {
		scores = append(scores, v)
	}
	t.c.Judged = len(scores)
	t.c.Threshold, t.c.Bound = anomaly.Conformal(scores, t.c.Alpha)
	t.c.Threshold = thresholdMargin * max(t.c.Threshold, 1) // clients who are all alike are 0 from each other
}

// others is what the clients at a look are like without the one that has these values.
// own is nil where the client never came to the look in its first watch.
func (t *trainer) others(look int, own *[measures]float64, sorted *[measures][]float64) *Calibration {
	var middle, spread, tail [measures]float64
	for m, list := range sorted {
		n, at := len(list), func(i int) float64 { return list[i] }
		if own != nil {
			n, at = n-1, func(i int) float64 {
				if list[i] >= own[m] {
					return list[i+1]
				}
				return list[i]
			}
		}
		middle[m], spread[m], tail[m] = standardOf(n, spreadLeast(m, t.c.Looks[look]), at)
	}
	return &Calibration{Middle: [][measures]float64{middle}, Spread: [][measures]float64{spread}, Tail: [][measures]float64{tail}}
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
