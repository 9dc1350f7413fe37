package disk_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/disk/disktest"
	"github.com/pavise/pavise/internal/record"
)

// tail is the tag of an entry, which no index looks at.
var tail = make([]byte, record.TagSize)

// epoch is when the records of these tests begin.
var epoch = time.Unix(1_800_000_000, 0).UTC()

// someRecord returns a record of few different ones, at about the n-th second.
func someRecord(rng *rand.Rand, n int) *record.Record {
	pick := func(texts ...string) string { return texts[rng.IntN(len(texts))] }
	r := &record.Record{
		Kind: pick("model.infer", "model.put", "route.put", "plain"), Phase: pick(record.Act, record.Act, record.Act, record.Enter, record.Exit, record.Note),
		Tenant: pick("a", "b", "c"), At: epoch.Add(time.Duration(n)*time.Second + time.Duration(rng.Int64N(4e9))),
		Outcome: pavise.Outcome(pick("", "allow", "alter", "deny")), Subject: pick("", "", "s1", "s2"),
		Detail: json.RawMessage(`"` + pick("", "short", "a little longer") + `"`),
	}
	if rng.IntN(3) > 0 {
		r.Who = &pavise.Principal{Tenant: r.Tenant, Kind: "human", ID: pick("kim", "lee", "sam")}
	}
	if rng.IntN(3) > 0 {
		r.On = pavise.Name{Tenant: r.Tenant, Kind: "model", ID: pick("m1", "m2")}
	}
	if rng.IntN(5) == 0 {
		r.Error = &record.Failure{Kind: "denied", Msg: "no"}
	}
	return r
}

// marksOf returns the marks that a record should bear, as the test understands them.
func marksOf(r *record.Record) map[uint64]bool {
	marks := map[uint64]bool{
		disk.Mark(disk.MarkTenant, r.Tenant): true, disk.Mark(disk.MarkKind, r.Kind): true, disk.Mark(disk.MarkRoom, record.Room(r.Kind)): true,
	}
	if r.Who != nil {
		marks[disk.Mark(disk.MarkWho, r.Who.Name().String())] = true
	}
	if r.On != (pavise.Name{}) {
		marks[disk.Mark(disk.MarkOn, r.On.String())] = true
	}
	if r.Subject != "" {
		marks[disk.Mark(disk.MarkSubject, r.Subject)] = true
	}
	if r.Outcome == pavise.Alter || r.Outcome == pavise.Deny {
		marks[disk.Mark(disk.MarkEnding, string(r.Outcome))] = true
	}
	if r.Error != nil {
		marks[disk.Mark(disk.MarkEnding, disk.Failed)] = true
	}
	if r.Phase != record.Act {
		marks[disk.Mark(disk.MarkPhase, r.Phase)] = true
	}
	return marks
}

// A built is a segment of n records on a disk, with all that an index should say.
type built struct {
	disk    *disktest.Disk
	seg     disk.Segment
	end     uint64
	records []*record.Record
	offsets []int64
	grown   *disk.Index // as the log grows it, record by record
}

func build(t testing.TB, seed uint64, n int) built {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	b := built{disk: disktest.New(), seg: disk.Segment{First: 512}, end: 512 + uint64(n), grown: disk.NewIndex()}
	var text []byte
	for i := range n {
		r := someRecord(rng, i)
		entry, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		m := disk.MarkingOf(r)
		b.grown.Add(int64(len(text)), &m)
		b.records, b.offsets = append(b.records, r), append(b.offsets, int64(len(text)))
		text = frame(text, append(entry, tail...))
	}
	b.seg.Size = int64(len(text))
	b.disk.Put(b.seg.Name(), text)
	return b
}

// keep writes the index to its file and returns the bytes.
func (b built) keep(t testing.TB) []byte {
	t.Helper()
	x, err := disk.MakeIndex(b.disk, b.seg)
	if err != nil {
		t.Fatal(err)
	}
	file := x.Encode(b.seg)
	b.disk.Put(disk.IndexName(b.seg.First), file)
	return file
}

