package guard

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/policy"
)

func TestLoadRefuses(t *testing.T) {
	const fine = `permit (principal in Role::"caller", action == Action::"model.infer", resource);`
	many := map[string]string{}
	for i := range policy.MaxPolicies + 1 {
		many[fmt.Sprint("p", i)] = fine
	}
	one := func(text string) map[string]string { return map[string]string{"good": fine, "p1": text} }
	for _, test := range []struct {
		what  string
		texts map[string]string
		says  []string
	}{
		{"no Cedar", one("let me in"), []string{"local/policy/p1", "line 1, column 5"}},
		{"not finished", one("permit (principal,\n  action,\n  resource)"), []string{"p1", "line 3, column 12"}},
		{"open string", one(`permit (principal == Human::"olga, action, resource);`), []string{"p1", "line 1, column 29"}},
		{"empty", one(""), []string{"p1", "0 statements"}},
		{"only a comment", one("// soon"), []string{"p1", "0 statements"}},
		{"two statements", one(fine + "\n" + `permit (principal, action, resource);`), []string{"p1, line 2, column 1", "2 statements, not 1"}},
		{"another id", one(`@id("p2") ` + fine), []string{"p1", `@id("p2")`}},
		{"unknown action", one("permit (\n  principal,\n  action == Action::\"model.steal\",\n  resource\n);"), []string{"p1, line 3, column 13", "unrecognized action"}},
		{"unknown type in scope", one(`permit (principal, action, resource is Goblin);`), []string{"p1, line 1, column 40", "unrecognized entity type"}},
		{"unknown attribute", one("permit (principal, action, resource)\nwhen { principal.clearance > 3 };"), []string{"p1, line 2, column 18", "clearance"}},
		{"unknown attribute of a thing", one(`permit (principal, action, resource) when { resource.owner == "me" };`), []string{"p1", "owner"}},
		{"unknown context", one(`permit (principal, action, resource) when { context.mfa };`), []string{"p1", "mfa"}},
		{"unlike types", one(`permit (principal, action, resource) when { principal.tenant == 3 };`), []string{"p1", "line 1"}},
		{"action that never meets the thing", one(`permit (principal, action == Action::"route.put", resource is Model);`), []string{"p1", "applicable action"}},
		{"another namespace", one(`permit (principal is Pavise::Human, action, resource);`), []string{"p1", "Pavise::Human"}},
		{"condition that is no truth", one(`permit (principal, action, resource) when { "yes" };`), []string{"p1"}},
		{"huge", one(fine + strings.Repeat(" ", policy.MaxText)), []string{"p1", "longer than 8192"}},
		{"deep", one(`permit (principal, action, resource) when { ` + strings.Repeat("(", 4000) + "true" + strings.Repeat(")", 4000)), []string{"p1"}},
		{"too many", many, []string{"16385 policies, more than 16384"}},
		{"guardrail's name", map[string]string{"guardrail/tenant-isolation": fine}, []string{"id"}},
		{"id that spells Cedar", map[string]string{`x"); permit(`: fine}, []string{"id"}},
		{"empty id", map[string]string{"": fine}, []string{"id"}},
	} {
		t.Run(test.what, func(t *testing.T) {
			g, _ := newGuard(t, nil)
			before := g.Digest("local")
			err := g.Load("local", test.texts)
			if pavise.KindOf(err) != pavise.Invalid || err == nil {
				t.Fatalf("error %v, want invalid", err)
			}
			for _, say := range test.says {
				if !strings.Contains(err.Error(), say) {
					t.Errorf("error %q does not say %q", err, say)
				}
			}
			if g.Digest("local") != before {
				t.Error("a refused load changed what is in force")
			}
		})
	}
}

func TestForbidOverridesPermit(t *testing.T) {
	g, log := newGuard(t, nil)
	texts := Defaults()
	texts["no-app"] = `forbid (principal == Workload::"app", action, resource);`
	if err := g.Load("local", texts); err != nil {
		t.Fatal(err)
	}
	_, err := g.Enter(t.Context(), caller, "model.infer", model)
	checkDenied(t, log, err, "no-app")
}

