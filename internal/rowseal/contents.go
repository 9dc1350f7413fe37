package rowseal

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"slices"
	"sync"

	"github.com/pavise/pavise/internal/abreast"
	"github.com/pavise/pavise/internal/proof"
)

// A stretch is the digests of some rows, where they lie.
type stretch struct {
	digests io.ReaderAt
	rows    uint64
}

// contents is the tree of rows by what they say. Its memory is the same for any number of rows:
// what is more than it sorts at a time is first dealt out to a file.
type contents struct {
	salts   salts
	bits    int
	rows    []stretch
	workers int
	spill   Spill
	most    uint64                               // rows that are sorted at a time; 0: maxHeld
	leaf    func(bucket uint64, leaf hash)       // is told of each entry, in order; nil: nobody asks
	node    func(level int, n uint64, root hash) // and of each complete subtree

	tree   proof.Range
	seen   []uint64 // complete subtrees, by level
	seats  []seat   // room for a run, used again, as what follows
	sorted []Mark   // of rows, what marks are made of
	ends   []uint32 // where in it each bucket ends
	leaves []byte   // the hashes of buckets
}

// A seat is a row that is being sorted: its bucket, from the first of the run on, and what its
// mark is made of.
type seat struct {
	bucket uint32
	tail   Mark
}

const (
	maxHeld    = 1 << 17 // rows that are sorted at a time: as many as stay in a processor's cache
	maxBuckets = 1 << 18 // that are hashed at a time
	cellBits   = 16      // bits of a digest by which rows are counted
)

// contentsSalts are those of a dataset whose files with rows have these digests.
func contentsSalts(files []Digest) salts {
	h := sha256.New()
	h.Write([]byte{tagDataset})
	for _, d := range files {
		h.Write(d[:])
	}
	return newSalts(hash(h.Sum(nil)), labelContents)
}

// bucketOf returns which bucket a digest belongs to.
func bucketOf(digest []byte, bits int) uint64 {
	return binary.BigEndian.Uint64(digest) >> (64 - bits)
}

// rooms are what digests are read into.
var rooms = sync.Pool{New: func() any { return new([1 << 17]byte) }}

// scan calls do with the digests of all rows, some at a time.
func scan(ctx context.Context, rows []stretch, do func(digests []byte) error) error {
	room := rooms.Get().(*[1 << 17]byte)
	defer rooms.Put(room)
	for _, s := range rows {
		for at := uint64(0); at < s.rows; {
			if err := ctx.Err(); err != nil {
				return err
			}
			n := min(s.rows-at, uint64(len(room)/sha256.Size))
			if err := ReadFull(s.digests, room[:n*sha256.Size], int64(at)*sha256.Size); err != nil {
				return err
			}
			if err := do(room[:n*sha256.Size]); err != nil {
				return err
			}
			at += n
		}
	}
	return nil
}

// root returns the root of the tree.
func (c *contents) root(ctx context.Context) (hash, error) {
	c.most = cmp.Or(c.most, maxHeld)
	c.tree, c.seen = proof.Range{}, make([]uint64, c.bits+1)
	err := c.below(ctx, c.rows, 0, 0)
	return c.tree.Root(), err
}

// A batch is some cells, one behind the other, and how many rows they have.
type batch struct {
	cell, cells uint64
	rows        uint64
}

