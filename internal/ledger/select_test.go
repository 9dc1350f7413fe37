package ledger

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/disk/disktest"
	"github.com/pavise/pavise/internal/record"
)

// randomRecord is one of a small world, so that filters find some and not all. Its
// time is about that of its place, now and then far from it, as when a clock was set.
func randomRecord(rng *rand.Rand, i int) *record.Record {
	pick := func(from ...string) string { return from[rng.IntN(len(from))] }
	r := &record.Record{
		Kind: pick("model.infer", "model.describe", "route.put", "modelx.infer"), Phase: pick(record.Act, record.Act, record.Enter, record.Note),
		Tenant: pick("acme", "acme", "rival"), At: time.Unix(1_800_000_000+int64(i), int64(rng.IntN(1000))*1000).UTC(),
		Outcome: pavise.Outcome(pick("allow", "allow", "deny", "alter", "")),
	}
	if rng.IntN(50) == 0 {
		r.At = r.At.Add(time.Duration(rng.IntN(2000)-1000) * time.Second)
	}
	if rng.IntN(4) > 0 {
		r.Who = &pavise.Principal{Tenant: r.Tenant, Kind: pick(pavise.Human, pavise.Workload), ID: pick("a", "b", "c")}
	}
	if rng.IntN(4) > 0 {
		r.On = pavise.Name{Tenant: r.Tenant, Kind: pick("model", "route"), ID: pick("a", "b")}
	}
	if rng.IntN(3) == 0 {
		r.Subject = pick("s-1", "s-2")
	}
	if rng.IntN(6) == 0 {
		r.Error = &record.Failure{Kind: "unavailable", Msg: "away"}
	}
	return r
}

// randomFilter asks for some of that world.
func randomFilter(rng *rand.Rand, n int) Filter {
	pick := func(from ...string) string { return from[rng.IntN(len(from))] }
	var f Filter
	if rng.IntN(2) == 0 {
		f.Tenant = pick("acme", "rival", "nobody")
	}
	for range rng.IntN(3) {
		f.Kinds = append(f.Kinds, pick("model.infer", "model", "route", "route.put", "nothing", "model.inferx"))
	}
	for _, field := range []struct {
		to   *string
		from []string
	}{
		{&f.Who, []string{"acme/human/a", "acme/workload/b", "rival/human/c"}}, {&f.On, []string{"acme/model/a", "rival/route/b"}},
		{&f.Subject, []string{"s-1", "s-3"}}, {&f.Ending, []string{"deny", "alter", "failed", "allow"}}, {&f.Phase, []string{"act", "note", "enter"}},
	} {
		if rng.IntN(4) == 0 {
			*field.to = pick(field.from...)
		}
	}
	at := func() time.Time { return time.Unix(1_800_000_000+int64(rng.IntN(n)), 0) }
	if rng.IntN(3) == 0 {
		f.Since = at()
	}
	if rng.IntN(3) == 0 {
		f.Until = at()
	}
	return f
}

// fillRandom appends n random records to a new log of tiny segments.
func fillRandom(t *testing.T, d *disktest.Disk, rng *rand.Rand, n int) *Log {
	t.Helper()
	l, err := openFault(d)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if _, err := l.Append(t.Context(), randomRecord(rng, i), Written); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.AwaitSigned(t.Context(), uint64(n)-1); err != nil {
		t.Fatal(err)
	}
	return l
}

// TestSearchFindsWhatAWalkFinds holds searches with random filters, both ways, against
// all records looked at one by one: in a log as it grew, and opened again, when all
// segments but the last have their indexes on disk.
func TestSearchFindsWhatAWalkFinds(t *testing.T) {
	const n = 1500
	rng := rand.New(rand.NewPCG(3, 5))
	d := disktest.New()
	l := fillRandom(t, d, rng, n)
	searchAll(t, l, rng, n)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := openFault(d)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	searchAll(t, l, rng, n)
}

// searchAll makes many searches.
func searchAll(t *testing.T, l *Log, rng *rand.Rand, n int) {
	t.Helper()
	all := make([]record.Record, 0, n)
	for _, r := range l.Records(0, uint64(n)) {
		all = append(all, r)
	}
	if len(all) != n {
		t.Fatalf("%d records, want %d", len(all), n)
	}
	for range 300 {
		f := randomFilter(rng, n)
		from := uint64(rng.IntN(n))
		to := from + uint64(rng.IntN(n))
		var want []uint64
		for i := from; i < min(to, uint64(n)); i++ {
			if f.Matches(&all[i]) {
				want = append(want, i)
			}
		}
		if got := places(t, l.Select(t.Context(), f, from, to)); !slices.Equal(got, want) {
			t.Fatalf("%+v in [%d, %d): %d records, want %d: %v, %v", f, from, to, len(got), len(want), got, want)
		}
		slices.Reverse(want)
		if got := places(t, l.SelectBack(t.Context(), f, from, to)); !slices.Equal(got, want) {
			t.Fatalf("%+v in [%d, %d), backwards: %v, want %v", f, from, to, got, want)
		}
		if count, err := l.Count(f, from, to); err != nil || count < uint64(len(want)) {
			t.Fatalf("%+v: the index counts %d, and %d are there; %v", f, count, len(want), err)
		}
	}
}

