package rowseal

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"slices"

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
	leaves []byte
}

// groupsAtOnce is how many groups are hashed together.
const groupsAtOnce = 32

func newGrouper() *grouper {
	return &grouper{rows: abreast.NewRack(saltedSize, groupRows), groups: abreast.NewRack(1+groupRows*sha256.Size, groupsAtOnce)}
}

// entry writes the salted digests of a group's rows behind into, in the same place where it has room.
func (g *grouper) entry(into, digests, salt []byte) []byte {
	n := len(digests) / sha256.Size
	for i := range n {
		fillSalted(g.rows.Message(i), salt[i*saltSize:][:saltSize], digests[i*sha256.Size:][:sha256.Size])
	}
	return g.rows.Sum(into, n)
}

// hash calls take with the hash of each of at most so many groups as are hashed together.
func (g *grouper) hash(digests, salt []byte, take func(hash)) {
	const whole = groupRows * sha256.Size
	g.leaves = g.leaves[:0]
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
	for left := g.leaves; len(left) > 0; left = left[sha256.Size:] {
		take(hash(left[:sha256.Size]))
	}
}

// leaves calls take with the hash of each group from lo up to hi, which are not too many.
func (p *places) leaves(lo, hi uint64, take func(hash)) error {
	first, end := lo*groupRows, min(hi*groupRows, p.rows)
	digests := make([]byte, (end-first)*sha256.Size)
	if err := ReadFull(p.digests, digests, int64(first)*sha256.Size); err != nil {
		return err
	}
	salt := make([]byte, (end-first)*saltSize)
	p.salts.fill(salt, first)
	g := newGrouper()
	for len(digests) > 0 {
		n := min(groupsAtOnce*groupRows, len(digests)/sha256.Size)
		g.hash(digests[:n*sha256.Size], salt, take)
		digests, salt = digests[n*sha256.Size:], salt[n*saltSize:]
	}
	return nil
}

