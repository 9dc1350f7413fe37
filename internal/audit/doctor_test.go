package audit

import (
	"encoding/json"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/disk/disktest"
	"github.com/pavise/pavise/internal/proof"
	"github.com/pavise/pavise/internal/record"
)

// examine returns what a doctor finds, and fails if it could not look.
func examine(t *testing.T, d disk.Directory, opts Options) Diagnosis {
	t.Helper()
	found, err := Examine(d, opts)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// has reports whether a diagnosis has a finding.
func has(found Diagnosis, severity, what string) bool {
	return slices.ContainsFunc(found.Findings, func(f Finding) bool { return f.Severity == severity && strings.Contains(f.What, what) })
}

// TestHealthyLog: nothing is found but what was verified, and looking changes nothing.
func TestHealthyLog(t *testing.T) {
	_, less := pruned(t)
	for what, all := range map[string]map[string]string{"one segment": someLog(t, 5), "three segments": someLog(t, 600), "a pruned log": less} {
		d := onDisk(all)
		found := examine(t, d, known(t))
		if !found.Healthy() || len(found.Findings) != 1 || !has(found, pavise.Info, Verified) || found.Repaired || found.Report.Conclusion != Verified {
			t.Errorf("%s: %+v", what, found)
		}
		if !maps.Equal(files(t, d), all) {
			t.Errorf("%s: looking changed the directory", what)
		}
	}
}

// TestDoctorCannotLook: where there is no log, or the caller's key is none, that is an
// error and no diagnosis.
func TestDoctorCannotLook(t *testing.T) {
	if found, err := Examine(disktest.New(), Options{}); pavise.KindOf(err) != pavise.NotFound {
		t.Errorf("no log: %+v, %v", found, err)
	}
	if found, err := Examine(onDisk(someLog(t, 5)), Options{Key: "nonsense"}); pavise.KindOf(err) != pavise.Invalid {
		t.Errorf("no key: %+v, %v", found, err)
	}
}

// TestDerivedFilesAreRepaired damages what is made from the records, in every way: the
// doctor finds it and says that it can be mended; Repair mends it and touches neither
// records nor signatures; and a second Repair changes nothing any more.
func TestDerivedFilesAreRepaired(t *testing.T) {
	_, less := pruned(t)
	for log, whole := range map[string]map[string]string{"three segments": someLog(t, 600), "pruned": less} {
		index := slices.DeleteFunc(names(whole), func(name string) bool { return !strings.HasPrefix(name, "index-") })[0]
		keep := 0 // hashes of pruned records, which nothing can give back
		if log == "pruned" {
			keep = 512 * 32
		}
		for what, change := range map[string]func(map[string]string){
			"a bit of a hash":   func(all map[string]string) { all["hash.0"] = flip(all["hash.0"], 8*keep+777) },
			"the hashes cut":    func(all map[string]string) { all["hash.0"] = all["hash.0"][:keep+3] },
			"the hashes longer": func(all map[string]string) { all["hash.0"] += "junk" },
			"the hashes zeroed": func(all map[string]string) {
				all["hash.0"] = all["hash.0"][:keep] + strings.Repeat("\x00", len(all["hash.0"])-keep)
			},
			"a bit of the next level": func(all map[string]string) { all["hash.1"] = flip(all["hash.1"], 1) },
			"the next level missing":  func(all map[string]string) { delete(all, "hash.1") },
			"a bit of an index":       func(all map[string]string) { all[index] = flip(all[index], 999) },
			"an index cut":            func(all map[string]string) { all[index] = all[index][:100] },
			"an index emptied":        func(all map[string]string) { all[index] = "" },
			"an index of less":        func(all map[string]string) { all[index] = disguised(t, all, index) },
			"hashes and an index":     func(all map[string]string) { all["hash.1"], all[index] = "", "" },
		} {
			all := maps.Clone(whole)
			change(all)
			d := onDisk(all)
			found := examine(t, d, known(t))
			longer := what == "the hashes longer" // what lies behind the hashes harms nobody
			repairable := slices.ContainsFunc(found.Findings, func(f Finding) bool {
				return f.Repairable && f.Severity == pavise.Warning && strings.Contains(f.Do, "--repair")
			})
			if repairable == longer || has(found, pavise.Critical, "") || found.Healthy() != longer {
				t.Errorf("%s, %s: found %+v", log, what, found.Findings)
			}
			if !maps.Equal(files(t, d), all) {
				t.Errorf("%s, %s: looking changed the directory", log, what)
			}
			repaired(t, log+", "+what, d, whole)
		}
	}
}

// disguised returns the index of a segment that leaves out what its records bear, with
// a right checksum: only a comparison with the records can tell.
func disguised(t *testing.T, all map[string]string, name string) string {
	t.Helper()
	d := onDisk(all)
	segments, err := disk.Segments(d)
	if err != nil {
		t.Fatal(err)
	}
	for _, seg := range segments {
		if disk.IndexName(seg.First) != name {
			continue
		}
		made, err := disk.MakeIndex(d, seg)
		if err != nil {
			t.Fatal(err)
		}
		less := disk.NewIndex()
		for i := range made.Count() {
			at, _ := frameAt(all[seg.Name()], int(i))
			less.Add(int64(at), &disk.Marking{})
		}
		return string(less.Encode(seg))
	}
	t.Fatalf("%s is the index of no segment", name)
	return ""
}

// repaired repairs a log, which is then as whole as it was, but for its indexes, which
// the next start makes.
func repaired(t *testing.T, what string, d *disktest.Disk, whole map[string]string) {
	t.Helper()
	if err := Repair(d, known(t)); err != nil {
		t.Errorf("%s: repair: %v", what, err)
		return
	}
	once := files(t, d)
	for _, name := range names(whole) {
		if content, ok := once[name]; strings.HasPrefix(name, "index-") == ok || ok && content != whole[name] {
			t.Errorf("%s: %s is not as it was", what, name)
		}
	}
	if len(once) > len(whole) {
		t.Errorf("%s: more files than before: %q", what, names(once))
	}
	if found := examine(t, d, known(t)); !found.Healthy() || !has(found, pavise.Info, Verified) {
		t.Errorf("%s: after the repair: %+v", what, found.Findings)
	}
	if err := Repair(d, known(t)); err != nil || !maps.Equal(files(t, d), once) {
		t.Errorf("%s: a second repair changed something, %v", what, err)
	}
	before := once[disk.SegmentName(512)]
	l := openLog(t, options(d)) // and the log goes on
	if err := l.Close(); err != nil {
		t.Errorf("%s: %v", what, err)
	}
	if after := files(t, d); !strings.HasPrefix(after[disk.SegmentName(512)], before) {
		t.Errorf("%s: the log's records changed", what)
	}
}

// TestMissingIndexIsNoFault: the log's next start makes it.
func TestMissingIndexIsNoFault(t *testing.T) {
	d := onDisk(someLog(t, 600))
	if err := d.Remove(disk.IndexName(256)); err != nil {
		t.Fatal(err)
	}
	found := examine(t, d, known(t))
	if !found.Healthy() || !has(found, pavise.Info, "the index of "+disk.SegmentName(256)+" is missing") {
		t.Errorf("%+v", found.Findings)
	}
	if err := openLog(t, options(d)).Close(); err != nil {
		t.Fatal(err)
	}
	if found := examine(t, d, known(t)); len(found.Findings) != 1 {
		t.Errorf("after a start: %+v", found.Findings)
	}
}

// TestWhatCannotBeRepairedIsNotTouched: a log whose records, keys or signatures are
// wrong is critical, says what to do, and Repair leaves every byte of it.
func TestWhatCannotBeRepairedIsNotTouched(t *testing.T) {
	_, less := pruned(t)
	seg := disk.SegmentName
	for what, tt := range map[string]struct {
		all    map[string]string
		change func(map[string]string)
	}{
		"a record changed": {someLog(t, 600), func(all map[string]string) { all[seg(256)] = strings.Replace(all[seg(256)], `"rows":1`, `"rows":2`, 1) }},
		"a record and a hash changed": {someLog(t, 600), func(all map[string]string) {
			all[seg(256)] = flip(all[seg(256)], 999)
			all["hash.0"] = flip(all["hash.0"], 9)
		}},
		"a segment missing":          {someLog(t, 600), func(all map[string]string) { delete(all, seg(256)) }},
		"the end missing":            {someLog(t, 600), func(all map[string]string) { all[seg(512)] = all[seg(512)][:400] }},
		"the checkpoint missing":     {someLog(t, 600), func(all map[string]string) { delete(all, "checkpoint") }},
		"the checkpoint changed":     {someLog(t, 600), func(all map[string]string) { all["checkpoint"] = flip(all["checkpoint"], 300) }},
		"another key":                {someLog(t, 600), func(all map[string]string) { all["origin"] = logKey(t, otherKey).String() + "\n" }},
		"a pruned record's hash":     {less, func(all map[string]string) { all["hash.0"] = flip(all["hash.0"], 9) }},
		"the pruned records' hashes": {less, func(all map[string]string) { delete(all, "hash.0") }},
	} {
		all := maps.Clone(tt.all)
		tt.change(all)
		d := onDisk(all)
		found := examine(t, d, known(t))
		if found.Healthy() || found.Findings[0].Severity != pavise.Critical || found.Findings[0].Do == "" || found.Findings[0].Repairable {
			t.Errorf("%s: %+v", what, found.Findings)
		}
		if err := Repair(d, known(t)); pavise.KindOf(err) != pavise.Unverified {
			t.Errorf("%s: repair: %v", what, err)
		}
		if !maps.Equal(files(t, d), all) {
			t.Errorf("%s: the directory changed", what)
		}
	}
	// Nor a log that is whole and not the one that is known.
	d := onDisk(someLog(t, 600))
	if err := Repair(d, Options{Key: logKey(t, otherKey).Fingerprint()}); pavise.KindOf(err) != pavise.Unverified || !maps.Equal(files(t, d), someLog(t, 600)) {
		t.Errorf("another log: %v", err)
	}
	old := someLog(t, 300)
	old["hash.0"] = ""
	d = onDisk(old)
	if err := Repair(d, Options{Checkpoint: []byte(someLog(t, 600)["checkpoint"])}); pavise.KindOf(err) != pavise.Unverified || !maps.Equal(files(t, d), old) {
		t.Errorf("a log that was rolled back: %v", err)
	}
}

// TestDoctorOnAChangedRecord: a record that cannot be read since somebody changed it is
// a changed one, and no newer pavise has written it.
func TestDoctorOnAChangedRecord(t *testing.T) {
	for _, from := range []string{`"rows":1`, `"kind":"`} {
		all := someLog(t, 600)
		name := disk.SegmentName(256)
		all[name] = strings.Replace(all[name], from, strings.Repeat("!", len(from)), 1)
		found := examine(t, onDisk(all), known(t))
		if !has(found, pavise.Critical, "the log does not verify at record") || has(found, pavise.Critical, "cannot be read") {
			t.Errorf("%s: %+v", from, found.Findings)
		}
	}
}

// TestDoctorLooksBehindTheEnd: what lies behind the signed end proves nothing and harms
// nobody, and is named as the verifier names it.
func TestDoctorLooksBehindTheEnd(t *testing.T) {
	all := someLog(t, 5)
	name := disk.SegmentName(0)
	entry := entryOf(t, testRecord(5))
	all[name] += string(append([]byte{byte(len(entry) >> 8), byte(len(entry))}, entry...)) + "\x00\xffjunk"
	found := examine(t, onDisk(all), known(t))
	if !found.Healthy() || !has(found, pavise.Info, "1 records lie behind the signed end") || !has(found, pavise.Info, "6 bytes behind the last record are no record") {
		t.Errorf("%+v", found.Findings)
	}
}

// TestDoctorReadsEveryRecord: those that cannot be read are counted and some named, and
// so are steps back of the clock that nothing explains.
func TestDoctorReadsEveryRecord(t *testing.T) {
	body := func(text string) []byte {
		return append(append([]byte{1}, text...), make([]byte, record.TagSize)...)
	}
	unreadable := body(`{"kind":"a","phase":"act",nonsense`) // the verifier does not look into plain acts
	good := entryOf(t, testRecord(0))
	entries := [][]byte{good}
	for range 7 {
		entries = append(entries, unreadable, good)
	}
	found := examine(t, forge(t, entries...), known(t))
	if found.Healthy() || !has(found, pavise.Critical, "7 entries cannot be read as records: 1, 3, 5, 7, 9") || !has(found, pavise.Info, Verified) {
		t.Errorf("unreadable: %+v", found.Findings)
	}
	at := func(seconds float64, kind, phase string, took time.Duration) []byte {
		r := testRecord(0)
		r.At, r.Kind, r.Phase, r.Took = epoch.Add(time.Duration(seconds*float64(time.Second))), kind, phase, took
		return entryOf(t, r)
	}
	for what, tt := range map[string]struct {
		entries [][]byte
		warns   string
	}{
		"in order":                    {[][]byte{at(0, "a", "note", 0), at(1, "a", "note", 0), at(1, "a", "exit", 0)}, ""},
		"two seconds back":            {[][]byte{at(10, "a", "note", 0), at(8, "a", "note", 0)}, ""},
		"more":                        {[][]byte{at(10, "a", "note", 0), at(7.9, "a", "note", 0)}, "1 times a record is more than two seconds older than one before it, and no accepted clock explains it; the first is record 1"},
		"more, twice":                 {[][]byte{at(10, "a", "note", 0), at(11, "a", "note", 0), at(3, "a", "enter", 0), at(4, "a", "exit", 0)}, "2 times a record is more than two seconds older than one before it, and no accepted clock explains it; the first is record 2"},
		"an act that took long":       {[][]byte{at(100, "a", "note", 0), at(10, "a", "act", 90*time.Second)}, ""},
		"a clock that was set":        {[][]byte{at(100, "a", "note", 0), at(10, "guard.clock", "note", 0), at(11, "a", "note", 0)}, ""},
		"a clock that was set, later": {[][]byte{at(100, "a", "note", 0), at(11, "a", "note", 0), at(10, "guard.clock", "note", 0)}, "1 times"},
	} {
		found := examine(t, forge(t, tt.entries...), known(t))
		if tt.warns == "" != found.Healthy() || tt.warns != "" && !has(found, pavise.Warning, tt.warns) {
			t.Errorf("%s: %+v", what, found.Findings)
		}
	}
}

// TestDoctorLooksAround: a cut that no record tells of, acts without an ending, and
// files that are no part of a log are named; those that are, are not.
func TestDoctorLooksAround(t *testing.T) {
	enter := testRecord(0)
	enter.Phase = record.Enter
	all := files(t, forge(t, entryOf(t, enter), entryOf(t, testRecord(1))))
	for _, name := range []string{"cut", "cut.noted", "witnessed", "hash.1", "index-000000000000000", "entries-000000000000256.seg"} {
		all[name] = ""
	}
	for _, name := range []string{"checkpoint.new", "core", "entries-1.seg", "README", "\x1b[2J"} {
		all[name] = "x"
	}
	found := examine(t, onDisk(all), known(t))
	for _, name := range []string{`"checkpoint.new"`, `"core"`, `"entries-1.seg"`, `"README"`, `"\x1b[2J"`} {
		if !has(found, pavise.Info, name+" is no part of a log") {
			t.Errorf("%s is not named: %+v", name, found.Findings)
		}
	}
	if !has(found, pavise.Warning, "a torn end was cut off, and no record says so yet") || !has(found, pavise.Info, "1 acts were entered and have no ending") || len(found.Findings) != 8 {
		t.Errorf("%+v", found.Findings)
	}
	if text, err := json.Marshal(found); err != nil || !strings.Contains(string(text), `"findings":[{"severity":"info","what":"verified: `) {
		t.Errorf("%s, %v", text, err)
	}
}

// TestDoctorOfADiskThatCannotBeRead fails each operation of examining and of repairing
// in turn, once: no examination calls such a log healthy, and no repair harms it, so
// that the next one succeeds.
func TestDoctorOfADiskThatCannotBeRead(t *testing.T) {
	all := someLog(t, 600)
	for n := 1; ; n++ {
		d, failed := failing(onDisk(all), n)
		found, err := Examine(d, known(t))
		if failed() == "" {
			break
		}
		if err == nil && found.Healthy() {
			t.Errorf("operation %d, %s, failed: %+v", n, failed(), found.Findings)
		}
	}
	all["hash.0"] = flip(all["hash.0"], 77)
	for n := 1; ; n++ {
		below := onDisk(all)
		d, failed := failing(below, n)
		err := Repair(d, known(t))
		if failed() == "" {
			break
		}
		if err == nil && !strings.HasPrefix(failed(), "read hash.") && failed() != "open hash.0" && failed() != "open hash.1" {
			t.Errorf("operation %d, %s, failed, and the repair did not", n, failed())
		}
		repaired(t, failed()+" failed once", below, someLog(t, 600))
	}
}

// TestRepairOfALogThatShrinksMeanwhile, under a process that should not be there, ends
// with an error, and with hashes no fewer than before.
func TestRepairOfALogThatShrinksMeanwhile(t *testing.T) {
	all := someLog(t, 600)
	all["hash.1"] = ""
	d := onDisk(all)
	lists := 0
	ask := func(op, _ string) error {
		if op == "list" {
			lists++
		}
		if lists == 2 { // the first was that of verifying
			d.Put(disk.SegmentName(512), []byte(all[disk.SegmentName(512)][:1000]))
		}
		return nil
	}
	if err := Repair(hooked{d, &ask}, known(t)); pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("%v", err)
	}
	if have, _ := d.Bytes("hash.0"); string(have) != all["hash.0"] {
		t.Error("the leaf hashes changed")
	}
}

