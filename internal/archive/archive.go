package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/store/blob"
)

// steps are the room's migrations. They are only ever appended to.
var steps = []string{
	`CREATE TABLE archive_classes (name TEXT PRIMARY KEY, class TEXT NOT NULL) STRICT;
	 CREATE TABLE archive_segments (
		first    INTEGER PRIMARY KEY,
		manifest TEXT NOT NULL,
		place    TEXT NOT NULL,
		at       INTEGER NOT NULL -- Unix seconds
	 ) STRICT`,
}

// KindKept is the kind of the note that says that a segment was archived.
const KindKept = "archive.kept"

// keepEvery is how often Run looks for segments to archive.
const keepEvery = time.Minute

// Config is what an archive is made of. All but Bucket is required.
type Config struct {
	Log    *ledger.Log
	Store  *store.DB
	Bucket blob.Bucket // nil: nothing is archived, and so nothing pruned
	Now    func() time.Time

	// Note records, durably, what was done.
	Note func(ctx context.Context, kind string, detail any) error
	// Oldest returns the first record that some follower has not done with.
	Oldest func(ctx context.Context) (uint64, bool, error)
}

// An Archive keeps segments of one log. It is safe for concurrent use.
type Archive struct {
	Config
	db *store.DB

	working sync.Mutex // held by Keep and Prune

	mu      sync.Mutex // guards what follows
	problem error      // of the last Keep
}

// Open returns the archive whose table is in the store.
func Open(ctx context.Context, cfg Config) (*Archive, error) {
	if err := cfg.Store.Migrate(ctx, "archive", steps); err != nil {
		return nil, err
	}
	return &Archive{Config: cfg, db: cfg.Store}, nil
}

// A Segment is a segment that was archived.
type Segment struct {
	Manifest
	Place string    `json:"place"` // where
	At    time.Time `json:"at"`    // when
	Here  bool      `json:"here"`  // it is on this machine too
}

// Segments returns what was archived, oldest first.
func (a *Archive) Segments(ctx context.Context) (all []Segment, err error) {
	first := a.Log.First()
	err = a.db.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(`SELECT manifest, place, at FROM archive_segments ORDER BY first`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var text string
			var at int64
			var s Segment
			if err := rows.Scan(&text, &s.Place, &at); err != nil {
				return err
			}
			if err := json.Unmarshal([]byte(text), &s.Manifest); err != nil {
				return fmt.Errorf("read a manifest: %w", err)
			}
			s.At, s.Here = time.Unix(at, 0).UTC(), s.First >= first
			all = append(all, s)
		}
		return rows.Err()
	})
	return all, err
}

// Problem returns why the last Keep of Run did not end well, or nil.
func (a *Archive) Problem() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.problem
}

