package rowseal

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"testing"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/proof"
)

// spillOf opens a file of the test, and counts how often it was asked to.
func spillOf(t *testing.T, asked *int) Spill {
	return func() (*os.File, error) {
		*asked++
		return os.CreateTemp(t.TempDir(), "spill")
	}
}

// plainly makes the root of the tree of contents as the specification says, all at once.
func plainly(bits int, digests []byte) hash {
	byBucket := map[uint64][]Mark{}
	salts := contentsSalts(nil)
	for d := digests; len(d) > 0; d = d[sha256.Size:] {
		n := bucketOf(d, bits)
		salt := Mark(salts.one(n))
		mark := []Mark{tailOf(d[:sha256.Size]).under(&salt)}
		marks(mark)
		byBucket[n] = append(byBucket[n], mark...)
	}
	var tree proof.Range
	for n := range uint64(1) << bits {
		salt := salts.one(n)
		list := byBucket[n]
		slices.SortFunc(list, func(a, b Mark) int { return bytes.Compare(a[:], b[:]) })
		tree.Add(0, sha256.Sum256(appendBucket(nil, salt[:], slices.Compact(list))), nil)
	}
	return tree.Root()
}

// TestContentsInParts makes the tree of rows of which so few are sorted at a time that they are
// dealt out, cells are crowded, and so are buckets. All roots are that which is made at once.
func TestContentsInParts(t *testing.T) {
	var digests, one []byte
	for i := range 4000 {
		d := proof.Leaf(fmt.Append(nil, i%3000))
		digests = append(digests, d[:]...)
		if i%5 == 0 {
			d = proof.Leaf([]byte("the same"))
			digests = append(digests, d[:]...)
		}
		if i%9 == 0 { // in the cell of this one, and in other buckets of it
			d = proof.Leaf([]byte("the same"))
			d[2], d[20] = byte(i), byte(i>>8)
			digests = append(digests, d[:]...)
		}
	}
	d := proof.Leaf([]byte("the same"))
	one = bytes.Repeat(d[:], 1000)
	for _, bits := range []int{16, 17} {
		for _, rows := range [][]byte{nil, digests, one} {
			want := plainly(bits, rows)
			for _, most := range []uint64{7, 700, 1 << 20} {
				half := len(rows) / 64 * 32
				asked, leaves := 0, uint64(0)
				c := contents{
					bits: bits, salts: contentsSalts(nil), workers: 3, most: most, spill: spillOf(t, &asked),
					rows: []stretch{{bytes.NewReader(rows[:half]), uint64(half) / 32}, {bytes.NewReader(rows[half:]), uint64(len(rows)-half) / 32}},
				}
				c.leaf = func(bucket uint64, _ hash) {
					if bucket != leaves {
						t.Fatalf("bucket %d comes in the place of %d", bucket, leaves)
					}
					leaves++
				}
				if got, err := c.root(t.Context()); err != nil || got != want || leaves != 1<<bits {
					t.Errorf("%d bits, %d rows, %d at a time: another root, or %d leaves; %v", bits, len(rows)/32, most, leaves, err)
				}
				if many := uint64(len(rows)/32) > most; many != (asked == 1) {
					t.Errorf("%d bits, %d rows, %d at a time: %d files were opened", bits, len(rows)/32, most, asked)
				}
			}
		}
	}
}

// A moving reader has other rows each time.
type moving struct {
	from []byte
	n    int
}

// ReadAt implements io.ReaderAt.
func (m *moving) ReadAt(b []byte, at int64) (int, error) {
	if m.n++; m.n > 1 && at == 0 {
		clear(b)
		return len(b), nil
	}
	return bytes.NewReader(m.from).ReadAt(b, at)
}

// TestContentsThatMove hands over other digests each time: an index may be a stranger's, who writes
// to it meanwhile.
func TestContentsThatMove(t *testing.T) {
	var digests []byte
	for i := range 1000 {
		d := proof.Leaf(fmt.Append(nil, i))
		digests = append(digests, d[:]...)
	}
	var asked int
	c := contents{bits: 16, salts: contentsSalts(nil), workers: 1, most: 50, spill: spillOf(t, &asked), rows: []stretch{{&moving{from: digests}, 1000}}}
	if _, err := c.root(t.Context()); pavise.KindOf(err) != pavise.Unverified {
		t.Error(err)
	}
}

