package monitor

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/drift"
	"github.com/pavise/pavise/internal/tensor"
)

// The bounds of what waits to be counted.
const (
	waiting     = 4096      // exchanges; more are dropped, and counted
	oneElements = 16 << 10  // numbers of one: of a longer one some rows are taken
	allElements = 1 << 20   // numbers of all that wait, and eights of bytes of texts: 8 MiB
	oneText     = 256       // bytes of a text: a longer one is told by its beginning
	allText     = 256 << 10 // bytes of the texts of one exchange
	smallRoom   = 1 << 9    // numbers, or eights of bytes, of an exchange that is small
	mostModels  = 64        // that are watched
)

// An Exchange is one that was answered, as the gateway lends it until Hear returns.
type Exchange struct {
	At        time.Time
	Who       pavise.Name // the caller
	Model     pavise.Name
	Version   string            // what answered, in the words of a release's plan
	By        string            // of several models that those words name, the one; empty: they name one
	Signature *tensor.Signature // of the route: the same pointer as long as the route is the same
	Asked     *tensor.Request
	Said      *tensor.Response // as the model gave it, before it was shaped
}

// An item is a copy of an exchange's rows that waits.
type item struct {
	at         time.Time
	who, model pavise.Name
	version    string
	by         string
	layout     *layout
	rows       int
	numbers    []float64    // row after row
	words      []drift.Word // texts, port by port, and row by row in each; of no bytes: nothing
	long       []byte       // those of more than drift.WordBytes; Head of their words is where they begin
	size       int64        // what its room counts for
	pool       *sync.Pool
}

// word returns what a row has in an element of a port of texts.
func (o *item) word(p *port, row, element int) *drift.Word {
	return &o.words[p.at*o.rows+row*p.width+element]
}

// text appends a word's text.
func (o *item) text(to []byte, w *drift.Word) []byte {
	if w.Size <= drift.WordBytes {
		return w.Append(to)
	}
	return append(to, o.longText(w)...)
}

// longText is that of a word which does not say it.
func (o *item) longText(w *drift.Word) []byte { return o.long[w.Head:][:w.Size] }

// say takes a text in.
func (o *item) say(text []byte) {
	w := drift.WordOf(text)
	if w.Size > drift.WordBytes {
		w.Head = uint64(len(o.long))
		o.long = append(o.long, text...)
	}
	o.words = append(o.words, w)
}

// A queue brings answered exchanges to whoever counts them.
type queue struct {
	items chan *item
	held  atomic.Int64 // numbers that wait
	spare [8]sync.Pool // of *item, by how much they have room for: see poolOf
	seed  func(model pavise.Name, port string) [32]byte

	mu    sync.RWMutex
	seats map[pavise.Name]*seat                       // by model; guarded by mu
	near  atomic.Pointer[map[*tensor.Signature]*seat] // the same, by what most have alone
	full  atomic.Uint64                               // exchanges of models for which there is no seat
}

// A seat is what is known of a model where exchanges come in.
type seat struct {
	model     pavise.Name
	signature *tensor.Signature
	layout    *layout
	missed    atomic.Uint64 // exchanges that nobody counted
	heard     atomic.Uint64 // and that somebody did
}

func newQueue(seed func(pavise.Name, string) [32]byte) *queue {
	q := &queue{items: make(chan *item, waiting), seed: seed, seats: map[pavise.Name]*seat{}}
	for i := range q.spare {
		q.spare[i].New = func() any { return new(item) }
	}
	q.bring()
	return q
}

// poolOf says which rooms an exchange takes one of: each kind is for twice as much as the one before.
// A room counts for all that it holds, so that few would wait where short ones took those of long ones.
func poolOf(size int64) int {
	return min(bits.Len64(uint64(max(size-1, 0))/smallRoom), len(queue{}.spare)-1)
}

// Hear takes a copy of an answered exchange, if there is room. It never waits: the caller gets
// the answer meanwhile. On no monitor it does nothing.
func (m *Monitor) Hear(e Exchange) {
	if m == nil {
		return
	}
	q := m.queue
	s := q.seat(&e)
	if s == nil {
		q.full.Add(1)
		return
	}
	rows := e.Asked.Rows()
	from, to := s.layout.someRows(rows)
	size := int64(s.layout.most() * (to - from))
	if to == from || len(q.items) == cap(q.items) {
		s.missed.Add(1)
		return
	}
	if q.held.Add(size) > allElements {
		q.held.Add(-size)
		s.missed.Add(1)
		return
	}
	pool := &q.spare[poolOf(size)]
	o := pool.Get().(*item)
	*o = item{pool: pool, at: e.At, who: e.Who, model: e.Model, version: e.Version, by: e.By, layout: s.layout, rows: to - from, size: size, numbers: o.numbers[:0], words: o.words[:0], long: o.long[:0]}
	o.copy(&e, rows, from)
	o.size = int64(cap(o.numbers) + 3*cap(o.words) + cap(o.long)/8)
	q.held.Add(o.size - size)
	select {
	case q.items <- o:
		s.heard.Add(1)
	default:
		s.missed.Add(1)
		q.free(o)
	}
}

