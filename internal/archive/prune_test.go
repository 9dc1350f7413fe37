package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/audit"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/disk/disktest"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/store"
)

// TestPruneTakesOnlyWhatNobodyWants tries every reason to keep a segment here: its
// classes, its followers, and that the archive does not have it.
func TestPruneTakesOnlyWhatNobodyWants(t *testing.T) {
	hour := Class{Name: Default, Online: time.Hour}
	for _, test := range []struct {
		what    string
		classes []Class
		after   time.Duration // since the first record; records come a second each
		oldest  uint64        // what a follower has not done with
		first   uint64        // what is left begins there
	}{
		{"no class", nil, year, ^uint64(0), 0},
		{"everything is old", []Class{hour}, year, ^uint64(0), 768},
		{"nothing is old", []Class{hour}, time.Hour + 254*time.Second, ^uint64(0), 0},
		{"the first is old", []Class{hour}, time.Hour + 255*time.Second, ^uint64(0), 256},
		{"the first two are old", []Class{hour}, time.Hour + 511*time.Second, ^uint64(0), 512},
		{"a follower at the beginning", []Class{hour}, year, 0, 0},
		{"a follower within the second", []Class{hour}, year, 511, 256},
		{"a follower behind the second", []Class{hour}, year, 512, 512},
		{"a follower far ahead", []Class{hour}, year, 800, 768},
		{"a class of some records for ever", []Class{hour, {Name: "p", Kinds: []string{"policy"}}}, year, ^uint64(0), 0},
		{"a longer class of some records", []Class{hour, {Name: "p", Kinds: []string{"policy"}, Online: 2 * time.Hour}}, time.Hour + 500*time.Second, ^uint64(0), 0},
		{"classes, and no default", []Class{{Name: "m", Kinds: []string{"model"}, Online: time.Hour}}, year, ^uint64(0), 0},
		{"classes of all that there is", []Class{{Name: "m", Kinds: []string{"model", "policy"}, Online: time.Hour}}, year, ^uint64(0), 768},
		{"records of the future", []Class{hour}, -year, ^uint64(0), 0},
	} {
		t.Run(test.what, func(t *testing.T) {
			k := newKeeper(t, setting{})
			k.fill(t, 800)
			if kept := k.keepAll(t); len(kept) != 3 {
				t.Fatalf("%d segments are kept", len(kept))
			}
			for _, c := range test.classes { // made after the segments were archived
				k.retain(t, c)
			}
			k.now, k.oldest = epoch.Add(test.after), test.oldest
			p, err := k.Prune(t.Context(), &auditor)
			if err != nil || p.Below != test.first || len(p.Segments) != int(test.first/256) || k.Log.First() != test.first {
				t.Errorf("%+v, %v; the log begins at %d, want %d", p, err, k.Log.First(), test.first)
			}
			again, err := k.Prune(t.Context(), &auditor)
			if err != nil || len(again.Segments) != 0 || again.Why == "" {
				t.Errorf("again: %+v, %v", again, err)
			}
		})
	}
}

