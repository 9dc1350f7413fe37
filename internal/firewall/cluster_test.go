package firewall

import (
	"fmt"
	"testing"
	"time"

	"github.com/pavise/pavise"
)

// Linked callers share a budget beside their own: what one takes the others lack, a refusal
// takes nothing from anybody, and what was taken outlives a restart.
func TestClusterBudget(t *testing.T) {
	now := time.Date(2026, 3, 4, 9, 30, 0, 0, time.UTC)
	model := pavise.Name{Tenant: "t", Kind: "model", ID: "m"}
	linked := pavise.Name{Tenant: "t", Kind: "cluster", ID: "s-1"}
	who := func(i int) pavise.Name {
		return pavise.Name{Tenant: "t", Kind: pavise.Workload, ID: fmt.Sprint("w", i)}
	}
	terms := Terms{Budget: PerWindow(100, 24*time.Hour), ModelBudget: PerWindow(1000, 24*time.Hour), ClusterBudget: PerWindow(150, 24*time.Hour)}
	m := NewMeter(100)
	if err := m.SetTerms(model, terms); err != nil {
		t.Fatal(err)
	}
	charge := func(m *Meter, i int, in pavise.Name, rows int) pavise.Outcome {
		v, _ := m.Charge(now, who(i), in, model, rows, 1)
		return v.Outcome
	}
	if charge(m, 0, linked, 100) != pavise.Allow || charge(m, 1, linked, 50) != pavise.Allow {
		t.Fatal("what the budgets have is refused")
	}
	if v, wait := m.Charge(now, who(2), linked, model, 20, 1); v.Outcome != pavise.Deny || v.Check != "budget" || wait <= 0 {
		t.Errorf("beyond the budget that they share: %+v, %v", v, wait)
	}
	if charge(m, 2, pavise.Name{}, 100) != pavise.Allow {
		t.Error("the refusal took something of the caller, or one who is linked with nobody is held for others")
	}
	again := NewMeter(100)
	if err := again.SetTerms(model, terms); err != nil {
		t.Fatal(err)
	}
	if err := again.Restore(m.State(now)); err != nil || charge(again, 3, linked, 20) != pavise.Deny {
		t.Errorf("after a restart: %v", err)
	}
	replayed := NewMeter(100)
	if err := replayed.SetTerms(model, terms); err != nil {
		t.Fatal(err)
	}
	replayed.Take(now, who(0), linked, model, 140, 140)
	if charge(replayed, 4, linked, 20) != pavise.Deny || charge(replayed, 4, linked, 5) != pavise.Allow {
		t.Error("what records say was charged is not taken of the cluster")
	}
	parted := NewMeter(100)
	if err := parted.SetTerms(model, terms); err != nil {
		t.Fatal(err)
	}
	parted.Take(now, who(0), linked, model, 35, 140) // of a caller who pays fourfold
	if charge(parted, 4, linked, 100) != pavise.Allow {
		t.Error("what one caller pays several times is taken of all several times")
	}
	none := terms
	none.ClusterBudget = Rate{}
	if err := m.SetTerms(model, none); err != nil || charge(m, 5, linked, 100) != pavise.Allow {
		t.Errorf("a budget that was taken away holds: %v", err)
	}
}

// A meter that is full refuses a cluster as it refuses a caller, and never keeps more
// accounts than it has.
func TestClusterAccountsAreBounded(t *testing.T) {
	now := time.Date(2026, 3, 4, 9, 30, 0, 0, time.UTC)
	model := pavise.Name{Tenant: "t", Kind: "model", ID: "m"}
	m := NewMeter(20)
	if err := m.SetTerms(model, Terms{Budget: PerWindow(100, 24*time.Hour), ModelBudget: PerWindow(1000, 24*time.Hour), ClusterBudget: PerWindow(100, 24*time.Hour)}); err != nil {
		t.Fatal(err)
	}
	allowed := 0
	for i := range 100 {
		who := pavise.Name{Tenant: "t", Kind: pavise.Workload, ID: fmt.Sprint("w", i)}
		if v, _ := m.Charge(now, who, pavise.Name{Tenant: "t", Kind: "cluster", ID: fmt.Sprint("s-", i)}, model, 1, 1); v.Outcome == pavise.Allow {
			allowed++
		}
		if m.Accounts() > 20 {
			t.Fatalf("%d accounts are open", m.Accounts())
		}
	}
	if allowed < 5 {
		t.Errorf("%d were allowed", allowed)
	}
}
