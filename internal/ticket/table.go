package ticket

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// steps are the room's migrations. They are only ever appended to.
var steps = []string{
	`CREATE TABLE ticket_tools (
		tenant   TEXT NOT NULL,
		name     TEXT NOT NULL,
		envelope BLOB NOT NULL,    -- the whole target, wrapped under the tenant's key
		made     INTEGER NOT NULL, -- Unix microseconds: changes that had ended by then are not told
		seen     INTEGER NOT NULL, -- Unix microseconds: those proposed before were looked at
		PRIMARY KEY (tenant, name)
	 ) STRICT, WITHOUT ROWID;
	 CREATE TABLE ticket_tickets (
		tenant TEXT NOT NULL,
		tool   TEXT NOT NULL,
		change TEXT NOT NULL,    -- its id
		ticket TEXT NOT NULL,    -- as JSON; '': the tool has none yet
		ended  INTEGER NOT NULL, -- 1: everything was told
		PRIMARY KEY (tenant, tool, change)
	 ) STRICT, WITHOUT ROWID;
	 CREATE TABLE ticket_steps (
		seq    INTEGER PRIMARY KEY AUTOINCREMENT,
		tenant TEXT NOT NULL,
		tool   TEXT NOT NULL,
		change TEXT NOT NULL,
		step   TEXT NOT NULL,    -- its key: each is told once
		text   TEXT NOT NULL,    -- as JSON
		tries  INTEGER NOT NULL, -- that were begun: written before each
		due    INTEGER NOT NULL, -- Unix microseconds: not tried before
		told   INTEGER NOT NULL, -- 1: the tool took it; 2: it never will
		UNIQUE (tenant, tool, change, step)
	 ) STRICT;
	 CREATE INDEX ticket_steps_due ON ticket_steps (tenant, tool, told, seq);
	 CREATE TABLE ticket_accounts (
		tenant  TEXT NOT NULL,
		tool    TEXT NOT NULL,
		account TEXT NOT NULL, -- the tool's own id
		mapping TEXT NOT NULL, -- as JSON
		PRIMARY KEY (tenant, tool, account)
	 ) STRICT, WITHOUT ROWID;
	 CREATE TABLE ticket_words (
		tenant  TEXT NOT NULL,
		tool    TEXT NOT NULL,
		change  TEXT NOT NULL,
		word    TEXT NOT NULL, -- the tool's own id
		came_to TEXT NOT NULL, -- counted, or why it does not
		PRIMARY KEY (tenant, tool, change, word)
	 ) STRICT, WITHOUT ROWID`,
	`CREATE TABLE ticket_deployments (
		tenant     TEXT NOT NULL,
		tool       TEXT NOT NULL,
		id         TEXT NOT NULL,
		deployment TEXT NOT NULL,    -- as JSON
		state      TEXT NOT NULL,    -- waits, proposed, approved, rejected, answered or gone
		why        TEXT NOT NULL,
		change     TEXT NOT NULL,    -- the id of the one that decides; '': none yet
		tries      INTEGER NOT NULL, -- that were begun in this state: written before each
		due        INTEGER NOT NULL, -- Unix microseconds: not tried before
		made       INTEGER NOT NULL, -- Unix microseconds
		PRIMARY KEY (tenant, tool, id)
	 ) STRICT, WITHOUT ROWID`,
}

// A row is a tool as the store has it.
type row struct {
	place
	target
	made, seen time.Time
}

const columns = `tenant, name, envelope, made, seen`

// scan reads a row of columns.
func (d *Desk) scan(from interface{ Scan(...any) error }) (r row, err error) {
	var envelope []byte
	var made, seen int64
	if err := from.Scan(&r.tenant, &r.name, &envelope, &made, &seen); err != nil {
		return r, err
	}
	plain, err := d.cfg.KEK.Tickets(r.tenant).Open(bound(r.place), envelope)
	if err == nil {
		err = json.Unmarshal(plain, &r.target)
	}
	if err != nil {
		return r, fmt.Errorf("open tool %s: %w", r.name, err)
	}
	r.made, r.seen = time.UnixMicro(made).UTC(), time.UnixMicro(seen).UTC()
	return r, nil
}

// bound is what a tool's envelope is bound to: another's opens in no other place.
func bound(at place) []byte { return []byte(at.tenant + "/" + at.name) }

// rows returns the tools that meet a condition, by tenant and name.
func (d *Desk) rows(ctx context.Context, condition string, args ...any) (all []row, err error) {
	err = d.cfg.Store.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(strings.TrimSpace(`SELECT `+columns+` FROM ticket_tools `+condition)+` ORDER BY tenant, name`, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			r, err := d.scan(rows)
			if err != nil {
				return err
			}
			all = append(all, r)
		}
		return rows.Err()
	})
	return all, err
}

