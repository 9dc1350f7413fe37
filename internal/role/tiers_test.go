package role

import (
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/tier"
	"github.com/pavise/pavise/internal/verbs"
)

// TestTiersHoldEverywhere holds a caller at the control plane, and lifts it: a gateway
// knows both.
func TestTiersHoldEverywhere(t *testing.T) {
	p := begin(t)
	g, _ := p.gateway(t, "gw-1", nil)
	model := pavise.Name{Tenant: "acme", Kind: "model", ID: Sample}
	caller := pavise.Name{Tenant: "acme", Kind: pavise.Workload, ID: "scanner"}
	knows := func(want tier.Tier) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); g.Gateway.Tiers.Of(model, caller) != want; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("at the gateway the caller is %v, want %v", g.Gateway.Tiers.Of(model, caller), want)
			}
		}
	}
	if err := p.ana.Call(t.Context(), "tier.hold", verbs.TierHold{Model: model, Caller: caller, Tier: "red", Reason: "looks like copying"}, nil); err != nil {
		t.Fatal(err)
	}
	knows(tier.Red)
	var lifted verbs.TierLifted
	if err := p.ana.Call(t.Context(), "tier.lift", verbs.TierLift{TierRef: verbs.TierRef{Model: model, Caller: caller}, Reason: "our own test"}, &lifted); err != nil || lifted.Was.Tier != tier.Red {
		t.Fatalf("%+v, %v", lifted, err)
	}
	knows(tier.Green)
}
