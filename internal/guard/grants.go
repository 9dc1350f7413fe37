package guard

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/policy"
	"github.com/pavise/pavise/internal/store"
)

// Bounds of grants.
const (
	MaxGrant  = 90 * 24 * time.Hour // how long a grant may last
	maxGrants = 10_000              // in one tenant, of those that have not ended
)

// grantSteps are the migrations of the table of grants.
var grantSteps = []string{
	`CREATE TABLE guard_grants (
		tenant TEXT NOT NULL,
		id     TEXT NOT NULL,    -- role@kind:id of the holder
		until  INTEGER NOT NULL, -- Unix seconds
		given  INTEGER NOT NULL, -- Unix seconds
		by     TEXT NOT NULL,    -- who proposed it, as tenant/kind/id
		change TEXT NOT NULL,    -- the change that gave it
		reason TEXT NOT NULL,
		PRIMARY KEY (tenant, id)
	) STRICT`,
}

// A Grant is a role that somebody was given for a time. It counts beside the roles of
// their proof, for whoever the issuer itself knows: an identity that somebody had made
// (pavise.Principal.By) holds no grants, or who makes identities could use them all.
type Grant struct {
	Name   pavise.Name `json:"name"`   // tenant/grant/role@kind:id
	Holder pavise.Name `json:"holder"` // tenant/kind/id
	Role   string      `json:"role"`
	Given  time.Time   `json:"given"`
	Until  time.Time   `json:"until"`
	By     pavise.Name `json:"by"`     // who proposed it
	Change pavise.Name `json:"change"` // in which it was approved, and by whom
	Reason string      `json:"reason,omitempty"`
}

// GrantName returns the name of the grant of a role to somebody. The error is of kind
// Invalid.
func GrantName(holder pavise.Name, role string) (pavise.Name, error) {
	name := pavise.Name{Tenant: holder.Tenant, Kind: policy.KindGrant, ID: role + "@" + holder.Kind + ":" + holder.ID}
	if holder.Kind != pavise.Human && holder.Kind != pavise.Workload && holder.Kind != pavise.Node {
		return name, &pavise.Error{
			Kind: pavise.Invalid, Msg: fmt.Sprintf("a role is granted to a human, a workload or a node, not to %.80q", holder.String()),
			Hint: "name the holder as tenant/kind/id, for example local/human/ana",
		}
	}
	if strings.ContainsAny(role, "@:") {
		return name, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.80q is no role", role), Hint: "roles have neither @ nor :"}
	}
	return name, name.Validate()
}

// holderOf returns who holds a grant, and which role, by its name.
func holderOf(grant pavise.Name) (holder pavise.Name, role string) {
	role, rest, _ := strings.Cut(grant.ID, "@")
	kind, id, _ := strings.Cut(rest, ":")
	return pavise.Name{Tenant: grant.Tenant, Kind: kind, ID: id}, role
}

// held is who has been granted what. It never changes.
type held map[pavise.Name][]Grant // by holder, each in the order of roles

// of returns the names of the grants that count for somebody at a time.
func (h held) of(who *pavise.Principal, at time.Time) (names []pavise.Name) {
	if len(h) == 0 || who.By != (pavise.Name{}) {
		return nil
	}
	for _, grant := range h[who.Name()] {
		if at.Before(grant.Until) {
			names = append(names, grant.Name)
		}
	}
	return names
}

// HoldGrants puts grants in force, all at once, in place of those before. Those of a
// holder may come in any order.
func (g *Guard) HoldGrants(grants []Grant) {
	next := held{}
	for _, grant := range grants {
		next[grant.Holder] = append(next[grant.Holder], grant)
	}
	for _, list := range next {
		slices.SortFunc(list, func(a, b Grant) int { return cmp.Compare(a.Role, b.Role) })
	}
	g.grants.Store(&next)
}

// Grants keeps grants in the store and the guard in step with it. Once it exists
// nothing else calls the guard's HoldGrants.
type Grants struct {
	guard *Guard
	db    *store.DB
	mu    sync.Mutex // serialises changes, so that commits and what the guard holds come in one order
}

// OpenGrants brings the table up to date and puts what it holds in force.
func OpenGrants(ctx context.Context, g *Guard, db *store.DB) (*Grants, error) {
	if err := db.Migrate(ctx, "guard-grants", grantSteps); err != nil {
		return nil, err
	}
	s := &Grants{guard: g, db: db}
	return s, s.refresh(ctx)
}