// places are the indexes of what a search yields.
func places(t *testing.T, found func(func(Found, error) bool)) (indexes []uint64) {
	t.Helper()
	for r, err := range found {
		if err != nil {
			t.Fatal(err)
		}
		indexes = append(indexes, r.Index)
	}
	return indexes
}

// TestRepeatedKindsCostOnce asks for one kind as often as a long request can. It finds
// the same, and takes no more memory than a few copies of the places.
func TestRepeatedKindsCostOnce(t *testing.T) {
	const n = 1500
	l, err := Open(Options{Disk: disktest.New(), Origin: testOrigin, Key: testKey})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for i := range n {
		if _, err := l.Append(t.Context(), testRecord(i), Written); err != nil {
			t.Fatal(err)
		}
	}
	kinds := []string{testRecord(0).Kind, record.Room(testRecord(0).Kind)}
	want := places(t, l.Select(t.Context(), Filter{Kinds: kinds}, 0, n))
	many := Filter{Kinds: slices.Repeat(kinds, 30_000)}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	count, err := l.Count(many, 0, n)
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; err != nil || count != uint64(len(want)) || took > 8<<20 {
		t.Errorf("%d records counted, want %d, with %d bytes; %v", count, len(want), took, err)
	}
	if got := places(t, l.Select(t.Context(), many, 0, n)); len(want) == 0 || !slices.Equal(got, want) {
		t.Errorf("%d records, want %d", len(got), len(want))
	}
	if many.Kinds[0] != kinds[0] || many.Kinds[1] != kinds[1] {
		t.Error("the caller's filter was sorted")
	}
}

// TestIndexIsMadeAnew opens logs whose index files are damaged, cut, swapped or gone,
// and finds the same as before.
func TestIndexIsMadeAnew(t *testing.T) {
	const n = 1200
	d := disktest.New()
	l := fillRandom(t, d, rand.New(rand.NewPCG(4, 4)), n)
	filter := Filter{Tenant: "acme", Kinds: []string{"route"}}
	want := places(t, l.Select(t.Context(), filter, 0, n))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	first, _ := d.Bytes("index-000000000000000")
	second, _ := d.Bytes("index-000000000000256")
	if first == nil || second == nil {
		t.Fatal("there are no index files")
	}
	for name, damage := range map[string]func(*disktest.Disk){
		"a bit":   func(d *disktest.Disk) { b := slices.Clone(first); b[len(b)/2] ^= 4; d.Put("index-000000000000000", b) },
		"cut":     func(d *disktest.Disk) { d.Put("index-000000000000000", first[:len(first)/2]) },
		"empty":   func(d *disktest.Disk) { d.Put("index-000000000000000", nil) },
		"swapped": func(d *disktest.Disk) { d.Put("index-000000000000000", second); d.Put("index-000000000000256", first) },
		"gone":    func(d *disktest.Disk) { d.Remove("index-000000000000000") },
	} {
		d := d.Frozen()
		damage(d)
		l, err := openFault(d)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := places(t, l.Select(t.Context(), filter, 0, n)); !slices.Equal(got, want) {
			t.Errorf("%s: %d records, want %d", name, len(got), len(want))
		}
		l.Close()
		if again, _ := d.Bytes("index-000000000000000"); name != "swapped" && !slices.Equal(again, first) {
			t.Errorf("%s: the index was not written again", name)
		}
	}
}

// TestSearchEndsAtAChangedRecord yields what lies before it, and then the error.
func TestSearchEndsAtAChangedRecord(t *testing.T) {
	d := disktest.New()
	l := fillRandom(t, d, rand.New(rand.NewPCG(6, 6)), 600)
	defer l.Close()
	name := l.stream.segments[1].Name()
	text, _ := d.Bytes(name)
	at := strings.Index(string(text), "tenant")
	f, err := d.Open(name, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("T"), int64(at)); err != nil {
		t.Fatal(err)
	}
	var last error
	seen := 0
	for _, err := range l.Select(t.Context(), Filter{}, 0, 600) {
		if last = err; err == nil {
			seen++
		}
	}
	if pavise.KindOf(last) != pavise.Unverified || seen != 256 {
		t.Errorf("%d records, then %v", seen, last)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range l.Select(gone, Filter{}, 0, 600) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("a search that nobody waits for: %v", err)
		}
	}
}

// TestSearchWhileItGrows searches while records come in and segments end: every search
// finds all that was there when it began.
func TestSearchWhileItGrows(t *testing.T) {
	l, err := openFault(disktest.New())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, stop := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				r := testRecord(i)
				r.Subject = fmt.Sprintf("s-%d", w)
				if _, err := l.Append(t.Context(), r, Written); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for l.Size() < 3000 {
		size := l.Size()
		found := uint64(0)
		for w := range 4 {
			found += uint64(len(places(t, l.Select(t.Context(), Filter{Subject: fmt.Sprintf("s-%d", w)}, 0, size))))
		}
		if found != size {
			t.Errorf("of %d records %d were found", size, found)
		}
	}
	stop()
	writers.Wait()
}
