package role

import (
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/config"
	"github.com/pavise/pavise/internal/fleet"
	"github.com/pavise/pavise/internal/issuer"
	"github.com/pavise/pavise/internal/porttest"
	"github.com/pavise/pavise/internal/verbs"
)

// TestReinvite has whoever holds the host invite somebody anew who was a member: in the
// roles that they had, once, and as a finding.
func TestReinvite(t *testing.T) {
	t.Parallel()
	p := begin(t)
	p.change(t, "node.roles", verbs.RolesRequest{ID: "cat", Kind: pavise.Human, Role: []string{"analyst", "responder"}})
	if err := p.bob.Call(t.Context(), "node.revoke", verbs.HolderRequest{ID: "ana", Kind: pavise.Human}, nil); err != nil {
		t.Fatal(err)
	}
	p.running.stop()
	for _, id := range []string{"mallory", "", "../cat", "gw-1"} {
		p.cfg.Reinvite = []string{id}
		if s, err := NewServe(t.Context(), p.cfg); err == nil {
			s.Close()
			t.Errorf("%q is invited anew", id)
		} else if pavise.KindOf(err) != pavise.NotFound {
			t.Errorf("%q: %v", id, err)
		}
	}
	p.cfg.Reinvite = []string{"ana", "cat", "ana"}
	p.serve(t)
	if len(p.Invitations()) != 2 {
		t.Fatalf("%v", p.Invitations())
	}
	ana := join(t, p.Invitations()[0])
	who := map[string]string{"ana": "operator", "cat": "analyst responder"}
	for i, id := range []*fleet.Identity{ana, join(t, p.Invitations()[1])} {
		var me verbs.Whoami
		if err := id.Client().Call(t.Context(), "issuer.whoami", api.Empty{}, &me); err != nil || me.Name.ID != []string{"ana", "cat"}[i] || strings.Join(me.Roles, " ") != who[me.Name.ID] {
			t.Errorf("%+v, %v", me, err)
		}
	}
	if err := p.ana.Call(t.Context(), "issuer.whoami", api.Empty{}, nil); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("with the certificate of before: %v", err)
	}
	if _, err := fleet.Join(t.Context(), t.TempDir(), p.Invitations()[0].Text, time.Now); err == nil {
		t.Error("an invitation is good twice")
	}
	p.ana = ana.Client()
	p.change(t, "policy.put", verbs.PolicyPut{ID: "more", Text: `permit (principal in Role::"nobody", action == Action::"model.infer", resource);`})
	found := 0
	for _, r := range p.Log.Records(0, p.Log.Size()) {
		if r.Kind == issuer.KindReinvited && strings.Contains(string(r.Detail), `"severity":"critical"`) && r.On.Kind == pavise.Human {
			found++
		}
	}
	if found != 2 {
		t.Errorf("%d findings", found)
	}
	p.running.stop()
	p.cfg.Reinvite = nil
	if p.serve(t); len(p.Invitations()) > 0 {
		t.Errorf("at the next start: %v", p.Invitations())
	}
}

// TestReinviteWhoNeverJoined has the first invitation of somebody lapse with whom the
// installation began.
func TestReinviteWhoNeverJoined(t *testing.T) {
	cfg := ServeConfig{Now: time.Now, Serve: config.Serve{
		Data: t.TempDir(), Tenant: "acme", TrustDomain: "acme.example", Listen: porttest.Address(), Fleet: porttest.Address(), Names: []string{"localhost"}, Grace: time.Hour,
		Bootstrap: &config.Bootstrap{People: []config.Person{{ID: "ana", Roles: []string{"operator"}}}},
	}}
	p := &party{cfg: cfg}
	p.serve(t)
	lapsed := p.Invitations()[0]
	p.running.stop()
	p.cfg.Bootstrap = &config.Bootstrap{People: []config.Person{{ID: "eve", Roles: []string{"operator"}}}}
	p.cfg.Reinvite = []string{"eve"} // as the file says by now, and the log does not
	if _, err := NewServe(t.Context(), p.cfg); pavise.KindOf(err) != pavise.NotFound {
		t.Fatalf("eve: %v", err)
	}
	p.cfg.Reinvite = []string{"ana"}
	p.serve(t)
	if _, err := fleet.Join(t.Context(), t.TempDir(), lapsed.Text, time.Now); err == nil {
		t.Error("the first invitation is good still")
	}
	var me verbs.Whoami
	if err := join(t, p.Invitations()[0]).Client().Call(t.Context(), "issuer.whoami", api.Empty{}, &me); err != nil || me.Name.ID != "ana" || me.Roles[0] != "operator" {
		t.Errorf("%+v, %v", me, err)
	}
}
