package store

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"

	"github.com/pavise/pavise"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// A lock keeps other processes out of a database. SQLite itself is the lock: an
// exclusive transaction on an empty file works wherever the database does.
type lock struct {
	pool *sql.DB
	tx   *sql.Tx // runs until Close
}

// takeLock takes the lock at path. It needs no context: it does not wait, and
// must outlive the one Open was given.
func takeLock(path string) (*lock, error) {
	if err := private(path); err != nil {
		return nil, err
	}
	pool, err := connect(path, url.Values{"mode": {"rw"}, "_txlock": {"exclusive"}, "_pragma": {"busy_timeout(0)"}})
	if err != nil {
		return nil, err
	}
	tx, err := pool.Begin()
	if err != nil {
		return nil, errors.Join(locked(path, err), pool.Close())
	}
	return &lock{pool: pool, tx: tx}, nil
}

// Close releases the lock. The file stays: removing it would let two processes
// lock two files of the same name.
func (l *lock) Close() error { return errors.Join(l.tx.Rollback(), l.pool.Close()) }

// locked says who stands in the way of the lock at path.
func locked(path string, err error) error {
	if e, ok := errors.AsType[*sqlite.Error](err); !ok || e.Code()&0xff != sqlite3.SQLITE_BUSY {
		return err
	}
	return &pavise.Error{
		Kind: pavise.Conflict,
		Msg:  fmt.Sprintf("state database %s is open in another process", strings.TrimSuffix(path, "-lock")),
		Hint: "stop the other pavise, or give this one its own data directory",
		Err:  err,
	}
}

// private makes an empty file that only its owner can reach, and refuses one
// that others can. It does not open a file that exists: closing it would drop
// the locks that this process holds on it (POSIX fcntl).
func private(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		return f.Close()
	}
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s is not a regular file", path), Hint: "put the file itself there, not a link to it"}
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s has mode %#o: others can reach it", path, perm), Hint: "chmod 600 " + path}
	}
	return nil
}
