package ticket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/hook"
	"github.com/pavise/pavise/internal/store"
)

// maxTools bounds the tools of one tenant.
const maxTools = 16

// A Put says which tool changes are to be told to.
type Put struct {
	Name    string // 1 to 64 bytes of a name's characters
	Kind    string // one of the kinds of tool
	URL     string // https; of a tool's API
	Project string // Jira's key, or owner/name
	User    string // of Jira and ServiceNow, where the secret is a password; the app's id, where deployments wait in GitHub
	Secret  string // a token, a password, a routing key or an app's private key; empty: as it was
}

// A Tool is one as people may see it.
type Tool struct {
	Name    string    `json:"name"`
	Kind    string    `json:"kind"`
	Place   string    `json:"place"` // its address without what may be secret in it, and the project
	User    string    `json:"user,omitempty"`
	Made    time.Time `json:"made"`
	State   string    `json:"state"`             // told, behind or failing
	Problem string    `json:"problem,omitempty"` // why the last attempt came to nothing
	Since   time.Time `json:"since,omitzero"`    // when it began to
	Open    int       `json:"open"`              // changes with a ticket that have not ended; deployments that wait
	Behind  int       `json:"behind"`            // steps, or answers, that it was not told of yet
	Known   int       `json:"known"`             // accounts that are people here
	Told    uint64    `json:"told"`              // steps, since the process began
}

// A Given is a tool with the secret of its messages, either way: shown once.
type Given struct {
	Tool
	Secret string `json:"secret,omitempty"` // whsec_…; empty: it is as it was
}

// Put makes a tool known, or gives one another address or secret: the verb ticket.put. In
// another place it is another tool: its accounts and tickets are forgotten. The error is of
// kind Invalid for what could never work, and Conflict when the tenant has 16 already.
func (d *Desk) Put(ctx context.Context, who pavise.Principal, p Put) (given Given, err error) {
	entry, err := d.cfg.Guard.Enter(ctx, who, "ticket.put", place{who.Tenant, p.Name}.thing())
	if err != nil {
		return given, err
	}
	defer entry.Exit(&err)
	at := place{who.Tenant, p.Name}
	if len(p.Name) > maxName {
		return given, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the tool's name is %d bytes long, more than %d", len(p.Name), maxName), Hint: "give it a shorter one"}
	}
	d.editing.Lock()
	defer d.editing.Unlock()
	var r row
	moved := false
	before := d.stop(at) // it would write on for what is no more
	err = d.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		r, given.Secret, moved, err = d.put(tx, at, p)
		return err
	})
	if err != nil {
		if before != nil {
			d.restart(before.row)
		}
		return Given{}, err
	}
	entry.Detail(map[string]any{"kind": r.Kind, "place": r.target.where(), "moved": moved})
	d.restart(r)
	given.Tool, err = d.shown(ctx, r)
	return given, err
}

// put writes a tool. secret is that of its messages, if it is new.
func (d *Desk) put(tx *store.Tx, at place, p Put) (r row, secret string, moved bool, err error) {
	now := d.cfg.Now().UTC()
	have, err := d.find(tx, at)
	known := err == nil
	if err != nil && pavise.KindOf(err) != pavise.NotFound {
		return r, "", false, err
	}
	next := row{place: at, made: now, seen: now, target: target{Kind: p.Kind, URL: p.URL, Project: p.Project, User: p.User, Secret: p.Secret}}
	if known {
		if p.Secret == "" && p.Kind == have.Kind {
			next.Secret = have.Secret
		}
		next.Keys = have.Keys
	} else {
		var n int
		if err := tx.QueryRow(`SELECT count(*) FROM ticket_tools WHERE tenant = ?`, at.tenant).Scan(&n); err != nil {
			return r, "", false, err
		}
		if n >= maxTools {
			return r, "", false, &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("tenant %s has %d tools already", at.tenant, n), Hint: "take one away that nobody needs: pavise ticket remove NAME"}
		}
	}
	moved = known && (next.Kind != have.Kind || next.target.where() != have.target.where())
	if err := next.check(d.cfg.Reach); err != nil {
		return r, "", false, err
	}
	if known && moved && p.Secret == "" && have.Secret != "" {
		return r, "", false, &pavise.Error{Kind: pavise.Invalid, Msg: "a secret is for one place alone, and the tool would be in another", Hint: "give the one for there: --secret-file FILE"}
	}
	if len(next.Keys) == 0 || moved {
		next.Keys = []hook.Key{hook.NewKey(hook.HMAC)}
		secret = next.Keys[0].Told()
	}
	if known && !moved {
		next.made, next.seen = have.made, have.seen
	} else {
		next.seen = time.Unix(0, 0).UTC() // all that wait for votes
		if err := forget(tx, at); err != nil {
			return r, "", false, err
		}
	}
	return next, secret, moved, d.write(tx, next)
}

