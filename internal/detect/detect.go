// Package detect has detectors look at what callers asked and were told, once they have
// been told it, to find those who study a model rather than use it.
//
// A [Queue] stands between: it takes copies without waiting, drops what is too much, and
// counts what it dropped. It owns what waits in it; [Alerts] own
// which alerts were noted lately. What detectors find it gives to
// whoever keeps records; nothing here changes an answer.
package detect

import (
	"context"
	crand "crypto/rand"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/firewall"
	"github.com/pavise/pavise/internal/tensor"
)

// KindSuspected is the kind of the note that says what a detector suspects somebody of.
const KindSuspected = "firewall.suspected"

const (
	seenWaiting  = 64       // answered requests that wait for the detectors; more are dropped, and counted
	seenElements = 64 << 10 // numbers of one; of a larger one some rows are looked at
	seenHeld     = 1 << 20  // numbers of all that wait: 8 MiB
	seenKept     = 4 << 10  // numbers for which room is kept afterwards
	tellWaiting  = 64       // findings of others that wait to be noted
	// Detectors take one part in thirty-two of one processor at most: what they owe is
	// slept off in pieces that a timer can keep.
	restParts = 31
	restLeast = 5 * time.Millisecond
)

// A Detector looks at what callers asked and were told, to find those who study a model
// rather than use it. One goroutine tells it of one answered request after another, once
// it has been answered: so a Detector needs no locks, changes no answer, and delays none.
// One that is slow misses requests, which are dropped and counted: what it sees of each
// caller is then a sample. It keeps bounded state,
// whoever calls and however often, and does not panic.
type Detector interface {
	// Name is one word, for the notes.
	Name() string
	// See is told of a request. It returns what a person should know of the caller, in
	// one sentence that holds nothing of what was asked, or "". It does not say the same
	// of one caller again and again: each is a record.
	See(*Observation) string
}

// An Observation is one answered request. Its slices are lent until See returns.
type Observation struct {
	At     time.Time
	Who    pavise.Name // the caller
	Model  pavise.Name
	Rows   int
	Values []float64 // what was asked: row after row, the numbers of all inputs in the order of the request
	Scores []float64 // what the model said, before it was shaped: row after row, the numbers of all outputs

	size int64 // against seenHeld
}

// A Note writes down a finding, and which detector it is of.
type Note func(ctx context.Context, f pavise.Finding, detector string)

// A Queue brings answered requests to detectors. Hear, Tell and Overlooked are safe for
// concurrent use; Run is called once.
type Queue struct {
	note       Note
	detectors  []Detector // used by Run alone
	queue      chan *Observation
	told       chan pavise.Finding
	held       atomic.Int64  // numbers in the queue
	overlooked atomic.Uint64 // requests that no detector saw
	missing    sync.Mutex
	missed     map[pavise.Name]Missed // since it was last asked for, by model; guarded by missing
	spare      sync.Pool              // of *Observation
}

// House returns the detectors of the house, by how many near duplicates among a caller's
// last rows there may be: 0 is the usual bound, below it nobody looks for them.
func House(near int) []Detector {
	if near < 0 {
		return []Detector{}
	}
	var key [32]byte
	crand.Read(key[:])
	d := firewall.NewDuplicates(key)
	if near > 0 {
		d.Most(near)
	}
	return []Detector{nearDuplicates{d}}
}

// NewQueue makes one; nothing is looked at until Run. Nil detectors are those of the
// house, an empty list is none.
func NewQueue(note Note, detectors []Detector) *Queue {
	if detectors == nil {
		detectors = House(0)
	}
	return &Queue{
		note: note, detectors: detectors, missed: map[pavise.Name]Missed{}, queue: make(chan *Observation, seenWaiting), told: make(chan pavise.Finding, tellWaiting),
		spare: sync.Pool{New: func() any { return new(Observation) }},
	}
}

// Hear copies an answered request into the queue, if there is room. It never waits: the
// caller gets the answer meanwhile.
func (q *Queue) Hear(at time.Time, who, model pavise.Name, asked *tensor.Request, said *tensor.Response) {
	if len(q.detectors) == 0 {
		return
	}
	size, rows := int64(elements(asked.Inputs)+elements(said.Outputs)), asked.Rows()
	from, to := some(size, rows)
	if rows > 0 {
		size = size * int64(to-from) / int64(rows)
	}
	if from == to && rows > 0 || size > seenElements || len(q.queue) == cap(q.queue) {
		q.overlook(model)
		return
	}
	if q.held.Add(size) > seenHeld {
		q.held.Add(-size)
		q.overlook(model)
		return
	}
	o := q.spare.Get().(*Observation)
	*o = Observation{
		At: at, Who: who, Model: model, Rows: to - from,
		Values: appendRows(o.Values[:0], asked.Inputs, rows, from, to), Scores: appendRows(o.Scores[:0], said.Outputs, rows, from, to), size: size,
	}
	select {
	case q.queue <- o:
	default:
		q.overlook(model)
		q.free(o)
	}
}

