package ledger

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"sync"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/disk"
	"github.com/pavise/pavise/internal/proof"
)

// The tile geometry of C2SP tlog-tiles.
const (
	tileHeight = proof.TileHeight
	tileWidth  = proof.TileWidth
)

// A tree is the RFC 6962 Merkle tree over the entries, kept as tile hashes in
// one file per level: tile N of level L is bytes [8192N, 8192N+32W) of hash.L.
//
// The syncer goroutine alone grows it; anybody may read.
type tree struct {
	disk disk.Directory

	mu     sync.RWMutex // guards what follows
	rng    proof.Range
	levels []*level

	folded folded // has a lock of its own
}

// folded remembers roots of complete subtrees that lie between two levels of tiles.
// Those of one tile are a third of what a proof costs, and the proofs of records that
// are near each other share most of them.
type folded struct {
	mu    sync.Mutex // guards roots
	roots map[subtree]tlog.Hash
}

// A subtree is that of the 2^k leaves numbered n.
type subtree struct {
	k int
	n uint64
}

// maxFolded bounds what is remembered: some 4 MB.
const maxFolded = 1 << 16

func (f *folded) get(s subtree) (tlog.Hash, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h, ok := f.roots[s]
	return h, ok
}

func (f *folded) put(s subtree, h tlog.Hash) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.roots == nil {
		f.roots = map[subtree]tlog.Hash{}
	}
	if len(f.roots) >= maxFolded {
		clear(f.roots)
	}
	f.roots[s] = h
}

// forget drops all: while a log is opened, the files may still be put right.
func (f *folded) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.roots)
}

func (t *tree) size() uint64 { return t.rng.Size() }

// A level is the hashes of one level of tiles: a file, and behind it those not
// yet written to it. The files are derived from the entries, so an error while
// writing one delays it and loses nothing.
type level struct {
	file  disk.File   // nil until the first flush
	count uint64      // hashes in the file
	tail  []tlog.Hash // behind them: those not yet in the file, or not yet synced
	stale bool        // while opening: the file is missing or wrong from count on
}

// add appends a leaf. The caller holds mu.
func (t *tree) add(leaf tlog.Hash) {
	t.keep(0, leaf)
	t.rng.Add(0, leaf, t.completed)
}

// completed keeps the roots of complete subtrees that tiles hold.
func (t *tree) completed(k int, root tlog.Hash) {
	if k%tileHeight == 0 {
		t.keep(k/tileHeight, root)
	}
}

// keep appends a hash to level l. The caller holds mu.
func (t *tree) keep(l int, h tlog.Hash) {
	if l == len(t.levels) {
		t.levels = append(t.levels, &level{})
	}
	t.levels[l].tail = append(t.levels[l].tail, h)
}

// root returns the tree head. The caller holds mu or is the only writer.
func (t *tree) root() tlog.Hash { return t.rng.Root() }

// begin makes the tree that of the first size leaves, as the hash files have it:
// a start in the middle, before anything was added. Whether the files are right
// is for a root to say.
func (t *tree) begin(size uint64) error {
	for l := 0; size>>(l*tileHeight) > 0; l++ {
		f, err := t.disk.Open(disk.LevelName(l), false)
		if err != nil {
			return fmt.Errorf("open %s: %w", disk.LevelName(l), err)
		}
		count := size >> (l * tileHeight)
		t.levels = append(t.levels, &level{file: f, count: count})
		if long, err := f.Size(); err != nil || uint64(long) < count*tlog.HashSize {
			return fmt.Errorf("%s ends too early", disk.LevelName(l))
		}
	}
	return t.rng.Set(size, t.node)
}

