package prompt

import (
	"math/bits"
	"unicode/utf8"
)

const (
	gram      = 8       // words of a print
	maxPrints = 1 << 13 // of one system message; what is behind them is not compared
	leakRun   = 24      // words in a row that are a leak
	leakShare = 60      // or so many hundredths of all prints
	minPrints = 8       // of a message whose share is looked at
)

// Prints are hashes of every eight words in a row of what a request tells the model: what
// an answer is compared with when the request itself is gone. A stream holds them as long as
// it lasts, so they are small: 32 bits each, by which one of four billion other runs of eight
// words is taken for one of a message's.
type Prints struct {
	table []uint32 // a power of two of places, at least a quarter of them 0: none; a print stands at its hash or behind
	n     int      // how many there are
}

// NewPrints takes the prints of texts. It is nil when there are too few words for one.
func NewPrints(texts ...string) *Prints {
	var all []uint64
	each := func(h uint64) {
		if len(all) < maxPrints {
			all = append(all, h)
		}
	}
	for _, text := range texts {
		w := words{}
		w.add(text, each)
		w.add(" ", each)
	}
	if len(all) == 0 {
		return nil
	}
	p := &Prints{table: make([]uint32, 1<<bits.Len(uint(len(all)+len(all)/3)))}
	for _, h := range all {
		if at, ok := p.find(h); !ok {
			p.table[at] = printOf(h)
			p.n++
		}
	}
	return p
}

// printOf is what is kept of a hash.
func printOf(h uint64) uint32 { return max(uint32(h>>32), 1) }

// find is where a hash stands, or would stand.
func (p *Prints) find(h uint64) (at int, ok bool) {
	mask := len(p.table) - 1
	for at = int(h) & mask; p.table[at] != 0; at = (at + 1) & mask {
		if p.table[at] == printOf(h) {
			return at, true
		}
	}
	return at, false
}

// Size returns how many bytes the prints take in memory, at most.
func (p *Prints) Size() int {
	if p == nil {
		return 0
	}
	return 4*len(p.table) + 64
}

// A words reader hashes words, and eight of them in a row.
type words struct {
	hash uint64 // of the word at hand
	last [gram]uint64
	n    int
}

// add reads text, and calls each with the print that each word ends.
func (w *words) add(text string, each func(print uint64)) {
	for i := 0; i < len(text); i++ {
		c := lowered(text[i])
		if isAlnum(c) || c >= utf8.RuneSelf {
			if w.hash == 0 {
				w.hash = 14695981039346656037
			}
			w.hash = (w.hash ^ uint64(c)) * 1099511628211
			continue
		}
		if c == '\'' || w.hash == 0 {
			continue
		}
		w.last[w.n%gram] = w.hash
		w.n++
		w.hash = 0
		if w.n >= gram {
			h := uint64(0)
			for j := range gram {
				h = (h ^ w.last[(w.n+j)%gram]) * 0x9E3779B97F4A7C15
				h ^= h >> 32
			}
			each(h)
		}
	}
}

// A leakWatch compares an answer with prints.
type leakWatch struct {
	prints *Prints
	words  words
	run    int      // prints in a row that are in the message
	seen   []uint64 // where in the table those stand that were there, as bits; nil: none was
	all    int      // how many those are
}

// add reads text, and reports whether it is a leak by now.
func (l *leakWatch) add(text string) (leaks bool) {
	l.words.add(text, func(h uint64) { leaks = l.meets(h) || leaks })
	return leaks
}

// meets takes a print of the answer, and reports whether that is a leak by now.
func (l *leakWatch) meets(h uint64) bool {
	at, ok := l.prints.find(h)
	if !ok {
		l.run = 0
		return false
	}
	if l.seen == nil {
		l.seen = make([]uint64, (len(l.prints.table)+63)/64)
	}
	if bit := uint64(1) << (at % 64); l.seen[at/64]&bit == 0 {
		l.seen[at/64] |= bit
		l.all++
	}
	l.run++
	return l.run >= leakRun-gram+1 || l.prints.n >= minPrints && l.all*100 >= l.prints.n*leakShare
}