// find returns one tool. The error is of kind NotFound if there is none.
func (d *Desk) find(tx *store.Tx, at place) (row, error) {
	r, err := d.scan(tx.QueryRow(`SELECT `+columns+` FROM ticket_tools WHERE tenant = ? AND name = ?`, at.tenant, at.name))
	if errors.Is(err, sql.ErrNoRows) {
		return r, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("tenant %s has no tool %.80s", at.tenant, at.name), Hint: "pavise ticket list shows those it has"}
	}
	return r, err
}

// write puts a row into the table, with its target sealed.
func (d *Desk) write(tx *store.Tx, r row) error {
	plain, err := json.Marshal(r.target)
	if err != nil {
		return fmt.Errorf("encode a tool: %w", err)
	}
	_, err = tx.Exec(`INSERT INTO ticket_tools (tenant, name, envelope, made, seen) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (tenant, name) DO UPDATE SET envelope = excluded.envelope, made = excluded.made, seen = excluded.seen`,
		r.tenant, r.name, d.cfg.KEK.Tickets(r.tenant).Seal(bound(r.place), plain), r.made.UnixMicro(), r.seen.UnixMicro())
	return err
}

// forget deletes what is known of a tool but itself.
func forget(tx *store.Tx, at place) error {
	for _, table := range []string{"ticket_tickets", "ticket_steps", "ticket_accounts", "ticket_words", "ticket_deployments"} {
		if _, err := tx.Exec(`DELETE FROM `+table+` WHERE tenant = ? AND tool = ?`, at.tenant, at.name); err != nil {
			return err
		}
	}
	return nil
}

// A waiting is a step that is to be told.
type waiting struct {
	seq    int64
	step   step
	tries  int
	ticket ticket // its ID is empty where the tool has none yet
}

// due returns the first step that is to be told by now: of each change the first that was
// not told, and of all those the oldest.
func due(tx *store.Tx, at place, now time.Time) (w waiting, ok bool, err error) {
	var text, known string
	err = tx.QueryRow(`SELECT s.seq, s.text, s.tries, t.ticket FROM ticket_steps s
		JOIN ticket_tickets t ON t.tenant = s.tenant AND t.tool = s.tool AND t.change = s.change
		WHERE s.tenant = ? AND s.tool = ? AND s.told = 0 AND s.due <= ? AND NOT EXISTS (
			SELECT 1 FROM ticket_steps e WHERE e.tenant = s.tenant AND e.tool = s.tool AND e.change = s.change AND e.told = 0 AND e.seq < s.seq)
		ORDER BY s.seq LIMIT 1`, at.tenant, at.name, now.UnixMicro()).Scan(&w.seq, &text, &w.tries, &known)
	if errors.Is(err, sql.ErrNoRows) {
		return w, false, nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(text), &w.step)
	}
	if err == nil && known != "" {
		err = json.Unmarshal([]byte(known), &w.ticket)
	}
	return w, err == nil, err
}

// addStep writes a step that is to be told, unless it is there.
func addStep(tx *store.Tx, at place, s step) error {
	text, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode a step of %s: %w", s.Change, err)
	}
	_, err = tx.Exec(`INSERT INTO ticket_steps (tenant, tool, change, step, text, tries, due, told) VALUES (?, ?, ?, ?, ?, 0, 0, 0)
		ON CONFLICT DO NOTHING`, at.tenant, at.name, s.Change.ID, s.Key, string(text))
	return err
}

// An open is a ticket of a change that has not ended.
type open struct {
	change pavise.Name
	ticket ticket // its ID is empty where the tool has none yet
}

// opened returns the tickets of changes that have not ended.
func opened(tx *store.Tx, at place) (all []open, err error) {
	rows, err := tx.Query(`SELECT change, ticket FROM ticket_tickets WHERE tenant = ? AND tool = ? AND ended = 0 ORDER BY change`, at.tenant, at.name)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		o, text := open{change: pavise.Name{Tenant: at.tenant, Kind: "change"}}, ""
		if err := rows.Scan(&o.change.ID, &text); err != nil {
			return nil, err
		}
		if text != "" {
			if err := json.Unmarshal([]byte(text), &o.ticket); err != nil {
				return nil, fmt.Errorf("read a ticket of %s: %w", o.change, err)
			}
		}
		all = append(all, o)
	}
	return all, rows.Err()
}
