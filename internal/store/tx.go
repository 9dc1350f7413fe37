package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/pavise/pavise"
)

// A Tx is a running transaction. It is valid only inside the function it was
// given to, and for one goroutine.
type Tx struct {
	ctx context.Context // of the Update or View that the transaction lives in
	tx  *sql.Tx
}

// Update runs fn in a transaction that may write, and commits it when fn
// returns nil. When fn returns an error or panics, or ctx ends, nothing of it
// remains. Nothing is retried. Writers run one at a time, so fn must be short
// and must not call Update, which would wait for itself.
//
// The error is fn's own, or says what became of the database: Conflict for a
// row that exists already, Unavailable for a full disk or a file that cannot be
// written, Internal for a damaged one.
func (db *DB) Update(ctx context.Context, fn func(*Tx) error) error {
	return db.run(ctx, db.write, &sql.TxOptions{}, fn)
}

// Erase is Update for what must not be found again: once it returns nil, what fn
// deleted is neither in the database nor in its write-ahead log. Older copies of
// the file, and what the disk itself keeps of overwritten blocks, are beyond it.
//
// Somebody who reads an older state is waited for, for some seconds. After that the
// error is of kind Unavailable: what fn did is committed, and the next Erase, of
// nothing if need be, finishes it.
func (db *DB) Erase(ctx context.Context, fn func(*Tx) error) error {
	if err := db.Update(ctx, fn); err != nil {
		return err
	}
	if err := db.enter(); err != nil {
		return err
	}
	defer db.running.Done()
	var busy, frames, moved int
	if err := db.write.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &frames, &moved); err != nil {
		return db.explain(err)
	}
	if busy != 0 {
		return &pavise.Error{
			Kind: pavise.Unavailable, Msg: "what was deleted is still in the write-ahead log of the state database: somebody reads an older state",
			Hint: "do it again in a moment",
		}
	}
	return nil
}

// View runs fn in a transaction that reads: all of fn sees one committed state,
// while writers go on. A write inside fn is an error.
func (db *DB) View(ctx context.Context, fn func(*Tx) error) error {
	return db.run(ctx, db.read, &sql.TxOptions{ReadOnly: true}, fn)
}

func (db *DB) run(ctx context.Context, pool *sql.DB, opts *sql.TxOptions, fn func(*Tx) error) error {
	if err := db.enter(); err != nil {
		return err
	}
	defer db.running.Done()
	tx, err := pool.BeginTx(ctx, opts)
	if err != nil {
		return db.explain(err)
	}
	defer tx.Rollback() // after a commit it does nothing; after an error or a panic it undoes
	if err = fn(&Tx{ctx: ctx, tx: tx}); err == nil {
		err = tx.Commit()
	}
	if errors.Is(err, sql.ErrTxDone) && ctx.Err() != nil {
		err = ctx.Err() // which undid the transaction, and the error is the next statement's
	}
	return db.explain(err)
}

// Exec runs a statement that returns no rows.
func (t *Tx) Exec(query string, args ...any) (sql.Result, error) {
	return t.tx.ExecContext(t.ctx, query, args...)
}

// Query runs a statement that returns rows. The caller closes them and looks at
// their Err.
func (t *Tx) Query(query string, args ...any) (*sql.Rows, error) {
	return t.tx.QueryContext(t.ctx, query, args...)
}

// QueryRow runs a statement that returns at most one row. Its Scan returns
// sql.ErrNoRows when there is none.
func (t *Tx) QueryRow(query string, args ...any) *sql.Row {
	return t.tx.QueryRowContext(t.ctx, query, args...)
}