// TestIndexSaysWhatTheRecordsDo: grown record by record, made from the segment, or read
// from its file, an index names for each mark exactly the records that bear it, and
// where each bundle lies.
func TestIndexSaysWhatTheRecordsDo(t *testing.T) {
	for seed, n := range []int{0, 1, 2, 255, 256, 257, 1000} {
		b := build(t, uint64(seed), n)
		made, err := disk.MakeIndex(b.disk, b.seg)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(made.Encode(b.seg), b.grown.Encode(b.seg)) {
			t.Fatalf("%d records: the index that grew is another than the one that was made", n)
		}
		b.keep(t)
		kept, err := disk.OpenIndex(b.disk, b.seg, b.end)
		if err != nil {
			t.Fatal(err)
		}
		if b.grown.Kept() || made.Kept() || !kept.Kept() {
			t.Error("which index is a file is not known")
		}
		for name, x := range map[string]*disk.Index{"grown": b.grown, "made": made, "kept": kept} {
			if x.Count() != uint64(n) {
				t.Errorf("%s: %d records of %d", name, x.Count(), n)
			}
			comparePlaces(t, name, x, b)
			for i := range (n + 255) / 256 {
				from, to := x.Bundle(i, b.seg.Size)
				want := b.seg.Size
				if (i+1)*256 < n {
					want = b.offsets[(i+1)*256]
				}
				if from != b.offsets[i*256] || to != want {
					t.Errorf("%s, bundle %d: from %d to %d, want %d to %d", name, i, from, to, b.offsets[i*256], want)
				}
			}
		}
	}
}

// comparePlaces asks an index for every mark that any record may bear, whole and in
// part.
func comparePlaces(t *testing.T, name string, x *disk.Index, b built) {
	t.Helper()
	want := map[uint64][]uint32{disk.Mark(disk.MarkTenant, "nobody"): nil, 0: nil, 1<<64 - 1: nil}
	for i, r := range b.records {
		for mark := range marksOf(r) {
			want[mark] = append(want[mark], uint32(i))
		}
	}
	n := uint32(len(b.records))
	for mark, places := range want {
		for _, bounds := range [][2]uint32{{0, n}, {0, 1 << 31}, {n / 3, n / 2}, {n, n}, {5, 5}} {
			var within []uint32
			for _, place := range places {
				if bounds[0] <= place && place < bounds[1] {
					within = append(within, place)
				}
			}
			if got, err := x.Places(mark, bounds[0], bounds[1]); err != nil || !slices.Equal(got, within) {
				t.Fatalf("%s, mark %x in %v: %v, %v, want %v", name, mark, bounds, got, err, within)
			}
		}
	}
}

// TestGlimpseBearsTheMarksOfTheRecord: an index that is made from entries is that of
// the records, whatever is in them, an outcome of the future and a principal without a
// name included.
func TestGlimpseBearsTheMarksOfTheRecord(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	records := []*record.Record{
		{}, {Who: &pavise.Principal{}}, {Outcome: "perhaps"}, {Outcome: disk.Failed, Error: &record.Failure{}}, {Outcome: disk.Failed},
		{Kind: "näme <b>", Tenant: `a"b`, Who: &pavise.Principal{Tenant: "a/b", Kind: "c", ID: "d\\e"}, Phase: "future"},
		{Kind: ".", Phase: record.Act, Subject: "s"}, {At: time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)}, {At: time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC)},
	}
	for i := range 500 {
		records = append(records, someRecord(rng, i))
	}
	for _, r := range records {
		entry, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		entry = append(entry, tail...)
		g, err := record.Glance(entry)
		if err != nil {
			t.Fatal(err)
		}
		if disk.MarkingOfGlimpse(&g) != disk.MarkingOf(r) {
			t.Errorf("%s: marked %v as a glimpse, %v as a record", entry, disk.MarkingOfGlimpse(&g), disk.MarkingOf(r))
		}
	}
}

// TestMarkIsBorneOnce: a record whose outcome is spelled like its ending bears that
// mark once, and the index that holds it can be read again.
func TestMarkIsBorneOnce(t *testing.T) {
	r := &record.Record{Kind: "x", Outcome: disk.Failed, Error: &record.Failure{Kind: "denied"}}
	entry, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	b := built{disk: disktest.New(), end: 2}
	text := frame(frame(nil, append(entry, tail...)), append(entry, tail...))
	b.seg.Size = int64(len(text))
	b.disk.Put(b.seg.Name(), text)
	b.keep(t)
	x, err := disk.OpenIndex(b.disk, b.seg, b.end)
	if err != nil {
		t.Fatal(err)
	}
	if places, err := x.Places(disk.Mark(disk.MarkEnding, disk.Failed), 0, 2); err != nil || !slices.Equal(places, []uint32{0, 1}) {
		t.Errorf("%v, %v", places, err)
	}
}

