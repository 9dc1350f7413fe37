package intake

import "sync"

// Papers are room for the texts of an exchange, which serve one exchange after another. They
// are bounded by how many exchanges are under way, and not counted. What an exchange leaves
// on them nobody reads before writing it anew.
type Papers struct {
	Text   []byte // of the request
	Said   []byte // the answer as the caller gets it
	Own    []byte // the model's own, where the caller gets another; of a language model, the request as it gets that
	Plain  []byte // what the record keeps, before it is sealed
	Sealed []byte // the same, sealed
}

const (
	textSize = 4 << 10  // most requests are not longer
	maxPaper = 16 << 10 // a text that took more is left to the garbage collector
)

var papers = sync.Pool{New: func() any { return NewPapers() }}

// NewPapers returns papers that nobody else has.
func NewPapers() *Papers { return &Papers{Text: make([]byte, 0, textSize)} }

// TakePapers returns papers that somebody may have had, and that are to be given back with
// Free.
func TakePapers() *Papers { return papers.Get().(*Papers) }

// Free gives papers to the next exchange. Nil ones are nobody's.
func (p *Papers) Free() {
	if p != nil {
		papers.Put(p)
	}
}

// Room keeps the room that a text took for the next exchange if it is more than there was,
// unless it is large.
func Room(room *[]byte, text []byte) {
	if cap(text) > cap(*room) && cap(text) <= maxPaper {
		*room = text[:0]
	}
}
