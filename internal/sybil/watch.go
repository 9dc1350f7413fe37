package sybil

import (
	"slices"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/theft"
)

const (
	settleAfter = time.Second // the longest time before clusters are found anew, while rows come
	settleRows  = 64          // rows after which they are in any case, in a small crowd
)

// A Watch has the callers of one model looked at: each alone, and those who are too young
// for that together with others that something links them to. One goroutine uses it, but
// for Crowd.Cluster.
type Watch struct {
	Crowd *Crowd
	// Pooled, unless nil, is told of each pool whose study has changed.
	Pooled func(pool string)

	eyes    *theft.Extraction
	settled time.Duration // when the crowd was, last
	rows    int           // since then
	pools   []string      // scratch
}

// NewWatch makes one of a detector, which is told rows through it alone from then on, and
// of the calibration that the detector goes by. most bounds the callers; 0 is Most.
func NewWatch(eyes *theft.Extraction, c *theft.Calibration, most int) *Watch {
	w := &Watch{Crowd: NewCrowd(c.Crossing(), most), eyes: eyes}
	eyes.Crossed = func(client, other string) {
		a, errA := pavise.ParseName(client)
		b, errB := pavise.ParseName(other)
		if errA == nil && errB == nil {
			w.Crowd.Crossed(a, b)
		}
	}
	return w
}

// A Found is what the detector said of a pool.
type Found struct {
	Pool     string         // what links its callers, in words
	Sighting theft.Sighting // its client is the pool
	// Alike are the callers that it is evidence against: those whose rows nearly repeat each
	// other's, and who were not judged alone. None of a pool that anything else links: many
	// of its callers may be honest.
	Alike []pavise.Name
}

// See looks at a row that a caller asked at a time, which is counted as in Crowd.Saw. It
// returns what the detector says of the caller alone, and of the pools that it is in. The
// client of a is set to the caller.
func (w *Watch) See(at time.Duration, who pavise.Name, f Facts, a *theft.Asked) (own theft.Sighting, found bool, pools []Found) {
	a.Client = who.String()
	young := w.eyes.Young(a.Client)
	w.Crowd.Saw(at, who, f, 1)
	own, found = w.eyes.See(a)
	w.settle(at)
	if !young {
		return own, found, nil
	}
	w.pools = w.Crowd.Pools(w.pools[:0], who)
	for i, name := range w.pools {
		a.Client = name
		s, ok := w.eyes.SeePool(a)
		if w.Pooled != nil {
			w.Pooled(name)
		}
		if !ok {
			continue
		}
		one := Found{Pool: name, Sighting: s}
		if i == 0 && w.Crowd.alikeOf(who) == name {
			one.Alike = slices.DeleteFunc(w.Crowd.AlikeTo(who), func(n pavise.Name) bool { return n != who && !w.eyes.Young(n.String()) })
		}
		pools = append(pools, one)
	}
	a.Client = who.String()
	return own, found, pools
}

// settle finds the clusters anew when it is time: often while the crowd is small, and so
// seldom in a large one that a row's part of it is small.
func (w *Watch) settle(at time.Duration) {
	w.rows++
	if w.rows >= max(settleRows, len(w.Crowd.members)) || at-w.settled >= settleAfter {
		w.Crowd.Settle(at)
		w.rows, w.settled = 0, at
	}
}
