package subject

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/seal"
	"github.com/pavise/pavise/internal/store"
)

// steps are the room's migrations. They are only ever appended to.
var steps = []string{
	`CREATE TABLE subject_keys (
		tenant   TEXT NOT NULL,
		handle   BLOB NOT NULL, -- keyed hash of the subject's name
		id       TEXT NOT NULL, -- its pseudonym, random
		envelope BLOB NOT NULL, -- its key, wrapped under the tenant's
		made     INTEGER NOT NULL, -- Unix seconds
		PRIMARY KEY (tenant, handle),
		UNIQUE (tenant, id)
	 ) STRICT, WITHOUT ROWID;
	 CREATE TABLE subject_shredded (
		tenant TEXT NOT NULL,
		id     TEXT NOT NULL,
		at     INTEGER NOT NULL, -- Unix seconds
		PRIMARY KEY (tenant, id)
	 ) STRICT, WITHOUT ROWID`,
}

const (
	// prefix begins every pseudonym, before 32 hex digits.
	prefix = "s-"
	// maxName bounds a subject's name, in bytes.
	maxName = 256
	// maxCached bounds the keys kept in memory.
	maxCached = 4096
)

// A Subject is somebody whose data records keep.
type Subject struct {
	ID  string    // its pseudonym: "s-" and 32 hex digits
	Key *seal.Key // seals what records keep of it
}

// Keys are the keys of all subjects. They are safe for concurrent use.
type Keys struct {
	db  *store.DB
	kek *seal.KEK
	now func() time.Time

	mu    sync.Mutex // guards what follows
	known map[name]Subject
	// shreds counts shreddings: what was read before one is not cached after it.
	shreds int
}

// A name is a subject's, with its tenant.
type name struct{ tenant, subject string }

// Open returns the keys that are in the store.
func Open(ctx context.Context, db *store.DB, kek *seal.KEK, now func() time.Time) (*Keys, error) {
	if err := db.Migrate(ctx, "subject", steps); err != nil {
		return nil, err
	}
	return &Keys{db: db, kek: kek, now: now, known: map[name]Subject{}}, nil
}

// Of returns the subject with a name, and makes its key and pseudonym when it is
// new; they are on disk before Of returns. The error is of kind Invalid for a name
// that is empty, longer than 256 bytes or spelled like a pseudonym, and Unverified
// when the tenant's keys are wrapped under another KEK.
func (k *Keys) Of(ctx context.Context, tenant, subject string) (Subject, error) {
	n := name{tenant, subject}
	if subject == "" || len(subject) > maxName {
		return Subject{}, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the name of a data subject is 1 to %d bytes long, not %d", maxName, len(subject)), Hint: "use the identifier that the person has with you, or a hash of it"}
	}
	if IsPseudonym(subject) {
		return Subject{}, &pavise.Error{Kind: pavise.Invalid, Msg: "the name of a data subject is spelled like a pseudonym, and would pass for another's", Hint: "use the identifier that the person has with you, or a hash of it"}
	}
	k.mu.Lock()
	s, ok := k.known[n]
	shreds := k.shreds
	k.mu.Unlock()
	if ok {
		return s, nil
	}
	s, err := k.find(ctx, n)
	if pavise.KindOf(err) == pavise.NotFound {
		s, err = k.create(ctx, n)
	}
	if err != nil {
		return s, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.known) >= maxCached {
		clear(k.known)
	}
	if shreds == k.shreds {
		k.known[n] = s
	}
	return s, nil
}

// OfCaller is Of for the subject that a caller names, and else for the caller: data is
// their own unless they say otherwise. A key that has to be made is made even if ctx ends.
//
// Profiled, the string of the caller's name and a context without an end took as long as
// finding who is remembered, as nearly all are.
func (k *Keys) OfCaller(ctx context.Context, tenant, subject string, caller pavise.Name) (Subject, error) {
	var room [128]byte
	who := append(room[:0], subject...)
	if subject == "" {
		who = caller.Append(who)
	}
	k.mu.Lock()
	s, ok := k.known[name{tenant, string(who)}]
	k.mu.Unlock()
	if ok {
		return s, nil
	}
	return k.Of(context.WithoutCancel(ctx), tenant, string(who))
}

