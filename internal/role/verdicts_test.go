package role

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/config"
	"github.com/pavise/pavise/internal/fleet"
	"github.com/pavise/pavise/internal/onnx"
	"github.com/pavise/pavise/internal/registry"
	"github.com/pavise/pavise/internal/route"
)

// product is a model of two numbers in and two out: how it weighs them.
func product(weights ...float32) []byte {
	w := onnx.NewWriter("product")
	w.Node("MatMul", "y", []string{w.Input("x", 2), w.Floats("w", []int{2, 2}, weights)})
	w.Output("y", 2)
	return w.Bytes()
}

// askFor asks a gateway for rows until stop is closed, but for while it is to pause.
func askFor(client *http.Client, g *Gateway, stop <-chan struct{}, pause *atomic.Bool) {
	rng := rand.New(rand.NewPCG(3, 7))
	for {
		select {
		case <-stop:
			return
		case <-time.After(5 * time.Millisecond):
		}
		if pause.Load() {
			continue
		}
		var data []float64
		for range 2 * 50 {
			data = append(data, rng.NormFloat64())
		}
		text, _ := json.Marshal(data) // cannot fail: finite numbers
		body := fmt.Sprintf(`{"inputs":[{"name":"x","shape":[50,2],"datatype":"FP32","data":%s}]}`, text)
		if resp, err := client.Post(g.URL()+"/v2/models/"+Sample+"/infer", "application/json", strings.NewReader(body)); err == nil {
			resp.Body.Close()
		}
	}
}

// found waits until the control plane has left so many findings on what gateways found, and
// returns their summaries.
func (p *party) found(t *testing.T, n int) (all []string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		all = nil
		for _, r := range p.Log.Records(0, p.Log.Size()) {
			var d struct{ Finding pavise.Finding }
			if r.Kind == fleet.KindReported && json.Unmarshal(r.Detail, &d) == nil {
				all = append(all, d.Finding.Summary)
			}
		}
		if len(all) == n {
			return all
		}
	}
	t.Fatalf("the control plane left %q", all)
	return nil
}

// A badRelease is a fleet in which a bad version has just been released: two gateways, each behind a
// wire, of which the first watches for drift and is asked once ask is called.
type badRelease struct {
	*party
	gateways [2]*Gateway
	running  [2]*started
	wires    [2]*wire
	bad      registry.Ref
	before   string // the version before, as routes say it
	ask      func()
}

// badlyReleased releases a bad version. The first gateway's clock goes otherwise than that of the
// control plane by so much.
func badlyReleased(t *testing.T, skew time.Duration) *badRelease {
	t.Helper()
	b := &badRelease{party: begin(t), before: fmt.Sprintf("sha256:%x", sha256.Sum256(product(1, 2, 3, 4)))}
	for i, id := range []string{"gw-1", "gw-2"} {
		b.wires[i] = newWire(t, b.FleetURL())
		b.gateways[i], b.running[i] = b.gateway(t, id, func(cfg *GatewayConfig) {
			cfg.Server = "https://" + b.wires[i].Addr().String()
			if i == 0 {
				cfg.Now = func() time.Time { return time.Now().Add(skew) }
				cfg.Drift = &config.Drift{Window: 250 * time.Millisecond, Learn: "500", Few: "none"}
			}
		})
	}
	app := b.caller(t, "app", "caller")
	b.deployed(t, product(1, 2, 3, 4))
	if err := b.ana.Call(t.Context(), "route.put", route.Spec{Name: sampled.String(), Rate: "1000000/1m burst 100000", Budget: "100000000/24h", ModelBudget: "100000000/24h"}, nil); err != nil {
		t.Fatal(err)
	}
	b.say(t, "gw-1: version 1, true", "gw-2: version 1, true")
	var pause atomic.Bool
	stop, done := make(chan struct{}), make(chan struct{})
	go func() { defer close(done); askFor(app, b.gateways[0], stop, &pause) }()
	t.Cleanup(func() { close(stop); <-done })
	noted(t, b.gateways[0], "drift.learned")
	pause.Store(true)
	b.bad = b.publish(t, sampled, product(-3, 1, 9, -2))
	b.done(t, "deploy.release", deployment, fmt.Sprintf(`{"version":%d}`, b.bad.Version))
	b.say(t, "gw-1: version 2, true", "gw-2: version 2, true")
	b.ask = func() { pause.Store(false) }
	return b
}

// answers is what answers at a gateway.
func (b *badRelease) answers(t *testing.T, i int) string {
	t.Helper()
	live, err := b.gateways[i].Gateway.Routes.Find(sampled)
	if err != nil {
		t.Fatal(err)
	}
	return live.Is
}

// TestBadVersionAtAGateway: a gateway, whose clock is ten minutes ahead, sees that a version's outputs
// moved, and has the control plane bring back the one before, at every gateway that can be reached; the
// other one goes on with what it was told, and follows once it can be. Each has had the version before
// all along.
func TestBadVersionAtAGateway(t *testing.T) {
	t.Parallel()
	p := badlyReleased(t, 10*time.Minute)
	for _, g := range p.gateways {
		if is, err := g.Gateway.Routes.Holds(t.Context(), p.before); err != nil || !is {
			t.Errorf("%s would have to fetch the version before: %v", g.Name().ID, err)
		}
	}
	p.wires[1].set(true)
	p.ask()
	if got := p.found(t, 1)[0]; !strings.Contains(got, "gateway gw-1 finds") || !strings.Contains(got, "it was rolled back, and is answered by "+p.before) {
		t.Errorf("%s", got)
	}
	p.say(t, "gw-1: version 1, true", "gw-2: version 2, false")
	if p.answers(t, 1) == p.before {
		t.Error("the gateway that is cut off went back by itself")
	}
	p.wires[1].set(false)
	p.say(t, "gw-1: version 1, true", "gw-2: version 1, true")
	d, err := p.Deployments.Show(t.Context(), operator("dora"), deployment)
	if err != nil || len(d.Barred) != 1 || d.Barred[0].Version != p.bad.Version || !strings.Contains(d.Barred[0].Why, "gateway gw-1 finds") {
		t.Errorf("%+v %v", d.Barred, err)
	}
}

