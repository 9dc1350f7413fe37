package role

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/archive"
	"github.com/pavise/pavise/internal/change"
	"github.com/pavise/pavise/internal/installation"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/subject"
)

// TestShredderDies copies the data directory, as the death of the process would leave
// it, while a key is shredded. Before the commit, the next start carries the change out,
// if people's word still counts, and else leaves the key; behind it, it says that the
// key is gone. There is one receipt, and none without a shredding.
func TestShredderDies(t *testing.T) {
	t.Parallel()
	const before, behind = "subject.(*Keys).erase", "guard.(*Entry).Exit"
	for what, test := range map[string]struct {
		at       string // where it dies
		after    time.Duration
		state    change.State
		shredded bool
	}{
		"before the commit":               {before, 0, change.Done, true},
		"before the commit, and for long": {before, 30 * 24 * time.Hour, change.Approved, false}, // and expires, once the clock is believed
		"behind the commit":               {behind, 0, change.Done, true},
		"behind the commit, and for long": {behind, 30 * 24 * time.Hour, change.Done, true},
	} {
		t.Run(what, func(t *testing.T) {
			image, ch := dieShredding(t, test.at)
			u := openUp(t, UpConfig{Data: installation.Data(image), Now: func() time.Time { return time.Now().Add(test.after) }})
			_, err := u.Subjects.Key(t.Context(), Tenant, ch.On.ID)
			if gone := pavise.KindOf(err) == pavise.NotFound; gone != test.shredded {
				t.Errorf("the key after the start: %v", err)
			}
			if ch, err = u.Changes.Show(t.Context(), u.operator, ch.Name); err != nil || ch.State != test.state {
				t.Errorf("the change: %s, %s, %v", ch.State, ch.Outcome, err)
			}
			want := map[bool]int{true: 1}[test.shredded]
			if n := receipts(u, ch.On); n != want {
				t.Errorf("%d receipts, want %d", n, want)
			}
			u.Close()
			if u = openUp(t, UpConfig{Data: installation.Data(image), Now: u.cfg.Now}); receipts(u, ch.On) != want {
				t.Error("another receipt at the start after that")
			}
		})
	}
}

// dieShredding has a key shredded by two people, and returns a copy of the data
// directory from the moment in which a function was at work, and the change.
func dieShredding(t *testing.T, function string) (image string, ch *change.Change) {
	t.Helper()
	data, image := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "image")
	var armed atomic.Bool
	die := func() {
		if armed.CompareAndSwap(true, false) {
			err := os.CopyFS(image, os.DirFS(data))
			for errors.Is(err, fs.ErrNotExist) { // a file that was being replaced, as the checkpoint is
				os.RemoveAll(image)
				err = os.CopyFS(image, os.DirFS(data))
			}
			if err != nil {
				t.Error(err)
			}
		}
	}
	var committing atomic.Bool
	u := openUp(t, UpConfig{Data: installation.Data(data), Now: func() time.Time {
		switch {
		case calledFrom("subject.(*Keys).erase"):
			if committing.Store(true); function == "subject.(*Keys).erase" {
				die()
			}
		case committing.Load() && calledFrom("guard.(*Entry).Exit"): // of the act: its record is not written yet
			die()
		}
		return time.Now()
	}})
	s, err := u.Subjects.Of(t.Context(), Tenant, "alice@example.com")
	if err != nil {
		t.Fatal(err)
	}
	on := pavise.Name{Tenant: Tenant, Kind: "subject", ID: s.ID}
	ch, err = u.Changes.Propose(t.Context(), u.operator, change.Proposal{Verb: "subject.shred", On: on, Request: json.RawMessage(`{}`)})
	if err != nil {
		t.Fatal(err)
	}
	bob := u.operator
	bob.ID = "bob"
	armed.Store(true)
	if _, err := u.Changes.Approve(t.Context(), bob, ch.Name, ch.Digest, ""); err != nil || armed.Load() {
		t.Fatalf("approve: %v; the copy was made: %v", err, !armed.Load())
	}
	keepToOneself(t, image)
	return image, ch
}

