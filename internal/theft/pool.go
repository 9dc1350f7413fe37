package theft

import "math"

// A pool is rows of several clients that are looked at as those of one, because each of
// them has asked too little to be judged alone.
//
// A calibration is of whole clients, and a pool is none. So a pool is held to those
// measures alone that mixing honest clients hardly raises above what the most unlike of
// them has: means over rows, and the discrepancy, which is convex in what is mixed. A pool
// repeats itself where its clients repeat themselves, and where they repeat each other, which
// honest ones do no more often than Crossing says: so much is taken off. That some rows of
// a client have more of a trait than its others, how its distances are spread, how much it
// covers and what it is like as a whole say as much of how many clients there are as of what
// they ask, and are left out.
//
// That is an argument, and no bound: of pools no calibration has seen one. So the threshold
// is poolMargin times that of clients.

// poolMargin is how much further a pool must be from honest clients than a client.
const poolMargin = 1.25

// pooled reports whether pools are judged by a measure.
func pooled(measure int) bool {
	switch measure {
	case measureOdd, measureNear, measureLine, measureDiscrepancy:
		return true
	}
	return measure < measureLevel && measure%2 == 0 || measure >= measureLevel && measure < measureProfile
}

// pool leaves of a pool's measures those by which it is judged.
func (c *Calibration) pool(look int, values *[measures]float64) {
	values[measureNear] -= c.Crossing()
	for m := range values {
		if !pooled(m) {
			values[m] = c.Middle[look][m]
		}
	}
}

// SeePool looks at a row of a pool, whose name is no client's. A pool is seen beside its
// clients: it changes nothing of what is known of them.
func (e *Extraction) SeePool(a *Asked) (Sighting, bool) {
	e.studyOf(a.Client).pooled = true
	return e.See(a)
}

// Young reports whether a client has asked too few different rows to be judged alone.
func (e *Extraction) Young(client string) bool {
	s := e.clients[client]
	return s == nil || !s.again && s.fresh < e.c.Looks[0]
}

// Crossing is the share of a client's rows that nearly repeat a row of somebody else, above
// which the client would be found for that alone: no honest client gets there, up to the
// calibration's Bound. It is from 0 to 1.
func (c *Calibration) Crossing() float64 {
	far := math.Pow(c.Threshold, 1/c.Tail[0][measureCross])
	return min(1, max(0, c.Middle[0][measureCross]+far*c.Spread[0][measureCross]))
}
