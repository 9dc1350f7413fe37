package depot

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/pavise/pavise/internal/store"
)

// steps are the room's migrations. They are only ever appended to.
var steps = []string{
	`CREATE TABLE depot_contents (
		tenant TEXT NOT NULL,
		digest BLOB NOT NULL,    -- SHA-256
		size   INTEGER NOT NULL, -- bytes
		whole  INTEGER NOT NULL, -- 1: it is there; 0: it is coming, or going
		since  INTEGER NOT NULL, -- when it was put last, in Unix seconds
		PRIMARY KEY (tenant, digest)
	) STRICT, WITHOUT ROWID;
	CREATE TABLE depot_holds (
		tenant TEXT NOT NULL,
		holder TEXT NOT NULL,
		digest BLOB NOT NULL,
		PRIMARY KEY (tenant, holder, digest)
	) STRICT, WITHOUT ROWID;
	CREATE INDEX depot_held ON depot_holds (tenant, digest)`,
}

// sum is how many bytes are kept.
func (d *Depot) sum(ctx context.Context) (sum int64, err error) {
	err = d.cfg.Store.View(ctx, func(tx *store.Tx) error {
		return tx.QueryRow(`SELECT coalesce(sum(size), 0) FROM depot_contents`).Scan(&sum)
	})
	return sum, err
}

// begin says that a content comes.
func (d *Depot) begin(ctx context.Context, c kept) error {
	return d.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO depot_contents (tenant, digest, size, whole, since) VALUES (?, ?, ?, 0, ?)
			ON CONFLICT (tenant, digest) DO UPDATE SET since = excluded.since`, c.tenant, c.digest[:], c.size, d.cfg.Now().Unix())
		return err
	})
}

// listed says that it is there, and whether it was not before.
func (d *Depot) listed(ctx context.Context, c kept) (added bool, err error) {
	err = d.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		var whole int
		err := tx.QueryRow(`SELECT whole FROM depot_contents WHERE tenant = ? AND digest = ?`, c.tenant, c.digest[:]).Scan(&whole)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		added = whole == 0
		_, err = tx.Exec(`INSERT INTO depot_contents (tenant, digest, size, whole, since) VALUES (?, ?, ?, 1, ?)
			ON CONFLICT (tenant, digest) DO UPDATE SET whole = 1, since = excluded.since`, c.tenant, c.digest[:], c.size, d.cfg.Now().Unix())
		return err
	})
	return added && err == nil, err
}

// forget unlists a content that is not there.
func (d *Depot) forget(ctx context.Context, c kept) error {
	return d.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`DELETE FROM depot_contents WHERE tenant = ? AND digest = ? AND whole = 0`, c.tenant, c.digest[:])
		return err
	})
}

// Has returns how many bytes a content of a tenant's has, and whether it is kept.
func (d *Depot) Has(ctx context.Context, tenant string, digest Digest) (size int64, has bool, err error) {
	err = d.cfg.Store.View(ctx, func(tx *store.Tx) error {
		return tx.QueryRow(`SELECT size FROM depot_contents WHERE tenant = ? AND digest = ? AND whole = 1`, tenant, digest[:]).Scan(&size)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	return size, err == nil, err
}

// Hold keeps contents of a tenant's until the holder releases them. The error is of kind
// NotFound when one of them is not there, and nothing is held then.
func (d *Depot) Hold(ctx context.Context, tenant, holder string, digests ...Digest) error {
	return d.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		for _, digest := range digests {
			var one int
			err := tx.QueryRow(`SELECT 1 FROM depot_contents WHERE tenant = ? AND digest = ? AND whole = 1`, tenant, digest[:]).Scan(&one)
			if errors.Is(err, sql.ErrNoRows) {
				return noContent(digest, err)
			}
			if err == nil {
				_, err = tx.Exec(`INSERT INTO depot_holds (tenant, holder, digest) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`, tenant, holder, digest[:])
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Release ends all that a holder holds of a tenant's.
func (d *Depot) Release(ctx context.Context, tenant, holder string) error {
	return d.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`DELETE FROM depot_holds WHERE tenant = ? AND holder = ?`, tenant, holder)
		return err
	})
}

// What Run does, and when.
const (
	sweepEvery = time.Hour
	unheld     = 24 * time.Hour // so long is kept what nobody holds
)

// Run takes away what nobody holds, until ctx is done. Its caller owns the goroutine.
func (d *Depot) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if _, err := d.Sweep(ctx); err != nil && ctx.Err() == nil { // it stays a while longer
			d.cfg.Say("warning", fmt.Errorf("take away files of models that nobody holds: %w", err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Sweep takes away what was put more than a day ago and nobody holds, and returns how many
// contents that were.
func (d *Depot) Sweep(ctx context.Context) (gone int, err error) {
	for {
		some, more, err := d.sweepSome(ctx)
		if gone += some; err != nil || !more || some == 0 {
			return gone, err
		}
	}
}

// sweepSome takes away some of them, and says whether there may be more.
func (d *Depot) sweepSome(ctx context.Context) (gone int, more bool, err error) {
	old, err := d.some(ctx, `SELECT tenant, digest, size FROM depot_contents AS c WHERE since < ? AND NOT EXISTS
		(SELECT 1 FROM depot_holds AS h WHERE h.tenant = c.tenant AND h.digest = c.digest)`, d.cfg.Now().Add(-unheld).Unix())
	for _, c := range old {
		done, dropErr := d.sweep(ctx, c)
		if err = errors.Join(err, dropErr); done {
			gone++
		}
	}
	return gone, len(old) == d.atOnce, err
}

// sweep takes away one of them, unless somebody puts or holds it meanwhile.
func (d *Depot) sweep(ctx context.Context, c kept) (done bool, err error) {
	lock := d.lock(c)
	if !lock.TryLock() {
		return false, nil // the next time
	}
	defer lock.Unlock()
	err = d.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		changed, err := tx.Exec(`UPDATE depot_contents AS c SET whole = 0 WHERE tenant = ? AND digest = ? AND since < ? AND NOT EXISTS
			(SELECT 1 FROM depot_holds AS h WHERE h.tenant = c.tenant AND h.digest = c.digest)`, c.tenant, c.digest[:], d.cfg.Now().Add(-unheld).Unix())
		if err != nil {
			return err
		}
		n, err := changed.RowsAffected()
		done = n > 0
		return err
	})
	if err != nil || !done {
		return false, err
	}
	return true, d.drop(ctx, c)
}

// halves are the contents that are not whole.
func (d *Depot) halves(ctx context.Context) ([]kept, error) {
	return d.some(ctx, `SELECT tenant, digest, size FROM depot_contents WHERE whole = 0`)
}

// drop takes away a content that is going.
func (d *Depot) drop(ctx context.Context, c kept) error {
	if err := d.cfg.Bucket.Remove(ctx, c.object()); err != nil {
		return err
	}
	if err := d.forget(ctx, c); err != nil {
		return err
	}
	d.take(-c.size)
	return nil
}

// some returns contents that a query finds, as many as are read at once.
func (d *Depot) some(ctx context.Context, query string, args ...any) (all []kept, err error) {
	err = d.cfg.Store.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(query+` LIMIT ?`, append(args, d.atOnce)...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var c kept
			var digest []byte
			if err := rows.Scan(&c.tenant, &digest, &c.size); err != nil {
				return err
			}
			c.digest = Digest(digest)
			all = append(all, c)
		}
		return rows.Err()
	})
	return all, err
}
