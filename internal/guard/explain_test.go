package guard

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/record"
)

func TestExplain(t *testing.T) {
	g, log := newGuard(t, nil)
	foreign := operator
	foreign.Tenant = "acme"
	for _, test := range []struct {
		who      pavise.Principal
		verb     string
		on       pavise.Name
		decision pavise.Outcome
		decided  []string
		roles    []string
	}{
		{caller, "model.infer", model, pavise.Allow, []string{"caller-uses-models"}, nil},
		{analyst, "model.infer", model, pavise.Deny, nil, []string{"caller"}},
		{analyst, "route.put", route, pavise.Deny, nil, []string{"operator"}},
		{caller, "route.put", route, pavise.Deny, []string{"guardrail/role-separation"}, nil},
		{foreign, "route.put", route, pavise.Deny, []string{"guardrail/tenant-isolation"}, nil},
		{operator, "route.steal", route, pavise.Deny, nil, nil},
	} {
		x := g.Explain(test.who, test.verb, test.on)
		var decided []string
		for _, r := range x.Decided {
			decided = append(decided, r.ID)
			if r.Text == "" || r.Annotations["doc"] == "" || (r.Layer == "guardrail") != strings.HasPrefix(r.ID, "guardrail/") {
				t.Errorf("%s: rule shown as %+v", test.verb, r)
			}
		}
		if x.Status != Current || x.Decision != test.decision || x.Why == "" || x.Digest != g.Digest("local") ||
			!slices.Equal(decided, test.decided) && test.who.Tenant == "local" || !slices.Equal(x.Roles, test.roles) {
			t.Errorf("%s by %s: %+v", test.verb, test.who.Name(), x)
		}
	}
	if len(log.records) > 0 {
		t.Error("explaining left records")
	}
	g.Observe(model, true)
	if x := g.Explain(analyst, "model.infer", model); !x.Observe || x.Decision != pavise.Deny {
		t.Errorf("in observe mode: %+v", x)
	}
}

// TestExplainRecord recomputes decisions from their records alone.
func TestExplainRecord(t *testing.T) {
	now := epoch
	g, log := newGuard(t, func(c *Config) { c.Now = func() time.Time { return now } })
	texts := Defaults()
	texts["office-hours"] = `permit (principal in Role::"analyst", action == Action::"route.put", resource)
when { context.now < datetime("2026-01-02T04:00:00Z") };`
	if err := g.Load("local", texts); err != nil {
		t.Fatal(err)
	}
	g.Observe(model, true)
	for _, ask := range []struct {
		who  pavise.Principal
		verb string
		on   pavise.Name
	}{
		{caller, "model.infer", model}, {analyst, "model.infer", model}, {caller, "route.put", route}, {analyst, "route.put", route},
	} {
		if e, err := g.Enter(t.Context(), ask.who, ask.verb, ask.on); err == nil {
			e.Exit(nil)
		}
	}
	g.Observe(model, false)
	now = now.Add(24 * time.Hour) // the recorded time decides, not today's
	if _, err := g.Enter(t.Context(), analyst, "route.put", route); pavise.KindOf(err) != pavise.Denied {
		t.Fatalf("after hours: %v", err)
	}
	for i, r := range log.records {
		x := g.ExplainRecord(t.Context(), r, nil)
		if want := Recomputed; r.Phase != record.Exit && x.Status != want {
			t.Errorf("record %d, %s: %+v", i, r.Kind, x)
		}
		if r.Phase == record.Exit && (x.Status != Unverified || !strings.Contains(x.Why, "record 3 holds")) {
			t.Errorf("exit: %+v", x)
		}
	}
	forged := log.records[2]
	forged.Verdicts, forged.Outcome = nil, pavise.Allow
	if x := g.ExplainRecord(t.Context(), forged, nil); x.Status != Differs {
		t.Errorf("forged allow: %+v", x)
	}
	forged = log.records[0]
	forged.Who = &analyst
	if x := g.ExplainRecord(t.Context(), forged, nil); x.Status != Differs {
		t.Errorf("forged principal: %+v", x)
	}
	forged = log.records[0]
	forged.Policy = &record.Policy{Digest: forged.Policy.Digest, Reasons: []string{"analyst-reads"}}
	if x := g.ExplainRecord(t.Context(), forged, nil); x.Status != Differs {
		t.Errorf("forged reason: %+v", x)
	}
	if err := g.Load("local", Defaults()); err != nil {
		t.Fatal(err)
	}
	x := g.ExplainRecord(t.Context(), log.records[0], nil)
	if x.Status != Unverified || x.Recorded == x.Digest || !strings.Contains(x.Why, "policy digest differs") {
		t.Errorf("under other policies: %+v", x)
	}
	if _, err := g.Enter(t.Context(), operator, "route.put", model); err == nil {
		t.Fatal("route.put on a model")
	}
	if x := g.ExplainRecord(t.Context(), log.last(t), nil); x.Status != Unverified || !strings.Contains(x.Why, "does not apply") {
		t.Errorf("refused unasked: %+v", x)
	}
}

// TestStudiesTakeTurns: so many questions about all policies are worked on at once, and
// who goes away before their turn is told so.
func TestStudiesTakeTurns(t *testing.T) {
	g, _ := newGuard(t, func(*Config) {})
	var ends []func()
	for range maxStudies {
		done, err := g.Study(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, done)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.Study(ctx); pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("one more: %v", err)
	}
	ends[0]()
	if done, err := g.Study(t.Context()); err != nil {
		t.Errorf("behind the first: %v", err)
	} else {
		done()
	}
}
