package drift

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// MaxGroups is how many groups Counts tell apart.
const MaxGroups = 32

// Nothing is the place of what is not there, or no finite number. All other places are bins.
const Nothing = MaxBins

const (
	slots    = MaxBins + 1 // of a feature: its bins, and nothing
	mostBits = 27          // of a count: those of all groups together have 32 at most
)

// Counts are what came of a model's features in a window, by groups of those whom it came from.
// A count is a byte as long as it fits. What does not is packed, feature by feature and group by
// group, in as many bits as the largest count of that group takes, so that memory grows with the
// logarithm of what came. Of more than a hundred million in one bin all counts of a feature are
// halved: its shares stay, and what came before counts for less. What is odd counts as nothing. It is for one goroutine.
type Counts struct {
	features int
	fresh    [MaxGroups][]uint8 // by group: the slots of each feature; nil: none
	packed   []packed           // by feature; nil: none
	groups   uint32             // of which anything came
}

// NewCounts makes room for features. Groups take theirs when something comes of them.
func NewCounts(features int) *Counts { return &Counts{features: features} }

// Groups are those of which anything came, one bit each.
func (c *Counts) Groups() uint32 { return c.groups }

// Open makes room for what comes of a group, before it is counted.
func (c *Counts) Open(group uint8) {
	if c.fresh[group] == nil {
		c.fresh[group] = make([]uint8, c.features*slots)
		c.groups |= 1 << group
	}
}

// Count counts values of a feature, each by its place and its group, which is open.
func (c *Counts) Count(feature int, groups, places []uint8) {
	from := feature * slots
	groups = groups[:len(places)]
	for i, place := range places {
		fresh := c.fresh[groups[i]&(MaxGroups-1)]
		at := from + int(place)
		n := fresh[at] + 1
		if fresh[at] = n; n == 0 {
			c.carry(feature, groups[i], place)
		}
	}
}

// carry packs a feature's fresh counts of a group, one of which has run over: that one alone
// where it fits, as it does of what is always the same.
func (c *Counts) carry(feature int, group, place uint8) {
	if c.packed != nil && c.packed[feature].raise(group, place, 1<<8) {
		return
	}
	h := Histogram{}
	fresh := c.fresh[group][feature*slots:][:slots]
	h.addFresh(fresh)
	clear(fresh)
	if place == Nothing {
		h.Nulls += 1 << 8
	} else {
		h.Bins[place] += 1 << 8
	}
	c.Put(feature, group, &h)
}

// Put adds what was counted of a feature elsewhere.
func (c *Counts) Put(feature int, group uint8, h *Histogram) {
	if c.packed == nil {
		c.packed = make([]packed, c.features)
	}
	c.groups |= 1 << group
	c.packed[feature].add(group, h)
}

// Total is what came of a feature from all groups but some.
func (c *Counts) Total(feature int, without uint32) (h Histogram) {
	if c.packed != nil {
		c.packed[feature].total(without, &h)
	}
	for groups := c.groups &^ without; groups != 0; groups &= groups - 1 {
		if fresh := c.fresh[bits.TrailingZeros32(groups)]; fresh != nil {
			h.addFresh(fresh[feature*slots:][:slots])
		}
	}
	return h
}

// Add adds what others counted, group by group.
func (c *Counts) Add(o *Counts) {
	for f := range c.features {
		for groups := o.groups; groups != 0; groups &= groups - 1 {
			g := bits.TrailingZeros32(groups)
			h := o.Total(f, ^(uint32(1) << g))
			c.Put(f, uint8(g), &h)
		}
	}
}

// Fold adds what others counted to one group.
func (c *Counts) Fold(o *Counts, into uint8) {
	for f := range c.features {
		h := o.Total(f, 0)
		c.Put(f, into, &h)
	}
}

// Append spells what came of a feature, from whomever: what is nothing, a zero for what is odd, and
// the bins.
func (c *Counts) Append(b []byte, feature int) []byte {
	h := c.Total(feature, 0)
	b = append(binary.AppendUvarint(b, uint64(h.Nulls)), 0)
	for _, n := range h.Bins {
		b = binary.AppendUvarint(b, uint64(n))
	}
	return b
}

