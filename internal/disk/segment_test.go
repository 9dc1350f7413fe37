package disk_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/disk/disktest"
	"github.com/pavise/pavise/internal/record"
)

// TestSegmentNames: a segment has one name, which says where it begins, and sorts as
// it lies in the log.
func TestSegmentNames(t *testing.T) {
	before := ""
	for _, first := range []uint64{0, 256, 1024, 999_999_999_999_744} {
		name := disk.SegmentName(first)
		if got, ok := disk.ParseSegmentName(name); !ok || got != first || (disk.Segment{First: first}).Name() != name || name <= before {
			t.Errorf("the segment of %d is %s, which reads as %d, %v", first, name, got, ok)
		}
		before = name
	}
	if got, ok := disk.ParseSegmentName(disk.SegmentName(1 << 62)); !ok || got != 1<<62 {
		t.Errorf("beyond fifteen digits: %d, %v", got, ok)
	}
	for _, name := range []string{
		"", "entries-.seg", "entries-0.seg", "entries-000000000000000", "000000000000000.seg", "entries-000000000000001.seg", "entries-000000000000255.seg",
		"entries-0000000000000000.seg", "entries-000000000000256.seg.new", "Entries-000000000000256.seg", "entries-+00000000000256.seg", "entries- 00000000000256.seg",
		"entries-00000000000025 6.seg", "entries--00000000000256.seg", "entries-0x0000000000100.seg", "entries-18446744073709551616.seg", "entries-000000000000256x.seg", "index-000000000000256", "./entries-000000000000256.seg",
	} {
		if first, ok := disk.ParseSegmentName(name); ok {
			t.Errorf("%q is the segment of %d", name, first)
		}
	}
}

// FuzzParseSegmentName: a name that is read is the one that is written.
func FuzzParseSegmentName(f *testing.F) {
	f.Add(disk.SegmentName(256))
	f.Add("entries-+00000000000256.seg")
	f.Fuzz(func(t *testing.T, name string) {
		if first, ok := disk.ParseSegmentName(name); ok && (disk.SegmentName(first) != name || first%256 != 0) {
			t.Errorf("%q is the segment of %d", name, first)
		}
	})
}

// TestSegmentsAreListedInOrder: by their first record, without empty ones and without
// what only looks like one.
func TestSegmentsAreListedInOrder(t *testing.T) {
	d := disktest.New()
	for name, content := range map[string]string{
		disk.SegmentName(512): "12", disk.SegmentName(0): "1", disk.SegmentName(1 << 55): "1234", disk.SegmentName(256): "123", disk.SegmentName(768): "",
		"origin": "x", "hash.0": "x", disk.IndexName(0): "x", "entries-000000000000001.seg": "x", disk.SegmentName(1024) + ".new": "x",
	} {
		d.Put(name, []byte(content))
	}
	got, err := disk.Segments(d)
	want := []disk.Segment{{First: 0, Size: 1}, {First: 256, Size: 3}, {First: 512, Size: 2}, {First: 1 << 55, Size: 4}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	d.Fail(func(op, _ string) error { return syscall.EIO })
	if _, err := disk.Segments(d); pavise.KindOf(err) != pavise.Unavailable {
		t.Errorf("on a broken disk: %v", err)
	}
}

// frame appends an entry behind its length.
func frame(b, entry []byte) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(entry))), entry...)
}

