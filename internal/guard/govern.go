package guard

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pavise/pavise/internal/policy"
	"github.com/pavise/pavise/internal/store"
)

// Govern puts the policies of a control plane in force, of all tenants at once, in the
// place of whatever there was. It is for a gateway, which has no policies of its own to
// keep; whoever calls it records them before. actions are all verbs that the policies
// may speak of: this build's own, and those that only a newer control plane has. The
// error is of kind Invalid, and nothing has changed then.
func (g *Guard) Govern(actions []Action, tenants map[string]map[string]string) error {
	words := g.words.Load()
	if !speaks(words.schema, actions) {
		schema, err := policy.NewSchema(actions)
		if err != nil {
			return fmt.Errorf("read the verbs of the control plane: %w", err)
		}
		words = &vocabulary{schema, policy.NewEntities(schema, g.demo)}
	}
	bare, err := words.schema.Compile("", nil, nil)
	if err != nil {
		return fmt.Errorf("compile the guardrails: %w", err)
	}
	sets := map[string]*policy.Set{}
	for tenant, texts := range tenants {
		set, err := words.schema.Compile(tenant, texts, g.rules.Load().set(tenant))
		if err != nil {
			return err
		}
		sets[tenant] = set
	}
	g.words.Store(words)
	g.change(func(r *ruling) { r.bare, r.tenants = bare, sets })
	return nil
}

// speaks reports whether a schema has all of the actions.
func speaks(schema *policy.Schema, actions []Action) bool {
	return !slices.ContainsFunc(actions, func(a Action) bool {
		_, ok := schema.Act(a.Verb)
		return !ok
	})
}

// Texts returns a tenant's policies, by id: what a control plane tells its gateways.
func (p *Policies) Texts(ctx context.Context, tenant string) (texts map[string]string, err error) {
	texts = map[string]string{}
	err = p.db.View(ctx, func(tx *store.Tx) error {
		return eachPolicy(tx, `SELECT tenant, id, text FROM guard_policies WHERE tenant = ?`, []any{tenant},
			func(_ string, found TenantPolicy) { texts[found.ID] = found.Text })
	})
	return texts, err
}

// Granted returns all grants that are in force, in an order that stays: what a control
// plane tells its gateways.
func (g *Guard) Granted() []Grant {
	at, all := g.clock.stamp(), []Grant{}
	for _, list := range *g.grants.Load() {
		for _, grant := range list {
			if at.Before(grant.Until) {
				all = append(all, grant)
			}
		}
	}
	slices.SortFunc(all, func(a, b Grant) int { return strings.Compare(a.Name.String(), b.Name.String()) })
	return all
}
