package proof

import (
	"fmt"
	"strconv"
	"strings"
)

// The geometry of tlog-tiles: a tile holds 2⁸ hashes, and level L of tiles holds
// the roots of complete subtrees of 2^(8L) leaves.
const (
	TileHeight = 8
	TileWidth  = 1 << TileHeight
)

// A Tile names 1 to 256 hashes of one level of the tree, or as many entries.
type Tile struct {
	Entries bool   // an entry bundle; Level is 0
	Level   int    // 0 to 7: 2^64 leaves are beyond any log
	N       uint64 // which one of its level
	Width   int    // 1 to 256; 256 is a full tile
}

// maxLevel is the highest level of tiles that a log of 2⁶³ records has.
const maxLevel = 63 / TileHeight

// maxNumber is the highest number of a tile: a log of 2⁶³ records has no more at
// any level.
const maxNumber = 1<<(63-TileHeight) - 1

// First returns the index of the tile's first hash within its level.
func (t Tile) First() uint64 { return t.N * TileWidth }

// String returns the tile's path below a log's prefix, without a leading slash:
// tile/0/x001/x234/067 or tile/entries/000.p/17.
func (t Tile) String() string {
	level := strconv.Itoa(t.Level)
	if t.Entries {
		level = "entries"
	}
	path := fmt.Sprintf("%03d", t.N%1000)
	for n := t.N / 1000; n > 0; n /= 1000 {
		path = fmt.Sprintf("x%03d/%s", n%1000, path)
	}
	if t.Width < TileWidth {
		path += ".p/" + strconv.Itoa(t.Width)
	}
	return "tile/" + level + "/" + path
}

// ParseTile reads what String writes, and no other spelling.
func ParseTile(path string) (Tile, error) {
	bad := fmt.Errorf("%.80q is no path of a tile", path)
	rest, ok := strings.CutPrefix(path, "tile/")
	level, rest, ok2 := strings.Cut(rest, "/")
	if !ok || !ok2 || len(path) > 80 {
		return Tile{}, bad
	}
	t := Tile{Width: TileWidth}
	if t.Entries = level == "entries"; !t.Entries {
		n, err := decimal(level)
		if err != nil || n > maxLevel {
			return Tile{}, bad
		}
		t.Level = int(n)
	}
	number, width, partial := strings.Cut(rest, ".p/")
	if partial {
		n, err := decimal(width)
		if err != nil || n < 1 || n >= TileWidth {
			return Tile{}, bad
		}
		t.Width = int(n)
	}
	for group := range strings.SplitSeq(number, "/") {
		n, err := strconv.ParseUint(strings.TrimPrefix(group, "x"), 10, 10)
		if err != nil || t.N > maxNumber/1000 {
			return Tile{}, bad
		}
		t.N = t.N*1000 + n
	}
	if t.N > maxNumber || t.String() != path {
		return Tile{}, bad
	}
	return t, nil
}

// Partial returns the width of the last tile of a level in a tree of so many
// records, and its number; a width of 0 means that the level ends with a full
// tile, or has none.
func Partial(level int, size uint64) (n uint64, width int) {
	hashes := size >> (TileHeight * level)
	return hashes / TileWidth, int(hashes % TileWidth)
}
