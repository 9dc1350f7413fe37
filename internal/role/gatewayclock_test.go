package role

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pavise/pavise"
)

// TestGatewayClockSetBack has a gateway whose clock was ahead, and was put right: it refuses
// everything while it runs, says so where it says how it stands, and is started anew by
// whoever says that the clock is right.
func TestGatewayClockSetBack(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	p := begin(t)
	app := p.caller(t, "app", "caller")
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	g, running := p.gateway(t, "gw-1", func(cfg *GatewayConfig) { cfg.Now = now })
	until(t, app, g, 200)
	ahead.Store(int64(10 * time.Minute))
	until(t, app, g, 200) // and what it takes is taken until then, for all that is known here

	ahead.Store(0)
	until(t, app, g, 503)
	if h := g.Health(); h.Status == "ok" || !strings.Contains(h.Why, "clock stepped back by") {
		t.Errorf("it refuses everything, and its health is %+v", h)
	}
	noted(t, g, "gateway.stale")
	running.stop()

	if _, _, err := again(t, g, nil); pavise.KindOf(err) != pavise.Unavailable || !strings.Contains(err.Error(), "behind the last record") {
		t.Fatalf("it started behind its log: %v", err)
	}
	g, running, err := again(t, g, func(cfg *GatewayConfig) { cfg.AcceptClock = true })
	if err != nil {
		t.Fatal(err)
	}
	until(t, app, g, 200)
	if r := noted(t, g, "guard.clock"); r.Who == nil || r.Who.ID != "gw-1" {
		t.Errorf("the step is recorded of %v", r.Who)
	}
	running.stop()
	g, _, err = again(t, g, nil) // and it stays accepted
	if err != nil {
		t.Fatal(err)
	}
	until(t, app, g, 200)
}
