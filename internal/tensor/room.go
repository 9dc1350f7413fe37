package tensor

import "sync"

// A Room is the memory of one exchange, used again by the next one: what is read into
// it costs no allocation once it has grown to what exchanges need. It belongs to
// whoever has taken it with TakeRoom, one goroutine at a time, until Free. A nil *Room
// is none: everything is allocated anew, and nobody has to give anything back.
type Room struct {
	scanner scanner
	request Request
	inputs  []Tensor
	wanted  []string
	raw     []rawWay

	boolSlab  slab[bool]
	uintSlab  slab[uint64]
	intSlab   slab[int64] // shapes, too
	floatSlab slab[float64]
	byteSlab  slab[[]byte]
	octetSlab slab[byte]

	answer answer             // the response; its ints are nil while there is none
	sent   []byte             // of Request.Encode
	names  [knownNames]string // those seen last, so that a name that comes again is no new string
	next   int                // where the next one goes
}

const (
	knownNames = 16
	// keptElements bounds what a slab keeps from one exchange to the next, in
	// elements: more than almost all need, and little enough for a thousand rooms.
	keptElements = 16 << 10
	keptText     = 256 << 10 // the same for text, in bytes
)

var rooms = sync.Pool{New: func() any { return new(Room) }}

// TakeRoom returns a room, which is to be given back with Free.
func TakeRoom() *Room { return rooms.Get().(*Room) }

// Free gives the room back. Everything that was read into it, the response to a request of
// it, and every message that a request of it was encoded to, is no longer valid; the
// strings are.
func (r *Room) Free() {
	if r != nil {
		r.empty()
		rooms.Put(r)
	}
}

// empty takes everything back.
func (r *Room) empty() {
	clear(r.inputs)
	clear(r.wanted)
	r.inputs, r.wanted, r.raw = r.inputs[:0], r.wanted[:0], r.raw[:0]
	r.scanner, r.request, r.answer = scanner{}, Request{}, answer{}
	r.boolSlab.reset()
	r.uintSlab.reset()
	r.intSlab.reset()
	r.floatSlab.reset()
	r.byteSlab.reset()
	r.octetSlab.reset()
	if cap(r.sent) > keptText {
		r.sent = nil
	}
}

// newRequest is where a request is read to.
func (r *Room) newRequest() *Request {
	if r == nil {
		return new(Request)
	}
	r.request = Request{room: r}
	return &r.request
}

// tensors is where inputs are read to; keepTensors has them kept.
func (r *Room) tensors() []Tensor {
	if r == nil {
		return nil
	}
	return r.inputs[:0]
}

func (r *Room) keepTensors(list []Tensor) {
	if r != nil {
		r.inputs = list
	}
}

// lists is where outputs asked for are read to; keep has them kept.
func (r *Room) lists() ([]string, []rawWay) {
	if r == nil {
		return nil, nil
	}
	return r.wanted[:0], r.raw[:0]
}

func (r *Room) keep(names []string, raw []rawWay) {
	if r != nil {
		r.wanted, r.raw = names, raw
	}
}

// text is where a request is encoded to; keepText has it kept.
func (r *Room) text() []byte {
	if r == nil {
		return nil
	}
	return r.sent[:0]
}

func (r *Room) keepText(text []byte) {
	if r != nil {
		r.sent = text
	}
}

// name returns b as a string, the same one when it was seen before.
func (r *Room) name(b []byte) string {
	if r == nil {
		return string(b)
	}
	for _, known := range r.names {
		if known == string(b) {
			return known
		}
	}
	s := string(b)
	r.names[r.next] = s
	r.next = (r.next + 1) % knownNames
	return s
}

func (r *Room) bools() *slab[bool] {
	if r == nil {
		return nil
	}
	return &r.boolSlab
}

func (r *Room) uints() *slab[uint64] {
	if r == nil {
		return nil
	}
	return &r.uintSlab
}

func (r *Room) ints() *slab[int64] {
	if r == nil {
		return nil
	}
	return &r.intSlab
}

func (r *Room) floats() *slab[float64] {
	if r == nil {
		return nil
	}
	return &r.floatSlab
}

func (r *Room) bytes() *slab[[]byte] {
	if r == nil {
		return nil
	}
	return &r.byteSlab
}

func (r *Room) octets() *slab[byte] {
	if r == nil {
		return nil
	}
	return &r.octetSlab
}

// An answer is the memory of one response that is read, for as long as anybody has it:
// in one piece for one tensor of a few scores, as almost all are.
type answer struct {
	Response
	one    [1]Tensor
	few    [16]float64
	dims   [8]int64
	floats slab[float64] // on few
	ints   slab[int64]   // on dims
}

// newAnswer is where the response to a request is read to: in the request's room, if it
// has one and no other response lies there. It was the largest thing that was allocated.
func newAnswer(to *Request) *answer {
	var a *answer
	if to != nil && to.room != nil && to.room.answer.ints.all == nil {
		a = &to.room.answer
	} else {
		a = new(answer)
	}
	a.floats.all, a.ints.all = a.few[:0], a.dims[:0]
	return a
}

// ints are where shapes and signed integers are read to.
func (s *scanner) ints() *slab[int64] {
	if s.answer != nil {
		return &s.answer.ints
	}
	return s.lim.Room.ints()
}

// floats are where floats are read to.
func (s *scanner) floats() *slab[float64] {
	if s.answer != nil {
		return &s.answer.floats
	}
	return s.lim.Room.floats()
}

// scanners are those of responses; a request's is in its room.
var scanners = sync.Pool{New: func() any { return new(scanner) }}

// free forgets all that was read, and has the scanner used again.
func (s *scanner) free() {
	*s = scanner{}
	scanners.Put(s)
}

// A slab is memory that is taken piece by piece and given back as a whole. A nil
// slab allocates each piece.
type slab[T any] struct {
	all    []T // len is what was taken
	wanted int // elements in all since the last reset, those that had no room, too
}

// take returns an empty slice with room for n elements.
func (s *slab[T]) take(n int) []T {
	if s == nil {
		return make([]T, 0, n)
	}
	s.wanted += n
	at := len(s.all)
	if n > cap(s.all)-at {
		return make([]T, 0, n)
	}
	s.all = s.all[:at+n]
	return s.all[at : at : at+n]
}

// reset takes everything back, and grows the slab to what was wanted of it.
func (s *slab[T]) reset() {
	clear(s.all)
	s.all = s.all[:0]
	if s.wanted > cap(s.all) && s.wanted <= keptElements {
		s.all = make([]T, 0, s.wanted)
	}
	s.wanted = 0
}
