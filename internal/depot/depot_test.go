package depot

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/disk/disktest"
	"github.com/pavise/pavise/internal/seal"
	"github.com/pavise/pavise/internal/store"
	"github.com/pavise/pavise/internal/store/blob"
)

// A world is a depot on a directory, and what a test does to it.
type world struct {
	*Depot
	dir   string
	stage *disktest.Disk
	bad   *badBucket
	now   time.Time
	cfg   Config
}

// A badBucket is a bucket that fails when it is told to.
type badBucket struct {
	Bucket
	mu   sync.Mutex
	fail func(op string) error
}

func (b *badBucket) failing(op string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail == nil {
		return nil
	}
	return b.fail(op)
}

func (b *badBucket) Put(ctx context.Context, o blob.Object, content io.Reader) error {
	if err := b.failing("put"); err != nil {
		return err
	}
	if err := b.Bucket.Put(ctx, o, content); err != nil {
		return err
	}
	return b.failing("after put")
}

func (b *badBucket) Remove(ctx context.Context, name string) error {
	if err := b.failing("remove"); err != nil {
		return err
	}
	return b.Bucket.Remove(ctx, name)
}

func newWorld(t testing.TB, quota int64) *world {
	t.Helper()
	dir := t.TempDir()
	db, err := store.Open(t.Context(), filepath.Join(dir, "db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	b, err := blob.Open(t.Context(), filepath.Join(dir, "kept"))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{dir: filepath.Join(dir, "kept"), stage: disktest.New(), bad: &badBucket{Bucket: b.(Bucket)}, now: time.Unix(1_800_000_000, 0)}
	w.cfg = Config{Bucket: w.bad, Stage: w.stage, Store: db, KEK: testKEK(t), Quota: quota, Now: func() time.Time { return w.now }}
	w.open(t)
	return w
}

func testKEK(t testing.TB) *seal.KEK {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kek")
	if err := os.WriteFile(path, bytes.Repeat([]byte{0x42}, 32), 0o600); err != nil {
		t.Fatal(err)
	}
	kek, err := seal.OpenFileKEK(path)
	if err != nil {
		t.Fatal(err)
	}
	return kek
}

func (w *world) open(t testing.TB) {
	t.Helper()
	d, err := Open(t.Context(), w.cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.Depot = d
}

func (w *world) put(t testing.TB, content []byte) Digest {
	t.Helper()
	d, n, err := w.Put(t.Context(), "local", bytes.NewReader(content))
	if err != nil || n != int64(len(content)) || d != sha256.Sum256(content) {
		t.Fatalf("put: %s, %d, %v", d, n, err)
	}
	return d
}

func (w *world) read(t testing.TB, d Digest) ([]byte, error) {
	t.Helper()
	r, err := w.Depot.Open(t.Context(), "local", d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func wantKind(t testing.TB, err error, want pavise.Kind) {
	t.Helper()
	if err == nil || pavise.KindOf(err) != want {
		t.Errorf("the error is of kind %s: %v; want %s", pavise.KindOf(err), err, want)
	}
}

func (w *world) wantUsed(t testing.TB, want int64) {
	t.Helper()
	if used, _ := w.Used(); used != want {
		t.Errorf("%d bytes are counted, want %d", used, want)
	}
	if sum, err := w.sum(t.Context()); err != nil || sum != want {
		t.Errorf("%d bytes are listed, want %d; %v", sum, want, err)
	}
}

// object is the path of where a content lies.
func (w *world) object(d Digest) string {
	return filepath.Join(w.dir, kept{tenant: "local", digest: d}.object())
}

// files are all that lie in the depot's directory and stage.
func (w *world) files(t testing.TB) (all []string) {
	t.Helper()
	filepath.WalkDir(w.dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			all = append(all, path)
		}
		return err
	})
	names, err := w.stage.List()
	if err != nil {
		t.Fatal(err)
	}
	return append(all, names...)
}

func random(size int) []byte {
	content := make([]byte, size)
	for r, i := rand.New(rand.NewPCG(1, uint64(size))), 0; i < size; i++ {
		content[i] = byte(r.Uint32())
	}
	return content
}

// TestContents puts contents of every length that lies another way, in both ways, and reads
// them in pieces of all sizes.
func TestContents(t *testing.T) {
	w := newWorld(t, 0)
	for _, size := range []int{0, 1, 100, frameSize - 1, frameSize, frameSize + 1, 3 * frameSize, 3*frameSize + 7} {
		content := random(size)
		digest := w.put(t, content)
		if err := w.PutAs(t.Context(), "other", digest, int64(size), iotest.HalfReader(bytes.NewReader(content))); err != nil {
			t.Fatal(err)
		}
		for _, tenant := range []string{"local", "other"} {
			r, err := w.Depot.Open(t.Context(), tenant, digest)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(iotest.HalfReader(r))
			if err != nil || !bytes.Equal(got, content) || r.Size() != int64(size) {
				t.Errorf("%d bytes: %d came back, %v", size, len(got), err)
			}
			r.Close()
		}
		info, err := os.Stat(w.object(digest))
		if err != nil || info.Size() != sealedSize(int64(size)) {
			t.Errorf("%d bytes lie there as %v, %v", size, info, err)
		}
		lies, _ := os.ReadFile(w.object(digest))
		if size >= 100 && bytes.Contains(lies, content[:16]) {
			t.Error("the content can be read where it lies")
		}
	}
	if names, _ := w.stage.List(); len(names) > 0 {
		t.Errorf("%q are left in the stage", names)
	}
}

// TestVector opens what docs/formats/content.md describes.
func TestVector(t *testing.T) {
	content := bytes.Repeat([]byte("of a model\n"), 100)
	w := newWorld(t, 0)
	digest := w.put(t, content)
	sealed, err := os.ReadFile("testdata/content.sealed")
	if err == nil {
		err = os.WriteFile(w.object(digest), sealed, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got, err := w.read(t, digest); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%q, %v", got, err)
	}
}

// TestAltered alters what lies there in each of its bytes, cuts it at each, and swaps what
// can be swapped. None of it is believed.
func TestAltered(t *testing.T) {
	w := newWorld(t, 0)
	digest, other := w.put(t, []byte("a small model")), w.put(t, []byte("another model"))
	path := w.object(digest)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	try := func(what string, bytes []byte) {
		t.Helper()
		if err := os.WriteFile(path, bytes, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := w.read(t, digest)
		if err == nil || pavise.KindOf(err) != pavise.Unverified || len(got) > 0 {
			t.Fatalf("%s: %q, %v", what, got, err)
		}
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		try(fmt.Sprintf("byte %d", i), bad)
		try(fmt.Sprintf("cut at %d", i), good[:i])
	}
	try("more behind it", append(bytes.Clone(good), 0))
	swapped, err := os.ReadFile(w.object(other))
	if err != nil {
		t.Fatal(err)
	}
	try("another content", swapped)
	try("the frames of another", append(bytes.Clone(good[:headSize]), swapped[headSize:]...))
}

// TestFramesInPlace swaps, drops and doubles frames of a long content, and holds that what was
// read until then is its beginning and not its end.
func TestFramesInPlace(t *testing.T) {
	w := newWorld(t, 0)
	content := random(3*frameSize + 7)
	digest := w.put(t, content)
	good, err := os.ReadFile(w.object(digest))
	if err != nil {
		t.Fatal(err)
	}
	frame := func(i int) []byte {
		at := headSize + i*(frameSize+overhead)
		return good[at:min(at+frameSize+overhead, len(good))]
	}
	for name, order := range map[string][]int{"swapped": {1, 0, 2, 3}, "dropped": {0, 2, 3}, "doubled": {0, 0, 1, 2, 3}, "without the last": {0, 1, 2}, "the last alone": {3}} {
		bad := bytes.Clone(good[:headSize])
		for _, i := range order {
			bad = append(bad, frame(i)...)
		}
		if err := os.WriteFile(w.object(digest), bad, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := w.read(t, digest)
		wantKind(t, err, pavise.Unverified)
		if !bytes.HasPrefix(content, got) || len(got) >= len(content) {
			t.Errorf("%s: %d bytes were believed", name, len(got))
		}
	}
}

// TestDigestIsAsked has somebody with the key put another content in the place of one: not the
// last frame is given out.
func TestDigestIsAsked(t *testing.T) {
	w := newWorld(t, 0)
	digest := w.put(t, random(frameSize+1))
	key, of, forged := w.cfg.KEK.Depot("local"), newID(), bytes.Repeat([]byte{7}, frameSize+1)
	frames, err := io.ReadAll(newSealer(bytes.NewReader(forged), key, of, 1<<20))
	if err == nil {
		err = os.WriteFile(w.object(digest), append(sealHead(key, digest, of, frameSize+1), frames...), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	got, err := w.read(t, digest)
	wantKind(t, err, pavise.Unverified)
	if len(got) != frameSize {
		t.Errorf("%d bytes were given out", len(got))
	}
}

// TestPutAsHoldsToTheDigest puts what is not what it is said to be: nothing is kept.
func TestPutAsHoldsToTheDigest(t *testing.T) {
	w := newWorld(t, 1<<20)
	content := random(2*frameSize + 1)
	digest := Digest(sha256.Sum256(content))
	broken := errors.New("the connection broke")
	for name, c := range map[string]struct {
		size int64
		from io.Reader
		kind pavise.Kind
	}{
		"another":          {int64(len(content)), bytes.NewReader(random(2*frameSize + 1)[1:]), pavise.Invalid},
		"altered":          {int64(len(content)), bytes.NewReader(append(bytes.Clone(content[1:]), 0)), pavise.Invalid},
		"longer":           {int64(len(content)), io.MultiReader(bytes.NewReader(content), strings.NewReader("x")), pavise.Invalid},
		"longer by frames": {3, bytes.NewReader(content), pavise.Invalid},
		"shorter":          {int64(len(content)), bytes.NewReader(content[:frameSize]), pavise.Invalid},
		"empty":            {int64(len(content)), strings.NewReader(""), pavise.Invalid},
		"no size":          {-1, strings.NewReader(""), pavise.Invalid},
		"beyond all":       {1<<63 - 1, strings.NewReader(""), pavise.Throttled},
		"broken off":       {int64(len(content)), io.MultiReader(bytes.NewReader(content[:frameSize+9]), iotest.ErrReader(broken)), pavise.Internal},
	} {
		err := w.PutAs(t.Context(), "local", digest, c.size, c.from)
		if pavise.KindOf(err) != c.kind || err == nil {
			t.Errorf("%s: %s, %v", name, pavise.KindOf(err), err)
		}
		if c.kind == pavise.Internal && !errors.Is(err, broken) {
			t.Errorf("%s: %v", name, err)
		}
		if _, has, err := w.Has(t.Context(), "local", digest); has || err != nil {
			t.Errorf("%s is kept", name)
		}
	}
	if left := w.files(t); len(left) > 0 {
		t.Errorf("%q are left", left)
	}
	w.wantUsed(t, 0)
}

// TestFull fills the quota, the stage's disk and the bucket. What was kept stays, what came
// leaves nothing, and afterwards all goes on.
func TestFull(t *testing.T) {
	w := newWorld(t, 100_000)
	first := w.put(t, random(60_000))
	_, _, err := w.Put(t.Context(), "local", bytes.NewReader(random(60_001)))
	wantKind(t, err, pavise.Throttled)
	if !errors.Is(err, ErrFull) {
		t.Errorf("it does not say that it is full: %v", err)
	}
	w.stage.Free(30_000)
	_, _, err = w.Put(t.Context(), "local", bytes.NewReader(random(40_000)))
	wantKind(t, err, pavise.Unavailable)
	w.stage.Free(-1)
	asked := 0
	full := &pavise.Error{Kind: pavise.Unavailable, Msg: "the disk is full"}
	w.bad.fail = func(op string) error {
		if asked++; op == "put" {
			return full
		}
		return nil
	}
	_, _, err = w.Put(t.Context(), "local", bytes.NewReader(random(40_000)))
	if !errors.Is(err, full) || asked != tries {
		t.Errorf("%v, after %d tries", err, asked)
	}
	w.bad.fail = nil
	if files := w.files(t); len(files) != 1 {
		t.Errorf("there are %q", files)
	}
	w.wantUsed(t, 60_000)
	w.put(t, random(40_000))
	w.wantUsed(t, 100_000)
	if got, err := w.read(t, first); err != nil || len(got) != 60_000 {
		t.Errorf("%d, %v", len(got), err)
	}
}

// TestTriedAgain has a bucket take a content at the second try.
func TestTriedAgain(t *testing.T) {
	w := newWorld(t, 0)
	asked := 0
	w.bad.fail = func(op string) error {
		if asked++; asked == 1 {
			return &pavise.Error{Kind: pavise.Unavailable, Msg: "later"}
		}
		return nil
	}
	content := random(frameSize + 5)
	if got, err := w.read(t, w.put(t, content)); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d, %v", len(got), err)
	}
}

// TestKilled kills the process at the worst moments: what was coming is gone at the next
// start, and what was there is there.
func TestKilled(t *testing.T) {
	w := newWorld(t, 0)
	first := w.put(t, []byte("whole"))
	content := random(1000)
	half := kept{"local", sha256.Sum256(content), 1000}
	if err := w.begin(t.Context(), half); err != nil { // then it died, once before and once after the bucket had it
		t.Fatal(err)
	}
	of := newID()
	frames, _ := io.ReadAll(newSealer(bytes.NewReader(content), w.cfg.KEK.Depot("local"), of, 1000))
	object := append(sealHead(w.cfg.KEK.Depot("local"), half.digest, of, 1000), frames...)
	if err := w.bad.Bucket.Put(t.Context(), blob.Object{Name: half.object(), Size: int64(len(object))}, bytes.NewReader(object)); err != nil {
		t.Fatal(err)
	}
	w.stage.Put(coming+"1", []byte("half a file"))
	if _, err := w.read(t, half.digest); pavise.KindOf(err) != pavise.NotFound {
		t.Errorf("half a content: %v", err)
	}
	w.open(t)
	if files := w.files(t); len(files) != 1 || files[0] != w.object(first) {
		t.Errorf("there are %q", files)
	}
	w.wantUsed(t, 5)
	if got, err := w.read(t, first); err != nil || string(got) != "whole" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestHolds keeps what somebody holds, and a day long what nobody does.
func TestHolds(t *testing.T) {
	w := newWorld(t, 0)
	a, b, c := w.put(t, []byte("a")), w.put(t, []byte("bb")), w.put(t, []byte("ccc"))
	ctx := t.Context()
	wantKind(t, w.Hold(ctx, "local", "v1", a, Digest{}), pavise.NotFound)
	wantKind(t, w.Hold(ctx, "other", "v1", a), pavise.NotFound)
	for _, err := range []error{w.Hold(ctx, "local", "v1", a, b, a), w.Hold(ctx, "local", "v1", b), w.Hold(ctx, "local", "v2", b), w.Release(ctx, "other", "v1"), w.Release(ctx, "local", "never")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	sweep := func(want int, left ...Digest) {
		t.Helper()
		if gone, err := w.Sweep(ctx); gone != want || err != nil {
			t.Errorf("%d went, %v; want %d", gone, err, want)
		}
		if files := w.files(t); len(files) != len(left) {
			t.Errorf("there are %q", files)
		}
		for _, d := range left {
			if _, err := w.read(t, d); err != nil {
				t.Error(err)
			}
		}
	}
	sweep(0, a, b, c)
	w.now = w.now.Add(unheld + time.Second)
	w.bad.fail = func(op string) error { return &pavise.Error{Kind: pavise.Unavailable, Msg: "away"} }
	if _, err := w.Sweep(ctx); pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("a bucket that is away: %v", err)
	}
	wantKind(t, w.Hold(ctx, "local", "v3", c), pavise.NotFound) // it is going
	w.bad.fail = nil
	sweep(1, a, b)
	w.Release(ctx, "local", "v1")
	w.put(t, []byte("a")) // again, and so for another day
	sweep(0, a, b)
	w.now = w.now.Add(unheld + time.Second)
	sweep(1, b)
	w.Release(ctx, "local", "v2")
	sweep(1)
	w.wantUsed(t, 0)
}

// TestManyGo: however many contents nobody holds, they go with one sweep.
func TestManyGo(t *testing.T) {
	w := newWorld(t, 0)
	kept := w.put(t, []byte("kept"))
	if err := w.Hold(t.Context(), "local", "me", kept); err != nil {
		t.Fatal(err)
	}
	const many = 25
	w.atOnce = 10
	err := w.cfg.Store.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
			INSERT INTO depot_contents (tenant, digest, size, whole, since) SELECT 'local', cast(printf('%032d', i) AS BLOB), 0, 1, 0 FROM n`, many)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(2 * unheld)
	if gone, err := w.Sweep(t.Context()); gone != many || err != nil {
		t.Errorf("%d of %d went, %v", gone, many, err)
	}
	w.wantUsed(t, 4)
}

// TestManyAtOnce has one content put, read and swept from many sides, by a clock that always
// says that it is old: it is there whole, or not there.
func TestManyAtOnce(t *testing.T) {
	w := newWorld(t, 0)
	var days atomic.Int64
	w.cfg.Now = func() time.Time { return w.now.Add(time.Duration(days.Add(2)) * unheld) }
	w.open(t)
	content := random(frameSize + 3)
	digest := Digest(sha256.Sum256(content))
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 2 {
				var err error
				switch i % 4 {
				case 0:
					_, _, err = w.Put(t.Context(), "local", bytes.NewReader(content))
				case 1:
					err = w.PutAs(t.Context(), "local", digest, int64(len(content)), bytes.NewReader(content))
				case 2:
					_, err = w.Sweep(t.Context())
				}
				if err != nil {
					t.Error(err)
				}
				if got, err := w.read(t, digest); err == nil && !bytes.Equal(got, content) || err != nil && pavise.KindOf(err) != pavise.NotFound {
					t.Errorf("%d bytes, %v", len(got), err)
				}
			}
		})
	}
	all.Wait()
	digest = w.put(t, content)
	if got, err := w.read(t, digest); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	w.wantUsed(t, int64(len(content)))
}

// TestCancelled ends what comes with whoever asked.
func TestCancelled(t *testing.T) {
	w := newWorld(t, 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := w.Put(ctx, "local", strings.NewReader("x")); err == nil {
		t.Error("it was put")
	}
	if err := w.PutAs(ctx, "local", sha256.Sum256([]byte("x")), 1, strings.NewReader("x")); err == nil {
		t.Error("it was put")
	}
	w.wantUsed(t, 0)
}

// TestDigests reads digests, and nothing like them.
func TestDigests(t *testing.T) {
	d := Digest(sha256.Sum256(nil))
	if got, err := ParseDigest(d.String()); got != d || err != nil {
		t.Errorf("%s, %v", got, err)
	}
	for _, bad := range []string{"", "sha256:", d.String()[7:], d.String() + "0", strings.ToUpper(d.String()), "sha256:" + strings.ToUpper(d.String()[7:]), "sha512:" + d.String()[7:], "sha256:" + strings.Repeat("g", 64)} {
		_, err := ParseDigest(bad)
		wantKind(t, err, pavise.Invalid)
	}
}

// TestStageOnDisk stages on a directory of the system.
func TestStageOnDisk(t *testing.T) {
	w := newWorld(t, 0)
	w.cfg.Stage = disk.Dir{Path: t.TempDir()}
	w.open(t)
	content := random(2 * frameSize)
	if got, err := w.read(t, w.put(t, content)); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d, %v", len(got), err)
	}
}

// FuzzReader reads what somebody may have written where a content lies.
func FuzzReader(f *testing.F) {
	kek := testKEK(f)
	key, of := kek.Depot("local"), newID()
	content := []byte("a model")
	digest := Digest(sha256.Sum256(content))
	frames, _ := io.ReadAll(newSealer(bytes.NewReader(content), key, of, 100))
	good := append(sealHead(key, digest, of, int64(len(content))), frames...)
	f.Add(good)
	f.Add(good[:headSize])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, lies []byte) {
		r, err := newReader(io.NopCloser(bytes.NewReader(lies)), key, digest)
		var got []byte
		if err == nil {
			got, err = io.ReadAll(r)
		}
		if err == nil && !bytes.Equal(got, content) || err != nil && (pavise.KindOf(err) != pavise.Unverified || len(got) > 0) {
			t.Errorf("%q, %v", got, err)
		}
	})
}
