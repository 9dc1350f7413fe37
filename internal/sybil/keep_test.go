package sybil

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
)

// kept is what a crowd keeps of all its members, in no order.
func kept(t testing.TB, c *Crowd) (list []Kept) {
	t.Helper()
	for who := range c.members {
		b, ok := c.Keep(who)
		if !ok {
			t.Fatalf("nothing is kept of %s", who)
		}
		list = append(list, Kept{who, b})
	}
	return list
}

// again is a crowd that begins with what another one kept.
func again(t testing.TB, c *Crowd, at time.Duration) *Crowd {
	t.Helper()
	next := NewCrowd(c.chance, c.most)
	if refused := next.Restore(at, kept(t, c)); refused != 0 {
		t.Fatalf("%d refused", refused)
	}
	return next
}

// view is what a crowd says of everybody.
func view(c *Crowd) (all []string) {
	for i := range 60 {
		who := callerOf(i)
		all = append(all, fmt.Sprint(who, c.Cluster(who), c.Pools(nil, who), c.AlikeTo(who)))
	}
	return all
}

// TestCrowdGoesOn breaks a history off again and again, and goes on with what was kept: all is
// as in one that was never broken off, the names of clusters among it.
func TestCrowdGoesOn(t *testing.T) {
	whole := NewCrowd(0.1, 0)
	broken := NewCrowd(0.1, 0)
	rng := rand.New(rand.NewPCG(8, 8))
	for n := range 4000 {
		at := time.Duration(n) * 10 * time.Minute // four weeks: links fade meanwhile
		i := rng.IntN(60)
		f := Facts{}
		if i < 30 {
			f = network(fmt.Sprintf("10.0.%d.1", i%6))
		}
		cross := i >= 30 && i < 40 && rng.IntN(2) == 0
		other := callerOf(30 + rng.IntN(8))
		for _, c := range []*Crowd{whole, broken} {
			if c.Saw(at, callerOf(i), f, 1); cross {
				c.Crossed(callerOf(i), other)
			}
			if n%50 == 0 {
				c.Settle(at)
			}
		}
		if n%300 == 0 {
			whole.Settle(at)
			if broken = again(t, broken, at); !slices.Equal(view(whole), view(broken)) {
				t.Fatalf("after %d rows:\n%q\nand\n%q", n, view(whole), view(broken))
			}
		}
	}
	if all := view(whole); !slices.ContainsFunc(all, func(s string) bool { return strings.Contains(s, "alike s-") }) || !slices.ContainsFunc(all, func(s string) bool { return strings.Contains(s, "network 10.0.1.0/24") }) {
		t.Errorf("nobody is linked: %q", all)
	}
}

// TestUnkept says of whom something is new, once, and again if it could not be kept.
func TestUnkept(t *testing.T) {
	c := NewCrowd(0.1, 3)
	var lost []pavise.Name
	c.Lost = func(who pavise.Name) { lost = append(lost, who) }
	for i := range 3 {
		c.Saw(0, callerOf(i), network("192.0.2.1"), 1)
	}
	first, more := c.Unkept(2)
	rest, none := c.Unkept(2)
	if len(first) != 2 || !more || len(rest) != 1 || none {
		t.Errorf("%v, %v and %v, %v", first, more, rest, none)
	}
	if c.Settle(0); len(c.unkept) != 3 { // a cluster was named
		t.Errorf("%d are to be kept for their cluster", len(c.unkept))
	}
	c.Unkept(9)
	c.Crossed(callerOf(0), callerOf(1))
	c.Unkeep(callerOf(2))
	c.Unkeep(callerOf(7))
	if who, _ := c.Unkept(9); len(who) != 2 || slices.Contains(who, callerOf(1)) {
		t.Errorf("%v", who)
	}
	c.Saw(0, callerOf(3), Facts{}, 1)
	if !slices.Equal(lost, []pavise.Name{callerOf(0)}) {
		t.Errorf("lost %v", lost)
	}
	if who, _ := c.Unkept(9); slices.Contains(who, callerOf(0)) || !slices.Contains(who, callerOf(1)) { // which had a pair with it
		t.Errorf("%v", who)
	}
}

