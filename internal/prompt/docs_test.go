package prompt

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the tables of docs/prompts.md anew")

// TestRulesAreTold holds docs/prompts.md to the tables.
func TestRulesAreTold(t *testing.T) {
	const file = "../../docs/prompts.md"
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var said, kept strings.Builder
	said.WriteString("\n| rule | what it means | callers | sources |\n|---|---|---|---|\n")
	for _, r := range Rules() {
		fmt.Fprintf(&said, "| `%s` | %s | %s | %s |\n", r.ID, r.Why, r.Caller, r.Source)
	}
	kept.WriteString("\n| rule | what it is | answers |\n|---|---|---|\n")
	for _, s := range Secrets() {
		fmt.Fprintf(&kept, "| `%s` | %s | %s |\n", s.ID, s.Why, s.Action)
	}
	doc := string(b)
	for _, part := range []struct{ from, to, want string }{
		{"<!-- the rules, from internal/prompt/rules.go -->\n", "<!-- the end of the rules -->", said.String() + "\n"},
		{"<!-- the secrets, from internal/prompt/secret.go -->\n", "<!-- the end of the secrets -->", kept.String() + "\n"},
	} {
		head, rest, ok := strings.Cut(doc, part.from)
		is, tail, closed := strings.Cut(rest, part.to)
		if !ok || !closed {
			t.Fatalf("%s has no place for a table: %q", file, part.from)
		}
		if is != part.want && !*update {
			t.Errorf("%s differs from the tables; write it anew with go test ./internal/prompt -run TestRulesAreTold -update", file)
		}
		doc = head + part.from + part.want + part.to + tail
	}
	if *update {
		if err := os.WriteFile(file, []byte(doc), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