// TestWhatIsHeldIsSaid gives each reason for which a segment stays.
func TestWhatIsHeldIsSaid(t *testing.T) {
	s := Segment{Manifest: Manifest{First: 256, Count: 256}}
	for _, test := range []struct {
		next     uint64
		until    time.Time
		ends     bool
		oldest   uint64
		followed bool
		want     string
	}{
		{0, epoch, true, 0, false, "records 0 to 255 were not archived"},
		{256, epoch, false, 0, false, "records 256 to 511 want them here for ever"},
		{256, epoch.Add(time.Hour), true, 0, false, "until " + epoch.Add(time.Hour).UTC().Format("2006-01-02 15:04 UTC")},
		{256, epoch, true, 511, true, "a follower has not done with record 511"},
		{256, epoch, true, 512, true, ""},
		{256, epoch, true, 0, false, ""},
	} {
		if got := held(s, test.next, test.until, test.ends, epoch, test.oldest, test.followed); got != test.want && (test.want == "" || !strings.Contains(got, test.want)) {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}

// TestAPrunedLogHolds reads, proves, searches, verifies and opens a log of which the
// first records were pruned: what is gone is said to be, with where it is, and the rest
// is as good as before.
func TestAPrunedLogHolds(t *testing.T) {
	k := newKeeper(t, setting{})
	k.fill(t, 800)
	k.keepAll(t)
	k.expire(t)
	k.oldest = 600
	p, err := k.Prune(t.Context(), &auditor)
	if err != nil || p.Below != 512 {
		t.Fatalf("%+v, %v", p, err)
	}
	_, err = k.Log.Read(511)
	wantKind(t, err, pavise.NotFound)
	if e, ok := errors.AsType[*pavise.Error](err); !ok || !strings.Contains(e.Hint, "archive") {
		t.Errorf("it says %v", err)
	}
	for _, index := range []uint64{0, 255, 511, 512, 700} {
		if _, err := k.Log.Prove(index); err != nil {
			t.Errorf("record %d no longer proves: %v", index, err)
		}
	}
	if r, err := k.Log.Read(512); err != nil || r.On.ID != "m512" {
		t.Errorf("%+v, %v", r, err)
	}
	last, _ := k.Log.Last()
	var said record.Pruning
	if err := json.Unmarshal(last.Detail, &said); err != nil || last.Kind != record.KindPruned || last.Who.ID != "ada" || said.Below != 512 ||
		len(said.Segments) != 2 || said.Segments[1].SHA256 != p.Segments[1].SHA256 || said.Segments[0].Kept != "heap://" || said.Why == "" {
		t.Errorf("the record of it is %+v, %v", last, err)
	}
	for _, s := range k.segments(t) {
		if s.Here != (s.First >= 512) {
			t.Errorf("segment %d is here: %t", s.First, s.Here)
		}
	}
	key := k.Log.Keys()[0].String()
	if err := k.Log.Close(); err != nil {
		t.Fatal(err)
	}
	report, err := audit.Verify(k.dir, audit.Options{Key: key})
	if err != nil || report.First != 512 || report.Conclusion != audit.Verified {
		t.Errorf("%+v, %v", report, err)
	}
	again := newKeeper(t, setting{dir: k.dir})
	again.fill(t, 1100)
	if _, err := again.Log.Read(600); err != nil {
		t.Error(err)
	}
}

// lies are what a bucket may say of an object in the place of what was put.
var lies = map[string]struct {
	tell func(content []byte) io.Reader
	kind pavise.Kind
}{
	"a byte is another": {func(c []byte) io.Reader { c = bytes.Clone(c); c[len(c)/2] ^= 1; return bytes.NewReader(c) }, pavise.Unverified},
	"a byte is missing": {func(c []byte) io.Reader { return bytes.NewReader(c[:len(c)-1]) }, pavise.Unverified},
	"a byte is added":   {func(c []byte) io.Reader { return bytes.NewReader(append(bytes.Clone(c), '\n')) }, pavise.Unverified},
	"nothing is there":  {func(c []byte) io.Reader { return bytes.NewReader(nil) }, pavise.Unverified},
	"all is zero":       {func(c []byte) io.Reader { return bytes.NewReader(make([]byte, len(c))) }, pavise.Unverified},
	"it never ends":     {func(c []byte) io.Reader { return io.MultiReader(bytes.NewReader(c), endless{}) }, pavise.Unverified},
	"it breaks off": {func(c []byte) io.Reader {
		return io.MultiReader(bytes.NewReader(c[:len(c)/2]), iotest.ErrReader(errors.New("broken pipe")))
	}, pavise.Unavailable},
}

// An endless reader never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// TestABucketThatLiesPrunesNothing has the bucket tell each lie about each object. The
// segment stays here, and no record says otherwise; once the bucket tells the truth
// again, it is archived, if need be anew, and pruned.
func TestABucketThatLiesPrunesNothing(t *testing.T) {
	k := newKeeper(t, setting{})
	k.fill(t, 600)
	k.keepAll(t)
	k.expire(t)
	s := k.segments(t)[1]
	k.oldest = s.First // the first may go
	if p, err := k.Prune(t.Context(), nil); err != nil || p.Below != 256 {
		t.Fatalf("%+v, %v", p, err)
	}
	k.oldest = ^uint64(0)
	before := k.Log.Size()
	for _, object := range []string{s.segment(), s.checkpoint(), s.object()} {
		for what, lie := range lies {
			k.bucket.lie = func(name string, content []byte) io.Reader {
				if name != object {
					return bytes.NewReader(content)
				}
				return lie.tell(content)
			}
			p, err := k.Prune(t.Context(), nil)
			if pavise.KindOf(err) != lie.kind || err == nil || len(p.Segments) > 0 {
				t.Errorf("%s, %s: %+v, %v", object, what, p, err)
			}
			if k.Log.First() != 256 || k.records(t, record.KindPruned) != 1 {
				t.Fatalf("%s, %s: pruned", object, what)
			}
			k.bucket.lie = nil
			k.keepAll(t)
		}
		k.bucket.fail = func(_ int, op, name string) error {
			if op == "get" && name == object {
				return errAway
			}
			return nil
		}
		_, err := k.Prune(t.Context(), nil)
		wantKind(t, err, pavise.Unavailable)
		k.bucket.fail = nil
	}
	if k.Log.Size() == before {
		t.Error("nothing was archived again")
	}
	if p, err := k.Prune(t.Context(), nil); err != nil || p.Below != 512 {
		t.Errorf("%+v, %v", p, err)
	}
}

// TestABucketThatLosesIsFilledAgain takes and then loses each object, and all of them:
// nothing is pruned, and the next Keep puts back what is missing.
func TestABucketThatLosesIsFilledAgain(t *testing.T) {
	for _, lost := range []string{"entries-000000000000000.seg", "entries-000000000000000.seg.json", "checkpoint-000000000000256", ""} {
		t.Run("without "+lost, func(t *testing.T) {
			k := newKeeper(t, setting{})
			k.fill(t, 300)
			k.keepAll(t)
			k.expire(t)
			for name := range k.bucket.objects {
				if strings.HasSuffix(name, lost) {
					delete(k.bucket.objects, name)
				}
			}
			_, err := k.Prune(t.Context(), nil)
			wantKind(t, err, pavise.NotFound)
			if k.Log.First() != 0 {
				t.Fatal("pruned")
			}
			k.keepAll(t)
			if len(k.bucket.objects) != 3 {
				t.Errorf("%d objects", len(k.bucket.objects))
			}
			if p, err := k.Prune(t.Context(), nil); err != nil || p.Below != 256 {
				t.Errorf("%+v, %v", p, err)
			}
		})
	}
}

// TestPruneHoldsTheDatabaseAgainstTheLog has the database say of segments what is not
// so, and the archive agree with it. Nothing is pruned.
func TestPruneHoldsTheDatabaseAgainstTheLog(t *testing.T) {
	for what, edit := range map[string]func(m *Manifest, h *heap){
		"it is two":           func(m *Manifest, h *heap) { m.Count = 512 },
		"it ends elsewhere":   func(m *Manifest, h *heap) { m.Count = 100 },
		"it is longer":        func(m *Manifest, h *heap) { m.Bytes++ },
		"it is another log's": func(m *Manifest, h *heap) { m.Origin = "else" },
		"it is other bytes": func(m *Manifest, h *heap) {
			content := bytes.Repeat([]byte("x"), int(m.Bytes))
			sum := sha256.Sum256(content)
			h.objects[m.segment()], m.SHA256 = content, hex.EncodeToString(sum[:])
		},
	} {
		t.Run(what, func(t *testing.T) {
			k := newKeeper(t, setting{})
			k.fill(t, 800)
			k.keepAll(t)
			k.expire(t)
			m := k.segments(t)[0].Manifest
			edit(&m, k.bucket)
			text, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			k.bucket.objects[m.object()] = text
			err = k.db.Update(t.Context(), func(tx *store.Tx) error {
				_, err := tx.Exec(`UPDATE archive_segments SET manifest = ? WHERE first = 0`, string(text))
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if p, err := k.Prune(t.Context(), nil); pavise.KindOf(err) != pavise.Unverified || len(p.Segments) > 0 {
				t.Errorf("%+v, %v", p, err)
			}
			if k.Log.First() != 0 || k.records(t, record.KindPruned) > 0 {
				t.Error("pruned")
			}
		})
	}
}

// TestASegmentThatTheDatabaseForgotIsNotPruned lacks one segment in the table, before one
// that may go: nothing goes past it, and it is archived first.
func TestASegmentThatTheDatabaseForgotIsNotPruned(t *testing.T) {
	k := newKeeper(t, setting{})
	k.fill(t, 600)
	k.keepAll(t)
	k.expire(t)
	err := k.db.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(`DELETE FROM archive_segments WHERE first = 0`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if p, err := k.Prune(t.Context(), nil); err != nil || len(p.Segments) > 0 || k.Log.First() != 0 {
		t.Errorf("%+v, %v", p, err)
	}
	k.keepAll(t)
	if p, err := k.Prune(t.Context(), nil); err != nil || p.Below != 512 {
		t.Errorf("%+v, %v", p, err)
	}
}

// TestACheckpointThatIsAnothers finds at a segment's end a good checkpoint, signed by the
// log's own key, of another size or of another history. Nothing is pruned.
func TestACheckpointThatIsAnothers(t *testing.T) {
	k := archived(t, setting{})
	other := newKeeper(t, setting{})
	if _, err := other.Log.Append(t.Context(), mallory(epoch), ledger.Durable); err != nil {
		t.Fatal(err)
	}
	other.fill(t, 600)
	other.keepAll(t)
	k.expire(t)
	name := func(size int) string { return fmt.Sprintf("test:archive/checkpoint-%015d", size) }
	for what, note := range map[string][]byte{
		"another size": k.bucket.objects[name(512)], "another history": other.bucket.objects[name(256)],
	} {
		good := k.bucket.objects[name(256)]
		k.bucket.objects[name(256)] = note
		_, err := k.Prune(t.Context(), nil)
		wantKind(t, err, pavise.Unverified)
		if k.Log.First() != 0 {
			t.Fatalf("%s: pruned", what)
		}
		k.bucket.objects[name(256)] = good
		k.keepAll(t)
	}
}

// TestWhatIsDamagedHereIsNotPruned damages a segment after it was archived: the copy in
// the archive may be the last good one, and somebody must look.
func TestWhatIsDamagedHereIsNotPruned(t *testing.T) {
	k := newKeeper(t, setting{})
	k.fill(t, 300)
	k.keepAll(t)
	k.expire(t)
	path := filepath.Join(k.dir, disk.SegmentName(0))
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/2] ^= 1
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if p, err := k.Prune(t.Context(), nil); err == nil || len(p.Segments) > 0 || k.Log.First() != 0 {
		t.Errorf("%+v, %v", p, err)
	}
}

// TestAnotherBucketIsFilledBeforeAnythingGoes gives an installation a new bucket: what the
// old one holds does not count, is archived anew, and then pruned.
func TestAnotherBucketIsFilledBeforeAnythingGoes(t *testing.T) {
	k := newKeeper(t, setting{})
	k.fill(t, 600)
	k.keepAll(t)
	k.expire(t)
	next := newHeap("none")
	k.Bucket = next
	for range 4 {
		p, err := k.Prune(t.Context(), nil)
		if err == nil {
			if p.Below != 512 || len(next.objects) != 6 {
				t.Errorf("%+v, and %d objects", p, len(next.objects))
			}
			return
		}
		wantKind(t, err, pavise.NotFound)
		if k.Log.First() != 0 {
			t.Fatal("pruned")
		}
		k.keepAll(t)
	}
	t.Error("it never came to an end")
}

// TestADiskThatFailsWhilePruning makes each operation of the log's disk fail in turn
// while the log is pruned: full, broken, and gone. Afterwards it opens and verifies, and
// what is missing is said to be pruned.
func TestADiskThatFailsWhilePruning(t *testing.T) {
	d := disktest.New()
	k := newKeeper(t, setting{disk: d})
	k.fill(t, 600)
	k.keepAll(t)
	k.fill(t, k.Log.Size()+1) // published, and with it what was recorded of keeping
	k.expire(t)
	if err := k.Log.Close(); err != nil {
		t.Fatal(err)
	}
	for name, fault := range map[string]error{"full": syscall.ENOSPC, "broken": syscall.EIO, "gone": nil} {
		t.Run(name, func(t *testing.T) {
			pruned := 0
			for n := 1; n < 100; n++ {
				done, err := pruneOn(t, d.Frozen(), k, n, fault)
				if err != nil {
					t.Fatalf("operation %d: %v", n, err)
				}
				if pruned++; !done {
					pruned = 0
				}
				if pruned == 3 { // the fault no longer comes in its way
					return
				}
			}
			t.Error("it was never pruned")
		})
	}
}

// pruneOn prunes a log on a disk whose n-th operation from then on fails, and checks what
// the next life finds.
func pruneOn(t *testing.T, d *disktest.Disk, k *keeper, n int, fault error) (done bool, err error) {
	open := func(d *disktest.Disk) (*ledger.Log, error) {
		return ledger.Open(ledger.Options{Disk: d, Origin: origin, Key: testKey, Tenant: "acme", SegmentSize: 1, Now: k.clock})
	}
	log, err := open(d)
	if err != nil {
		return false, err
	}
	crashed := d.Frozen
	if fault == nil {
		crashed = d.LosePowerAfter(n, rand.New(rand.NewPCG(uint64(n), 1)))
	} else {
		left := n
		d.Fail(func(op, name string) error {
			if left--; left == 0 {
				return fault
			}
			return nil
		})
	}
	a := &Archive{Config: k.Config, db: k.db}
	a.Log = log
	p, err := a.Prune(context.Background(), nil)
	if err != nil && pavise.KindOf(err) != pavise.Unavailable {
		return false, fmt.Errorf("it is of kind %s: %w", pavise.KindOf(err), err)
	}
	done = err == nil && p.Below == 512
	log.Close()
	d = crashed()
	d.Fail(nil)
	if log, err = open(d); err != nil {
		return done, fmt.Errorf("open again: %w", err)
	}
	first := log.First()
	log.Close()
	report, err := audit.VerifyOn(d, audit.Options{Key: k.Log.Keys()[0].String()})
	if err != nil || report.First != first || fault != nil && done && first != 512 {
		return done, fmt.Errorf("it begins at %d: %+v, %w", first, report, errors.Join(err, errors.New("not so")))
	}
	return done, nil
}
