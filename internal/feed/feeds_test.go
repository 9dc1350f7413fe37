package feed

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/disk/disktest"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/store"
)

// testKey is a log key that guards nothing.
var testKey = ed25519.NewKeyFromSeed([]byte("pavise feed test key, of 32 byte"))

var testTime = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)

// effects is what the followers of these tests do: they note what they were given.
var effects = []string{`CREATE TABLE effect_seen (follower TEXT NOT NULL, at INTEGER NOT NULL, id TEXT NOT NULL) STRICT`}

func openLog(t testing.TB, d *disktest.Disk, segment int64) *ledger.Log {
	t.Helper()
	l, err := ledger.Open(ledger.Options{Disk: d, Origin: "example.test/log", Key: testKey, Tenant: "local", SegmentSize: segment, Now: func() time.Time { return testTime }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func openStore(t testing.TB, path string) *store.DB {
	t.Helper()
	db, err := store.Open(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := db.Migrate(context.Background(), "effect", effects); err != nil {
		t.Fatal(err)
	}
	return db
}

func openFeeds(t testing.TB, l *ledger.Log, db *store.DB) *Feeds {
	t.Helper()
	f, err := Open(context.Background(), l, db, func() time.Time { return testTime })
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// world is a log on a disk that goes well, with its feeds.
func world(t testing.TB, records int) *Feeds {
	t.Helper()
	l := openLog(t, disktest.New(), 1)
	f := openFeeds(t, l, openStore(t, filepath.Join(t.TempDir(), "state.db")))
	add(t, l, records, "acme", "model.infer")
	return f
}

func testRecord(tenant, kind string, i int) *record.Record {
	return &record.Record{
		Kind: kind, Phase: record.Act, Tenant: tenant, At: testTime.Add(time.Duration(i) * time.Second),
		On: pavise.Name{Tenant: tenant, Kind: "model", ID: fmt.Sprintf("m%d", i)},
	}
}

// add appends records and returns when all are signed.
func add(t testing.TB, l *ledger.Log, n int, tenant, kind string) {
	t.Helper()
	for i := range n {
		how := ledger.Written
		if i == n-1 {
			how = ledger.Durable
		}
		if _, err := l.Append(context.Background(), testRecord(tenant, kind, i), how); err != nil {
			t.Fatal(err)
		}
	}
}

// seen is one record that a follower was given.
type seen struct {
	index uint64
	id    string
}

// noting is an Each that notes what it is given, in the transaction.
func noting(follower string) Each {
	return func(_ context.Context, tx *store.Tx, r ledger.Found) error {
		_, err := tx.Exec("INSERT INTO effect_seen (follower, at, id) VALUES (?, ?, ?)", follower, r.Index, r.On.ID)
		return err
	}
}

// noted returns what a follower has noted, in order.
func noted(t testing.TB, db *store.DB, follower string) []seen {
	t.Helper()
	all, err := notedIn(db, follower)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func notedIn(db *store.DB, follower string) (all []seen, err error) {
	err = db.View(context.Background(), func(tx *store.Tx) error {
		rows, err := tx.Query("SELECT at, id FROM effect_seen WHERE follower = ? ORDER BY rowid", follower)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var s seen
			if err := rows.Scan(&s.index, &s.id); err != nil {
				return err
			}
			all = append(all, s)
		}
		return rows.Err()
	})
	return all, err
}

// matching returns what a filter wants of the signed records of a log.
func matching(t testing.TB, l *ledger.Log, filter ledger.Filter) []seen {
	t.Helper()
	all, err := matchingIn(l, filter)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func matchingIn(l *ledger.Log, filter ledger.Filter) (all []seen, err error) {
	for i := range l.Head().Size {
		r, err := l.Read(i)
		if err != nil {
			return nil, err
		}
		if filter.Matches(&r) {
			all = append(all, seen{i, r.On.ID})
		}
	}
	return all, nil
}

// until returns once something holds, and fails the test when it seems to hold never.
func until(t testing.TB, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not come to pass")
		}
	}
}

// TestReplayEqualsLive has four writers append while somebody watches, with a filter
// and without: what they saw live is what a follower from zero is given afterwards, and
// what is in the log, in its order, nothing twice and nothing missing.
func TestReplayEqualsLive(t *testing.T) {
	f := world(t, 0)
	filters := map[string]ledger.Filter{
		"all":    {},
		"kind":   {Kinds: []string{"route.put"}},
		"room":   {Kinds: []string{"model"}},
		"tenant": {Tenant: "acme"},
		"both":   {Tenant: "other", Kinds: []string{"model.infer", "route.put"}},
		"none":   {Kinds: []string{"nobody.home"}},
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	live := map[string][]seen{}
	var mu sync.Mutex
	var watchers, writers sync.WaitGroup
	for name, filter := range filters {
		watchers.Go(func() {
			for r, err := range f.Live(ctx, filter, 0) {
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
				mu.Lock()
				live[name] = append(live[name], seen{r.Index, r.On.ID})
				mu.Unlock()
			}
		})
	}
	const each = 400
	for w := range 4 {
		writers.Go(func() {
			for i := range each {
				r := testRecord([]string{"acme", "other"}[i%2], []string{"model.infer", "route.put", "model.score"}[i%3], w*each+i)
				if _, err := f.log.Append(ctx, r, ledger.Durability(i%7/6)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	if err := f.log.AwaitSigned(ctx, 4*each-1); err != nil {
		t.Fatal(err)
	}
	for name, filter := range filters {
		want := matching(t, f.log, filter)
		until(t, func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(live[name]) >= len(want)
		})
		if err := f.CatchUp(ctx, "acme", name, filter, noting(name)); err != nil {
			t.Fatal(err)
		}
		if got := noted(t, f.db, name); !slices.Equal(got, want) {
			t.Errorf("%s: replayed were %d records, want %d", name, len(got), len(want))
		}
	}
	cancel()
	watchers.Wait()
	for name, filter := range filters {
		if want := matching(t, f.log, filter); !slices.Equal(live[name], want) {
			t.Errorf("%s: live were %d records, want %d", name, len(live[name]), len(want))
		}
	}
}

// TestFollowWhileItGrows follows a log that is being written to, in two stretches, and
// is given each record once.
func TestFollowWhileItGrows(t *testing.T) {
	f := world(t, 300)
	for stretch := range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- f.Follow(ctx, "acme", "x", ledger.Filter{}, noting("x")) }()
		add(t, f.log, 300, "acme", "model.infer")
		want := (stretch + 2) * 300
		until(t, func() bool { return len(noted(t, f.db, "x")) >= want })
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Follow: %v", err)
		}
	}
	if got, want := noted(t, f.db, "x"), matching(t, f.log, ledger.Filter{}); !slices.Equal(got, want) {
		t.Errorf("followed were %d records, want %d", len(got), len(want))
	}
}

// TestWhatIsNotSignedIsNotShown has the disk fail to sync: what was written since is in
// the log for the moment, and power loss may take it; no follower is told.
func TestWhatIsNotSignedIsNotShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := disktest.New()
		l := openLog(t, d, 1)
		defer l.Close()
		db := openStore(t, filepath.Join(t.TempDir(), "state.db"))
		defer db.Close()
		f := openFeeds(t, l, db)
		add(t, l, 3, "acme", "model.infer")
		d.Fail(func(op, name string) error {
			if _, segment := disk.ParseSegmentName(name); segment && op == "sync" {
				return syscall.EIO
			}
			return nil
		})
		if _, err := l.Append(t.Context(), testRecord("acme", "model.infer", 3), ledger.Written); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var live []uint64
		for r, err := range f.Live(ctx, ledger.Filter{}, 0) {
			if err != nil {
				t.Fatal(err)
			}
			live = append(live, r.Index)
		}
		if err := f.CatchUp(t.Context(), "acme", "x", ledger.Filter{}, noting("x")); err != nil {
			t.Fatal(err)
		}
		if got := noted(t, db, "x"); l.Size() != 4 || len(live) != 3 || len(got) != 3 {
			t.Errorf("of %d records, %d were live and %d replayed; want 3 of 4", l.Size(), len(live), len(got))
		}
	})
}

// TestBatches takes 512 records in one transaction: when one of the next batch fails,
// those before it in the batch are undone and those of the batch before are not, and
// all come once in the end.
func TestBatches(t *testing.T) {
	f := world(t, 1100)
	broken := errors.New("broken")
	fails := true
	each := func(ctx context.Context, tx *store.Tx, r ledger.Found) error {
		if r.Index == 700 && fails {
			return broken
		}
		return noting("x")(ctx, tx, r)
	}
	for range 2 {
		if err := f.Follow(t.Context(), "acme", "x", ledger.Filter{}, each); !errors.Is(err, broken) || !strings.Contains(err.Error(), "follow the log as x") {
			t.Fatalf("Follow: %v", err)
		}
		if got, at := len(noted(t, f.db, "x")), cursorOf(t, f, "x").Next; got != batch || at != batch {
			t.Errorf("%d records are noted, and the cursor is at %d; want %d", got, at, batch)
		}
	}
	fails = false
	if err := f.CatchUp(t.Context(), "acme", "x", ledger.Filter{}, each); err != nil {
		t.Fatal(err)
	}
	if got, want := noted(t, f.db, "x"), matching(t, f.log, ledger.Filter{}); !slices.Equal(got, want) {
		t.Errorf("%d records are noted, want %d", len(got), len(want))
	}
}

// cursorOf is the cursor of a follower as it is on disk.
func cursorOf(t testing.TB, f *Feeds, name string) (c Cursor) {
	t.Helper()
	err := f.db.View(context.Background(), func(tx *store.Tx) (err error) {
		c, err = find(tx, "acme", name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestIdleFollowerWritesRarely follows for records that never come: its cursor is
// written once in 4,096 records, and not before.
func TestIdleFollowerWritesRarely(t *testing.T) {
	l := openLog(t, disktest.New(), 0)
	f := openFeeds(t, l, openStore(t, filepath.Join(t.TempDir(), "state.db")))
	rare := ledger.Filter{Kinds: []string{"route.put"}}
	catchUp := func(want uint64) {
		t.Helper()
		if err := f.CatchUp(t.Context(), "acme", "x", rare, noting("x")); err != nil {
			t.Fatal(err)
		}
		if got := cursorOf(t, f, "x").Next; got != want {
			t.Errorf("after %d records the cursor is at %d, want %d", l.Size(), got, want)
		}
	}
	add(t, l, idleStep-1, "acme", "model.infer")
	catchUp(0)
	add(t, l, 1, "acme", "model.infer")
	catchUp(idleStep)
	add(t, l, 5, "acme", "model.infer")
	add(t, l, 1, "acme", "route.put")
	add(t, l, 5, "acme", "model.infer")
	catchUp(idleStep + 11)
	if got := noted(t, f.db, "x"); len(got) != 1 || got[0].index != idleStep+5 {
		t.Errorf("noted %v", got)
	}
}

// TestFollowEnds returns nil when nobody wants to follow any more, even with records
// still to come, or when the log closes; with NotFound when the follower was dropped,
// and then without an effect that no cursor covers.
func TestFollowEnds(t *testing.T) {
	f := world(t, 600)
	ctx, cancel := context.WithCancel(t.Context())
	cancelling := func(ctx context.Context, tx *store.Tx, r ledger.Found) error {
		cancel()
		return noting("gone")(ctx, tx, r)
	}
	if err := f.Follow(ctx, "acme", "gone", ledger.Filter{}, cancelling); err != nil {
		t.Errorf("cancelled: %v", err)
	}
	if n := len(noted(t, f.db, "gone")); n != batch {
		t.Errorf("cancelled in its first batch, it has noted %d", n)
	}
	if err := f.CatchUp(ctx, "acme", "late", ledger.Filter{}, noting("late")); !errors.Is(err, context.Canceled) {
		t.Errorf("CatchUp that did not: %v", err)
	}
	dropping := func(ctx context.Context, tx *store.Tx, r ledger.Found) error {
		if r.Index == 0 {
			if _, err := tx.Exec("DELETE FROM feed_cursors WHERE name = 'dropped'"); err != nil {
				return err
			}
		}
		return noting("dropped")(ctx, tx, r)
	}
	if err := f.Follow(t.Context(), "acme", "dropped", ledger.Filter{}, dropping); pavise.KindOf(err) != pavise.NotFound {
		t.Errorf("dropped: %v", err)
	}
	if n := len(noted(t, f.db, "dropped")); n != 0 {
		t.Errorf("dropped, it has noted %d", n)
	}
	ended := make(chan error)
	go func() { ended <- f.Follow(t.Context(), "acme", "last", ledger.Filter{}, noting("last")) }()
	until(t, func() bool { return len(noted(t, f.db, "last")) >= 600 })
	f.log.Close()
	if err := <-ended; err != nil {
		t.Errorf("closed: %v", err)
	}
}

// TestLiveEnds stops when its reader does, when the context ends, and when the log
// closes, without an error.
func TestLiveEnds(t *testing.T) {
	f := world(t, 10)
	n := 0
	for range f.Live(t.Context(), ledger.Filter{}, 3) {
		if n++; n == 2 {
			break
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for r, err := range f.Live(ctx, ledger.Filter{}, 8) {
		if err != nil {
			t.Errorf("cancelled: %v", err)
		}
		if r.Index == 9 {
			cancel()
		}
	}
	for r, err := range f.Live(t.Context(), ledger.Filter{}, 8) {
		if err != nil {
			t.Errorf("closed: %v", err)
		}
		if r.Index == 9 {
			f.log.Close()
		}
	}
}

// TestDamagedRecord gives the follower everything before a record whose bytes were
// changed, then ends with the error that says so, every time.
func TestDamagedRecord(t *testing.T) {
	d := disktest.New()
	l := openLog(t, d, 1)
	f := openFeeds(t, l, openStore(t, filepath.Join(t.TempDir(), "state.db")))
	add(t, l, 20, "acme", "model.infer")
	bytes, _ := d.Bytes(disk.SegmentName(0))
	at := strings.Index(string(bytes), `model/m7"`)
	file, err := d.Open(disk.SegmentName(0), false)
	if err != nil || at < 0 {
		t.Fatal(at, err)
	}
	if _, err := file.WriteAt([]byte("M"), int64(at)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := f.Follow(t.Context(), "acme", "x", ledger.Filter{}, noting("x")); pavise.KindOf(err) != pavise.Unverified {
			t.Errorf("Follow: %v", err)
		}
		if got := noted(t, f.db, "x"); len(got) != 7 {
			t.Errorf("%d records are noted, want the 7 before it", len(got))
		}
	}
	n, last := 0, error(nil)
	for _, err := range f.Live(t.Context(), ledger.Filter{}, 0) {
		n, last = n+1, err
	}
	if n != 8 || pavise.KindOf(last) != pavise.Unverified {
		t.Errorf("Live gave %d records, error %v", n-1, last)
	}
}

// TestRolledBackLog refuses to go on with a log that holds less than the follower has
// seen, and says what to do.
func TestRolledBackLog(t *testing.T) {
	d := disktest.New()
	l := openLog(t, d, 1)
	db := openStore(t, filepath.Join(t.TempDir(), "state.db"))
	f := openFeeds(t, l, db)
	add(t, l, 5, "acme", "model.infer")
	older := d.Frozen()
	add(t, l, 5, "acme", "model.infer")
	if err := f.CatchUp(t.Context(), "acme", "x", ledger.Filter{}, noting("x")); err != nil {
		t.Fatal(err)
	}
	f = openFeeds(t, openLog(t, older, 1), db)
	for name, follow := range map[string]func(context.Context, string, string, ledger.Filter, Each) error{"Follow": f.Follow, "CatchUp": f.CatchUp} {
		err := follow(t.Context(), "acme", "x", ledger.Filter{}, noting("x"))
		if e, ok := errors.AsType[*pavise.Error](err); !ok || e.Kind != pavise.Unverified || !strings.Contains(e.Msg, "rolled back") || e.Hint == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := noted(t, db, "x"); len(got) != 10 {
		t.Errorf("%d records are noted", len(got))
	}
}

// TestPrunedLog begins a new follower at the first record that is still there, and lets
// one that was behind go on from there.
func TestPrunedLog(t *testing.T) {
	f := world(t, 600)
	if _, err := f.Begin(t.Context(), "acme", "behind", ledger.Filter{}, 3); err != nil {
		t.Fatal(err)
	}
	if err := f.log.AwaitPublished(t.Context(), 599); err != nil {
		t.Fatal(err)
	}
	if err := f.log.Prune(t.Context(), record.Pruning{Below: 256}, nil); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"behind", "new"} {
		if err := f.CatchUp(t.Context(), "acme", name, ledger.Filter{}, noting(name)); err != nil {
			t.Fatal(err)
		}
		if got := noted(t, f.db, name); len(got) != 601-256 || got[0].index != 256 || cursorOf(t, f, name).Next != 601 {
			t.Errorf("%s: %d records are noted", name, len(got))
		}
	}
}
