package guard

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// policySteps are the migrations of the guard's one table.
var policySteps = []string{
	`CREATE TABLE guard_policies (
		tenant TEXT NOT NULL,
		id     TEXT NOT NULL,
		text   TEXT NOT NULL,
		PRIMARY KEY (tenant, id)
	) STRICT`,
}

// Policies keeps tenants' policies in the store and the guard in step with it.
// Once it exists nothing else calls the guard's Load.
type Policies struct {
	guard *Guard
	db    *store.DB
	mu    sync.Mutex // serialises changes, so that commits and the guard's rulings come in one order
}

// A TenantPolicy is one stored policy.
type TenantPolicy struct {
	ID   string `json:"id"`
	Text string `json:"text"` // Cedar: one statement
}

// OpenPolicies brings the table up to date and loads every tenant's policies.
// A tenant whose stored policies no longer fit the schema is left closed, and
// the error names it; the others are loaded all the same.
func OpenPolicies(ctx context.Context, g *Guard, db *store.DB) (*Policies, error) {
	if err := db.Migrate(ctx, "guard", policySteps); err != nil {
		return nil, err
	}
	tenants := map[string]map[string]string{}
	err := db.View(ctx, func(tx *store.Tx) error {
		return eachPolicy(tx, `SELECT tenant, id, text FROM guard_policies`, nil, func(tenant string, p TenantPolicy) {
			if tenants[tenant] == nil {
				tenants[tenant] = map[string]string{}
			}
			tenants[tenant][p.ID] = p.Text
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read policies: %w", err)
	}
	var faults []error
	for _, tenant := range slices.Sorted(maps.Keys(tenants)) {
		if err := g.Load(tenant, tenants[tenant]); err != nil {
			faults = append(faults, fmt.Errorf("tenant %s stays closed: %w", tenant, err))
		}
	}
	return &Policies{guard: g, db: db}, errors.Join(faults...)
}

// Seed gives a tenant its first policies: the one change that no policy can
// permit yet. It is of kind Conflict when the tenant has policies. Each text is
// recorded as a durable note policy.seeded before it comes into force.
func (p *Policies) Seed(ctx context.Context, tenant string, texts map[string]string) error {
	return p.change(ctx, tenant, func(now map[string]string) error {
		if len(now) > 0 {
			return &pavise.Error{
				Kind: pavise.Conflict,
				Msg:  fmt.Sprintf("tenant %s has policies already", tenant),
				Hint: "change them with pavise policy put",
			}
		}
		for _, id := range slices.Sorted(maps.Keys(texts)) {
			now[id] = texts[id]
		}
		return nil
	}, func(change policyChange) error { return p.noteSeed(ctx, tenant, texts, change) })
}

// noteSeed records the first policies of a tenant.
func (p *Policies) noteSeed(ctx context.Context, tenant string, texts map[string]string, change policyChange) error {
	for _, id := range slices.Sorted(maps.Keys(texts)) {
		change.Text = texts[id]
		if err := p.guard.Note(ctx, "policy.seeded", nil, pavise.Name{Tenant: tenant, Kind: kindPolicy, ID: id}, change); err != nil {
			return err
		}
	}
	return nil
}

// A policyChange is the detail of a change's record: enough to know, from the
// log alone, every text that was ever in force.
type policyChange struct {
	Text   string `json:"text,omitempty"` // the new text; none for a deletion
	Before string `json:"before"`         // digest before the change
	After  string `json:"after"`          // and after it
}

// Put adds or replaces a policy of a tenant, under the verb policy.put. It is
// in force for every Enter that begins after Put returns. A text that does not
// parse or does not fit the schema is refused with kind Invalid, and one that
// would lock everybody out of policy.put with kind Conflict; nothing changes
// then.
func (p *Policies) Put(ctx context.Context, who pavise.Principal, tenant, id, text string) (err error) {
	e, err := p.guard.Enter(ctx, who, verbPut, pavise.Name{Tenant: tenant, Kind: kindPolicy, ID: id})
	if err != nil {
		return err
	}
	defer e.Exit(&err)
	return p.change(ctx, tenant, func(now map[string]string) error {
		now[id] = text
		return nil
	}, func(change policyChange) error {
		change.Text = text
		e.Detail(change)
		return nil
	})
}

// Delete removes a policy of a tenant, under the verb policy.delete. The error
// is of kind NotFound if there is none, and Conflict if nobody could change
// policies without it.
func (p *Policies) Delete(ctx context.Context, who pavise.Principal, tenant, id string) (err error) {
	name := pavise.Name{Tenant: tenant, Kind: kindPolicy, ID: id}
	e, err := p.guard.Enter(ctx, who, verbDelete, name)
	if err != nil {
		return err
	}
	defer e.Exit(&err)
	return p.change(ctx, tenant, func(now map[string]string) error {
		if _, ok := now[id]; !ok {
			return &pavise.Error{
				Kind: pavise.NotFound,
				Msg:  fmt.Sprintf("no policy %s", name),
				Hint: "pavise policy list shows those there are",
			}
		}
		delete(now, id)
		return nil
	}, func(change policyChange) error { e.Detail(change); return nil })
}

// List returns a tenant's policies by id, under the verb policy.list on the
// policy named "all".
func (p *Policies) List(ctx context.Context, who pavise.Principal, tenant string) (policies []TenantPolicy, err error) {
	e, err := p.guard.Enter(ctx, who, verbList, pavise.Name{Tenant: tenant, Kind: kindPolicy, ID: "all"})
	if err != nil {
		return nil, err
	}
	defer e.Exit(&err)
	err = p.db.View(ctx, func(tx *store.Tx) error {
		return eachPolicy(tx, `SELECT tenant, id, text FROM guard_policies WHERE tenant = ? ORDER BY id`, []any{tenant},
			func(_ string, found TenantPolicy) { policies = append(policies, found) })
	})
	return policies, err
}

// change edits a tenant's policies: read, edit, compile, check for a lock-out,
// note, commit, put in force. Any error before the commit leaves everything as
// it was.
func (p *Policies) change(ctx context.Context, tenant string, edit func(map[string]string) error, note func(policyChange) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var set *ruleset
	err := p.db.Update(ctx, func(tx *store.Tx) error {
		texts := map[string]string{}
		err := eachPolicy(tx, `SELECT tenant, id, text FROM guard_policies WHERE tenant = ?`, []any{tenant},
			func(_ string, found TenantPolicy) { texts[found.ID] = found.Text })
		if err != nil {
			return err
		}
		before := maps.Clone(texts)
		if err := edit(texts); err != nil {
			return err
		}
		if set, err = p.guard.schema.compile(tenant, texts); err != nil {
			return err
		}
		if !p.guard.canPutPolicies(set, tenant) {
			return lockedOut(tenant)
		}
		if err := note(policyChange{Before: digest(before), After: set.digest}); err != nil {
			return err
		}
		return write(tx, tenant, before, texts)
	})
	if err != nil {
		return err
	}
	p.guard.install(tenant, set)
	return nil
}

// write brings the table from before to after.
func write(tx *store.Tx, tenant string, before, after map[string]string) error {
	for id := range before {
		if _, stays := after[id]; !stays {
			if _, err := tx.Exec(`DELETE FROM guard_policies WHERE tenant = ? AND id = ?`, tenant, id); err != nil {
				return err
			}
		}
	}
	for id, text := range after {
		if old, ok := before[id]; ok && old == text {
			continue
		}
		_, err := tx.Exec(`INSERT INTO guard_policies (tenant, id, text) VALUES (?, ?, ?)
			ON CONFLICT (tenant, id) DO UPDATE SET text = excluded.text`, tenant, id, text)
		if err != nil {
			return err
		}
	}
	return nil
}

// eachPolicy calls found for each row of a query for tenant, id and text.
func eachPolicy(tx *store.Tx, query string, args []any, found func(tenant string, p TenantPolicy)) error {
	rows, err := tx.Query(query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var tenant string
		var p TenantPolicy
		if err := rows.Scan(&tenant, &p.ID, &p.Text); err != nil {
			return err
		}
		found(tenant, p)
	}
	return rows.Err()
}

// lockedOut refuses a change after which nobody could make another.
func lockedOut(tenant string) error {
	return &pavise.Error{
		Kind: pavise.Conflict,
		Msg:  fmt.Sprintf("after this change nobody could change the policies of tenant %s any more", tenant),
		Hint: "keep a policy that permits policy.put to the role operator, or put its replacement first",
	}
}

// canPutPolicies tries the people whom the permits of policy.put speak of, each
// as a person with the role operator and a name that no policy knows, or with
// the name it knows. A permit with conditions on anything else may fail to
// convince it; refusing then is the safe side.
func (g *Guard) canPutPolicies(set *ruleset, tenant string) bool {
	on := g.newThing(thingKey{name: pavise.Name{Tenant: tenant, Kind: kindPolicy, ID: "any"}})
	for _, r := range set.byVerb[verbPut] {
		if r.forbids() {
			continue
		}
		who := pavise.Principal{Tenant: tenant, Kind: pavise.Human, ID: "anybody", Roles: []string{"operator"}}
		if role, ok := r.roleOf(); ok && role != "operator" {
			who.Roles = append(who.Roles, role)
		}
		if scope, ok := r.ast().Principal.(ast.ScopeTypeEq); ok && scope.Entity.Type == cedar.EntityType("Human") {
			who.ID = string(scope.Entity.ID)
		}
		q := &question{who: g.newPerson(who), action: g.schema.actions[verbPut], on: on, at: g.clock.stamp()}
		if set.decide(q).allow {
			return true
		}
	}
	return false
}
