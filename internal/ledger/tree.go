package ledger

import (
	"bytes"
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
	stale bool // while opening: the file is missing or wrong from count on
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
// One goroutine flushes at a time; it writes without holding mu, so that a slow
// disk holds nobody else up.
func (t *tree) flush() error {
	t.mu.RLock()
	levels := slices.Clone(t.levels)
	t.mu.RUnlock()
	for i, l := range levels {
		if err := t.flushLevel(i, l); err != nil {
			return err
		}
	}
	return nil
}

func (t *tree) flushLevel(i int, l *level) error {
	t.mu.RLock()
	file, at, tail := l.file, l.count, l.tail
	t.mu.RUnlock()
	if len(tail) == 0 {
		return nil
	}
	if file == nil {
		var err error
		if file, err = t.disk.Open(levelName(i), true); err != nil {
			return fmt.Errorf("create %s: %w", levelName(i), err)
		}
	}
	err := writeHashes(file, at, tail)
	t.mu.Lock()
	defer t.mu.Unlock()
	if l.file = file; err != nil {
		return fmt.Errorf("write %s: %w", levelName(i), err)
	}
	l.count += uint64(len(tail))
	l.tail = slices.Clone(l.tail[len(tail):])
	return nil
}

func writeHashes(f diskFile, at uint64, hashes []tlog.Hash) error {
	buf := make([]byte, 0, len(hashes)*tlog.HashSize)
	for _, h := range hashes {
		buf = append(buf, h[:]...)
	}
	_, err := f.WriteAt(buf, int64(at)*tlog.HashSize)
	return err
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

// adopt takes over from the files, while a log is opened, the hashes that they
// hold already and rightly. From the first that is missing or wrong on, a level
// is kept in memory, for flush to write.
func (t *tree) adopt() {
	for i, l := range t.levels {
		if l.file == nil && !l.stale {
			f, err := t.disk.Open(levelName(i), false)
			l.file, l.stale = f, err != nil
			if err != nil {
				l.file = nil
			}
		}
		if !l.stale && l.holds() {
			l.count += uint64(len(l.tail))
			l.tail = l.tail[:0]
		} else {
			l.stale = true
		}
	}
}

// holds reports whether the file has the tail where it belongs.
func (l *level) holds() bool {
	have := make([]byte, len(l.tail)*tlog.HashSize)
	if n, _ := l.file.ReadAt(have, int64(l.count)*tlog.HashSize); n < len(have) {
		return false
	}
	for i, h := range l.tail {
		if !bytes.Equal(have[i*tlog.HashSize:][:tlog.HashSize], h[:]) {
			return false
		}
	}
	return true
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
