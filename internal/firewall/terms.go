package firewall

import (
	"fmt"

	"github.com/pavise/pavise"
)

// Change reads those of the limits that are said, as people write them. The empty text
// leaves a limit as it is, and "none" takes away that of the rate of all callers together
// and that of linked ones. The error is of kind Invalid.
func (t *Terms) Change(rate, budget, modelRate, modelBudget, clusterBudget string) error {
	for _, limit := range []struct {
		field, text string
		to          *Rate
	}{
		{"rate", rate, &t.Rate},
		{"budget", budget, &t.Budget},
		{"model_rate", modelRate, &t.ModelRate},
		{"model_budget", modelBudget, &t.ModelBudget},
		{"cluster_budget", clusterBudget, &t.ClusterBudget},
	} {
		if limit.text == "" {
			continue
		}
		if limit.text == "none" && (limit.to == &t.ModelRate || limit.to == &t.ClusterBudget) {
			*limit.to = Rate{}
			continue
		}
		rate, err := ParseRate(limit.text)
		if err != nil {
			return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s %.60q is not COUNT/TIME", limit.field, limit.text), Hint: "write it as 600/1m, or 600/1m burst 100", Err: err}
		}
		*limit.to = rate
	}
	return nil
}