// TestEntryThatCannotBeReadKeepsItsPlace: it bears no marks, and those behind it keep
// theirs.
func TestEntryThatCannotBeReadKeepsItsPlace(t *testing.T) {
	good, err := (&record.Record{Kind: "model.infer", Tenant: "a"}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	x := disk.NewIndex()
	for i, entry := range [][]byte{append(good, tail...), []byte("junk"), nil, append(good, tail...)} {
		x.AddEntry(int64(i), entry)
	}
	if places, err := x.Places(disk.Mark(disk.MarkTenant, "a"), 0, 9); err != nil || !slices.Equal(places, []uint32{0, 3}) || x.Count() != 4 {
		t.Errorf("%v of %d records, %v", places, x.Count(), err)
	}
}

// TestMarksAreOfTheirSort: the same text under another sort is another mark, and parts
// are joined as a name is.
func TestMarksAreOfTheirSort(t *testing.T) {
	seen := map[uint64]string{}
	for _, sort := range []byte{disk.MarkTenant, disk.MarkKind, disk.MarkRoom, disk.MarkWho, disk.MarkOn, disk.MarkSubject, disk.MarkEnding, disk.MarkPhase} {
		for _, text := range []string{"", "a", "b", "ab", "a/b", "a/b/c"} {
			mark := disk.Mark(sort, text)
			if other := seen[mark]; other != "" {
				t.Errorf("%c %q and %s are one mark", sort, text, other)
			}
			seen[mark] = fmt.Sprintf("%c %q", sort, text)
		}
	}
	if disk.Mark(disk.MarkOn, "a", "b", "c") != disk.Mark(disk.MarkOn, "a/b/c") {
		t.Error("the parts of a name are not the name")
	}
}

// TestSpansMissNoRecord: of random times in no order, a bundle that holds one within
// the bounds is always among the spans, and one that cannot hold any never.
func TestSpansMissNoRecord(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		n := 1 + rng.IntN(1500)
		x := disk.NewIndex()
		var at []time.Time
		for i := range n {
			when := epoch.Add(time.Duration(i)*time.Second + time.Duration(rng.Int64N(1e12)))
			at = append(at, when)
			m := disk.MarkingOf(&record.Record{At: when})
			x.Add(int64(i), &m)
		}
		var since, until time.Time
		if rng.IntN(4) > 0 {
			since = epoch.Add(time.Duration(rng.Int64N(3e12)))
		}
		if rng.IntN(4) > 0 {
			until = epoch.Add(time.Duration(rng.Int64N(3e12)))
		}
		low := uint32(rng.IntN(n))
		high := low + 1 + uint32(rng.IntN(n-int(low)))
		in := make([]bool, n)
		last := uint32(0)
		for i, r := range x.Spans(since, until, low, high) {
			if r[0] >= r[1] || r[0] < low || r[1] > high || i > 0 && r[0] <= last {
				t.Fatalf("seed %d: span %v in [%d, %d)", seed, r, low, high)
			}
			last = r[1]
			for place := r[0]; place < r[1]; place++ {
				in[place] = true
			}
		}
		for i, when := range at {
			wanted := (since.IsZero() || !when.Before(since)) && (until.IsZero() || !when.After(until)) && uint32(i) >= low && uint32(i) < high
			if wanted && !in[i] {
				t.Fatalf("seed %d: record %d of %v is within %v and %v, and no span holds it", seed, i, when, since, until)
			}
		}
	}
	x := disk.NewIndex()
	for i := range 3 * 256 {
		m := disk.MarkingOf(&record.Record{At: epoch.Add(time.Duration(i/256) * time.Hour)})
		x.Add(int64(i), &m)
	}
	for _, tt := range []struct {
		since, until time.Time
		want         [][2]uint32
	}{
		{time.Time{}, time.Time{}, [][2]uint32{{0, 768}}}, {epoch.Add(time.Second), time.Time{}, [][2]uint32{{256, 768}}}, {time.Time{}, epoch, [][2]uint32{{0, 256}}},
		{epoch.Add(time.Hour), epoch.Add(time.Hour), [][2]uint32{{256, 512}}}, {epoch.Add(time.Minute), epoch.Add(time.Minute), nil}, {epoch.Add(time.Hour), epoch, nil},
	} {
		if got := x.Spans(tt.since, tt.until, 0, 768); !slices.Equal(got, tt.want) {
			t.Errorf("from %v to %v: %v, want %v", tt.since, tt.until, got, tt.want)
		}
	}
}

