package feed

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/store"
)

// steps are the room's migrations. They are only ever appended to.
var steps = []string{
	`CREATE TABLE feed_cursors (
		tenant TEXT NOT NULL,
		name   TEXT NOT NULL,
		filter TEXT NOT NULL, -- which records are wanted, as JSON
		next   INTEGER NOT NULL, -- the first record that the follower has not done with
		moved  INTEGER NOT NULL, -- when it last moved, Unix milliseconds
		PRIMARY KEY (tenant, name)
	) STRICT, WITHOUT ROWID`,
}

const (
	// batch is how many records one transaction of a follower takes.
	batch = 512
	// idleStep is how many unwanted records a follower passes before its cursor is
	// written: a follower of rare records writes rarely.
	idleStep = 4096
	// maxCursors bounds the cursors of one tenant.
	maxCursors = 256
)

// Feeds are the followers of one log. They are safe for concurrent use.
type Feeds struct {
	log *ledger.Log
	db  *store.DB
	now func() time.Time
}

// Open returns the feeds whose cursors are in the store.
func Open(ctx context.Context, log *ledger.Log, db *store.DB, now func() time.Time) (*Feeds, error) {
	if err := db.Migrate(ctx, "feed", steps); err != nil {
		return nil, err
	}
	return &Feeds{log: log, db: db, now: now}, nil
}

// A Cursor is where a follower has come.
type Cursor struct {
	Tenant string        `json:"tenant"`
	Name   string        `json:"name"`
	Filter ledger.Filter `json:"filter"`
	Next   uint64        `json:"next"`  // the first record that it has not done with
	Moved  time.Time     `json:"moved"` // when it last moved
}

// A Backlog is what a follower has before it.
type Backlog struct {
	Cursor
	Behind uint64        `json:"behind"`           // records that it wants and has not done with
	Lag    time.Duration `json:"lag_ns,omitempty"` // age of the oldest of them
}

// An Each takes one record. What it does with tx is one transaction with the move of
// the follower's cursor.
type Each func(ctx context.Context, tx *store.Tx, r ledger.Found) error

// Follow calls each for every record that the filter wants, in order, from where
// the follower of this name stopped; a new one begins at the first record. It returns
// when ctx is done or the log closes, or with the error of each, of a record that
// cannot be read, with kind NotFound when the follower was dropped, or, with kind
// Unverified, when the log is shorter than what it has seen. Who follows under a name
// is alone in it.
func (f *Feeds) Follow(ctx context.Context, tenant, name string, filter ledger.Filter, each Each) error {
	c, err := f.Begin(ctx, tenant, name, filter, f.log.First())
	for kept := c.Next; err == nil; {
		if f.log.AwaitSigned(ctx, c.Next) != nil {
			return nil
		}
		kept, err = f.advance(ctx, &c, kept, each)
	}
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// CatchUp is Follow up to the newest record there is now.
func (f *Feeds) CatchUp(ctx context.Context, tenant, name string, filter ledger.Filter, each Each) error {
	c, err := f.Begin(ctx, tenant, name, filter, f.log.First())
	end := f.log.Head().Size
	for kept := c.Next; err == nil && c.Next < end; {
		kept, err = f.advance(ctx, &c, kept, each)
	}
	return err
}

// advance takes the next batch of a follower whose cursor is kept as it was at one
// index, and returns where it is kept then.
func (f *Feeds) advance(ctx context.Context, c *Cursor, kept uint64, each Each) (uint64, error) {
	found, upTo, err := f.gather(ctx, c.Filter, c.Next)
	if err != nil {
		return kept, err
	}
	if c.Next = upTo; len(found) == 0 && upTo-kept < idleStep {
		return kept, nil
	}
	err = f.db.Update(context.WithoutCancel(ctx), func(tx *store.Tx) error {
		for _, r := range found {
			if err := each(ctx, tx, r); err != nil {
				return err
			}
		}
		return f.move(tx, c.Tenant, c.Name, upTo)
	})
	if err != nil {
		return kept, fmt.Errorf("follow the log as %s: %w", c.Name, err)
	}
	return upTo, nil
}

// gather returns the first records from an index on that the filter wants, and
// the index up to which that is all of them. Those before one that cannot be read
// come first; the error is next.
func (f *Feeds) gather(ctx context.Context, filter ledger.Filter, from uint64) (found []ledger.Found, upTo uint64, err error) {
	upTo = f.log.Head().Size
	for r, err := range f.log.Select(ctx, filter, from, upTo) {
		if err != nil && len(found) > 0 {
			return found, found[len(found)-1].Index + 1, nil
		}
		if err != nil {
			return nil, from, err
		}
		if found = append(found, r); len(found) == batch {
			return found, r.Index + 1, nil
		}
	}
	return found, upTo, nil
}

// Live yields the records from an index on that the filter wants, as they come,
// until ctx is done or the log closes; it ends with an error if a record cannot be
// read. It keeps no cursor.
func (f *Feeds) Live(ctx context.Context, filter ledger.Filter, from uint64) iter.Seq2[ledger.Found, error] {
	return func(yield func(ledger.Found, error) bool) {
		for f.log.AwaitSigned(ctx, from) == nil {
			found, upTo, err := f.gather(ctx, filter, from)
			if err != nil {
				if ctx.Err() == nil {
					yield(ledger.Found{}, err)
				}
				return
			}
			for _, r := range found {
				if !yield(r, nil) {
					return
				}
			}
			from = upTo
		}
	}
}

// Begin returns the cursor of a name, and makes one that begins at a record when
// there is none. The error is of kind Conflict when the name wants other records
// already, or the tenant has too many, Invalid when a new one would begin beyond the
// signed records, and Unverified when the log is shorter than the follower has seen.
func (f *Feeds) Begin(ctx context.Context, tenant, name string, filter ledger.Filter, from uint64) (c Cursor, err error) {
	if (pavise.Name{Tenant: tenant, Kind: "follower", ID: name}).Validate() != nil {
		return c, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.80q is no name of a follower", name), Hint: "use letters, digits and . _ @ : + -, at most 128 of them"}
	}
	wanted, err := json.Marshal(filter)
	if err != nil {
		return c, fmt.Errorf("encode a filter: %w", err)
	}
	err = f.db.Update(ctx, func(tx *store.Tx) error {
		c, err = find(tx, tenant, name)
		if pavise.KindOf(err) != pavise.NotFound {
			return err
		}
		return f.insert(tx, tenant, name, string(wanted), from)
	})
	if err == nil && c.Name == "" {
		c = Cursor{Tenant: tenant, Name: name, Filter: filter, Next: from, Moved: f.now()}
	}
	if err != nil {
		return c, err
	}
	if have, err := json.Marshal(c.Filter); err != nil || string(have) != string(wanted) {
		return c, &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("the follower %s wants other records: %s", name, words(c.Filter)), Hint: "follow under another name, or drop this one: pavise ledger unfollow " + name}
	}
	return c, f.covers(c)
}

