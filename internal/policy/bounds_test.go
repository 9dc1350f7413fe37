package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pavise/pavise"
)

// TestDeepTextsAreRefused: what nests without end is refused before anything is read of
// it, wherever it hides; brackets in strings and comments are none.
func TestDeepTextsAreRefused(t *testing.T) {
	s := newTestSchema(t)
	nest := func(open, inner, end string, n int) string {
		return "permit (principal, action, resource) when { " + strings.Repeat(open, n) + inner + strings.Repeat(end, n) + " };"
	}
	for what, test := range map[string]struct {
		text string
		deep bool
	}{
		"a record in records":           {nest("{a:", "1", "}", 1000), true},
		"a condition in parentheses":    {nest("(", "true", ")", 100), true},
		"with ends in comments between": {nest("(//)\n", "true", ")", 100), true},
		"with ends in strings between":  {nest(`(")" == ")" && `, "true", ")", 100), true},
		"behind a string of two lines":  {nest("(\"\n\" == \")\" && ", "true", ")", 100), true},
		"as people write it":            {nest("(", "true", ")", 40), false},
		"in a string":                   {`permit (principal, action, resource) when { principal.tenant == "` + strings.Repeat("(", 200) + `" };`, false},
		"in a comment":                  {"permit (principal, action, resource); // " + strings.Repeat("[", 200), false},
	} {
		_, err := s.Compile("local", map[string]string{"p": test.text}, nil)
		if deep := err != nil && strings.Contains(err.Error(), "nest deeper"); deep != test.deep || !deep && err != nil || deep && pavise.KindOf(err) != pavise.Invalid {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// manyRoles is a set whose policies speak of so many roles.
func manyRoles(t *testing.T, s *Schema, n int) *Set {
	t.Helper()
	texts := Defaults()
	for i := range n {
		texts[fmt.Sprint("unit", i)] = fmt.Sprintf(`permit (principal in Role::"unit-%04d", action == Action::"model.infer", resource);`, i)
	}
	set, err := s.Compile("local", texts, nil)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// TestTheMatrixOfManyRoles asks no more than there is time for, says so, and answers in
// full for one verb.
func TestTheMatrixOfManyRoles(t *testing.T) {
	if testing.Short() {
		t.Skip("many questions")
	}
	set := manyRoles(t, newTestSchema(t), 1000)
	if rows, partial := set.Matrix(epoch, Part{}); !partial || len(rows) == 0 {
		t.Errorf("%d rows, partial %t", len(rows), partial)
	}
	for _, part := range []Part{{Verb: VerbInfer}, {Verb: VerbInfer, Role: "unit-0999"}} {
		rows, partial := set.Matrix(epoch, part)
		if partial || len(rows) == 0 || !rows[0].Has("unit-0999") {
			t.Errorf("%+v: %d rows, partial %t", part, len(rows), partial)
		}
	}
	rows, partial := set.Matrix(epoch, Part{Role: "unit-0001"})
	infers := slices.ContainsFunc(rows, func(r Row) bool { return r.Verb == VerbInfer })
	trains := slices.ContainsFunc(rows, func(r Row) bool { return r.Verb == "model.train" })
	if partial || !infers || trains {
		t.Errorf("one role may do %d rows, partial %t", len(rows), partial)
	}
}

// TestAnExplanationIsBounded tries some of many roles, and keeps nothing of what it tries
// in the place of what callers are decided by.
func TestAnExplanationIsBounded(t *testing.T) {
	s := newTestSchema(t)
	set, e := manyRoles(t, s, 2*maxCache), NewEntities(s, "")
	who := pavise.Principal{Tenant: "local", Kind: pavise.Human, ID: "ana"}
	q := &Question{Who: e.Subject(&who, nil), Act: s.actions[VerbInfer], On: e.Thing(pavise.Name{Tenant: "local", Kind: "model", ID: "m"}, Facts{}), At: epoch}
	x, d := set.Explain(q, who, nil, e.Imagined)
	if d.Allow || len(x.Roles) == 0 || len(x.Roles) > maxTried || len(x.Permits) != maxPermits {
		t.Errorf("%d roles, %d permits", len(x.Roles), len(x.Permits))
	}
	if len(e.subjects.m) != 1 || len(set.kept.m) != 1 {
		t.Errorf("%d subjects and %d answers are kept", len(e.subjects.m), len(set.kept.m))
	}
}
