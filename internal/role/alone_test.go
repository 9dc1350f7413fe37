package role

import (
	"sync/atomic"
	"testing"
	"time"
)

// TestAloneOverRestarts lets a gateway that is cut off go on for its own grace, which is
// less than the control plane's, and restarts it: the time alone goes on.
func TestAloneOverRestarts(t *testing.T) {
	t.Parallel()
	p := begin(t)
	var later atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	g, running := p.gateway(t, "gw-1", func(cfg *GatewayConfig) { cfg.Now, cfg.Grace = now, time.Minute })
	app := p.caller(t, "app", "caller")
	until(t, app, g, 200)
	p.running.stop()
	running.stop()
	g, running, err := again(t, g, nil)
	if err != nil {
		t.Fatal(err)
	}
	until(t, app, g, 200)
	for range 2 {
		running.stop()
		later.Add(int64(90 * time.Second)) // well within the life of the bundle
		if g, running, err = again(t, g, nil); err != nil {
			t.Fatal(err)
		}
		until(t, app, g, 503)
		time.Sleep(20 * time.Millisecond) // its client has begun
		if status, text, err := inferOver(app, g.URL()); status != 503 {
			t.Errorf("%v after the last word, restarted: %d %s, %v", time.Duration(later.Load()), status, text, err)
		}
	}
}