// below adds the buckets whose numbers begin with so many bits of a prefix, and whose rows are
// among these.
func (c *contents) below(ctx context.Context, rows []stretch, prefix uint64, depth int) error {
	width := min(cellBits, c.bits-depth)
	under := c.bits - depth - width // bits of a bucket's number behind its cell's
	counts := make([]uint64, 1<<width)
	err := scan(ctx, rows, func(digests []byte) error {
		for ; len(digests) > 0; digests = digests[sha256.Size:] {
			if cell := bucketOf(digests, depth+width); cell>>width == prefix {
				counts[cell&(1<<width-1)]++
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	batches := c.batches(counts, under)
	var apart []stretch // the rows of each
	if depth == 0 && len(batches) > 1 {
		spill, err := c.spill()
		if err != nil {
			return err
		}
		defer spill.Close()
		if apart, err = c.deal(ctx, spill, batches, width); err != nil {
			return err
		}
	}
	for i, b := range batches {
		of := rows
		if apart != nil {
			of = apart[i : i+1]
		}
		first := (prefix<<width | b.cell) << under
		switch {
		case c.whole(b.rows, b.cells, under):
			err = c.run(ctx, of, first, b.cells<<under, b.rows)
		case under > 0:
			err = c.below(ctx, of, prefix<<width|b.cell, depth+width)
		default:
			err = c.crowded(ctx, of, first)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// whole reports whether so many rows and cells are few enough to be sorted at a time.
func (c *contents) whole(rows, cells uint64, under int) bool {
	return rows <= c.most && cells<<under <= maxBuckets
}

// batches puts cells together, as many as are sorted at a time.
func (c *contents) batches(counts []uint64, under int) (all []batch) {
	for cell, n := range counts {
		if last := len(all) - 1; last >= 0 && c.whole(all[last].rows+n, all[last].cells+1, under) {
			all[last].rows, all[last].cells = all[last].rows+n, all[last].cells+1
		} else {
			all = append(all, batch{uint64(cell), 1, n})
		}
	}
	return all
}

// run adds the buckets from first on, so many, which have so many rows together.
func (c *contents) run(ctx context.Context, rows []stretch, first, buckets, held uint64) error {
	if err := c.sort(ctx, rows, first, buckets, held); err != nil {
		return err
	}
	c.leaves = slices.Grow(c.leaves[:0], int(buckets)*sha256.Size)[:buckets*sha256.Size]
	// Pieces end where complete subtrees do, so that most of them are folded beside each other.
	whole, end := first/pieceBuckets, first+buckets
	err := Each(ctx, c.workers, int((end-1)/pieceBuckets-whole)+1, func(n int) error {
		from := max(first, (whole+uint64(n))*pieceBuckets)
		c.piece(first, from, min(end, (whole+uint64(n)+1)*pieceBuckets))
		return nil
	})
	if err == nil {
		c.add(first)
	}
	return err
}

const (
	bucketLevel  = 9
	pieceBuckets = 1 << bucketLevel // that one worker hashes at a time
)

// sort puts what marks are made of in the order of the buckets, and says where each ends.
func (c *contents) sort(ctx context.Context, rows []stretch, first, buckets, held uint64) error {
	c.seats = slices.Grow(c.seats[:0], int(held))
	c.ends = slices.Grow(c.ends[:0], int(buckets)+1)[:buckets+1]
	clear(c.ends)
	if held > 0 {
		err := scan(ctx, rows, func(digests []byte) error {
			for ; len(digests) > 0; digests = digests[sha256.Size:] {
				i := bucketOf(digests, c.bits) - first // which wraps around where it is less
				if i >= buckets {
					continue
				}
				if uint64(len(c.seats)) == held {
					return errMoved
				}
				c.seats = append(c.seats, seat{uint32(i), tailOf(digests[:sha256.Size])})
				c.ends[i+1]++
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if uint64(len(c.seats)) < held {
		return errMoved
	}
	// Where each bucket begins, which moves to its end as its rows are put there.
	for i := range buckets {
		c.ends[i+1] += c.ends[i]
	}
	c.sorted = slices.Grow(c.sorted[:0], int(held))[:held]
	for i := range c.seats {
		at := &c.ends[c.seats[i].bucket]
		c.sorted[*at] = c.seats[i].tail
		*at++
	}
	return nil
}

// piece hashes the buckets from one up to another, of a run that begins with first. Where they are a
// whole piece and nobody asks for what is in it, the first leaf becomes the root over them.
func (c *contents) piece(first, from, to uint64) {
	b := buckets.Get().(*bucket)
	b.salt = slices.Grow(b.salt[:0], int(to-from)*saltSize)[:(to-from)*saltSize]
	c.salts.fill(b.salt, from)
	leaves := c.leaves[(from-first)*sha256.Size : (to-first)*sha256.Size]
	begin := uint32(0)
	if from > first {
		begin = c.ends[from-first-1]
	}
	out := leaves[:0]
	for i := range to - from {
		end := c.ends[from-first+i]
		b.add((*Mark)(b.salt[i*saltSize:]), c.sorted[begin:end])
		begin = end
		if len(b.ends) == bucketsAtOnce {
			out = b.flush(out)
		}
	}
	b.flush(out)
	if c.folds(from, to) {
		b.folder.fold(leaves)
	}
	buckets.Put(b) // but not where something panics, and leaves half of its work
}

// folds reports whether the buckets from one up to another are folded by who hashes them.
func (c *contents) folds(from, to uint64) bool {
	return to-from == pieceBuckets && c.leaf == nil && c.node == nil
}

// crowded adds a bucket of very many rows, which must be the same few over and over.
func (c *contents) crowded(ctx context.Context, rows []stretch, number uint64) error {
	different, err := c.different(ctx, rows, number)
	if err != nil {
		return err
	}
	salt := Mark(c.salts.one(number))
	b := newBucket()
	b.add(&salt, different)
	c.leaves = b.flush(c.leaves[:0])
	c.add(number)
	return nil
}

// different returns what the marks of the different rows of a bucket are made of.
func (c *contents) different(ctx context.Context, rows []stretch, number uint64) (list []Mark, err error) {
	set := map[Mark]bool{}
	err = scan(ctx, rows, func(digests []byte) error {
		for ; len(digests) > 0; digests = digests[sha256.Size:] {
			if tail := tailOf(digests[:sha256.Size]); bucketOf(digests, c.bits) == number && !set[tail] {
				set[tail] = true
				list = append(list, tail)
			}
		}
		return nil
	})
	return list, err
}

// add takes the hashes of the buckets that follow, which are from first on.
func (c *contents) add(first uint64) {
	node := func(k int, root proof.Hash) {
		if c.node != nil {
			c.node(k, c.seen[k], root)
		}
		c.seen[k]++
	}
	end := first + uint64(len(c.leaves)/sha256.Size)
	for at := first; at < end; {
		leaf := hash(c.leaves[(at-first)*sha256.Size:])
		if c.folds(at, min(end, at/pieceBuckets*pieceBuckets+pieceBuckets)) {
			c.tree.Add(bucketLevel, leaf, node)
			at += pieceBuckets
			continue
		}
		if c.leaf != nil {
			c.leaf(at, leaf)
		}
		c.tree.Add(0, leaf, node)
		at++
	}
}

// A bucket is room to make the entries of buckets in. It is for one goroutine.
type bucket struct {
	marks   []Mark
	salts   []*Mark  // of each bucket that waits
	ends    []int    // where in marks each ends
	text    []byte   // their entries, one behind the other
	entries [][]byte // the same, cut
	salt    []byte   // room for those of a piece
	folder  folder
}

// bucketsAtOnce is how many buckets are hashed together.
const bucketsAtOnce = 128

func newBucket() *bucket { return &bucket{folder: newFolder()} }

// buckets have room that was used.
var buckets = sync.Pool{New: func() any { return newBucket() }}

// add has the entry of a bucket hashed with others.
func (b *bucket) add(salt *Mark, rows []Mark) {
	for i := range rows {
		b.marks = append(b.marks, rows[i].under(salt))
	}
	b.salts, b.ends = append(b.salts, salt), append(b.ends, len(b.marks))
}

// flush appends the hashes of the entries that were added, in their order.
func (b *bucket) flush(out []byte) []byte {
	marks(b.marks)
	from := 0
	b.text, b.entries = b.text[:0], b.entries[:0]
	b.text = slices.Grow(b.text, len(b.ends)*(1+saltSize)+len(b.marks)*saltSize)
	for i, end := range b.ends {
		at := len(b.text)
		b.text = appendBucket(b.text, b.salts[i][:], rising(b.marks[from:end]))
		b.entries = append(b.entries, b.text[at:])
		from = end
	}
	out = abreast.Sum(out, b.entries...)
	clear(b.salts) // they are of others
	b.marks, b.salts, b.ends = b.marks[:0], b.salts[:0], b.ends[:0]
	return out
}

// rising sorts marks, in place, and returns the different ones.
func rising(list []Mark) []Mark {
	const few = 32
	if len(list) > few {
		slices.SortFunc(list, func(x, y Mark) int { return bytes.Compare(x[:], y[:]) })
		return slices.Compact(list)
	}
	// Each takes the place that those before it leave: no branch has to be guessed.
	var begins [few]uint64
	var place [few]uint8
	var from [few]Mark
	for i := range list {
		from[i] = list[i]
		begin := binary.BigEndian.Uint64(list[i][:])
		behind := uint8(0)
		for j, other := range begins[:i] {
			before := uint8(0)
			if other <= begin {
				before = 1
			}
			behind += before
			place[j] += 1 - before
		}
		begins[i], place[i] = begin, behind
	}
	for i := range list {
		list[place[i]] = from[i]
	}
	for i := 1; i < len(list); i++ { // of those that begin alike, which are hardly ever two
		for at := i; at > 0 && list[at].less(&list[at-1]); at-- {
			list[at], list[at-1] = list[at-1], list[at]
		}
	}
	return slices.Compact(list)
}

// appendBucket spells the entry of a bucket as the tree hashes it.
func appendBucket(text, salt []byte, list []Mark) []byte {
	text = append(append(text, tagLeaf), salt...)
	for i := range list {
		text = append(text, list[i][:]...)
	}
	return text
}