// TestContentsWithoutRoom has no file to deal rows out to, or one that takes nothing.
func TestContentsWithoutRoom(t *testing.T) {
	digests := bytes.NewReader(make([]byte, 64*32))
	shut := func() (*os.File, error) {
		f, err := os.CreateTemp(t.TempDir(), "spill")
		if err == nil {
			f.Close()
		}
		return f, err
	}
	none := &pavise.Error{Kind: pavise.Unavailable, Msg: "there is no room"}
	for what, spill := range map[string]Spill{"shut": shut, "none": func() (*os.File, error) { return nil, none }} {
		c := contents{bits: 16, salts: contentsSalts(nil), workers: 1, most: 10, spill: spill, rows: []stretch{{digests, 64}}}
		if _, err := c.root(t.Context()); pavise.KindOf(err) != pavise.Unavailable {
			t.Errorf("%s: %v", what, err)
		}
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	c := contents{bits: 16, salts: contentsSalts(nil), workers: 1, rows: []stretch{{digests, 64}}}
	if _, err := c.root(stopped); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
}

// TestBlocksGoOut has a writer of blocks that fails, and looks that blocks are handed over as they
// come and not at the end.
func TestBlocksGoOut(t *testing.T) {
	full := errors.New("the disk is full")
	digests := bytes.Repeat([]byte{1}, 3*maxBlock*sha256.Size)
	rows := NewRows(writer(func([]byte) (int, error) { return 0, full }))
	if err := rows.Add(digests); err != full {
		t.Errorf("of rows: %v", err)
	}
	rows = NewRows(writer(func([]byte) (int, error) { return 0, full }))
	if err := rows.Add(digests[:32]); err != nil {
		t.Error(err)
	}
	if err := (&Section{File: File{Format: JSONL}}).Finish(t.Context(), rows, bytes.NewReader(digests), 1); err != full {
		t.Errorf("of the last row: %v", err)
	}
	var out bytes.Buffer
	rows = NewRows(&out)
	if err := rows.Add(digests); err != nil || out.Len() != 3*(sha256.Size+8+5) {
		t.Errorf("%d bytes went out, %v", out.Len(), err)
	}
	text := bytes.NewReader(bytes.Repeat([]byte("\n"), 2*maxBlock))
	if _, _, err := (Sink{io.Discard, writer(func([]byte) (int, error) { return 0, full }), 2, func(int) {}}).Text(t.Context(), text, Cut{}); err != full {
		t.Errorf("of text: %v", err)
	}
}

// TestTableIsOneText writes the table of an index file by file: it is what it would be in one.
func TestTableIsOneText(t *testing.T) {
	files := []Section{{File: File{Path: "a<b>.csv", Format: CSV, Rows: 3}, BOM: true, Digest: Digest{1}, Length: 7}, {File: File{Path: "b", Format: Blocks}, Hint: Hint{ETag: "x", Young: true}}}
	for n := range len(files) + 1 {
		var got bytes.Buffer
		if err := WriteTable(&got, 99, Digest{5}, files[:n]); err != nil {
			t.Fatal(err)
		}
		want, err := json.Marshal(table{formatIndex, Digest{5}, files[:n]})
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(want)
		want = append(append(want, 0, 0, 0, 0, 0, 0, 0, 99), sum[:]...)
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%d files: it is\n%s\nand not\n%s", n, got.Bytes(), want)
		}
	}
	full := errors.New("the disk is full")
	if err := WriteTable(writer(func([]byte) (int, error) { return 0, full }), 99, Digest{5}, files); err != full {
		t.Error(err)
	}
}

type writer func(b []byte) (int, error)

// Write implements io.Writer.
func (w writer) Write(b []byte) (int, error) { return w(b) }
