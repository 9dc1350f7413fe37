package archive

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/proof"
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
	for _, s := range had {
		if err := a.keepLonger(ctx, s, cs); err != nil {
			return kept, err
		}
	}
	return kept, nil
}

// Check fails when the archive is not to be reached, or does not hold the newest segment
// that it was given: Keep, with nothing new to archive, would not notice.
func (a *Archive) Check(ctx context.Context) error {
	if a.Bucket == nil {
		return noBucket()
	}
	had, err := a.Segments(ctx)
	if err != nil {
		return err
	}
	place := a.Bucket.Place().URL
	last := Segment{Manifest: Manifest{Origin: a.Log.Origin()}} // there need not be such a segment
	for _, s := range had {
		if s.Place == place {
			last = s
		}
	}
	_, err = readManifest(ctx, a.Bucket, last.object())
	if pavise.KindOf(err) == pavise.NotFound && last.Place != "" {
		return &pavise.Error{
			Kind: pavise.Unavailable, Msg: fmt.Sprintf("the archive %s does not hold %s, which was archived there", place, last.segment()),
			Hint: "is it mounted? bring the archive back from a copy; what is pruned here is nowhere else", Err: err,
		}
	}
	if pavise.KindOf(err) == pavise.NotFound {
		return nil
	}
	return err
}

// keep archives one segment: its bytes, the checkpoint at its end, the manifest,
// and then the record and the table's row that say so.
func (a *Archive) keep(ctx context.Context, sealed ledger.Sealed, cs classes) (Segment, error) {
	m, root, err := describe(a.Log, sealed)
	if err != nil {
		return Segment{}, err
	}
	m.Until = m.keepUntil(cs)
	if err := a.put(ctx, sealed, m, root); err != nil {
		return Segment{}, err
	}
	s := Segment{Manifest: m, Place: a.Bucket.Place().URL, At: a.Now().UTC(), Here: true}
	return s, a.noteKept(ctx, s)
}

