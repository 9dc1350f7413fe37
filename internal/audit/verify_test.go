package audit

import (
	"encoding/json"
	"errors"
	"fmt"
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
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/record"
)

// TestReportSaysWhatWasProved verifies logs of many sizes, on a disk in memory and in a
// directory, with and without knowing anything.
func TestReportSaysWhatWasProved(t *testing.T) {
	key := logKey(t, testKey)
	for _, n := range []int{1, 2, 255, 256, 257, 600} {
		all := someLog(t, n)
		for _, dir := range []disk.Directory{onDisk(all), disk.Dir{Path: inDir(t, all), ReadOnly: true}} {
			report, err := VerifyOn(dir, Options{})
			if err != nil {
				t.Fatal(err)
			}
			root := rootOf(t, all, uint64(n))
			if report.Origin != testOrigin || report.First != 0 || report.Records != uint64(n) || report.Signed != uint64(n) || report.Trailing != 0 || report.Root != root.String() {
				t.Errorf("%d records: %+v", n, report)
			}
			if report.Key != key.String() || len(report.Keys) != 1 || report.Keys[0] != (KeyReport{key.String(), "Ed25519", key.Fingerprint()}) {
				t.Errorf("%d records: keys %+v", n, report.Keys)
			}
			if !report.From.Equal(epoch) || !report.To.Equal(epoch.Add(time.Duration(n-1)*time.Second)) || len(report.Open) > 0 {
				t.Errorf("%d records: from %v to %v, open %v", n, report.From, report.To, report.Open)
			}
			if report.Known || report.Since != 0 || report.Witnessed != nil || report.Conclusion != Consistent {
				t.Errorf("%d records, nothing known: %+v", n, report)
			}
		}
	}
	if Consistent != "consistent; authorship and completeness unverified" || !strings.HasPrefix(Verified, "verified: ") || !strings.HasPrefix(Partly, "verified up to the checkpoint: ") {
		t.Error("the words of a conclusion are what people and scripts read")
	}
}

// TestVerifyKnowsTheKeyInEachSpelling: as its text or its fingerprint, in capitals too;
// what is neither is a mistake of the caller and no verdict.
func TestVerifyKnowsTheKeyInEachSpelling(t *testing.T) {
	d := onDisk(someLog(t, 5))
	key, other := logKey(t, testKey), logKey(t, otherKey)
	for _, text := range []string{key.String(), key.Fingerprint(), strings.ToUpper(key.Fingerprint())} {
		if report := verified(t, d, Options{Key: text}); !report.Known {
			t.Errorf("%s: %+v", text, report)
		}
	}
	for _, text := range []string{other.String(), other.Fingerprint(), strings.Repeat("0", 64), key.String() + " ", key.String()[:40] + "+"} {
		refused(t, text, d, Options{Key: text}, "not by the one you know")
	}
	for _, text := range []string{"x", " ", key.Fingerprint()[:63], key.Fingerprint() + "0", testOrigin, strings.Repeat("g", 64)} {
		if report, err := VerifyOn(d, Options{Key: text}); pavise.KindOf(err) != pavise.Invalid || report.Conclusion != "" {
			t.Errorf("%q: %+v, %v", text, report, err)
		}
	}
}

// TestWhatIsNoLog is told from a log that does not verify.
func TestWhatIsNoLog(t *testing.T) {
	for what, dir := range map[string]disk.Directory{"an empty directory": disktest.New(), "a directory that is not there": disk.Dir{Path: t.TempDir() + "/nowhere"}, "another directory": onDisk(map[string]string{"a": "b"})} {
		if report, err := VerifyOn(dir, known(t)); pavise.KindOf(err) != pavise.NotFound || report.Conclusion != "" {
			t.Errorf("%s: %+v, %v", what, report, err)
		}
	}
	if report, err := Verify(inDir(t, someLog(t, 5)), known(t)); err != nil || report.Conclusion != Verified {
		t.Errorf("a log: %+v, %v", report, err)
	}
}

