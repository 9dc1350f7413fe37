package party

import (
	"fmt"
	"testing"

	"github.com/pavise/pavise"
)

func name(tenant string, i int) pavise.Name {
	return pavise.Name{Tenant: tenant, Kind: pavise.Workload, ID: fmt.Sprint("app-", i)}
}

// TestSeats gives each of the first callers a group of its own, spreads those that follow, and
// answers the same whenever it is asked, also of names that are alike but for the tenant.
func TestSeats(t *testing.T) {
	var s Seats
	groups, taken := map[pavise.Name]int{}, [Groups]int{}
	for i := range 2000 {
		for _, tenant := range []string{"a", "b"} {
			who := name(tenant, i)
			groups[who] = s.Of(who)
			if g := groups[who]; len(groups) <= maxSeats {
				taken[g]++
			}
			if seated := min(len(groups), maxSeats); taken[groups[who]] > (seated+Groups-1)/Groups {
				t.Fatalf("%d callers, and %d in one group", len(groups), taken[groups[who]])
			}
		}
		for _, asked := range []pavise.Name{name("a", i), name("b", i), name("a", i/2), name("b", i/3), name("a", 0)} {
			if s.Of(asked) != groups[asked] {
				t.Fatalf("%s is in another group", asked)
			}
		}
	}
	if len(s.of) != maxSeats {
		t.Errorf("%d callers have seats", len(s.of))
	}
	if g := s.Of(pavise.Name{}); g < 0 || g >= Groups || s.Of(pavise.Name{}) != g {
		t.Error("who has no name is in no group, or in two")
	}
}

// TestSeatsAnew gives other groups to who is seated anew: they are drawn.
func TestSeatsAnew(t *testing.T) {
	seen := map[int]bool{}
	for range 200 {
		var s Seats
		seen[s.Of(name("a", 1))] = true
	}
	if len(seen) < 8 {
		t.Errorf("a caller was in %d groups of 200", len(seen))
	}
}

// TestHeavy names who brings nine of ten rows, and nobody else.
func TestHeavy(t *testing.T) {
	for _, c := range []struct {
		own   int // of a hundred
		leads bool
	}{{100, true}, {95, true}, {60, false}, {10, false}} {
		var h Heavy
		for i := range 1000 {
			who := name("a", 0)
			if i%100 >= c.own {
				who = name("a", i)
			}
			h.See(who, 1+i%3)
		}
		if who, leads := h.Leads(); leads != c.leads || leads && who != name("a", 0) {
			t.Errorf("of %d: %s leads: %v", c.own, who, leads)
		}
	}
	if _, leads := (&Heavy{}).Leads(); leads {
		t.Error("somebody leads where nobody came")
	}
}
