package role

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise/internal/audit"
	"github.com/pavise/pavise/internal/bundle"
	"github.com/pavise/pavise/internal/config"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/verbs"
)

// TestAgentIsAWitness has an agent and the control plane cosign a gateway's log, and the
// agent that of the control plane.
func TestAgentIsAWitness(t *testing.T) {
	t.Parallel()
	p := begin(t)
	a, err := NewAgent(t.Context(), AgentConfig{
		Now: time.Now, Say: func(word string, err error) { t.Logf("agent: %s: %v", word, err) }, Invitation: p.invite(t, "host-1"),
		Agent: config.Agent{Data: t.TempDir(), Server: p.FleetURL(), Listen: "127.0.0.1:0", Names: []string{"localhost", "127.0.0.1"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	good := keyText(t, "acme.example/node/gw-2/x")
	if err := a.watch(t.Context(), []string{"no key", good}); err == nil {
		t.Error("what is no key was taken")
	}
	if logs, err := a.Logs(t.Context()); err != nil || len(logs) != 1 || logs[0].Keys[0] != good {
		t.Errorf("one key that is none keeps others out: %+v, %v", logs, err)
	}
	runRole(t, a)
	g, running := p.gateway(t, "gw-1", nil)
	app := p.caller(t, "app", "caller")
	until(t, app, g, 200)
	for deadline := time.Now().Add(40 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		logs, err := a.Logs(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		cosigned := 0
		for _, l := range logs {
			if l.Size > 0 {
				cosigned++
			}
		}
		if cosigned == 2 && g.watchers.Witnessed() > 0 {
			t.Logf("the agent has cosigned %d of %d logs, and a quorum has seen %d records of %s", cosigned, len(logs), g.watchers.Witnessed(), g.Origin)
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d logs are cosigned: %+v; of the gateway's %d records are witnessed", cosigned, logs, g.watchers.Witnessed())
		}
	}
	resp, err := app.Post(a.URL()+"/add-checkpoint", "text/plain", strings.NewReader("old 0\n\n"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 401 {
		t.Errorf("a program that asks the agent: %s", resp.Status)
	}
	running.stop()
	report, err := audit.Verify(g.Data.Ledger(), audit.Options{Key: g.Fingerprint()})
	if err != nil || len(report.Open) > 0 {
		t.Errorf("the gateway's log: %+v, %v", report, err)
	}
}

// skewed is the format of bundles of a build one away from this one. It says the same.
func skewed(number int) bundle.Format {
	f := bundle.Formats()[0]
	f.Number = number
	return f
}

// TestVersionsApart has control planes and gateways that are one version apart: in the
// format of bundles, and in the verbs that policies speak of.
func TestVersionsApart(t *testing.T) {
	t.Parallel()
	newer := append([]guard.Action{{Verb: "model.distill", On: []string{"model"}, Consequential: true}}, verbs.Actions()...)
	old, next := skewed(1), skewed(2)
	for name, c := range map[string]struct {
		serve, gateway []bundle.Format
		works          bool
	}{
		"the control plane is newer": {[]bundle.Format{next, old}, []bundle.Format{old}, true},
		"the gateway is newer":       {[]bundle.Format{old}, []bundle.Format{next, old}, true},
		"they are two apart":         {[]bundle.Format{skewed(3), next}, []bundle.Format{old}, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := begin(t)
			app := p.caller(t, "app", "caller")
			p.running.stop()
			p.cfg.Actions = newer
			if !c.works { // it gets there step by step
				p.cfg.Formats = []bundle.Format{next, old}
				p.serve(t)
				p.running.stop()
			}
			p.cfg.Formats = c.serve
			p.serve(t)
			g, _ := p.gateway(t, "gw-1", func(cfg *GatewayConfig) { cfg.Formats = c.gateway })
			if !c.works {
				until(t, app, g, 503)
				for deadline := time.Now().Add(20 * time.Second); g.Health().Bundle.Trouble == "" && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
				}
				if h := g.Health(); h.Status == "ok" || !strings.Contains(h.Bundle.Trouble, "offers no bundle that this build reads") {
					t.Errorf("%+v", h)
				}
				return
			}
			until(t, app, g, 200)
			// The control plane's own guard is of this build: what only a newer one could
			// have been told to say is put into the gateway's orders here.
			b := *g.store.Current()
			b.Serial++
			b.Sections = edited(t, b.Sections, "policies", func(m map[string]map[string]string) {
				m["acme"]["newer"] = `forbid (principal in Role::"caller", action in [Action::"model.distill", Action::"model.infer"], resource);`
			})
			if err := g.use(t.Context(), &b); err != nil {
				t.Fatalf("policies that speak of a newer verb: %v", err)
			}
			until(t, app, g, 403)
		})
	}
}

// edited returns sections of which one was changed.
func edited[T any](t *testing.T, sections map[string]json.RawMessage, name string, edit func(T)) map[string]json.RawMessage {
	t.Helper()
	next := map[string]json.RawMessage{}
	for key, text := range sections {
		next[key] = text
	}
	var v T
	if err := json.Unmarshal(sections[name], &v); err != nil {
		t.Fatal(err)
	}
	edit(v)
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	next[name] = text
	return next
}

// TestOrdersThatAreRefused leaves a gateway with what it had.
func TestOrdersThatAreRefused(t *testing.T) {
	p := begin(t)
	g, _ := p.gateway(t, "gw-1", nil)
	app := p.caller(t, "app", "caller")
	until(t, app, g, 200)
	good := g.store.Current()
	for name, sections := range map[string]map[string]json.RawMessage{
		"a section that it does not understand": edited(t, good.Sections, "needs", func([]string) {}),
		"a policy that cannot be":               edited(t, good.Sections, "policies", func(m map[string]map[string]string) { m["acme"]["bad"] = "permit" }),
		"a verb that nobody has": edited(t, good.Sections, "policies", func(m map[string]map[string]string) {
			m["acme"]["bad"] = `permit (principal, action == Action::"a.b", resource);`
		}),
		"another tenant's":        edited(t, good.Sections, "terms", func(m map[string]any) { m["tenant"] = "other" }),
		"another fleet's":         edited(t, good.Sections, "terms", func(m map[string]any) { m["trust_domain"] = "other.example" }),
		"no share":                edited(t, good.Sections, "terms", func(m map[string]any) { m["share"] = 0 }),
		"no grace":                edited(t, good.Sections, "terms", func(m map[string]any) { m["grace_ns"] = 0 }),
		"no root":                 edited(t, good.Sections, "anchor", func(m map[string]any) { m["roots"] = nil }),
		"no holders":              edited(t, good.Sections, "anchor", func(m map[string]any) { m["holders"] = "x" }),
		"a route without a model": edited(t, good.Sections, "routes", func(m []map[string]any) { m[0]["onnx"] = "" }),
		"no routes":               {},
	} {
		b := *good
		b.Serial, b.Sections = good.Serial+100, sections
		if name == "a section that it does not understand" {
			b.Sections["needs"] = json.RawMessage(`["policies","quotas"]`)
		}
		if err := g.use(t.Context(), &b); err == nil {
			t.Errorf("%s: it is used", name)
		}
		if status, text, err := inferOver(app, g.URL()); status != 200 {
			t.Errorf("%s: afterwards %d %s, %v", name, status, text, err)
		}
	}
	if g.orders.Load().bundle.Serial >= good.Serial+100 {
		t.Error("one of them is in force")
	}
}

// TestBudgetsAreSharedOut gives each of two gateways half of a budget.
func TestBudgetsAreSharedOut(t *testing.T) {
	t.Parallel()
	p := begin(t)
	one, _ := p.gateway(t, "gw-1", nil)
	two, _ := p.gateway(t, "gw-2", nil)
	whole := p.Rooms().Routes.Standings()[0].Terms.Budget.Count
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		a, b := one.Gateway.Routes.Standings(), two.Gateway.Routes.Standings()
		if len(a) == 1 && len(b) == 1 && a[0].Terms.Budget.Count == whole/2 && b[0].Terms.Budget.Count == whole/2 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("of %d rows: %+v and %+v", whole, a, b)
		}
	}
}

// TestRevokedGateway is told nothing any more, and stops when its time is over.
func TestRevokedGateway(t *testing.T) {
	p := begin(t)
	g, _ := p.gateway(t, "gw-1", nil)
	app := p.caller(t, "app", "caller")
	until(t, app, g, 200)
	if err := p.ana.Call(t.Context(), "node.revoke", verbs.HolderRequest{ID: "gw-1"}, nil); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(40 * time.Second); !strings.Contains(g.Health().Bundle.Trouble, "does not give bundles to this reader"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%+v", g.Health())
		}
	}
	if n := len(p.nodes.States()); n != 0 {
		t.Errorf("node list still shows %d machines", n)
	}
	if err := g.member.RenewNow(t.Context()); err == nil {
		t.Error("a revoked machine renews its certificate")
	}
}
