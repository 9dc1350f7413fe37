package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/pavise/pavise"
)

// migrationsTable remembers which step of which room has run, and what it said.
const migrationsTable = `CREATE TABLE IF NOT EXISTS store_migrations (
	room   TEXT NOT NULL,
	step   INTEGER NOT NULL, -- index into the room's steps
	digest TEXT NOT NULL,    -- hex SHA-256 of the step's SQL
	PRIMARY KEY (room, step)
) STRICT, WITHOUT ROWID`

// Migrate brings a room's tables up to date: it runs the steps that have not
// run yet, in order, each in its own transaction. A step is SQL, one statement
// or several, without BEGIN or COMMIT. Steps are only ever appended: Migrate
// refuses, with kind Conflict, a database that has run more steps than there
// are, and one where an earlier step ran with another text.
func (db *DB) Migrate(ctx context.Context, room string, steps []string) error {
	ran, err := db.ran(ctx, room)
	if err != nil {
		return err
	}
	if len(ran) > len(steps) {
		return &pavise.Error{
			Kind: pavise.Conflict,
			Msg:  fmt.Sprintf("state database %s is at step %d of room %s, and this build knows %d", db.path, len(ran), room, len(steps)),
			Hint: "a newer pavise wrote it: use that one, or restore a backup from before it ran",
		}
	}
	for i, step := range steps {
		switch {
		case i >= len(ran):
			if err := db.step(ctx, room, i, step); err != nil {
				return err
			}
		case ran[i] != digest(step):
			return &pavise.Error{
				Kind: pavise.Conflict,
				Msg:  fmt.Sprintf("state database %s ran another text of step %d of room %s than this build has", db.path, i+1, room),
				Hint: "use the build that wrote it; if you develop pavise, add a step instead of editing one",
			}
		}
	}
	return nil
}

// ran returns the digests of the steps that a room has run, in order.
func (db *DB) ran(ctx context.Context, room string) (digests []string, err error) {
	err = db.View(ctx, func(tx *Tx) error {
		rows, err := tx.Query("SELECT digest FROM store_migrations WHERE room = ? ORDER BY step", room)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var d string
			if err := rows.Scan(&d); err != nil {
				return err
			}
			digests = append(digests, d)
		}
		return rows.Err()
	})
	return digests, err
}

func (db *DB) step(ctx context.Context, room string, i int, sql string) error {
	err := db.Update(ctx, func(tx *Tx) error {
		if _, err := tx.Exec(sql); err != nil {
			return err
		}
		_, err := tx.Exec("INSERT INTO store_migrations (room, step, digest) VALUES (?, ?, ?)", room, i, digest(sql))
		return err
	})
	if err != nil {
		return fmt.Errorf("migrate room %s, step %d: %w", room, i+1, err)
	}
	return nil
}

func digest(sql string) string {
	sum := sha256.Sum256([]byte(sql))
	return hex.EncodeToString(sum[:])
}
