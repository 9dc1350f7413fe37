package tier

import (
	"cmp"
	"container/list"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"slices"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/sybil"
	"github.com/pavise/pavise/internal/theft"
)

// steps are the room's migrations. They are only ever appended to.
var steps = []string{
	`CREATE TABLE tier_standings (
		model    TEXT NOT NULL,
		who      TEXT NOT NULL,
		standing TEXT NOT NULL, -- a kept, as JSON
		PRIMARY KEY (model, who)
	 ) STRICT, WITHOUT ROWID;
	 CREATE TABLE tier_studies (
		model       TEXT NOT NULL,
		who         TEXT NOT NULL,
		calibration TEXT NOT NULL, -- hex SHA-256 of the file of the calibration that it was made with
		study       BLOB NOT NULL, -- what the detector remembers of the caller, as package theft writes it
		PRIMARY KEY (model, who)
	 ) STRICT;
	 CREATE TABLE tier_clock (
		id   INTEGER PRIMARY KEY CHECK (id = 0),
		ran  INTEGER NOT NULL, -- nanoseconds that the book ran
		down INTEGER NOT NULL, -- and that nothing ran
		at   TEXT NOT NULL     -- on the wall, RFC 3339
	 ) STRICT;
	 CREATE TABLE tier_keys (
		model   TEXT NOT NULL,
		created TEXT NOT NULL, -- RFC 3339: when a key began to mark answers
		rate    REAL NOT NULL, -- share of inputs that it marks
		PRIMARY KEY (model, created, rate)
	 ) STRICT;
	 CREATE TABLE tier_secret (id INTEGER PRIMARY KEY CHECK (id = 0), secret BLOB NOT NULL) STRICT;`,
	`CREATE TABLE tier_links (
		model       TEXT NOT NULL,
		who         TEXT NOT NULL,
		calibration TEXT NOT NULL, -- as in tier_studies
		links       BLOB NOT NULL, -- what links the caller to others, as package sybil writes it, and a tag
		PRIMARY KEY (model, who)
	 ) STRICT;`,
}

// Config is what a book is made of.
type Config struct {
	Store *store.DB
	Now   func() time.Time // the wall clock; time.Now if nil
	Amber time.Duration    // how long a sighting counts; 0: AmberTime
	Most  int              // standings; 0: 65,536
	// Facts says what is known of a caller beside what it asks; nil: nothing. It is called by
	// one goroutine.
	Facts func(who pavise.Name) sybil.Facts
}

// Open opens the book in a store, as it was kept there. What cannot be read is an error of
// kind Unverified: who was amber or red must not be green because somebody changed a row.
func Open(ctx context.Context, cfg Config) (*Book, error) {
	b := &Book{
		db: cfg.Store, now: cfg.Now, amber: cfg.Amber, most: cfg.Most, facts: cfg.Facts, seed: maphash.MakeSeed(),
		order: list.New(), unsaved: map[key]bool{},
	}
	if b.now == nil {
		b.now = time.Now
	}
	if b.amber <= 0 {
		b.amber = AmberTime
	}
	if b.most <= 0 {
		b.most = maxStandings
	}
	b.models, b.lost = map[pavise.Name]*watched{}, map[remembered]bool{}
	if err := b.db.Migrate(ctx, "tier", steps); err != nil {
		return nil, err
	}
	if err := b.db.Update(ctx, b.makeSecret); err != nil {
		return nil, fmt.Errorf("make the secret of the tiers: %w", err)
	}
	if err := b.db.View(ctx, b.read); err != nil {
		return nil, fmt.Errorf("read the tiers: %w", err)
	}
	return b, nil
}

// A kept is an entry as the store has it.
type kept struct {
	Word *keptWord `json:"word,omitempty"`
	Seen *keptSeen `json:"seen,omitempty"`
}

type keptWord struct {
	Tier   Tier        `json:"tier"`
	Since  time.Time   `json:"since"`
	Ends   instant     `json:"ends,omitempty"`
	By     pavise.Name `json:"by"`
	Reason string      `json:"reason"`
}

type keptSeen struct {
	Sighting theft.Sighting `json:"sighting"`
	Since    time.Time      `json:"since"`
	Ends     instant        `json:"ends"`
}

// keep stores an entry, or takes it out of the store when it says nothing, and the clock
// that its end is told by.
func (b *Book) keep(tx *store.Tx, e *entry) error {
	if err := b.keepEntry(tx, e); err != nil {
		return err
	}
	return b.keepClock(tx)
}

