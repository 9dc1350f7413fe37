// Package party has callers fall into groups, so that what is counted is counted without the few of
// a group, in memory that does not grow with callers; and tells who brings most of a group.
//
// It owns no state: who watches has the seats of its callers.
package party

import (
	"hash/maphash"
	"math/rand/v2"
	"slices"

	"github.com/pavise/pavise"
)

// Groups is how many there are.
const Groups = 16

// maxSeats is how many callers are given a group that has few.
const maxSeats = 256

// Seats are the groups of callers. The zero value has seated nobody. It is for one goroutine.
type Seats struct {
	of    map[pavise.Name]int // of the first callers
	taken [Groups]int         // how many of them each group has
	seed  maphash.Seed        // of the hash by which later ones fall into groups
	near  [64]near            // some of those who asked last
}

// A near is a caller whose group is known.
type near struct {
	who   pavise.Name
	group int // one more than it; 0: of nobody
}

// Of is the group of a caller: one of those that have the fewest, drawn so that nobody can
// choose with whom they share one. While callers are as few as groups, each has its own, and
// who shifts what is asked is told from the others. Later callers fall into groups by
// a hash that nobody outside knows.
func (s *Seats) Of(who pavise.Name) int {
	spot := 0
	if n := len(who.ID); n > 0 { // most names of callers differ here
		spot = 16*n + 5*int(who.ID[n/2]) + int(who.ID[n-1])
	}
	at := &s.near[spot%len(s.near)]
	if at.group == 0 || at.who != who {
		*at = near{who, s.seat(who) + 1}
	}
	return at.group - 1
}

func (s *Seats) seat(who pavise.Name) int {
	if g, ok := s.of[who]; ok {
		return g
	}
	if s.of == nil {
		s.of, s.seed = map[pavise.Name]int{}, maphash.MakeSeed()
	}
	if len(s.of) == maxSeats {
		return int(maphash.Comparable(s.seed, who) % Groups)
	}
	fewest, g := slices.Min(s.taken[:]), 0
	for _, g = range rand.Perm(Groups) {
		if s.taken[g] == fewest {
			break
		}
	}
	s.of[who] = g
	s.taken[g]++
	return g
}

// A Heavy is who brings most of a group's rows (Boyer and Moore's majority vote).
type Heavy struct {
	who         pavise.Name
	count, rows int
	own         int // rows of who, since they lead
}

// See counts rows of a caller.
func (h *Heavy) See(who pavise.Name, rows int) {
	h.rows += rows
	switch {
	case h.who == who:
		h.count, h.own = h.count+rows, h.own+rows
	case h.count < rows:
		h.who, h.count, h.own = who, rows-h.count, rows
	default:
		h.count -= rows
	}
}

// Leads returns who brings nearly all of the group's rows, so that what they are like is what
// the caller's are like.
func (h *Heavy) Leads() (who pavise.Name, ok bool) {
	return h.who, h.rows > 0 && 10*h.own >= 9*h.rows
}
