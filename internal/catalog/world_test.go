package catalog

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/dataset"
	"github.com/pavise/pavise/internal/disk/disktest"
	"github.com/pavise/pavise/internal/guard"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/rowseal"
	"github.com/pavise/pavise/internal/store"
)

// testKey is a log key that guards nothing.
var testKey = ed25519.NewKeyFromSeed([]byte("pavise catalog test, 32 bytes ok"))

// rows is a dataset, and ana a person who may do everything.
var (
	rows = pavise.Name{Tenant: "local", Kind: Kind, ID: "rows"}
	ana  = pavise.Principal{Tenant: "local", Kind: pavise.Human, ID: "ana", Roles: []string{"operator"}}
	ben  = pavise.Principal{Tenant: "local", Kind: pavise.Human, ID: "ben", Roles: []string{"operator"}}
)

// A lake is a directory with datasets, whose addresses are the names of files in it. It can
// be made to fail, and counts how it is looked at.
type lake struct {
	dir string

	mu     sync.Mutex
	fail   error // of every look
	full   int   // looks that read everything
	fast   int
	at     int // looks under way
	most   int // beside each other
	slow   time.Duration
	before func(ctx context.Context, out string) context.Context // of a seal; nil: nothing
}

func (l *lake) Allowed(at Place) error {
	if strings.Contains(at.URL, "/") {
		return &pavise.Error{Kind: pavise.Denied, Msg: at.URL + " is not in the lake"}
	}
	return nil
}

// enter counts a look, and takes its time.
func (l *lake) enter(count *int) (leave func(), err error) {
	l.mu.Lock()
	*count++
	l.at++
	l.most = max(l.most, l.at)
	slow, err := l.slow, l.fail
	l.mu.Unlock()
	time.Sleep(slow)
	return func() { l.mu.Lock(); l.at--; l.mu.Unlock() }, err
}

func (l *lake) Seal(ctx context.Context, at Place, out string, grow func(int64) error) (int, error) {
	leave, err := l.enter(&l.full)
	defer leave()
	if err != nil {
		return 0, err
	}
	if l.before != nil {
		ctx = l.before(ctx, out)
	}
	made, err := (&dataset.Seal{Path: filepath.Join(l.dir, at.URL), Out: out, ByBlock: at.ByBlock, Grow: grow}).Run(ctx)
	if err != nil {
		return 0, err
	}
	return made.Resumed, nil
}

func (l *lake) Hold(ctx context.Context, at Place, seal string, fast bool) (Differences, int, error) {
	leave, err := l.enter(map[bool]*int{true: &l.fast, false: &l.full}[fast])
	defer leave()
	if err != nil {
		return Differences{}, 0, err
	}
	held, err := (&dataset.Verify{Path: filepath.Join(l.dir, at.URL), Seal: seal, Fast: fast}).Run(ctx)
	if err != nil {
		return Differences{}, 0, err
	}
	return named(held.Differences), held.Trusted, nil
}

// named are the differences as the house has them.
func named(all []dataset.Difference) (d Differences) {
	for _, f := range all {
		d.Files = append(d.Files, Difference{File: f.File, What: f.What, Note: f.Note, Changed: f.Changed, Removed: f.Removed, Added: f.Added, Blocks: f.Blocks})
	}
	return d
}