// bytes is how many bytes of each text of a row are taken.
func (l *layout) bytes() int { return min(oneText, allText/max(l.texts, 1)) }

// most is how much a row takes at most.
func (l *layout) most() int { return l.numbers + l.texts*(3+l.bytes()/8) }

// someRows picks the rows that are taken: all, or as many as there is room for, from a place
// that nobody can know.
func (l *layout) someRows(rows int) (from, to int) {
	most := oneElements / max(l.numbers+l.texts, 1)
	if l.texts > 0 {
		most = min(most, allText/(l.texts*l.bytes()))
	}
	if rows <= most {
		return 0, rows
	}
	from = rand.N(rows - most + 1)
	return from, from + most
}

// seat returns what is known of the model; nil when there is no room for one more.
func (q *queue) seat(e *Exchange) *seat {
	if s := (*q.near.Load())[e.Signature]; s != nil && s.model == e.Model {
		return s
	}
	q.mu.RLock()
	s := q.seats[e.Model]
	q.mu.RUnlock()
	if s != nil && s.signature == e.Signature {
		return s
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if s = q.seats[e.Model]; s != nil && s.signature == e.Signature {
		return s
	}
	if s == nil && len(q.seats) >= mostModels {
		return nil
	}
	next := &seat{model: e.Model, signature: e.Signature, layout: newLayout(e.Signature, func(port string) [32]byte { return q.seed(e.Model, port) })}
	if s != nil {
		next.missed.Store(s.missed.Load())
		next.heard.Store(s.heard.Load())
		if s.layout.same(next.layout) && s.layout.reads(next.layout) {
			next.layout = s.layout
		}
	}
	q.seats[e.Model] = next
	q.bring()
	return next
}

// bring has seats be found by their signatures, without a lock and three texts to hash. mu is held.
func (q *queue) bring() {
	near := make(map[*tensor.Signature]*seat, len(q.seats))
	for _, s := range q.seats {
		near[s.signature] = s
	}
	q.near.Store(&near)
}

// counted is how many exchanges of a model somebody counted, and how many nobody did.
func (q *queue) counted(model pavise.Name) (heard, missed uint64) {
	q.mu.RLock()
	defer q.mu.RUnlock()
	if s := q.seats[model]; s != nil {
		return s.heard.Load(), s.missed.Load()
	}
	return 0, 0
}

// leave gives the seat of a model to others.
func (q *queue) leave(model pavise.Name) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.seats, model)
	q.bring()
}

// free gives back the room of an item.
func (q *queue) free(o *item) {
	q.held.Add(-o.size)
	o.pool.Put(o)
}

// copy takes the rows over. What is not as the signature says is nothing.
func (o *item) copy(e *Exchange, rows, from int) {
	l := o.layout
	o.numbers = slices.Grow(o.numbers, o.rows*l.numbers)[:o.rows*l.numbers]
	for i := range l.ports {
		p := &l.ports[i]
		list := e.Asked.Inputs
		if p.output {
			list = e.Said.Outputs
		}
		if t := find(list, p, rows); p.text {
			o.texts(t, from*p.width, o.rows*p.width)
		} else {
			p.numbers(o.numbers, l.numbers, t, from, o.rows)
		}
	}
}

// find returns the tensor of a port if it has so many rows; nil otherwise.
func find(list []tensor.Tensor, p *port, rows int) *tensor.Tensor {
	for i := range list {
		if t := &list[i]; t.Name == p.Name && t.Datatype.Family() == p.Datatype.Family() && t.Len() == rows*p.width {
			return t
		}
	}
	return nil
}

// numbers copies the elements of rows, from one on, to their place in each row.
func (p *port) numbers(to []float64, stride int, t *tensor.Tensor, from, rows int) {
	for row := range rows {
		dst := to[row*stride+p.at:][:p.width]
		at := (from + row) * p.width
		if t == nil {
			for i := range dst {
				dst[i] = math.NaN()
			}
			continue
		}
		switch t.Datatype.Family() {
		case tensor.Floating:
			copy(dst, t.Data.Floats[at:])
		case tensor.Signed:
			fill(dst, t.Data.Ints[at:])
		case tensor.Unsigned:
			fill(dst, t.Data.Uints[at:])
		case tensor.Boolean:
			for i, is := range t.Data.Bools[at : at+p.width] {
				if dst[i] = 0; is {
					dst[i] = 1
				}
			}
		}
	}
}

func fill[T int64 | uint64](dst []float64, from []T) {
	for i := range dst {
		dst[i] = float64(from[i])
	}
}

// texts copies texts.
func (o *item) texts(t *tensor.Tensor, at, n int) {
	if t == nil {
		o.words = append(o.words, make([]drift.Word, n)...)
		return
	}
	o.words = slices.Grow(o.words, n)
	most := o.layout.bytes()
	for _, text := range t.Data.Bytes[at:][:n] {
		o.say(text[:min(len(text), most)])
	}
}