// words says what a filter wants.
func words(f ledger.Filter) string {
	var all []string
	for _, part := range []struct{ word, text string }{
		{"of kind ", strings.Join(f.Kinds, " or ")}, {"by ", f.Who}, {"on ", f.On}, {"about ", f.Subject}, {"that ended in ", f.Ending}, {"in phase ", f.Phase},
	} {
		if part.text != "" {
			all = append(all, part.word+part.text)
		}
	}
	if !f.Since.IsZero() {
		all = append(all, "since "+f.Since.Format(time.RFC3339))
	}
	if !f.Until.IsZero() {
		all = append(all, "until "+f.Until.Format(time.RFC3339))
	}
	if len(all) == 0 {
		return "all there are"
	}
	return "those " + strings.Join(all, ", ")
}

// covers refuses a cursor that is ahead of the log.
func (f *Feeds) covers(c Cursor) error {
	if size := f.log.Size(); c.Next > size {
		return &pavise.Error{
			Kind: pavise.Unverified, Msg: fmt.Sprintf("the follower %s has seen %d records, and the log holds %d: the log was rolled back", c.Name, c.Next, size),
			Hint: "restore the newest backup of the log; if what was lost is lost, drop the follower: pavise ledger unfollow " + c.Name,
		}
	}
	return nil
}

func (f *Feeds) insert(tx *store.Tx, tenant, name, filter string, next uint64) error {
	if size := f.log.Head().Size; next > size {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the log has %d signed records, and the follower %s would begin at %d", size, name, next), Hint: "begin at the number of signed records, or before"}
	}
	var n int
	if err := tx.QueryRow(`SELECT count(*) FROM feed_cursors WHERE tenant = ?`, tenant).Scan(&n); err != nil {
		return err
	}
	if n >= maxCursors {
		return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("tenant %s has %d followers already", tenant, n), Hint: "drop those that nobody uses: pavise ledger unfollow NAME"}
	}
	_, err := tx.Exec(`INSERT INTO feed_cursors (tenant, name, filter, next, moved) VALUES (?, ?, ?, ?, ?)`, tenant, name, filter, next, f.now().UnixMilli())
	return err
}

// move sets a cursor, never backwards. The error is of kind NotFound if there is none.
func (f *Feeds) move(tx *store.Tx, tenant, name string, next uint64) error {
	result, err := tx.Exec(`UPDATE feed_cursors SET next = max(next, ?), moved = ? WHERE tenant = ? AND name = ?`, next, f.now().UnixMilli(), tenant, name)
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n > 0 {
		return err
	}
	return none(tenant, name)
}

