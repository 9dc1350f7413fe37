package archive

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/store/blob"
)

const origin = "test/archive"

var (
	testKey = ed25519.NewKeyFromSeed([]byte("archive test, a log's key, 32 by"))
	epoch   = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	auditor = pavise.Principal{Tenant: "acme", Kind: pavise.Human, ID: "ada"}
)

// A keeper is a log with its archive, and a clock that stands still.
type keeper struct {
	*Archive
	dir    string // of the log, or "" where it lies on a test disk
	bucket *heap
	now    time.Time
	oldest uint64 // what a follower has not done with; ^0: nobody follows
	broken error  // of the next note
}

// A setting is what a test wants of a keeper.
type setting struct {
	disk   disk.Directory // nil: a directory of the operating system
	dir    string         // "": a new one
	origin string
	bucket blob.Bucket // nil: a heap
	db     *store.DB   // nil: a new one
}

// inMemory returns a new directory that lies in memory, where there is such a thing:
// what a real disk takes to sync is no part of these tests.
func inMemory(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "archive")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// newKeeper returns a keeper of a new log, in segments of 256 records each.
func newKeeper(t testing.TB, s setting) *keeper {
	t.Helper()
	k := &keeper{bucket: newHeap("none"), now: epoch, oldest: ^uint64(0)}
	if s.origin == "" {
		s.origin = origin
	}
	if s.dir == "" && s.disk == nil {
		s.dir = filepath.Join(inMemory(t), "ledger")
	}
	if s.bucket == nil {
		s.bucket = k.bucket
	}
	k.dir = s.dir
	log, err := ledger.Open(ledger.Options{Dir: s.dir, Disk: s.disk, Origin: s.origin, Key: testKey, Tenant: "acme", SegmentSize: 1, Now: k.clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	if s.db == nil {
		if s.db, err = store.Open(context.Background(), filepath.Join(inMemory(t), "db")); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.db.Close() })
	}
	k.Archive, err = Open(context.Background(), Config{
		Log: log, Store: s.db, Bucket: s.bucket, Now: k.clock, Note: k.note,
		Oldest: func(context.Context) (uint64, bool, error) { return k.oldest, k.oldest != ^uint64(0), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (k *keeper) clock() time.Time { return k.now }

// note records what was done, as the guard would.
func (k *keeper) note(ctx context.Context, kind string, detail any) error {
	if k.broken != nil {
		return k.broken
	}
	text, err := json.Marshal(detail)
	if err != nil {
		return err
	}
	_, err = k.Log.Append(ctx, &record.Record{Kind: kind, Phase: record.Note, Tenant: "acme", At: k.now, Detail: text}, ledger.Durable)
	return err
}

// fill appends records, of two kinds in turn, until the log holds so many, and returns
// once the last is published.
func (k *keeper) fill(t testing.TB, size uint64) {
	t.Helper()
	for i := k.Log.Size(); i < size; i++ {
		r := &record.Record{
			Kind: []string{"model.infer", "policy.put"}[i%2], Phase: record.Act, Tenant: "acme", At: epoch.Add(time.Duration(i) * time.Second),
			On: pavise.Name{Tenant: "acme", Kind: "model", ID: fmt.Sprintf("m%d", i)},
		}
		how := ledger.Written
		if i == size-1 {
			how = ledger.Durable
		}
		if _, err := k.Log.Append(t.Context(), r, how); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.Log.AwaitPublished(t.Context(), size-1); err != nil {
		t.Fatal(err)
	}
}

// keepAll archives what grows no more.
func (k *keeper) keepAll(t testing.TB) []Segment {
	t.Helper()
	kept, err := k.Keep(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return kept
}

// retain makes a class.
func (k *keeper) retain(t testing.TB, c Class) {
	t.Helper()
	if err := k.Retain(t.Context(), c, func(*store.Tx) error { return nil }); err != nil {
		t.Fatal(err)
	}
}

// expire makes the default class one of so long a time, and lets it pass.
func (k *keeper) expire(t testing.TB) {
	t.Helper()
	k.retain(t, Class{Name: Default, Online: time.Hour})
	k.now = epoch.Add(24 * time.Hour)
}

// segments returns what the table says was archived.
func (k *keeper) segments(t testing.TB) []Segment {
	t.Helper()
	all, err := k.Segments(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// records counts the records of a kind.
func (k *keeper) records(t testing.TB, kind string) int {
	t.Helper()
	n := 0
	for _, err := range k.Log.Select(t.Context(), ledger.Filter{Kinds: []string{kind}}, 0, k.Log.Size()) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

// A heap is a bucket in memory that fails and lies when it is told to.
type heap struct {
	lock string

	mu      sync.Mutex // guards what follows
	objects map[string][]byte
	until   map[string]time.Time
	calls   int
	fail    func(call int, op, name string) error       // before anything is done
	lose    func(call int, op, name string) error       // after all was done: the answer gets lost
	lie     func(name string, content []byte) io.Reader // what Get reads
}

func newHeap(lock string) *heap {
	return &heap{lock: lock, objects: map[string][]byte{}, until: map[string]time.Time{}}
}

// call counts a call and says whether it fails, before and after.
func (h *heap) call(op, name string) (before, after error) {
	h.calls++
	if h.fail != nil {
		before = h.fail(h.calls, op, name)
	}
	if h.lose != nil {
		after = h.lose(h.calls, op, name)
	}
	return before, after
}

// Put is blob.Bucket's.
func (h *heap) Put(_ context.Context, o blob.Object, content io.Reader) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	before, after := h.call("put", o.Name)
	if before != nil {
		io.CopyN(io.Discard, content, o.Size/2)
		return before
	}
	text, err := io.ReadAll(content)
	if err != nil || int64(len(text)) != o.Size {
		return &pavise.Error{Kind: pavise.Unavailable, Msg: fmt.Sprintf("%d bytes of %d came", len(text), o.Size), Err: err}
	}
	h.objects[o.Name], h.until[o.Name] = text, o.Until
	return after
}

// Get is blob.Bucket's.
func (h *heap) Get(_ context.Context, name string) (io.ReadCloser, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if before, after := h.call("get", name); before != nil || after != nil {
		return nil, errors.Join(before, after)
	}
	content, ok := h.objects[name]
	if !ok {
		return nil, &pavise.Error{Kind: pavise.NotFound, Msg: "the heap holds no " + name}
	}
	if h.lie != nil {
		return io.NopCloser(h.lie(name, content)), nil
	}
	return io.NopCloser(bytes.NewReader(content)), nil
}

// List is blob.Bucket's.
func (h *heap) List(_ context.Context, prefix string) iter.Seq2[blob.Object, error] {
	return func(yield func(blob.Object, error) bool) {
		h.mu.Lock()
		before, after := h.call("list", prefix)
		names := slices.Sorted(maps.Keys(h.objects))
		h.mu.Unlock()
		if before != nil || after != nil {
			yield(blob.Object{}, errors.Join(before, after))
			return
		}
		for _, name := range names {
			if strings.HasPrefix(name, prefix) && !yield(blob.Object{Name: name}, nil) {
				return
			}
		}
	}
}

// Place is blob.Bucket's.
func (h *heap) Place() blob.Place { return blob.Place{URL: "heap://", Lock: h.lock} }

// Hold is blob.Holder's.
func (h *heap) Hold(_ context.Context, name string, until time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	before, after := h.call("hold", name)
	switch {
	case before != nil:
		return before
	case h.objects[name] == nil:
		return &pavise.Error{Kind: pavise.NotFound, Msg: "the heap holds no " + name}
	case until.Before(h.until[name]):
		return &pavise.Error{Kind: pavise.Denied, Msg: name + " is held longer"}
	}
	h.until[name] = until
	return after
}

// copy returns a heap of the same objects.
func (h *heap) copy() *heap {
	next := newHeap(h.lock)
	next.objects = maps.Clone(h.objects)
	return next
}

// errAway is the error of a bucket that is not to be had.
var errAway = &pavise.Error{Kind: pavise.Unavailable, Msg: "the bucket is away"}

// wantKind wants an error of a kind.
func wantKind(t testing.TB, err error, want pavise.Kind) {
	t.Helper()
	if err == nil || pavise.KindOf(err) != want {
		t.Errorf("the error is of kind %s: %v; want %s", pavise.KindOf(err), err, want)
	}
}
