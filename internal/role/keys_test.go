package role

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/verbs"
)

// signing returns the keys that sign bundles, as ana sees them.
func (p *party) signing(t *testing.T) (list verbs.SigningKeys) {
	t.Helper()
	if err := p.ana.Call(t.Context(), "bundle.list", api.Empty{}, &list); err != nil {
		t.Fatal(err)
	}
	return list
}

// TestKeysOfBundlesRotate makes another key sign what gateways are told and revokes the
// first: a gateway follows, and takes nothing of whoever has the first key still, although
// it is newer than all that it has seen.
func TestKeysOfBundlesRotate(t *testing.T) {
	t.Parallel()
	p := begin(t)
	g, _ := p.gateway(t, "gw-1", nil)
	app := p.caller(t, "app", "caller")
	until(t, app, g, 200)
	dir, stolen := filepath.Join(p.cfg.Data, "bundle"), filepath.Join(t.TempDir(), "stolen")
	if err := os.CopyFS(stolen, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	first := p.signing(t).Keys[0].Key
	for _, last := range []string{first, "ed25519:x"} { // the only one, and none
		if err := p.ana.Call(t.Context(), "bundle.revoke", verbs.KeyRevoke{Key: last}, nil); pavise.KindOf(err) != pavise.Conflict && pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("revoke %s: %v", last, err)
		}
	}
	p.change(t, "bundle.rotate", verbs.KeyRotate{Reason: "it is that time of the year"})
	p.change(t, "bundle.revoke", verbs.KeyRevoke{Key: first})
	if list := p.signing(t); len(list.Keys) != 2 || list.Keys[0] != (verbs.SigningKey{Key: first, State: "revoked"}) || list.Keys[1].State != "active" || list.Serial != p.publisher.Serial() {
		t.Errorf("%+v", list)
	}
	p.change(t, "policy.put", verbs.PolicyPut{ID: "closed", Text: `forbid (principal in Role::"caller", action == Action::"model.infer", resource);`})
	until(t, app, g, 403)

	p.running.stop()
	if err := errors.Join(os.RemoveAll(dir), os.CopyFS(dir, os.DirFS(stolen))); err != nil {
		t.Fatal(err)
	}
	keepToOneself(t, dir)
	before := g.Health().Bundle
	p.cfg.Above = before.Held + 100
	p.serve(t)
	if p.publisher.Serial() <= before.Held {
		t.Fatalf("the bundle of the old key is %d, and proves nothing", p.publisher.Serial())
	}
	found := noted(t, g, "bundle.refused")
	if text := string(found.Detail); !strings.Contains(text, `"severity":"critical"`) || !strings.Contains(text, first+", which was revoked") {
		t.Errorf("the finding is %s", text)
	}
	until(t, app, g, 403)
	if got := g.Health().Bundle.Serial; got != before.Serial {
		t.Errorf("it uses bundle %d, and not %d", got, before.Serial)
	}
}

// TestKeysOfBundlesWhileAway rotates twice while a gateway is away: it follows when it
// comes back, although every key that it knew was revoked meanwhile.
func TestKeysOfBundlesWhileAway(t *testing.T) {
	t.Parallel()
	p := begin(t)
	g, running := p.gateway(t, "gw-1", nil)
	app := p.caller(t, "app", "caller")
	until(t, app, g, 200)
	running.stop()
	for i := range 2 {
		p.change(t, "bundle.rotate", verbs.KeyRotate{})
		p.change(t, "bundle.revoke", verbs.KeyRevoke{Key: p.signing(t).Keys[i].Key})
	}
	g, _, err := again(t, g, nil)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); g.Health().Bundle.Serial < p.publisher.Serial(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not follow: %+v", g.Health())
		}
	}
	until(t, app, g, 200)
}