func (b *Book) keepEntry(tx *store.Tx, e *entry) error {
	if e.word == nil && e.seen == nil {
		_, err := tx.Exec(`DELETE FROM tier_standings WHERE model = ? AND who = ?`, e.model.String(), e.who.String())
		return err
	}
	var k kept
	if w := e.word; w != nil {
		k.Word = &keptWord{w.tier, w.since, w.ends, w.by, w.reason}
	}
	if s := e.seen; s != nil {
		k.Seen = &keptSeen{s.sighting, s.since, s.ends}
	}
	text, err := json.Marshal(k)
	if err != nil {
		return fmt.Errorf("encode a standing: %w", err)
	}
	_, err = tx.Exec(`INSERT INTO tier_standings VALUES (?, ?, ?) ON CONFLICT (model, who) DO UPDATE SET standing = excluded.standing`, e.model.String(), e.who.String(), string(text))
	return err
}

func (b *Book) keepClock(tx *store.Tx) error {
	_, err := tx.Exec(`INSERT INTO tier_clock VALUES (0, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET ran = excluded.ran, down = excluded.down, at = excluded.at`,
		int64(b.clock.ran()), int64(b.clock.down), b.now().UTC().Format(time.RFC3339))
	return err
}

// makeSecret makes the secret by which studies are sealed against changes, if there is
// none yet.
func (b *Book) makeSecret(tx *store.Tx) error {
	var fresh [32]byte
	rand.Read(fresh[:])
	_, err := tx.Exec(`INSERT INTO tier_secret VALUES (0, ?) ON CONFLICT DO NOTHING`, fresh[:])
	return err
}

// read reads what the store has: the clock, the secret and the standings. Studies wait
// until their model's calibration is known.
func (b *Book) read(tx *store.Tx) error {
	var k keptClock
	if err := readClock(tx, &k); err != nil {
		return err
	}
	b.clock = resume(k, b.now())
	var secret []byte
	if err := tx.QueryRow(`SELECT secret FROM tier_secret`).Scan(&secret); err != nil {
		return err
	}
	if len(secret) != len(b.secret) {
		return &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("the secret of the tiers has %d bytes, and not %d", len(secret), len(b.secret)), Hint: "the state database was changed: restore it from a backup"}
	}
	copy(b.secret[:], secret)
	rows, err := tx.Query(`SELECT model, who, standing FROM tier_standings`)
	if err != nil {
		return err
	}
	defer rows.Close()
	var all []*entry
	for rows.Next() {
		var model, who, text string
		if err := rows.Scan(&model, &who, &text); err != nil {
			return err
		}
		e, err := readEntry(model, who, text)
		if err != nil {
			return &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("the standing of %.200q at %.200q cannot be read", who, model), Hint: "the state database was changed: restore it from a backup", Err: err}
		}
		all = append(all, e)
	}
	slices.SortFunc(all, func(x, y *entry) int { return cmp.Compare(x.ends(), y.ends()) })
	for _, e := range all {
		b.put(e)
	}
	return rows.Err()
}

// ends is when the detector's standing ends, if there is one.
func (e *entry) ends() instant {
	if e.seen == nil {
		return 0
	}
	return e.seen.ends
}

func readClock(tx *store.Tx, k *keptClock) error {
	rows, err := tx.Query(`SELECT ran, down, at FROM tier_clock`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var at string
		if err := rows.Scan(&k.Ran, &k.Down, &at); err != nil {
			return err
		}
		k.At, _ = time.Parse(time.RFC3339, at) // without it no time counts in which nothing ran
	}
	return rows.Err()
}

func readEntry(model, who, text string) (*entry, error) {
	var k kept
	if err := json.Unmarshal([]byte(text), &k); err != nil {
		return nil, err
	}
	e := &entry{}
	for _, n := range []struct {
		text string
		to   *pavise.Name
	}{{model, &e.model}, {who, &e.who}} {
		name, err := pavise.ParseName(n.text)
		if err != nil {
			return nil, err
		}
		*n.to = name
	}
	if w := k.Word; w != nil {
		e.word = &word{w.Tier, w.Since, w.Ends, w.By, w.Reason}
	}
	if s := k.Seen; s != nil {
		e.seen = &seen{s.Sighting, s.Since, s.Ends}
	}
	return e, nil
}
