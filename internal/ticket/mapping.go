package ticket

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/policy"
	"github.com/pavise/pavise/internal/store"
)

// Bounds of mappings.
const (
	maxMappings = 500
	maxRoles    = 8
	maxDays     = 90
)

// A Mapping says which person an account of a tool is, and as what they vote from there.
type Mapping struct {
	Account string      `json:"account"` // the tool's own id of it
	Person  pavise.Name `json:"person"`
	Roles   []string    `json:"roles"`
	Place   string      `json:"place"` // of the tool: another one's accounts are others
	Made    time.Time   `json:"made"`
	Until   time.Time   `json:"until"`
	By      pavise.Name `json:"by"`     // who proposed it
	Change  pavise.Name `json:"change"` // in which it was approved, and by whom
}

// A MapSpec asks for a mapping: the request of ticket.map.
type MapSpec struct {
	Account string      `json:"account"`
	Person  pavise.Name `json:"person"`
	Roles   []string    `json:"roles"`
	Days    int         `json:"days"`
}

// check refuses what is no mapping. The error is of kind Invalid.
func (m MapSpec) check(tenant string) error {
	invalid := func(hint, format string, args ...any) error {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf(format, args...), Hint: hint}
	}
	switch {
	case !foreign.MatchString(m.Account):
		return invalid("give the tool's own id of the account: accountId in Jira, the number in GitHub and GitLab, sys_id in ServiceNow; names can be taken over", "%.60q is no account's id", m.Account)
	case m.Person.Validate() != nil || m.Person.Kind != pavise.Human || m.Person.Tenant != tenant:
		return invalid("write the person as "+tenant+"/human/id", "%s is no person of tenant %s", m.Person, tenant)
	case len(m.Roles) == 0 || len(m.Roles) > maxRoles:
		return invalid("--role ROLE, one that may do what they are to decide on", "an account votes in 1 to %d roles, not %d", maxRoles, len(m.Roles))
	case m.Days < 1 || m.Days > maxDays:
		return invalid("", "an account is known for 1 to %d days, not %d", maxDays, m.Days)
	}
	for i, role := range m.Roles {
		if slices.Contains(m.Roles[:i], role) {
			return invalid("", "the role %.60q stands there twice", role)
		}
	}
	if pair, found := policy.Conflicting(m.Roles); found {
		return invalid("choose one of them", "the roles %s and %s check each other", pair[0], pair[1])
	}
	return nil
}

// A MapPlan says what a mapping would come to.
type MapPlan struct {
	MapSpec
	Tool  pavise.Name `json:"tool"`
	Kind  string      `json:"kind"`
	Place string      `json:"place"`
	Was   *Mapping    `json:"was,omitempty"` // the one that it takes the place of
}

// Digests are what the outcome depends on.
func (p MapPlan) Digests() map[string]string {
	sum := sha256.Sum256([]byte(p.Kind + "\n" + p.Place))
	was := "none"
	if p.Was != nil {
		was = p.Was.Person.String() + " " + p.Was.Made.Format(time.RFC3339Nano)
	}
	return map[string]string{"place of the tool": hex.EncodeToString(sum[:]), "who it was": was}
}

// PlanMap says what a mapping would come to, on the thing of its tool. The error is of kind
// Invalid for one that could never be, and NotFound where there is no such tool.
//
// Unguarded: it reads, for package change, which asks at the proposal and at each vote.
func (d *Desk) PlanMap(ctx context.Context, on pavise.Name, m MapSpec) (plan MapPlan, err error) {
	if err := m.check(on.Tenant); err != nil {
		return plan, err
	}
	if err := d.cfg.Guard.KnowsRoles(on.Tenant, m.Roles); err != nil {
		return plan, err
	}
	err = d.cfg.Store.View(ctx, func(tx *store.Tx) error {
		plan, err = d.planMap(tx, on, m)
		return err
	})
	return plan, err
}

