package archive

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/store/blob"
)

// TestKeepArchivesWhatGrowsNoMore copies each segment but the last, byte for byte, with
// a manifest that is right and a checkpoint at its end, records it, and does it once.
func TestKeepArchivesWhatGrowsNoMore(t *testing.T) {
	k := newKeeper(t, setting{})
	if kept := k.keepAll(t); len(kept) != 0 {
		t.Errorf("of an empty log %d segments are kept", len(kept))
	}
	k.fill(t, 600)
	kept := k.keepAll(t)
	if len(kept) != 2 || len(k.bucket.objects) != 6 || k.records(t, KindKept) != 2 {
		t.Fatalf("%d segments are kept, in %d objects", len(kept), len(k.bucket.objects))
	}
	for i, s := range kept {
		first := uint64(i) * 256
		here, err := os.ReadFile(filepath.Join(k.dir, disk.SegmentName(first)))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(here)
		name := "test:archive/" + disk.SegmentName(first)
		if string(k.bucket.objects[name]) != string(here) || s.SHA256 != hex.EncodeToString(sum[:]) || s.Bytes != int64(len(here)) {
			t.Errorf("%s is not what lies here", name)
		}
		m, err := readManifest(t.Context(), k.bucket, name+".json")
		if err != nil || !m.same(s.Manifest) || m.First != first || m.Count != 256 {
			t.Errorf("its manifest is %+v, %v", m, err)
		}
		from, to := epoch.Add(time.Duration(first)*time.Second), epoch.Add(time.Duration(first+255)*time.Second)
		if !m.From.Equal(from) || !m.To.Equal(to) || m.Kinds["model.infer"].Records != 128 || !m.Kinds["policy.put"].To.Equal(to) || !m.Until.IsZero() {
			t.Errorf("its manifest is %+v", m)
		}
		cp, err := proof.OpenSigned(k.bucket.objects[m.checkpoint()], k.Log.Keys()[0])
		root, rootErr := k.Log.RootAt(first + 256)
		if err != nil || rootErr != nil || cp.Size != first+256 || cp.Root != root {
			t.Errorf("its checkpoint is of %d records, %v, %v", cp.Size, err, rootErr)
		}
	}
	calls := k.bucket.calls
	if again := k.keepAll(t); len(again) != 0 || k.bucket.calls != calls {
		t.Errorf("%d segments are kept again, with %d calls", len(again), k.bucket.calls-calls)
	}
	k.fill(t, 800)
	if more := k.keepAll(t); len(more) != 1 || more[0].First != 512 {
		t.Errorf("%+v", more)
	}
	if all := k.segments(t); len(all) != 3 || !all[0].Here || all[2].First != 512 || all[0].Place != "heap://" {
		t.Errorf("%+v", all)
	}
}

