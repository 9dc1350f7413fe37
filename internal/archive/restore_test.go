package archive

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/audit"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/disk/disktest"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/store/blob"
)

// archived returns a log of three segments, all but the last in its archive.
func archived(t testing.TB, s setting) *keeper {
	t.Helper()
	k := newKeeper(t, s)
	k.fill(t, 600)
	k.keepAll(t)
	return k
}

func (k *keeper) known() audit.Options { return audit.Options{Key: k.Log.Keys()[0].String()} }

// TestWhatWasArchivedComesBack restores from the archive, also after the log was pruned
// and is gone: the segments are the same bytes, the log verifies, opens and goes on.
func TestWhatWasArchivedComesBack(t *testing.T) {
	k := archived(t, setting{})
	whole := map[uint64][]byte{}
	for _, first := range []uint64{0, 256} {
		whole[first], _ = os.ReadFile(filepath.Join(k.dir, disk.SegmentName(first)))
	}
	k.expire(t)
	if p, err := k.Prune(t.Context(), nil); err != nil || p.Below != 512 {
		t.Fatalf("%+v, %v", p, err)
	}
	dir := filepath.Join(inMemory(t), "restored", "ledger")
	var told []int64
	report, err := Restore(t.Context(), k.bucket, "", dir, k.known(), func(done, of int64) { told = append(told, done, of) })
	if err != nil || report.Signed != 512 || report.First != 0 || report.Conclusion != audit.Verified || report.Origin != origin {
		t.Fatalf("%+v, %v", report, err)
	}
	if len(told) != 4 || told[2] != told[3] || told[0] >= told[2] {
		t.Errorf("it told of %v bytes", told)
	}
	for first, content := range whole {
		if got, err := os.ReadFile(filepath.Join(dir, disk.SegmentName(first))); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s is not what it was: %v", disk.SegmentName(first), err)
		}
	}
	next := newKeeper(t, setting{dir: dir})
	if r, err := next.Log.Read(300); err != nil || r.On.ID != "m300" {
		t.Errorf("%+v, %v", r, err)
	}
	next.fill(t, 700)
	if _, err := next.Log.Prove(699); err != nil {
		t.Error(err)
	}
}

// TestWhereItComesBackFrom restores from a directory and, where PAVISE_TEST_S3 names one,
// from a store: kept, pruned and brought back as from the heap.
func TestWhereItComesBackFrom(t *testing.T) {
	places := map[string]string{"directory": filepath.Join(inMemory(t), "archive")}
	if address := os.Getenv("PAVISE_TEST_S3"); address != "" {
		at, options, _ := strings.Cut(address, "?")
		places["store"] = fmt.Sprintf("%s/archive%d?%s", strings.TrimSuffix(at, "/"), time.Now().UnixNano(), options)
	}
	for what, address := range places {
		t.Run(what, func(t *testing.T) {
			b, err := blob.Open(t.Context(), address)
			if err != nil {
				t.Fatal(err)
			}
			k := archived(t, setting{bucket: b})
			k.now = time.Now()
			k.retain(t, Class{Name: Default, Online: time.Second, Keep: k.now.Sub(epoch) + time.Minute})
			k.keepAll(t) // and holds what is there
			if p, err := k.Prune(t.Context(), nil); err != nil || p.Below != 512 {
				t.Fatalf("%+v, %v", p, err)
			}
			if report, err := Restore(t.Context(), b, origin, filepath.Join(inMemory(t), "restored"), k.known(), nil); err != nil || report.Signed != 512 {
				t.Errorf("%+v, %v", report, err)
			}
		})
	}
}