// noteKept records that the archive keeps a segment, and until when, and remembers it.
func (a *Archive) noteKept(ctx context.Context, s Segment) error {
	detail := struct {
		Manifest
		Place string `json:"place"`
		Lock  string `json:"lock"`
	}{s.Manifest, s.Place, a.Bucket.Place().Lock}
	if err := a.Note(ctx, KindKept, detail); err != nil {
		return err
	}
	text, err := json.Marshal(s.Manifest)
	if err != nil {
		return fmt.Errorf("encode a manifest: %w", err)
	}
	return a.db.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO archive_segments (first, manifest, place, at) VALUES (?, ?, ?, ?) ON CONFLICT (first) DO UPDATE SET manifest = excluded.manifest`,
			s.First, string(text), s.Place, s.At.Unix())
		return err
	})
}

// keepLonger has the archive hold a segment longer, if a class asks for that since it
// was archived.
func (a *Archive) keepLonger(ctx context.Context, s Segment, cs classes) error {
	until := s.keepUntil(cs)
	place := a.Bucket.Place()
	if !until.After(s.Until) || !until.After(a.Now()) || place.Lock == "none" || place.URL != s.Place {
		return nil
	}
	if err := a.hold(ctx, s.Manifest, until); err != nil {
		return err
	}
	s.Until = until
	return a.noteKept(ctx, s)
}

// hold has the archive hold the objects of a segment until then, if it can.
func (a *Archive) hold(ctx context.Context, m Manifest, until time.Time) error {
	h, ok := a.Bucket.(blob.Holder)
	if !ok || until.IsZero() {
		return nil
	}
	for _, name := range []string{m.segment(), m.checkpoint(), m.object()} {
		if err := h.Hold(ctx, name, until); err != nil {
			return err
		}
	}
	return nil
}

// put writes the three objects, the manifest last. What an earlier process finished is
// left as it is, and what another log's process did is never written over.
func (a *Archive) put(ctx context.Context, sealed ledger.Sealed, m Manifest, root [32]byte) error {
	there, err := readManifest(ctx, a.Bucket, m.object())
	if err == nil && !there.same(m) {
		err = &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("the archive holds another segment as %s, of log %s: another log was archived there", m.segment(), there.Origin), Hint: "give each log its own place: pavise up --archive s3://BUCKET/PREFIX"}
	}
	if err == nil {
		err = a.readBack(ctx, m, root)
	}
	if err == nil {
		return a.hold(ctx, m, m.Until)
	}
	if pavise.KindOf(err) != pavise.NotFound {
		return err
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
	if cp.Root != root {
		return &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("the hash files of the log do not lead to the root of its first %d records", cp.Size), Hint: "run pavise ledger doctor"}
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

// readBack makes sure that the archive holds a segment, all of it, and what it takes to
// restore it: the manifest, and a checkpoint with the root that the log's tree has at
// its end.
func (a *Archive) readBack(ctx context.Context, m Manifest, root [32]byte) error {
	there, err := readManifest(ctx, a.Bucket, m.object())
	if err != nil {
		return err
	}
	if !there.same(m) {
		return changed(m.object())
	}
	note, err := read(ctx, a.Bucket, m.checkpoint(), proof.MaxNote)
	if err != nil {
		return err
	}
	cp, err := proof.OpenSigned(note, a.Log.Keys()[0])
	if err != nil || cp.Size != m.First+m.Count || cp.Root != root {
		return changed(m.checkpoint())
	}
	r, err := a.Bucket.Get(ctx, m.segment())
	if err != nil {
		return err
	}
	defer r.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, io.LimitReader(r, m.Bytes+1))
	if err != nil {
		return unread(m.segment(), err)
	}
	if n != m.Bytes || hex.EncodeToString(sum.Sum(nil)) != m.SHA256 {
		return changed(m.segment())
	}
	return nil
}

// changed is the error of an object that is not what was archived.
func changed(name string) error {
	return &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("%s in the archive is not what was archived", name), Hint: "somebody changed it, or it was cut short: remove the segment's objects there, and it is archived again"}
}

// Prune takes away, here, the oldest segments whose records nobody wants here any
// more: their classes say so, every follower has done with them, and the archive
// holds every byte, which is read back. It returns what it took, or no segments and
// why not.
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
		if p.Why = held(s, next, until, ends, a.Now(), oldest, followed); p.Why != "" {
			break
		}
		if err := a.sure(ctx, s); err != nil {
			return record.Pruning{}, err
		}
		p.Segments = append(p.Segments, record.PrunedSegment{First: s.First, Count: s.Count, SHA256: s.SHA256, Kept: a.Bucket.Place().URL})
		p.Below, next = end, end
	}
	if len(p.Segments) == 0 {
		p.Why = cmp.Or(p.Why, "no segment that is still here was archived")
		return p, nil
	}
	p.Why = "their classes of retention no longer want them on this machine"
	return p, a.Log.Prune(ctx, p, who)
}

// held says why a segment is not pruned yet, or "". next is the first record that is
// still here, and oldest the first that some follower has not done with.
func held(s Segment, next uint64, until time.Time, ends bool, now time.Time, oldest uint64, followed bool) string {
	last := s.First + s.Count - 1
	switch {
	case s.First != next:
		return fmt.Sprintf("records %d to %d were not archived", next, s.First-1)
	case !ends:
		return fmt.Sprintf("the classes of records %d to %d want them here for ever", s.First, last)
	case now.Before(until):
		return fmt.Sprintf("the classes of records %d to %d want them here until %s", s.First, last, until.UTC().Format("2006-01-02 15:04 UTC"))
	case followed && oldest <= last:
		return fmt.Sprintf("a follower has not done with record %d: pavise ledger followers shows which", oldest)
	}
	return ""
}

// sure makes sure that a segment can be let go here: that what lies here is what was
// appended, and the archive holds just that. A segment that the archive does not hold
// is no longer taken for archived, so that it is archived again.
func (a *Archive) sure(ctx context.Context, s Segment) error {
	sealed := a.Log.Sealed()
	i := slices.IndexFunc(sealed, func(here ledger.Sealed) bool { return here.First == s.First })
	if i < 0 {
		return &pavise.Error{Kind: pavise.Conflict, Msg: fmt.Sprintf("%s is not on this machine, or grows still", disk.SegmentName(s.First)), Hint: "run pavise ledger verify"}
	}
	m, root, err := describe(a.Log, sealed[i])
	if err != nil {
		return err
	}
	if !m.same(s.Manifest) {
		err = &pavise.Error{Kind: pavise.Unverified, Msg: fmt.Sprintf("%s is not the segment that the database says was archived", sealed[i].Name()), Hint: "somebody may have changed the database; the segment is archived again"}
	} else {
		err = a.readBack(ctx, m, root)
	}
	if kind := pavise.KindOf(err); kind != pavise.NotFound && kind != pavise.Unverified {
		return err
	}
	return errors.Join(err, a.db.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`DELETE FROM archive_segments WHERE first = ?`, s.First)
		return err
	}))
}