// refresh puts what the table holds in force, whoever went away meanwhile: what was
// revoked must not stay in force because nobody waits for it. Grants that have ended stay
// in the table until their role is granted anew: they are history, and harmless.
func (s *Grants) refresh(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	var grants []Grant
	err := s.db.View(ctx, func(tx *store.Tx) (err error) {
		grants, err = readGrants(tx, `SELECT tenant, id, until, given, by, change, reason FROM guard_grants WHERE until > ?`, s.guard.clock.stamp().Unix())
		return err
	})
	if err != nil {
		return fmt.Errorf("read grants: %w", err)
	}
	s.guard.HoldGrants(grants)
	return nil
}

// A GrantSpec asks for a grant: the request of grant.give.
type GrantSpec struct {
	Minutes int    `json:"minutes"`          // how long, from when it is given
	Reason  string `json:"reason,omitempty"` // why
}

// A GrantPlan says what a grant would come to.
type GrantPlan struct {
	Holder pavise.Name `json:"holder"`
	Role   string      `json:"role"`
	For    string      `json:"for"`           // how long
	Was    *Grant      `json:"was,omitempty"` // the one that it takes the place of
	Other  []string    `json:"other"`         // roles that the holder has by grants already
	Gains  []string    `json:"gains"`         // what it lets the holder do, verb by verb, beyond what those roles do
}

// Plan says what a grant would come to, and refuses one that could never count: of a
// role that no policy knows, for too long, or beside a role that it conflicts with.
func (s *Grants) Plan(ctx context.Context, name pavise.Name, spec GrantSpec) (plan GrantPlan, err error) {
	holder, role := holderOf(name)
	if want, err := GrantName(holder, role); err != nil || want != name {
		return plan, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.120s names no grant", name), Hint: "a grant is tenant/grant/role@kind:id, for example local/grant/data-steward@human:ana", Err: err}
	}
	set := s.guard.rules.Load().set(holder.Tenant)
	if err := s.guard.KnowsRoles(holder.Tenant, []string{role}); err != nil {
		return plan, err
	}
	if spec.Minutes < 1 || spec.Minutes > int(MaxGrant/time.Minute) {
		return plan, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("a grant of %d minutes", spec.Minutes), Hint: fmt.Sprintf("a grant lasts at least a minute and at most %d days; for longer, let the issuer say the role", int(MaxGrant/(24*time.Hour)))}
	}
	plan = GrantPlan{Holder: holder, Role: role, For: lasting(spec.Minutes), Other: []string{}}
	for _, grant := range (*s.guard.grants.Load())[holder] {
		switch {
		case !s.guard.clock.stamp().Before(grant.Until):
		case grant.Role == role:
			plan.Was = &grant
		default:
			plan.Other = append(plan.Other, grant.Role)
		}
	}
	if pair, bad := policy.Conflicting(slices.Concat(plan.Other, s.guard.callers.rolesOf(holder), []string{role})); bad {
		return plan, &pavise.Error{
			Kind: pavise.Conflict, Msg: fmt.Sprintf("%s would hold the roles %s and %s, which check each other", holder, pair[0], pair[1]),
			Hint: "give this role to somebody else, or take the other one from them first: revoke its grant, or have their issuer no longer say it",
		}
	}
	plan.Gains = set.Gains(holder, plan.Other, role)
	return plan, nil
}

// lasting spells a number of minutes: 2h, 90m, 3 days.
func lasting(minutes int) string {
	switch {
	case minutes%(24*60) == 0 && minutes > 24*60:
		return fmt.Sprintf("%d days", minutes/(24*60))
	case minutes%60 == 0:
		return fmt.Sprintf("%dh", minutes/60)
	}
	return fmt.Sprintf("%dm", minutes)
}

// Give gives a role to somebody until its time is up, under the verb grant.give; a grant
// of the role that they have already ends with it. mark, unless nil, is part of the same
// transaction. It fails as Plan does.
func (s *Grants) Give(ctx context.Context, who pavise.Principal, name pavise.Name, spec GrantSpec, mark func(*store.Tx) error) (err error) {
	e, err := s.guard.Enter(ctx, who, policy.VerbGive, name)
	if err != nil {
		return err
	}
	defer e.Exit(&err)
	s.mu.Lock()
	defer s.mu.Unlock()
	plan, err := s.Plan(ctx, name, spec)
	if err != nil {
		return err
	}
	now := s.guard.clock.stamp().Truncate(time.Second)
	grant := Grant{
		Name: name, Holder: plan.Holder, Role: plan.Role, Given: now, Until: now.Add(time.Duration(spec.Minutes) * time.Minute),
		By: who.Name(), Change: who.Change, Reason: spec.Reason,
	}
	e.Detail(grant)
	if err := s.db.Update(ctx, func(tx *store.Tx) error { return putGrant(tx, grant, mark) }); err != nil {
		return err
	}
	return s.refresh(ctx)
}

