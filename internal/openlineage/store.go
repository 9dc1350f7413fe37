package openlineage

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/lineage"
	"github.com/pavise/pavise/internal/store"
)

// steps are the room's migrations. They are only ever appended to.
var steps = []string{
	`CREATE TABLE openlineage_events (
		number   INTEGER PRIMARY KEY AUTOINCREMENT, -- never given out again, so that readers know how far they are
		tenant   TEXT NOT NULL,
		teller   TEXT NOT NULL,    -- who said it, as tenant/kind/id
		digest   BLOB NOT NULL,    -- SHA-256 of text
		received INTEGER NOT NULL, -- Unix microseconds
		record   INTEGER NOT NULL, -- index of the record by which it was let in
		uses     INTEGER NOT NULL, -- datasets that it names
		text     BLOB NOT NULL,    -- the event, without white space between its words
		UNIQUE (tenant, teller, digest)
	) STRICT;
	CREATE INDEX openlineage_ages ON openlineage_events (received);
	CREATE TABLE openlineage_tellers (
		tenant  TEXT NOT NULL,
		teller  TEXT NOT NULL,
		events  INTEGER NOT NULL, -- of the teller that are kept
		bytes   INTEGER NOT NULL,
		uses    INTEGER NOT NULL,
		retired INTEGER NOT NULL, -- that ended by age
		turned  INTEGER NOT NULL, -- that were turned away, for there was no room
		PRIMARY KEY (tenant, teller)
	) STRICT, WITHOUT ROWID`,
}

// An event is one that is told, before it is kept.
type event struct {
	lineage.Event
	text   []byte
	digest [sha256.Size]byte
	index  int  // in what was sent
	known  bool // the teller has told it before
	turned bool // there is no room for it
}

func (e *event) uses() int64 { return int64(len(e.Inputs) + len(e.Outputs)) }

// know marks the events that the teller has told before, and those that are told twice.
func (c *Claims) know(ctx context.Context, who pavise.Name, events []event) error {
	return c.cfg.Store.View(ctx, func(tx *store.Tx) error {
		seen := map[[sha256.Size]byte]bool{}
		for i := range events {
			e := &events[i]
			var one int
			err := tx.QueryRow(`SELECT 1 FROM openlineage_events WHERE tenant = ? AND teller = ? AND digest = ?`, who.Tenant, who.String(), e.digest[:]).Scan(&one)
			if err != nil && !errors.Is(err, sql.ErrNoRows) {
				return err
			}
			e.known = err == nil || seen[e.digest]
			seen[e.digest] = true
		}
		return nil
	})
}

// A room is how much is kept.
type room struct{ events, bytes, uses int64 }

func (r *room) add(e *event) {
	r.events, r.bytes, r.uses = r.events+1, r.bytes+int64(len(e.text)), r.uses+e.uses()
}

// has reports whether there is room for an event in one part of the bounds in so many.
func (r room) has(e *event, b Bounds, parts int64) bool {
	r.add(e)
	return r.events <= b.Events/parts && r.bytes <= b.Bytes/parts && r.uses <= b.Uses/parts
}

// keep keeps the events that are new, as far as there is room, all or none of them.
func (c *Claims) keep(ctx context.Context, who pavise.Name, record uint64, events []event) error {
	received := c.cfg.Now().UnixMicro()
	return c.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		var all, own room
		var turned int64
		sums := `SELECT coalesce(sum(events), 0), coalesce(sum(bytes), 0), coalesce(sum(uses), 0) FROM openlineage_tellers WHERE tenant = ?`
		if err := tx.QueryRow(sums, who.Tenant).Scan(&all.events, &all.bytes, &all.uses); err != nil {
			return err
		}
		if err := tx.QueryRow(sums+` AND teller = ?`, who.Tenant, who.String()).Scan(&own.events, &own.bytes, &own.uses); err != nil {
			return err
		}
		for i := range events {
			e := &events[i]
			if e.known {
				continue
			}
			if e.turned = !all.has(e, c.cfg.Bounds, 1) || !own.has(e, c.cfg.Bounds, half); e.turned {
				turned++
				continue
			}
			done, err := tx.Exec(`INSERT INTO openlineage_events (tenant, teller, digest, received, record, uses, text) VALUES (?, ?, ?, ?, ?, ?, ?)
				ON CONFLICT DO NOTHING`, who.Tenant, who.String(), e.digest[:], received, int64(record), e.uses(), e.text)
			if err != nil {
				return err
			}
			if n, err := done.RowsAffected(); err != nil || n == 0 { // told by the same teller at the same time
				e.known = true
				continue
			}
			all.add(e)
			own.add(e)
		}
		_, err := tx.Exec(`INSERT INTO openlineage_tellers (tenant, teller, events, bytes, uses, retired, turned) VALUES (?, ?, ?, ?, ?, 0, ?)
			ON CONFLICT (tenant, teller) DO UPDATE SET events = excluded.events, bytes = excluded.bytes, uses = excluded.uses, turned = turned + excluded.turned`,
			who.Tenant, who.String(), own.events, own.bytes, own.uses, turned)
		return err
	})
}

