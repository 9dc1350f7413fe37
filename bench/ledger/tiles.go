package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
)

// The geometry of C2SP tlog-tiles.
const (
	tileWidth = 256
	hashSize  = 32
)

// A tiles serves the directory of an evidence log as the resources of C2SP
// tlog-tiles, the way a web server would have to: it knows no more than that the
// segments are entry bundles back to back and that hash.<L> is the tiles of
// level L back to back. It shares no code with the log.
type tiles struct {
	dir     string
	bundles []place // where each bundle of 256 entries begins
}

// A place is a byte in a segment.
type place struct {
	file   string
	offset int64
}

// openTiles walks the segments once to learn where the bundles begin.
func openTiles(dir string) (*tiles, error) {
	segments, err := filepath.Glob(filepath.Join(dir, "entries-*.seg"))
	if err != nil {
		return nil, err
	}
	slices.Sort(segments)
	t := &tiles{dir: dir}
	for _, s := range segments {
		if err := t.index(s); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// index notes the bundles of one segment, which begins with one.
func (t *tiles) index(segment string) error {
	f, err := os.Open(segment)
	if err != nil {
		return err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<20)
	var offset int64
	for n := 0; ; n++ {
		var head [2]byte
		if _, err := io.ReadFull(r, head[:]); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("%s at byte %d: %w", segment, offset, err)
		}
		if n%tileWidth == 0 {
			t.bundles = append(t.bundles, place{segment, offset})
		}
		skipped, err := r.Discard(int(binary.BigEndian.Uint16(head[:])))
		if err != nil {
			return fmt.Errorf("%s at byte %d: %w", segment, offset, err)
		}
		offset += int64(len(head) + skipped)
	}
}

// ReadCheckpoint returns the signed tree head.
func (t *tiles) ReadCheckpoint(context.Context) ([]byte, error) {
	return os.ReadFile(filepath.Join(t.dir, "checkpoint"))
}

// ReadTile returns the first p hashes of tile i of a level, or all 256 when p is
// 0, and os.ErrNotExist when there are fewer.
func (t *tiles) ReadTile(_ context.Context, level, i uint64, p uint8) ([]byte, error) {
	f, err := os.Open(filepath.Join(t.dir, fmt.Sprintf("hash.%d", level)))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	tile := make([]byte, width(p)*hashSize)
	_, err = f.ReadAt(tile, int64(i)*tileWidth*hashSize)
	if errors.Is(err, io.EOF) {
		return nil, os.ErrNotExist
	}
	return tile, err
}

// ReadEntryBundle returns the first p entries of bundle i, each behind its
// uint16 length, or all 256 when p is 0.
func (t *tiles) ReadEntryBundle(_ context.Context, i uint64, p uint8) ([]byte, error) {
	if i >= uint64(len(t.bundles)) {
		return nil, os.ErrNotExist
	}
	f, err := os.Open(t.bundles[i].file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := bufio.NewReaderSize(io.NewSectionReader(f, t.bundles[i].offset, 1<<62), 1<<18)
	var bundle []byte
	for range width(p) {
		head, err := r.Peek(2)
		if err != nil {
			return nil, os.ErrNotExist
		}
		at := len(bundle)
		bundle = append(bundle, make([]byte, 2+int(binary.BigEndian.Uint16(head)))...)
		if _, err := io.ReadFull(r, bundle[at:]); err != nil {
			return nil, os.ErrNotExist
		}
	}
	return bundle, nil
}

// width is how many hashes or entries a resource holds: p of a partial one, and
// 0 stands for a full one.
func width(p uint8) int {
	if p == 0 {
		return tileWidth
	}
	return int(p)
}

// leafHashes returns the RFC 6962 leaf hashes of a bundle's entries, with
// tessera's parser and transparency-dev's hasher.
func leafHashes(bundle []byte) ([][]byte, error) {
	var b api.EntryBundle
	if err := b.UnmarshalText(bundle); err != nil {
		return nil, err
	}
	hashes := make([][]byte, len(b.Entries))
	for i, entry := range b.Entries {
		hashes[i] = rfc6962.DefaultHasher.HashLeaf(entry)
	}
	return hashes, nil
}
