package role

import (
	"crypto/sha256"
	"fmt"
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

// TestUnreadCalibrationStopsNoOrders: a calibration that the version of a gateway does not read
// keeps neither a route, nor a quarantine, nor a word on a caller from holding there.
func TestUnreadCalibrationStopsNoOrders(t *testing.T) {
	p := begin(t)
	g, _ := p.gateway(t, "gw-1", nil)
	model := pavise.Name{Tenant: "acme", Kind: "model", ID: Sample}
	caller := pavise.Name{Tenant: "acme", Kind: pavise.Workload, ID: "scanner"}
	routes, older := p.Rooms().Routes, []byte(`{"format":"pavise.calibration/3"}`)
	all := routes.Standings()
	all[0].Calibration = fmt.Sprintf("sha256:%x", sha256.Sum256(older))
	if err := routes.Adopt(t.Context(), all, 1, func(string) ([]byte, error) { return older, nil }); err != nil {
		t.Fatal(err)
	}
	if err := p.ana.Call(t.Context(), "tier.hold", verbs.TierHold{Model: model, Caller: caller, Tier: "red", Reason: "looks like copying"}, nil); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); g.Gateway.Tiers.Of(model, caller) != tier.Red; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("at the gateway the caller is %v", g.Gateway.Tiers.Of(model, caller))
		}
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) { // the calibration itself comes after the word
		here := g.Gateway.Routes.Standings()
		if len(here) == 1 && here[0].Calibration == all[0].Calibration {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v", here)
		}
	}
}