// TestRestoreWritesNothingOver refuses a directory in which something lies, and a file.
func TestRestoreWritesNothingOver(t *testing.T) {
	k := archived(t, setting{})
	full := inMemory(t)
	if err := os.WriteFile(filepath.Join(full, ".hidden"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Restore(t.Context(), k.bucket, "", full, k.known(), nil)
	wantKind(t, err, pavise.Conflict)
	_, err = Restore(t.Context(), k.bucket, "", filepath.Join(full, ".hidden"), k.known(), nil)
	wantKind(t, err, pavise.Unavailable)
	_, err = Restore(t.Context(), k.bucket, "", k.dir, k.known(), nil)
	wantKind(t, err, pavise.Conflict)
	_, err = Backup(t.Context(), k.dir, full, k.known(), nil)
	wantKind(t, err, pavise.Conflict)
	_, err = Backup(t.Context(), k.dir, k.dir, k.known(), nil)
	wantKind(t, err, pavise.Conflict)
	if entries, err := os.ReadDir(full); err != nil || len(entries) != 1 {
		t.Errorf("%d entries, %v", len(entries), err)
	}
	_, err = Backup(t.Context(), full, filepath.Join(full, "to"), k.known(), nil)
	wantKind(t, err, pavise.NotFound)
	_, err = Restore(t.Context(), newHeap("none"), "", filepath.Join(full, "to"), k.known(), nil)
	wantKind(t, err, pavise.NotFound)
}

// gone fails unless nothing is left of a directory that a copy made, and of what it made
// on the way there.
func gone(t *testing.T, what, dir string) {
	t.Helper()
	if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: something is left: %v", what, err)
	}
}

// TestACopyThatFailsLeavesNothing restores what does not verify, into a directory that is
// not there and into an empty one, and then what does, into the same. What somebody else
// put there meanwhile stays.
func TestACopyThatFailsLeavesNothing(t *testing.T) {
	k := archived(t, setting{})
	top := inMemory(t)
	wrong := audit.Options{Key: strings.Repeat("0", 64)}
	for what, copied := range map[string]func(dir string, opts audit.Options, progress Progress) error{
		"restore": func(dir string, opts audit.Options, progress Progress) error {
			_, err := Restore(t.Context(), k.bucket, "", dir, opts, progress)
			return err
		},
		"backup": func(dir string, opts audit.Options, progress Progress) error {
			_, err := Backup(t.Context(), k.dir, dir, opts, progress)
			return err
		},
	} {
		dir := filepath.Join(top, what, "a", "ledger")
		wantKind(t, copied(dir, wrong, nil), pavise.Unverified)
		gone(t, what, filepath.Join(top, what))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		wantKind(t, copied(dir, wrong, nil), pavise.Unverified)
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
			t.Errorf("%s: %v, %v", what, entries, err)
		}
		theirs := filepath.Join(dir, "notes")
		err := copied(dir, wrong, func(int64, int64) {
			if err := os.WriteFile(theirs, []byte("mine"), 0o600); err != nil {
				t.Error(err)
			}
		})
		wantKind(t, err, pavise.Unverified)
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 || entries[0].Name() != "notes" {
			t.Errorf("%s: %v, %v", what, entries, err)
		}
		if err := os.Remove(theirs); err != nil {
			t.Fatal(err)
		}
		if err := copied(dir, k.known(), nil); err != nil {
			t.Errorf("%s, once more: %v", what, err)
		}
	}
}

// TestAnOlderPointIsSaidToBeOne restores an archive that ends before a checkpoint that
// somebody kept: it says so, and leaves no log. Whoever restores without that checkpoint
// gets one that verifies, and finds out once they have it.
func TestAnOlderPointIsSaidToBeOne(t *testing.T) {
	k := archived(t, setting{})
	kept := k.Log.Published().Note
	opts := k.known()
	opts.Checkpoint = kept
	dir := filepath.Join(inMemory(t), "restored")
	_, err := Restore(t.Context(), k.bucket, "", dir, opts, nil)
	wantKind(t, err, pavise.Unverified)
	if err == nil || !strings.Contains(err.Error(), "rolled back") {
		t.Errorf("it says %v", err)
	}
	gone(t, "the older point", dir)
	dir = filepath.Join(inMemory(t), "restored")
	if report, err := Restore(t.Context(), k.bucket, "", dir, k.known(), nil); err != nil || report.Signed != 512 {
		t.Fatalf("%+v, %v", report, err)
	}
	_, err = audit.Verify(dir, opts)
	wantKind(t, err, pavise.Unverified)
	// The tail of the archive removed is one, too.
	for _, name := range slices.Sorted(maps.Keys(k.bucket.objects)) {
		if strings.Contains(name, "256.seg") {
			delete(k.bucket.objects, name)
		}
	}
	cp, err := k.Log.CheckpointAt(512)
	if err != nil {
		t.Fatal(err)
	}
	opts.Checkpoint = cp.Note
	_, err = Restore(t.Context(), k.bucket, "", filepath.Join(inMemory(t), "restored"), opts, nil)
	wantKind(t, err, pavise.Unverified)
}

