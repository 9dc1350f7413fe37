package upstream

import (
	"slices"
	"sync"
)

// A Wheel picks one of several things by their weights, as a cluster picks an endpoint,
// for whoever has no connections to them: in turn, or, with a key, the same one for the
// same key, by the hash that clusters use. It is safe for concurrent use.
type Wheel struct {
	at      []int // where each member stands among the names
	mu      sync.Mutex
	members []*endpoint // those of a weight; mu guards their credit
}

// NewWheel makes one of names, by which keys find them whatever their order, and weights,
// of which one at least is above zero.
func NewWheel(names []string, weights []int) *Wheel {
	w := &Wheel{}
	for i, name := range names {
		if weights[i] > 0 {
			w.at = append(w.at, i)
			w.members = append(w.members, &endpoint{seed: hash(name), weight: weights[i]})
		}
	}
	return w
}

// Next returns the place among the names of the one that is picked. Calls of one key meet
// on one, as long as the weights are the same; those of no key take turns.
func (w *Wheel) Next(key string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	pick := inTurn
	if key != "" {
		pick = func(from []*endpoint) *endpoint { return byKey(from, key) } // none has calls under way: no bound is met
	}
	return w.at[slices.Index(w.members, pick(w.members))]
}
