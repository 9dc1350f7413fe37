package rowseal

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
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
				quiet := contents{bits: bits, salts: c.salts, workers: 2, most: most, spill: spillOf(t, new(int)), rows: c.rows}
				if got, err := quiet.root(t.Context()); err != nil || got != want {
					t.Errorf("%d bits, %d rows, %d at a time: another root where nobody asks for leaves; %v", bits, len(rows)/32, most, err)
				}
				if many := uint64(len(rows)/32) > most; many != (asked == 1) {
					t.Errorf("%d bits, %d rows, %d at a time: %d files were opened", bits, len(rows)/32, most, asked)
				}
			}
		}
	}
}

// TestRising sorts marks: few, many, some of which begin alike or are the same.
func TestRising(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for n := range 80 {
		for _, different := range []int{1, 3, 1 << 30} {
			list := make([]Mark, n)
			for i := range list {
				list[i][random.IntN(2)*8+3] = byte(random.IntN(different))
				list[i][15] = byte(random.IntN(different))
			}
			want := slices.Clone(list)
			slices.SortFunc(want, func(a, b Mark) int { return bytes.Compare(a[:], b[:]) })
			if got := rising(list); !slices.Equal(got, slices.Compact(want)) {
				t.Fatalf("%d marks of %d: %v", n, different, got)
			}
		}
	}
}

// TestMarks holds marks to what the specification says of one.
func TestMarks(t *testing.T) {
	key := sha256.Sum256([]byte(FormatSeal + " marks"))
	block, err := aes.NewCipher(key[:16])
	if err != nil {
		t.Fatal(err)
	}
	digest, salt := proof.Leaf([]byte("a row")), Mark{1, 2, 3, 15: 9}
	var x, want Mark
	for i := range x {
		x[i] = digest[16+i] ^ salt[i]
	}
	block.Encrypt(want[:], x[:])
	for i := range x {
		want[i] ^= x[i]
	}
	list := []Mark{tailOf(digest[:]).under(&salt)}
	if marks(list); list[0] != want {
		t.Fatalf("%x, and not %x", list[0], want)
	}
}

// TestBlocksInParts tells rows in parts of any size, of more blocks than wait at a time: they are
// those that the specification says, in their order.
func TestBlocksInParts(t *testing.T) {
	var digests []byte
	for i := range 3*maxBlock + 9000 {
		d := proof.Leaf(fmt.Append(nil, i))
		if i < 2*maxBlock+50 {
			d[31] |= 1 // so that 4,096 end a block
		}
		digests = append(digests, d[:]...)
	}
	var want, file []byte
	for from, at := 0, 0; at < len(digests); at += 32 {
		if rows := (at-from)/32 + 1; digests[at+31] == 0 || rows == maxBlock || at+32 == len(digests) {
			ends := append(binary.BigEndian.AppendUint32(nil, uint32(rows)), 0)
			sum := sha256.Sum256(slices.Concat([]byte{tagBlock}, digests[from:at+32], ends))
			want = binary.BigEndian.AppendUint32(append(want, sum[:]...), uint32(rows))
			want, file = append(append(want, 0, 0, 0, 1), ends...), append(file, sum[:]...)
			from = at + 32
		}
	}
	sum := sha256.Sum256(append([]byte{tagFile}, file...))
	for _, part := range []int{1, 7, 1000, 3*maxBlock + 9000} {
		var got bytes.Buffer
		rows := NewRows(&got)
		for left := digests; len(left) > 0; left = left[min(part*32, len(left)):] {
			if err := rows.Add(left[:min(part*32, len(left))]); err != nil {
				t.Fatal(err)
			}
		}
		if err := rows.close(); err != nil || !bytes.Equal(got.Bytes(), want) || !bytes.Equal(rows.file.Sum(nil), sum[:]) {
			t.Errorf("in parts of %d rows: other blocks, %v", part, err)
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
