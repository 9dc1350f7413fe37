package rowseal

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/plainjson"
	"github.com/pavise/pavise/internal/proof"
)

const (
	formatIndex = "pavise.rows/1" // the only format there is
	maxTable    = 1 << 30         // bytes of the table at the index's end
	trailerSize = 8 + sha256.Size
)

// IndexMagic is what an index begins with. The digests follow.
const IndexMagic = formatIndex + "\n"

// IndexSuffix is behind the name of a seal's index.
const IndexSuffix = ".rows"

// A Section is one file of a dataset as the index has it: what the manifest says of it, what
// its salts are drawn from, and where the digests of its rows and blocks lie.
type Section struct {
	File
	BOM    bool   `json:"bom,omitempty"`
	Digest Digest `json:"digest"`          // of the whole file; zero where there are no rows
	Bytes  uint64 `json:"bytes,omitempty"` // how many blocks of 64 KiB have a digest
	Bottom Digest `json:"bottom"`          // the root over these; zero for text
	Offset int64  `json:"offset"`          // of digests of rows, those of bytes, then the blocks of rows
	Length int64  `json:"length"`
	Hint   Hint   `json:"hint"`

	Source io.ReaderAt `json:"-"` // where Offset counts; nil: nowhere
	Why    string      `json:"-"` // what is wrong with the file's form; empty: nothing
}

// RowsAt is where the digests of rows are.
func (s *Section) RowsAt() io.ReaderAt {
	return io.NewSectionReader(s.Source, s.Offset, int64(s.Rows)*sha256.Size)
}

// BytesAt is where the digests of blocks of bytes are.
func (s *Section) BytesAt() io.ReaderAt {
	return io.NewSectionReader(s.Source, s.Offset+int64(s.Rows)*sha256.Size, int64(s.Bytes)*sha256.Size)
}

// Damaged says that an index is not what it was.
func Damaged(why string) error {
	return &pavise.Error{Kind: pavise.Unverified, Msg: "the index is damaged: " + why, Hint: "get it again from where it is kept, or seal the same content once more: the same index comes out"}
}

// eachBlock reads the blocks of the section's rows, whose digests nobody has checked yet. Each is
// good until do returns.
func (s *Section) eachBlock(do func(b *block) error) error {
	skip := int64(s.Rows+s.Bytes) * sha256.Size
	in := bufio.NewReader(io.NewSectionReader(s.Source, s.Offset+skip, s.Length-skip))
	var b block
	rows := uint64(0)
	for {
		if err := s.readBlock(in, &b); err == io.EOF {
			break
		} else if err != nil {
			return err
		}
		if rows += uint64(b.rows); rows > s.Rows {
			return Damaged(Shown(s.Path) + " has blocks of other rows")
		}
		if err := do(&b); err != nil {
			return err
		}
	}
	if rows != s.Rows {
		return Damaged(Shown(s.Path) + " has blocks of other rows")
	}
	return nil
}

// readBlock reads the block that follows. Behind the last one it returns io.EOF.
func (s *Section) readBlock(in *bufio.Reader, b *block) error {
	var head [sha256.Size + 8]byte
	if _, err := io.ReadFull(in, head[:]); err == io.EOF {
		return err
	} else if err != nil {
		return Damaged(Shown(s.Path) + " is cut off")
	}
	*b = block{digest: hash(head[:sha256.Size]), rows: binary.BigEndian.Uint32(head[sha256.Size:]), ends: b.ends[:0]}
	runs := binary.BigEndian.Uint32(head[sha256.Size+4:])
	if b.rows == 0 || b.rows > maxBlock || runs == 0 || runs > b.rows {
		return Damaged(Shown(s.Path) + " has a block that is none")
	}
	left := b.rows
	for range runs {
		var text [5]byte
		if _, err := io.ReadFull(in, text[:]); err != nil {
			return Damaged(Shown(s.Path) + " is cut off")
		}
		r := run{binary.BigEndian.Uint32(text[:]), end(text[4])}
		if r.rows == 0 || r.rows > left || r.end > endCRLF {
			return Damaged(Shown(s.Path) + " has a block that is none")
		}
		left -= r.rows
		b.ends = append(b.ends, r)
	}
	if left != 0 {
		return Damaged(Shown(s.Path) + " has blocks of other rows")
	}
	return nil
}

