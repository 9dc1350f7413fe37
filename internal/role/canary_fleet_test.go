package role

import (
	"fmt"
	"slices"
	"testing"

	"github.com/pavise/pavise"
	threatdetector "github.com/pavise/pavise/examples/threat-detector"
	"github.com/pavise/pavise/internal/fleet"
)

// TestCanaryAtGateways: a gateway of a fleet says that a canary has its share, takes it out when it
// is in quarantine while the routes have it still, and lets the first go on.
func TestCanaryAtGateways(t *testing.T) {
	t.Parallel()
	p := begin(t)
	g, _ := p.gateway(t, "gw-1", nil)
	p.deployed(t, threatdetector.Model())
	v := p.publish(t, sampled, variant("two"))
	p.done(t, "deploy.release", deployment, fmt.Sprintf(`{"version":%d,"canary":10}`, v.Version))
	p.say(t, "gw-1: version 1, and version 2 for 10 in 100 calls, true")
	runs := g.runs()
	if len(runs) != 1 || len(runs[0].Versions) != 2 {
		t.Fatalf("%+v", runs)
	}
	g.applying.Lock()
	defer g.applying.Unlock()
	all := []fleet.Withdrawn{{Version: v.Name("acme"), Models: []string{runs[0].Versions[1].ONNX}}}
	if err := g.withdraw(t.Context(), 1, all); err != nil || !g.facts(sampled).Quarantined {
		t.Errorf("it is asked until the route without it is here: %v", err)
	}
	routes := g.Gateway.Routes.Standings()
	for i := range routes {
		fleet.Hold(all, &routes[i])
		routes[i].Parted = true
	}
	if err := g.Gateway.Routes.Adopt(t.Context(), routes, 1, g.store.Blob); err != nil {
		t.Fatal(err)
	}
	g.bar(all)
	if got := g.runs(); len(got[0].Versions) != 0 || got[0].Barred || got[0].ONNX != runs[0].ONNX {
		t.Errorf("%+v", got)
	}
	if !slices.Equal(told(g, noteWithdrawn), []pavise.Name{v.Name("acme")}) {
		t.Error("it is not recorded")
	}
}
