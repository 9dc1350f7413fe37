package guard

import (
	"context"
	_ "embed" // the former policies
	"errors"
	"maps"
	"slices"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// former holds the default policies of earlier builds, where they were others.
//
//go:embed former.cedar
var former string

// errCurrent undoes a renewal that has nothing to renew.
var errCurrent = errors.New("no policy is a former default")

// Renew replaces default policies of an earlier build that nobody has touched by
// those of this one: by the old ones alone nobody could propose a change, and so
// nobody could put new ones in force. Each new text is recorded as a durable note
// policy.renewed before it comes into force. The error is of kind Conflict when
// policies that somebody has touched would still lock everybody out: they stay as
// they are.
func (p *Policies) Renew(ctx context.Context, tenant string) error {
	renewed := map[string]string{}
	err := p.change(ctx, tenant, func(now map[string]string) error {
		for _, old := range mustSplit(former) {
			if text, ok := now[old.id]; ok && text == old.text {
				now[old.id] = Defaults()[old.id]
				renewed[old.id] = now[old.id]
			}
		}
		if len(renewed) == 0 {
			return errCurrent
		}
		return nil
	}, func(_ *store.Tx, change policyChange) error {
		for _, id := range slices.Sorted(maps.Keys(renewed)) {
			change.Text = renewed[id]
			if err := p.guard.Note(ctx, "policy.renewed", nil, pavise.Name{Tenant: tenant, Kind: kindPolicy, ID: id}, change); err != nil {
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
