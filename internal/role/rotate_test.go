package role

import (
	"testing"
	"time"

	"github.com/pavise/pavise/internal/verbs"
)

// TestRotateRoots lets another root sign, which machines hear of before: they know the
// control plane afterwards, and after a restart.
func TestRotateRoots(t *testing.T) {
	t.Parallel()
	p := begin(t)
	g, running := p.gateway(t, "gw-1", nil)
	p.change(t, "ca.rotate", verbs.RotateRequest{Step: "prepare"})
	for deadline := time.Now().Add(20 * time.Second); len(g.member.Is().Roots) < 2; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the gateway does not hear of the next root")
		}
	}
	p.change(t, "ca.rotate", verbs.RotateRequest{Step: "activate"})
	running.stop()
	g, _, err := again(t, g, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.member.RenewNow(t.Context()); err != nil {
		t.Errorf("renewed under the next root: %v", err)
	}
	if roots := g.member.Is().Roots; len(roots) != 2 {
		t.Errorf("%d roots", len(roots))
	}
}
