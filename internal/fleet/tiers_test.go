package fleet

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/tier"
)

func tierBook(t *testing.T, now func() time.Time) *tier.Book {
	t.Helper()
	db, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	b, err := tier.Open(t.Context(), tier.Config{Store: db, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A gateway whose clock is set forward, or back, frees nobody whom people hold: an order that has
// ended by its clock is passed over, and what held by it holds as long as the book counts.
func TestClockFreesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		skew := time.Duration(0) // of the gateway's clock on the wall
		clock := func() time.Time { return time.Now().Add(skew) }
		control, gateway := tierBook(t, time.Now), tierBook(t, clock)
		name := func(kind, id string) pavise.Name { return pavise.Name{Tenant: "acme", Kind: kind, ID: id} }
		fraud, eve, mal, ana := name("model", "fraud"), name("workload", "eve"), name("workload", "mal"), name("human", "ana")
		for who, to := range map[pavise.Name]tier.Tier{eve: tier.Red, mal: tier.Amber} {
			w := tier.Word{Model: fraud, Who: who, Tier: to, Until: time.Now().Add(24 * time.Hour), By: ana, Reason: "looks like copying"}
			if _, err := control.Hold(t.Context(), w); err != nil {
				t.Fatal(err)
			}
		}
		for _, skew = range []time.Duration{0, 48 * time.Hour, 400 * 24 * time.Hour, -48 * time.Hour, 0, 48 * time.Hour} {
			if err := ObeyTiers(t.Context(), gateway, TierOrders(control, "acme"), clock()); err != nil {
				t.Fatal(err)
			}
			if gateway.Of(fraud, eve) != tier.Red || gateway.Of(fraud, mal) != tier.Amber {
				t.Fatalf("a clock that is %v off: %v and %v", skew, gateway.Of(fraud, eve), gateway.Of(fraud, mal))
			}
			time.Sleep(time.Hour)
		}
		time.Sleep(19 * time.Hour) // a day in all since they were held
		skew = 0
		if err := ObeyTiers(t.Context(), gateway, TierOrders(control, "acme"), clock()); err != nil || gateway.Of(fraud, eve) != tier.Green {
			t.Errorf("it never ends: %v, %v", gateway.Of(fraud, eve), err)
		}
	})
}

// A gateway holds whom the control plane's operators hold, and lifts whom they lifted, once:
// what it found since stays. The same orders change nothing.
func TestTiersAreObeyed(t *testing.T) {
	now := time.Date(2026, 3, 4, 9, 30, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	control, gateway := tierBook(t, clock), tierBook(t, clock)
	name := func(kind, id string) pavise.Name { return pavise.Name{Tenant: "acme", Kind: kind, ID: id} }
	fraud, eve, mal, ana := name("model", "fraud"), name("workload", "eve"), name("workload", "mal"), name("human", "ana")
	hold := func(b *tier.Book, who pavise.Name, to tier.Tier) {
		t.Helper()
		if _, err := b.Hold(t.Context(), tier.Word{Model: fraud, Who: who, Tier: to, Until: now.Add(24 * time.Hour), By: ana, Reason: "looks like copying"}); err != nil {
			t.Fatal(err)
		}
	}
	obey := func() []byte {
		t.Helper()
		text, err := json.Marshal(TierOrders(control, "acme"))
		if err != nil {
			t.Fatal(err)
		}
		var orders []TierOrder
		if err := json.Unmarshal(text, &orders); err != nil {
			t.Fatal(err)
		}
		if err := ObeyTiers(t.Context(), gateway, orders, now); err != nil {
			t.Fatal(err)
		}
		return text
	}
	hold(control, eve, tier.Red)
	hold(control, mal, tier.Amber)
	text := obey()
	if gateway.Of(fraud, eve) != tier.Red || gateway.Of(fraud, mal) != tier.Amber {
		t.Fatal("the gateway holds nobody")
	}
	before := gateway.List(tier.Filter{})
	if again := obey(); string(again) != string(text) || !slices.Equal(before, gateway.List(tier.Filter{})) {
		t.Errorf("the same orders are told as %s and %s", text, again)
	}
	now = now.Add(time.Minute)
	lift := tier.Word{Model: fraud, Who: eve, Tier: tier.Green, Until: now.Add(24 * time.Hour), By: ana, Reason: "was us"}
	if _, err := control.Obey(t.Context(), lift); err != nil { // as a lift is told in a fleet
		t.Fatal(err)
	}
	obey()
	if gateway.Of(fraud, eve) != tier.Green || gateway.Of(fraud, mal) != tier.Amber {
		t.Error("what was lifted holds, or another was lifted")
	}
	now = now.Add(time.Minute)
	hold(gateway, eve, tier.Amber) // found again since
	orders := TierOrders(control, "acme")
	if s, _ := gateway.Get(fraud, eve); !slices.ContainsFunc(orders, func(o TierOrder) bool { return o.Who == eve && o.Since.Before(s.Since) }) {
		t.Fatalf("the orders are %+v", orders)
	}
	if _, err := control.Lift(t.Context(), tier.Word{Model: fraud, Who: mal, By: ana, Reason: "was us"}); err != nil {
		t.Fatal(err)
	}
	obey()
	if gateway.Of(fraud, mal) != tier.Green {
		t.Error("a word that the control plane no longer gives holds")
	}
	if err := ObeyTiers(t.Context(), gateway, []TierOrder{{}, {Word: tier.Word{Model: fraud, Who: mal, Tier: tier.Red, Until: now.Add(-time.Hour), By: ana, Reason: "x"}}}, now); err != nil || gateway.Of(fraud, mal) != tier.Green {
		t.Errorf("what makes no sense, or has ended: %v", err)
	}
}
