package console

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/figure"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/policy"
	"github.com/pavise/pavise/internal/story"
)

// A preview is what people look at before they decide on a change.
type preview struct {
	Flips *flips            // decisions that a change of policies would turn
	Grant *guard.GrantPlan  // of a role for a time
	Diff  []figure.DiffLine // of what is to become something else
	Text  string            // Cedar: the policy as it would be, whole
	JSON  string            // what the plan says, as it is
}

// newPreview shows a plan's detail: a policy as the difference of its texts, what has
// a before and an after as the difference of those, and all else as JSON.
func newPreview(v api.ChangeView) preview {
	detail, ok := v.Plan.Detail.(map[string]any)
	if !ok {
		return preview{JSON: indented(v.Plan.Detail)}
	}
	if v.Verb == policy.VerbPut || v.Verb == policy.VerbDelete {
		was, _ := detail["was"].(string)
		text, _ := detail["text"].(string)
		if was != "" || text != "" {
			p := preview{Flips: newFlips(v.Plan.Detail), Diff: figure.Fold(figure.Diff(was, text))}
			if was != "" {
				p.Text = text
			}
			return p
		}
	}
	if v.Verb == policy.VerbGive {
		if plan := new(guard.GrantPlan); recast(v.Plan.Detail, plan) && plan.Role != "" {
			return preview{Grant: plan, JSON: indented(detail)}
		}
	}
	for _, pair := range [][2]string{{"was", "will"}, {"before", "after"}} {
		before, had := detail[pair[0]].(map[string]any)
		after, has := detail[pair[1]].(map[string]any)
		if had && has {
			was := indented(before)
			if before["new"] == true { // there never was one
				was = ""
			}
			return preview{Diff: figure.Fold(figure.Diff(was, indented(after))), JSON: indented(detail)}
		}
	}
	return preview{JSON: indented(detail)}
}

// recast reads a plan's detail, which came as JSON, as what it was.
func recast(detail, into any) bool {
	text, err := json.Marshal(detail)
	return err == nil && json.Unmarshal(text, into) == nil
}

// lasts says how long a plan's grant is for.
func lasts(text string) string {
	if d, err := time.ParseDuration(text); err == nil {
		return figure.Span(d)
	}
	return text
}

// maxFlips is how many lines of turned decisions a page shows.
const maxFlips = 100

// flips are the decisions that a change of policies would turn.
type flips struct {
	Lines []flip
	Total int  // decisions
	More  bool // there are others, or may be
}

// A flip is decisions that turn, as they are shown.
type flip struct {
	policy.Turn
	State string // how they come out
	Word  string
	When  string
}

// newFlips reads what a plan of policies says of decisions; nil if it says nothing.
func newFlips(detail any) *flips {
	var plan guard.Preview
	if !recast(detail, &plan) || plan.Flips == nil {
		return nil
	}
	turns := plan.Turns()
	list := &flips{Total: plan.Total, More: plan.Partial || plan.Total > len(plan.Flips) || len(turns) > maxFlips}
	for _, turn := range turns[:min(len(turns), maxFlips)] {
		f := flip{Turn: turn, State: story.Deny, Word: "May no longer"}
		if turn.Will == pavise.Allow {
			f.State, f.Word = story.Allow, "May"
		}
		var states []string
		for _, facts := range turn.Flip.When {
			states = append(states, policy.Words(facts))
		}
		f.When = policy.Phrase(states)
		list.Lines = append(list.Lines, f)
	}
	return list
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
