package receiver

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
)

// steps are the room's migrations. They are only ever appended to.
var steps = []string{
	`CREATE TABLE receiver_orders (
		tenant   TEXT NOT NULL,
		name     TEXT NOT NULL, -- of the source
		origin   TEXT NOT NULL, -- where from
		epoch    TEXT NOT NULL, -- begins the ids of its batches, where they count
		every    INTEGER NOT NULL, -- milliseconds between passes
		silence  INTEGER NOT NULL, -- milliseconds without anything that are a finding; 0: never
		retake   INTEGER NOT NULL, -- 1: what an object was replaced with is taken, too
		orderer  TEXT NOT NULL,
		made     INTEGER NOT NULL, -- Unix milliseconds, as all times here
		stopped  INTEGER NOT NULL, -- 0: it runs
		position BLOB NOT NULL, -- the carrier's own
		pending  BLOB, -- a batch that is under way, of a carrier whose batches cannot be had again
		came     INTEGER NOT NULL, -- when something came last; 0: never
		quiet    INTEGER NOT NULL, -- when it was told that nothing comes; 0: it was not
		admitted INTEGER NOT NULL,
		held     INTEGER NOT NULL,
		passed   INTEGER NOT NULL, -- batches that the gate could not take at all
		records  INTEGER NOT NULL,
		PRIMARY KEY (tenant, name)
	) STRICT, WITHOUT ROWID;
	CREATE TABLE receiver_objects (
		tenant   TEXT NOT NULL,
		source   TEXT NOT NULL,
		name     TEXT NOT NULL, -- of an object, or of an indicator
		version  TEXT NOT NULL, -- of an object: what its store calls it, a hint; of an indicator: when it was modified
		size     INTEGER NOT NULL,
		etag     TEXT NOT NULL, -- a hint, never more
		modified INTEGER NOT NULL, -- as the store says
		state    TEXT NOT NULL, -- seen, taking, taken, replaced, refused, gone
		sha256   TEXT NOT NULL, -- of what was read; empty: nothing was
		done     INTEGER NOT NULL, -- bytes of it that the gate has
		checked  INTEGER NOT NULL, -- when it was read last
		PRIMARY KEY (tenant, source, name)
	) STRICT, WITHOUT ROWID`,
	// The state of one that is gone, before it was. A comment in the text would end up in the schema.
	`ALTER TABLE receiver_objects ADD COLUMN was TEXT NOT NULL DEFAULT ''`,
}

// A place is a source's tenant and id.
type place struct{ tenant, name string }

// source is the source's name.
func (p place) source() pavise.Name {
	return pavise.Name{Tenant: p.tenant, Kind: KindSource, ID: p.name}
}

// A row is an order as the store has it.
type row struct {
	place
	from            string
	epoch           string
	every, silence  time.Duration
	retake          bool
	orderer         string
	made            time.Time
	stopped         bool
	position        []byte
	pending         []byte
	came, quiet     time.Time
	admitted, held  int64
	passed, records int64
}

const columns = `tenant, name, origin, epoch, every, silence, retake, orderer, made, stopped, position, pending, came, quiet, admitted, held, passed, records`

// scan reads a row of columns.
func scan(from interface{ Scan(...any) error }) (r row, err error) {
	var every, silence, made, came, quiet int64
	err = from.Scan(&r.tenant, &r.name, &r.from, &r.epoch, &every, &silence, &r.retake, &r.orderer, &made, &r.stopped, &r.position, &r.pending, &came, &quiet, &r.admitted, &r.held, &r.passed, &r.records)
	r.every, r.silence = time.Duration(every)*time.Millisecond, time.Duration(silence)*time.Millisecond
	r.made, r.came, r.quiet = moment(made), moment(came), moment(quiet)
	return r, err
}

// moment and millis are times as the tables have them: 0 is none.
func moment(ms int64) (t time.Time) {
	if ms != 0 {
		t = time.UnixMilli(ms).UTC()
	}
	return t
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// write puts a row into the table.
func write(tx *store.Tx, r row) error {
	_, err := tx.Exec(`INSERT INTO receiver_orders (`+columns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (tenant, name) DO UPDATE SET origin = excluded.origin, epoch = excluded.epoch, every = excluded.every, silence = excluded.silence,
		retake = excluded.retake, orderer = excluded.orderer, made = excluded.made, stopped = excluded.stopped, position = excluded.position, pending = excluded.pending,
		came = excluded.came, quiet = excluded.quiet, admitted = excluded.admitted, held = excluded.held, passed = excluded.passed, records = excluded.records`,
		r.tenant, r.name, r.from, r.epoch, r.every.Milliseconds(), r.silence.Milliseconds(), r.retake, r.orderer, millis(r.made), r.stopped, r.position, r.pending,
		millis(r.came), millis(r.quiet), r.admitted, r.held, r.passed, r.records)
	return err
}

// find returns the order of a source. The error is of kind NotFound if there is none.
func find(tx *store.Tx, at place) (row, error) {
	r, err := scan(tx.QueryRow(`SELECT `+columns+` FROM receiver_orders WHERE tenant = ? AND name = ?`, at.tenant, at.name))
	if errors.Is(err, sql.ErrNoRows) {
		return r, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("nothing is fetched for %s", at.source()), Hint: "pavise ingest receivers shows for which sources something is"}
	}
	return r, err
}

// rows returns the orders of a tenant, or of all, by tenant and name.
func (r *Receivers) rows(ctx context.Context, tenant string) (all []row, err error) {
	err = r.cfg.Store.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(`SELECT `+columns+` FROM receiver_orders WHERE ? IN ('', tenant) ORDER BY tenant, name`, tenant)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			one, err := scan(rows)
			if err != nil {
				return err
			}
			all = append(all, one)
		}
		return rows.Err()
	})
	return all, err
}
