package artefact

import (
	"strings"

	"github.com/pavise/pavise/internal/gguf"
	"github.com/pavise/pavise/internal/jinja"
)

// gguf looks at the metadata of a file, of which chat templates are programs, and at what it says of
// its tensors.
func (s *scan) gguf(w part) {
	wrong, err := gguf.Look(w.in, func(key, text string) {
		if !strings.Contains(key, "chat_template") {
			return
		}
		if len(text) == gguf.MaxText {
			s.tell(w, Finding{Severity: Unreadable, Rule: "template", Why: "the template " + clip(key) + " is longer than is looked at", Next: nextVet})
		}
		s.template(w, key, text)
	})
	switch {
	case err != nil:
		s.tell(w, Finding{Severity: Unreadable, Rule: "gguf.header", Why: err.Error(), Next: nextAgain})
	case wrong != "":
		s.tell(w, Finding{Severity: Suspicious, Rule: "gguf.header", Why: wrong, Next: nextAgain})
	}
}

// template looks at a template of conversations.
func (s *scan) template(w part, where, text string) {
	if at, tag, by := jinja.Attack(text); by != "" {
		s.tell(w, Finding{Severity: Malicious, Rule: "template", Offset: int64(at), Why: "the template " + clip(where) + " reaches for Python's inner parts by " + clip(by) + " in " + clip(tag), Next: nextNever})
	}
}
