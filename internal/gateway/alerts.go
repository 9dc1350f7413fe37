package gateway

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/prompt"
)

// KindAlerted is the kind of the note that says that a request to a language model, or its
// answer, met a rule that is an alert.
const KindAlerted = "firewall.alerted"

// alert notes, off the way of the exchange, that rules which are alerts were met in what: a
// request or an answer. It says which, and nothing of what was said.
func (x *ChatExchange) alert(what string, told []prompt.Told) {
	var rules []string
	for _, t := range told {
		if t.Action == prompt.Alert && !slices.Contains(rules, t.Rule) {
			rules = append(rules, t.Rule)
		}
	}
	if len(rules) == 0 {
		return
	}
	now := x.gateway.now()
	fresh, crowded := x.gateway.alerts.Fresh(now, x.call.Model, x.entry.Who().Name(), rules)
	f := pavise.Finding{Kind: KindAlerted, Severity: pavise.Warning, On: x.call.Model, Who: x.entry.Who().Name(), At: now.UTC()}
	if len(fresh) > 0 {
		f.Summary = fmt.Sprintf("%s met what would be refused if it were no alert: %s", what, strings.Join(fresh, ", "))
		if !x.gateway.suspects.Tell(f) {
			x.gateway.alerts.Lost(x.call.Model, x.entry.Who().Name(), fresh...)
		}
	}
	if crowded {
		f.Who, f.Summary = pavise.Name{}, "more callers meet rules that are alerts than can be told apart: their records say which"
		if !x.gateway.suspects.Tell(f) {
			x.gateway.alerts.Lost(x.call.Model, pavise.Name{}, "")
		}
	}
}
