package sybil

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
)

// meet has callers ask rows that nearly repeat each other's.
func meet(c *Crowd, at time.Duration, times int, callers ...int) {
	for range times {
		for i, a := range callers {
			c.Saw(at, callerOf(a), Facts{}, 1)
			c.Crossed(callerOf(a), callerOf(callers[(i+1)%len(callers)]))
		}
	}
}

// linked are the callers of a crowd by their cluster, in the order in which they were first
// seen.
func linked(c *Crowd) map[string][]pavise.Name {
	all := map[string][]pavise.Name{}
	for _, who := range c.named(func(*member) bool { return true }) {
		if name := c.Cluster(who); name != "" {
			all[name] = append(all[name], who)
		}
	}
	return all
}

func TestNetworkOf(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.77": "192.0.2.0/24", "::ffff:192.0.2.77": "192.0.2.0/24", "10.1.2.3": "10.1.2.0/24",
		"2001:db8:1:2::3": "2001:db8:1::/48", "fe80::1%eth0": "fe80::/48", "127.0.0.1": "invalid Prefix", "::1": "invalid Prefix", "0.0.0.0": "invalid Prefix", "::": "invalid Prefix",
	} {
		if got := NetworkOf(netip.MustParseAddr(addr)).String(); got != want {
			t.Errorf("%s is in %s, want %s", addr, got, want)
		}
	}
	if NetworkOf(netip.Addr{}).IsValid() {
		t.Error("no address has a network")
	}
}

// Each fact links, and says so; what is not known links nobody.
func TestLinks(t *testing.T) {
	c := NewCrowd(0.1, 0)
	for i := range 6 {
		f := Facts{}
		switch i {
		case 0, 1:
			f.Made = pavise.Name{Tenant: "local", Kind: pavise.Human, ID: "eve"}
		case 2, 3:
			f.Organisation = "acme"
		}
		c.Saw(0, callerOf(i), f, 1)
	}
	c.Saw(0, callerOf(1), network("192.0.2.1"), 1)
	c.Saw(0, callerOf(2), network("192.0.2.200"), 1)
	c.Settle(0)
	name := c.Cluster(callerOf(0))
	for i := range 6 {
		if got := c.Cluster(callerOf(i)); i < 4 && (got != name || name == "") || i >= 4 && got != "" {
			t.Errorf("caller %d is in %q, and the first in %q", i, got, name)
		}
	}
	if all := linked(c); len(all) != 1 || len(all[name]) != 4 {
		t.Errorf("the clusters are %+v", all)
	}
	if got := c.Pools(nil, callerOf(1)); !slices.Equal(got, []string{"made by local/human/eve", "network 192.0.2.0/24"}) {
		t.Errorf("the pools are %q", got)
	}
	if got := c.Pools(nil, callerOf(3)); !slices.Equal(got, []string{"organisation acme"}) {
		t.Errorf("the pools are %q", got)
	}
	if c.AlikeTo(callerOf(0)) != nil || c.Pools(nil, callerOf(5)) != nil || c.Pools(nil, callerOf(99)) != nil {
		t.Error("somebody is alike, or pooled, for nothing")
	}
}

// A cluster keeps its name when others join, when its first member is forgotten, and when
// it meets a younger one.
func TestNamesStay(t *testing.T) {
	c := NewCrowd(0.1, 0)
	for i := range 3 {
		c.Saw(0, callerOf(i), network("192.0.2.1"), 1)
		c.Saw(0, callerOf(10+i), network("198.51.100.1"), 1)
	}
	c.Settle(0)
	old, young := c.Cluster(callerOf(0)), c.Cluster(callerOf(10))
	if old == young || old == "" || young == "" {
		t.Fatalf("two networks are %q and %q", old, young)
	}
	for i := range 5 {
		c.Saw(1, callerOf(20+i), network("192.0.2.9"), 1)
	}
	c.Forget(callerOf(0))
	c.Settle(1)
	if got := c.Cluster(callerOf(24)); got != old || c.Cluster(callerOf(1)) != old || c.Cluster(callerOf(0)) != "" {
		t.Errorf("it was %s and is %s", old, got)
	}
	c.Saw(2, callerOf(1), network("198.51.100.7"), 1) // roams, and joins the two
	c.Settle(2)
	if c.Cluster(callerOf(10)) != old || c.Cluster(callerOf(2)) != old {
		t.Errorf("together they are %s and %s, where the older was %s", c.Cluster(callerOf(10)), c.Cluster(callerOf(2)), old)
	}
}

// Links that nothing renews fade, and what was counted counts less.
func TestLinksFade(t *testing.T) {
	c := NewCrowd(0.1, 0)
	meet(c, 0, 20, 0, 1)
	c.Saw(0, callerOf(2), network("192.0.2.1"), 1)
	c.Saw(0, callerOf(3), network("192.0.2.1"), 1)
	c.Settle(0)
	if len(c.AlikeTo(callerOf(0))) != 2 || c.Cluster(callerOf(2)) == "" {
		t.Fatal("nothing links them to begin with")
	}
	c.Settle(Fade + 1)
	if len(c.AlikeTo(callerOf(0))) != 2 || c.Cluster(callerOf(2)) == "" {
		t.Error("it fades too early")
	}
	c.Settle(6 * Fade)
	if c.AlikeTo(callerOf(0)) != nil || c.Cluster(callerOf(2)) != "" {
		t.Error("it does not fade")
	}
	for _, at := range []time.Duration{-1 << 62, 1<<63 - 1, 0, 1 << 62} { // whatever the clock does
		meet(c, at, 20, 4, 5)
		c.Settle(at)
	}
	if len(c.AlikeTo(callerOf(4))) != 2 {
		t.Error("after the clock jumped nothing is counted")
	}
}