// Read adds what Append spelled to what came of a feature, as of a group, and returns what is
// behind it.
func (c *Counts) Read(b []byte, feature int, group uint8) (behind []byte, ok bool) {
	ok = true
	next := func() uint32 {
		v, n := binary.Uvarint(b)
		if n <= 0 || v > math.MaxUint32 {
			ok = false
			return 0
		}
		b = b[n:]
		return uint32(v)
	}
	h := Histogram{Nulls: next(), Odd: next()}
	for i := range h.Bins {
		h.Bins[i] = next()
	}
	if ok {
		c.Put(feature, group, &h)
	}
	return b, ok
}

func (h *Histogram) addFresh(fresh []uint8) {
	for i, n := range fresh[:MaxBins] {
		h.Bins[i] += uint32(n)
	}
	h.Nulls += uint32(fresh[Nothing])
}

// packed are a feature's counts by groups: of each its number, how many bits a count takes, and
// the counts; behind all of them a word, so that whole ones can be read at each place.
type packed []byte

const behind = 8

// blockOf is how many bytes a group takes whose counts have so many bits.
func blockOf(width int) int { return 2 + (slots*width+7)/8 }

// find returns where a group's counts begin, and how many bits they have; no bits: it has none.
func (p packed) find(group uint8) (at, width int) {
	for at+behind < len(p) {
		if width = int(p[at+1]); p[at] == group {
			return at, width
		}
		at += blockOf(width)
	}
	return at, 0
}

// raise raises a count of a group by so much, if it fits.
func (p packed) raise(group, place uint8, by uint64) bool {
	at, width := p.find(group)
	if width == 0 {
		return false
	}
	bit, mask := int(place)*width, uint64(1)<<width-1
	b := p[at+2+bit>>3:]
	word := binary.LittleEndian.Uint64(b)
	n := word>>(bit&7)&mask + by
	if n > mask {
		return false
	}
	binary.LittleEndian.PutUint64(b, word&^(mask<<(bit&7))|n<<(bit&7))
	return true
}

// unpack adds the counts of a block.
func unpack(block []byte, width int, h *Histogram) {
	mask := uint64(1)<<width - 1
	at := 0
	next := func() uint32 {
		v := binary.LittleEndian.Uint64(block[2+at>>3:]) >> (at & 7) & mask
		at += width
		return uint32(v)
	}
	for i := range h.Bins {
		h.Bins[i] += next()
	}
	h.Nulls += next()
}

// pack writes the counts of a block over what is there.
func pack(block []byte, width int, h *Histogram) {
	clear(block[2:blockOf(width)])
	at := 0
	next := func(n uint32) {
		b := block[2+at>>3:]
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)|uint64(n)<<(at&7))
		at += width
	}
	for _, n := range h.Bins {
		next(n)
	}
	next(h.Nulls)
}

// largest is a histogram's largest count.
func (h *Histogram) largest() uint32 {
	n := h.Nulls
	for _, b := range h.Bins {
		n = max(n, b)
	}
	return n
}

// halve halves all counts.
func (h *Histogram) halve() {
	for i := range h.Bins {
		h.Bins[i] >>= 1
	}
	h.Nulls >>= 1
}

func (p packed) total(without uint32, h *Histogram) {
	for at := 0; at+behind < len(p); {
		width := int(p[at+1])
		if without>>p[at]&1 == 0 {
			unpack(p[at:], width, h)
		}
		at += blockOf(width)
	}
}

// add adds counts to those of a group: where they are, if they fit, otherwise with all others
// around them anew.
func (p *packed) add(group uint8, more *Histogram) {
	h := *more
	h.Nulls, h.Odd = h.Nulls+h.Odd, 0
	for h.largest()>>mostBits != 0 {
		h.halve()
		p.halve()
	}
	at, width := p.find(group)
	if width > 0 {
		unpack((*p)[at:], width, &h)
	}
	for h.largest()>>mostBits != 0 {
		h.halve()
		p.halve()
	}
	if wide := bits.Len32(h.largest()); wide > width {
		old, next := blockOf(width), blockOf(wide)
		if width == 0 {
			old = 0
		}
		rest := (*p)[min(at+old, len(*p)):]
		q := make(packed, max(len(*p), behind)-old+next)
		copy(q, (*p)[:at])
		q[at], q[at+1] = group, uint8(wide)
		copy(q[at+next:], rest)
		*p, width = q, wide
	}
	if width > 0 {
		pack((*p)[at:], width, &h)
	}
}

// halve halves the counts of all groups.
func (p packed) halve() {
	for at := 0; at+behind < len(p); {
		width := int(p[at+1])
		var h Histogram
		unpack(p[at:], width, &h)
		h.halve()
		pack(p[at:], width, &h)
		at += blockOf(width)
	}
}
