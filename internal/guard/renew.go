package guard

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/policy"
	"github.com/pavise/pavise/internal/store"
)

// errCurrent undoes a renewal that has nothing to renew.
var errCurrent = errors.New("no policy is a former default")

// operatorRuns is the id of the policy by which operators run the house.
const operatorRuns = "operator-runs"

// Renew replaces default policies of an earlier build that nobody has touched by
// those of this one, and adds the roles that there were none of: by the old ones alone nobody could propose a change, and so
// nobody could put new ones in force. Each new text is recorded as a durable note
// policy.renewed before it comes into force. The error is of kind Conflict when
// policies that somebody has touched would still lock everybody out: they stay as
// they are.
func (p *Policies) Renew(ctx context.Context, tenant string) error {
	renewed := map[string]string{}
	err := p.change(ctx, tenant, func(now map[string]string) error {
		defaults := policy.Defaults()
		for _, old := range policy.Former() {
			if text, ok := now[old.ID]; ok && text == old.Text {
				now[old.ID] = defaults[old.ID]
				renewed[old.ID] = now[old.ID]
			}
		}
		if len(renewed) == 0 {
			return errCurrent
		}
		if now[operatorRuns] != defaults[operatorRuns] {
			return nil // roles that nobody could grant would only hide that nobody can propose
		}
		for id, text := range defaults {
			if _, ok := now[id]; !ok {
				now[id], renewed[id] = text, text
			}
		}
		return nil
	}, func(_ *store.Tx, change policyChange) error {
		for _, id := range slices.Sorted(maps.Keys(renewed)) {
			change.Text = renewed[id]
			if err := p.guard.Note(ctx, "policy.renewed", nil, pavise.Name{Tenant: tenant, Kind: policy.KindPolicy, ID: id}, change); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, errCurrent) {
		return nil
	}
	return err
}