// planMap is PlanMap within a transaction, of what was checked.
func (d *Desk) planMap(tx *store.Tx, on pavise.Name, m MapSpec) (plan MapPlan, err error) {
	at := place{on.Tenant, on.ID}
	r, err := d.find(tx, at)
	if err != nil {
		return plan, err
	}
	if !kinds[r.Kind] {
		return plan, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("nobody votes from a %s", r.Kind), Hint: "accounts of jira, servicenow, github and gitlab are people"}
	}
	plan = MapPlan{MapSpec: m, Tool: on, Kind: r.Kind, Place: r.target.where()}
	all, err := mappings(tx, at)
	for _, one := range all {
		if one.Account == m.Account {
			plan.Was = &one
		}
	}
	if plan.Was == nil && len(all) >= maxMappings {
		return plan, &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("%d accounts of %s are known already", len(all), at.name), Hint: "forget some: pavise ticket unmap"}
	}
	return plan, err
}

// Map makes a mapping: the verb ticket.map, for a change that others approved. digests are
// those of the plan they approved, and mark is called in the transaction of the effect.
func (d *Desk) Map(ctx context.Context, who pavise.Principal, on pavise.Name, m MapSpec, digests map[string]string, mark func(*store.Tx) error) (err error) {
	entry, err := d.cfg.Guard.Enter(ctx, who, "ticket.map", on)
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	if err := m.check(on.Tenant); err != nil {
		return err
	}
	now := d.cfg.Now().UTC()
	made := Mapping{
		Account: m.Account, Person: m.Person, Roles: m.Roles, Made: now, Until: now.AddDate(0, 0, m.Days), By: who.Name(), Change: who.Change,
	}
	// One transaction, and no lock: whoever holds that may wait for a vote, and a vote for
	// the change that is being run.
	err = d.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		plan, err := d.planMap(tx, on, m)
		if err != nil {
			return err
		}
		for what, digest := range plan.Digests() {
			if digests[what] != digest {
				return &pavise.Error{Kind: pavise.Conflict, Msg: "the " + what + " changed since it was approved", Hint: "propose it anew"}
			}
		}
		made.Place = plan.Place
		text, err := json.Marshal(made)
		if err != nil {
			return fmt.Errorf("encode a mapping: %w", err)
		}
		if err := mark(tx); err != nil {
			return err
		}
		_, err = tx.Exec(`INSERT INTO ticket_accounts (tenant, tool, account, mapping) VALUES (?, ?, ?, ?)
			ON CONFLICT (tenant, tool, account) DO UPDATE SET mapping = excluded.mapping`, on.Tenant, on.ID, m.Account, string(text))
		return err
	})
	entry.Detail(made)
	return err
}

// Unmap has an account vote for nobody any more, at once: the verb ticket.unmap. The error
// is of kind NotFound where it is known as nobody.
func (d *Desk) Unmap(ctx context.Context, who pavise.Principal, name, account string) (err error) {
	entry, err := d.cfg.Guard.Enter(ctx, who, "ticket.unmap", pavise.Name{Tenant: who.Tenant, Kind: KindTool, ID: name})
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	entry.Detail(map[string]string{"account": clean(account, maxText)})
	return d.cfg.Store.UpdateSafe(ctx, func(tx *store.Tx) error {
		result, err := tx.Exec(`DELETE FROM ticket_accounts WHERE tenant = ? AND tool = ? AND account = ?`, who.Tenant, name, account)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("the account %.60q of %.60s is nobody here", account, name), Hint: "pavise ticket show " + strings.TrimSpace(name) + " lists those that are known", Err: err}
		}
		return nil
	})
}

// mappings returns those of a tool, by account.
func mappings(tx *store.Tx, at place) ([]Mapping, error) {
	all, err := store.Docs[Mapping](tx, `SELECT mapping FROM ticket_accounts WHERE tenant = ? AND tool = ? ORDER BY account`, at.tenant, at.name)
	if err != nil {
		return nil, fmt.Errorf("read the accounts of %s: %w", at.name, err)
	}
	return all, nil
}
