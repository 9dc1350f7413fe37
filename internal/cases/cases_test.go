package cases

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
)

// TestCases holds the built-in roles to a case that they keep, one that they do not, and one
// of a verb that there is not.
func TestCases(t *testing.T) {
	const head = "cases:\n- name: one\n  who: {kind: human, role: [analyst]}\n  on: issuer\n"
	for name, c := range map[string]struct {
		text     string
		failures int
		wrong    string
	}{
		"kept":    {head + "  verb: issuer.mint\n  expect: deny\n", 0, ""},
		"broken":  {head + "  verb: issuer.mint\n  expect: allow\n", 1, ""},
		"no verb": {head + "  verb: issuer.burn\n  expect: deny\n", 0, "issuer.burn"},
	} {
		file := filepath.Join(t.TempDir(), "cases.yaml")
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		result, err := (&Test{File: file}).Run(time.Now())
		if c.wrong != "" {
			if pavise.KindOf(err) != pavise.Invalid || !strings.Contains(err.Error(), c.wrong) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil || len(result.Failures) != c.failures || result.Cases != 1 {
			t.Errorf("%s: %+v, %v", name, result, err)
		}
	}
}
