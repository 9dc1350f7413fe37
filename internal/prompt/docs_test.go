package prompt

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/pavise/pavise/internal/plainjson"
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

// TestExampleIsRead reads the example of docs/prompts.md as a route does.
func TestExampleIsRead(t *testing.T) {
	b, err := os.ReadFile("../../docs/prompts.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "```json\n")
	example, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("there is no example")
	}
	words, err := plainjson.ReadKnown[Words]([]byte(example))
	if err != nil {
		t.Fatal(err)
	}
	p, err := words.Policy("local/model/helper")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		finding string
		who     Voice
		trusted bool
		want    Action
	}{
		{"override.mention", Caller, false, Refuse}, {"template.token", Caller, false, Alert}, {"template.mention", Caller, false, Observe},
		{"invisible.run", Caller, true, Refuse}, {"template.token", Caller, true, Alert}, {"override.addressed", Context, false, Alert},
		{"override.ignore", Context, true, Refuse}, {"override.ignore", Owner, false, Off}, {"invisible.run", Owner, false, Refuse},
	} {
		if got := p.Judge(Finding{Rule: c.finding}, c.who, c.trusted, "").Action; got != c.want {
			t.Errorf("%s of %d, trusted %v: %s, want %s", c.finding, c.who, c.trusted, got, c.want)
		}
	}
	for id, want := range map[string]Action{"secret.jwt": Refuse, "pii.card": Off, "secret.aws": Refuse, "secret.assigned": Observe} {
		if got := p.JudgeAnswer(Finding{Rule: id}).Action; got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
	if len(p.Canaries) != 1 || p.Classifier == nil || p.Classifier.Timeout != 500 {
		t.Errorf("%+v", p)
	}
}
