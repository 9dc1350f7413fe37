package rowseal

import (
	"context"
	"crypto/sha256"
	"io"
	"slices"
	"sync"

	"github.com/pavise/pavise/internal/abreast"
	"github.com/pavise/pavise/internal/proof"
)

// pieceGroups is how many entries of the tree of places one worker hashes at a time: a power
// of two, so that a piece is a complete subtree.
const pieceGroups = 1 << pieceLevel

const pieceLevel = 10

// places is the tree of a file's rows by their places.
type places struct {
	salts   salts
	rows    uint64
	digests io.ReaderAt // of the rows
}

// A grouper makes the entries of groups. It is for one goroutine.
type grouper struct {
	rows   *abreast.Rack // of one group: each row's digest under its salt
	groups *abreast.Rack
	folder folder

	digests, salt []byte // room for those of a piece
	leaves        []byte // the hashes of groups
}

// groupsAtOnce is how many groups are hashed together.
const groupsAtOnce = 32

// groupers have room that was used: a piece has more of it than its hashes.
var groupers = sync.Pool{New: func() any {
	return &grouper{rows: abreast.NewRack(saltedSize, groupRows), groups: abreast.NewRack(1+groupRows*sha256.Size, groupsAtOnce), folder: newFolder()}
}}

// entry writes the salted digests of a group's rows behind into, in the same place where it has room.
func (g *grouper) entry(into, digests, salt []byte) []byte {
	n := len(digests) / sha256.Size
	for i := range n {
		fillSalted(g.rows.Message(i), salt[i*saltSize:][:saltSize], digests[i*sha256.Size:][:sha256.Size])
	}
	return g.rows.Sum(into, n)
}

// hash adds the hash of each of at most so many groups as are hashed together to the leaves.
func (g *grouper) hash(digests, salt []byte) {
	const whole = groupRows * sha256.Size
	n := len(digests) / whole
	for i := range n {
		entry := g.groups.Message(i)
		entry[0] = tagLeaf
		g.entry(entry[:1], digests[i*whole:][:whole], salt[i*groupRows*saltSize:])
	}
	g.leaves = g.groups.Sum(g.leaves, n)
	if rest := digests[n*whole:]; len(rest) > 0 { // the tree's last group
		g.leaves = abreast.Sum(g.leaves, g.entry([]byte{tagLeaf}, rest, salt[n*groupRows*saltSize:]))
	}
}

// piece makes the leaves those of the groups from lo up to hi, which are not too many.
func (p *places) piece(g *grouper, lo, hi uint64) error {
	first, end := lo*groupRows, min(hi*groupRows, p.rows)
	n := int(end - first)
	g.digests = slices.Grow(g.digests[:0], n*sha256.Size)[:n*sha256.Size]
	if err := ReadFull(p.digests, g.digests, int64(first)*sha256.Size); err != nil {
		return err
	}
	g.salt = slices.Grow(g.salt[:0], n*saltSize)[:n*saltSize]
	p.salts.fill(g.salt, first)
	g.leaves = g.leaves[:0]
	for digests, salt := g.digests, g.salt; len(digests) > 0; {
		n := min(groupsAtOnce*groupRows, len(digests)/sha256.Size)
		g.hash(digests[:n*sha256.Size], salt)
		digests, salt = digests[n*sha256.Size:], salt[n*saltSize:]
	}
	return nil
}

// subtree returns the root over the groups from lo up to hi.
func (p *places) subtree(lo, hi uint64) (hash, error) {
	g := groupers.Get().(*grouper)
	defer groupers.Put(g)
	var tree proof.Range
	err := p.add(&tree, g, lo, hi)
	return tree.Root(), err
}

// add adds the groups from lo up to hi to a tree.
func (p *places) add(tree *proof.Range, g *grouper, lo, hi uint64) error {
	for lo < hi {
		next := min(lo+pieceGroups, hi)
		if err := p.piece(g, lo, next); err != nil {
			return err
		}
		if next-lo == pieceGroups {
			tree.Add(pieceLevel, g.folder.fold(g.leaves), nil)
		} else {
			g.folder.add(tree, g.leaves)
		}
		lo = next
	}
	return nil
}

// root returns the root of the tree.
func (p *places) root(ctx context.Context, workers int) (hash, error) {
	n := groups(p.rows)
	whole := n / pieceGroups
	pieces := make([]hash, whole)
	err := Each(ctx, workers, len(pieces), func(i int) (err error) {
		pieces[i], err = p.subtree(uint64(i)*pieceGroups, uint64(i+1)*pieceGroups)
		return err
	})
	if err != nil {
		return hash{}, err
	}
	var tree proof.Range
	for _, root := range pieces {
		tree.Add(pieceLevel, root, nil)
	}
	g := groupers.Get().(*grouper)
	defer groupers.Put(g)
	err = p.add(&tree, g, whole*pieceGroups, n) // what is in no piece
	return tree.Root(), err
}

// ReadFull reads at an offset, all or nothing.
func ReadFull(r io.ReaderAt, b []byte, at int64) error {
	if n, err := r.ReadAt(b, at); n < len(b) {
		if err == io.EOF {
			return io.ErrUnexpectedEOF
		}
		return err
	}
	return nil
}

// fileSalts are those of a file's rows.
func fileSalts(file Digest) salts { return newSalts(hash(file), labelPlaces) }
