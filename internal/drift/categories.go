package drift

import (
	"encoding/binary"
	"maps"
	"math/bits"
	"math/rand/v2"
	"slices"
)

// Categories are the texts that a baseline's column held.
type Categories struct {
	Names []string // those with a bin of their own, most frequent first
	Open  bool     // the baseline had so many different ones that a new one is no news
	salt  salt
	words []Word      // of each of Names
	table [512]uint8  // one more than the bin of a name, at the slot of its hash or behind
	seen  [128]uint64 // a Bloom filter of those without
}

// The bins of Categories behind those of Names.
const (
	maxNames = MaxBins - 2
	restBin  = MaxBins - 2 // seen, and rare
	newBin   = MaxBins - 1 // never seen
	maxRare  = 512         // of which the filter takes one in ten thousand for another
	maxName  = 64          // bytes of a name with a bin
)

// NewCategories makes bins for what a baseline held, with how often. Whole says that these are
// all that it held.
func NewCategories(counts map[string]int, whole bool) *Categories {
	names := make([]string, 0, len(counts))
	for name := range counts {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		if counts[a] != counts[b] {
			return counts[b] - counts[a]
		}
		if a < b {
			return -1
		}
		return 1
	})
	c := &Categories{}
	rare := 0
	for _, name := range names {
		if len(c.Names) < maxNames && len(name) <= maxName {
			c.Names = append(c.Names, name)
			continue
		}
		rare++
		a, b := spots([]byte(name))
		for range 4 {
			c.seen[a>>6&127] |= 1 << (a & 63)
			a += b
		}
	}
	c.Open = !whole || rare > maxRare
	c.lay()
	return c
}

// often is how many times each text of a baseline is there, so that all of it is both what bins are
// made of and what is counted in them.
const often = 5

// CountedCategories makes the bins of a baseline's texts, and what it has in them. More is how many
// of its values are texts that are not among those counted: none, where these are whole.
//
// Where texts are rare it is chance which of them came, and which came often enough for a bin of
// their own. Who holds others to the same rows finds that those come less now, and that there are
// new ones, although nothing moved. So bins are made of one half of the values then, drawn one by
// one, and the other half is what lies in them (data splitting: D. R. Cox, Biometrika 62, 1975).
// Halved says that it is so; what else there is of the column is to be halved with it ([Half]).
func CountedCategories(counts map[string]int, more uint64, whole bool) (c *Categories, base *Histogram, halved bool) {
	bins, held := counts, counts
	if halved = !whole || len(counts) > maxNames; !halved {
		for text, n := range counts {
			halved = halved || n < often || len(text) > maxName
		}
	}
	if halved {
		bins, held = map[string]int{}, map[string]int{}
		rng := rand.New(rand.NewPCG(0x68616c66, 0x66)) // the same rows give the same bins
		for _, text := range slices.Sorted(maps.Keys(counts)) {
			n := heads(rng, counts[text])
			if n > 0 {
				bins[text] = n
			}
			held[text] = counts[text] - n
		}
		more = uint64(Half(uint32(more)))
	}
	c, base = NewCategories(bins, whole), &Histogram{}
	for text, n := range held {
		base.Bins[c.Place([]byte(text))] += uint32(n)
	}
	base.Bins[restBin] += uint32(more)
	return c, base, halved
}

// Half is what is counted of a column's values that are not texts, where its texts were halved.
func Half(n uint32) uint32 { return n/2 + n&1 }

// heads is how often a coin that is thrown n times shows its head.
func heads(rng *rand.Rand, n int) (k int) {
	for ; n >= 64; n -= 64 {
		k += bits.OnesCount64(rng.Uint64())
	}
	return k + bits.OnesCount64(rng.Uint64()&(1<<n-1))
}

// spots are two hashes (FNV-1a, and it mixed once more).
func spots(b []byte) (one, two uint64) {
	one = 14695981039346656037
	for _, c := range b {
		one = (one ^ uint64(c)) * 1099511628211
	}
	two = one ^ one>>29
	two *= 0xbf58476d1ce4e5b9
	return one ^ one>>32, two>>17 | 1
}

// Count counts a text.
func (c *Categories) Count(h *Histogram, text []byte) { h.Bins[c.Place(text)]++ }

// Place is the bin of a text.
func (c *Categories) Place(text []byte) uint8 {
	w := WordOf(text)
	if w.Size > maxName {
		return c.rare(text)
	}
	for at := c.slot(text, w); ; at++ {
		bin := uint(c.table[at&511]) - 1
		if bin >= uint(len(c.words)) { // there is none
			return c.rare(text)
		}
		if c.words[bin] == w && (w.Size <= WordBytes || c.Names[bin] == string(text)) {
			return uint8(bin)
		}
	}
}

// PlaceWord is Place of a text that is its word.
func (c *Categories) PlaceWord(w *Word) uint8 {
	// Nearly always it is the first that is looked at.
	if bin := uint(c.table[w.sum(&c.salt)>>55&511]) - 1; bin < uint(len(c.words)) && c.words[bin] == *w {
		return uint8(bin)
	}
	var room [WordBytes]byte
	return c.Place(w.Append(room[:0]))
}

// rare is the bin of a text that has none of its own.
func (c *Categories) rare(text []byte) uint8 {
	bin := uint8(restBin)
	if a, b := spots(text); !c.Open {
		for range 4 {
			if c.seen[a>>6&127]>>(a&63)&1 == 0 {
				bin = newBin
			}
			a += b
		}
	}
	return bin
}

// A salt is odd numbers, one for eight bytes of a name. Whoever does not know them can choose no texts
// that are looked for in one place (Dietzfelbinger and others, A reliable randomized algorithm for
// the closest-pair problem, 1997: the highest bits of a sum of products with such numbers).
type salt [maxName / 8]uint64

// slot is where a text of at most maxName bytes is looked for.
func (c *Categories) slot(text []byte, w Word) uint64 {
	h := w.sum(&c.salt)
	for at, i := 8, 2; at < w.Size-8; at, i = at+8, i+1 { // between the ends
		h += binary.LittleEndian.Uint64(text[at:]) * c.salt[i&(len(c.salt)-1)]
	}
	return h >> 55
}

// lay lays the table. It looks for a salt by which no two names are looked for in one place, of
// which there is one in seventy where names are many; without one some are found a step behind.
func (c *Categories) lay() {
	c.words = make([]Word, len(c.Names))
	for bin, name := range c.Names {
		c.words[bin] = WordOf([]byte(name))
	}
	for range 1000 {
		c.table = [len(c.table)]uint8{}
		for i := range c.salt {
			c.salt[i] = rand.Uint64() | 1
		}
		alone := true
		for bin, name := range c.Names {
			at := c.slot([]byte(name), c.words[bin])
			for ; c.table[at&511] != 0; at++ {
				alone = false
			}
			c.table[at&511] = uint8(bin + 1)
		}
		if alone {
			return
		}
	}
}