// TestEmptyLogVerifies: a log that holds nothing yet is whole, and its root that of
// nothing.
func TestEmptyLogVerifies(t *testing.T) {
	d := disktest.New()
	if err := openLog(t, options(d)).Close(); err != nil {
		t.Fatal(err)
	}
	if report := verified(t, d, known(t)); report.Records != 0 || !report.From.IsZero() || report.Root != "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=" {
		t.Errorf("%+v", report)
	}
}

// TestOpenActsAreNamed: those that were entered and have no ending under the
// checkpoint, and no others.
func TestOpenActsAreNamed(t *testing.T) {
	d := disktest.New()
	l := openLog(t, options(d))
	add := func(r record.Record) {
		r.Kind, r.Tenant, r.At = "model.put", "acme", epoch
		if _, err := l.Append(t.Context(), &r, ledger.Durable); err != nil {
			t.Fatal(err)
		}
	}
	add(record.Record{Phase: record.Enter})                              // 0, ends
	add(record.Record{Phase: record.Enter})                              // 1
	add(record.Record{Phase: record.Act})                                // 2
	add(record.Record{Phase: record.Exit, Enter: new(uint64(0))})        // 3
	add(record.Record{Phase: record.Enter, Settled: 1})                  // 4, interrupted
	add(record.Record{Phase: record.Interrupted, Enter: new(uint64(4))}) // 5
	add(record.Record{Phase: record.Enter})                              // 6
	add(record.Record{Phase: record.Exit, Enter: new(uint64(99))})       // 7, of none
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if report := verified(t, d, known(t)); !slices.Equal(report.Open, []uint64{1, 6}) {
		t.Errorf("open: %v", report.Open)
	}
}

// TestHostileEntriesUnderAGoodSignature: whoever has the log's key can sign anything.
// What is no record is found where it lies, and what is one, oddly spelled, breaks
// nothing.
func TestHostileEntriesUnderAGoodSignature(t *testing.T) {
	good := entryOf(t, testRecord(1))
	body := func(text string) []byte {
		return append(append([]byte{1}, text...), make([]byte, record.TagSize)...)
	}
	for what, entry := range map[string][]byte{
		"nothing": {}, "a short one": []byte("\x01short"), "another version": append([]byte{9}, good[1:]...), "no JSON": body("nonsense"), "no object": body("[]"),
		"an enter of another sort": body(`{"kind":"a","phase":"enter","enter":"x"}`), "a pruning that is none": body(`{"kind":"ledger.pruned","phase":"note","detail":}`),
	} {
		for at := range 3 {
			entries := [][]byte{good, good, good}
			entries[at] = entry
			report, err := VerifyOn(forge(t, entries...), known(t))
			if pavise.KindOf(err) != pavise.Unverified || !strings.Contains(err.Error(), fmt.Sprintf("at record %d: %s, byte %d:", at, disk.SegmentName(0), at*(2+len(good)))) {
				t.Errorf("%s at %d: %+v, %v", what, at, report, err)
			}
		}
	}
	for what, entry := range map[string][]byte{
		"null": body("null"), "keys in capitals": body(`{"KIND":"a","Phase":"enter"}`), "a phase twice": body(`{"kind":"a","phase":"act","phase":"enter"}`),
		"a kind with a quote": body(`{"kind":"a\","phase":"act",","phase":"enter"}`), "a key of the future": body(`{"kind":"a","phase":"enter","more":[]}`),
		"a pruning of all": body(`{"kind":"ledger.pruned","phase":"note","detail":{"below":99}}`),
	} {
		if report, err := VerifyOn(forge(t, good, entry, good), known(t)); err != nil || report.Conclusion != Verified || report.Records != 3 {
			t.Errorf("%s: %+v, %v", what, report, err)
		}
	}
}

// A hooked directory asks before each operation, by its number.
type hooked struct {
	disk.Directory
	ask *func(op, name string) error
}

func (h hooked) Open(name string, create bool) (disk.File, error) {
	if err := (*h.ask)("open", name); err != nil {
		return nil, err
	}
	f, err := h.Directory.Open(name, create)
	return hookedFile{f, name, h.ask}, err
}

