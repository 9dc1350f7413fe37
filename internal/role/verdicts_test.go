package role

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
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

// askFor asks a gateway for rows until stop is closed.
func askFor(client *http.Client, g *Gateway, stop <-chan struct{}) {
	rng := rand.New(rand.NewPCG(1, 7))
	for {
		select {
		case <-stop:
			return
		case <-time.After(5 * time.Millisecond):
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

// TestBadVersionAtAGateway: a gateway sees that a version's outputs moved, and has the control
// plane bring back the one before, at every gateway. After that its word counts for nothing for
// a while.
func TestBadVersionAtAGateway(t *testing.T) {
	t.Parallel()
	p := begin(t)
	g, _ := p.gateway(t, "gw-1", func(cfg *GatewayConfig) {
		cfg.Drift = &config.Drift{Window: 250 * time.Millisecond, Learn: "500", Few: "none"}
	})
	p.gateway(t, "gw-2", nil)
	app := p.caller(t, "app", "caller")
	p.deployed(t, product(1, 2, 3, 4))
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(p.ana.Call(t.Context(), "route.put", route.Spec{Name: sampled.String(), Rate: "1000000/1m burst 100000", Budget: "100000000/24h", ModelBudget: "100000000/24h"}, nil))
	p.say(t, "gw-1: version 1, true", "gw-2: version 1, true")
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() { defer close(done); askFor(app, g, stop) }()
	t.Cleanup(func() { close(stop); <-done })
	noted(t, g, "drift.learned")
	v := p.publish(t, sampled, product(-3, 1, 9, -2))
	p.done(t, "deploy.release", deployment, fmt.Sprintf(`{"version":%d}`, v.Version))
	if got := p.found(t, 1)[0]; !strings.Contains(got, "gateway gw-1 finds") || !strings.Contains(got, fmt.Sprintf("it was rolled back, and is answered by sha256:%x", sha256.Sum256(product(1, 2, 3, 4)))) {
		t.Errorf("%s", got)
	}
	p.say(t, "gw-1: version 1, true", "gw-2: version 1, true")
	d, err := p.Deployments.Show(t.Context(), operator("dora"), deployment)
	must(err)
	if len(d.Barred) != 1 || d.Barred[0].Version != v.Version || !strings.Contains(d.Barred[0].Why, "gateway gw-1 finds") {
		t.Errorf("%+v", d.Barred)
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