// TestBadVersionNobodyHearsOf: a gateway that cannot reach its control plane leaves a finding, goes on
// with what it was told, and is ended. When it is back, what it found is told, and the version before
// answers.
func TestBadVersionNobodyHearsOf(t *testing.T) {
	t.Parallel()
	p := badlyReleased(t, 0)
	p.wires[0].set(true)
	p.ask()
	if found := noted(t, p.gateways[0], noteUnheard); found.On != sampled || !strings.Contains(string(found.Detail), `"severity":"critical"`) {
		t.Errorf("%+v", found)
	}
	if p.answers(t, 0) == p.before {
		t.Error("it went back by itself")
	}
	for _, r := range p.Log.Records(0, p.Log.Size()) {
		if r.Kind == fleet.KindReported {
			t.Errorf("the control plane heard of it: %s", r.Detail)
		}
	}
	p.running[0].stop()
	p.wires[0].set(false)
	if _, _, err := again(t, p.gateways[0], nil); err != nil {
		t.Fatal(err)
	}
	if got := p.found(t, 1)[0]; !strings.Contains(got, "gateway gw-1 finds") || !strings.Contains(got, "rolled back") {
		t.Errorf("%s", got)
	}
	p.say(t, "gw-1: version 1, true", "gw-2: version 1, true")
}

// TestBadVersionWithoutAWayBack: where the version before is in quarantine, a gateway's word brings
// back nothing, and the finding says why.
func TestBadVersionWithoutAWayBack(t *testing.T) {
	t.Parallel()
	p := begin(t)
	g, err := fleet.Join(t.Context(), t.TempDir(), p.invite(t, "gw-1"), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	p.deployed(t, variant("one"), variant("two"))
	two := fmt.Sprintf("sha256:%x", sha256.Sum256(variant("two")))
	answers := func() string {
		live, err := p.Gateway.Routes.Find(sampled)
		if err != nil {
			t.Fatal(err)
		}
		return live.Is
	}
	for end := time.Now().Add(20 * time.Second); answers() != two; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it is answered by %s", answers())
		}
	}
	p.quarantined(t, registry.Ref{Model: Sample, Version: 1})
	text, err := json.Marshal(fleet.Report{Role: "gateway", Version: "v1", Bad: []fleet.Bad{{Model: sampled, Version: two}}})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := g.Dial().Post(p.FleetURL()+"/fleet/report", "application/json", bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := p.found(t, 1)[0]; !strings.Contains(got, "it was not rolled back") || !strings.Contains(got, "somebody has to look at it") {
		t.Errorf("%s", got)
	}
	if got := answers(); got != two {
		t.Errorf("it is answered by %s", got)
	}
}

// TestGatewayThatLies: a machine that says of whatever answers that it is bad is believed once.
// What it then says leaves findings that name it, and what does not answer it cannot judge.
func TestGatewayThatLies(t *testing.T) {
	t.Parallel()
	p := begin(t)
	liar, err := fleet.Join(t.Context(), t.TempDir(), p.invite(t, "gw-9"), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	says := func(bad ...fleet.Bad) {
		t.Helper()
		time.Sleep(1100 * time.Millisecond) // no more than a report in a second
		text, err := json.Marshal(fleet.Report{Role: "gateway", Version: "v1", Bad: bad})
		if err != nil {
			t.Fatal(err)
		}
		resp, err := liar.Dial().Post(p.FleetURL()+"/fleet/report", "application/json", bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatal(resp.Status)
		}
	}
	answers := func() string {
		live, err := p.Gateway.Routes.Find(sampled)
		if err != nil {
			t.Fatal(err)
		}
		return live.Is
	}
	p.deployed(t, variant("one"), variant("two"), variant("three"))
	three := fmt.Sprintf("sha256:%x", sha256.Sum256(variant("three")))
	for end := time.Now().Add(20 * time.Second); answers() != three; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it is answered by %s", answers())
		}
	}
	says(fleet.Bad{Model: sampled, Version: "sha256:what does not answer"})
	says(fleet.Bad{Model: sampled, Version: three})
	if got := p.found(t, 1)[0]; !strings.Contains(got, "gateway gw-9 finds") || !strings.Contains(got, "rolled back") {
		t.Errorf("%s", got)
	}
	two := answers()
	if two == three {
		t.Fatal("nothing was rolled back")
	}
	says(fleet.Bad{Model: sampled, Version: two})
	if got := p.found(t, 2)[1]; !strings.Contains(got, "gateway gw-9 finds") || !strings.Contains(got, "nothing was done") {
		t.Errorf("%s", got)
	}
	if answers() != two {
		t.Error("it goes back as often as it likes")
	}
	if v, err := p.Models.Resolve(t.Context(), "acme", registry.Ref{Model: Sample, Version: 2}); err != nil || v.State != registry.Live {
		t.Errorf("%+v %v", v, err)
	}
}
