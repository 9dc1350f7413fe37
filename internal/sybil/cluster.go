package sybil

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise"
)

const (
	// Two callers are alike when their rows nearly repeat each other's so often that chance
	// has it less than once in so many pairs. Callers with the same habits meet more often
	// than chance has it, by far: so many times as often is still chance.
	alikeOdds  = 1e-9
	alikeHabit = 8
	alikeLeast = 5 // times, below which nothing is said

	maxShown = 100 // members that a view of a cluster names
)

// alike reports whether a pair's rows nearly repeat each other's more often than chance
// has it. A row of one meets one of the other, rather than of anybody else, by the share
// of all rows that the other has.
func (c *Crowd) alike(p *pair) bool {
	if p.times < alikeLeast || c.rows <= 0 {
		return false
	}
	expected := alikeHabit * 2 * c.chance * p.a.rows * p.b.rows / c.rows
	return p.times > expected && beyond(p.times, expected) < alikeOdds
}

// beyond bounds the chance that something that is expected so many times happens at least
// so many times, by Chernoff's bound for Poisson's distribution.
func beyond(times, expected float64) float64 {
	if expected <= 0 {
		return 0
	}
	return math.Exp(times - expected - times*math.Log(times/expected))
}

// Settle finds the clusters anew, if something changed. What Cluster, Pools, Alike and
// Clusters answer is as of the last time. It takes milliseconds for a full crowd.
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
	close, any := newUnion(len(members)), newUnion(len(members))
	first := map[hub]int{}
	c.gathered = map[hub]int{}
	for i, m := range members {
		for _, p := range m.pairs {
			if p.a == m && c.alike(p) {
				close.join(i, index[p.b])
				any.join(i, index[p.b])
			}
		}
		for _, p := range m.places {
			if c.gathered[p.hub]++; c.gathered[p.hub] == 1 {
				first[p.hub] = i
			}
			any.join(first[p.hub], i)
		}
	}
	c.nameAll(close.groups(members), func(m *member) *string { return &m.alike })
	c.nameAll(any.groups(members), func(m *member) *string { return &m.cluster })
	in := map[pavise.Name]string{}
	for _, m := range members {
		if m.cluster != "" {
			in[m.name] = m.cluster
		}
	}
	c.settled.Store(&in)
}

// nameAll names groups, each in the order in which its members were first seen, and the
// groups in that of their first ones. A group keeps the name that the first of its members
// had who had one, so a name does not move when others join, or when the first leaves. Of
// two parts of what was one the older one keeps it. One alone is no group.
func (c *Crowd) nameAll(groups [][]*member, of func(*member) *string) {
	taken := map[string]bool{}
	for _, g := range groups {
		name := ""
		for _, m := range g {
			if had := *of(m); had != "" && !taken[had] && len(g) > 1 {
				name = had
				break
			}
		}
		for len(g) > 1 && (name == "" || taken[name]) {
			c.made++
			sum := sha256.Sum256(fmt.Appendf(nil, "%d %s", c.made, g[0].name))
			name = "s-" + hex.EncodeToString(sum[:4])
		}
		taken[name] = true
		for _, m := range g {
			*of(m) = name
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
	if m.alike != "" {
		dst = append(dst, Alike.String()+" "+m.alike)
	}
	for _, p := range m.places {
		if c.gathered[p.hub] > 1 {
			dst = append(dst, p.link.String()+" "+p.what)
		}
	}
	return dst
}

// AlikeTo returns the callers whose rows nearly repeat each other's and a caller's, itself
// among them, in the order in which they were first seen; none if there are no others.
func (c *Crowd) AlikeTo(who pavise.Name) []pavise.Name {
	m := c.members[who]
	if m == nil || m.alike == "" {
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

// A Cluster is callers that are linked, as it is shown.
type Cluster struct {
	Name    string        `json:"name"`
	Members []pavise.Name `json:"members"` // in the order in which they were first seen, the first hundred
	Count   int           `json:"count"`   // of all
	Links   []Tie         `json:"links"`   // the strongest sort first, then those of most callers
}

// A Tie is one reason why callers are linked.
type Tie struct {
	Link    string `json:"link"`    // alike, made by, organisation or network
	What    string `json:"what"`    // by whom they were made, where they are; of those alike, how often
	Callers int    `json:"callers"` // that it links
}

// Clusters returns the clusters of the crowd, the largest first.
func (c *Crowd) Clusters() []Cluster {
	by := map[string]*Cluster{}
	ties := map[string]map[hub]int{}
	for _, who := range c.named(func(m *member) bool { return m.cluster != "" }) {
		m := c.members[who]
		cl := by[m.cluster]
		if cl == nil {
			cl = &Cluster{Name: m.cluster}
			by[m.cluster], ties[m.cluster] = cl, map[hub]int{}
		}
		if cl.Count++; len(cl.Members) < maxShown {
			cl.Members = append(cl.Members, who)
		}
		for _, p := range m.places {
			ties[m.cluster][p.hub]++
		}
		for _, p := range m.pairs {
			if p.a == m && c.alike(p) {
				ties[m.cluster][hub{Alike, fmt.Sprintf("%s and %s, %.0f times", p.a.name, p.b.name, p.times)}] = 2
			}
		}
	}
	var all []Cluster
	for name, cl := range by {
		cl.Links = tied(ties[name])
		all = append(all, *cl)
	}
	slices.SortFunc(all, func(a, b Cluster) int { return cmp.Or(b.Count-a.Count, strings.Compare(a.Name, b.Name)) })
	return all
}

// tied are the reasons of a cluster, for people.
func tied(count map[hub]int) []Tie {
	var hubs []hub
	for h, n := range count {
		if n > 1 {
			hubs = append(hubs, h)
		}
	}
	slices.SortFunc(hubs, func(a, b hub) int {
		return cmp.Or(cmp.Compare(a.link, b.link), count[b]-count[a], strings.Compare(a.what, b.what))
	})
	ties := []Tie{}
	for _, h := range hubs[:min(len(hubs), maxShown)] {
		ties = append(ties, Tie{h.link.String(), h.what, count[h]})
	}
	return ties
}
