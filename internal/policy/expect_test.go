package policy

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
)

func TestCheck(t *testing.T) {
	schema, err := NewSchema(nil)
	if err != nil {
		t.Fatal(err)
	}
	texts := Defaults()
	texts["by-day"] = `permit (principal in Role::"labeler", action == Action::"dataset.seal", resource) when { context.now < datetime("2026-01-01") };`
	set, err := schema.Compile("t", texts, nil)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(verb, kind string, edit func(*Expectation), roles ...string) Expectation {
		e := Expectation{
			Who:  pavise.Principal{Tenant: "t", Kind: pavise.Human, ID: "ana", Roles: roles},
			Verb: verb, On: pavise.Name{Tenant: "t", Kind: kind, ID: "any"}, At: time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC),
		}
		if edit != nil {
			edit(&e)
		}
		return e
	}
	for name, c := range map[string]struct {
		e     Expectation
		holds bool
		fault string
	}{
		"a permit":                 {ask("model.describe", "model", func(e *Expectation) { e.Allow = true }, "caller"), true, ""},
		"by the policy":            {ask("model.describe", "model", func(e *Expectation) { e.Allow, e.By = true, "caller-uses-models" }, "caller"), true, ""},
		"by another":               {ask("model.describe", "model", func(e *Expectation) { e.Allow, e.By = true, "analyst-reads" }, "caller"), false, ""},
		"by none that there is":    {ask("model.describe", "model", func(e *Expectation) { e.Allow, e.By = true, "nothing" }, "caller"), false, ""},
		"a default deny":           {ask("model.describe", "model", nil), true, ""},
		"a deny that is none":      {ask("model.describe", "model", nil, "caller"), false, ""},
		"a guardrail":              {ask("policy.put", "policy", func(e *Expectation) { e.By = "guardrail/through-change" }, "operator"), true, ""},
		"what was approved":        {ask("policy.put", "policy", func(e *Expectation) { e.Allow, e.Approved = true, true }, "operator"), true, ""},
		"facts":                    {ask("model.infer", "model", func(e *Expectation) { e.Facts.State = "draft" }, "caller"), true, ""},
		"a time":                   {ask("dataset.seal", "dataset", func(e *Expectation) { e.Allow, e.At = true, time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC) }, "labeler"), true, ""},
		"another time":             {ask("dataset.seal", "dataset", nil, "labeler"), true, ""},
		"another tenant":           {ask("model.describe", "model", func(e *Expectation) { e.Who.Tenant, e.By = "u", "guardrail/tenant-isolation" }, "caller"), true, ""},
		"no verb":                  {ask("model.nothing", "model", nil), false, "no such verb"},
		"a group of verbs":         {ask("model", "model", nil), false, "no such verb"},
		"another kind":             {ask("model.infer", "gpu", nil), false, "does not apply to a gpu"},
		"a state that is none":     {ask("model.infer", "model", func(e *Expectation) { e.Facts.State = "livve" }), false, "a model is never"},
		"a state that nobody has":  {ask("key.use", "key", func(e *Expectation) { e.Facts.State = "live" }), false, "nobody knows the state of a key"},
		"a risk that is none":      {ask("model.infer", "model", func(e *Expectation) { e.Facts.Risk = "huge" }), false, "is no risk"},
		"an environment elsewhere": {ask("model.infer", "model", func(e *Expectation) { e.Facts.Environment = "prod" }), false, "nobody knows the environment"},
		"a scrubbed model":         {ask("model.infer", "model", func(e *Expectation) { e.Facts.Scrubbed = true }), false, "nobody knows the scrubbed"},
	} {
		d, holds, err := set.Check(c.e)
		if holds != c.holds || (err == nil) != (c.fault == "") || err != nil && (pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), c.fault)) {
			t.Errorf("%s: holds %t, %+v, %v", name, holds, d, err)
		}
	}
	verbs, roles := set.Untouched([]Expectation{ask("model.infer", "model", nil, "caller", "nobody")})
	if slices.Contains(verbs, "model.infer") || !slices.Contains(verbs, "model.publish") || slices.Contains(roles, "caller") || !slices.Contains(roles, "publisher") {
		t.Errorf("untouched are %q and %q", verbs, roles)
	}
}
