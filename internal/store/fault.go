package store

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/pavise/pavise"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// faults maps SQLite's primary result codes to what a person can do about them.
var faults = map[int]struct {
	kind      pavise.Kind
	msg, hint string
}{
	sqlite3.SQLITE_FULL:     {pavise.Unavailable, "cannot grow: the disk is full", "free space on its disk; nothing of this change was kept"},
	sqlite3.SQLITE_READONLY: {pavise.Unavailable, "cannot be written", "check that the file and its directory belong to this user and are writable"},
	sqlite3.SQLITE_CANTOPEN: {pavise.Unavailable, "cannot be opened", "check that its directory exists, belongs to this user and is writable"},
	sqlite3.SQLITE_PERM:     {pavise.Unavailable, "cannot be opened", "check that the file belongs to this user"},
	sqlite3.SQLITE_IOERR:    {pavise.Unavailable, "cannot be read or written: the disk reports an error", "look at the system log; the disk may be failing or full"},
	sqlite3.SQLITE_BUSY:     {pavise.Unavailable, "is held by another program", "end the program that has the file open, such as a sqlite3 shell"},
	sqlite3.SQLITE_CORRUPT:  {pavise.Internal, "is damaged", "stop pavise, keep the file for study, and restore a backup; the ledger is a separate file and not affected"},
	sqlite3.SQLITE_NOTADB:   {pavise.Internal, "is not a database, or its beginning is damaged", "check the path; if it is right, restore a backup"},
}

// explain turns what SQLite or the file system said into an error for people.
// Every other error, and one that was already explained, stays as it is.
func (db *DB) explain(err error) error {
	if _, told := errors.AsType[*pavise.Error](err); err == nil || told {
		return err
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		if isDuplicate(e.Code()) {
			return &pavise.Error{Kind: pavise.Conflict, Msg: "the row exists already", Hint: "read it first, or choose another name", Err: err}
		}
		if f, known := faults[e.Code()&0xff]; known {
			return &pavise.Error{Kind: f.kind, Msg: fmt.Sprintf("state database %s %s", db.path, f.msg), Hint: f.hint, Err: err}
		}
		return err
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return &pavise.Error{
			Kind: pavise.Unavailable,
			Msg:  fmt.Sprintf("state database %s can be neither opened nor made", db.path),
			Hint: "check that its directory exists, belongs to this user, is writable, and lies on a disk that is not full",
			Err:  err,
		}
	}
	return err
}

// isFull reports whether an error may be that of a full disk: a sync that finds no room
// is an error of the disk's to SQLite.
func isFull(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && (e.Code()&0xff == sqlite3.SQLITE_FULL || e.Code()&0xff == sqlite3.SQLITE_IOERR)
}

func isDuplicate(code int) bool {
	return code == sqlite3.SQLITE_CONSTRAINT_UNIQUE || code == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY
}