// pour writes a file of the lake, which is another file each time.
func (l *lake) pour(t *testing.T, name, text string) {
	t.Helper()
	file := filepath.Join(l.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// fails makes every look fail, or none.
func (l *lake) fails(err error) { l.mu.Lock(); defer l.mu.Unlock(); l.fail = err }

// slows makes every look take so long.
func (l *lake) slows(d time.Duration) { l.mu.Lock(); defer l.mu.Unlock(); l.slow = d }

// beside is how many looks there were beside each other, at most.
func (l *lake) beside() int { l.mu.Lock(); defer l.mu.Unlock(); return l.most }

// looks returns how often the lake was looked at since it was asked last.
func (l *lake) looks() (full, fast int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	full, fast = l.full, l.fast
	l.full, l.fast = 0, 0
	return full, fast
}

// A world is a log with a guard before it, and a catalog over a lake.
type world struct {
	*Catalog
	lake *lake
	cfg  Config
	skew atomic.Int64 // of the clock, in nanoseconds

	mu     sync.Mutex // guards what follows
	judge  func(ctx context.Context, ask ToScreen) (Judged, *Report, error)
	judged []ToScreen

	stop func() // ends Run, and waits for it

	cancelRun func() // ends Run
}

func newWorld(t *testing.T) *world {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	if info, err := os.Stat(dir); err == nil { // in a bubble, files are of a far future, and no hint of them is believed
		time.Sleep(time.Until(info.ModTime().Add(time.Hour)))
	}
	w := &world{lake: &lake{dir: t.TempDir()}}
	log, err := ledger.Open(ledger.Options{Disk: disktest.New(), Origin: "example.test/log", Key: testKey, Tenant: "local"})
	must(err)
	t.Cleanup(func() { log.Close() })
	db, err := store.Open(t.Context(), filepath.Join(dir, "db"))
	must(err)
	t.Cleanup(func() { db.Close() })
	g, err := guard.New(guard.Config{Log: log, Actions: actions(), Approved: func(c pavise.Name, verb string, _ pavise.Name) bool {
		return c.ID == "approved" && verb == "dataset.accept"
	}})
	must(err)
	policies, err := guard.OpenPolicies(t.Context(), g, db)
	must(err)
	must(policies.Seed(t.Context(), "local", guard.Defaults()))
	w.cfg = Config{
		Guard: g, Log: log, Store: db, Places: w.lake, Dir: filepath.Join(dir, "datasets"), Now: func() time.Time { return time.Now().Add(time.Duration(w.skew.Load())) }, Signed: dataset.SignedAs, Prove: proved,
		Screen: func(ctx context.Context, ask ToScreen) (Judged, *Report, error) {
			w.mu.Lock()
			judge := w.judge
			w.judged = append(w.judged, ask)
			w.mu.Unlock()
			if judge == nil {
				return Judged{Rows: 1}, &Report{}, nil
			}
			return judge(ctx, ask)
		},
		Compare: func(ctx context.Context, old, now string) (Differences, error) {
			c, err := (&dataset.Compare{Old: old, New: now}).Run(ctx)
			if err != nil {
				return Differences{}, err
			}
			return named(c.Differences), nil
		},
	}
	w.run(t)
	t.Cleanup(func() { w.stop() })
	return w
}

// proved is what dataset proves, as the house has it.
func proved(ctx context.Context, seal string, digest rowseal.Digest, parquet bool) (Proof, error) {
	p, err := dataset.ProveRow(ctx, seal, dataset.Row{Digest: rowseal.Hash(digest), Parquet: parquet})
	if err != nil {
		return Proof{}, err
	}
	made := Proof{Root: p.Root, Member: p.Member, Count: p.Count, Statement: p.Statement}
	for _, at := range p.Places {
		made.Spots = append(made.Spots, Spot(at))
	}
	return made, nil
}

// actions are one of each room that the default policies name; those of datasets are named
// already.
func actions() (all []guard.Action) {
	for _, room := range []string{"ledger", "route", "issuer", "console", "archive", "subject"} {
		all = append(all, guard.Action{Verb: room + ".try", On: []string{room}})
	}
	return all
}

// run opens the catalog, as another process does, and has it look.
func (w *world) run(t *testing.T) {
	t.Helper()
	var err error
	if w.Catalog, err = Open(t.Context(), w.cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	c := w.Catalog
	w.cancelRun = cancel
	go func() { done <- c.Run(ctx) }()
	w.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		w.stop = func() {}
	}
}

// watch watches the dataset rows as ana, at the file of that name, every hour.
func (w *world) watch(t *testing.T, edit ...func(*WatchSpec)) {
	t.Helper()
	spec := WatchSpec{Name: rows, Place: Place{URL: "rows.csv"}}
	for _, e := range edit {
		e(&spec)
	}
	if _, err := w.Watch(t.Context(), ana, spec); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

// pass lets so many hours and a little more pass, in which each dataset is looked at so
// often.
func (w *world) pass(hours int) {
	for range hours {
		time.Sleep(66*time.Minute + wake)
		synctest.Wait()
	}
}

// now is how a dataset stands.
func (w *world) now(t *testing.T) Shown {
	t.Helper()
	s, err := w.Show(t.Context(), ana, rows)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// notes counts the notes of the room, and returns the last of each kind.
func (w *world) notes(t *testing.T) (count map[string]int, last map[string]Noted) {
	t.Helper()
	count, last = map[string]int{}, map[string]Noted{}
	log := w.cfg.Log
	for r, err := range log.Select(t.Context(), ledger.Filter{Kinds: []string{"dataset"}, Phase: record.Note}, log.First(), log.Size()) {
		if err != nil {
			t.Fatal(err)
		}
		var n Noted
		if err := json.Unmarshal(r.Detail, &n); err != nil {
			t.Fatal(err)
		}
		count[r.Kind]++
		last[r.Kind] = n
	}
	return count, last
}

// wantNotes fails unless the log has so many notes of each kind.
func (w *world) wantNotes(t *testing.T, want map[string]int) map[string]Noted {
	t.Helper()
	maps.DeleteFunc(want, func(_ string, n int) bool { return n == 0 })
	got, last := w.notes(t)
	if !maps.Equal(got, want) {
		t.Errorf("the log has the notes %v, want %v", got, want)
	}
	return last
}
