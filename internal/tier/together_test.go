package tier

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/sybil"
)

// near gives small changes of rows that it gave before (after JBDA).
func near(seed uint64) func() []float64 {
	rng, use := rand.New(rand.NewPCG(seed, 6)), honest(seed)
	var rows [][]float64
	return func() []float64 {
		if len(rows) < 3 {
			rows = append(rows, use())
			return rows[len(rows)-1]
		}
		row := slices.Clone(rows[rng.IntN(len(rows))])
		for j := range row {
			row[j] += 0.02 * float64(2*rng.IntN(2)-1)
		}
		rows = append(rows, row)
		return row
	}
}

// split has so many callers ask forty rows each of one stream, in turns, and returns what
// was said of them.
func split(b *Book, callers int, next func() []float64) (said []string) {
	for range 40 {
		for i := range callers {
			if says := ask(b, caller(fmt.Sprint("s", i)), next()); says != "" {
				said = append(said, says)
			}
		}
	}
	return said
}

func ofNetwork(pavise.Name) sybil.Facts {
	return sybil.Facts{Network: sybil.NetworkOf(netip.MustParseAddr("192.0.2.9"))}
}

// A stream that is split into many names makes amber those whose rows nearly repeat each
// other's, and a lift of one is of that one. Who only calls from their network stays green.
func TestSplitStreamIsAmber(t *testing.T) {
	s := newShelf(t)
	s.cfg.Facts = ofNetwork
	b := s.watched(t)
	bystander := caller("bystander")
	ask(b, bystander, honest(3)())
	said := split(b, 8, near(5))
	amber := 0
	for i := range 8 {
		who := caller(fmt.Sprint("s", i))
		if st, ok := b.Get(model, who); ok && st.Tier == Amber {
			amber++
			if !strings.Contains(st.Evidence.Evidence, "others whose rows nearly repeat each other's") || st.Evidence.Client != who.String() {
				t.Errorf("%s is amber for %+v", who, st.Evidence)
			}
		}
	}
	if amber < 6 || !slices.ContainsFunc(said, func(s string) bool { return strings.Contains(s, "are amber now") }) {
		t.Errorf("%d are amber, and it says %q", amber, said)
	}
	if b.Of(model, bystander) != Green {
		t.Error("who calls from the same network is held for it")
	}
	first := b.List(Filter{})[0].Who
	if _, err := lift(b, first); err != nil || b.Of(model, first) != Green || len(b.List(Filter{})) != amber-1 {
		t.Errorf("after a lift %d are left: %v", len(b.List(Filter{})), err)
	}
}

// Noise that is split into many names of one network is said, once, and holds nobody.
func TestSplitNoiseIsSaid(t *testing.T) {
	s := newShelf(t)
	s.cfg.Facts = ofNetwork
	b := s.watched(t)
	said := split(b, 20, noise(5))
	said = slices.DeleteFunc(said, func(s string) bool { return strings.Contains(s, "amber") })
	if len(said) != 1 || !strings.Contains(said[0], "all stay green (network 192.0.2.0/24: ") {
		t.Errorf("it says %q", said)
	}
	if held := b.List(Filter{}); len(held) != 0 {
		t.Errorf("%d are held", len(held))
	}
}

// Honest callers of one network are nobody's finding.
func TestOneNetworkIsNoThief(t *testing.T) {
	s := newShelf(t)
	s.cfg.Facts = ofNetwork
	b := s.watched(t)
	var nexts []func() []float64
	for i := range 200 {
		nexts = append(nexts, honest(uint64(1000+i)))
	}
	for range 40 {
		for i, next := range nexts {
			if says := ask(b, caller(fmt.Sprint("h", i)), next()); says != "" {
				t.Fatalf("it says %q", says)
			}
		}
	}
}

// Callers whom something links have the name of their cluster, also while the detector
// looks; others have none.
func TestCluster(t *testing.T) {
	s := newShelf(t)
	s.cfg.Facts = func(who pavise.Name) sybil.Facts {
		if who.ID[0] == 's' {
			return ofNetwork(who)
		}
		return sybil.Facts{}
	}
	b := s.watched(t)
	if b.Cluster(model, caller("s1")) != "" {
		t.Error("somebody who never asked is in a cluster")
	}
	split(b, 3, honest(9))
	ask(b, caller("alone"), honest(1)())
	name := b.Cluster(model, caller("s0"))
	if name == "" || b.Cluster(model, caller("s2")) != name || b.Cluster(model, caller("alone")) != "" || b.Cluster(caller("other"), caller("s0")) != "" {
		t.Errorf("the clusters are %q, %q and %q", name, b.Cluster(model, caller("s2")), b.Cluster(model, caller("alone")))
	}
	if _, err := b.Calibrate(t.Context(), model, nil); err != nil || b.Cluster(model, caller("s0")) != "" {
		t.Errorf("nobody looks any more: %v", err)
	}
}
