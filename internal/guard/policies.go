package guard

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/policy"
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
	}, func(_ *store.Tx, change policyChange) error { return p.noteSeed(ctx, tenant, texts, change) })
}

// noteSeed records the first policies of a tenant.
func (p *Policies) noteSeed(ctx context.Context, tenant string, texts map[string]string, change policyChange) error {
	for _, id := range slices.Sorted(maps.Keys(texts)) {
		change.Text = texts[id]
		if err := p.guard.Note(ctx, "policy.seeded", nil, pavise.Name{Tenant: tenant, Kind: policy.KindPolicy, ID: id}, change); err != nil {
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
//
// mark, unless nil, is part of the same transaction.
func (p *Policies) Put(ctx context.Context, who pavise.Principal, tenant, id, text string, mark func(*store.Tx) error) (err error) {
	e, err := p.guard.Enter(ctx, who, policy.VerbPut, pavise.Name{Tenant: tenant, Kind: policy.KindPolicy, ID: id})
	if err != nil {
		return err
	}
	defer e.Exit(&err)
	return p.change(ctx, tenant, put(id, text), func(tx *store.Tx, change policyChange) error {
		change.Text = text
		e.Detail(change)
		return marked(tx, mark)
	})
}

// put is the edit that adds or replaces a policy.
func put(id, text string) func(map[string]string) error {
	return func(now map[string]string) error {
		now[id] = text
		return nil
	}
}

// remove is the edit that takes a policy away.
func remove(name pavise.Name) func(map[string]string) error {
	return func(now map[string]string) error {
		if _, ok := now[name.ID]; !ok {
			return &pavise.Error{
				Kind: pavise.NotFound,
				Msg:  fmt.Sprintf("no policy %s", name),
				Hint: "pavise policy list shows those there are",
			}
		}
		delete(now, name.ID)
		return nil
	}
}

func marked(tx *store.Tx, mark func(*store.Tx) error) error {
	if mark == nil {
		return nil
	}
	return mark(tx)
}

// A Preview says what a change of policies would come to.
type Preview struct {
	Before string `json:"before"`         // digest of what is in force
	After  string `json:"after"`          // and of what would be
	Was    string `json:"was,omitempty"`  // the policy's text as it is; empty: there is none
	Text   string `json:"text,omitempty"` // as it would be; empty: none
	policy.Difference
}

// Preview says what putting a policy would come to, or with an empty text deleting
// it. It fails as Put and Delete would, and changes nothing.
func (p *Policies) Preview(ctx context.Context, name pavise.Name, text string) (preview Preview, err error) {
	edit := remove(name)
	if text != "" {
		edit = put(name.ID, text)
	}
	err = p.db.View(ctx, func(tx *store.Tx) error {
		before, after, set, err := p.edited(tx, name.Tenant, edit)
		if err != nil {
			return err
		}
		preview = Preview{
			Before: policy.Digest(before), After: set.Digest(), Was: before[name.ID], Text: after[name.ID],
			Difference: p.guard.rules.Load().set(name.Tenant).Diff(set, p.guard.clock.stamp()),
		}
		return nil
	})
	return preview, err
}

// Delete removes a policy of a tenant, under the verb policy.delete. The error
// is of kind NotFound if there is none, and Conflict if nobody could change
// policies without it.
//
// mark, unless nil, is part of the same transaction.
func (p *Policies) Delete(ctx context.Context, who pavise.Principal, tenant, id string, mark func(*store.Tx) error) (err error) {
	name := pavise.Name{Tenant: tenant, Kind: policy.KindPolicy, ID: id}
	e, err := p.guard.Enter(ctx, who, policy.VerbDelete, name)
	if err != nil {
		return err
	}
	defer e.Exit(&err)
	return p.change(ctx, tenant, remove(name), func(tx *store.Tx, change policyChange) error {
		e.Detail(change)
		return marked(tx, mark)
	})
}

// List returns a tenant's policies by id, under the verb policy.list on the
// policy named "all".
func (p *Policies) List(ctx context.Context, who pavise.Principal, tenant string) (policies []TenantPolicy, err error) {
	e, err := p.guard.Enter(ctx, who, policy.VerbList, pavise.Name{Tenant: tenant, Kind: policy.KindPolicy, ID: "all"})
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
func (p *Policies) change(ctx context.Context, tenant string, edit func(map[string]string) error, note func(*store.Tx, policyChange) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var set *policy.Set
	err := p.db.Update(ctx, func(tx *store.Tx) error {
		before, after, compiled, err := p.edited(tx, tenant, edit)
		if err != nil {
			return err
		}
		set = compiled
		if err := note(tx, policyChange{Before: policy.Digest(before), After: set.Digest()}); err != nil {
			return err
		}
		return write(tx, tenant, before, after)
	})
	if err != nil {
		return err
	}
	p.guard.install(tenant, set)
	return nil
}

// edited returns a tenant's policies as they are and as an edit would have them,
// compiled.
func (p *Policies) edited(tx *store.Tx, tenant string, edit func(map[string]string) error) (before, after map[string]string, set *policy.Set, err error) {
	before = map[string]string{}
	err = eachPolicy(tx, `SELECT tenant, id, text FROM guard_policies WHERE tenant = ?`, []any{tenant},
		func(_ string, found TenantPolicy) { before[found.ID] = found.Text })
	if err != nil {
		return nil, nil, nil, err
	}
	after = maps.Clone(before)
	if err := edit(after); err != nil {
		return nil, nil, nil, err
	}
	if set, err = p.guard.words.Load().schema.Compile(tenant, after, p.guard.rules.Load().set(tenant)); err != nil {
		return nil, nil, nil, err
	}
	if err := set.Locked(tenant, p.guard.clock.stamp()); err != nil {
		return nil, nil, nil, err
	}
	return before, after, set, nil
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