// Check holds the section to the root that the manifest has of the file: the digests in it
// are then those that were sealed.
func (s *Section) Check(ctx context.Context, workers int) error {
	if s.Format == Link {
		return nil // there is nothing of it in the index
	}
	if s.Bytes > 0 || !s.Format.HasRows() {
		root, err := bytesRoot(s.BytesAt(), s.Bytes)
		if err != nil {
			return err
		}
		if Digest(root) != s.Bottom {
			return Damaged(Shown(s.Path) + " has other digests of bytes")
		}
	}
	if !s.Format.HasRows() {
		if s.Bottom != s.Root {
			return Damaged(Shown(s.Path) + " has other digests of bytes")
		}
		return nil
	}
	file, err := s.checkBlocks()
	if err != nil {
		return err
	}
	if is := s.fileDigest(file); is != s.Digest {
		return Damaged(Shown(s.Path) + " has other blocks than it says")
	}
	root, err := s.rowsRoot(ctx, s.RowsAt(), workers)
	if err == nil && root != s.Root {
		err = Damaged(Shown(s.Path) + " has other rows than the seal")
	}
	return err
}

// checkBlocks makes the blocks again from the digests of the rows, and returns what has hashed
// theirs.
func (s *Section) checkBlocks() (file hasher, err error) {
	in := bufio.NewReaderSize(io.NewSectionReader(s.Source, s.Offset, int64(s.Rows)*sha256.Size), 1<<18)
	room := make([]byte, maxBlock*sha256.Size)
	var made []hash // of what the block says
	tree := newRows(func(done *block) error {
		made = append(made, done.digest)
		return nil
	})
	rows := uint64(0)
	err = s.eachBlock(func(b *block) error {
		digests := room[:int(b.rows)*sha256.Size]
		if _, err := io.ReadFull(in, digests); err != nil {
			return Damaged(Shown(s.Path) + " is cut off")
		}
		made = made[:0]
		err := tree.add(digests, b.ends)
		if rows += uint64(b.rows); err == nil && rows == s.Rows {
			err = tree.close()
		}
		if err == nil && (len(made) != 1 || made[0] != b.digest) {
			err = Damaged(fmt.Sprintf("%s has other digests of rows than it says", Shown(s.Path)))
		}
		return err
	})
	return tree.file, err
}

// fileDigest is the digest of the whole file: of its rows, how their lines end, and, where
// it has them, its bytes. What it is handed has hashed the digests of the blocks.
func (s *Section) fileDigest(h hasher) Digest {
	b := []byte{codes[s.Format], 0}
	if s.BOM {
		b[1] = 1
	}
	b = binary.BigEndian.AppendUint64(b, s.Rows)
	b = binary.BigEndian.AppendUint64(b, uint64(s.Size))
	h.Write(append(b, s.Bottom[:]...))
	return Digest(h.Sum(nil))
}

// bytesRoot is the root over so many digests.
func bytesRoot(digests io.ReaderAt, n uint64) (hash, error) {
	var tree proof.Range
	in := bufio.NewReader(io.NewSectionReader(digests, 0, math.MaxInt64))
	for range n {
		var d hash
		if _, err := io.ReadFull(in, d[:]); err != nil {
			return d, Damaged("it is cut off")
		}
		tree.Add(0, d, nil)
	}
	return tree.Root(), nil
}

// A table is what stands at an index's end.
type table struct {
	Format string    `json:"format"`
	Seal   Digest    `json:"seal"` // the root of the manifest
	Files  []Section `json:"files"`
}

// An Index is the private part of a seal.
type Index struct {
	file  *os.File
	table table
}

// Close closes the file.
func (x *Index) Close() error { return x.file.Close() }

// Sections are the files of the seal, as its manifest has them.
func (x *Index) Sections() []Section { return x.table.Files }

// Section is the i-th; nil where there is no index.
func (x *Index) Section(i int) *Section {
	if x == nil {
		return nil
	}
	return &x.table.Files[i]
}

// OpenIndex opens the index of a seal, whose table it holds to the manifest. What the
// sections say is checked when they are used. Errors are NotFound when there is none,
// Invalid or Unverified.
func OpenIndex(path string, m *Manifest) (*Index, error) {
	f, err := os.Open(path)
	if err != nil {
		fault := FileFault(path, err)
		if e, ok := fault.(*pavise.Error); ok && e.Kind == pavise.NotFound {
			e.Msg = "there is no index " + path
			e.Hint = "it was written beside the seal; sealing the same content once more writes it again"
		}
		return nil, fault
	}
	x := &Index{file: f}
	if err := x.read(m); err != nil {
		f.Close()
		return nil, err
	}
	return x, nil
}

