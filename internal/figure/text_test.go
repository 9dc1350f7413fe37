package figure

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestCedar(t *testing.T) {
	const cedar = "// when\n@id(\"a \\\" permit\")\npermit (principal, action == Action::\"in\", resource) when { true };"
	var joined strings.Builder
	classes := map[string]string{}
	for _, piece := range Cedar(cedar) {
		joined.WriteString(piece.Text)
		classes[piece.Text] += piece.Class
	}
	if joined.String() != cedar {
		t.Errorf("the text came out as %q", joined.String())
	}
	for piece, class := range map[string]string{"// when": "c", "@id": "a", `"a \" permit"`: "s", `"in"`: "s", "permit": "k", "when": "k"} {
		if classes[piece] != class {
			t.Errorf("%s has class %q, want %q", piece, classes[piece], class)
		}
	}
}

func TestSentence(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "no such thing": "No such thing.", "éclair": "Éclair.", "local/human/op may not": "local/human/op may not",
	} {
		if got := Sentence(in); got != want {
			t.Errorf("Sentence(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestBrief(t *testing.T) {
	if got := fmt.Sprintf("%s %d", Brief("short"), len([]rune(Brief(strings.Repeat("é", 500))))); got != "short 60" {
		t.Errorf("brief: %s", got)
	}
}

// Long times are whole days where they are.
func TestDays(t *testing.T) {
	for d, want := range map[time.Duration]string{
		24 * time.Hour: "1 day", 720 * time.Hour: "30 days", 36 * time.Hour: "36h", 17520 * time.Hour: "730 days", 90 * time.Minute: "1h30m",
	} {
		if got := Days(d); got != want {
			t.Errorf("Days(%v) = %q, want %q", d, got, want)
		}
	}
}