// flush makes the files hold, durably, what they do not hold yet. An error leaves all
// of it for next time: after a sync that failed, what was written counts as never
// written, for the kernel takes it for clean and would not write it again. One goroutine
// flushes at a time; it writes without holding mu, so that a slow disk holds nobody
// else up.
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
		if file, err = t.disk.Open(disk.LevelName(i), true); err != nil {
			return fmt.Errorf("create %s: %w", disk.LevelName(i), err)
		}
	}
	err := writeHashes(file, at, tail)
	if err == nil {
		err = file.Sync()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if l.file = file; err != nil {
		return fmt.Errorf("write %s: %w", disk.LevelName(i), err)
	}
	l.count += uint64(len(tail))
	l.tail = slices.Clone(l.tail[len(tail):])
	return nil
}

func writeHashes(f disk.File, at uint64, hashes []tlog.Hash) error {
	buf := make([]byte, 0, len(hashes)*tlog.HashSize)
	for _, h := range hashes {
		buf = append(buf, h[:]...)
	}
	_, err := f.WriteAt(buf, int64(at)*tlog.HashSize)
	return err
}

// settle makes the hashes of the records from an index on, which are given as the
// records themselves have them, durable once more, before the records are taken away:
// nothing could make them again. All other levels can be made from them. A file that
// holds others is Unverified.
func (t *tree) settle(from uint64, leaves []tlog.Hash) error {
	name := disk.LevelName(0)
	t.mu.RLock()
	l := t.levels[0]
	file, count := l.file, l.count
	have, err := l.read(from, uint64(len(leaves)))
	t.mu.RUnlock()
	switch {
	case err != nil:
		return disk.Fault("read "+name, err)
	case from+uint64(len(leaves)) > count:
		return &pavise.Error{Kind: pavise.Unavailable, Msg: name + " does not hold the hashes of what is to be pruned yet", Hint: "try again in a second"}
	case !slices.Equal(have, leaves):
		return &pavise.Error{
			Kind: pavise.Unverified, Msg: fmt.Sprintf("%s does not hold the hashes of records %d to %d", name, from, from+uint64(len(leaves))-1),
			Hint: "run pavise ledger doctor; nothing was pruned",
		}
	}
	if err := writeHashes(file, from, leaves); err != nil {
		return disk.Fault("write "+name, err)
	}
	if err := file.Sync(); err != nil {
		return disk.Fault("sync "+name, err)
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
			f, err := t.disk.Open(disk.LevelName(i), false)
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
		return tlog.Hash{}, fmt.Errorf("tree of %d records has no level %d", t.size(), l)
	}
	if width > 1 {
		if root, ok := t.folded.get(subtree{k, n}); ok {
			return root, nil
		}
	}
	hs, err := t.levels[l].read(n*width, width)
	if err != nil {
		return tlog.Hash{}, fmt.Errorf("read %s: %w", disk.LevelName(l), err)
	}
	if width == 1 {
		return hs[0], nil
	}
	root := proof.Fold(hs)
	t.folded.put(subtree{k, n}, root)
	return root, nil
}

// read returns hashes [from, from+n) of a level.
func (l *level) read(from, n uint64) ([]tlog.Hash, error) {
	if total := l.count + uint64(len(l.tail)); from > total || n > total-from {
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
	if index >= t.size() {
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

// proveTree returns the consistency proof from the tree of the first old leaves to
// that of the first size.
func (t *tree) proveTree(old, size uint64) (tlog.TreeProof, error) {
	if old == 0 || old == size {
		return nil, nil
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	return tlog.ProveTree(int64(size), int64(old), tlog.HashReaderFunc(t.stored))
}

// rootAt returns the root of the tree of the first size leaves.
func (t *tree) rootAt(size uint64) (tlog.Hash, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var r proof.Range
	err := r.Set(size, t.node)
	return r.Root(), err
}

// tile returns the hashes of a tile, back to back.
func (t *tree) tile(tile proof.Tile) ([]byte, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if tile.Level >= len(t.levels) {
		return nil, io.ErrUnexpectedEOF
	}
	hashes, err := t.levels[tile.Level].read(tile.First(), uint64(tile.Width))
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, len(hashes)*tlog.HashSize)
	for _, h := range hashes {
		b = append(b, h[:]...)
	}
	return b, nil
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