// read reads the table.
func (x *Index) read(m *Manifest) error {
	info, err := x.file.Stat()
	if err != nil {
		return FileFault(x.file.Name(), err)
	}
	noIndex := &pavise.Error{Kind: pavise.Invalid, Msg: x.file.Name() + " is no index of a seal", Hint: "it is the file that pavise dataset seal writes beside the seal"}
	magic := make([]byte, len(IndexMagic))
	if !info.Mode().IsRegular() || ReadFull(x.file, magic, 0) != nil || string(magic) != IndexMagic {
		return noIndex
	}
	var trailer [trailerSize]byte
	tail := info.Size() - trailerSize
	if tail < int64(len(IndexMagic)) || ReadFull(x.file, trailer[:], tail) != nil {
		return Damaged("it is cut off")
	}
	at := binary.BigEndian.Uint64(trailer[:])
	if at < uint64(len(IndexMagic)) || at > uint64(tail) || uint64(tail)-at > maxTable {
		return Damaged("it is cut off, or its end was changed")
	}
	text := make([]byte, uint64(tail)-at)
	if err := ReadFull(x.file, text, int64(at)); err != nil {
		return FileFault(x.file.Name(), err)
	}
	if sum := sha256.Sum256(text); !bytes.Equal(sum[:], trailer[8:]) {
		return Damaged("it is cut off, or its end was changed")
	}
	if x.table, err = parseTable(text); err != nil {
		return err
	}
	return x.fits(m, int64(at))
}

// parseTable reads the table of an index.
func parseTable(text []byte) (t table, err error) {
	if t, err = plainjson.ReadKnown[table](text); err != nil {
		return t, Damaged("its table cannot be read: " + err.Error())
	}
	if t.Format != formatIndex {
		return t, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("the index has the format %.40q, and this build reads %s", t.Format, formatIndex)}
	}
	return t, nil
}

// fits holds the table to the manifest, and to where the digests end.
func (x *Index) fits(m *Manifest, end int64) error {
	other := &pavise.Error{Kind: pavise.Unverified, Msg: x.file.Name() + " is the index of another seal", Hint: "name the seal that it was written beside"}
	if x.table.Seal != m.Root || len(x.table.Files) != len(m.Files) {
		return other
	}
	at := int64(len(IndexMagic))
	for i := range x.table.Files {
		s := &x.table.Files[i]
		if s.File != m.Files[i] {
			return other
		}
		// Each is held to what is left, so that no sum overflows.
		least := uint64(end-at) / sha256.Size
		if s.Offset != at || s.Rows > least || s.Bytes > least-s.Rows || s.Length < int64(s.Rows+s.Bytes)*sha256.Size || s.Length > end-at {
			return Damaged(Shown(s.Path) + " lies outside of it")
		}
		s.Source = x.file
		at += s.Length
	}
	if at != end {
		return Damaged("it holds more than it says")
	}
	return nil
}

// WriteTable writes the end of an index, file by file: the text of a million files is more than
// is held in memory.
func WriteTable(w io.Writer, at int64, root Digest, files []Section) error {
	head, err := json.Marshal(table{formatIndex, root, []Section{}})
	if err != nil {
		return err
	}
	sum, out := sha256.New(), bufio.NewWriterSize(w, 1<<18)
	text := io.MultiWriter(sum, out)
	head, end, _ := bytes.Cut(head, []byte("]"))
	text.Write(head) // out keeps the error of what it is told, and sum has none
	for i := range files {
		line, err := json.Marshal(&files[i])
		if err != nil {
			return err
		}
		if i > 0 {
			text.Write([]byte{','})
		}
		text.Write(line)
	}
	text.Write(append([]byte("]"), end...))
	out.Write(sum.Sum(binary.BigEndian.AppendUint64(nil, uint64(at))))
	return out.Flush()
}

// Finish makes the section that of a file with these rows, whose digests are at hand, and of
// which the last block goes out.
func (s *Section) Finish(ctx context.Context, rows *Rows, digests io.ReaderAt, workers int) error {
	if err := rows.close(); err != nil {
		return err
	}
	s.Rows, s.BOM = rows.rows, rows.bom
	s.Digest = s.fileDigest(rows.file)
	var err error
	s.Root, err = s.rowsRoot(ctx, digests, workers)
	return err
}

// rowsRoot is the root of a file with rows. The bytes of Parquet reach it by the salts of the
// rows; where there are none, it is the root over the bytes, which nothing else would bind.
func (s *Section) rowsRoot(ctx context.Context, digests io.ReaderAt, workers int) (Digest, error) {
	if s.Format == Parquet && s.Rows == 0 {
		return s.Bottom, nil
	}
	root, err := (&places{fileSalts(s.Digest), s.Rows, digests}).root(ctx, workers)
	return Digest(root), err
}

// LinkRoot is the root of a link: what its target is called, as a leaf.
func LinkRoot(target string) Digest { return Digest(proof.Leaf([]byte(target))) }
