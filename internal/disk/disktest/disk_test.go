package disktest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
	"testing"

	"github.com/pavise/pavise/internal/disk"
)

// open opens a file that must be there or be made.
func open(t *testing.T, d disk.Directory, name string) disk.File {
	t.Helper()
	f, err := d.Open(name, true)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func writeAt(t *testing.T, f disk.File, off int64, text string) {
	t.Helper()
	if n, err := f.WriteAt([]byte(text), off); err != nil || n != len(text) {
		t.Fatalf("wrote %d of %d bytes: %v", n, len(text), err)
	}
}

// crashes returns what a file holds after each of many crashes of a disk, and how
// often; "-" stands for no file.
func crashes(d *Disk, name string) map[string]int {
	after := map[string]int{}
	for seed := range uint64(400) {
		b, ok := d.Crash(rand.New(rand.NewPCG(seed, 1))).Bytes(name)
		if !ok {
			b = []byte("-")
		}
		after[string(b)]++
	}
	return after
}

// TestSyncedOutlivesEveryCrash: what was synced, with its name, is there after each.
func TestSyncedOutlivesEveryCrash(t *testing.T) {
	d := New()
	f := open(t, d, "a")
	writeAt(t, f, 0, "synced")
	if err := errors.Join(f.Sync(), d.Sync()); err != nil {
		t.Fatal(err)
	}
	if after := crashes(d, "a"); len(after) != 1 || after["synced"] == 0 {
		t.Errorf("after the crashes: %v", after)
	}
	d.Put("b", []byte("put"))
	if after := crashes(d, "b"); len(after) != 1 || after["put"] == 0 {
		t.Errorf("what was put there: %v", after)
	}
}

// TestUnsyncedIsDroppedTornOrKept: a write that was not synced meets each of the three
// fates, and two of them come in either order.
func TestUnsyncedIsDroppedTornOrKept(t *testing.T) {
	d := New()
	d.Put("a", []byte("......"))
	f := open(t, d, "a")
	writeAt(t, f, 1, "1111")
	after := crashes(d, "a")
	if after["......"] == 0 || after[".1111."] == 0 || after["..1..."] == 0 || len(after) < 8 {
		t.Errorf("one write: %v", after)
	}
	writeAt(t, f, 1, "2222")
	after = crashes(d, "a")
	if after[".1111."] == 0 || after[".2222."] == 0 || after[".1222."] == 0 || after[".2111."] == 0 {
		t.Errorf("two writes: %v", after)
	}
	if after[".2122."]+after[".2212."]+after[".2112."] == 0 { // a part of the first, over the second
		t.Errorf("two writes, never out of order: %v", after)
	}
	if b, _ := d.Bytes("a"); string(b) != ".2222." {
		t.Errorf("the process itself sees %q", b)
	}
	d.Put("b", []byte("longer"))
	if err := open(t, d, "b").Truncate(2); err != nil {
		t.Fatal(err)
	}
	if after := crashes(d, "b"); len(after) != 2 || after["longer"] == 0 || after["lo"] == 0 {
		t.Errorf("a truncation: %v", after)
	}
}

// TestUnsyncedNamesComeAndGo: a creation, a rename and a removal that were not synced
// may have happened or not; the directory's sync decides it.
func TestUnsyncedNamesComeAndGo(t *testing.T) {
	d := New()
	d.Put("old", []byte("old"))
	d.Put("gone", []byte("gone"))
	d.Put("to", []byte("before"))
	f := open(t, d, "new")
	writeAt(t, f, 0, "new")
	from := open(t, d, "from")
	writeAt(t, from, 0, "after")
	if err := errors.Join(f.Sync(), from.Sync(), d.Rename("from", "to"), d.Remove("gone")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{"old": {"old"}, "new": {"-", "new"}, "gone": {"-", "gone"}, "to": {"after", "before"}, "from": {"-"}} {
		if after := crashes(d, name); !slices.Equal(slices.Sorted(maps.Keys(after)), want) {
			t.Errorf("%s: %v, want %v", name, after, want)
		}
	}
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"old": "old", "new": "new", "gone": "-", "to": "after", "from": "-"} {
		if after := crashes(d, name); len(after) != 1 || after[want] == 0 {
			t.Errorf("%s, synced: %v, want %v", name, after, want)
		}
	}
}

// TestSeedDecidesACrash: the same seed gives the same disk, so that a failure can be
// seen again.
func TestSeedDecidesACrash(t *testing.T) {
	d := New()
	for i := range 20 {
		name := fmt.Sprint(i)
		d.Put(name, []byte("................"))
		writeAt(t, open(t, d, name), int64(i%5), "0123456789")
		switch i % 4 {
		case 0:
			if err := d.Remove(name); err != nil {
				t.Fatal(err)
			}
		case 1:
			if err := d.Rename(name, "x"+name); err != nil {
				t.Fatal(err)
			}
		}
	}
	for seed := range uint64(20) {
		once, again := d.Crash(rand.New(rand.NewPCG(seed, 1))), d.Crash(rand.New(rand.NewPCG(seed, 1)))
		names, _ := once.List()
		others, _ := again.List()
		if slices.Sort(names); !slices.Equal(names, slices.Sorted(slices.Values(others))) {
			t.Fatalf("seed %d: %q and %q", seed, names, others)
		}
		for _, name := range names {
			a, _ := once.Bytes(name)
			if b, _ := again.Bytes(name); !bytes.Equal(a, b) {
				t.Fatalf("seed %d: %s holds %q and %q", seed, name, a, b)
			}
		}
	}
}

// TestFullDisk: a write that grows a file beyond what is free fails half-way, one
// within a file does not, and room that comes back is used.
func TestFullDisk(t *testing.T) {
	d := New()
	f := open(t, d, "a")
	d.Free(6)
	writeAt(t, f, 0, "1234")
	if n, err := f.WriteAt([]byte("5678"), 4); err != syscall.ENOSPC || n != 2 {
		t.Errorf("wrote %d bytes, %v", n, err)
	}
	writeAt(t, f, 0, "abcd")
	if b, _ := d.Bytes("a"); string(b) != "abcd56" {
		t.Errorf("the file holds %q", b)
	}
	if !disk.Full(syscall.ENOSPC) {
		t.Error("a full disk is not known as one")
	}
	d.Free(-1)
	writeAt(t, f, 4, "5678")
}

// TestFailingDisk: each operation asks first and fails with the error given; a write
// that fails writes half, and a sync that fails forgets what it should have kept.
func TestFailingDisk(t *testing.T) {
	d := New()
	d.Put("a", []byte("......"))
	f := open(t, d, "a")
	var asked []string
	d.Fail(func(op, name string) error {
		asked = append(asked, op+" "+name)
		return syscall.EIO
	})
	n, writeErr := f.WriteAt([]byte("1234"), 1)
	_, openErr := d.Open("b", true)
	for i, err := range []error{writeErr, openErr, f.Sync(), f.Truncate(0), f.Reserve(9), d.Rename("a", "b"), d.Remove("a"), d.Sync()} {
		if err != syscall.EIO {
			t.Errorf("operation %d: %v", i, err)
		}
	}
	want := []string{"write a", "open b", "sync a", "truncate a", "reserve a", "rename a", "remove a", "syncdir "}
	if !slices.Equal(asked, want) {
		t.Errorf("asked about %q", asked)
	}
	d.Fail(nil)
	if b, _ := d.Bytes("a"); n != 2 || string(b) != ".12..." {
		t.Errorf("wrote %d bytes, the file holds %q", n, b)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if after := crashes(d, "a"); len(after) != 1 || after["......"] == 0 {
		t.Errorf("a sync after the one that failed kept something: %v", after)
	}
}

// TestPowerGoesAtAnOperation: the n-th operation and all after it fail; the next life
// has what was synced, and is decided once.
func TestPowerGoesAtAnOperation(t *testing.T) {
	for seed := range uint64(100) {
		d := New()
		told := 0
		next := d.LosePowerAfter(4, rand.New(rand.NewPCG(seed, 1)), func() { told++ })
		f := open(t, d, "a")
		writeAt(t, f, 0, "one")
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		if err := d.Sync(); err != ErrPowerGone || told != 1 {
			t.Fatalf("the fourth operation: %v, told %d times", err, told)
		}
		if _, err := f.WriteAt([]byte("two"), 0); err != ErrPowerGone || told != 1 {
			t.Fatalf("a later one: %v, told %d times", err, told)
		}
		after, ok := next().Bytes("a")
		if ok && string(after) != "one" {
			t.Fatalf("seed %d: the next life has %q", seed, after)
		}
		if again := next(); again != next() {
			t.Fatal("the next life changed")
		}
	}
	d := New()
	writeAt(t, open(t, d, "a"), 0, "one")
	told := 0
	next := d.LosePowerAfter(100, rand.New(rand.NewPCG(1, 1)), func() { told++ })
	if next(); told != 1 {
		t.Errorf("a disk whose power held: told %d times", told)
	}
}

// TestFrozenIsACopy: what happens to the disk later does not reach its copy, nor the
// other way, and both crash alike.
func TestFrozenIsACopy(t *testing.T) {
	d := New()
	d.Put("a", []byte("...."))
	d.Put("b", []byte("b"))
	writeAt(t, open(t, d, "a"), 0, "12")
	if err := d.Remove("b"); err != nil {
		t.Fatal(err)
	}
	copied := d.Frozen()
	for _, name := range []string{"a", "b"} {
		if a, b := crashes(d, name), crashes(copied, name); !maps.Equal(a, b) {
			t.Errorf("%s crashes to %v, and its copy to %v", name, a, b)
		}
	}
	writeAt(t, open(t, d, "a"), 2, "34")
	writeAt(t, open(t, copied, "a"), 2, "xy")
	a, _ := d.Bytes("a")
	if b, _ := copied.Bytes("a"); string(a) != "1234" || string(b) != "12xy" {
		t.Errorf("%q and its copy %q", a, b)
	}
}

// TestDiskIsADirectory does the same random things to a disk in memory and to a real
// directory, whose answers must be the same, errors included.
func TestDiskIsADirectory(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 1))
		mine, real := New(), disk.Dir{Path: t.TempDir()}
		names := []string{"a", "b", "c"}
		for step := range 60 {
			name, to, off, n := names[rng.IntN(3)], names[rng.IntN(3)], rng.Int64N(40), rng.IntN(20)
			op := rng.IntN(7)
			a, b := act(mine, op, name, to, off, n), act(real, op, name, to, off, n)
			if a != b {
				t.Fatalf("seed %d, step %d, operation %d on %s: %q, a directory says %q", seed, step, op, name, a, b)
			}
		}
	}
}

// act does one thing to a directory and tells what came of it.
func act(d disk.Directory, op int, name, to string, off int64, n int) string {
	tell := func(text any, err error) string {
		if errors.Is(err, os.ErrNotExist) {
			err = os.ErrNotExist
		}
		return fmt.Sprintf("%q %v", text, err)
	}
	switch op {
	case 0:
		return tell("", d.Rename(name, to))
	case 1:
		return tell("", d.Remove(name))
	case 2:
		names, err := d.List()
		slices.Sort(names)
		return tell(names, err)
	}
	f, err := d.Open(name, op == 3)
	if err != nil {
		return tell("", err)
	}
	defer f.Close()
	switch op {
	case 3, 4:
		wrote, err := f.WriteAt(bytes.Repeat([]byte{byte('a' + n)}, n), off)
		return tell(fmt.Sprint(wrote), err)
	case 5:
		return tell("", f.Truncate(off))
	}
	text := make([]byte, n+1)
	read, err := f.ReadAt(text, off)
	size, sizeErr := f.Size()
	whole, wholeErr := io.ReadAll(io.NewSectionReader(f, 0, size))
	return tell(fmt.Sprintf("%q of %d: %q", text[:read], size, whole), errors.Join(err, sizeErr, wholeErr))
}
