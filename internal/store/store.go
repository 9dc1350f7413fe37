// Package store is the SQL underneath what changes at run time: one SQLite
// database in one file, explicit transactions, and each room's migrations. It
// owns that file and its lock, and knows nothing of what the rooms keep in it.
//
// Each room has its own tables, whose names begin with the room's name and an
// underscore. A room reads and writes only its own: what it wants of another
// room's it asks that room for, or reads from the ledger.
//
// # Reading and writing
//
// There is one connection that writes and a few that read. Writers wait for
// each other in [DB.Update] and so never meet SQLITE_BUSY; readers see the last
// committed state in [DB.View] and wait for nobody (write-ahead log).
//
// # When a write is safe
//
// Update returns after the commit has been synced to disk (synchronous=FULL): a
// committed transaction survives power loss, and one that did not commit leaves
// no trace.
//
// # One process
//
// SQLite would let several processes share the file, but a process that caches
// what it read must be alone. Open therefore holds a lock for as long as the
// database is open: an exclusive SQLite transaction on an empty file beside it,
// path-lock. The operating system releases it when the process dies, so there
// is never a stale lock to remove.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"sync"

	"github.com/pavise/pavise"
	"modernc.org/sqlite"
)

const (
	readers     = 4    // connections that read
	busyTimeout = 5000 // milliseconds; only another program looking at the file can make us wait
)

// A DB is an open database. It is safe for concurrent use.
type DB struct {
	path  string
	lock  *lock
	write *sql.DB // one connection, so that writers queue in Go
	read  *sql.DB

	mu      sync.Mutex
	closed  bool           // guarded by mu; set when Close begins
	running sync.WaitGroup // transactions; grows only under mu while not closed
}

// Open opens the database in the file at path and makes it, mode 0600, when
// there is none. The error is of kind Conflict when another process has it
// open, Unavailable when the file cannot be reached or written, and Internal
// when it is damaged. The caller closes the DB.
func Open(ctx context.Context, path string) (*DB, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("find the state database: %w", err)
	}
	db := &DB{path: abs}
	if err := db.open(ctx); err != nil {
		err = db.explain(err)
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func (db *DB) open(ctx context.Context) (err error) {
	if db.lock, err = takeLock(db.path + "-lock"); err != nil {
		return err
	}
	if err := private(db.path); err != nil {
		return err
	}
	if db.write, err = pool(db.path, url.Values{
		"_txlock":       {"immediate"},
		"_journal_mode": {"WAL"},
		"_pragma":       {"synchronous(FULL)", "secure_delete(1)"}, // what is deleted is overwritten
	}); err != nil {
		return err
	}
	db.write.SetMaxOpenConns(1)
	var mode string
	if err := db.write.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&mode); err != nil {
		return err
	}
	if mode != "wal" {
		return &pavise.Error{
			Kind: pavise.Unavailable,
			Msg:  fmt.Sprintf("state database %s cannot keep a write-ahead log there", db.path),
			Hint: "put it on a local disk: network file systems lack the shared memory it needs",
		}
	}
	if _, err := db.write.ExecContext(ctx, migrationsTable); err != nil {
		return err
	}
	if db.read, err = pool(db.path, url.Values{"_query_only": {"1"}}); err != nil {
		return err
	}
	db.read.SetMaxOpenConns(readers)
	db.read.SetMaxIdleConns(readers)
	db.keepReserve()
	return db.read.PingContext(ctx)
}

// Close refuses new transactions, waits for the running ones, and closes the
// database. It must not be called inside one.
func (db *DB) Close() error {
	db.mu.Lock()
	db.closed = true
	db.mu.Unlock()
	db.running.Wait()
	var errs []error
	for _, p := range []*sql.DB{db.read, db.write} {
		if p != nil {
			errs = append(errs, p.Close())
		}
	}
	if db.lock != nil {
		errs = append(errs, db.lock.Close()) // last: until here nobody else may come in
	}
	return errors.Join(errs...)
}

// enter counts a transaction in, unless the database is closing.
func (db *DB) enter() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed {
		return &pavise.Error{
			Kind: pavise.Unavailable,
			Msg:  fmt.Sprintf("state database %s is closed", db.path),
			Hint: "pavise is stopping; try again when it runs",
		}
	}
	db.running.Add(1)
	return nil
}

// pool opens the file with the options every connection has, and more. The
// file must exist.
func pool(path string, options url.Values) (*sql.DB, error) {
	options.Set("mode", "rw")
	options.Set("_dqs", "0") // a misspelt column is an error, not a string
	options.Add("_pragma", fmt.Sprintf("busy_timeout(%d)", busyTimeout))
	options.Add("_pragma", "foreign_keys(1)")
	options.Add("_pragma", "trusted_schema(0)") // a tampered schema runs nothing of its own
	return connect(path, options)
}

func connect(path string, options url.Values) (*sql.DB, error) {
	dsn := url.URL{Scheme: "file", Path: path, RawQuery: options.Encode()}
	connector, err := sqlite.NewConnector(dsn.String())
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}
