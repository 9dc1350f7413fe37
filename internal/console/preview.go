package console

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/pavise/pavise/internal/api"
)

// A preview is what people look at before they decide on a change.
type preview struct {
	Diff []diffLine // of what is to become something else
	Text string     // Cedar: the policy as it would be, whole
	JSON string     // what the plan says, as it is
}

// newPreview shows a plan's detail: a policy as the difference of its texts, what has
// a before and an after as the difference of those, and all else as JSON.
func newPreview(v api.ChangeView) preview {
	detail, ok := v.Plan.Detail.(map[string]any)
	if !ok {
		return preview{JSON: indented(v.Plan.Detail)}
	}
	if v.Verb == "policy.put" || v.Verb == "policy.delete" {
		was, _ := detail["was"].(string)
		text, _ := detail["text"].(string)
		if was != "" || text != "" {
			p := preview{Diff: fold(diff(was, text))}
			if was != "" {
				p.Text = text
			}
			return p
		}
	}
	for _, pair := range [][2]string{{"was", "will"}, {"before", "after"}} {
		before, had := detail[pair[0]].(map[string]any)
		after, has := detail[pair[1]].(map[string]any)
		if had && has {
			return preview{Diff: fold(diff(indented(before), indented(after))), JSON: indented(detail)}
		}
	}
	return preview{JSON: indented(detail)}
}

// indented writes a value as JSON for people.
func indented(v any) string {
	if v == nil {
		return ""
	}
	var text bytes.Buffer
	out := json.NewEncoder(&text)
	out.SetEscapeHTML(false) // the template escapes
	out.SetIndent("", "  ")
	if out.Encode(v) != nil {
		return ""
	}
	return strings.TrimSuffix(text.String(), "\n")
}