// Remove takes a tool away, with its accounts: the verb ticket.remove. Tickets stay where
// they are. The error is of kind NotFound if there is none.
func (d *Desk) Remove(ctx context.Context, who pavise.Principal, name string) (err error) {
	entry, err := d.cfg.Guard.Enter(ctx, who, "ticket.remove", place{who.Tenant, name}.thing())
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	at := place{who.Tenant, name}
	d.editing.Lock()
	defer d.editing.Unlock()
	before := d.stop(at)
	err = d.cfg.Store.Erase(ctx, func(tx *store.Tx) error {
		if _, err := d.find(tx, at); err != nil {
			return err
		}
		if err := forget(tx, at); err != nil {
			return err
		}
		_, err := tx.Exec(`DELETE FROM ticket_tools WHERE tenant = ? AND name = ?`, at.tenant, at.name)
		return err
	})
	if err != nil && before != nil {
		d.restart(before.row)
	}
	return err
}

// List returns the tenant's tools, by name: the verb ticket.list.
func (d *Desk) List(ctx context.Context, who pavise.Principal) (all []Tool, err error) {
	entry, err := d.cfg.Guard.Enter(ctx, who, "ticket.list", place{who.Tenant, "all"}.thing())
	if err != nil {
		return nil, err
	}
	defer entry.Exit(&err)
	rows, err := d.rows(ctx, `WHERE tenant = ?`, who.Tenant)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		t, err := d.shown(ctx, r)
		if err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	return all, nil
}

// maxShown bounds the tickets that one answer shows.
const maxShown = 500

// A Ticket is one that a tool has of a change.
type Ticket struct {
	Change pavise.Name `json:"change"`
	Name   string      `json:"name,omitempty"` // as people call it there; empty: it has none yet
	URL    string      `json:"url,omitempty"`
	Ended  bool        `json:"ended"`
	Words  []Heard     `json:"words,omitempty"`
}

// A Heard is a word on a ticket, and what came of it.
type Heard struct {
	Word   string `json:"word"`
	CameTo string `json:"came_to"` // counted, or why it does not
}

// Shown is all that is known of a tool.
type Shown struct {
	Tool
	Accounts []Mapping `json:"accounts"`
	Tickets  []Ticket  `json:"tickets"` // those of changes that wait, and then others
	// Deployments are those that wait there, or waited in the last three months: the newest first.
	Deployments []Waiting `json:"deployments,omitempty"`
}

// Show returns a tool with its accounts and tickets: the verb ticket.show. The error is of
// kind NotFound if there is none.
func (d *Desk) Show(ctx context.Context, who pavise.Principal, name string) (s Shown, err error) {
	entry, err := d.cfg.Guard.Enter(ctx, who, "ticket.show", place{who.Tenant, name}.thing())
	if err != nil {
		return s, err
	}
	defer entry.Exit(&err)
	at := place{who.Tenant, name}
	var r row
	s.Accounts, s.Tickets = []Mapping{}, []Ticket{}
	err = d.cfg.Store.View(ctx, func(tx *store.Tx) error {
		if r, err = d.find(tx, at); err != nil {
			return err
		}
		mapped, err := mappings(tx, at)
		s.Accounts = append(s.Accounts, mapped...)
		if err != nil {
			return err
		}
		if s.Tickets, err = shownTickets(tx, at); err == nil {
			s.Deployments, err = deploymentsOf(tx, at, `ORDER BY made DESC, id LIMIT ?`, maxShown)
		}
		return err
	})
	if err != nil {
		return s, err
	}
	s.Tool, err = d.shown(ctx, r)
	return s, err
}