// TestEveryBitOfAnIndexCounts flips each bit of an index file, cuts it at each byte and
// makes it longer: it is never opened, so that no search misses a record by it.
func TestEveryBitOfAnIndexCounts(t *testing.T) {
	b := build(t, 7, 300)
	file := b.keep(t)
	name := disk.IndexName(b.seg.First)
	refused := func(what string, content []byte) {
		t.Helper()
		b.disk.Put(name, content)
		if x, err := disk.OpenIndex(b.disk, b.seg, b.end); pavise.KindOf(err) != pavise.Unverified || x != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	for i := range file {
		for bit := range 8 {
			flipped := bytes.Clone(file)
			flipped[i] ^= 1 << bit
			refused(fmt.Sprintf("byte %d, bit %d", i, bit), flipped)
		}
		refused(fmt.Sprintf("cut at byte %d", i), file[:i])
	}
	refused("a byte more", append(bytes.Clone(file), 0))
	refused("twice", append(bytes.Clone(file), file...))
	refused("zeroes", make([]byte, len(file)))
	b.disk.Put(name, file)
	if _, err := disk.OpenIndex(b.disk, b.seg, b.end); err != nil {
		t.Fatal(err)
	}
}

// TestIndexIsOfItsSegment: a whole index of another segment, or of another state of
// this one, is not opened.
func TestIndexIsOfItsSegment(t *testing.T) {
	b := build(t, 7, 300)
	b.keep(t)
	for what, tt := range map[string]struct {
		seg disk.Segment
		end uint64
	}{
		"a longer segment": {disk.Segment{First: 512, Size: b.seg.Size + 1}, b.end}, "a shorter one": {disk.Segment{First: 512, Size: b.seg.Size - 1}, b.end},
		"more records": {b.seg, b.end + 1}, "fewer": {b.seg, b.end - 1}, "none": {b.seg, 0},
	} {
		if _, err := disk.OpenIndex(b.disk, tt.seg, tt.end); pavise.KindOf(err) != pavise.Unverified {
			t.Errorf("%s: %v", what, err)
		}
	}
	file, _ := b.disk.Bytes(disk.IndexName(512))
	b.disk.Put(disk.IndexName(1024), file)
	if _, err := disk.OpenIndex(b.disk, disk.Segment{First: 1024, Size: b.seg.Size}, 1324); pavise.KindOf(err) != pavise.Unverified {
		t.Errorf("the index of another segment: %v", err)
	}
	if _, err := disk.OpenIndex(b.disk, disk.Segment{First: 2048, Size: b.seg.Size}, 2348); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no index: %v", err)
	}
}