// TestFramesComeBack: entries of every length come back whole and in order, by either
// way of reading them, and a cut anywhere loses none but the one it goes through.
func TestFramesComeBack(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var entries [][]byte
	var whole []byte
	for _, n := range []int{0, 1, 2, 255, 256, 257, 0, 65534, record.MaxEntry, 0} {
		entry := make([]byte, n)
		for i := range entry {
			entry[i] = byte(rng.Uint32())
		}
		entries, whole = append(entries, entry), frame(whole, entry)
	}
	for _, cut := range []int{len(whole), len(whole) - 1, len(whole) - 2, len(whole) - 3, 70_000, 2 + 0 + 2, 3, 2, 1, 0} {
		got, end, err := readAll(bytes.NewReader(whole[:cut]))
		at := 0
		for i, entry := range entries {
			if at+2+len(entry) > cut {
				break
			}
			at += 2 + len(entry)
			if i >= len(got) || !bytes.Equal(got[i], entry) {
				t.Fatalf("cut at %d: entry %d is not what was written", cut, i)
			}
		}
		want := io.EOF
		if at < cut {
			want = io.ErrUnexpectedEOF
		}
		if end != int64(at) || err != want {
			t.Errorf("cut at %d: read up to %d, %v, want %d, %v", cut, end, err, at, want)
		}
	}
	if _, _, err := readAll(iotest.ErrReader(syscall.EIO)); err != syscall.EIO {
		t.Errorf("a disk that cannot be read: %v", err)
	}
	if _, _, err := readAll(io.MultiReader(bytes.NewReader(whole[:100]), iotest.ErrReader(syscall.EIO))); err != syscall.EIO {
		t.Errorf("a disk that cannot be read to its end: %v", err)
	}
}

// readAll reads a stream of entries and returns them, where the last whole one ends,
// and what comes then.
func readAll(r io.Reader) (entries [][]byte, end int64, err error) {
	frames := disk.NewFrames(r)
	for {
		entry, err := frames.Next()
		if err != nil {
			return entries, frames.Offset, err
		}
		entries = append(entries, bytes.Clone(entry))
	}
}

// FuzzFrames: both ways of reading a stream agree on hostile bytes, and the entries,
// framed again, are the bytes that were read.
func FuzzFrames(f *testing.F) {
	f.Add(frame(frame(nil, []byte("one")), nil))
	f.Add([]byte{0})
	f.Add([]byte{255, 255, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, end, err := readAll(iotest.HalfReader(bytes.NewReader(b)))
		if err != io.EOF && err != io.ErrUnexpectedEOF || (err == io.EOF) != (end == int64(len(b))) {
			t.Errorf("%d of %d bytes read, %v", end, len(b), err)
		}
		var again []byte
		rest := b
		for i := 0; ; i++ {
			entry, behind, ok := disk.NextFrame(rest)
			if !ok {
				if i != len(entries) || !bytes.Equal(behind, b[end:]) {
					t.Errorf("%d entries, and %d by the other way", len(entries), i)
				}
				break
			}
			if i >= len(entries) || !bytes.Equal(entry, entries[i]) || cap(entry) != len(entry) {
				t.Fatalf("entry %d is %q", i, entry)
			}
			again, rest = frame(again, entry), behind
		}
		if !bytes.Equal(again, b[:end]) {
			t.Error("framed again, the entries are other bytes")
		}
	})
}

// TestHashesAreReadInOrder: as many as are wanted, and an error where there are fewer.
func TestHashesAreReadInOrder(t *testing.T) {
	var file []byte
	for i := range 5000 {
		h := tlog.RecordHash(fmt.Append(nil, i))
		file = append(file, h[:]...)
	}
	for _, n := range []uint64{0, 1, 4999, 5000} {
		next := 0
		err := disk.Hashes(bytes.NewReader(file), n, func(h tlog.Hash) {
			if h != tlog.RecordHash(fmt.Append(nil, next)) {
				t.Fatalf("hash %d is another", next)
			}
			next++
		})
		if err != nil || uint64(next) != n {
			t.Errorf("%d of %d hashes, %v", next, n, err)
		}
	}
	for _, cut := range []int{0, 1, 31, 33, len(file) - 1} {
		got := 0
		err := disk.Hashes(bytes.NewReader(file[:cut]), 5000, func(tlog.Hash) { got++ })
		if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) || got != cut/tlog.HashSize {
			t.Errorf("of %d bytes: %d hashes, %v", cut, got, err)
		}
	}
}

// TestNamesOfDerivedFiles are those that the layout publishes.
func TestNamesOfDerivedFiles(t *testing.T) {
	got := strings.Join([]string{disk.SegmentName(256), disk.IndexName(256), disk.LevelName(0), disk.LevelName(7)}, " ")
	if got != "entries-000000000000256.seg index-000000000000256 hash.0 hash.7" {
		t.Error(got)
	}
}
