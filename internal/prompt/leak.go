package prompt

import (
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
// an answer is compared with when the request itself is gone.
type Prints struct{ set map[uint64]struct{} }

// NewPrints takes the prints of texts. It is nil when there are too few words for one.
func NewPrints(texts ...string) *Prints {
	p := &Prints{set: map[uint64]struct{}{}}
	for _, text := range texts {
		w := words{}
		each := func(h uint64) {
			if len(p.set) < maxPrints {
				p.set[h] = struct{}{}
			}
		}
		w.add(text, each)
		w.add(" ", each)
	}
	if len(p.set) == 0 {
		return nil
	}
	return p
}

// Size returns how many bytes the prints take in memory, at most.
func (p *Prints) Size() int {
	if p == nil {
		return 0
	}
	return 32 * len(p.set)
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
	run    int // prints in a row that are in the message
	seen   map[uint64]struct{}
}

// add reads text, and reports whether it is a leak by now.
func (l *leakWatch) add(text string) (leaks bool) {
	l.words.add(text, func(h uint64) {
		if _, ok := l.prints.set[h]; !ok {
			l.run = 0
			return
		}
		if l.seen == nil {
			l.seen = map[uint64]struct{}{}
		}
		l.seen[h] = struct{}{}
		l.run++
		all := len(l.prints.set)
		leaks = leaks || l.run >= leakRun-gram+1 || all >= minPrints && len(l.seen)*100 >= all*leakShare
	})
	return leaks
}
