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

// The states of an object in the journal.
const (
	stateSeen     = "seen"     // it is there, and may still be changing
	stateTaking   = "taking"   // the gate has a part of it
	stateTaken    = "taken"    // the gate has it
	stateReplaced = "replaced" // it is another than was taken, and was not taken again
	stateRefused  = "refused"  // it cannot be taken at all
	stateGone     = "gone"     // it was in one of the three states above, or being taken, and is not there any more
)

const (
	// maxJournal bounds the journal of a source.
	maxJournal = 1_000_000
	// keptGone is how long it is remembered that an object is gone.
	keptGone = 90 * 24 * time.Hour
	// journalPage is how many objects of the journal are read, or written, at a time.
	journalPage = 500
)

// A seen is an object as its store tells of it. All but the name are hints.
type seen struct {
	name     string
	size     int64
	version  string
	etag     string
	modified time.Time
}

// same reports whether an object may be the same as before.
func (s seen) same(o seen) bool {
	return s.size == o.size && s.version == o.version && s.etag == o.etag && millis(s.modified) == millis(o.modified)
}

// An object is one of the journal.
type object struct {
	seen
	state   string
	sha256  string
	done    int64 // bytes of its content, unpacked, that the gate has
	checked time.Time
	was     string // of one that is gone: its state before, to which it comes back
}

const objectColumns = `name, version, size, etag, modified, state, sha256, done, checked, was`

// objects returns a page of the journal of a source: those whose names come after one.
func objects(tx *store.Tx, at place, after string, limit int) (all []object, err error) {
	rows, err := tx.Query(`SELECT `+objectColumns+` FROM receiver_objects WHERE tenant = ? AND source = ? AND name > ? ORDER BY name LIMIT ?`, at.tenant, at.name, after, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var o object
		var modified, checked int64
		if err := rows.Scan(&o.name, &o.version, &o.size, &o.etag, &modified, &o.state, &o.sha256, &o.done, &checked, &o.was); err != nil {
			return nil, err
		}
		o.modified, o.checked = moment(modified), moment(checked)
		all = append(all, o)
	}
	return all, rows.Err()
}

// one returns an object of the journal, or one without a name.
func one(tx *store.Tx, at place, name string) (o object, err error) {
	var modified, checked int64
	err = tx.QueryRow(`SELECT `+objectColumns+` FROM receiver_objects WHERE tenant = ? AND source = ? AND name = ?`, at.tenant, at.name, name).
		Scan(&o.name, &o.version, &o.size, &o.etag, &modified, &o.state, &o.sha256, &o.done, &checked, &o.was)
	if errors.Is(err, sql.ErrNoRows) {
		return object{}, nil
	}
	o.modified, o.checked = moment(modified), moment(checked)
	return o, err
}

// note writes an object into the journal.
func note(tx *store.Tx, at place, o object) error {
	_, err := tx.Exec(`INSERT INTO receiver_objects (tenant, source, `+objectColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (tenant, source, name) DO UPDATE SET version = excluded.version, size = excluded.size, etag = excluded.etag, modified = excluded.modified,
		state = excluded.state, sha256 = excluded.sha256, done = excluded.done, checked = excluded.checked, was = excluded.was`,
		at.tenant, at.name, o.name, o.version, o.size, o.etag, millis(o.modified), o.state, o.sha256, o.done, millis(o.checked), o.was)
	return err
}

// drop takes an object out of the journal.
func drop(tx *store.Tx, at place, name string) error {
	_, err := tx.Exec(`DELETE FROM receiver_objects WHERE tenant = ? AND source = ? AND name = ?`, at.tenant, at.name, name)
	return err
}

// prune forgets what is gone for long, once a day.
func (l *line) prune(ctx context.Context) error {
	now := l.room.cfg.Now()
	if now.Sub(l.pruned) < 24*time.Hour {
		return nil
	}
	l.pruned = now
	return l.room.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`DELETE FROM receiver_objects WHERE tenant = ? AND source = ? AND state = ? AND checked < ?`, l.row.tenant, l.row.name, stateGone, millis(now.Add(-keptGone)))
		return err
	})
}

// hasRoom refuses a journal that would have too many entries with so many more.
func (l *line) hasRoom(tx *store.Tx, more int) error {
	var n int
	if err := tx.QueryRow(`SELECT count(*) FROM receiver_objects WHERE tenant = ? AND source = ?`, l.row.tenant, l.row.name).Scan(&n); err != nil {
		return err
	}
	if n+more > l.room.most {
		return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("the journal of %s has %d entries, and may have %d: what is new is not taken", l.row.source(), n, l.room.most), Hint: "receive from a longer prefix, one for each month for example"}
	}
	return nil
}