// TestTenantCannotLiftGuardrails loads the most generous policies there are.
func TestTenantCannotLiftGuardrails(t *testing.T) {
	g, log := newGuard(t, nil)
	if err := g.Load("local", map[string]string{"all": `permit (principal, action, resource);`}); err != nil {
		t.Fatal(err)
	}
	foreign := operator
	foreign.Tenant = "acme"
	_, err := g.Enter(t.Context(), foreign, "route.put", route)
	checkDenied(t, log, err, "guardrail/tenant-isolation")
	_, err = g.Enter(t.Context(), caller, "route.put", route)
	checkDenied(t, log, err, "guardrail/role-separation")
}

// TestForbidThatCannotBeEvaluatedForbids: Cedar skips it, and so lets in.
func TestForbidThatCannotBeEvaluatedForbids(t *testing.T) {
	g, log := newGuard(t, nil)
	texts := Defaults()
	texts["broken"] = `forbid (principal, action, resource) when { Human::"nobody".tenant == "acme" };`
	if err := g.Load("local", texts); err != nil {
		t.Fatal(err)
	}
	_, err := g.Enter(t.Context(), caller, "model.infer", model)
	checkDenied(t, log, err, "broken")
	if r := log.last(t); len(r.Policy.Errors) != 1 || !strings.Contains(r.Policy.Errors[0], "broken") {
		t.Errorf("recorded as %+v", r.Policy)
	}
	texts["broken"] = `permit (principal, action, resource) when { Human::"nobody".tenant == "acme" };`
	if err := g.Load("local", texts); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Enter(t.Context(), caller, "model.infer", model); err != nil {
		t.Errorf("a permit that cannot be evaluated denies: %v", err)
	}
}

func TestSchema(t *testing.T) {
	g, _ := newGuard(t, nil)
	for _, want := range []string{
		"entity Human, Workload, Node in [Role] {",
		`action "model.infer" in ["model", "pooled"] appliesTo {`,
		`action "route.put" in ["route", "control"] appliesTo {`,
		"resource: [Route]",
	} {
		if !strings.Contains(g.Schema(), want) {
			t.Errorf("schema lacks %q:\n%s", want, g.Schema())
		}
	}
	for what, actions := range map[string][]Action{
		"verb twice":        {{Verb: "a.b", On: []string{"x"}}, {Verb: "a.b", On: []string{"x"}}},
		"verb of one word":  {{Verb: "infer", On: []string{"x"}}},
		"verb with quotes":  {{Verb: `a.b"] appliesTo`, On: []string{"x"}}},
		"room like a class": {{Verb: "control.all", On: []string{"x"}}},
		"on nothing":        {{Verb: "a.b"}},
		"kind of a caller":  {{Verb: "a.b", On: []string{"human"}}},
		"kind of a role":    {{Verb: "a.b", On: []string{"role"}}},
		"kind with quotes":  {{Verb: "a.b", On: []string{`x"`}}},
		"two kinds as one":  {{Verb: "a.b", On: []string{"xy", "x-y"}}, {Verb: "a.c", On: []string{"x-y", "x-Y"}}},
	} {
		if _, err := New(Config{Actions: actions, Log: &fakeLog{}}); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}

// TestFullNamesAreRefused refuses a policy that names an entity as records do:
// it would parse, fit the schema, and hold for nobody.
func TestFullNamesAreRefused(t *testing.T) {
	g, _ := newGuard(t, nil)
	for _, scope := range []string{
		`principal == Workload::"local/workload/c1", action, resource`,
		`principal, action, resource == Model::"local/model/threat-detector"`,
	} {
		err := g.Load("local", map[string]string{"p": "forbid (\n  " + scope + ");"})
		if pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%s: %v", scope, err)
		}
	}
	if err := g.Load("local", map[string]string{"p": `forbid (principal == Workload::"c1", action, resource);`}); err != nil {
		t.Errorf("the short name: %v", err)
	}
}
