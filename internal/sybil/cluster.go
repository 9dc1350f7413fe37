package sybil

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/pavise/pavise"
)

const (
	// alikeOdds is how seldom an honest caller's rows repeat others' as often by chance, of
	// those who repeat as many as an honest caller may.
	alikeOdds  = 1e-3
	alikeLeast = 5 // rows that met somebody else's, below which nothing is said
)

// repeats reports whether a member's rows nearly repeat those of others so often that
// neither chance nor common habits explain it.
func (c *Crowd) repeats(m *member) bool {
	expected := c.chance * m.rows
	return m.met >= alikeLeast && m.met > expected && beyond(m.met, expected) < alikeOdds
}

// alike reports whether two are: each repeats others too often, and they each other. Who
// splits a stream into many names has each name repeat a little of each other one, so that
// no two of them say much, and all of them together do.
func (c *Crowd) alike(p *pair) bool { return c.repeats(p.a) && c.repeats(p.b) }

// beyond bounds the chance that something that is expected so many times happens at least
// so many times, by Chernoff's bound for Poisson's distribution.
func beyond(times, expected float64) float64 {
	if expected <= 0 {
		return 0
	}
	return math.Exp(times - expected - times*math.Log(times/expected))
}

// Settle finds the clusters anew, if something changed. What Cluster, Pools and
// AlikeTo answer is as of the last time. It takes some tens of milliseconds for a full crowd.
func (c *Crowd) Settle(at time.Duration) {
	c.age(at)
	if !c.changed {
		return
	}
	c.changed = false
	members := slices.SortedFunc(slices.Values(c.heard), func(a, b *member) int { return cmp.Compare(a.order, b.order) })
	index := make(map[*member]int, len(members))
	for i, m := range members {
		index[m] = i
	}
	alike, linked := newUnion(len(members)), newUnion(len(members))
	first := map[hub]int{}
	c.gathered = map[hub]int{}
	for i, m := range members {
		for _, p := range m.pairs {
			if p.a == m && c.alike(p) {
				alike.join(i, index[p.b])
				linked.join(i, index[p.b])
			}
		}
		for _, p := range m.places {
			if c.gathered[p.hub]++; c.gathered[p.hub] == 1 {
				first[p.hub] = i
			}
			linked.join(first[p.hub], i)
		}
	}
	c.nameAll(alike.groups(members), func(m *member) *label { return &m.alike })
	c.nameAll(linked.groups(members), func(m *member) *label { return &m.cluster })
	in := map[pavise.Name]string{}
	for _, m := range members {
		if m.cluster.number > 0 {
			in[m.name] = m.cluster.name
		}
	}
	c.settled.Store(&in)
}

// nameAll names groups, each in the order in which its members were first seen, and the
// groups in that of their first ones. A group keeps the oldest name that a member of it
// had, so a name does not move when others join, or when the first leaves. Of two parts of
// what was one the older one keeps it. One alone is no group.
func (c *Crowd) nameAll(groups [][]*member, of func(*member) *label) {
	taken := map[label]bool{{}: true}
	for _, g := range groups {
		var is label
		for _, m := range g {
			if had := *of(m); len(g) > 1 && !taken[had] && (is.number == 0 || had.number < is.number) {
				is = had
			}
		}
		if len(g) > 1 && is.number == 0 {
			c.made++
			sum := sha256.Sum256(fmt.Appendf(nil, "%d %s", c.made, g[0].name))
			is = label{c.made, "s-" + hex.EncodeToString(sum[:6])}
		}
		taken[is] = true
		for _, m := range g {
			if *of(m) != is {
				*of(m) = is
				c.unkept[m] = true
			}
		}
	}
}

// A union joins numbers. The least of those joined stands for all.
type union []int

func newUnion(n int) union {
	u := make(union, n)
	for i := range u {
		u[i] = i
	}
	return u
}

func (u union) find(i int) int {
	for u[i] != i {
		u[i] = u[u[i]]
		i = u[i]
	}
	return i
}

func (u union) join(i, j int) {
	i, j = u.find(i), u.find(j)
	u[max(i, j)] = min(i, j)
}

// groups are the members that are joined, in the order of members.
func (u union) groups(members []*member) (all [][]*member) {
	at := map[int]int{}
	for i, m := range members {
		root := u.find(i)
		if root == i {
			at[root] = len(all)
			all = append(all, nil)
		}
		all[at[root]] = append(all[at[root]], m)
	}
	return all
}

// Cluster returns the name of the cluster that a caller is in; "" if in none. It is safe
// for concurrent use, and waits for nobody.
func (c *Crowd) Cluster(who pavise.Name) string {
	if in := c.settled.Load(); in != nil {
		return (*in)[who]
	}
	return ""
}

// Pools appends the names of the pools that a caller's rows belong to: one for each thing
// that links it to others.
func (c *Crowd) Pools(dst []string, who pavise.Name) []string {
	m := c.members[who]
	if m == nil {
		return dst
	}
	if name := c.alikeOf(who); name != "" {
		dst = append(dst, name)
	}
	for _, p := range m.places {
		if c.gathered[p.hub] > 1 {
			dst = append(dst, p.link.String()+" "+p.what)
		}
	}
	return dst
}

// alikeOf is the name of the pool of those whom a caller is alike with; "" if it is with
// nobody.
func (c *Crowd) alikeOf(who pavise.Name) string {
	if m := c.members[who]; m != nil && m.alike.number > 0 {
		return Alike.String() + " " + m.alike.name
	}
	return ""
}

// AlikeTo returns the callers whose rows nearly repeat each other's and a caller's, itself
// among them, in the order in which they were first seen; none if there are no others.
func (c *Crowd) AlikeTo(who pavise.Name) []pavise.Name {
	m := c.members[who]
	if m == nil || m.alike.number == 0 {
		return nil
	}
	return c.named(func(o *member) bool { return o.alike == m.alike })
}

// named returns the names of some members, in the order in which they were first seen.
func (c *Crowd) named(want func(*member) bool) (names []pavise.Name) {
	var found []*member
	for _, m := range c.heard {
		if want(m) {
			found = append(found, m)
		}
	}
	slices.SortFunc(found, func(a, b *member) int { return cmp.Compare(a.order, b.order) })
	for _, m := range found {
		names = append(names, m.name)
	}
	return names
}