// Run archives segments as they come, until ctx is done. Its caller owns the
// goroutine. Without a bucket it has nothing to do.
func (a *Archive) Run(ctx context.Context) error {
	if a.Bucket == nil {
		return nil
	}
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for {
		_, err := a.Keep(ctx)
		a.mu.Lock()
		a.problem = err
		a.mu.Unlock()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// noBucket is the error of an archive that has nowhere to put things.
func noBucket() error {
	return &pavise.Error{Kind: pavise.Conflict, Msg: "this installation has no archive", Hint: "start it with one: pavise up --archive DIRECTORY, or s3://BUCKET/PREFIX"}
}

// Keep archives every segment that grows no more and was not archived yet, and
// returns those. What it did not come to is done the next time.
func (a *Archive) Keep(ctx context.Context) ([]Segment, error) {
	if a.Bucket == nil {
		return nil, noBucket()
	}
	a.working.Lock()
	defer a.working.Unlock()
	had, err := a.Segments(ctx)
	if err != nil {
		return nil, err
	}
	cs, err := a.Classes(ctx)
	if err != nil {
		return nil, err
	}
	known := map[uint64]bool{}
	for _, s := range had {
		known[s.First] = true
	}
	var kept []Segment
	for _, sealed := range a.Log.Sealed() {
		if known[sealed.First] {
			continue
		}
		s, err := a.keep(ctx, sealed, cs)
		if err != nil {
			return kept, err
		}
		kept = append(kept, s)
	}
	return kept, nil
}

// keep archives one segment: its bytes, the checkpoint at its end, the manifest,
// and then the record and the table's row that say so.
func (a *Archive) keep(ctx context.Context, sealed ledger.Sealed, cs classes) (Segment, error) {
	r, err := a.Log.OpenSegment(sealed.Segment)
	if err != nil {
		return Segment{}, err
	}
	m, err := describe(a.Log, sealed, r, cs)
	r.Close()
	if err != nil {
		return Segment{}, err
	}
	if err := a.put(ctx, sealed, m); err != nil {
		return Segment{}, err
	}
	s := Segment{Manifest: m, Place: a.Bucket.Place().URL, At: a.Now().UTC(), Here: true}
	detail := struct {
		Manifest
		Place string `json:"place"`
		Lock  string `json:"lock"`
	}{m, s.Place, a.Bucket.Place().Lock}
	if err := a.Note(ctx, KindKept, detail); err != nil {
		return s, err
	}
	text, err := json.Marshal(m)
	if err != nil {
		return s, fmt.Errorf("encode a manifest: %w", err)
	}
	return s, a.db.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO archive_segments (first, manifest, place, at) VALUES (?, ?, ?, ?)`, m.First, string(text), s.Place, s.At.Unix())
		return err
	})
}

// put writes the three objects, the manifest last. One that an earlier process
// finished is left as it is.
func (a *Archive) put(ctx context.Context, sealed ledger.Sealed, m Manifest) error {
	if there, err := readManifest(ctx, a.Bucket, m.object()); err == nil && there.SHA256 == m.SHA256 && there.Bytes == m.Bytes {
		return a.readBack(ctx, there)
	}
	r, err := a.Log.OpenSegment(sealed.Segment)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := a.Bucket.Put(ctx, blob.Object{Name: m.segment(), Size: m.Bytes, Until: m.Until}, r); err != nil {
		return err
	}
	cp, err := a.Log.CheckpointAt(m.First + m.Count)
	if err != nil {
		return err
	}
	if err := a.Bucket.Put(ctx, blob.Object{Name: m.checkpoint(), Size: int64(len(cp.Note)), Until: m.Until}, bytes.NewReader(cp.Note)); err != nil {
		return err
	}
	text, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode a manifest: %w", err)
	}
	return a.Bucket.Put(ctx, blob.Object{Name: m.object(), Size: int64(len(text)), Until: m.Until}, bytes.NewReader(text))
}

// readBack makes sure that the archive holds the bytes of a segment, all of them.
func (a *Archive) readBack(ctx context.Context, m Manifest) error {
	r, err := a.Bucket.Get(ctx, m.segment())
	if err != nil {
		return err
	}
	defer r.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, io.LimitReader(r, m.Bytes+1))
	if err != nil {
		return &pavise.Error{Kind: pavise.Unavailable, Msg: "read " + m.segment() + " back from the archive: " + err.Error(), Hint: "try again", Err: err}
	}
	if n != m.Bytes || hex.EncodeToString(sum.Sum(nil)) != m.SHA256 {
		return &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("%s in the archive is not the segment that its manifest describes", m.segment()), Hint: "somebody changed it, or it was cut short: remove both objects there, and it is archived again"}
	}
	return nil
}

// Prune takes away, here, the oldest segments whose records nobody wants here any
// more: their classes say so, every follower has done with them, and the archive
// holds every byte, which is read back. It returns what it took, nothing if there
// was nothing to take.
func (a *Archive) Prune(ctx context.Context, who *pavise.Principal) (p record.Pruning, err error) {
	if a.Bucket == nil {
		return p, noBucket()
	}
	a.working.Lock()
	defer a.working.Unlock()
	segments, err := a.Segments(ctx)
	if err != nil {
		return p, err
	}
	cs, err := a.Classes(ctx)
	if err != nil {
		return p, err
	}
	oldest, followed, err := a.Oldest(ctx)
	if err != nil {
		return p, err
	}
	next := a.Log.First()
	for _, s := range segments {
		until, ends := s.wanted(cs)
		end := s.First + s.Count
		if s.First < next {
			continue
		}
		if s.First != next || !ends || a.Now().Before(until) || followed && oldest < end {
			break
		}
		if err := a.readBack(ctx, s.Manifest); err != nil {
			return p, err
		}
		p.Segments = append(p.Segments, record.PrunedSegment{First: s.First, Count: s.Count, SHA256: s.SHA256, Kept: s.Place})
		p.Below, next = end, end
	}
	if len(p.Segments) == 0 {
		return p, nil
	}
	p.Why = "their classes of retention no longer want them on this machine"
	return p, a.Log.Prune(ctx, p, who)
}
