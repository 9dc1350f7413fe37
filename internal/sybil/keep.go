package sybil

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/pavise/pavise"
)

// maxKept bounds what is kept of one caller, in bytes: some kilobyte is usual.
const maxKept = 1 << 15

// A keptMember is what is kept of a member across a restart.
type keptMember struct {
	Order   uint64        `json:"order"`
	Aged    time.Duration `json:"aged"` // of the crowd, when it was kept
	Made    uint64        `json:"made"` // by it until then
	Rows    float64       `json:"rows"`
	Met     float64       `json:"met"`
	Places  []keptPlace   `json:"places,omitempty"`
	Pairs   []keptPair    `json:"pairs,omitempty"`
	Cluster keptLabel     `json:"cluster,omitzero"`
	Alike   keptLabel     `json:"alike,omitzero"`
}

type keptPlace struct {
	Link Link          `json:"link"`
	What string        `json:"what"`
	At   time.Duration `json:"at"`
}

type keptPair struct {
	Other pavise.Name `json:"other"`
	Times float64     `json:"times"`
}

type keptLabel struct {
	Number uint64 `json:"number"`
	Name   string `json:"name"`
}

// Unkept takes callers of whom something is new since they were last taken, at most so many;
// more says that there are others.
func (c *Crowd) Unkept(most int) (who []pavise.Name, more bool) {
	for m := range c.unkept {
		if len(who) == most {
			return who, true
		}
		delete(c.unkept, m)
		who = append(who, m.name)
	}
	return who, false
}

// Unkeep has a caller be among the Unkept again: it could not be kept.
func (c *Crowd) Unkeep(who pavise.Name) {
	if m := c.members[who]; m != nil {
		c.unkept[m] = true
	}
}

// Keep returns what is known of a caller, for Restore; ok is false when nothing is.
func (c *Crowd) Keep(who pavise.Name) (b []byte, ok bool) {
	m := c.members[who]
	if m == nil {
		return nil, false
	}
	k := keptMember{Order: m.order, Aged: c.aged, Made: c.made, Rows: m.rows, Met: m.met, Cluster: keptLabel{m.cluster.number, m.cluster.name}, Alike: keptLabel{m.alike.number, m.alike.name}}
	for _, p := range m.places {
		k.Places = append(k.Places, keptPlace{p.link, p.what, p.at})
	}
	for _, p := range m.pairs {
		k.Pairs = append(k.Pairs, keptPair{p.other(m).name, p.times})
	}
	b, err := json.Marshal(k)
	return b, err == nil && len(b) <= maxKept // what cannot be read again is not kept
}

// A Kept is what Keep returned of a caller.
type Kept struct {
	Who  pavise.Name
	What []byte
}

// Restore brings back what Keep returned of callers, to a crowd of which nobody asks yet, and
// settles it, at a time that is counted as before. Of more callers than there is room for the
// first are passed over. It returns how many cannot be read: they begin anew.
func (c *Crowd) Restore(at time.Duration, list []Kept) (refused int) {
	read := make(map[pavise.Name]*keptMember, len(list))
	for _, one := range list {
		k, err := readKept(at, one.What)
		if err != nil || one.Who == (pavise.Name{}) {
			refused++
			continue
		}
		read[one.Who] = k
		c.aged = max(c.aged, k.Aged)
	}
	names := make([]pavise.Name, 0, len(read))
	for who := range read {
		names = append(names, who)
	}
	slices.SortFunc(names, func(a, b pavise.Name) int {
		return cmp.Or(cmp.Compare(read[a].Order, read[b].Order), cmp.Compare(a.String(), b.String()))
	})
	for _, who := range names[max(0, len(names)-c.most):] {
		c.restore(who, read[who])
	}
	for _, m := range c.heard { // in order: so the pairs come back in one that is always the same
		c.restorePairs(m, read[m.name])
	}
	c.changed = true
	c.Settle(at)
	return refused
}

// restore brings back a member without its pairs.
func (c *Crowd) restore(who pavise.Name, k *keptMember) {
	m := &member{name: who, order: k.Order, cluster: label{k.Cluster.Number, k.Cluster.Name}, alike: label{k.Alike.Number, k.Alike.Name}}
	left := k.left(c.aged)
	m.rows, m.met = k.Rows*left, k.Met*left
	for _, p := range k.Places {
		if p.At >= c.aged-Fade {
			m.places = append(m.places, place{hub{p.Link, p.What}, p.At})
		}
	}
	c.rows += m.rows
	c.seen = max(c.seen, k.Order)
	c.made = max(c.made, k.Made, k.Cluster.Number, k.Alike.Number)
	c.members[who], c.heard = m, append(c.heard, m)
}

// restorePairs brings back a member's pairs with those who are back, too. Both had been kept
// with each: the later word counts, which is the larger.
func (c *Crowd) restorePairs(m *member, k *keptMember) {
	for _, p := range k.Pairs {
		other := c.members[p.Other]
		times := p.Times * k.left(c.aged)
		if other == nil || other == m || times < 1 {
			continue
		}
		if i := slices.IndexFunc(m.pairs, func(q *pair) bool { return q.other(m) == other }); i >= 0 {
			m.pairs[i].times = max(m.pairs[i].times, times)
			continue
		}
		if len(m.pairs) < maxPairs && len(other.pairs) < maxPairs {
			q := &pair{a: m, b: other, times: times}
			m.pairs, other.pairs = append(m.pairs, q), append(other.pairs, q)
		}
	}
}

// left is how much of what was counted is left of it, as of a later time.
func (k *keptMember) left(aged time.Duration) float64 {
	return math.Ldexp(1, -int(min(max(0, aged-k.Aged)/Fade, 60)))
}

// readKept reads what Keep wrote, until a time.
func readKept(at time.Duration, b []byte) (*keptMember, error) {
	bad := func(why string) error {
		return &pavise.Error{Kind: pavise.Invalid, Msg: "what was kept of a caller's links " + why, Hint: "the links of the caller begin anew"}
	}
	if len(b) > maxKept {
		return nil, bad(fmt.Sprintf("has %d bytes, and %d at most can be", len(b), maxKept))
	}
	var k keptMember
	if err := json.Unmarshal(b, &k); err != nil {
		return nil, bad("cannot be read: " + err.Error())
	}
	counts := []float64{k.Rows, k.Met}
	for _, p := range k.Pairs {
		counts = append(counts, p.Times)
	}
	if k.Aged < 0 || k.Aged > at || slices.ContainsFunc(k.Places, func(p keptPlace) bool { return p.At > at }) {
		return nil, bad("is of a time to come")
	}
	same := map[Link]int{}
	for _, p := range k.Places {
		if same[p.Link]++; int(p.Link) >= len(linkNames) || p.Link == Alike || same[p.Link] > maxPlaces || p.What == "" {
			return nil, bad("names what links nobody")
		}
	}
	switch {
	case len(k.Pairs) > maxPairs:
		return nil, bad("has more pairs than any")
	case slices.ContainsFunc(counts, func(v float64) bool { return !(v >= 0 && v < 1<<62) }):
		return nil, bad("counts what cannot be")
	case k.Cluster.Number > 0 != (k.Cluster.Name != "") || k.Alike.Number > 0 != (k.Alike.Name != ""):
		return nil, bad("names no cluster")
	}
	return &k, nil
}
