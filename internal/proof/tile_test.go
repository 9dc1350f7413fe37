package proof

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestTilePathRoundTrip: each tile has one path, and that path names it alone.
func TestTilePathRoundTrip(t *testing.T) {
	for path, tile := range map[string]Tile{
		"tile/0/000":                                    {Width: 256},
		"tile/0/000.p/1":                                {Width: 1},
		"tile/7/000.p/255":                              {Level: 7, Width: 255},
		"tile/1/999":                                    {Level: 1, N: 999, Width: 256},
		"tile/1/x001/000":                               {Level: 1, N: 1000, Width: 256},
		"tile/0/x001/x234/067":                          {N: 1234067, Width: 256},
		"tile/entries/x001/x234/067":                    {Entries: true, N: 1234067, Width: 256},
		"tile/entries/x001/x234/067.p/17":               {Entries: true, N: 1234067, Width: 17},
		"tile/0/x036/x028/x797/x018/x963/967":           {N: maxNumber, Width: 256},
		"tile/entries/x036/x028/x797/x018/x963/967.p/9": {Entries: true, N: maxNumber, Width: 9},
	} {
		if got := tile.String(); got != path {
			t.Errorf("%+v is at %s, want %s", tile, got, path)
		}
		got, err := ParseTile(path)
		if err != nil || got != tile {
			t.Errorf("%s is %+v, %v, want %+v", path, got, err, tile)
		}
	}
	for seed := range uint64(20_000) {
		rng := rand.New(rand.NewPCG(seed, 1))
		tile := Tile{Level: rng.IntN(maxLevel + 1), N: rng.Uint64() & maxNumber >> rng.IntN(55), Width: 1 + rng.IntN(256)}
		if tile.Entries = rng.IntN(4) == 0; tile.Entries {
			tile.Level = 0
		}
		if got, err := ParseTile(tile.String()); err != nil || got != tile {
			t.Fatalf("seed %d: %s is %+v, %v, want %+v", seed, tile, got, err, tile)
		}
	}
}

// TestTilePathThatIsNone lists paths that name no tile of any log.
func TestTilePathThatIsNone(t *testing.T) {
	for _, path := range []string{
		"", "tile", "tile/", "tile/0", "tile/0/", "tile//000", "/tile/0/000", "tile/0/000/", "tile/0//000", "tiles/0/000", "TILE/0/000",
		"tile/8/000", "tile/63/000", "tile/64/000", "tile/00/000", "tile/-1/000", "tile/+0/000", "tile/0x0/000", "tile/ 0/000", "tile/entry/000", "tile/Entries/000", "tile/data/000",
		"tile/0/0", "tile/0/00", "tile/0/0000", "tile/0/1000", "tile/0/x000", "tile/0/x000/000", "tile/0/001/000", "tile/0/x001", "tile/0/x001/x000",
		"tile/0/X001/000", "tile/0/xx01/000", "tile/0/x1/000", "tile/0/x001/0", "tile/0/x0001/000", "tile/0/x1000/000", "tile/0/x001//000",
		"tile/0/-01", "tile/0/+01", "tile/0/ 01", "tile/0/0 1", "tile/0/0a0", "tile/0/1_0", "tile/0/٠٠٠", "tile/0/%30%30%30",
		"tile/0/000.p", "tile/0/000.p/", "tile/0/000.p/0", "tile/0/000.p/00", "tile/0/000.p/01", "tile/0/000.p/256", "tile/0/000.p/1/", "tile/0/000.p/-1", "tile/0/000.p/+1",
		"tile/0/000.p/1.p/1", "tile/0/000.P/1", "tile/0/000.p//1", "tile/0/.p/1", "tile/0/x000.p/1", "tile/0/../000", "tile/0/000\n", "tile/0/000\x00",
		"tile/0/x036/x028/x797/x018/x963/968",      // the first beyond 2⁶³ records
		"tile/0/x072/x057/x594/x037/x927/935",      // whose first record overflows to the last
		"tile/0/x072/x057/x594/x037/x927/936",      // whose first record overflows to none
		"tile/0/x018/x446/x744/x073/x709/x551/615", // 2⁶⁴-1
		"tile/0/x018/x446/x744/x073/x709/x551/616", // 2⁶⁴
		"tile/0/" + strings.Repeat("x999/", 30) + "999",
		"tile/0/" + strings.Repeat("x000/", 30) + "000",
	} {
		if got, err := ParseTile(path); err == nil {
			t.Errorf("%q is %+v, which is at %s", path, got, got)
		}
	}
}

// TestTilesCoverTheTree: the full tiles of a level and its last partial one hold each
// hash of the level once.
func TestTilesCoverTheTree(t *testing.T) {
	for size := range uint64(70_000) {
		for level := range 3 {
			n, width := Partial(level, size)
			if want := size >> (8 * level); n*TileWidth+uint64(width) != want || width < 0 || width >= TileWidth {
				t.Fatalf("size %d, level %d: %d full tiles and %d hashes, want %d", size, level, n, width, want)
			}
		}
	}
	if got := (Tile{N: maxNumber}).First(); got != math.MaxInt64-255 {
		t.Errorf("the last tile begins at %d", got)
	}
}

// FuzzParseTile: a path is the one spelling of its tile, whose hashes can be counted.
func FuzzParseTile(f *testing.F) {
	for _, path := range []string{"tile/0/x001/x234/067", "tile/entries/000.p/17", "tile/7/000.p/255", "tile/0/x072/x057/x594/x037/x927/935"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		tile, err := ParseTile(path)
		if err != nil {
			if tile != (Tile{}) {
				t.Errorf("%+v, %v", tile, err)
			}
			return
		}
		if tile.String() != path {
			t.Errorf("%q and %q are one tile", path, tile)
		}
		if tile.Level < 0 || tile.Level > maxLevel || tile.Width < 1 || tile.Width > TileWidth || tile.Entries && tile.Level > 0 || tile.First()+uint64(tile.Width) > 1<<63 {
			t.Errorf("%q is %+v", path, tile)
		}
	})
}