// TestBundlesOfAnIndexLieInItsSegment: one that somebody made, with a right checksum,
// whose bundles begin where none can, is not opened.
func TestBundlesOfAnIndexLieInItsSegment(t *testing.T) {
	b := build(t, 7, 600)
	file := b.keep(t)
	const bundles = 16 + 5*8 // behind the header
	for what, offset := range map[string][3]int64{
		"the first not at 0": {1, b.offsets[256], b.offsets[512]}, "backwards": {0, b.offsets[512], b.offsets[256]}, "twice the same": {0, b.offsets[256], b.offsets[256]},
		"at the end": {0, b.offsets[256], b.seg.Size}, "beyond the end": {0, b.offsets[256], 1 << 62}, "before the beginning": {-1, b.offsets[256], b.offsets[512]}, "below 0": {0, -5, b.offsets[512]},
	} {
		forged := bytes.Clone(file[:len(file)-sha256.Size])
		for i, at := range offset {
			binary.BigEndian.PutUint64(forged[bundles+24*i:], uint64(at))
		}
		sum := sha256.Sum256(forged)
		b.disk.Put(disk.IndexName(512), append(forged, sum[:]...))
		if _, err := disk.OpenIndex(b.disk, b.seg, b.end); pavise.KindOf(err) != pavise.Unverified {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestIndexThatVanishesIsNoEmptyAnswer: when the file is cut, goes away or cannot be
// read after it was opened, a search is told, and does not take it for "none".
func TestIndexThatVanishesIsNoEmptyAnswer(t *testing.T) {
	b := build(t, 7, 300)
	file := b.keep(t)
	mark := disk.Mark(disk.MarkTenant, "a")
	x, err := disk.OpenIndex(b.disk, b.seg, b.end)
	if err != nil {
		t.Fatal(err)
	}
	want, err := x.Places(mark, 0, 300)
	if err != nil || len(want) == 0 {
		t.Fatalf("%v, %v", want, err)
	}
	for size := range len(file) {
		b.disk.Put(disk.IndexName(512), file[:size])
		if places, err := x.Places(mark, 0, 300); err == nil && !slices.Equal(places, want) {
			t.Fatalf("cut to %d bytes: %d places of %d", size, len(places), len(want))
		}
	}
	b.disk.Remove(disk.IndexName(512))
	if places, err := x.Places(mark, 0, 300); err == nil {
		t.Errorf("removed: %d places", len(places))
	}
	b.disk.Put(disk.IndexName(512), file)
	b.disk.Fail(func(op, _ string) error { return syscall.EIO })
	if places, err := x.Places(mark, 0, 300); err == nil {
		t.Errorf("on a broken disk: %d places", len(places))
	}
	b.disk.Fail(nil)
	if places, err := x.Places(mark, 0, 300); err != nil || !slices.Equal(places, want) {
		t.Errorf("%v, %v", places, err)
	}
}

// TestMakeIndexOfATornSegment takes in what is whole, and tells when it cannot read.
func TestMakeIndexOfATornSegment(t *testing.T) {
	b := build(t, 7, 300)
	text, _ := b.disk.Bytes(b.seg.Name())
	b.disk.Put(b.seg.Name(), text[:b.offsets[280]+5])
	x, err := disk.MakeIndex(b.disk, disk.Segment{First: 512, Size: b.offsets[280] + 5})
	if err != nil || x.Count() != 280 {
		t.Errorf("%d records, %v", x.Count(), err)
	}
	b.disk.Remove(b.seg.Name())
	if _, err := disk.MakeIndex(b.disk, b.seg); pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("of no segment: %v", err)
	}
}

// FuzzOpenIndex: an index file with a right checksum, which whoever can write the
// directory can make, neither crashes a search nor names a record that cannot be, nor
// a bundle outside of its segment.
func FuzzOpenIndex(f *testing.F) {
	for _, n := range []int{0, 1, 300} {
		b := build(f, 7, n)
		file := b.keep(f)
		f.Add(file[:len(file)-sha256.Size], uint64(5))
	}
	f.Fuzz(func(t *testing.T, body []byte, mark uint64) {
		sum := sha256.Sum256(body)
		file := append(bytes.Clone(body), sum[:]...)
		number := func(i int) uint64 {
			at := len("pavise index v1\n") + 8*i
			if len(body) < at+8 {
				return 0
			}
			return binary.BigEndian.Uint64(body[at:])
		}
		d := disktest.New()
		seg := disk.Segment{First: number(0), Size: int64(number(2))}
		d.Put(disk.IndexName(seg.First), file)
		x, err := disk.OpenIndex(d, seg, number(0)+number(1))
		if err != nil {
			return
		}
		if bundles := (x.Count() + 255) / 256; bundles > uint64(len(body)) {
			t.Fatalf("%d bundles of %d bytes", bundles, len(body))
		}
		for i := range int((x.Count() + 255) / 256) {
			if from, to := x.Bundle(i, seg.Size); from < 0 || from >= to || to > seg.Size {
				t.Fatalf("bundle %d lies from %d to %d of %d bytes", i, from, to, seg.Size)
			}
		}
		if len(body) > 200 {
			mark ^= binary.BigEndian.Uint64(body[80+len(body)%100:]) // now and then one that is there
		}
		for _, m := range []uint64{mark, disk.Mark(disk.MarkTenant, "a")} {
			places, err := x.Places(m, 0, 1<<31)
			if err != nil && places != nil || uint64(len(places)) > x.Count() {
				t.Fatalf("%d places of %d records, %v", len(places), x.Count(), err)
			}
			for i, place := range places {
				if uint64(place) >= x.Count() || i > 0 && place <= places[i-1] {
					t.Fatalf("places %v of %d records", places, x.Count())
				}
			}
		}
		x.Spans(epoch, epoch.Add(time.Hour), 0, 1<<31)
	})
}