// atOnce is how many events one transaction reads or takes away, so that nobody waits long.
const atOnce = 1000

// retire takes away the events that are too old, and returns whose they were.
func (c *Claims) retire(ctx context.Context) (tenants []string, err error) {
	before := c.cfg.Now().Add(-c.cfg.Bounds.Age).UnixMicro()
	seen := map[string]bool{}
	for {
		gone, err := c.retireSome(ctx, before)
		if err != nil {
			return nil, err
		}
		for _, tenant := range gone {
			if !seen[tenant] {
				seen[tenant] = true
				tenants = append(tenants, tenant)
			}
		}
		if len(gone) < atOnce {
			return tenants, nil
		}
	}
}

// retireSome takes away at most atOnce of them, and returns the tenant of each.
func (c *Claims) retireSome(ctx context.Context, before int64) (gone []string, err error) {
	err = c.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(`SELECT number, tenant, teller, length(text), uses FROM openlineage_events WHERE received < ? ORDER BY received LIMIT ?`, before, atOnce)
		if err != nil {
			return err
		}
		type of struct{ tenant, teller string }
		counts, numbers := map[of]room{}, []int64{}
		for rows.Next() {
			var number, size, uses int64
			var at of
			if err := rows.Scan(&number, &at.tenant, &at.teller, &size, &uses); err != nil {
				return errors.Join(err, rows.Close())
			}
			r := counts[at]
			counts[at] = room{r.events + 1, r.bytes + size, r.uses + uses}
			numbers, gone = append(numbers, number), append(gone, at.tenant)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return err
		}
		for _, number := range numbers {
			if _, err := tx.Exec(`DELETE FROM openlineage_events WHERE number = ?`, number); err != nil {
				return err
			}
		}
		for at, r := range counts {
			_, err := tx.Exec(`UPDATE openlineage_tellers SET events = events - ?, bytes = bytes - ?, uses = uses - ?, retired = retired + ? WHERE tenant = ? AND teller = ?`,
				r.events, r.bytes, r.uses, r.events, at.tenant, at.teller)
			if err != nil {
				return err
			}
		}
		return nil
	})
	return gone, err
}

// read adds to a corpus what has come since. It reads a part at a time, so that whoever
// erases something need not wait for it.
func (c *Claims) read(ctx context.Context, tenant string, to *corpus) error {
	for {
		n, err := c.readSome(ctx, tenant, to)
		if err != nil || n < atOnce {
			return err
		}
	}
}

// readSome adds at most atOnce events, and returns how many it read.
func (c *Claims) readSome(ctx context.Context, tenant string, to *corpus) (n int, err error) {
	err = c.cfg.Store.View(ctx, func(tx *store.Tx) error {
		err := tx.QueryRow(`SELECT coalesce(sum(retired), 0), coalesce(sum(turned), 0) FROM openlineage_tellers WHERE tenant = ?`, tenant).Scan(&to.retired, &to.turned)
		if err != nil {
			return err
		}
		rows, err := tx.Query(`SELECT number, teller, digest, received, text FROM openlineage_events WHERE tenant = ? AND number >= ? ORDER BY number LIMIT ?`, tenant, to.next, atOnce)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var number, received int64
			var teller string
			var digest, text []byte
			if err := rows.Scan(&number, &teller, &digest, &received, &text); err != nil {
				return err
			}
			if err := to.add(teller, digest, time.UnixMicro(received).UTC(), text); err != nil {
				to.reading.Refuse("event", int(number), err)
			}
			to.next = number + 1
			n++
		}
		return rows.Err()
	})
	return n, err
}

// tenants are those who were told something.
func (c *Claims) tenants(ctx context.Context) (all []string, err error) {
	err = c.cfg.Store.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(`SELECT DISTINCT tenant FROM openlineage_tellers`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var tenant string
			if err := rows.Scan(&tenant); err != nil {
				return err
			}
			all = append(all, tenant)
		}
		return rows.Err()
	})
	return all, err
}

// add adds one event as it was kept, unless somebody has changed it in the store meanwhile.
func (to *corpus) add(teller string, digest []byte, received time.Time, text []byte) error {
	by, err := pavise.ParseName(teller)
	if err != nil {
		return err
	}
	if sum := sha256.Sum256(text); string(sum[:]) != string(digest) {
		return errors.New("it is not the event that was told: the state database was changed")
	}
	e, err := lineage.ParseEvent(text)
	if err != nil {
		return err
	}
	to.graph.Add(e, by, received)
	if to.reading.Events++; to.since.IsZero() || received.Before(to.since) {
		to.since = received
	}
	return nil
}