// find reads the key of a subject that has one.
func (k *Keys) find(ctx context.Context, n name) (s Subject, err error) {
	wrap, handle := k.kek.Subjects(n.tenant)
	err = k.db.View(ctx, func(tx *store.Tx) error {
		s, err = read(tx, wrap, n.tenant, `handle = ?`, handle.MAC(n.subject))
		return err
	})
	return s, err
}

// create makes the key of a subject, unless somebody else just did.
func (k *Keys) create(ctx context.Context, n name) (s Subject, err error) {
	wrap, handle := k.kek.Subjects(n.tenant)
	var random [16 + seal.KeySize]byte
	rand.Read(random[:])
	id := prefix + hex.EncodeToString(random[:16])
	err = k.db.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO subject_keys (tenant, handle, id, envelope, made) VALUES (?, ?, ?, ?, ?) ON CONFLICT (tenant, handle) DO NOTHING`,
			n.tenant, handle.MAC(n.subject), id, wrap.Seal([]byte(id), random[16:]), k.now().Unix())
		if err != nil {
			return err
		}
		s, err = read(tx, wrap, n.tenant, `handle = ?`, handle.MAC(n.subject))
		return err
	})
	return s, err
}

// IsPseudonym reports whether text is spelled like a pseudonym.
func IsPseudonym(text string) bool {
	digits, ok := strings.CutPrefix(text, prefix)
	if !ok || len(digits) != 32 {
		return false
	}
	_, err := hex.DecodeString(digits)
	return err == nil
}

// sameWrap refuses a KEK that is not the one of the keys which a tenant has. Under
// another, nobody's handle is found, and everybody would seem to be new.
func sameWrap(tx *store.Tx, wrap *seal.Key, tenant string) error {
	var envelope []byte
	err := tx.QueryRow(`SELECT envelope FROM subject_keys WHERE tenant = ? LIMIT 1`, tenant).Scan(&envelope)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	id, err := seal.EnvelopeKey(envelope)
	if err != nil {
		return fmt.Errorf("read a key of tenant %s: %w", tenant, err)
	}
	if id != wrap.ID() {
		return &pavise.Error{
			Kind: pavise.Unverified, Msg: fmt.Sprintf("the keys of tenant %s's data subjects are wrapped under another key than this installation's", tenant),
			Hint: "the state database and the key file are of different installations: restore both from the same backup",
		}
	}
	return nil
}

// read returns the subject of a tenant that meets a condition.
func read(tx *store.Tx, wrap *seal.Key, tenant, condition string, arg any) (Subject, error) {
	var s Subject
	var envelope []byte
	err := tx.QueryRow(`SELECT id, envelope FROM subject_keys WHERE tenant = ? AND `+condition, tenant, arg).Scan(&s.ID, &envelope)
	if errors.Is(err, sql.ErrNoRows) {
		if err := sameWrap(tx, wrap, tenant); err != nil {
			return s, err
		}
		return s, &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("tenant %s has no key of that data subject", tenant), Hint: "records name a subject by its pseudonym; pavise subject list shows how many there are"}
	}
	if err != nil {
		return s, err
	}
	secret, err := wrap.Open([]byte(s.ID), envelope)
	if err != nil {
		return s, fmt.Errorf("unwrap the key of subject %s: %w", s.ID, err)
	}
	s.Key, err = seal.NewKey(secret)
	return s, err
}

// Key returns the key that seals what a record keeps of the subject with a
// pseudonym. The error is of kind NotFound if there is none, and says so if it was
// shredded.
func (k *Keys) Key(ctx context.Context, tenant, id string) (key *seal.Key, err error) {
	wrap, _ := k.kek.Subjects(tenant)
	err = k.db.View(ctx, func(tx *store.Tx) error {
		s, err := read(tx, wrap, tenant, `id = ?`, id)
		key = s.Key
		if pavise.KindOf(err) != pavise.NotFound {
			return err
		}
		var at int64
		if tx.QueryRow(`SELECT at FROM subject_shredded WHERE tenant = ? AND id = ?`, tenant, id).Scan(&at) == nil {
			return &pavise.Error{
				Kind: pavise.NotFound, Msg: fmt.Sprintf("the key of subject %s was shredded on %s: nothing opens what was sealed under it", id, time.Unix(at, 0).UTC().Format(time.DateOnly)),
				Hint: "pavise ledger list --kind subject.shred --on " + tenant + "/subject/" + id + " shows the receipt",
			}
		}
		return err
	})
	return key, err
}

// A Receipt says what was shredded.
type Receipt struct {
	Subject string    `json:"subject"` // its pseudonym
	KeyID   string    `json:"key_id"`  // of the key that is gone
	Made    time.Time `json:"made"`    // when the key was
	Method  string    `json:"method"`  // what was done, and what was not
}

// What a receipt says of how.
const (
	method = "the only wrapped copy of the key was deleted from the state database and overwritten there, and its write-ahead log emptied; unverified: copies of the database made before, and what the disk itself keeps of overwritten blocks"
	// methodBusy is for when somebody reads an older state and cannot be waited for.
	methodBusy = "the only wrapped copy of the key was deleted from the state database; it is overwritten there once the write-ahead log can be emptied, which somebody's reading kept from happening: at the latest when pavise is started again; unverified: copies of the database made before, and what the disk itself keeps of overwritten blocks"
)

// Find returns the pseudonym of the subject with a name, or with that pseudonym.
// The error is of kind NotFound if there is none.
func (k *Keys) Find(ctx context.Context, tenant, subject string) (id string, err error) {
	s, err := k.find(ctx, name{tenant, subject})
	if pavise.KindOf(err) != pavise.NotFound {
		return s.ID, err
	}
	_, err = k.Key(ctx, tenant, subject)
	return subject, err
}

// Shred erases the key of the subject with a pseudonym. What was sealed under it
// opens no more, and nothing leads from its pseudonym to its name. A subject whose
// name comes up again is another, with another pseudonym. The error is of kind
// NotFound if there is no such key. mark, unless nil, is part of the same
// transaction. There is a receipt once the key is gone, and it says if something of
// it still has to be overwritten.
func (k *Keys) Shred(ctx context.Context, tenant, id string, mark func(*store.Tx) error) (Receipt, error) {
	receipt := Receipt{Subject: id, Method: method}
	wrap, _ := k.kek.Subjects(tenant)
	err := k.db.Update(ctx, func(tx *store.Tx) error {
		s, err := read(tx, wrap, tenant, `id = ?`, id)
		if err != nil {
			return err
		}
		var made int64
		if err := tx.QueryRow(`SELECT made FROM subject_keys WHERE tenant = ? AND id = ?`, tenant, id).Scan(&made); err != nil {
			return err
		}
		receipt.KeyID, receipt.Made = s.Key.ID().String(), time.Unix(made, 0).UTC()
		if mark != nil {
			if err := mark(tx); err != nil {
				return err
			}
		}
		return k.erase(tx, tenant, id)
	})
	if err != nil {
		return receipt, err
	}
	if k.Settle(context.WithoutCancel(ctx)) != nil {
		receipt.Method = methodBusy
	}
	return receipt, nil
}

// Reapply shreds a key again, within a transaction, that a receipt in the log says was
// shredded: it may have come back with an older copy of the database. Once the
// transaction is committed, the caller calls [Keys.Settle].
func (k *Keys) Reapply(tx *store.Tx, tenant, id string) error {
	defer k.forget()
	return k.erase(tx, tenant, id)
}

// Settle makes sure that nothing is left of the keys that were shredded, in the
// database, its write-ahead log or memory. The error is of kind Unavailable while
// somebody reads an older state.
func (k *Keys) Settle(ctx context.Context) error {
	k.forget()
	return k.db.Erase(ctx, func(*store.Tx) error { return nil })
}

// erase deletes the row of a key, and remembers that it did.
func (k *Keys) erase(tx *store.Tx, tenant, id string) error {
	if _, err := tx.Exec(`DELETE FROM subject_keys WHERE tenant = ? AND id = ?`, tenant, id); err != nil {
		return err
	}
	_, err := tx.Exec(`INSERT INTO subject_shredded (tenant, id, at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`, tenant, id, k.now().Unix())
	return err
}

// forget drops what memory knows.
func (k *Keys) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.known)
	k.shreds++
}

// Count returns how many subjects of a tenant have a key, and how many had.
func (k *Keys) Count(ctx context.Context, tenant string) (keys, shredded int, err error) {
	err = k.db.View(ctx, func(tx *store.Tx) error {
		return tx.QueryRow(`SELECT (SELECT count(*) FROM subject_keys WHERE tenant = ?1), (SELECT count(*) FROM subject_shredded WHERE tenant = ?1)`, tenant).Scan(&keys, &shredded)
	})
	return keys, shredded, err
}
