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
	seats  []seat   // room for a run, used again, as the other two
	counts []uint32
	leaves []hash
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

// scan calls do with the digest of each row.
func scan(ctx context.Context, rows []stretch, do func(digest []byte) error) error {
	room := make([]byte, 1<<18)
	for _, s := range rows {
		for at := uint64(0); at < s.rows; {
			if err := ctx.Err(); err != nil {
				return err
			}
			n := min(s.rows-at, uint64(len(room)/sha256.Size))
			if err := ReadFull(s.digests, room[:n*sha256.Size], int64(at)*sha256.Size); err != nil {
				return err
			}
			for d := room[:n*sha256.Size]; len(d) > 0; d = d[sha256.Size:] {
				if err := do(d[:sha256.Size]); err != nil {
					return err
				}
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
	err := scan(ctx, rows, func(digest []byte) error {
		if cell := bucketOf(digest, depth+width); cell>>width == prefix {
			counts[cell&(1<<width-1)]++
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
	c.seats = slices.Grow(c.seats[:0], int(held))
	c.counts = slices.Grow(c.counts[:0], int(buckets))[:buckets]
	clear(c.counts)
	if held > 0 {
		err := scan(ctx, rows, func(digest []byte) error {
			i := bucketOf(digest, c.bits) - first // which wraps around where it is less
			if i >= buckets {
				return nil
			}
			if uint64(len(c.seats)) == held {
				return errMoved
			}
			c.seats = append(c.seats, seat{uint32(i), Mark(digest[sha256.Size-saltSize:])})
			c.counts[i]++
			return nil
		})
		if err != nil {
			return err
		}
	}
	if uint64(len(c.seats)) < held {
		return errMoved
	}
	ends := arrange(c.seats, c.counts)
	c.leaves = slices.Grow(c.leaves[:0], int(buckets))[:buckets]
	const piece = 1 << 12
	err := Each(ctx, c.workers, (int(buckets)+piece-1)/piece, func(n int) error {
		from, to := n*piece, min((n+1)*piece, int(buckets))
		salt := make([]byte, (to-from)*saltSize)
		c.salts.fill(salt, first+uint64(from))
		room := newBucket()
		for at := from; at < to; at += bucketsAtOnce {
			for i := at; i < min(at+bucketsAtOnce, to); i++ {
				room.add(salt[(i-from)*saltSize:][:saltSize], c.seats[ends[i]-c.counts[i]:ends[i]])
			}
			room.flush(c.leaves[at:])
		}
		return nil
	})
	if err == nil {
		c.add(first, c.leaves)
	}
	return err
}

// arrange sorts rows by their buckets, in place, and returns where each bucket ends (McIlroy,
// Bostic and McIlroy, "Engineering radix sort", 1993: American flag sort).
func arrange(seats []seat, counts []uint32) (ends []uint32) {
	ends = make([]uint32, len(counts)) // while the buckets are filled, how far they are
	sum := uint32(0)
	for i, n := range counts {
		ends[i] = sum
		sum += n
	}
	sum = 0
	for i, n := range counts {
		for sum += n; ends[i] < sum; ends[i]++ {
			s := seats[ends[i]]
			for s.bucket != uint32(i) {
				to := &ends[s.bucket]
				s, seats[*to] = seats[*to], s
				*to++
			}
			seats[ends[i]] = s
		}
	}
	return ends
}

// crowded adds a bucket of very many rows, which must be the same few over and over.
func (c *contents) crowded(ctx context.Context, rows []stretch, number uint64) error {
	different, err := c.different(ctx, rows, number)
	if err != nil {
		return err
	}
	salt := c.salts.one(number)
	room, leaf := newBucket(), make([]hash, 1)
	room.add(salt[:], different)
	room.flush(leaf)
	c.add(number, leaf)
	return nil
}

// different returns the different rows of a bucket.
func (c *contents) different(ctx context.Context, rows []stretch, number uint64) (list []seat, err error) {
	set := map[Mark]bool{}
	err = scan(ctx, rows, func(digest []byte) error {
		if tail := Mark(digest[sha256.Size-saltSize:]); bucketOf(digest, c.bits) == number && !set[tail] {
			set[tail] = true
			list = append(list, seat{tail: tail})
		}
		return nil
	})
	return list, err
}

// add takes the hashes of the buckets that follow, which are from first on.
func (c *contents) add(first uint64, leaves []hash) {
	node := func(k int, root proof.Hash) {
		if c.node != nil {
			c.node(k, c.seen[k], root)
		}
		c.seen[k]++
	}
	for i, leaf := range leaves {
		if c.leaf != nil {
			c.leaf(first+uint64(i), leaf)
		}
		c.tree.Add(0, leaf, node)
	}
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
func (b *bucket) list(salt []byte, rows []seat) []Mark {
	const few = 64
	b.marks = b.marks[:0]
	for i := range rows {
		m := b.marker.mark(salt, rows[i].tail[:])
		at := len(b.marks)
		b.marks = append(b.marks, m)
		for ; at > 0 && len(rows) <= few && bytes.Compare(m[:], b.marks[at-1][:]) < 0; at-- {
			b.marks[at] = b.marks[at-1]
		}
		b.marks[at] = m
	}
	if len(rows) > few {
		slices.SortFunc(b.marks, func(x, y Mark) int { return bytes.Compare(x[:], y[:]) })
	}
	b.marks = slices.Compact(b.marks)
	return b.marks
}

// add has the entry of a bucket hashed with others.
func (b *bucket) add(salt []byte, rows []seat) {
	b.text = appendBucket(b.text, salt, b.list(salt, rows))
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