// TestNothingIsArchivedWithoutABucket says what to do instead.
func TestNothingIsArchivedWithoutABucket(t *testing.T) {
	k := newKeeper(t, setting{})
	k.Bucket = nil
	_, err := k.Keep(t.Context())
	wantKind(t, err, pavise.Conflict)
	_, err = k.Prune(t.Context(), nil)
	wantKind(t, err, pavise.Conflict)
	if err := k.Run(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestAnArchiveThatFailsAtEveryCall has the bucket fail at the first call, then at the
// second, and so on: before it did anything, and after it did all and the answer was
// lost. Nothing half counts as archived, and the next time completes it, as if nothing
// had been.
func TestAnArchiveThatFailsAtEveryCall(t *testing.T) {
	whole := newKeeper(t, setting{})
	whole.fill(t, 600)
	whole.keepAll(t)
	for _, lost := range []bool{false, true} {
		for n := 1; ; n++ {
			if n > 50 {
				t.Fatal("it never came to an end")
			}
			k := newKeeper(t, setting{})
			k.fill(t, 600)
			fails := func(call int, _, _ string) error {
				if call == n {
					return errAway
				}
				return nil
			}
			if k.bucket.fail = fails; lost {
				k.bucket.fail, k.bucket.lose = nil, fails
			}
			_, err := k.Keep(t.Context())
			if err == nil {
				if n < 6 {
					t.Errorf("%d calls only", n)
				}
				break
			}
			wantKind(t, err, pavise.Unavailable)
			for _, s := range k.segments(t) {
				if err := holdsAll(k.bucket, s.Manifest); err != nil {
					t.Errorf("call %d, answer lost: %t: %v", n, lost, err)
				}
			}
			k.keepAll(t)
			if all := k.segments(t); len(all) != 2 || k.records(t, KindKept) != 2 {
				t.Errorf("call %d, answer lost: %t: %d segments, %d records of them", n, lost, len(all), k.records(t, KindKept))
			}
			if !maps.EqualFunc(k.bucket.objects, whole.bucket.objects, func(a, b []byte) bool { return string(a) == string(b) }) {
				t.Errorf("call %d, answer lost: %t: the archive is another", n, lost)
			}
		}
	}
}

// holdsAll wants all objects of a segment in a heap.
func holdsAll(h *heap, m Manifest) error {
	for _, name := range []string{m.segment(), m.checkpoint(), m.object()} {
		if h.objects[name] == nil {
			return fmt.Errorf("%s counts as archived, and %s is not there", m.segment(), name)
		}
	}
	return nil
}

// TestWhatIsNotRecordedIsNotArchived fails to record, and then to remember, that a
// segment was archived: the next time does it, without writing an object again.
func TestWhatIsNotRecordedIsNotArchived(t *testing.T) {
	k := newKeeper(t, setting{})
	k.fill(t, 300)
	k.broken = errAway
	_, err := k.Keep(t.Context())
	wantKind(t, err, pavise.Unavailable)
	if all := k.segments(t); len(all) != 0 {
		t.Fatalf("%d segments", len(all))
	}
	k.broken = nil
	k.bucket.fail = func(_ int, op, _ string) error {
		if op == "put" {
			t.Error("an object is written again")
		}
		return nil
	}
	if kept := k.keepAll(t); len(kept) != 1 || k.records(t, KindKept) != 1 {
		t.Errorf("%d segments, %d records", len(kept), k.records(t, KindKept))
	}
}

// TestADatabaseThatIsAway is of kind Unavailable, for all that needs it.
func TestADatabaseThatIsAway(t *testing.T) {
	db, err := store.Open(t.Context(), filepath.Join(inMemory(t), "db"))
	if err != nil {
		t.Fatal(err)
	}
	k := newKeeper(t, setting{db: db})
	k.fill(t, 300)
	db.Close()
	_, err = k.Keep(t.Context())
	wantKind(t, err, pavise.Unavailable)
	_, err = k.Prune(t.Context(), nil)
	wantKind(t, err, pavise.Unavailable)
	_, err = k.Plan(t.Context(), Class{Name: Default})
	wantKind(t, err, pavise.Unavailable)
	if len(k.bucket.objects) != 0 {
		t.Errorf("%d objects", len(k.bucket.objects))
	}
}

// TestWhatIsDamagedIsNotArchived changes a byte of a segment, and then the hash files so
// that they agree with it, while the log is open: the archive gets nothing of it.
func TestWhatIsDamagedIsNotArchived(t *testing.T) {
	for _, hashes := range []string{"left alone", "made to fit"} {
		t.Run(hashes, func(t *testing.T) {
			k := newKeeper(t, setting{})
			k.fill(t, 600)
			path := filepath.Join(k.dir, disk.SegmentName(256))
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			text = []byte(strings.Replace(string(text), "m300", "m3OO", 1))
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			if hashes == "made to fit" {
				forgeHashes(t, k.dir, 300)
			}
			_, err = k.Keep(t.Context())
			wantKind(t, err, pavise.Unverified)
			for name := range k.bucket.objects {
				if strings.Contains(name, "256") && !strings.Contains(name, "checkpoint") {
					t.Errorf("%s is in the archive", name)
				}
			}
		})
	}
}

// forgeHashes makes the hash files those of the records as they lie there now.
func forgeHashes(t *testing.T, dir string, index uint64) {
	t.Helper()
	d := disk.Dir{Path: dir}
	first := index - index%proof.TileWidth
	text, err := disk.Read(d, disk.SegmentName(first), 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	var tree proof.Range
	for i := range uint64(proof.TileWidth) {
		entry, rest, ok := disk.NextFrame(text)
		if !ok {
			t.Fatal("the segment ends early")
		}
		leaf := proof.Leaf(entry)
		tree.Add(0, leaf, nil)
		writeAt(t, d, disk.LevelName(0), leaf[:], int64(first+i)*32)
		text = rest
	}
	root := tree.Root()
	writeAt(t, d, disk.LevelName(1), root[:], int64(first/proof.TileWidth)*32)
}

func writeAt(t *testing.T, d disk.Dir, name string, content []byte, at int64) {
	t.Helper()
	f, err := d.Open(name, false)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(content, at); err != nil {
		t.Fatal(err)
	}
}

// TestAnotherLogsObjectsAreNotWrittenOver finds under a segment's name what another log
// archived, or what is no manifest at all, and leaves it as it is.
func TestAnotherLogsObjectsAreNotWrittenOver(t *testing.T) {
	other := newKeeper(t, setting{origin: "test:archive"}) // the same folder
	other.fill(t, 300)
	other.keepAll(t)
	for what, spoil := range map[string]func(h *heap, object string){
		"another log's":        func(h *heap, object string) {},
		"no manifest":          func(h *heap, object string) { h.objects[object] = []byte("{}") },
		"a manifest cut short": func(h *heap, object string) { h.objects[object] = h.objects[object][:100] },
		"nothing":              func(h *heap, object string) { h.objects[object] = []byte{} },
		"a manifest too long":  func(h *heap, object string) { h.objects[object] = make([]byte, maxManifest+1) },
	} {
		t.Run(what, func(t *testing.T) {
			h := other.bucket.copy()
			spoil(h, "test:archive/"+disk.SegmentName(0)+".json")
			before := maps.Clone(h.objects)
			k := newKeeper(t, setting{bucket: h})
			k.fill(t, 300)
			want := pavise.Unverified
			if what == "another log's" {
				want = pavise.Conflict
			}
			_, err := k.Keep(t.Context())
			wantKind(t, err, want)
			for name, content := range before {
				if string(h.objects[name]) != string(content) {
					t.Errorf("%s was written over", name)
				}
			}
		})
	}
}

// TestTheArchiveHoldsAsLongAsClassesSay asks for a lock until the longest class's end,
// and for a longer one when a class changes, or comes, after a segment was archived. It
// never asks for a shorter one.
func TestTheArchiveHoldsAsLongAsClassesSay(t *testing.T) {
	h := newHeap("compliance")
	k := newKeeper(t, setting{bucket: h})
	k.retain(t, Class{Name: "m", Kinds: []string{"model"}, Keep: 24 * time.Hour})
	k.fill(t, 300)
	s := k.keepAll(t)[0]
	want := epoch.Add(254*time.Second + 24*time.Hour)
	held := func(what string, want time.Time, records int) {
		t.Helper()
		all := k.segments(t)
		if len(all) != 1 || !all[0].Until.Equal(want) || k.records(t, KindKept) != records {
			t.Errorf("%s: %+v, %d records", what, all, k.records(t, KindKept))
		}
		for _, name := range []string{s.segment(), s.checkpoint(), s.object()} {
			if !h.until[name].Equal(want) {
				t.Errorf("%s: %s is held until %v, want %v", what, name, h.until[name], want)
			}
		}
	}
	held("archived", want, 1)
	k.keepAll(t)
	held("nothing changed", want, 1)
	k.retain(t, Class{Name: "m", Kinds: []string{"model"}, Keep: 48 * time.Hour})
	want = want.Add(24 * time.Hour)
	h.fail = func(_ int, op, name string) error {
		if op == "hold" && name == s.object() {
			return errAway
		}
		return nil
	}
	_, err := k.Keep(t.Context())
	wantKind(t, err, pavise.Unavailable)
	h.fail = nil
	k.keepAll(t)
	held("a longer class", want, 2)
	k.retain(t, Class{Name: "p", Kinds: []string{"policy"}, Keep: 96 * time.Hour})
	want = epoch.Add(255*time.Second + 96*time.Hour)
	k.keepAll(t)
	held("a class of other kinds", want, 3)
	k.retain(t, Class{Name: "p", Kinds: []string{"policy"}, Keep: time.Hour})
	k.keepAll(t)
	held("a shorter class", want, 3)
	k.now = epoch.Add(10 * year)
	k.retain(t, Class{Name: "p", Kinds: []string{"policy"}, Keep: year})
	k.keepAll(t)
	held("a class whose time is past", want, 3)
}

// TestAClassThatChangesMeanwhile makes a class longer after a segment's objects were put
// and before that was recorded: the lock is the longer one's.
func TestAClassThatChangesMeanwhile(t *testing.T) {
	h := newHeap("compliance")
	k := newKeeper(t, setting{bucket: h})
	k.retain(t, Class{Name: Default, Keep: time.Hour})
	k.fill(t, 300)
	k.broken = errAway
	_, err := k.Keep(t.Context())
	wantKind(t, err, pavise.Unavailable)
	k.broken = nil
	k.retain(t, Class{Name: Default, Keep: 2 * time.Hour})
	s := k.keepAll(t)[0]
	want := epoch.Add(255*time.Second + 2*time.Hour)
	for name, until := range h.until {
		if !until.Equal(want) || !s.Until.Equal(want) {
			t.Errorf("%s is held until %v", name, until)
		}
	}
}

// TestABucketWithoutALockHoldsNothing asks a bucket that enforces nothing for nothing,
// and so does not read or write a segment that was archived.
func TestABucketWithoutALockHoldsNothing(t *testing.T) {
	k := newKeeper(t, setting{})
	k.fill(t, 300)
	k.keepAll(t)
	k.retain(t, Class{Name: Default, Keep: year})
	calls := k.bucket.calls
	k.keepAll(t)
	if k.bucket.calls != calls || k.records(t, KindKept) != 1 {
		t.Errorf("%d calls, %d records", k.bucket.calls-calls, k.records(t, KindKept))
	}
}

// TestRunArchivesByItself lets minutes pass: what grows no more is archived, a bucket that
// is away is a problem until it is back.
func TestRunArchivesByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeeper(t, setting{})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- k.Run(ctx) }()
		synctest.Wait()
		k.fill(t, 300)
		k.bucket.mu.Lock()
		k.bucket.fail = func(int, string, string) error { return errAway }
		k.bucket.mu.Unlock()
		time.Sleep(keepEvery)
		synctest.Wait()
		if err := k.Problem(); !errors.Is(err, errAway) {
			t.Errorf("the problem is %v", err)
		}
		k.bucket.mu.Lock()
		k.bucket.fail = nil
		k.bucket.mu.Unlock()
		time.Sleep(keepEvery)
		synctest.Wait()
		if all := k.segments(t); len(all) != 1 || k.Problem() != nil {
			t.Errorf("%d segments, %v", len(all), k.Problem())
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestAnArchiveThatIsGone loses the archive although nothing is new, a check
// says so, and so it does of one that lost what it was given.
func TestAnArchiveThatIsGone(t *testing.T) {
	place := filepath.Join(t.TempDir(), "archive")
	bucket, err := blob.Open(t.Context(), place)
	if err != nil {
		t.Fatal(err)
	}
	k := newKeeper(t, setting{bucket: bucket})
	k.fill(t, 600)
	if kept, err := k.Keep(t.Context()); len(kept) == 0 || err != nil {
		t.Fatalf("%d, %v", len(kept), err)
	}
	if err := k.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if err := os.RemoveAll(place); err != nil {
		t.Fatal(err)
	}
	if err := k.Check(t.Context()); pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("gone: %v", err)
	}
	if err := os.Mkdir(place, 0o700); err != nil {
		t.Fatal(err)
	}
	err = k.Check(t.Context())
	if e, ok := errors.AsType[*pavise.Error](err); !ok || e.Kind != pavise.Unavailable || !strings.Contains(e.Msg, "which was archived there") || e.Hint == "" {
		t.Errorf("empty: %v", err)
	}
}

// TestTwoWhoKeepAtOnce archive each segment once.
func TestTwoWhoKeepAtOnce(t *testing.T) {
	k := newKeeper(t, setting{})
	k.fill(t, 1100)
	found := make(chan int)
	for range 4 {
		go func() {
			kept, err := k.Keep(t.Context())
			if err != nil {
				t.Error(err)
			}
			found <- len(kept)
		}()
	}
	total := 0
	for range 4 {
		total += <-found
	}
	if total != 4 || k.records(t, KindKept) != 4 {
		t.Errorf("%d segments are kept, %d records", total, k.records(t, KindKept))
	}
}

// FuzzManifest reads foreign bytes as a manifest: what it takes has one spelling, its
// objects lie in one folder, and its end does not lie before its beginning.
func FuzzManifest(f *testing.F) {
	good := Manifest{Origin: origin, Keys: []string{"k"}, First: 256, Count: 256, Bytes: 1, SHA256: "x", From: epoch, To: epoch, Kinds: map[string]Extent{"model.infer": {Records: 256, To: epoch}}}
	text, err := json.Marshal(good)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"origin":"../../x","keys":["k"],"first":0,"count":1,"bytes":1,"sha256":"","from":"0001-01-01T00:00:00Z","to":"0001-01-01T00:00:00Z","kinds":null}`))
	good.First = 1<<64 - 256
	if text, err = json.Marshal(good); err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"Origin":"x"}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := parseManifest(text)
		if err != nil {
			return
		}
		again, err := json.Marshal(m)
		if err != nil || string(again) != string(text) {
			t.Errorf("%q is spelled %q, too: %v", text, again, err)
		}
		if strings.Count(m.object(), "/") != 1 || m.First+m.Count <= m.First || m.Bytes <= 0 {
			t.Errorf("%q is %+v, the object %q", text, m, m.object())
		}
	})
}
