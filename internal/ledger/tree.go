package ledger

import (
	"fmt"
	"io"
	"math/bits"
	"slices"
	"sync"

	"golang.org/x/mod/sumdb/tlog"
)

// The tile geometry of C2SP tlog-tiles: a tile holds 2^8 hashes, and level L of
// tiles holds the roots of complete subtrees of 2^(8L) leaves.
const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
)

// A tree is the RFC 6962 Merkle tree over the entries, kept as tile hashes in
// one file per level: tile N of level L is bytes [8192N, 8192N+32W) of hash.L.
//
// The syncer goroutine alone grows it; anybody may read.
type tree struct {
	disk disk

	mu sync.RWMutex // guards what follows
	// frontier[k] is the root of the complete subtree of 2^k leaves that ends
	// the tree, where bit k of size is set (a compact range).
	frontier [64]tlog.Hash
	size     uint64
	levels   []*level
}

// A level is the hashes of one level of tiles: a file, and behind it those not
// yet written to it. The files are derived from the entries, so an error while
// writing one delays it and loses nothing.
type level struct {
	file  diskFile // nil until the first flush
	count uint64   // hashes in the file
	tail  []tlog.Hash
}

// add appends a leaf. The caller holds mu.
func (t *tree) add(leaf tlog.Hash) {
	h := leaf
	t.keep(0, h)
	k := 0
	for ; t.size>>k&1 == 1; k++ {
		h = tlog.NodeHash(t.frontier[k], h)
		if (k+1)%tileHeight == 0 {
			t.keep((k+1)/tileHeight, h)
		}
	}
	t.frontier[k] = h
	t.size++
}

// keep appends a hash to level l. The caller holds mu.
func (t *tree) keep(l int, h tlog.Hash) {
	if l == len(t.levels) {
		t.levels = append(t.levels, &level{})
	}
	t.levels[l].tail = append(t.levels[l].tail, h)
}

func levelName(l int) string { return fmt.Sprintf("hash.%d", l) }

// root returns the tree head. The caller holds mu or is the only writer.
func (t *tree) root() tlog.Hash {
	if t.size == 0 {
		h, _ := tlog.TreeHash(0, nil) // the hash of the empty tree; needs no reader
		return h
	}
	k := bits.TrailingZeros64(t.size)
	h := t.frontier[k]
	for k++; k < 64; k++ {
		if t.size>>k&1 == 1 {
			h = tlog.NodeHash(t.frontier[k], h)
		}
	}
	return h
}

// flush writes what the files do not hold yet. An error leaves it for next time.
func (t *tree) flush() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, l := range t.levels {
		if len(l.tail) == 0 {
			continue
		}
		if l.file == nil {
			f, err := t.disk.Open(levelName(i), true)
			if err != nil {
				return fmt.Errorf("create %s: %w", levelName(i), err)
			}
			l.file = f
		}
		buf := make([]byte, 0, len(l.tail)*tlog.HashSize)
		for _, h := range l.tail {
			buf = append(buf, h[:]...)
		}
		if _, err := l.file.WriteAt(buf, int64(l.count)*tlog.HashSize); err != nil {
			return fmt.Errorf("write %s: %w", levelName(i), err)
		}
		l.count += uint64(len(l.tail))
		l.tail = l.tail[:0]
	}
	return nil
}

// sync makes the hash files durable.
func (t *tree) sync() error {
	t.mu.RLock()
	levels := slices.Clone(t.levels)
	t.mu.RUnlock()
	for i, l := range levels {
		if l.file == nil {
			continue
		}
		if err := l.file.Sync(); err != nil {
			return fmt.Errorf("sync %s: %w", levelName(i), err)
		}
	}
	return nil
}

func (t *tree) close() {
	for _, l := range t.levels {
		if l.file != nil {
			l.file.Close()
		}
	}
}

// openTree reads back a tree of the given size from its files. It fails when
// they hold too little; whether what they hold is right is for the caller to
// say, by comparing root with a signed checkpoint.
func openTree(d disk, size uint64) (*tree, error) {
	t := &tree{disk: d}
	for l := 0; size>>(tileHeight*l) > 0; l++ {
		f, err := d.Open(levelName(l), false)
		if err != nil {
			t.close()
			return nil, err
		}
		t.levels = append(t.levels, &level{file: f, count: size >> (tileHeight * l)})
		have, err := f.Size()
		if err != nil || uint64(have)/tlog.HashSize < t.levels[l].count {
			t.close()
			return nil, fmt.Errorf("%s holds %d bytes, too few for %d records", levelName(l), have, size)
		}
	}
	t.size = size
	for k := range 64 {
		if size>>k&1 == 0 {
			continue
		}
		h, err := t.node(k, size>>k-1)
		if err != nil {
			t.close()
			return nil, err
		}
		t.frontier[k] = h
	}
	return t, nil
}

// node returns the root of the complete subtree of 2^k leaves numbered n, which
// is folded from the 2^(k mod 8) tile hashes beneath it. The caller holds mu.
func (t *tree) node(k int, n uint64) (tlog.Hash, error) {
	l, width := k/tileHeight, uint64(1)<<(k%tileHeight)
	if l >= len(t.levels) {
		return tlog.Hash{}, fmt.Errorf("tree of %d records has no level %d", t.size, l)
	}
	hs, err := t.levels[l].read(n*width, width)
	if err != nil {
		return tlog.Hash{}, fmt.Errorf("read %s: %w", levelName(l), err)
	}
	for len(hs) > 1 {
		for i := range len(hs) / 2 {
			hs[i] = tlog.NodeHash(hs[2*i], hs[2*i+1])
		}
		hs = hs[:len(hs)/2]
	}
	return hs[0], nil
}

// read returns hashes [from, from+n) of a level.
func (l *level) read(from, n uint64) ([]tlog.Hash, error) {
	if from+n > l.count+uint64(len(l.tail)) {
		return nil, io.ErrUnexpectedEOF
	}
	hs := make([]tlog.Hash, n)
	inFile := uint64(0)
	if from < l.count {
		inFile = min(n, l.count-from)
		buf := make([]byte, inFile*tlog.HashSize)
		if _, err := l.file.ReadAt(buf, int64(from)*tlog.HashSize); err != nil {
			return nil, err
		}
		for i := range inFile {
			copy(hs[i][:], buf[i*tlog.HashSize:])
		}
	}
	for i := inFile; i < n; i++ {
		hs[i] = l.tail[from+i-l.count]
	}
	return hs, nil
}

// leaf returns the hash of one entry, and whether the tree has grown that far.
func (t *tree) leaf(index uint64) (tlog.Hash, bool, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if index >= t.size {
		return tlog.Hash{}, false, nil
	}
	h, err := t.node(0, index)
	return h, true, err
}

// prove returns the inclusion proof of an entry in the tree's first size leaves.
func (t *tree) prove(index, size uint64) (tlog.RecordProof, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return tlog.ProveRecord(int64(size), int64(index), tlog.HashReaderFunc(t.stored))
}

// rootAt returns the root the tree had at an earlier size.
func (t *tree) rootAt(size uint64) (tlog.Hash, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return tlog.TreeHash(int64(size), tlog.HashReaderFunc(t.stored))
}

// stored answers for package tlog's own numbering of the hashes.
func (t *tree) stored(indexes []int64) ([]tlog.Hash, error) {
	hs := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		k, n := tlog.SplitStoredHashIndex(x)
		h, err := t.node(k, uint64(n))
		if err != nil {
			return nil, err
		}
		hs[i] = h
	}
	return hs, nil
}