func putGrant(tx *store.Tx, grant Grant, mark func(*store.Tx) error) error {
	var n int
	if err := tx.QueryRow(`SELECT count(*) FROM guard_grants WHERE tenant = ? AND until > ?`, grant.Name.Tenant, grant.Given.Unix()).Scan(&n); err != nil {
		return err
	}
	if n >= maxGrants {
		return &pavise.Error{Kind: pavise.Throttled, Msg: fmt.Sprintf("%d grants are in force already", n), Hint: "let the issuer say who has which role; grants are for a time"}
	}
	_, err := tx.Exec(`INSERT INTO guard_grants (tenant, id, until, given, by, change, reason) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (tenant, id) DO UPDATE SET until = excluded.until, given = excluded.given, by = excluded.by, change = excluded.change, reason = excluded.reason`,
		grant.Name.Tenant, grant.Name.ID, grant.Until.Unix(), grant.Given.Unix(), grant.By.String(), grant.Change.String(), grant.Reason)
	if err != nil {
		return err
	}
	return marked(tx, mark)
}

// Revoke ends a grant at once, under the verb grant.revoke, which is in the safe
// direction. The error is of kind NotFound if there is none in force.
func (s *Grants) Revoke(ctx context.Context, who pavise.Principal, name pavise.Name) (err error) {
	e, err := s.guard.Enter(ctx, who, policy.VerbRevoke, name)
	if err != nil {
		return err
	}
	defer e.Exit(&err)
	s.mu.Lock()
	defer s.mu.Unlock()
	err = s.db.UpdateSafe(ctx, func(tx *store.Tx) error {
		result, err := tx.Exec(`DELETE FROM guard_grants WHERE tenant = ? AND id = ? AND until > ?`, name.Tenant, name.ID, s.guard.clock.stamp().Unix())
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return cmp.Or(err, error(&pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("no grant %.200s is in force", name), Hint: "pavise grant list shows those that are"}))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.refresh(ctx)
}

// List returns the grants of a tenant that are in force, by name, under the verb
// grant.list.
func (s *Grants) List(ctx context.Context, who pavise.Principal, tenant string) (grants []Grant, err error) {
	e, err := s.guard.Enter(ctx, who, "grant.list", pavise.Name{Tenant: tenant, Kind: policy.KindGrant, ID: "all"})
	if err != nil {
		return nil, err
	}
	defer e.Exit(&err)
	return s.guard.Held(tenant), nil
}

// Held returns the grants of a tenant that are in force, by name.
func (g *Guard) Held(tenant string) []Grant {
	grants, now := []Grant{}, g.clock.stamp()
	for list := range maps.Values(*g.grants.Load()) {
		for _, grant := range list {
			if grant.Holder.Tenant == tenant && now.Before(grant.Until) {
				grants = append(grants, grant)
			}
		}
	}
	slices.SortFunc(grants, func(a, b Grant) int { return cmp.Compare(a.Name.ID, b.Name.ID) })
	return grants
}

// readGrants returns the grants that a query finds.
func readGrants(tx *store.Tx, query string, args ...any) (grants []Grant, err error) {
	rows, err := tx.Query(query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var until, given int64
		var by, change string
		g := Grant{Name: pavise.Name{Kind: policy.KindGrant}}
		if err := rows.Scan(&g.Name.Tenant, &g.Name.ID, &until, &given, &by, &change, &g.Reason); err != nil {
			return nil, err
		}
		g.Holder, g.Role = holderOf(g.Name)
		g.Until, g.Given = time.Unix(until, 0).UTC(), time.Unix(given, 0).UTC()
		if g.By, err = pavise.ParseName(by); err != nil {
			return nil, fmt.Errorf("read grant %s: %w", g.Name, err)
		}
		if change != "" {
			if g.Change, err = pavise.ParseName(change); err != nil {
				return nil, fmt.Errorf("read grant %s: %w", g.Name, err)
			}
		}
		grants = append(grants, g)
	}
	return grants, rows.Err()
}