// shownTickets returns a tool's tickets, with what was said on them.
func shownTickets(tx *store.Tx, at place) (all []Ticket, err error) {
	rows, err := tx.Query(`SELECT change, ticket, ended FROM ticket_tickets WHERE tenant = ? AND tool = ? ORDER BY ended, change LIMIT ?`, at.tenant, at.name, maxShown)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all = []Ticket{}
	index := map[string]int{}
	for rows.Next() {
		t, text, kept := Ticket{Change: pavise.Name{Tenant: at.tenant, Kind: "change"}}, "", ticket{}
		if err := rows.Scan(&t.Change.ID, &text, &t.Ended); err != nil {
			return nil, err
		}
		if text != "" {
			if err := json.Unmarshal([]byte(text), &kept); err != nil {
				return nil, fmt.Errorf("read a ticket of %s: %w", t.Change, err)
			}
		}
		t.Name, t.URL = kept.Name, kept.URL
		index[t.Change.ID] = len(all)
		all = append(all, t)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	said, err := tx.Query(`SELECT change, word, came_to FROM ticket_words WHERE tenant = ? AND tool = ? ORDER BY change, word LIMIT ?`, at.tenant, at.name, 10*maxShown)
	if err != nil {
		return nil, err
	}
	defer said.Close()
	for said.Next() {
		var id string
		var h Heard
		if err := said.Scan(&id, &h.Word, &h.CameTo); err != nil {
			return nil, err
		}
		if i, ok := index[id]; ok {
			all[i].Words = append(all[i].Words, h)
		}
	}
	return all, said.Err()
}

// A Tried is how a question to a tool fared.
type Tried struct {
	Works bool          `json:"works"`
	Why   string        `json:"why,omitempty"` // why it does not
	Took  time.Duration `json:"took_ns"`
}

// Test asks a tool whether it would take what it is told: the verb ticket.test. One that is
// sent messages gets one that says it is a test.
func (d *Desk) Test(ctx context.Context, who pavise.Principal, name string) (tried Tried, err error) {
	entry, err := d.cfg.Guard.Enter(ctx, who, "ticket.test", place{who.Tenant, name}.thing())
	if err != nil {
		return tried, err
	}
	defer entry.Exit(&err)
	at := place{who.Tenant, name}
	var r row
	err = d.cfg.Store.View(ctx, func(tx *store.Tx) error {
		r, err = d.find(tx, at)
		return err
	})
	if err != nil {
		return tried, err
	}
	began := d.cfg.Now()
	t, err := r.target.dial(d.cfg.Reach, d.cfg.Roots, d.marks(at), d.cfg.Now)
	if err == nil {
		err = t.Probe(ctx)
	}
	tried = Tried{Works: err == nil, Took: d.cfg.Now().Sub(began)}
	if err != nil {
		tried.Why = err.Error()
		if e, ok := errors.AsType[*pavise.Error](err); ok {
			tried.Why = e.Msg
		}
	}
	return tried, nil
}

// shown is a tool as people may see it.
func (d *Desk) shown(ctx context.Context, r row) (t Tool, err error) {
	t = Tool{Name: r.name, Kind: r.Kind, Place: r.target.where(), User: r.User, Made: r.made, State: "told"}
	open, behind := `FROM ticket_tickets WHERE tenant = ? AND tool = ? AND ended = 0`, `FROM ticket_steps WHERE tenant = ? AND tool = ? AND told = 0`
	if holds(r.Kind) {
		const of = `FROM ticket_deployments WHERE tenant = ? AND tool = ? AND state IN `
		open, behind = of+`('waits', 'proposed')`, of+`('approved', 'rejected')`
	}
	err = d.cfg.Store.View(ctx, func(tx *store.Tx) error {
		for query, to := range map[string]*int{open: &t.Open, behind: &t.Behind, `FROM ticket_accounts WHERE tenant = ? AND tool = ?`: &t.Known} {
			if err := tx.QueryRow(`SELECT count(*) `+query, r.tenant, r.name).Scan(to); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return t, err
	}
	d.mu.Lock()
	s := d.stateOf(r.place)
	d.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	t.Told = s.told
	switch {
	case s.failed > 0:
		t.State, t.Since, t.Problem = "failing", s.since.UTC(), s.problem
	case t.Behind > 0:
		t.State = "behind"
	}
	return t, nil
}
