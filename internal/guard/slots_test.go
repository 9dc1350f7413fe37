package guard

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pavise/pavise"
)

// TestOneCallerCannotTakeAllSlots: a principal that holds on to whatever it gets
// gets its share and no more, whichever of its roles and proofs it shows, and
// everybody else still gets in.
func TestOneCallerCannotTakeAllSlots(t *testing.T) {
	g, log := newGuard(t, nil)
	var held []*Entry
	var refusal error
	for i := range 2000 {
		who := caller
		who.Proof = fmt.Sprint("token ", i)
		e, err := g.Enter(t.Context(), who, "model.infer", model)
		if err != nil {
			refusal = err
			continue
		}
		held = append(held, e)
	}
	if len(held) != 1024/share {
		t.Fatalf("one caller holds %d of 1024 slots", len(held))
	}
	if pavise.KindOf(refusal) != pavise.Throttled || !strings.Contains(refusal.Error(), "local/workload/app has 128 requests under way") {
		t.Errorf("error %v, want throttled", refusal)
	}
	other := caller
	other.ID = "other"
	e, err := g.Enter(t.Context(), other, "model.infer", model)
	if err != nil {
		t.Fatalf("another caller: %v", err)
	}
	e.Exit(nil)
	if _, err := g.Enter(t.Context(), operator, "route.put", route); err != nil {
		t.Errorf("a control verb: %v", err)
	}
	before := log.Size()
	if err := g.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := log.last(t); log.Size() != before+1 || r.Kind != "guard.refused" || !strings.Contains(string(r.Detail), `"source":"local/workload/app"`) ||
		!strings.Contains(string(r.Detail), fmt.Sprintf(`"count":%d`, 2000-len(held))) {
		t.Errorf("%d notes, the last %+v", log.Size()-before, r)
	}
	for _, e := range held {
		e.Exit(nil)
		e.Exit(nil) // frees no second slot
	}
	if g.slots.busy != 0 || len(g.slots.held) != 0 {
		t.Errorf("all is over, but %d slots are taken and %d principals remembered", g.slots.busy, len(g.slots.held))
	}
}

// TestSmallPoolHasAShare: a pool of fewer slots than share gives everyone one.
func TestSmallPoolHasAShare(t *testing.T) {
	g, _ := newGuard(t, func(c *Config) { c.Pool = 3 })
	if _, err := g.Enter(t.Context(), caller, "model.infer", model); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Enter(t.Context(), caller, "model.infer", model); pavise.KindOf(err) != pavise.Throttled {
		t.Errorf("a second of three slots: %v, want throttled", err)
	}
}

// TestDeniedCallerKeepsNoSlot: a denial gives the slot back.
func TestDeniedCallerKeepsNoSlot(t *testing.T) {
	g, _ := newGuard(t, func(c *Config) { c.Pool = 1 })
	for range 2 * patience {
		if _, err := g.Enter(t.Context(), analyst, "model.infer", model); pavise.KindOf(err) != pavise.Denied {
			t.Fatalf("error %v, want denied", err)
		}
	}
	if len(g.slots.held) != 0 {
		t.Errorf("%v is still held", g.slots.held)
	}
}
