package audit

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/ledger"
	"github.com/pavise/pavise/internal/proof"
)

// flip returns a file with one bit of it turned.
func flip(content string, bit int) string {
	b := []byte(content)
	b[bit/8] ^= 1 << (bit % 8)
	return string(b)
}

// TestEveryBitOfASmallLogCounts flips each bit of each file of a small log, one at a
// time: with the key known, none is passed over, but those of files that nobody
// signed and no proof rests on.
func TestEveryBitOfASmallLogCounts(t *testing.T) {
	all := someLog(t, 2)
	opts, step := known(t), 1
	if testing.Short() {
		step = 13
	}
	for _, name := range names(all) {
		for bit := 0; bit < 8*len(all[name]); bit += step {
			changed := someLog(t, 2)
			changed[name] = flip(all[name], bit)
			if report, err := VerifyOn(onDisk(changed), opts); pavise.KindOf(err) != pavise.Unverified {
				t.Errorf("%s, bit %d (%q): %+v, %v", name, bit, all[name][bit/8], report, err)
			}
		}
	}
	verified(t, onDisk(all), opts)
}

// TestBitsOfALargerLogCount flips a sample of the bits of a log of several segments,
// two keys, indexes and tiles of two levels.
func TestBitsOfALargerLogCount(t *testing.T) {
	all := files(t, written(t, 600, withMLDSA))
	opts := known(t)
	verified(t, onDisk(all), opts)
	for seed := range uint64(500) {
		rng := rand.New(rand.NewPCG(seed, 1))
		name := names(all)[rng.IntN(len(all))]
		bit := rng.IntN(8 * len(all[name]))
		changed := onDisk(all)
		changed.Put(name, []byte(flip(all[name], bit)))
		report, err := VerifyOn(changed, opts)
		if strings.HasPrefix(name, "index-") {
			if err != nil {
				t.Errorf("seed %d: %s, bit %d: no proof rests on it, and %v", seed, name, bit, err)
			}
			continue
		}
		if pavise.KindOf(err) != pavise.Unverified {
			t.Errorf("seed %d: %s, bit %d: %+v, %v", seed, name, bit, report, err)
		}
	}
}

// TestHarmlessDamageIsToldFromHarm: of every flip that only a derived file bears, the
// error says so, and of no other.
func TestHarmlessDamageIsToldFromHarm(t *testing.T) {
	all := someLog(t, 600)
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 2))
		name := names(all)[rng.IntN(len(all))]
		if strings.HasPrefix(name, "index-") {
			continue
		}
		changed := someLog(t, 600)
		changed[name] = flip(all[name], rng.IntN(8*len(all[name])))
		_, err := VerifyOn(onDisk(changed), known(t))
		if err == nil || strings.Contains(err.Error(), "all records are those that the checkpoint signs") != derived(name) {
			t.Errorf("seed %d, %s: %v", seed, name, err)
		}
	}
}

// TestCutAnywhereIsFound cuts each file of a log to every class of length, and a small
// log's at every byte: with the key known, that is no verified log, unless all that is
// gone is the line end behind the log's key.
func TestCutAnywhereIsFound(t *testing.T) {
	for n, all := range map[int]map[string]string{2: someLog(t, 2), 600: someLog(t, 600)} {
		for _, name := range names(all) {
			if strings.HasPrefix(name, "index-") {
				continue
			}
			for _, length := range lengths(n, all[name]) {
				changed := someLog(t, n)
				changed[name] = all[name][:length]
				report, err := VerifyOn(onDisk(changed), known(t))
				if name == "origin" && length == len(all[name])-1 {
					if err != nil {
						t.Errorf("the key without its line end: %v", err)
					}
					continue
				}
				if pavise.KindOf(err) != pavise.Unverified {
					t.Errorf("%d records, %s cut to %d of %d bytes: %+v, %v", n, name, length, len(all[name]), report, err)
				}
			}
			changed := someLog(t, n)
			if delete(changed, name); name == "origin" {
				continue // then it is no log
			}
			refused(t, name+" removed", onDisk(changed), known(t), "")
		}
	}
}