// receipts counts the records that say that a subject's key was shredded.
func receipts(u *Up, on pavise.Name) (n int) {
	for _, r := range u.Log.Records(0, u.Log.Size()) {
		if _, _, ok := subject.Shredded(&r); ok && r.On == on {
			n++
		}
	}
	return n
}

// keepToOneself gives a copy the modes of the original, without which no start takes it.
func keepToOneself(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		mode := fs.FileMode(0o600)
		if err == nil && d.IsDir() {
			mode = 0o700
		}
		return errors.Join(err, os.Chmod(path, mode))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// calledFrom reports whether a function is among the callers.
func calledFrom(function string) bool {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		frame, more := frames.Next()
		if strings.Contains(frame.Function, function) {
			return true
		}
		if !more {
			return false
		}
	}
}

// TestDatabaseFromBeforeThePruning puts an older state database beside a log whose
// first records were pruned since: nothing starts, and it says which of the two is old.
func TestDatabaseFromBeforeThePruning(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	var later atomic.Int64
	cfg := UpConfig{Data: installation.Data(data), Archive: t.TempDir(), Now: func() time.Time { return time.Now().Add(time.Duration(later.Load())) }}
	openUp(t, cfg).Close()
	old, err := os.ReadFile(filepath.Join(data, "pavise.db"))
	if err != nil {
		t.Fatal(err)
	}
	u := openUp(t, cfg)
	retain := pavise.Name{Tenant: Tenant, Kind: "archive", ID: archive.Default}
	ch, err := u.Changes.Propose(t.Context(), u.operator, change.Proposal{Verb: "archive.retain", On: retain, Request: json.RawMessage(`{"name":"default","online_ns":1000000000}`)})
	if err != nil {
		t.Fatal(err)
	}
	bob := u.operator
	bob.ID = "bob"
	if _, err := u.Changes.Approve(t.Context(), bob, ch.Name, ch.Digest, ""); err != nil {
		t.Fatal(err)
	}
	fillSegment(t, u)
	later.Store(int64(time.Minute))
	if err := u.ShredAgain(t.Context()); err != nil { // passes over what was filled in
		t.Fatal(err)
	}
	if _, err := u.Archive.Keep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p, err := u.Archive.Prune(t.Context(), nil); err != nil || len(p.Segments) == 0 {
		t.Fatalf("prune: %+v, %v", p, err)
	}
	u.Close()
	if err := os.WriteFile(filepath.Join(data, "pavise.db"), old, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		cfg.Listen = "127.0.0.1:0"
		_, err := NewUp(t.Context(), cfg)
		if pavise.KindOf(err) != pavise.Unverified || !strings.Contains(err.Error(), "is older than the pruning of records 0 to") {
			t.Errorf("start: %v", err)
		}
	}
}

// TestTheHouseKeepsNothingFromBeingPruned lets ordinary records go by while up runs: the
// house's own follower moves on with them.
func TestTheHouseKeepsNothingFromBeingPruned(t *testing.T) {
	u := runUp(t, UpConfig{Data: installation.Data(t.TempDir())})
	fillSegment(t, u.Up)
	size := u.Log.Size()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		oldest, followed, err := u.Feeds.Oldest(t.Context())
		if err == nil && followed && oldest >= size-4096 { // a follower of rare records writes its place that rarely
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("it is at record %d of %d: %v", oldest, size, err)
		}
	}
}

// fillSegment appends records until a segment of the log is full, and one is begun.
func fillSegment(t *testing.T, u *Up) {
	t.Helper()
	detail := json.RawMessage(`"` + strings.Repeat("x", 16_000) + `"`)
	for range 64<<20/len(detail) + 512 { // a segment ends where 256 records do
		r := &record.Record{Kind: "test.fill", Phase: record.Note, Tenant: Tenant, At: u.cfg.Now().UTC(), Outcome: pavise.Allow, Detail: detail}
		if _, err := u.Log.Append(t.Context(), r, ledger.Written); err != nil {
			t.Fatal(err)
		}
	}
	if err := u.Log.AwaitPublished(t.Context(), u.Log.Size()-1); err != nil {
		t.Fatal(err)
	}
}