// A stream that is split into many names links them all, although no two of them repeat
// each other much; who meets others as often as chance has it stays out.
func TestManyNamesAreAlike(t *testing.T) {
	c := NewCrowd(0.1, 0)
	rng := rand.New(rand.NewPCG(1, 1))
	for n := range 40 {
		for i := range 40 {
			c.Saw(time.Duration(n), callerOf(i), Facts{}, 1)
			if other := rng.IntN(20); i < 20 && other != i && rng.Float64() < 0.6 {
				c.Crossed(callerOf(i), callerOf(other))
			} else if i >= 20 && rng.Float64() < 0.1 {
				c.Crossed(callerOf(i), callerOf(rng.IntN(40)))
			}
		}
	}
	c.Settle(40)
	alike := c.AlikeTo(callerOf(0))
	if len(alike) < 18 || slices.ContainsFunc(alike, func(n pavise.Name) bool { return len(n.ID) == 3 && n.ID >= "c20" }) {
		t.Errorf("alike are %v", alike)
	}
	if pools := c.Pools(nil, callerOf(0)); len(pools) != 1 || !strings.HasPrefix(pools[0], "alike s-") || c.Cluster(callerOf(0)) == "" {
		t.Errorf("they are linked by %q", pools)
	}
}

// The same history gives the same clusters; whoever calls, the crowd is bounded.
func TestCrowdIsBoundedAndSure(t *testing.T) {
	const most = 50
	var before map[string][]pavise.Name
	for range 2 {
		c, rng := NewCrowd(0.05, most), rand.New(rand.NewPCG(2, 2))
		for n := range 20000 {
			at := time.Duration(n) * time.Minute
			f := network(fmt.Sprintf("10.%d.%d.1", rng.IntN(4), rng.IntN(100)))
			f.Organisation = fmt.Sprint("org", rng.IntN(30))
			a, b := callerOf(rng.IntN(200)), callerOf(rng.IntN(200))
			c.Saw(at, a, f, 1)
			c.Crossed(a, b)
			if n%500 == 0 {
				c.Settle(at)
			}
		}
		if len(c.members) > most || len(c.heard) != len(c.members) {
			t.Fatalf("%d members, %d heard", len(c.members), len(c.heard))
		}
		for _, m := range c.members {
			if len(m.pairs) > maxPairs || len(m.places) > 3*maxPlaces {
				t.Fatalf("%d pairs, %d places", len(m.pairs), len(m.places))
			}
			for _, p := range m.pairs {
				if c.members[p.a.name] != p.a || c.members[p.b.name] != p.b {
					t.Fatal("a pair with somebody who was forgotten")
				}
			}
		}
		c.Settle(20000 * time.Minute)
		all := linked(c)
		if before != nil && !reflect.DeepEqual(before, all) {
			t.Errorf("the same history gives %+v and %+v", before, all)
		}
		before = all
	}
}

// FuzzCrowd does whatever it reads, in any order and at any time.
func FuzzCrowd(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 1, 1, 2, 3, 2, 4, 5, 6, 3, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		c := NewCrowd(0.1, 6)
		at := time.Duration(0)
		for ; len(data) >= 4; data = data[4:] {
			a, b := callerOf(int(data[1]%9)), callerOf(int(data[2]%9))
			switch data[0] % 5 {
			case 0:
				c.Saw(at, a, Facts{Organisation: fmt.Sprint(data[2] % 3)}, int(data[3])-5)
			case 1:
				c.Saw(at, a, network(fmt.Sprintf("10.0.%d.1", data[2]%3)), 1)
			case 2:
				c.Crossed(a, b)
			case 3:
				at += time.Duration(int8(data[3])) * Fade / 4
				c.Settle(at)
			case 4:
				c.Forget(a)
			}
		}
		c.Settle(at)
		for name, members := range linked(c) {
			if len(members) < 2 {
				t.Fatalf("a cluster %s of %v", name, members)
			}
		}
	})
}

func BenchmarkSettle(b *testing.B) {
	c, rng := NewCrowd(0.05, 0), rand.New(rand.NewPCG(2, 2))
	for i := range Most {
		c.Saw(0, callerOf(i), network(fmt.Sprintf("10.%d.%d.1", i%50, i%7)), 50)
	}
	for range 8 * Most {
		c.Crossed(callerOf(rng.IntN(Most)), callerOf(rng.IntN(Most)))
	}
	for b.Loop() {
		c.changed = true
		c.Settle(0)
	}
}

func BenchmarkCluster(b *testing.B) {
	c := NewCrowd(0.05, 0)
	for i := range Most {
		c.Saw(0, callerOf(i), network(fmt.Sprintf("10.%d.0.1", i%50)), 1)
	}
	c.Settle(0)
	who := callerOf(77)
	for b.Loop() {
		c.Cluster(who)
	}
}