// lengths returns to which lengths a file of a log of n records is cut: a small log's
// to all, a larger one's to none, to the edges of what it holds, and in between.
func lengths(n int, content string) (all []int) {
	if n < 10 {
		for i := range len(content) {
			all = append(all, i)
		}
		return all
	}
	all = []int{0, 1, 2, 31, 32, 33, 63, 64, 4096, 8191, 8192, 8193, len(content) / 2, len(content) - 64, len(content) - 33, len(content) - 32, len(content) - 31, len(content) - 2, len(content) - 1}
	if strings.Count(content, `{"kind":"`) > 88 { // a segment
		for _, i := range []int{0, 1, 86, 87} {
			start, end := frameAt(content, i)
			all = append(all, start, start+1, start+2, end-1, end)
		}
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(i int) bool { return i < 0 || i >= len(content) })
}

// TestCutInsideARecordIsSaidSo: the error names the segment and the byte behind its
// last whole record.
func TestCutInsideARecordIsSaidSo(t *testing.T) {
	for _, first := range []uint64{0, 256, 512} {
		all := someLog(t, 600)
		name := disk.SegmentName(first)
		start, end := frameAt(all[name], 80)
		all[name] = all[name][:end-1]
		refused(t, name, onDisk(all), known(t), fmt.Sprintf("at record %d: %s ends in the middle of an entry, at byte %d", first+80, name, start))
	}
}

// TestSegmentsOutOfPlaceAreFound removes, swaps, renames and doubles the segments of a
// log. Each is found, or, behind the signed end, told of.
func TestSegmentsOutOfPlaceAreFound(t *testing.T) {
	seg := disk.SegmentName
	for what, change := range map[string]func(map[string]string){
		"the first missing":            func(all map[string]string) { delete(all, seg(0)) },
		"one in the middle missing":    func(all map[string]string) { delete(all, seg(256)) },
		"the last missing":             func(all map[string]string) { delete(all, seg(512)) },
		"the last emptied":             func(all map[string]string) { all[seg(512)] = "" },
		"one in the middle emptied":    func(all map[string]string) { all[seg(256)] = "" },
		"all missing":                  func(all map[string]string) { delete(all, seg(0)); delete(all, seg(256)); delete(all, seg(512)) },
		"two swapped":                  func(all map[string]string) { all[seg(0)], all[seg(256)] = all[seg(256)], all[seg(0)] },
		"the last two swapped":         func(all map[string]string) { all[seg(512)], all[seg(256)] = all[seg(256)], all[seg(512)] },
		"one twice, over another":      func(all map[string]string) { all[seg(256)] = all[seg(0)] },
		"one renamed to a later place": func(all map[string]string) { all[seg(768)] = all[seg(512)]; delete(all, seg(512)) },
		"all renamed to later places": func(all map[string]string) {
			all[seg(768)], all[seg(512)], all[seg(256)] = all[seg(512)], all[seg(256)], all[seg(0)]
			delete(all, seg(0))
		},
		"two in one file": func(all map[string]string) {
			all[seg(0)] += all[seg(256)]
			delete(all, seg(256))
			delete(all, seg(512))
		},
		"the order of records within one": func(all map[string]string) {
			s1, e1 := frameAt(all[seg(0)], 10)
			_, e2 := frameAt(all[seg(0)], 11)
			b := all[seg(0)]
			all[seg(0)] = b[:s1] + b[e1:e2] + b[s1:e1] + b[e2:]
		},
		"a record twice": func(all map[string]string) {
			s, e := frameAt(all[seg(0)], 10)
			all[seg(0)] = all[seg(0)][:e] + all[seg(0)][s:]
		},
		"a record missing": func(all map[string]string) {
			s, e := frameAt(all[seg(0)], 10)
			all[seg(0)] = all[seg(0)][:s] + all[seg(0)][e:]
		},
	} {
		all := someLog(t, 600)
		change(all)
		refused(t, what, onDisk(all), known(t), "")
		for _, name := range names(all) { // nor without the files that could tell what is wrong
			if derived(name) {
				delete(all, name)
			}
		}
		refused(t, what+", derived files missing", onDisk(all), known(t), "")
	}
	all := someLog(t, 600)
	all[seg(0)] += all[seg(256)] // the same records in fewer files are the same log
	delete(all, seg(256))
	verified(t, onDisk(all), known(t))
}

