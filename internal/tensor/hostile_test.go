package tensor

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/tensor/tensortest"
)

func hostile(t testing.TB) []tensortest.Case {
	t.Helper()
	cases, err := tensortest.Hostile()
	if err != nil {
		t.Fatal(err)
	}
	return cases
}

func TestHostile(t *testing.T) {
	cases := hostile(t)
	if len(cases) < 200 {
		t.Errorf("%d cases: some are not read", len(cases))
	}
	seen := make(map[string]bool)
	for _, c := range cases {
		if seen[c.Name] || !regexp.MustCompile(`^[A-Za-z0-9-]+$`).MatchString(c.Name) {
			t.Errorf("%s: bad name, or not unique", c.Name)
		}
		seen[c.Name] = true
		r, err := ParseRequest(c.Body, DefaultLimits())
		e, ok := errors.AsType[*pavise.Error](err)
		switch {
		case !ok || r != nil:
			t.Errorf("%s: accepted as %+v", c.Name, r)
		case e.Kind != pavise.Invalid || !strings.Contains(e.Msg, c.Want) || !strings.Contains(e.Msg, ", at byte "):
			t.Errorf("%s: %v: %q, want %q", c.Name, e.Kind, e.Msg, c.Want)
		case len(e.Msg)+len(e.Hint) > 600:
			t.Errorf("%s: the error is %d bytes long", c.Name, len(e.Msg)+len(e.Hint))
		}
	}
}
