package change

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// steps are the room's migrations. They are only ever appended to.
var steps = []string{
	`CREATE TABLE change_changes (
		tenant   TEXT NOT NULL,
		id       TEXT NOT NULL,
		state    TEXT NOT NULL,
		proposed INTEGER NOT NULL, -- Unix microseconds
		until    INTEGER NOT NULL, -- Unix microseconds
		change   TEXT NOT NULL,    -- the rest, as JSON, without votes
		request  BLOB NOT NULL,
		PRIMARY KEY (tenant, id)
	 ) STRICT;
	 CREATE INDEX change_by_time ON change_changes (tenant, proposed);
	 CREATE INDEX change_by_state ON change_changes (state);
	 CREATE TABLE change_votes (
		tenant TEXT NOT NULL,
		id     TEXT NOT NULL,
		voter  TEXT NOT NULL, -- the principal's name: nobody counts twice
		vote   TEXT NOT NULL, -- as JSON
		PRIMARY KEY (tenant, id, voter)
	 ) STRICT;
	 CREATE TABLE change_ran (tenant TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (tenant, id)) STRICT;
	 CREATE TABLE change_rules (tenant TEXT NOT NULL, verb TEXT NOT NULL, rule TEXT NOT NULL, PRIMARY KEY (tenant, verb)) STRICT`,
}

// insert writes a new change.
func insert(tx *store.Tx, ch *Change) error {
	text, err := json.Marshal(ch)
	if err != nil {
		return fmt.Errorf("encode change %s: %w", ch.Name, err)
	}
	_, err = tx.Exec(`INSERT INTO change_changes (tenant, id, state, proposed, until, change, request) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		ch.Name.Tenant, ch.Name.ID, string(ch.State), ch.Proposed.UnixMicro(), ch.Until.UnixMicro(), string(text), []byte(ch.request))
	return err
}

// update writes how far a change has come. It fails with kind Conflict when the
// change was no longer in the state it came from.
func update(tx *store.Tx, ch *Change, from State) error {
	text, err := json.Marshal(ch)
	if err != nil {
		return fmt.Errorf("encode change %s: %w", ch.Name, err)
	}
	result, err := tx.Exec(`UPDATE change_changes SET state = ?, change = ? WHERE tenant = ? AND id = ? AND state = ?`,
		string(ch.State), string(text), ch.Name.Tenant, ch.Name.ID, string(from))
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n != 1 {
		return errors.Join(&pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("change %s is no longer %s", ch.Name.ID, from), Hint: "look at it: pavise change show " + ch.Name.ID}, err)
	}
	return nil
}

// save writes how far a change has come; when that fails, it is where it came from.
func (c *Changes) save(ctx context.Context, ch *Change, from State) error {
	err := c.updateFor(ch.Verb)(ctx, func(tx *store.Tx) error { return update(tx, ch, from) })
	if err != nil {
		ch.State = from
	}
	return err
}

// updateFor is how changes of a verb write: those in the safe direction also where the
// disk is full.
func (c *Changes) updateFor(verb string) func(context.Context, func(*store.Tx) error) error {
	if c.runners[verb].Safe {
		return c.db.UpdateSafe
	}
	return c.db.Update
}

// mark says that a change was run. A second mark is a Conflict, which undoes the
// transaction that would have run it again.
func mark(name pavise.Name) func(*store.Tx) error {
	return func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO change_ran (tenant, id) VALUES (?, ?)`, name.Tenant, name.ID)
		return err
	}
}

// WasRun reports whether a change was run, as a transaction of its store sees it.
//
// Unguarded: the house asks, for what follows the log in the same transaction.
func (c *Changes) WasRun(tx *store.Tx, name pavise.Name) (bool, error) { return wasMarked(tx, name) }

// wasMarked reports whether it was run.
func wasMarked(tx *store.Tx, name pavise.Name) (bool, error) {
	var n int
	err := tx.QueryRow(`SELECT count(*) FROM change_ran WHERE tenant = ? AND id = ?`, name.Tenant, name.ID).Scan(&n)
	return n > 0, err
}

