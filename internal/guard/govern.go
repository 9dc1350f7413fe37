package guard

import (
	"context"

	"github.com/pavise/pavise/internal/store"
)

// Govern puts the policies of a control plane in force, of all tenants at once, in the
// place of whatever there was. It is for a gateway, which has no policies of its own to
// keep; whoever calls it records them before. The error is Load's, and nothing has
// changed then. actions are all verbs that the policies may speak of: this build's
// own, and those that only a newer control plane has.
func (g *Guard) Govern(actions []Action, tenants map[string]map[string]string) error {
	sets := map[string]*ruleset{}
	for tenant, texts := range tenants {
		set, err := g.schema.compile(tenant, texts)
		if err != nil {
			return err
		}
		sets[tenant] = set
	}
	g.change(func(r *ruling) { r.tenants = sets })
	return nil
}

// Texts returns a tenant's policies, by id: what a control plane tells its gateways.
func (p *Policies) Texts(ctx context.Context, tenant string) (texts map[string]string, err error) {
	texts = map[string]string{}
	err = p.db.View(ctx, func(tx *store.Tx) error {
		return eachPolicy(tx, `SELECT tenant, id, text FROM guard_policies WHERE tenant = ?`, []any{tenant}, func(_ string, p TenantPolicy) { texts[p.ID] = p.Text })
	})
	return texts, err
}