func (h hooked) List() ([]string, error) {
	if err := (*h.ask)("list", ""); err != nil {
		return nil, err
	}
	return h.Directory.List()
}

type hookedFile struct {
	disk.File
	name string
	ask  *func(op, name string) error
}

func (f hookedFile) ReadAt(p []byte, off int64) (int, error) {
	if err := (*f.ask)("read", f.name); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (f hookedFile) Size() (int64, error) {
	if err := (*f.ask)("size", f.name); err != nil {
		return 0, err
	}
	return f.File.Size()
}

// failing returns a directory whose n-th operation fails, and a function that says
// which one that was.
func failing(d disk.Directory, n int) (disk.Directory, func() string) {
	var mu sync.Mutex
	failed := ""
	ask := func(op, name string) error {
		mu.Lock()
		defer mu.Unlock()
		if n--; n == 0 {
			failed = op + " " + name
			return syscall.EIO
		}
		return nil
	}
	return hooked{d, &ask}, func() string { mu.Lock(); defer mu.Unlock(); return failed }
}

// TestDiskThatCannotBeReadIsNoVerdict fails each operation of verifying in turn, once:
// an error comes of it, and never a conclusion.
func TestDiskThatCannotBeReadIsNoVerdict(t *testing.T) {
	signers, policy := witnesses(t, 2)
	all := lives(t, signers, 600)[0]
	opts := Options{Policy: policy, Checkpoint: []byte(all["checkpoint"])}
	verified(t, onDisk(all), opts)
	n := 1
	for ; ; n++ {
		d, failed := failing(onDisk(all), n)
		report, err := VerifyOn(d, opts)
		what := failed()
		if what == "" {
			if err != nil || report.Conclusion != Verified {
				t.Errorf("nothing failed: %+v, %v", report, err)
			}
			break
		}
		if err == nil || report.Conclusion != "" {
			t.Errorf("operation %d, %s, failed: %+v, %v", n, what, report, err)
		}
		if kind := pavise.KindOf(err); strings.Contains(what, "entries-") && kind != pavise.Unavailable {
			t.Errorf("operation %d, %s, failed: an error of kind %s", n, what, kind)
		}
	}
	if n < 30 {
		t.Errorf("verifying took %d operations: does the hook hold?", n)
	}
}

// TestVerifyKeepsToItsRate: at so many bytes a second, a log takes as long as it has
// bytes.
func TestVerifyKeepsToItsRate(t *testing.T) {
	all := someLog(t, 600)
	bytes := 0
	for name, content := range all {
		if strings.HasSuffix(name, ".seg") {
			bytes += len(content)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		for _, seconds := range []int64{0, 10, 1000} {
			opts := known(t)
			if seconds > 0 {
				opts.Rate = int64(bytes) / seconds
			}
			start := time.Now()
			verified(t, onDisk(all), opts)
			if took := time.Since(start); took < time.Duration(seconds)*time.Second*8/10 || took > time.Duration(seconds)*time.Second*12/10 {
				t.Errorf("%v at %d bytes a second, want %d s", took, opts.Rate, seconds)
			}
		}
	})
}

// TestVerifyStopsWhenToldTo: at once, or in the middle of a slow run. That is an error,
// no conclusion, and nothing of it runs on.
func TestVerifyStopsWhenToldTo(t *testing.T) {
	all := someLog(t, 600)
	synctest.Test(t, func(t *testing.T) {
		for _, after := range []time.Duration{0, time.Second, 400 * time.Second} {
			stop := make(chan struct{})
			if after == 0 {
				close(stop)
			} else {
				time.AfterFunc(after, func() { close(stop) })
			}
			opts := known(t)
			opts.Stop, opts.Rate = stop, 50
			start := time.Now()
			report, err := VerifyOn(onDisk(all), opts)
			if !errors.Is(err, errStopped) || report.Conclusion != "" || time.Since(start) != after {
				t.Errorf("told after %v, stopped after %v: %+v, %v", after, time.Since(start), report, err)
			}
		}
	})
	opts := known(t)
	opts.Stop = make(chan struct{})
	verified(t, onDisk(all), opts)
}

// TestProgressIsCounted calls back now and then with more and more records, of which
// there are that many.
func TestProgressIsCounted(t *testing.T) {
	entry := entryOf(t, testRecord(1))
	entries := make([][]byte, 3<<16+5)
	for i := range entries {
		entries[i] = entry
	}
	var told []uint64
	opts := known(t)
	opts.Progress = func(n uint64) { told = append(told, n) }
	d := forge(t, entries...)
	if err := Repair(d, known(t)); err != nil {
		t.Fatal(err)
	}
	if report := verified(t, d, opts); report.Records != uint64(len(entries)) || !slices.Equal(told, []uint64{1 << 16, 2 << 16, 3 << 16}) {
		t.Errorf("%d records, told %v", report.Records, told)
	}
}

// TestVerifyOfALogThatIsBeingWritten: as the log grows, is cosigned and rolls its
// segments, its directory always verifies up to some checkpoint.
func TestVerifyOfALogThatIsBeingWritten(t *testing.T) {
	dir := t.TempDir()
	opts := options(nil)
	opts.Disk, opts.Dir = nil, dir
	l := openLog(t, opts)
	signers, policy := witnesses(t, 1)
	grow(t, l, 0, 1)
	if err := l.KeepWitnessed(cosigned(t, l.Published(), epoch, signers...)); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 1; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := l.Append(t.Context(), testRecord(i), ledger.Durability(i%2)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
			cp := l.Published()
			lines, err := proof.Cosign(cp.Note, epoch, signers...)
			if err == nil {
				cp.Note = append(slices.Clone(cp.Note), lines...)
				err = l.KeepWitnessed(cp)
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	last := uint64(0)
	for range 60 {
		report, err := Verify(dir, Options{Policy: policy})
		if err != nil || report.Conclusion != Verified && report.Conclusion != Partly {
			t.Errorf("%+v, %v", report, err)
		}
		if report.Signed < last || report.Records < report.Signed || report.Witnessed == nil || report.Witnessed.Records > report.Signed {
			t.Errorf("%d signed after %d: %+v", report.Signed, last, report)
		}
		last = report.Signed
	}
	close(stop)
	wg.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	verified(t, disk.Dir{Path: dir, ReadOnly: true}, Options{Policy: policy})
}

// TestWitnessedIsNeverNewerThanTheCheckpoint: a log that goes on between two reads of
// its directory is not taken for one that was rolled back.
func TestWitnessedIsNeverNewerThanTheCheckpoint(t *testing.T) {
	signers, policy := witnesses(t, 1)
	states := lives(t, signers, 300, 600)
	for _, at := range []string{"origin", "witnessed", "checkpoint"} {
		d := onDisk(states[0])
		var ask func(op, name string) error
		ask = func(op, name string) error {
			if op != "open" || name != at {
				return nil
			}
			ask = func(string, string) error { return nil }
			f, err := d.Open(name, false) // this one read still sees what was there
			if err != nil {
				return err
			}
			defer f.Close()
			for name, content := range states[1] {
				if name != at {
					d.Put(name, []byte(content))
				}
			}
			return nil
		}
		report, err := VerifyOn(hooked{d, &ask}, Options{Policy: policy})
		if err != nil || report.Conclusion != Verified && report.Conclusion != Partly {
			t.Errorf("the log went on while %s was read: %+v, %v", at, report, err)
		}
	}
}

// TestReportIsJSON: what scripts read has the names that they know.
func TestReportIsJSON(t *testing.T) {
	signers, policy := witnesses(t, 1)
	report, err := VerifyOn(onDisk(lives(t, signers, 300)[0]), Options{Policy: policy})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{
		"origin": testOrigin, "records": 300.0, "signed": 300.0, "known": true, "since": 0.0, "first": "2027-01-15T08:00:00Z", "last": "2027-01-15T08:04:59Z", "conclusion": Verified,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
}