// TestArchivesThatDeceive puts together archives that are no copy of the log that is
// asked for. None comes back as it.
func TestArchivesThatDeceive(t *testing.T) {
	k := archived(t, setting{})
	other := newKeeper(t, setting{})
	other.now = epoch.Add(time.Second)
	other.Log.Append(t.Context(), mallory(other.now), ledger.Durable)
	other.fill(t, 600)
	other.keepAll(t)
	stranger := archived(t, setting{origin: "evil/archive"})
	forged := forge(t)
	name := func(first uint64) string { return "test:archive/" + disk.SegmentName(first) }
	for what, test := range map[string]struct {
		edit func(h *heap)
		kind pavise.Kind
	}{
		"a segment of another log with the same key": {func(h *heap) { take(h, other.bucket, name(0), name(0)+".json") }, pavise.Unverified},
		"the last one of another log":                {func(h *heap) { take(h, other.bucket, name(256), name(256)+".json") }, pavise.Unverified},
		"another log's checkpoint":                   {func(h *heap) { take(h, other.bucket, "test:archive/checkpoint-000000000000512") }, pavise.Unverified},
		"an older checkpoint": {func(h *heap) {
			h.objects["test:archive/checkpoint-000000000000512"] = h.objects["test:archive/checkpoint-000000000000256"]
		}, pavise.Unverified},
		"all of a log that somebody else made":    {func(h *heap) { h.objects = forged }, pavise.Unverified},
		"a log of another name under this one's":  {func(h *heap) { h.objects = renamed(t, stranger.bucket.objects) }, pavise.Unverified},
		"the segments in another order":           {func(h *heap) { swap(h, name(0), name(256)) }, pavise.Unverified},
		"and their manifests":                     {func(h *heap) { swap(h, name(0), name(256)); swap(h, name(0)+".json", name(256)+".json") }, pavise.Unverified},
		"a segment that is missing":               {func(h *heap) { delete(h.objects, name(0)) }, pavise.NotFound},
		"a manifest that is missing":              {func(h *heap) { delete(h.objects, name(0)+".json") }, pavise.Unverified},
		"a checkpoint that is missing":            {func(h *heap) { delete(h.objects, "test:archive/checkpoint-000000000000512") }, pavise.NotFound},
		"no manifest at all":                      {func(h *heap) { delete(h.objects, name(0)+".json"); delete(h.objects, name(256)+".json") }, pavise.NotFound},
		"a manifest under another name":           {func(h *heap) { h.objects[name(512)+".json"] = h.objects[name(0)+".json"] }, pavise.Unverified},
		"a manifest that leads out of the bucket": {leadOut(t, "../../etc"), pavise.Unverified},
		"a manifest with slashes":                 {leadOut(t, "a/b/c"), pavise.Unverified},
		"nonsense":                                {func(h *heap) { h.objects[name(512)+".json"] = []byte("{") }, pavise.Unverified},
	} {
		t.Run(what, func(t *testing.T) {
			h := k.bucket.copy()
			test.edit(h)
			for _, asked := range []string{"", origin} {
				dir := filepath.Join(inMemory(t), "restored")
				opts := k.known()
				if asked != "" && what != "all of a log that somebody else made" {
					opts = audit.Options{} // nothing is known but what is asked for
				}
				report, err := Restore(t.Context(), h, asked, dir, opts, nil)
				if err == nil || pavise.KindOf(err) != test.kind {
					t.Errorf("asked for %q: %s, %v, %+v", asked, pavise.KindOf(err), err, report)
				}
				gone(t, fmt.Sprintf("asked for %q", asked), dir)
			}
		})
	}
	both := k.bucket.copy()
	take(both, stranger.bucket, slices.Collect(maps.Keys(stranger.bucket.objects))...)
	_, err := Restore(t.Context(), both, "", filepath.Join(inMemory(t), "restored"), k.known(), nil)
	wantKind(t, err, pavise.Invalid)
	if report, err := Restore(t.Context(), both, origin, filepath.Join(inMemory(t), "restored"), k.known(), nil); err != nil || report.Origin != origin {
		t.Errorf("%+v, %v", report, err)
	}
}

