package rowseal

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"slices"

	"github.com/pavise/pavise/internal/proof"
)

// NewManifest makes the manifest of the sections, in the order of their paths. It
// reads the digests of all rows, and opens a spill where they are many.
func NewManifest(ctx context.Context, sections []Section, workers int, spill Spill) (*Manifest, error) {
	m := &Manifest{Format: FormatSeal}
	tree := contents{workers: workers, spill: spill}
	for i := range sections {
		m.Files = append(m.Files, sections[i].File)
	}
	if rows := m.Rows(); rows > 0 {
		tree.of(sections, rows)
		root, err := tree.root(ctx)
		if err != nil {
			return nil, err
		}
		m.Contents = &Contents{tree.bits, Digest(root)}
	}
	m.SetRoot()
	return m, nil
}

// SetRoot makes the root that of what the manifest says.
func (m *Manifest) SetRoot() { m.Root = m.summit().root() }

// of makes the tree one of these sections.
func (c *contents) of(sections []Section, rows uint64) {
	var digests []Digest
	for i := range sections {
		s := &sections[i]
		if s.Format.HasRows() {
			digests = append(digests, s.Digest)
			c.rows = append(c.rows, stretch{s.RowsAt(), s.Rows})
		}
	}
	c.salts, c.bits = contentsSalts(digests), bucketBits(rows)
}

// ProvePlace makes the proof of what stands at a row, counted from 0, of the i-th file.
func (x *Index) ProvePlace(ctx context.Context, m *Manifest, i int, row uint64, workers int) (*PlaceProof, error) {
	s := &x.table.Files[i]
	if err := s.Check(ctx, workers); err != nil {
		return nil, err
	}
	made := &PlaceProof{File: s.File, Index: uint64(i), Row: row + 1}
	leaves := make([]hash, len(m.Files))
	for j := range m.Files {
		leaves[j] = m.Files[j].Leaf()
	}
	var err error
	if made.FilePath, err = auditPath(uint64(i), uint64(len(leaves)), func(lo, hi uint64) (hash, error) {
		var tree proof.Range
		for _, leaf := range leaves[lo:hi] {
			tree.Add(0, leaf, nil)
		}
		return tree.Root(), nil
	}); err != nil {
		return nil, err
	}
	tree := places{fileSalts(s.Digest), s.Rows, s.RowsAt()}
	group := row / groupRows
	if made.Path, err = auditPath(group, groups(s.Rows), tree.subtree); err != nil {
		return nil, err
	}
	first := group * groupRows
	digests, err := Some(tree.digests, first, s.Rows, groupRows)
	if err != nil {
		return nil, err
	}
	for j := range uint64(len(digests) / sha256.Size) {
		salt := tree.salts.one(first + j)
		made.Group = append(made.Group, Digest(salted(salt[:], digests[j*sha256.Size:][:sha256.Size])))
		if first+j == row {
			made.Salt = Mark(salt)
		}
	}
	return made, nil
}

// ProveContent makes the proof of which rows there are whose digests begin like this one. It opens
// a spill where the index has many.
func (x *Index) ProveContent(ctx context.Context, m *Manifest, digest Hash, workers int, spill Spill) (*ContentProof, error) {
	tree := contents{workers: workers, spill: spill}
	tree.of(x.table.Files, m.Rows())
	number := bucketOf(digest[:], tree.bits)
	made := &ContentProof{Salt: Mark(tree.salts.one(number)), Path: make(trail, tree.bits), List: []Mark{}}
	tree.leaf = func(bucket uint64, leaf hash) {
		if bucket == number^1 {
			made.Path[0] = leaf
		}
	}
	tree.node = func(level int, n uint64, root hash) {
		if level < tree.bits && n == number>>level^1 {
			made.Path[level] = root
		}
	}
	root, err := tree.root(ctx)
	if err != nil {
		return nil, err
	}
	if Digest(root) != m.Contents.Root {
		return nil, Damaged("its rows do not make the seal's tree of contents")
	}
	rows, err := tree.different(ctx, tree.rows, number)
	for _, row := range rows {
		made.List = append(made.List, row.under(&made.Salt))
	}
	marks(made.List)
	made.List = rising(made.List)
	return made, err
}

// Find calls found with the number, from 1, of every row of the digest.
func (s *Section) Find(ctx context.Context, digest Hash, found func(row uint64)) error {
	const part = 1 << 15
	for at := uint64(0); at < s.Rows; at += part {
		if err := ctx.Err(); err != nil {
			return err
		}
		digests, err := Some(s.RowsAt(), at, s.Rows, part)
		if err != nil {
			return err
		}
		for i := 0; i < len(digests); i += sha256.Size {
			if bytes.Equal(digests[i:i+sha256.Size], digest[:]) {
				found(at + uint64(i/sha256.Size) + 1)
			}
		}
	}
	return nil
}

// Some reads at most so many digests from one on.
func Some(r io.ReaderAt, from, end, most uint64) ([]byte, error) {
	if from >= end {
		return nil, nil
	}
	b := make([]byte, min(most, end-from)*uint64(len(hash{})))
	return b, ReadFull(r, b, int64(from)*int64(len(hash{})))
}

// Begins returns the number, from 0, of the first row of each block, and of the row behind
// the last, and the digests of the blocks.
func (s *Section) Begins() (first []uint64, digests []Hash, err error) {
	first = []uint64{0}
	err = s.eachBlock(func(b *block) error {
		first, digests = append(first, first[len(first)-1]+uint64(b.rows)), append(digests, b.digest)
		return nil
	})
	return first, digests, err
}

// sorted reports whether a list rises.
func sorted(list []Mark) bool {
	return slices.IsSortedFunc(list, func(a, b Mark) int {
		return cmp.Or(bytes.Compare(a[:], b[:]), -1) // none is there twice
	})
}

// ErrNoContent says that a proof cannot be checked without the row.
var ErrNoContent = errors.New("the row is needed")