// TestWhatLiesBehindTheSignedEndIsTold: bytes, records and whole files that the
// checkpoint does not cover prove nothing, do no harm, and keep the log from being
// called verified whole.
func TestWhatLiesBehindTheSignedEndIsTold(t *testing.T) {
	seg := disk.SegmentName
	segment := someLog(t, 600)[seg(0)]
	_, one := frameAt(segment, 0)
	for what, tt := range map[string]struct {
		change   func(map[string]string)
		records  uint64
		trailing int
	}{
		"a byte":              {func(all map[string]string) { all[seg(512)] += "\x00" }, 600, 1},
		"a torn record":       {func(all map[string]string) { all[seg(512)] += segment[:one-1] }, 600, one - 1},
		"a whole record":      {func(all map[string]string) { all[seg(512)] += segment[:one] }, 601, 0},
		"junk in a frame":     {func(all map[string]string) { all[seg(512)] += "\x00\x04junk" }, 600, 6},
		"a record, and junk":  {func(all map[string]string) { all[seg(512)] += segment[:one] + "\x00\x04junk" + segment[:one] }, 601, 6 + one},
		"a segment too far":   {func(all map[string]string) { all[seg(1024)] = segment }, 600, len(segment)},
		"a segment far away":  {func(all map[string]string) { all[seg(1<<55)] = "x" }, 600, 1},
		"a segment twice":     {func(all map[string]string) { all[seg(768)] = segment }, 600, len(segment)},
		"two segments":        {func(all map[string]string) { all[seg(768)], all[seg(1024)] = "x", "yz" }, 600, 3},
		"an empty segment":    {func(all map[string]string) { all[seg(1024)] = "" }, 600, 0},
		"a file that is none": {func(all map[string]string) { all["entries-1.seg"] = "x" }, 600, 0},
	} {
		all := someLog(t, 600)
		tt.change(all)
		report, err := VerifyOn(onDisk(all), known(t))
		if err != nil || report.Records != tt.records || report.Trailing != int64(tt.trailing) || report.Signed != 600 {
			t.Errorf("%s: %+v, %v", what, report, err)
		}
		want := Partly
		if tt.records == 600 && tt.trailing == 0 {
			want = Verified
		}
		if report.Conclusion != want {
			t.Errorf("%s: concluded %q", what, report.Conclusion)
		}
	}
}

// TestPartsOfAnotherLog puts together what belongs apart: records, tiles, checkpoint
// and keys of two logs of the same name, one of them with another key.
func TestPartsOfAnotherLog(t *testing.T) {
	ours := someLog(t, 600)
	theirs := files(t, written(t, 600, func(o *ledger.Options) { o.Key = otherKey }))
	parts := [][]string{{"origin"}, {"checkpoint"}, {disk.SegmentName(0)}, {disk.SegmentName(0), disk.SegmentName(256), disk.SegmentName(512)}, {"hash.0"}, {"hash.0", "hash.1"}}
	for mask := 1; mask < 1<<len(parts); mask++ {
		all := someLog(t, 600)
		var from []string
		for i, part := range parts {
			for _, name := range part {
				if mask>>i&1 == 1 {
					all[name] = theirs[name]
					from = append(from, name)
				}
			}
		}
		if report, err := VerifyOn(onDisk(all), known(t)); pavise.KindOf(err) != pavise.Unverified {
			t.Errorf("with %v of the other log: %+v, %v", from, report, err)
		}
		if report, err := VerifyOn(onDisk(all), Options{}); err == nil && report.Conclusion != Consistent {
			t.Errorf("with %v of the other log, nothing known: %+v", from, report)
		}
	}
	for what, opts := range map[string]Options{
		"the key": {Key: logKey(t, testKey).String()}, "its fingerprint": known(t), "the checkpoint": {Checkpoint: []byte(ours["checkpoint"])},
		"a policy": {Policy: parsePolicy(t, "log "+logKey(t, testKey).String()+"\nquorum none\n")},
	} {
		verified(t, onDisk(ours), opts)
		refused(t, "the other log, knowing "+what, onDisk(theirs), opts, "")
	}
}

