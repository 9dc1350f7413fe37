package sybil

import (
	"cmp"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/pavise/pavise"
)

const (
	// Most callers of a model are remembered. Beyond, one who was not heard for long is
	// forgotten.
	Most      = 8192
	maxPairs  = 8 // other callers that one is compared with at a time
	maxPlaces = 4 // things of one sort that link one caller at a time: it may roam
	// Fade is after how long a link fades that nothing renews, and what was counted counts
	// half.
	Fade = 7 * 24 * time.Hour
)

// A Crowd is the callers of one model, and what links them. One goroutine uses it, but for
// Cluster.
type Crowd struct {
	chance  float64 // share of honest callers' rows that may nearly repeat somebody else's
	most    int
	members map[pavise.Name]*member
	heard   []*member // about in the order in which they were heard last
	seen    uint64    // members so far
	made    uint64    // clusters so far
	rows    float64   // of all members, those long ago counting less
	aged    time.Duration
	changed bool             // since the last Settle
	unkept  map[*member]bool // of whom something is new since Unkept

	// Lost, unless nil, is told of each caller that is forgotten for want of room.
	Lost func(who pavise.Name)

	gathered map[hub]int // members that were at a hub, as of the last Settle

	settled atomic.Pointer[map[pavise.Name]string] // who is in which cluster, as of the last Settle
}

// A member is one caller. Its Crowd owns it.
type member struct {
	name    pavise.Name
	order   uint64 // in which members were first seen
	again   bool   // it was heard since it was last passed over
	rows    float64
	met     float64 // of them, those that nearly repeat a row of somebody else
	places  []place
	pairs   []*pair // at most maxPairs
	cluster label   // that it was in last
	alike   label   // of those it is alike with
}

// A label is the name of some callers. The lower number is the older name.
type label struct {
	number uint64
	name   string
}

// A place is a hub that a member was seen at.
type place struct {
	hub
	at time.Duration
}

// A pair is two members whose rows nearly repeated each other's. Both have it.
type pair struct {
	a, b  *member
	times float64
}

func (p *pair) other(m *member) *member {
	if p.a == m {
		return p.b
	}
	return p.a
}

// NewCrowd returns an empty one. chance is the share of a caller's rows, from 0 to 1, that
// may nearly repeat some row of somebody else before chance and common habits explain it no
// more: a calibration knows it. most bounds the callers; 0 is Most.
func NewCrowd(chance float64, most int) *Crowd {
	if !(chance >= 0) {
		chance = 0
	}
	return &Crowd{chance: min(chance, 1), most: cmp.Or(max(most, 0), Most), members: map[pavise.Name]*member{}, unkept: map[*member]bool{}}
}

// Saw says that a caller has asked rows, at a time counted from any one that does not
// move. A time before the last one counts as that.
func (c *Crowd) Saw(at time.Duration, who pavise.Name, f Facts, rows int) {
	c.age(at)
	m := c.member(who)
	c.unkept[m] = true
	m.rows += float64(max(rows, 0))
	c.rows += float64(max(rows, 0))
	for _, h := range f.hubs() {
		if h.what != "" {
			c.changed = m.stand(h, at) || c.changed
		}
	}
}

// stand notes that a member is at a hub, and reports whether it was not so before.
func (m *member) stand(h hub, at time.Duration) (fresh bool) {
	oldest, same := -1, 0
	for i := range m.places {
		p := &m.places[i]
		if p.hub == h {
			p.at = max(p.at, at)
			return false
		}
		if p.link == h.link {
			if same++; oldest < 0 || p.at < m.places[oldest].at {
				oldest = i
			}
		}
	}
	if same >= maxPlaces {
		m.places[oldest] = place{h, at}
		return true
	}
	m.places = append(m.places, place{h, at})
	return true
}

// Crossed says that a row of a caller nearly repeated one of another's. Callers that were
// not seen are passed over.
func (c *Crowd) Crossed(who, other pavise.Name) {
	a, b := c.members[who], c.members[other]
	if a == nil || b == nil || a == b {
		return
	}
	a.met++
	c.unkept[a] = true
	if i := slices.IndexFunc(a.pairs, func(p *pair) bool { return p.other(a) == b }); i >= 0 {
		a.pairs[i].times++
		c.changed = true
		return
	}
	if !c.room(a) || !c.room(b) {
		return
	}
	p := &pair{a: a, b: b, times: 1}
	a.pairs, b.pairs = append(a.pairs, p), append(b.pairs, p)
	c.changed = true
}

// room makes room for one more pair of a member, and reports whether there is: what was
// counted least counts less by one, and gives way when nothing is left of it. So what is
// counted often stays, however many others there are (after Misra and Gries).
func (c *Crowd) room(m *member) bool {
	if len(m.pairs) < maxPairs {
		return true
	}
	least := m.pairs[0]
	for _, p := range m.pairs {
		if p.times < least.times {
			least = p
		}
	}
	if least.times--; least.times >= 1 {
		return false
	}
	c.drop(least)
	return true
}

// drop takes a pair from both.
func (c *Crowd) drop(p *pair) {
	for _, m := range []*member{p.a, p.b} {
		c.unkept[m] = true
		m.pairs = slices.DeleteFunc(m.pairs, func(o *pair) bool { return o == p })
	}
}

// member returns what is known of a caller.
func (c *Crowd) member(who pavise.Name) *member {
	if m := c.members[who]; m != nil {
		m.again = true
		return m
	}
	for len(c.heard) >= c.most {
		m := c.heard[0]
		c.heard = c.heard[1:]
		if m.again {
			m.again = false
			c.heard = append(c.heard, m)
			continue
		}
		c.forget(m)
		if c.Lost != nil {
			c.Lost(m.name)
		}
	}
	c.seen++
	m := &member{name: who, order: c.seen}
	c.members[who], c.heard = m, append(c.heard, m)
	return m
}

func (c *Crowd) forget(m *member) {
	for len(m.pairs) > 0 {
		c.drop(m.pairs[0])
	}
	delete(c.members, m.name)
	delete(c.unkept, m)
	c.rows = max(0, c.rows-m.rows)
	c.changed = true
}

// Forget forgets a caller.
func (c *Crowd) Forget(who pavise.Name) {
	if m := c.members[who]; m != nil {
		c.heard = slices.DeleteFunc(c.heard, func(o *member) bool { return o == m })
		c.forget(m)
	}
}

// age has what was counted count half after each Fade, and links fade that nothing
// renewed meanwhile.
func (c *Crowd) age(at time.Duration) {
	n := (at - c.aged) / Fade
	if n <= 0 {
		return
	}
	c.aged += n * Fade
	left := math.Ldexp(1, -int(min(n, 60)))
	c.rows, c.changed = 0, true
	for _, m := range c.heard {
		m.rows, m.met = m.rows*left, m.met*left
		c.rows += m.rows
		for _, p := range slices.Clone(m.pairs) {
			if p.a != m { // each once
				continue
			}
			if p.times *= left; p.times < 1 {
				c.drop(p)
			}
		}
		m.places = slices.DeleteFunc(m.places, func(p place) bool { return p.at < c.aged-Fade })
	}
}