// subtree returns the root over the groups from lo up to hi.
func (p *places) subtree(lo, hi uint64) (hash, error) {
	var tree proof.Range
	for lo < hi {
		next := min(lo+pieceGroups, hi)
		if err := p.leaves(lo, next, func(h hash) { tree.Add(0, h, nil) }); err != nil {
			return hash{}, err
		}
		lo = next
	}
	return tree.Root(), nil
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
	if whole*pieceGroups < n { // else all are in pieces, of which the last group may be short
		err = p.leaves(whole*pieceGroups, n, func(h hash) { tree.Add(0, h, nil) })
	}
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

// A stretch is the digests of a file's rows, where they lie.
type stretch struct {
	digests io.ReaderAt
	rows    uint64
}

// contents is the tree of rows by what they say.
type contents struct {
	salts   salts
	bits    int
	rows    []stretch
	workers int
	most    uint32                               // rows that are sorted at a time; 0: maxHeld
	sorted  []hash                               // room for them, used again: two of it would be as much memory again
	leaf    func(bucket uint64, leaf hash)       // is told of each entry, in order; nil: nobody asks
	node    func(level int, n uint64, root hash) // and of each complete subtree
}

// contentsSalts are those of a dataset whose files with rows have these digests.
func contentsSalts(files []Digest) salts {
	h := sha256.New()
	h.Write([]byte{tagDataset})
	for _, d := range files {
		h.Write(d[:])
	}
	return newSalts(hash(h.Sum(nil)), labelContents)
}

// maxHeld is how many rows are sorted at a time: 128 MiB of them.
const maxHeld = 4 << 20

// bucketOf returns which bucket a digest belongs to.
func bucketOf(digest []byte, bits int) uint64 {
	return binary.BigEndian.Uint64(digest) >> (64 - bits)
}

// scan calls do with the digests of all rows, some at a time.
func (c *contents) scan(ctx context.Context, do func(digests []byte)) error {
	room := make([]byte, 1<<20)
	for _, s := range c.rows {
		for at := uint64(0); at < s.rows; {
			if err := ctx.Err(); err != nil {
				return err
			}
			n := min(s.rows-at, uint64(len(room)/sha256.Size))
			if err := ReadFull(s.digests, room[:n*sha256.Size], int64(at)*sha256.Size); err != nil {
				return err
			}
			do(room[:n*sha256.Size])
			at += n
		}
	}
	return nil
}

// root returns the root of the tree. It goes through the rows once for every maxHeld of
// them, so that memory stays the same.
func (c *contents) root(ctx context.Context) (hash, error) {
	most := cmp.Or(c.most, maxHeld)
	counts := make([]uint32, 1<<c.bits)
	err := c.scan(ctx, func(digests []byte) {
		for ; len(digests) > 0; digests = digests[sha256.Size:] {
			if n := &counts[bucketOf(digests, c.bits)]; *n < most { // what is crowded is crowded
				*n++
			}
		}
	})
	if err != nil {
		return hash{}, err
	}
	var tree proof.Range
	seen := make([]uint64, c.bits+1)
	node := func(k int, root proof.Hash) {
		if c.node != nil {
			c.node(k, seen[k], root)
		}
		seen[k]++
	}
	leaves := make([]hash, 0, 1<<14)
	for lo := 0; lo < len(counts); {
		hi, held := lo, 0
		for hi < len(counts) && held < int(most) && held+int(counts[hi]) <= int(most) && (hi == lo || counts[hi] < most) {
			held += int(counts[hi])
			hi++
		}
		leaves = slices.Grow(leaves[:0], hi-lo)[:hi-lo]
		if hi-lo == 1 && held == int(most) {
			err = c.crowded(ctx, uint64(lo), leaves)
		} else {
			err = c.run(ctx, uint64(lo), counts[lo:hi], held, leaves)
		}
		if err != nil {
			return hash{}, err
		}
		for i, leaf := range leaves {
			if c.leaf != nil {
				c.leaf(uint64(lo+i), leaf)
			}
			tree.Add(0, leaf, node)
		}
		lo = hi
	}
	return tree.Root(), nil
}

// run hashes the buckets from first on, which hold so many rows together.
func (c *contents) run(ctx context.Context, first uint64, counts []uint32, held int, leaves []hash) error {
	ends := make([]uint32, len(counts)) // of the buckets; while they are filled, their beginnings
	sum := uint32(0)
	for i, n := range counts {
		ends[i] = sum
		sum += n
	}
	if cap(c.sorted) < held {
		rows := uint64(0)
		for _, s := range c.rows {
			rows += s.rows
		}
		c.sorted = make([]hash, min(rows, uint64(cmp.Or(c.most, maxHeld)))) // for the largest run
	}
	sorted := c.sorted[:held]
	err := c.scan(ctx, func(digests []byte) {
		for ; len(digests) > 0; digests = digests[sha256.Size:] {
			if i := bucketOf(digests, c.bits) - first; i < uint64(len(ends)) {
				sorted[ends[i]] = hash(digests[:sha256.Size])
				ends[i]++
			}
		}
	})
	if err != nil {
		return err
	}
	const piece = 1 << 12
	return Each(ctx, c.workers, (len(counts)+piece-1)/piece, func(n int) error {
		from, to := n*piece, min((n+1)*piece, len(counts))
		salt := make([]byte, (to-from)*saltSize)
		c.salts.fill(salt, first+uint64(from))
		room := newBucket()
		for at := from; at < to; at += bucketsAtOnce {
			for i := at; i < min(at+bucketsAtOnce, to); i++ {
				room.add(salt[(i-from)*saltSize:][:saltSize], sorted[ends[i]-counts[i]:ends[i]])
			}
			room.flush(leaves[at:])
		}
		return nil
	})
}

// crowded hashes a bucket of very many rows, which must be the same few over and over.
func (c *contents) crowded(ctx context.Context, bucketNumber uint64, leaves []hash) error {
	set := map[hash]bool{}
	err := c.scan(ctx, func(digests []byte) {
		for ; len(digests) > 0; digests = digests[sha256.Size:] {
			if bucketOf(digests, c.bits) == bucketNumber {
				set[hash(digests[:sha256.Size])] = true
			}
		}
	})
	if err != nil {
		return err
	}
	different := make([]hash, 0, len(set))
	for d := range set {
		different = append(different, d)
	}
	salt := c.salts.one(bucketNumber)
	room := newBucket()
	room.add(salt[:], different)
	room.flush(leaves)
	return nil
}

// A bucket is room to make the entries of buckets in.
type bucket struct {
	marker  *marker
	marks   []Mark
	text    []byte   // of the entries that wait to be hashed, one behind the other
	ends    []int    // where in it each ends
	entries [][]byte // the same, cut
	hashes  []byte
}

// bucketsAtOnce is how many buckets are hashed together.
const bucketsAtOnce = 32

func newBucket() *bucket { return &bucket{marker: newMarker()} }

// list makes the marks of the different rows among some, rising. They are good until the next
// call.
func (b *bucket) list(salt []byte, digests []hash) []Mark {
	const few = 64
	b.marks = b.marks[:0]
	for i := range digests {
		m := b.marker.mark(salt, digests[i][:])
		at := len(b.marks)
		b.marks = append(b.marks, m)
		for ; at > 0 && len(digests) <= few && bytes.Compare(m[:], b.marks[at-1][:]) < 0; at-- {
			b.marks[at] = b.marks[at-1]
		}
		b.marks[at] = m
	}
	if len(digests) > few {
		slices.SortFunc(b.marks, func(x, y Mark) int { return bytes.Compare(x[:], y[:]) })
	}
	b.marks = slices.Compact(b.marks)
	return b.marks
}

// add has the entry of a bucket hashed with others.
func (b *bucket) add(salt []byte, digests []hash) {
	b.text = appendBucket(b.text, salt, b.list(salt, digests))
	b.ends = append(b.ends, len(b.text))
}

// flush writes the hashes of the entries that were added, in their order.
func (b *bucket) flush(leaves []hash) {
	from := 0
	b.entries = b.entries[:0]
	for _, end := range b.ends {
		b.entries = append(b.entries, b.text[from:end])
		from = end
	}
	b.hashes = abreast.Sum(b.hashes[:0], b.entries...)
	for i := range b.ends {
		leaves[i] = hash(b.hashes[i*sha256.Size:])
	}
	b.text, b.ends = b.text[:0], b.ends[:0]
}

// appendBucket spells the entry of a bucket as the tree hashes it.
func appendBucket(text, salt []byte, list []Mark) []byte {
	text = append(append(text, tagLeaf), salt...)
	for i := range list {
		text = append(text, list[i][:]...)
	}
	return text
}

// fileSalts are those of a file's rows.
func fileSalts(file Digest) salts { return newSalts(hash(file), labelPlaces) }