// take takes objects over from another heap.
func take(h, from *heap, names ...string) {
	for _, name := range names {
		h.objects[name] = from.objects[name]
	}
}

func swap(h *heap, a, b string) { h.objects[a], h.objects[b] = h.objects[b], h.objects[a] }

// renamed returns the objects of a log under this log's name, with manifests to match.
func renamed(t *testing.T, objects map[string][]byte) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for name, content := range objects {
		if strings.HasSuffix(name, ".json") {
			content = bytes.Replace(content, []byte(`"origin":"evil/archive"`), []byte(`"origin":"test/archive"`), 1)
		}
		all[strings.Replace(name, "evil:", "test:", 1)] = content
	}
	return all
}

// leadOut adds a manifest whose origin leads elsewhere, beside where it leads.
func leadOut(t *testing.T, to string) func(h *heap) {
	t.Helper()
	return func(h *heap) {
		m, err := parseManifest(h.objects["test:archive/"+disk.SegmentName(256)+".json"])
		if err != nil {
			t.Fatal(err)
		}
		m.Origin, m.First = to, 512
		text, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		h.objects["test:archive/"+disk.SegmentName(512)+".json"] = text
		h.objects[to+"/"+disk.SegmentName(512)+".json"] = text
	}
}

// forge returns the archive of a log of this name that somebody made with a key of
// their own.
func forge(t *testing.T) map[string][]byte {
	t.Helper()
	was := testKey
	defer func() { testKey = was }()
	testKey = ed25519.NewKeyFromSeed([]byte("archive test, somebody's own key"))
	return archived(t, setting{}).bucket.objects
}

// mallory is a record that the log does not hold.
func mallory(at time.Time) *record.Record {
	return &record.Record{Kind: "model.infer", Phase: record.Act, Tenant: "acme", At: at, On: pavise.Name{Tenant: "acme", Kind: "model", ID: "mallory"}}
}

// TestNoFlippedBitMakesAnotherLog flips every bit of the manifests and of the checkpoint, and
// some of the segments: what comes back is refused, or the very same log. A manifest's
// words for people are no part of a log, and prove nothing.
func TestNoFlippedBitMakesAnotherLog(t *testing.T) {
	k := archived(t, setting{})
	restored := func(h *heap) ([]Manifest, error) {
		manifests, err := bring(t.Context(), h, disktest.New())
		if err != nil {
			return nil, err
		}
		note, err := read(t.Context(), h, manifests[len(manifests)-1].checkpoint(), proof.MaxNote)
		if err != nil {
			return nil, err
		}
		for _, text := range manifests[len(manifests)-1].Keys { // which become the log's
			key, err := proof.ParseKey(text)
			if err == nil {
				_, err = proof.OpenSigned(note, key)
			}
			if err != nil {
				return nil, err
			}
		}
		return manifests, nil
	}
	want, err := restored(k.bucket)
	if err != nil {
		t.Fatal(err)
	}
	flips, words := 0, 0
	for name, content := range k.bucket.objects {
		if strings.HasSuffix(name, ".seg") {
			continue
		}
		for bit := range len(content) * 8 {
			h := k.bucket.copy()
			changed := bytes.Clone(content)
			changed[bit/8] ^= 1 << (bit % 8)
			h.objects[name] = changed
			got, err := restored(h)
			flips++
			if strings.Contains(name, "checkpoint-000000000000256") {
				continue // of no use while there is a later one
			}
			if err != nil {
				continue
			}
			words++
			for i, m := range got { // all that a restored log is made of
				if !m.same(want[i]) || i == len(got)-1 && !slices.Equal(m.Keys, want[i].Keys) {
					t.Errorf("%s, bit %d: taken, and made %+v", name, bit, m)
				}
			}
		}
	}
	t.Logf("%d bits, %d of them in words", flips, words)
	rng := rand.New(rand.NewPCG(1, 1))
	for range 40 {
		h := k.bucket.copy()
		name := "test:archive/" + disk.SegmentName(256*rng.Uint64N(2))
		changed := bytes.Clone(h.objects[name])
		bit := rng.IntN(len(changed) * 8)
		changed[bit/8] ^= 1 << (bit % 8)
		h.objects[name] = changed
		_, err := Restore(t.Context(), h, "", filepath.Join(inMemory(t), "restored"), audit.Options{}, nil)
		wantKind(t, err, pavise.Unverified)
	}
}