// none is the error of a follower that there is not.
func none(tenant, name string) error {
	return &pavise.Error{Kind: pavise.NotFound, Msg: fmt.Sprintf("tenant %s has no follower %.80s", tenant, name), Hint: "pavise ledger followers shows those it has"}
}

const columns = `tenant, name, filter, next, moved`

// find returns one cursor. The error is of kind NotFound if there is none.
func find(tx *store.Tx, tenant, name string) (Cursor, error) {
	c, err := scan(tx.QueryRow(`SELECT `+columns+` FROM feed_cursors WHERE tenant = ? AND name = ?`, tenant, name))
	if errors.Is(err, sql.ErrNoRows) {
		return Cursor{}, none(tenant, name)
	}
	return c, err
}

// scan reads a row of columns.
func scan(row interface{ Scan(...any) error }) (c Cursor, err error) {
	var filter string
	var moved int64
	if err := row.Scan(&c.Tenant, &c.Name, &filter, &c.Next, &moved); err != nil {
		return c, err
	}
	c.Moved = time.UnixMilli(moved).UTC()
	if err := json.Unmarshal([]byte(filter), &c.Filter); err != nil {
		return c, fmt.Errorf("read what follower %s wants: %w", c.Name, err)
	}
	return c, nil
}

// Acknowledge says that a follower has done with all records below an index. It
// never moves a cursor back. The error is of kind NotFound when there is no such
// follower, Conflict when it is further already, and Invalid when the log does not hold
// so many records.
func (f *Feeds) Acknowledge(ctx context.Context, tenant, name string, next uint64) error {
	if size := f.log.Head().Size; next > size {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the log has %d signed records, and %d are said to be done with", size, next), Hint: "acknowledge one more than the index of the last record read"}
	}
	return f.db.Update(ctx, func(tx *store.Tx) error {
		c, err := find(tx, tenant, name)
		if err != nil {
			return err
		}
		if c.Next > next {
			return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("the follower %s is at %d already, and does not go back to %d", name, c.Next, next), Hint: "to read older records again, follow without a name: pavise ledger follow --after INDEX"}
		}
		return f.move(tx, tenant, name, next)
	})
}

// Drop forgets a follower. The error is of kind NotFound when there is none.
func (f *Feeds) Drop(ctx context.Context, tenant, name string) error {
	return f.db.Update(ctx, func(tx *store.Tx) error {
		if _, err := find(tx, tenant, name); err != nil {
			return err
		}
		_, err := tx.Exec(`DELETE FROM feed_cursors WHERE tenant = ? AND name = ?`, tenant, name)
		return err
	})
}

// Backlogs returns a tenant's followers, by name, with what each has before it.
func (f *Feeds) Backlogs(ctx context.Context, tenant string) ([]Backlog, error) {
	cursors, err := f.cursors(ctx, `WHERE tenant = ? ORDER BY name`, tenant)
	if err != nil {
		return nil, err
	}
	backlogs := make([]Backlog, len(cursors))
	for i, c := range cursors {
		if backlogs[i], err = f.backlog(ctx, c); err != nil {
			return nil, err
		}
	}
	return backlogs, nil
}

// backlog says what a follower has before it. The count is the index's.
func (f *Feeds) backlog(ctx context.Context, c Cursor) (Backlog, error) {
	b := Backlog{Cursor: c}
	end := f.log.Head().Size
	var err error
	if b.Behind, err = f.log.Count(c.Filter, c.Next, end); err != nil || b.Behind == 0 {
		return b, err
	}
	for r, err := range f.log.Select(ctx, c.Filter, c.Next, end) {
		if err != nil {
			return b, err
		}
		b.Lag = max(f.now().Sub(r.At), 0)
		break
	}
	return b, nil
}

// Oldest returns the first record that some follower has not done with: what may
// not be pruned yet. It is false when nobody follows.
func (f *Feeds) Oldest(ctx context.Context) (next uint64, ok bool, err error) {
	cursors, err := f.cursors(ctx, `ORDER BY next LIMIT 1`)
	if err != nil || len(cursors) == 0 {
		return 0, false, err
	}
	return cursors[0].Next, true, nil
}

func (f *Feeds) cursors(ctx context.Context, which string, args ...any) (all []Cursor, err error) {
	err = f.db.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(`SELECT `+columns+` FROM feed_cursors `+which, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			c, err := scan(rows)
			if err != nil {
				return err
			}
			all = append(all, c)
		}
		return rows.Err()
	})
	return all, err
}
