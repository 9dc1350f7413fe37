package role

import (
	"net/http"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/verbs"
)

// TestRevokeInAFleet revokes what a program was given by name, which the control plane,
// its gateways and its next start hold to.
func TestRevokeInAFleet(t *testing.T) {
	t.Parallel()
	p := begin(t)
	g, _ := p.gateway(t, "gw-1", nil)
	app := p.caller(t, "app", "caller")
	until(t, app, g, 200)
	program := pavise.Name{Tenant: "acme", Kind: pavise.Workload, ID: "app"}
	var done issuer.Revocation
	if err := p.ana.Call(t.Context(), "issuer.revoke", verbs.RevokeRequest{Principal: program, Reason: "leaked"}, &done); err != nil || done.Principal != program {
		t.Fatalf("%+v, %v", done, err)
	}
	until(t, app, g, 401)
	whoami := func() int {
		resp, err := app.Post(p.FleetURL()+"/v1/issuer.whoami", "application/json", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	if got := whoami(); got != 401 {
		t.Errorf("the control plane answers %d to who was revoked", got)
	}
	p.running.stop()
	p.serve(t)
	if got := whoami(); got != 401 {
		t.Errorf("after a restart the control plane answers %d", got)
	}
	var list verbs.RevocationList
	if err := p.ana.Call(t.Context(), "issuer.revocations", api.Empty{}, &list); err != nil || len(list.Revocations) != 1 {
		t.Errorf("revocations %+v, %v", list, err)
	}
}

// TestServeHasNoLocalIssuer asks a control plane for what only up gives out.
func TestServeHasNoLocalIssuer(t *testing.T) {
	p := begin(t)
	err := p.ana.Call(t.Context(), "issuer.mint", verbs.MintRequest{Subject: "ci", Minutes: int(issuer.DefaultTTL / time.Minute)}, nil)
	if e, ok := err.(*pavise.Error); !ok || e.Kind != pavise.Unavailable || e.Msg != "this installation makes no tokens for demonstration" {
		t.Errorf("issuer.mint: %v", err)
	}
}
