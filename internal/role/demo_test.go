package role

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/audit"
	"github.com/pavise/pavise/internal/demo"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/record"
)

// play gives a demo in an up, fast, and returns its acts.
func play(t *testing.T, r *running) (acts []demo.Act) {
	t.Helper()
	if err := r.Demo(t.Context(), nil, 40, func(a demo.Act) { acts = append(acts, a) }); err != nil {
		t.Errorf("the demo: %v", err)
	}
	return acts
}

// refusing reports whether a record says that something was refused.
func refusing(r record.Record) bool {
	return r.Outcome == pavise.Deny || r.Error != nil && r.Error.Kind == pavise.Denied.String() || r.Phase == record.Note && strings.HasSuffix(r.Kind, ".refused")
}

// TestDemo plays the demo twice, in two processes over one log, and holds what each act
// says against the record that it names.
func TestDemo(t *testing.T) {
	t.Parallel()
	dir := installation.Data(t.TempDir())
	for range 2 {
		r := runUp(t, UpConfig{Data: dir, Stage: demo.NewStage()})
		acts := play(t, r)
		shown, over := r.cfg.Stage.Acts(t.Context(), 0)
		if !over || len(shown) != len(acts) || len(acts) < 25 {
			t.Fatalf("%d acts were told, and %d are on the stage, over: %v", len(acts), len(shown), over)
		}
		cast, newest := map[string]int{}, uint64(0)
		for _, a := range acts {
			cast[a.Actor]++
			if a.Odd {
				t.Errorf("%s %s: %s", a.Actor, a.Did, a.Why)
			}
			if a.Why == "" || strings.Contains(a.Why, "%!") || a.Minute < 0 || a.Minute > 60 {
				t.Errorf("%+v", a)
			}
			if a.Record == nil {
				continue
			}
			if !strings.Contains(a.Prove, "ledger prove ") {
				t.Errorf("%s is proved by %q", a.Did, a.Prove)
			}
			kept, err := r.Log.Read(*a.Record)
			if err != nil {
				t.Fatal(err)
			}
			if refusing(kept) != (a.Decision == demo.Denied) {
				t.Errorf("%s %s is told as %s, and its record is %+v", a.Actor, a.Did, a.Decision, kept)
			}
			newest = max(newest, *a.Record)
		}
		for _, who := range []string{"edge-berlin", "edge-oslo", "edge-porto", "edge-vienna", "fuzzer", "scraper", "thief", "human/maria", "auditor"} {
			if cast[who] == 0 {
				t.Errorf("%s is not in %v", who, cast)
			}
		}
		policies, err := r.policies.List(t.Context(), r.operator, Tenant)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range policies {
			if strings.HasPrefix(p.ID, "demo-") {
				t.Errorf("the policy %s is left", p.ID)
			}
		}
		r.stop()
		if report := verify(t, dir); report.Signed <= newest || report.Conclusion != audit.Consistent {
			t.Errorf("%+v", report)
		}
	}
}

// TestDemoIsCut ends the demo in the middle; pavise goes on.
func TestDemoIsCut(t *testing.T) {
	r := runUp(t, UpConfig{Data: installation.Data(t.TempDir()), Stage: demo.NewStage()})
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	err := r.Demo(ctx, nil, 40, func(demo.Act) {
		if n++; n == 6 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || n != 6 {
		t.Errorf("after %d acts: %v", n, err)
	}
	if _, over := r.cfg.Stage.Acts(t.Context(), n); !over {
		t.Error("the stage waits for more")
	}
	if _, err := r.policies.List(t.Context(), r.operator, Tenant); err != nil {
		t.Error(err)
	}
}

// TestCastIsKnownInADemoOnly: what the cast's organisation signs is nothing to another up,
// nor to the next one with a stage of its own.
func TestCastIsKnownInADemoOnly(t *testing.T) {
	stage := demo.NewStage()
	record, err := castIssuer(stage)
	if err != nil {
		t.Fatal(err)
	}
	other, err := castIssuer(demo.NewStage())
	if err != nil {
		t.Fatal(err)
	}
	if record.Keys.Keys[0].Key == nil || string(stage.Org.JWKS()) == string(demo.NewStage().Org.JWKS()) {
		t.Error("two stages have one key")
	}
	if record.Demo || record.Ours || other.URL != record.URL || slices.Contains(record.Roles, "tenant-admin") {
		t.Errorf("%+v", record)
	}
}
