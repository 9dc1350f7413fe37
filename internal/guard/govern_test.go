package guard

import (
	"testing"

	"github.com/pavise/pavise"
)

// TestGovernByANewerControlPlane puts policies in force that speak of a verb which this
// build does not have: they are understood, and those that nobody knows are refused.
func TestGovernByANewerControlPlane(t *testing.T) {
	own := []Action{{Verb: "model.infer", On: []string{"model"}, Class: Pooled}}
	theirs := append([]Action{{Verb: "model.distill", On: []string{"model", "student-model"}, Consequential: true}}, own...)
	g, err := New(Config{Actions: own, Log: nullLog{}, Tenant: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	who := pavise.Principal{Tenant: "acme", Kind: pavise.Workload, ID: "app", Roles: []string{"caller"}}
	model := pavise.Name{Tenant: "acme", Kind: "model", ID: "m"}
	allowed := func() bool { return g.Explain(who, "model.infer", model).Decision == pavise.Allow }
	policies := func(text string) map[string]map[string]string {
		return map[string]map[string]string{"acme": {"p": text}}
	}
	const both = `permit (principal in Role::"caller", action in [Action::"model.infer", Action::"model.distill"], resource);`
	if err := g.Govern(own, policies(both)); pavise.KindOf(err) != pavise.Invalid || allowed() {
		t.Errorf("a verb that nobody knows: %v", err)
	}
	if err := g.Govern(theirs, policies(both)); err != nil || !allowed() {
		t.Errorf("a verb that the control plane knows: %v", err)
	}
	if err := g.Govern(theirs, policies(`permit (principal, action == Action::"model.destroy", resource);`)); pavise.KindOf(err) != pavise.Invalid || !allowed() {
		t.Errorf("a bad policy takes the place of a good one: %v", err)
	}
	if err := g.Govern(own, map[string]map[string]string{}); err != nil || allowed() {
		t.Errorf("without the tenant: %v", err)
	}
}