// some picks the rows of a request that are looked at: all, or as many as there is room
// for, from a place that nobody can know: else who sends large requests is never seen. Of a
// request whose one row is too large it picks none.
func some(size int64, rows int) (from, to int) {
	if size <= seenElements || rows < 1 {
		return 0, rows
	}
	n := int(seenElements * int64(rows) / size)
	from = rand.N(rows - n + 1)
	return from, from + n
}

// A Missed is what came to nothing for want of room or time.
type Missed struct {
	Requests uint64 // answered, that no detector saw
	Findings uint64 // that nobody noted
}

// mostMissed bounds the models that are counted each by itself. More are counted as one,
// that has no name.
const mostMissed = 1 << 12

// miss counts what came to nothing at a model.
func (q *Queue) miss(model pavise.Name, requests, findings uint64) {
	q.missing.Lock()
	defer q.missing.Unlock()
	m, known := q.missed[model]
	if !known && len(q.missed) >= mostMissed {
		model = pavise.Name{}
		m = q.missed[model]
	}
	m.Requests += requests
	m.Findings += findings
	q.missed[model] = m
}

// Missed returns what came to nothing since it was last called, by model. What many models
// beyond the first ones missed has the zero name.
func (q *Queue) Missed() map[pavise.Name]Missed {
	q.missing.Lock()
	defer q.missing.Unlock()
	was := q.missed
	q.missed = map[pavise.Name]Missed{}
	return was
}

// overlook counts a request at a model that no detector sees.
func (q *Queue) overlook(model pavise.Name) {
	q.overlooked.Add(1)
	q.miss(model, 1, 0)
}

// Overlooked is how many answered requests no detector saw.
func (q *Queue) Overlooked() uint64 { return q.overlooked.Load() }

// Tell has a finding of somebody else's noted, off their way, and reports whether it was
// taken. It never waits; one of too many is lost, and counted.
func (q *Queue) Tell(f pavise.Finding) (taken bool) {
	select {
	case q.told <- f:
		return true
	default:
		q.miss(f.On, 0, 1)
		return false
	}
}

// Run has the detectors look, until ctx is done. It rests in between, so that they take
// little from those who answer, whatever they cost.
func (q *Queue) Run(ctx context.Context) {
	var owed time.Duration
	for {
		select {
		case <-ctx.Done():
			return
		case f := <-q.told:
			q.note(ctx, f, "")
		case o := <-q.queue:
			began := time.Now()
			q.look(ctx, o)
			owed += restParts * time.Since(began)
			for owed >= restLeast {
				piece := min(owed, time.Second)
				owed -= piece
				select {
				case <-ctx.Done():
					return
				case f := <-q.told:
					q.note(ctx, f, "")
					owed += piece
				case <-time.After(piece):
				}
			}
		}
	}
}

// look has every detector look at a request.
func (q *Queue) look(ctx context.Context, o *Observation) {
	defer q.free(o)
	for _, d := range q.detectors {
		if summary := d.See(o); summary != "" {
			q.note(ctx, pavise.Finding{Kind: KindSuspected, Severity: pavise.Warning, On: o.Model, Who: o.Who, Summary: summary, At: o.At.UTC()}, d.Name())
		}
	}
}

// free gives back the room of an observation.
func (q *Queue) free(o *Observation) {
	q.held.Add(-o.size)
	if cap(o.Values)+cap(o.Scores) <= seenKept {
		q.spare.Put(o)
	}
}

func elements(list []tensor.Tensor) (n int) {
	for i := range list {
		n += list[i].Len()
	}
	return n
}

// AppendRows appends the numbers of tensors, row after row. A tensor that has no equal
// rows, which a route that only observes lets pass, is left out, and so are texts.
func AppendRows(dst []float64, list []tensor.Tensor, rows int) []float64 {
	return appendRows(dst, list, rows, 0, rows)
}

// appendRows is AppendRows of the rows from one on, up to another.
func appendRows(dst []float64, list []tensor.Tensor, rows, from, to int) []float64 {
	if len(list) == 1 && rows > 0 && list[0].Datatype.IsFloat() && len(list[0].Data.Floats)%rows == 0 {
		width := len(list[0].Data.Floats) / rows
		return append(dst, list[0].Data.Floats[from*width:to*width]...)
	}
	for row := from; row < min(to, rows); row++ {
		for i := range list {
			t := &list[i]
			if t.Len()%rows != 0 {
				continue
			}
			from, to := row*t.Len()/rows, (row+1)*t.Len()/rows
			switch t.Datatype.Family() {
			case tensor.Floating:
				dst = append(dst, t.Data.Floats[from:to]...)
			case tensor.Signed:
				dst = appendNumbers(dst, t.Data.Ints[from:to])
			case tensor.Unsigned:
				dst = appendNumbers(dst, t.Data.Uints[from:to])
			}
		}
	}
	return dst
}

func appendNumbers[T int64 | uint64](dst []float64, list []T) []float64 {
	for _, v := range list {
		dst = append(dst, float64(v))
	}
	return dst
}

// nearDuplicates is the detector of package firewall.
type nearDuplicates struct{ *firewall.Duplicates }

// Name names it.
func (nearDuplicates) Name() string { return "near-duplicates" }

// See looks at the rows of a request.
func (d nearDuplicates) See(o *Observation) string {
	return d.Duplicates.See(o.At, o.Who, o.Model, o.Rows, o.Values)
}
