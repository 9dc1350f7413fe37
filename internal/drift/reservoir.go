package drift

import (
	"math"
	"math/rand/v2"
)

// A Reservoir says which of many that come one by one are kept, so that each has the same chance.
// It draws ahead which one is kept next, which is cheaper than to draw for each (Li,
// "Reservoir-sampling algorithms of time complexity O(n(1+log(N/n)))", 1994: algorithm L). The zero
// value has seen nothing.
type Reservoir struct {
	seen int64
	next int64   // the one that is kept next, once there is no room
	fall float64 // how likely it is that one is kept: less and less
}

// Seen is how many came.
func (r *Reservoir) Seen() int64 { return r.seen }

// Pass passes over so many, if none of them is kept, and reports whether it did.
func (r *Reservoir) Pass(n int) bool {
	if r.seen+int64(n) >= r.next {
		return false
	}
	r.seen += int64(n)
	return true
}

// Keep says of what comes next in which of so many places it is kept, the same number each time and
// one at least; -1: in none. The first ones are kept in their order.
func (r *Reservoir) Keep(places int) int {
	if r.seen++; r.seen < int64(places) {
		return int(r.seen) - 1
	}
	if r.seen < r.next {
		return -1
	}
	at := places - 1
	if r.seen > int64(places) {
		at = rand.IntN(places)
	} else {
		r.fall = 1
	}
	draw := func() float64 { return math.Log(1 - rand.Float64()) } // of what is never 0
	r.fall *= math.Exp(draw() / float64(places))
	r.next = r.seen + 1 + int64(min(draw()/math.Log1p(-r.fall), 1<<60))
	return at
}