// TestARestoreThatBreaksOff has the bucket fail at each call, and the caller go away:
// nothing is there then, and another try gets a whole log.
func TestARestoreThatBreaksOff(t *testing.T) {
	k := archived(t, setting{})
	for n := 1; ; n++ {
		if n > 200 {
			t.Fatal("it never came to an end")
		}
		h := k.bucket.copy()
		h.fail = func(call int, _, _ string) error {
			if call == n {
				return errAway
			}
			return nil
		}
		dir := filepath.Join(inMemory(t), "restored")
		_, err := Restore(t.Context(), h, "", dir, k.known(), nil)
		if err == nil {
			if n < 6 {
				t.Errorf("%d calls only", n)
			}
			break
		}
		wantKind(t, err, pavise.Unavailable)
		gone(t, fmt.Sprintf("call %d", n), dir)
	}
	for what, lie := range lies {
		h := k.bucket.copy()
		h.lie = func(name string, content []byte) io.Reader {
			if strings.HasSuffix(name, "256.seg") {
				return lie.tell(content)
			}
			return bytes.NewReader(content)
		}
		_, err := Restore(t.Context(), h, "", filepath.Join(inMemory(t), "restored"), k.known(), nil)
		if err == nil || pavise.KindOf(err) != lie.kind {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestADiskThatFailsWhileRestoring makes each operation of the disk fail in turn, full and
// broken: the error is of kind Unavailable, and no checkpoint makes a log of what is there.
func TestADiskThatFailsWhileRestoring(t *testing.T) {
	k := archived(t, setting{})
	ctx := context.Background()
	for name, fault := range map[string]error{"full": syscall.ENOSPC, "broken": syscall.EIO} {
		t.Run(name, func(t *testing.T) {
			for n := 1; ; n++ {
				if n > 200 {
					t.Fatal("it never came to an end")
				}
				d := disktest.New()
				left, derived := n, false
				d.Fail(func(op, name string) error {
					if left--; left == 0 {
						derived = op == "open" && strings.HasPrefix(name, "hash.") // as good as not there
						return fault
					}
					return nil
				})
				err := restoreOn(ctx, k.bucket, d, k.known())
				if err == nil && left > 0 {
					return
				}
				if err != nil && !derived {
					wantKind(t, err, pavise.Unavailable)
				}
				d.Fail(nil)
				if _, there := d.Bytes("checkpoint"); err != nil && there {
					t.Errorf("operation %d: it is a log all the same", n)
				}
			}
		})
	}
}

// bring brings all segments from the archive.
func bring(ctx context.Context, b blob.Bucket, d disk.Directory) ([]Manifest, error) {
	manifests, err := manifestsOf(ctx, b, "")
	if err != nil {
		return nil, err
	}
	for _, m := range manifests {
		if err := fetch(ctx, b, d, m); err != nil {
			return nil, err
		}
	}
	return manifests, nil
}

// restoreOn is Restore on any disk.
func restoreOn(ctx context.Context, b blob.Bucket, d disk.Directory, opts audit.Options) error {
	manifests, err := bring(ctx, b, d)
	if err != nil {
		return err
	}
	last := manifests[len(manifests)-1]
	note, err := read(ctx, b, last.checkpoint(), proof.MaxNote)
	if err != nil {
		return err
	}
	_, err = finish(d, []byte(strings.Join(last.Keys, "\n")+"\n"), note, opts)
	return err
}