// TestEveryKeyOfTheLogMustHaveSigned: a directory that claims a key more, or whose
// checkpoint lacks the signature of one, is refused.
func TestEveryKeyOfTheLogMustHaveSigned(t *testing.T) {
	two := files(t, written(t, 5, withMLDSA))
	verified(t, onDisk(two), known(t))
	lines := strings.SplitAfter(two["origin"], "\n")
	if report := verified(t, onDisk(two), Options{Key: strings.TrimSpace(lines[1])}); len(report.Keys) != 2 || report.Key != strings.TrimSpace(lines[0]) {
		t.Errorf("known by its second key: %+v", report)
	}
	mallory, err := proof.NewLogSigner(testOrigin, otherKey)
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := proof.NewLogSigner("example.test/other", otherKey)
	if err != nil {
		t.Fatal(err)
	}
	signatures := strings.SplitAfter(two["checkpoint"], "\n")
	for what, change := range map[string]func(map[string]string){
		"a key that did not sign":      func(all map[string]string) { all["origin"] += mallory.Key().String() + "\n" },
		"it before the others":         func(all map[string]string) { all["origin"] = mallory.Key().String() + "\n" + all["origin"] },
		"a key of another log":         func(all map[string]string) { all["origin"] += stranger.Key().String() + "\n" },
		"a line that is no key":        func(all map[string]string) { all["origin"] += "\n" },
		"a return in a line":           func(all map[string]string) { all["origin"] = strings.ReplaceAll(all["origin"], "\n", "\r\n") },
		"the second signature missing": func(all map[string]string) { all["checkpoint"] = strings.Join(signatures[:5], "") },
		"the first signature missing": func(all map[string]string) {
			all["checkpoint"] = strings.Join(slices.Delete(slices.Clone(signatures), 4, 5), "")
		},
	} {
		all := files(t, onDisk(two))
		change(all)
		refused(t, what, onDisk(all), known(t), "")
	}
}

// TestForgedRecordBehindGenuineTiles changes a record and its hashes together, in every
// combination of files: what was signed is the root.
func TestForgedRecordBehindGenuineTiles(t *testing.T) {
	all := someLog(t, 600)
	name := disk.SegmentName(256)
	start, end := frameAt(all[name], 44) // record 300
	entry := strings.Replace(all[name][start+2:end], `"rows":1`, `"rows":9`, 1)
	leaf := proof.Leaf([]byte(entry))
	tampered := all[name][:start+2] + entry + all[name][end:]
	hashes := all["hash.0"][:300*32] + string(leaf[:]) + all["hash.0"][301*32:]
	for what, tt := range map[string]struct {
		change func(map[string]string)
		why    string
	}{
		"the record":            {func(all map[string]string) {}, "record 300 was changed"},
		"and its hash":          {func(all map[string]string) { all["hash.0"] = hashes }, "neither are the hash files"},
		"and its hash, removed": {func(all map[string]string) { delete(all, "hash.0") }, "neither are the hash files"},
		"and its hash, cut off": {func(all map[string]string) { all["hash.0"] = hashes[:300*32] }, "neither are the hash files"},
	} {
		all := someLog(t, 600)
		all[name] = tampered
		tt.change(all)
		refused(t, what, onDisk(all), known(t), tt.why)
		refused(t, what+", in a directory", disk.Dir{Path: inDir(t, all), ReadOnly: true}, known(t), tt.why)
	}
	all["hash.0"] = hashes
	refused(t, "its hash alone", onDisk(all), known(t), fmt.Sprintf("derived file hash.0 is wrong at record %d", 300))
}
