package upstream

import (
	"math"
	"math/rand/v2"
	"slices"
)

// tried are the endpoints that a call had no luck with.
type tried [8]*endpoint

// pick returns the endpoint that a call should ask, with the call counted as one of
// its active ones, or nil when none is left. It is one of those that take calls, were not tried by this call, and are not ejected; an
// endpoint whose ejection is over is picked by one call at a time, its probe.
func (c *Cluster) pick(key string, t *tried) (e *endpoint, probe bool) {
	all := *c.members.Load()
	if len(all) == 1 {
		if slices.Contains(t[:], all[0]) {
			return nil, false
		}
		all[0].active.Add(1)
		return all[0], false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.candidates = c.candidates[:0]
	for _, e := range *c.members.Load() {
		if e.weight > 0 && !slices.Contains(t[:], e) && (!e.out || c.mayProbe(e)) {
			c.candidates = append(c.candidates, e)
		}
	}
	switch {
	case len(c.candidates) == 0:
		return nil, false
	case c.balance == Hash && key != "":
		e = byKey(c.candidates, key)
	case c.balance == LeastRequest:
		e = ofTwo(c.candidates)
	default:
		e = inTurn(c.candidates)
	}
	e.active.Add(1)
	e.probing = e.out
	return e, e.out
}

// inTurn takes turns smoothly: each endpoint gains its weight, the richest is
// picked and pays what all gained.
func inTurn(from []*endpoint) (best *endpoint) {
	sum := 0
	for _, e := range from {
		e.credit += e.weight
		sum += e.weight
		if best == nil || e.credit > best.credit {
			best = e
		}
	}
	best.credit -= sum
	return best
}

// ofTwo draws two by weight and takes the one that has less to do for its weight.
// The first wins a tie, so that idle endpoints are asked by their weights.
func ofTwo(from []*endpoint) *endpoint {
	first := draw(from, nil)
	if len(from) == 1 {
		return first
	}
	second := draw(from, first)
	if int(second.active.Load())*first.weight < int(first.active.Load())*second.weight {
		return second
	}
	return first
}

// draw takes one at random, by weight, other than the one named.
func draw(from []*endpoint, but *endpoint) *endpoint {
	sum := 0
	for _, e := range from {
		if e != but {
			sum += e.weight
		}
	}
	n := rand.IntN(sum)
	for _, e := range from {
		if e == but {
			continue
		}
		if n -= e.weight; n < 0 {
			return e
		}
	}
	return from[0]
}

// byKey takes the endpoint with the highest score for the key, of those that have
// no more than five quarters of their share to do. The bounds add up to more than
// there is, so one is always below its own.
func byKey(from []*endpoint, key string) (best *endpoint) {
	load, sum := 1, 0
	for _, e := range from {
		load += int(e.active.Load())
		sum += e.weight
	}
	h, score := hash(key), math.Inf(-1)
	for _, e := range from {
		bound := (5*load*e.weight + 4*sum - 1) / (4 * sum)
		if int(e.active.Load()) >= bound {
			continue
		}
		// u is uniform in (0, 1); -weight/ln(u) is how long an exponential clock
		// of that weight would take, turned over: the highest wins in proportion.
		u := (float64(mix(h^e.seed)>>11) + 0.5) / (1 << 53)
		if s := -float64(e.weight) / math.Log(u); s > score {
			best, score = e, s
		}
	}
	return best
}

// hash is FNV-1a of 64 bits, the same in every process: gateways beside each other
// send a tenant to the same endpoint. Who can choose keys can find some that meet
// on one endpoint; the bound on its load is what holds then.
func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return mix(h)
}

// mix is the finaliser of SplitMix64 (Steele, Lea and Flood, 2014): FNV alone
// leaves the high bits of short keys alike.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