// TestKeptIsRefused: what is none is not brought back, and counted.
func TestKeptIsRefused(t *testing.T) {
	for _, text := range []string{
		"", "x", "[]", `{"order":-1}`, `{"rows":-1}`, `{"rows":1e300}`, `{"met":-0.1}`,
		`{"places":[{"link":9,"what":"x"}]}`, `{"places":[{"link":0,"what":"x"}]}`, `{"places":[{"link":1,"what":""}]}`,
		`{"places":[` + strings.Repeat(`{"link":3,"what":"x"},`, maxPlaces) + `{"link":3,"what":"y"}]}`,
		`{"pairs":[` + strings.Repeat(`{"other":"acme/workload/x","times":1},`, maxPairs) + `{"other":"acme/workload/y","times":1}]}`,
		`{"pairs":[{"other":"acme/workload/x","times":-1}]}`, `{"pairs":[{"other":"x","times":1}]}`,
		`{"cluster":{"number":1}}`, `{"alike":{"name":"s-1"}}`,
		`{"places":[{"link":3,"what":"` + strings.Repeat("x", maxKept) + `"}]}`,
	} {
		c := NewCrowd(0.1, 0)
		if refused := c.Restore(0, []Kept{{callerOf(0), []byte(text)}}); refused != 1 || len(c.members) != 0 {
			t.Errorf("%.60s: %d refused, %d members", text, refused, len(c.members))
		}
	}
	c := NewCrowd(0.1, 2)
	var list []Kept
	for i := range 5 {
		list = append(list, Kept{callerOf(i), fmt.Appendf(nil, `{"order":%d}`, i+1)})
	}
	if refused := c.Restore(0, list); refused != 0 || len(c.members) != 2 || c.members[callerOf(4)] == nil {
		t.Errorf("%d refused, %d members", refused, len(c.members))
	}
}

// FuzzKept brings back whatever it reads, and goes on.
func FuzzKept(f *testing.F) {
	c := NewCrowd(0.1, 0)
	meet(c, 0, 20, 0, 1, 2)
	c.Saw(0, callerOf(1), network("192.0.2.1"), 1)
	c.Settle(0)
	a, _ := c.Keep(callerOf(0))
	b, _ := c.Keep(callerOf(1))
	f.Add(a, b)
	f.Add([]byte("{}"), []byte(`{"aged":9223372036854775807,"rows":1}`))
	f.Add([]byte(`{"aged":-9223372036854775808,"rows":1}`), []byte(`{"aged":9223372036854775807,"rows":1,"order":18446744073709551615,"cluster":{"number":18446744073709551615,"name":"x"}}`))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		c := NewCrowd(0.1, 4)
		c.Restore(0, []Kept{{callerOf(0), a}, {callerOf(1), b}})
		for i := range 6 {
			c.Saw(time.Duration(i)*Fade, callerOf(i%5), network("192.0.2.1"), 1)
			c.Crossed(callerOf(i%5), callerOf(0))
			c.Settle(time.Duration(i) * Fade)
		}
		for _, m := range c.members {
			if len(m.pairs) > maxPairs || !(m.rows >= 0) || !(m.met >= 0) {
				t.Fatalf("%+v", m)
			}
			for _, p := range m.pairs {
				if c.members[p.a.name] != p.a || c.members[p.b.name] != p.b {
					t.Fatal("a pair with somebody who was forgotten")
				}
			}
		}
		next := again(t, c, 6*Fade)
		if c.Settle(6 * Fade); !reflect.DeepEqual(view(c), view(next)) {
			t.Errorf("%q and %q", view(c), view(next))
		}
	})
}