// TestRepairOutlivesPowerLoss: a repair that ends with the power, at any moment, leaves
// the records as they were, and the next one mends the rest.
func TestRepairOutlivesPowerLoss(t *testing.T) {
	all := someLog(t, 600)
	all["hash.0"], all["hash.1"] = flip(all["hash.0"], 77), ""
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		d := onDisk(all)
		next := d.LosePowerAfter(1+rng.IntN(25), rng)
		_ = Repair(d, known(t)) // it fails, or not
		after := next()
		for _, name := range names(all) {
			if have, _ := after.Bytes(name); !derived(name) && string(have) != all[name] {
				t.Fatalf("seed %d: %s changed", seed, name)
			}
		}
		if err := Repair(after, known(t)); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		verified(t, after, known(t))
		if have, _ := after.Bytes("hash.0"); string(have) != someLog(t, 600)["hash.0"] {
			t.Fatalf("seed %d: the hashes are not what they were", seed)
		}
	}
}

// TestRepairMakesHashesOfALongLog: of more records than are held in memory at once, and
// of three levels, from nothing.
func TestRepairMakesHashesOfALongLog(t *testing.T) {
	entry := entryOf(t, testRecord(1))
	entries := make([][]byte, 1<<17+300)
	for i := range entries {
		entries[i] = entry
	}
	d := forge(t, entries...)
	want, _ := d.Bytes("hash.0")
	d.Put("hash.0", nil)
	if err := Repair(d, known(t)); err != nil {
		t.Fatal(err)
	}
	if have, _ := d.Bytes("hash.0"); string(have) != string(want) {
		t.Error("the leaf hashes are others")
	}
	one, _ := d.Bytes("hash.1")
	two, _ := d.Bytes("hash.2")
	if len(one) != (len(entries)>>8)*32 || len(two) != (len(entries)>>16)*32 {
		t.Errorf("%d and %d bytes of the levels above", len(one), len(two))
	}
	var bundle proof.Range
	for range 256 {
		bundle.Add(0, proof.Leaf(entry), nil)
	}
	if root := bundle.Root(); string(one[:32]) != string(root[:]) {
		t.Error("the root of a bundle is another")
	}
	verified(t, d, known(t))
}