// find returns one change with its votes, and with its request, which may be long,
// only if it is to be whole. The error is of kind NotFound if there is none.
func find(tx *store.Tx, name pavise.Name, whole bool) (*Change, error) {
	var text string
	ch := &Change{}
	err := tx.QueryRow(`SELECT change, CASE WHEN ? THEN request ELSE x'' END FROM change_changes WHERE tenant = ? AND id = ?`, whole, name.Tenant, name.ID).Scan(&text, &ch.request)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("there is no change %.80s", name.ID), Hint: "pavise change list shows those there are"}
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(text), ch); err != nil {
		return nil, fmt.Errorf("read change %s: %w", name, err)
	}
	ch.Votes, err = votes(tx, name)
	return ch, err
}

// votes returns the votes on a change, oldest first.
func votes(tx *store.Tx, name pavise.Name) ([]Vote, error) {
	rows, err := tx.Query(`SELECT vote FROM change_votes WHERE tenant = ? AND id = ?`, name.Tenant, name.ID)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := []Vote{}
	for rows.Next() {
		var text string
		var v Vote
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			return nil, fmt.Errorf("read a vote on %s: %w", name, err)
		}
		all = append(all, v)
	}
	slices.SortFunc(all, func(a, b Vote) int { return a.At.Compare(b.At) })
	return all, rows.Err()
}

// putVote writes a vote, in the place of an earlier one of the same person.
func putVote(tx *store.Tx, name pavise.Name, v Vote) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode a vote on %s: %w", name, err)
	}
	_, err = tx.Exec(`INSERT INTO change_votes (tenant, id, voter, vote) VALUES (?, ?, ?, ?) ON CONFLICT (tenant, id, voter) DO UPDATE SET vote = excluded.vote`,
		name.Tenant, name.ID, v.By.String(), string(text))
	return err
}

// maxListed bounds a list.
const maxListed = 500

// List returns a tenant's changes, newest first, or only those that wait for votes:
// the verb change.list.
func (c *Changes) List(ctx context.Context, who pavise.Principal, tenant string, waiting bool) (all []*Change, err error) {
	entry, err := c.guard.Enter(ctx, who, "change.list", pavise.Name{Tenant: tenant, Kind: "change", ID: "all"})
	if err != nil {
		return nil, err
	}
	defer entry.Exit(&err)
	condition := `tenant = ? ORDER BY proposed DESC LIMIT ?`
	if waiting {
		condition = `state IN ('open', 'ran') AND ` + condition
	}
	return c.listed(ctx, condition, tenant, maxListed)
}

// Show returns one change: the verb change.show.
func (c *Changes) Show(ctx context.Context, who pavise.Principal, name pavise.Name) (ch *Change, err error) {
	entry, err := c.guard.Enter(ctx, who, "change.show", name)
	if err != nil {
		return nil, err
	}
	defer entry.Exit(&err)
	return c.get(ctx, name)
}

func (c *Changes) get(ctx context.Context, name pavise.Name) (ch *Change, err error) {
	err = c.db.View(ctx, func(tx *store.Tx) error {
		ch, err = find(tx, name, true)
		return err
	})
	return ch, err
}

// listed returns the changes that meet a condition, without their requests.
func (c *Changes) listed(ctx context.Context, condition string, args ...any) ([]*Change, error) {
	all := []*Change{}
	err := c.db.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(`SELECT tenant, id FROM change_changes WHERE `+condition, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		var names []pavise.Name
		for rows.Next() {
			name := pavise.Name{Kind: "change"}
			if err := rows.Scan(&name.Tenant, &name.ID); err != nil {
				return err
			}
			names = append(names, name)
		}
		if err := rows.Err(); err != nil {
			return err
		}
		for _, name := range names {
			ch, err := find(tx, name, false)
			if err != nil {
				return err
			}
			all = append(all, ch)
		}
		return nil
	})
	return all, err
}

// end brings a change to a state that leads no further, and says why.
func (ch *Change) end(state State, now time.Time, format string, args ...any) {
	ch.State, ch.Ended, ch.Outcome = state, now.UTC(), fmt.Sprintf(format, args...)
}
